package devop

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	nonceTTL = 5 * time.Minute // until there is another one; the one before is accepted, too
	proofTTL = time.Minute     // how old a proof may be, and how far in the future
)

// The servers that give nonces. None accepts another one's.
const (
	nonceOfToken    = "token"
	nonceOfUserinfo = "userinfo"
)

// proofAlgorithms returns the algorithms of DPoP proofs: those of the FAPI 2.0 Security Profile, section
// 5.4.
func proofAlgorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.PS256}
}

// proofs knows the nonces of DPoP proofs and the proofs that were used (RFC 9449). Neither survives a
// restart: a client then needs a new nonce, as it does from time to time.
type proofs struct {
	now func() time.Time

	used usedIDs

	mu  sync.Mutex
	key []byte // makes the nonces
}

func newProofs(now func() time.Time) *proofs {
	p := &proofs{now: now, used: usedIDs{until: make(map[string]time.Time)}}
	p.renew()
	return p
}

// renew makes all nonces worthless.
func (p *proofs) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key = []byte(rand.Text())
}

// nonce returns the nonce of a server, and previous the one before.
func (p *proofs) nonce(server string) (current, previous string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := func(period int64) string {
		mac := hmac.New(sha256.New, p.key)
		mac.Write([]byte(server + strconv.FormatInt(period, 10)))
		return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	period := p.now().Unix() / int64(nonceTTL/time.Second)
	return at(period), at(period - 1)
}

// proofClaims are the claims of a proof (RFC 9449 section 4.2).
type proofClaims struct {
	ID              string `json:"jti"`
	Method          string `json:"htm"`
	Address         string `json:"htu"`
	IssuedAt        int64  `json:"iat"`
	AccessTokenHash string `json:"ath"`
	Nonce           string `json:"nonce"`
}

// checkProof checks the DPoP proof of a request to a server (RFC 9449 section 4.3), and returns the
// thumbprint of its key; "" if the request has no proof. access is the token that came with it, "" at the
// token endpoint. The answer gives the nonce for the next proof.
func (p *Provider) checkProof(w http.ResponseWriter, r *http.Request, server, path, access string) (thumbprint string, err error) {
	compact := r.Header.Values("DPoP")
	if len(compact) == 0 {
		return "", nil
	}
	nonce, previous := p.proofs.nonce(server)
	w.Header().Set("DPoP-Nonce", nonce)
	if len(compact) > 1 {
		return "", fail("invalid_dpop_proof", "more than one proof")
	}
	claims, thumbprint, err := parseProof(compact[0])
	if err != nil {
		return "", err
	}
	accessHash := ""
	if access != "" {
		accessHash = hash(access)
	}
	switch {
	case claims.Method != r.Method || claims.Address != p.reached(r)+p.base+path:
		return "", fail("invalid_dpop_proof", "htm or htu is that of another request")
	case p.now().Sub(time.Unix(claims.IssuedAt, 0)).Abs() > proofTTL:
		return "", fail("invalid_dpop_proof", "iat is too far from now")
	case claims.AccessTokenHash != accessHash:
		return "", fail("invalid_dpop_proof", "ath is not the hash of the access token")
	case p.workbench.is(faultNonceLoop), !sameText(claims.Nonce, nonce) && !sameText(claims.Nonce, previous):
		return "", fail("use_dpop_nonce", "the proof needs the nonce of this response")
	case claims.ID == "" || !p.proofs.used.first(claims.ID, p.now(), 2*proofTTL):
		return "", fail("invalid_dpop_proof", "jti is missing or was used before")
	}
	return thumbprint, nil
}

func sameText(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// parseProof verifies a proof with the key in it, and returns the thumbprint of the key (RFC 7638).
func parseProof(compact string) (claims proofClaims, thumbprint string, err error) {
	signed, err := jose.ParseSignedCompact(compact, proofAlgorithms())
	if err != nil {
		return claims, "", fail("invalid_dpop_proof", "not a JWT that is signed with ES256, EdDSA or PS256")
	}
	header := signed.Signatures[0].Protected
	key := header.JSONWebKey
	if key == nil || !key.IsPublic() || header.ExtraHeaders[jose.HeaderType] != "dpop+jwt" {
		return claims, "", fail("invalid_dpop_proof", "typ is not dpop+jwt, or jwk is not a public key")
	}
	payload, err := signed.Verify(key)
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return claims, "", fail("invalid_dpop_proof", "the signature is not that of the key, or the claims cannot be parsed")
	}
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return claims, "", fail("invalid_dpop_proof", "the key has no thumbprint")
	}
	return claims, base64.RawURLEncoding.EncodeToString(sum), nil
}

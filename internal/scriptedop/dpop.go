package scriptedop

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxProofAge is how old a DPoP proof may be, and how far in the future.
const maxProofAge = time.Minute

// Proof is a DPoP proof that the provider, or a resource server, received (RFC 9449 section 4.2).
type Proof struct {
	// Compact is the proof as it was sent.
	Compact string
	// Thumbprint is that of the key in the proof (RFC 7638).
	Thumbprint string
	Type       string
	Algorithm  string
	// Claims has the members of the payload.
	Claims map[string]any
}

// text returns a claim, or "" if it is missing or not a string.
func (p Proof) text(name string) string {
	s, _ := p.Claims[name].(string)
	return s
}

// Proofs returns the proofs that an endpoint received, and those of a resource server for Other, in order.
// Proofs that cannot be verified are not included.
func (p *Provider) Proofs(e Endpoint) []Proof {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.proofs[e])
}

// nonce returns the nonce for an endpoint; "" if it requires none.
func (p *Provider) nonce(e Endpoint) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nonces[e]
}

// checkProof verifies the proof of a request for an address (RFC 9449 section 4.3). access is the token
// that came with it, "" at the token endpoint.
func (p *Provider) checkProof(r *http.Request, e Endpoint, address, access, nonce string) (thumbprint string, refused *fault) {
	invalid := &fault{http.StatusBadRequest, "invalid_dpop_proof"}
	if len(r.Header.Values("DPoP")) != 1 {
		return "", invalid
	}
	proof, err := ParseProof(r.Header.Get("DPoP"))
	if err != nil {
		return "", invalid
	}
	p.secret(proof.Compact)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proofs[e] = append(p.proofs[e], proof)
	ath := ""
	if access != "" {
		sum := sha256.Sum256([]byte(access))
		ath = encode(sum[:])
	}
	seconds, _ := proof.Claims["iat"].(float64)
	age := p.now().Sub(time.Unix(int64(seconds), 0)).Abs()
	_, hasAth := proof.Claims["ath"]
	switch {
	case proof.Type != "dpop+jwt", proof.text("htm") != r.Method, proof.text("htu") != address:
		return "", invalid
	case proof.text("jti") == "", p.assertions[proof.text("jti")], age > maxProofAge:
		return "", invalid
	case hasAth != (access != ""), proof.text("ath") != ath:
		return "", invalid
	case proof.text("nonce") != nonce:
		return "", &fault{http.StatusBadRequest, "use_dpop_nonce"}
	}
	p.assertions[proof.text("jti")] = true
	return proof.Thumbprint, nil
}

// ParseProof parses a proof and verifies its signature with the key in it.
func ParseProof(compact string) (Proof, error) {
	encoded, _, _ := strings.Cut(compact, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return Proof{}, err
	}
	var header struct {
		Type      string            `json:"typ"`
		Algorithm string            `json:"alg"`
		JWK       map[string]string `json:"jwk"`
	}
	if err := json.Unmarshal(decoded, &header); err != nil {
		return Proof{}, err
	}
	key, err := publicKey(header.Algorithm, header.JWK)
	if err != nil {
		return Proof{}, err
	}
	payload, err := key.open(compact)
	if err != nil {
		return Proof{}, err
	}
	sum := sha256.Sum256(marshal(header.JWK)) // RFC 7638 section 3: the members in order, and no others
	proof := Proof{Compact: compact, Thumbprint: encode(sum[:]), Type: header.Type, Algorithm: header.Algorithm}
	return proof, json.Unmarshal(payload, &proof.Claims)
}

// publicKey returns a key that can only verify. It accepts a JWK with the required members alone (RFC 7638
// section 3.2): none that is private, and none that nobody asked for.
func publicKey(algorithm string, jwk map[string]string) (Key, error) {
	member := func(name string) []byte {
		b, err := base64.RawURLEncoding.Strict().DecodeString(jwk[name])
		if err != nil {
			return nil
		}
		return b
	}
	key := Key{Algorithm: algorithm}
	switch {
	case algorithm == "ES256" && len(jwk) == 4 && jwk["kty"] == "EC" && jwk["crv"] == "P-256":
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, member("x"), member("y")))
		if err != nil {
			return Key{}, err
		}
		key.Private = &ecdsa.PrivateKey{PublicKey: *public}
	case algorithm == "EdDSA" && len(jwk) == 3 && jwk["kty"] == "OKP" && jwk["crv"] == "Ed25519" && len(member("x")) == ed25519.PublicKeySize:
		key.Private = ed25519.PrivateKey(append(make([]byte, ed25519.SeedSize), member("x")...))
	case algorithm == "PS256" && len(jwk) == 3 && jwk["kty"] == "RSA":
		key.Private = &rsa.PrivateKey{PublicKey: rsa.PublicKey{
			N: new(big.Int).SetBytes(member("n")), E: int(new(big.Int).SetBytes(member("e")).Int64()),
		}}
	default:
		return Key{}, fmt.Errorf("the key %v is not one of %s", jwk, algorithm)
	}
	return key, nil
}

// Protected makes a handler a resource server that accepts the provider's access tokens, with a proof if
// they are bound (RFC 9449 section 7). nonce returns the nonce that a proof must have now; "" for none.
func (p *Provider) Protected(nonce func() string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		required := nonce()
		if required != "" {
			w.Header().Set("DPoP-Nonce", required)
		}
		if _, refused := p.admit(r, Other, "http://"+r.Host+r.URL.EscapedPath(), required); refused != nil {
			refuse(w, refused)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuse answers as a resource server does.
func refuse(w http.ResponseWriter, refused *fault) {
	w.Header().Set("WWW-Authenticate", `DPoP error="`+refused.code+`", algs="ES256 PS256 EdDSA"`)
	JSON(http.StatusUnauthorized, map[string]any{"error": refused.code})(w, nil)
}

// admit returns the grant of the access token of a request for a resource.
func (p *Provider) admit(r *http.Request, e Endpoint, address, nonce string) (*grant, *fault) {
	scheme, access, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	p.mu.Lock()
	g := p.access[access]
	p.mu.Unlock()
	if g == nil || g.revoked || (scheme == "DPoP") != (g.thumbprint != "") {
		return nil, &fault{http.StatusUnauthorized, "invalid_token"}
	}
	if g.thumbprint == "" {
		return g, nil
	}
	thumbprint, refused := p.checkProof(r, e, address, access, nonce)
	if refused == nil && thumbprint != g.thumbprint {
		refused = &fault{http.StatusUnauthorized, "invalid_token"}
	}
	return g, refused
}

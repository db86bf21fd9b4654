package openid

import (
	"cmp"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Presented is an access token as a request presents it, with what shows that the sender has the key
// that the token may be bound to. Without that, the token has to be a bearer token.
type Presented struct {
	Token string
	// DPoP says that the scheme is DPoP, and not Bearer. Proofs are the values of the header DPoP.
	DPoP   bool
	Proofs []string
	// Method and URL are those of the request, the URL as its client knows it. Only a DPoP proof
	// needs them.
	Method string
	URL    *url.URL
	// Certificate is the client's certificate on the request's TLS connection; nil if it has shown
	// none.
	Certificate *x509.Certificate
}

// Confirmation says which keys an access token is bound to (RFC 7800). Without any, the token is a
// bearer token.
type Confirmation struct {
	// Key is the thumbprint of a DPoP key, in base64url (RFC 9449 section 6.1); "" if there is none.
	Key string
	// Certificate is the thumbprint of a client's certificate (RFC 8705 section 3.1); "" if there is
	// none.
	Certificate string
}

// Proof is what an accepted DPoP proof says about itself.
type Proof struct {
	// ID is its jti. The sender has to choose another one for each proof of a key.
	ID string
	// Nonce is the server's nonce in it, or "". It is not checked yet.
	Nonce string
	// Expires is when the proof is too old to be accepted.
	Expires time.Time
}

// maxProofAge is how far the iat of a proof may lie from this clock, on either side. It allows for a
// clock that is wrong, and bounds how long a proof has to be remembered.
const maxProofAge = Leeway

// confirmation reads the claim cnf. A member that this program does not know could demand something
// that it does not check, so it accepts none.
func (c strictClaims) confirmation() (bound Confirmation, err error) {
	if !c.mentions("cnf") {
		return bound, nil
	}
	members, err := parseStrict(c["cnf"])
	if err != nil || len(members) == 0 {
		return bound, errors.New("cnf is not an object, or it is empty")
	}
	for name := range members {
		var thumbprint string
		if thumbprint, err = members.string(name); err != nil || !isSHA256(thumbprint) {
			return bound, fmt.Errorf("the member %.20q of cnf is not a SHA-256 thumbprint", name)
		}
		switch name {
		case "jkt":
			bound.Key = thumbprint
		case "x5t#S256":
			bound.Certificate = thumbprint
		default:
			return bound, fmt.Errorf("cnf has the member %.20q, and only jkt and x5t#S256 are known", name)
		}
	}
	return bound, nil
}

// isSHA256 reports whether a text is a SHA-256 hash in base64url.
func isSHA256(text string) bool {
	hash, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return err == nil && len(hash) == sha256.Size && len(text) == 43 // the decoder skips line breaks
}

// hashOf returns the SHA-256 hash of a value in base64url.
func hashOf[T string | []byte](value T) string {
	hash := sha256.Sum256([]byte(value))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}

// checkPossession checks that the sender of a token has the keys that it is bound to. proof is nil
// if the scheme is Bearer.
func (t *AccessToken) checkPossession(proof *signedProof, certificate *x509.Certificate) error {
	switch bound := t.Confirmation; {
	case proof == nil && bound.Key != "":
		// RFC 9449 section 7.2: or else a thief, who has no key, would send it like this.
		return errors.New("the token is bound to a DPoP key, and was sent as a bearer token")
	case proof != nil && bound.Key == "":
		return errors.New("the token is not bound to a DPoP key, and was sent as if it were") // RFC 9449 section 7.1
	case proof != nil && bound.Key != proof.thumbprint:
		return errors.New("the token is bound to another key than that of the DPoP proof") // RFC 9449 section 4.3, check 12
	case bound.Certificate != "" && certificate == nil:
		return errors.New("the token is bound to a certificate, and the client has shown none")
	case bound.Certificate != "" && bound.Certificate != hashOf(certificate.Raw):
		return errors.New("the token is bound to another certificate than the client's") // RFC 8705 section 3
	}
	return nil
}

// signedProof is a DPoP proof whose signature is not verified yet.
type signedProof struct {
	Proof
	raw, alg   string
	key        jose.JSONWebKey
	thumbprint string
}

// readProof does the checks of RFC 9449 section 4.3 that need neither the token's content nor a
// signature: 1 to 5, 7 to 9, 11, and the hash of check 12. The caller does the rest.
func (p *Provider) readProof(sent Presented) (*signedProof, error) {
	if len(sent.Proofs) != 1 {
		return nil, fmt.Errorf("the request has %d DPoP headers, not one", len(sent.Proofs))
	}
	t, err := parseToken(sent.Proofs[0])
	if err != nil {
		return nil, fmt.Errorf("DPoP proof: %w", err)
	}
	proof := &signedProof{raw: t.raw, alg: t.alg}
	switch {
	case t.typ != proofType:
		return nil, fmt.Errorf("typ is %.20q, not that of a DPoP proof", t.typ)
	case !slices.Contains(ProofAlgorithms(), t.alg):
		return nil, fmt.Errorf("the DPoP proof's alg is %.20q, which is not one of %q", t.alg, ProofAlgorithms())
	}
	if err := proof.readKey(t.header); err != nil {
		return nil, err
	}
	return proof, proof.readClaims(t.claims, sent, p.cfg.Now())
}

// readKey reads the key in a proof's header. The sender chooses it, so its size is bounded: go-jose reads
// no RSA key of more than 4096 bits.
func (proof *signedProof) readKey(header strictClaims) error {
	members, err := parseStrict(header["jwk"])
	if err != nil {
		return errors.New("the DPoP proof has no jwk")
	}
	if slices.ContainsFunc(privateKeyMembers, members.mentions) {
		return errors.New("the DPoP proof's jwk is a private or a symmetric key")
	}
	key, err := parseKey(header["jwk"])
	if err != nil {
		return fmt.Errorf("the DPoP proof's jwk %w", err)
	}
	proof.key = key.JSONWebKey
	if !fits(proof.key, proof.alg) {
		return errors.New("the DPoP proof's jwk is not a key of its alg")
	}
	thumbprint, err := proof.key.Thumbprint(crypto.SHA256)
	proof.thumbprint = base64.RawURLEncoding.EncodeToString(thumbprint)
	return err
}

// readClaims checks the claims of a proof.
func (proof *signedProof) readClaims(c strictClaims, sent Presented, now time.Time) error {
	var claims [5]string
	for i, name := range []string{"jti", "htm", "htu", "ath", "nonce"} {
		var err error
		if claims[i], err = c.string(name); err != nil {
			return fmt.Errorf("DPoP proof: %w", err)
		}
	}
	jti, htm, htu, ath, nonce := claims[0], claims[1], claims[2], claims[3], claims[4]
	issued, err := c.time("iat")
	if err != nil {
		return fmt.Errorf("DPoP proof: %w", err)
	}
	age := now.Sub(issued)
	switch {
	case jti == "":
		return errors.New("the DPoP proof has no jti")
	case htm != sent.Method:
		return fmt.Errorf("the DPoP proof is for the method %.20q, and the request's is %.20q", htm, sent.Method)
	case !sameResource(htu, sent.URL):
		return errors.New("the DPoP proof is for another URL: htu has to be the app's base URL and the path")
	case issued.IsZero():
		return errors.New("the DPoP proof has no iat")
	case age > maxProofAge:
		return fmt.Errorf("the DPoP proof was issued %s ago: compare this clock with the client's", age.Round(time.Second))
	case -age > maxProofAge:
		return fmt.Errorf("the DPoP proof was issued %s in the future: compare this clock with the client's", -age.Round(time.Second))
	case ath != hashOf(sent.Token):
		return errors.New("the DPoP proof is for another access token, or has no ath")
	}
	proof.Proof = Proof{ID: jti, Nonce: nonce, Expires: issued.Add(maxProofAge)}
	return nil
}

// verify verifies the proof's signature, by the key in its header.
func (proof *signedProof) verify() error {
	jws, err := jose.ParseSignedCompact(proof.raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(proof.alg)})
	if err != nil {
		return errors.New("the DPoP proof's header is malformed")
	}
	if _, err := jws.Verify(proof.key.Key); err != nil {
		return errors.New("the DPoP proof's key does not verify its signature")
	}
	return nil
}

// sameResource reports whether the htu of a proof is a URL without its query (RFC 9449 section 4.3,
// check 9). It ignores what htu has of a query or a fragment, as the RFC says, and compares what
// remains after the normalization of RFC 3986 sections 6.2.2 and 6.2.3.
func sameResource(htu string, of *url.URL) bool {
	u, err := url.Parse(htu)
	return err == nil && u.User == nil && u.Opaque == "" && u.Host != "" && normalized(u) == normalized(of)
}

// normalized returns the normal form of a URL up to its path. An escaped character that needs no
// escape is the same as the character, and any other is not: %2F is no slash.
func normalized(u *url.URL) string {
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	path := new(strings.Builder)
	for escaped := u.EscapedPath(); escaped != ""; {
		if escaped[0] != '%' { // or else two digits follow: url.Parse has seen to it
			path.WriteByte(escaped[0])
			escaped = escaped[1:]
			continue
		}
		if char, _ := url.PathUnescape(escaped[:3]); unreserved(char[0]) {
			path.WriteString(char)
		} else {
			path.WriteString(strings.ToUpper(escaped[:3]))
		}
		escaped = escaped[3:]
	}
	// ResolveReference removes the dot segments of an absolute URL (RFC 3986 section 5.2.4).
	plain, err := url.Parse("x://x" + cmp.Or(path.String(), "/"))
	if err != nil {
		return ""
	}
	return scheme + "://" + host + ":" + port + plain.ResolveReference(plain).EscapedPath()
}

// unreserved reports whether a character never needs an escape (RFC 3986 section 2.3).
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

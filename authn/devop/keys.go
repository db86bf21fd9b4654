package devop

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// signingKey is an RSA key and its RFC 7638 thumbprint. It is stored in PKCS #8 form.
type signingKey struct {
	private *rsa.PrivateKey
	id      string
}

func newSigningKey() (signingKey, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return signingKey{}, fmt.Errorf("devop: generating a signing key: %w", err)
	}
	return nameKey(private)
}

func nameKey(private *rsa.PrivateKey) (signingKey, error) {
	thumbprint, err := (&jose.JSONWebKey{Key: private.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return signingKey{}, fmt.Errorf("devop: computing the thumbprint of a signing key: %w", err)
	}
	return signingKey{private: private, id: base64.RawURLEncoding.EncodeToString(thumbprint)}, nil
}

// MarshalJSON implements json.Marshaler.
func (k signingKey) MarshalJSON() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, err
	}
	return json.Marshal(der)
}

// UnmarshalJSON implements json.Unmarshaler.
func (k *signingKey) UnmarshalJSON(data []byte) error {
	var der []byte
	if err := json.Unmarshal(data, &der); err != nil {
		return err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return err
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return errors.New("not an RSA key")
	}
	*k, err = nameKey(private)
	return err
}

// RotateKey makes a new signing key. The previous key stays published until the next
// rotation, so that tokens signed with it can still be verified.
func (p *Provider) RotateKey() error {
	key, err := newSigningKey()
	if err != nil {
		return err
	}
	p.records.addKey(key)
	return nil
}

// sign returns claims as a signed JWT of the given type (RFC 7519, RFC 8725 section 3.11).
func (p *Provider) sign(typ string, claims map[string]any) (string, error) {
	key := p.records.keys()[0]
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.SignatureAlgorithm(p.cfg.SigningAlgorithm), Key: jose.JSONWebKey{Key: key.private, KeyID: key.id}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		return "", fmt.Errorf("devop: signing: %w", err)
	}
	// Use encoding/json: go-jose's encoder does not support json.Number.
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("devop: signing: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("devop: signing: %w", err)
	}
	return signed.CompactSerialize()
}

// idTokenHint holds the claims of an ID token that identify its session.
type idTokenHint struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	SID      string `json:"sid"`
}

// readHint verifies that this provider signed raw as an ID token. It ignores the token's
// expiry (OpenID Connect RP-Initiated Logout 1.0 section 4).
func (p *Provider) readHint(raw string) (idTokenHint, error) {
	var hint idTokenHint
	parsed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(p.cfg.SigningAlgorithm)})
	if err != nil {
		return hint, errors.New("devop: the ID token hint was not issued by this provider")
	}
	header := parsed.Signatures[0].Protected
	for _, key := range p.records.keys() {
		if header.KeyID != key.id {
			continue
		}
		payload, err := parsed.Verify(key.private.Public())
		if err == nil && header.ExtraHeaders[jose.HeaderType] == "JWT" &&
			json.Unmarshal(payload, &hint) == nil && hint.Issuer == p.cfg.Issuer {
			return hint, nil
		}
	}
	return idTokenHint{}, errors.New("devop: the ID token hint was not issued by this provider")
}

// publicKeys returns the JWK set (RFC 7517 section 5).
func publicKeys(keys []signingKey, algorithm string) jose.JSONWebKeySet {
	var set jose.JSONWebKeySet
	for _, k := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.private.Public(), KeyID: k.id, Algorithm: algorithm, Use: "sig"})
	}
	return set
}

// leftHalf returns the value of at_hash for token (OpenID Connect Core 1.0 section
// 3.1.3.6).
func leftHalf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

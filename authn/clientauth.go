package authn

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"
)

// The ways to authenticate at the token endpoint (OpenID Connect Core 1.0 section 9).
const (
	ClientSecretBasic = "client_secret_basic"
	ClientSecretPost  = "client_secret_post"
	PrivateKeyJWT     = "private_key_jwt"
)

const (
	assertionType     = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	assertionLifetime = time.Minute
)

// authStyle tells x/oauth2 where the secret goes. It is never left to x/oauth2 to
// find out: it would send the code, or the refresh token, twice.
func (c Config) authStyle() oauth2.AuthStyle {
	if c.ClientAuth == ClientSecretBasic {
		return oauth2.AuthStyleInHeader
	}
	return oauth2.AuthStyleInParams
}

// addAssertion adds a signed statement of who this client is, for one request (RFC
// 7523 section 2.2 and OpenID Connect Core 1.0 section 9).
func (rp *RelyingParty) addAssertion(form url.Values) error {
	now := rp.cfg.Now()
	payload, err := json.Marshal(map[string]any{
		"iss": rp.cfg.ClientID, "sub": rp.cfg.ClientID, "aud": rp.cfg.Issuer,
		"jti": randomToken(), "iat": now.Unix(), "exp": now.Add(assertionLifetime).Unix(),
	})
	if err != nil {
		return fmt.Errorf("authn: client assertion: %w", err)
	}
	jws, err := rp.signer.Sign(payload)
	if err != nil {
		return fmt.Errorf("authn: client assertion: %w", err)
	}
	assertion, err := jws.CompactSerialize()
	if err != nil {
		return fmt.Errorf("authn: client assertion: %w", err)
	}
	form.Set("client_id", rp.cfg.ClientID)
	form.Set("client_assertion_type", assertionType)
	form.Set("client_assertion", assertion)
	return nil
}

// newSigner makes the signer of client assertions. The algorithm follows from the
// key, and the kid is the key's thumbprint (RFC 7638), which can be worked out from
// the public key alone.
func newSigner(key crypto.Signer) (jose.Signer, error) {
	alg, err := signingAlgorithm(key)
	if err != nil {
		return nil, err
	}
	thumbprint, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("authn: the client's signing key: %w", err)
	}
	jwk := jose.JSONWebKey{Key: key, KeyID: base64.RawURLEncoding.EncodeToString(thumbprint), Algorithm: string(alg)}
	return jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jwk}, (&jose.SignerOptions{}).WithType("JWT"))
}

func signingAlgorithm(key crypto.Signer) (jose.SignatureAlgorithm, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if key.N.BitLen() < minRSABits {
			return "", fmt.Errorf("authn: the client's signing key has %d bits, RSA needs %d", key.N.BitLen(), minRSABits)
		}
		return jose.RS256, nil
	case *ecdsa.PrivateKey:
		switch key.Curve.Params().BitSize {
		case sha256.Size * 8:
			return jose.ES256, nil
		case 384:
			return jose.ES384, nil
		case 521:
			return jose.ES512, nil
		}
	case ed25519.PrivateKey:
		return jose.EdDSA, nil
	}
	return "", errors.New("authn: the client's signing key is none of RSA, P-256, P-384, P-521, Ed25519")
}

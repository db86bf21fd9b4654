package authn

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
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
	// One way to authenticate and no second one (RFC 6749 section 2.3).
	form.Del("client_secret")
	form.Set("client_id", rp.cfg.ClientID)
	form.Set("client_assertion_type", assertionType)
	form.Set("client_assertion", assertion)
	return nil
}

// newSigner makes the signer of client assertions.
func (c Config) newSigner() (jose.Signer, error) {
	jwk, err := c.signingJWK()
	if err != nil {
		return nil, err
	}
	return jose.NewSigner(
		jose.SigningKey{Algorithm: jose.SignatureAlgorithm(jwk.Algorithm), Key: jwk}, (&jose.SignerOptions{}).WithType("JWT"),
	)
}

// signingJWK is the signing key with its algorithm and its name. A key that the provider
// has no other name for goes by its thumbprint (RFC 7638), which can be worked out from
// the public key alone.
func (c Config) signingJWK() (jose.JSONWebKey, error) {
	algorithms, err := SigningAlgorithms(c.SigningKey)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	alg := cmp.Or(c.SigningAlgorithm, algorithms[0])
	if !slices.Contains(algorithms, alg) {
		return jose.JSONWebKey{}, fmt.Errorf("authn: the client's signing key cannot sign with %q", alg)
	}
	thumbprint, err := (&jose.JSONWebKey{Key: c.SigningKey.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return jose.JSONWebKey{}, fmt.Errorf("authn: the client's signing key: %w", err)
	}
	return jose.JSONWebKey{
		Key: c.SigningKey, Algorithm: alg, Use: "sig",
		KeyID: cmp.Or(c.SigningKeyID, base64.RawURLEncoding.EncodeToString(thumbprint)),
	}, nil
}

// SigningAlgorithms returns the algorithms with which a key can sign client assertions,
// the one that is used if none is named first (RFC 7518 section 3.1, RFC 8037 section
// 3.1). The error says that it is no key for that.
func SigningAlgorithms(key crypto.Signer) ([]string, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if key.N.BitLen() < minRSABits {
			return nil, fmt.Errorf("authn: the client's signing key has %d bits, RSA needs %d", key.N.BitLen(), minRSABits)
		}
		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, nil
	case *ecdsa.PrivateKey:
		switch key.Curve {
		case elliptic.P256():
			return []string{"ES256"}, nil
		case elliptic.P384():
			return []string{"ES384"}, nil
		case elliptic.P521():
			return []string{"ES512"}, nil
		}
	case ed25519.PrivateKey:
		return []string{"EdDSA"}, nil
	}
	return nil, errors.New("authn: the client's signing key is none of RSA, P-256, P-384, P-521, Ed25519")
}

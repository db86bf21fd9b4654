package openid

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
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

// authStyle tells x/oauth2 where the secret goes. Left to find out by itself, x/oauth2 would
// send the code, or the refresh token, twice.
func (c Config) authStyle() oauth2.AuthStyle {
	if c.ClientAuth == ClientSecretBasic {
		return oauth2.AuthStyleInHeader
	}
	return oauth2.AuthStyleInParams
}

// Post sends a form to an endpoint that authenticates the client as the token endpoint does:
// the token endpoint itself, pushed authorization and revocation. The caller closes the body.
func (p *Provider) Post(ctx context.Context, endpoint string, form url.Values) (*http.Response, error) {
	switch p.cfg.ClientAuth {
	case PrivateKeyJWT:
		if err := p.addAssertion(form); err != nil {
			return nil, err
		}
	case TLSClientAuth, SelfSignedTLSClientAuth:
		form.Set("client_id", p.cfg.ClientID) // RFC 8705 section 2
	case ClientSecretPost:
		form.Set("client_id", p.cfg.ClientID)
		form.Set("client_secret", string(p.cfg.ClientSecret))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("openid: request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if p.cfg.ClientAuth == ClientSecretBasic {
		// Both are form-encoded first (RFC 6749 section 2.3.1).
		req.SetBasicAuth(url.QueryEscape(p.cfg.ClientID), url.QueryEscape(string(p.cfg.ClientSecret)))
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, withoutQuery(err)
	}
	return resp, nil
}

// addAssertion adds a signed statement of who this client is, for one request (RFC 7523
// section 2.2 and OpenID Connect Core 1.0 section 9).
func (p *Provider) addAssertion(form url.Values) error {
	now := p.cfg.Now()
	assertion, err := signClaims(p.signer, map[string]any{
		"iss": p.cfg.ClientID, "sub": p.cfg.ClientID, "aud": p.cfg.Issuer,
		"jti": RandomToken(), "iat": now.Unix(), "exp": now.Add(assertionLifetime).Unix(),
	})
	if err != nil {
		return fmt.Errorf("openid: client assertion: %w", err)
	}
	// A client authenticates in one way only (RFC 6749 section 2.3).
	form.Del("client_secret")
	form.Set("client_id", p.cfg.ClientID)
	form.Set("client_assertion_type", assertionType)
	form.Set("client_assertion", assertion)
	return nil
}

// signClaims returns claims as a signed JWT in the compact serialization.
func signClaims(signer jose.Signer, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}

// newSigner makes the signer of one type of JWT, with the client's key.
func (c Config) newSigner(typ jose.ContentType) (jose.Signer, error) {
	jwk, err := c.signingJWK()
	if err != nil {
		return nil, err
	}
	return jose.NewSigner(
		jose.SigningKey{Algorithm: jose.SignatureAlgorithm(jwk.Algorithm), Key: jwk}, (&jose.SignerOptions{}).WithType(typ),
	)
}

// signingJWK returns the signing key with its algorithm and its id. If the configuration gives
// it no id, that is its thumbprint (RFC 7638), which anyone can compute from the public key.
func (c Config) signingJWK() (jose.JSONWebKey, error) {
	algorithms, err := signingAlgorithms(c.SigningKey)
	if err != nil {
		return jose.JSONWebKey{}, fmt.Errorf("openid: the client's signing key %w", err)
	}
	thumbprint, err := (&jose.JSONWebKey{Key: c.SigningKey.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return jose.JSONWebKey{}, fmt.Errorf("openid: the client's signing key: %w", err)
	}
	return jose.JSONWebKey{
		Key: c.SigningKey, Algorithm: cmp.Or(c.SigningAlgorithm, algorithms[0]), Use: "sig",
		KeyID: cmp.Or(c.SigningKeyID, base64.RawURLEncoding.EncodeToString(thumbprint)),
	}, nil
}

// signs reports whether the client signs anything with its key.
func (c Config) signs() bool { return c.ClientAuth == PrivateKeyJWT || c.RequestObject }

// PublicKey is the public half of the key that signs client assertions and request objects.
type PublicKey struct {
	ID, Algorithm string
	// JWK is the key in JSON (RFC 7517).
	JWK string
}

// PublicKey returns the key to register at the provider, or false if the client signs nothing.
func (p *Provider) PublicKey() (PublicKey, bool) {
	if !p.cfg.signs() {
		return PublicKey{}, false
	}
	jwk, err := p.cfg.signingJWK()
	if err != nil {
		return PublicKey{}, false // New has made a signer of it
	}
	public, err := json.Marshal(jwk.Public())
	return PublicKey{ID: jwk.KeyID, Algorithm: jwk.Algorithm, JWK: string(public)}, err == nil
}

// ClientAuth returns how the client authenticates: ClientSecretBasic, ClientSecretPost,
// PrivateKeyJWT, TLSClientAuth or SelfSignedTLSClientAuth.
func (p *Provider) ClientAuth() string { return p.cfg.ClientAuth }

// signingAlgorithms returns the algorithms that a key can sign with, the default first (RFC 7518 section
// 3.1, RFC 8037 section 3.1). The error says why there are none; its text continues "the key".
func signingAlgorithms(key crypto.Signer) ([]string, error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if key.N.BitLen() < minRSABits {
			return nil, fmt.Errorf("has %d bits, and RSA needs %d", key.N.BitLen(), minRSABits)
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
	return nil, errors.New("is not an RSA, P-256, P-384, P-521 or Ed25519 key")
}

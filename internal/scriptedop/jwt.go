package scriptedop

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"time"
)

// JWT is an unsigned token. Its content need not be valid.
type JWT struct {
	// Key signs the token.
	Key Key
	// Header is added to the key's alg and kid, and overrides them.
	Header map[string]any
	Claims map[string]any
	// Payload, if not nil, is signed byte for byte instead of Claims.
	Payload []byte
	// Raw, if not empty, is the whole token.
	Raw string
}

// Compact returns the token in the compact serialization (RFC 7515 section 3.1).
func (t *JWT) Compact() string {
	if t.Raw != "" {
		return t.Raw
	}
	header := map[string]any{"alg": t.Key.Algorithm}
	if t.Key.ID != "" {
		header["kid"] = t.Key.ID
	}
	maps.Copy(header, t.Header)
	payload := t.Payload
	if payload == nil {
		payload = marshal(t.Claims)
	}
	input := encode(marshal(header)) + "." + encode(payload)
	return input + "." + encode(t.Key.sign([]byte(input)))
}

// AtHash returns the at_hash of an access token issued with this token (OpenID Connect Core
// 1.0 section 3.1.3.6).
func (t *JWT) AtHash(accessToken string) string {
	h := t.Key.hash().New()
	h.Write([]byte(accessToken))
	sum := h.Sum(nil)
	return encode(sum[:len(sum)/2])
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("scriptedop: " + err.Error())
	}
	return b
}

// idToken issues the ID token of a grant (OpenID Connect Core 1.0 section 2), changed by
// EditIDToken.
func (p *Provider) idToken(g *grant, nonce, access string) string {
	now := p.now()
	p.mu.Lock()
	t := &JWT{Key: p.signer, Header: map[string]any{"typ": "JWT"}, Claims: map[string]any{
		"iss": p.Issuer, "sub": g.subject, "aud": p.ClientID, "sid": g.sid,
		"iat": now.Unix(), "exp": now.Add(idTokenLifetime).Unix(), "auth_time": g.authTime.Unix(),
	}}
	change := p.editIDToken
	p.mu.Unlock()
	if nonce != "" {
		t.Claims["nonce"] = nonce
	}
	t.Claims["at_hash"] = t.AtHash(access)
	if change != nil {
		change(t)
	}
	compact := t.Compact()
	p.secret(compact)
	return compact
}

// signedResponse returns an authorization response as a JWT (JARM section 2.1), changed by
// EditResponse.
func (p *Provider) signedResponse(parameters map[string]any) string {
	now := p.now()
	p.mu.Lock()
	t := &JWT{Key: p.signer, Claims: map[string]any{"iss": p.Issuer, "aud": p.ClientID, "exp": now.Add(responseLifetime).Unix()}}
	change := p.editResponse
	p.mu.Unlock()
	maps.Copy(t.Claims, parameters)
	if change != nil {
		change(t)
	}
	compact := t.Compact()
	p.secret(compact)
	return compact
}

// LogoutToken returns a logout token for the last sign-in (OpenID Connect Back-Channel
// Logout 1.0 section 2.4). The caller may change it, then calls Compact and sends it.
func (p *Provider) LogoutToken() *JWT {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &JWT{Key: p.signer, Header: map[string]any{"typ": "logout+jwt"}, Claims: map[string]any{
		"iss": p.Issuer, "aud": p.ClientID, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(logoutTokenLifetime).Unix(),
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}}
	if p.last != nil {
		t.Claims["sub"], t.Claims["sid"] = p.last.subject, p.last.sid
	}
	return t
}

// AccessToken returns an access token for an API (RFC 9068 section 2), for the person that
// signs in now. The caller may change it, then calls Compact and sends it.
func (p *Provider) AccessToken(audience string) *JWT {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	return &JWT{Key: p.signer, Header: map[string]any{"typ": "at+jwt"}, Claims: map[string]any{
		"iss": p.Issuer, "sub": p.subject, "aud": audience, "client_id": "another client", "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(accessTokenLifetime).Unix(), "scope": "openid profile",
	}}
}

// Proof returns a DPoP proof of a key for one request with an access token (RFC 9449 section 4.2). The
// caller may change it, then calls Compact and sends it.
func (k Key) Proof(at time.Time, method, address, accessToken string) *JWT {
	return &JWT{Key: Key{Algorithm: k.Algorithm, Private: k.Private}, Header: map[string]any{"typ": "dpop+jwt", "jwk": k.JWK()}, Claims: map[string]any{
		"jti": rand.Text(), "htm": method, "htu": address, "iat": at.Unix(), "ath": hash(accessToken),
	}}
}

// hash returns a SHA-256 hash in base64url.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return encode(sum[:])
}

// SignedUserInfo returns the userinfo of the last sign-in as a JWT (OpenID Connect Core 1.0
// section 5.3.2). The caller may change it, then calls Compact and serves it.
func (p *Provider) SignedUserInfo() *JWT {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &JWT{Key: p.signer, Claims: map[string]any{
		"iss": p.Issuer, "aud": p.ClientID, "sub": p.last.subject, "name": "Signed by the provider",
	}}
}

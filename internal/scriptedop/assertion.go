package scriptedop

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// maxAssertionLifetime is how long an assertion may be valid. It is made for a single
	// request.
	maxAssertionLifetime = 5 * time.Minute
)

// assertionClaims are the claims of a client assertion (OpenID Connect Core 1.0 section 9).
// The audience cannot be a list, which would allow other parties to use the assertion.
type assertionClaims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	ID       string `json:"jti"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

// verifyAssertion checks that the client authenticates with a valid assertion, and with
// nothing else (RFC 7523 section 3, OpenID Connect Core 1.0 section 9).
func (p *Provider) verifyAssertion(r *http.Request, key Key) error {
	form := r.PostForm
	if r.Header.Get("Authorization") != "" || form.Has("client_secret") {
		return errors.New("more than one authentication method")
	}
	if len(form["client_assertion"]) != 1 || form.Get("client_assertion_type") != assertionType {
		return errors.New("the assertion is missing or has the wrong type")
	}
	if form.Has("client_id") && form.Get("client_id") != p.ClientID {
		return errors.New("client_id is another client's")
	}
	payload, err := key.open(form.Get("client_assertion"))
	if err != nil {
		return err
	}
	var c assertionClaims
	if err := json.Unmarshal(payload, &c); err != nil {
		return fmt.Errorf("the claims: %w", err)
	}
	now := p.now()
	issued, expires := time.Unix(c.IssuedAt, 0), time.Unix(c.Expires, 0)
	switch {
	case c.Issuer != p.ClientID || c.Subject != p.ClientID:
		return errors.New("iss and sub are not the client's id")
	case c.Audience != p.Issuer:
		return errors.New("aud is not the issuer")
	case c.IssuedAt == 0 || issued.After(now):
		return errors.New("iat is missing or in the future")
	case !expires.After(now) || expires.Sub(now) > maxAssertionLifetime:
		return errors.New("exp has passed or is too far in the future")
	case c.ID == "":
		return errors.New("jti is missing")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.assertions[c.ID] {
		return errors.New("the jti was already used")
	}
	p.assertions[c.ID] = true
	return nil
}

// open returns the payload of a token that this key signed, in the compact
// serialization.
func (k Key) open(compact string) ([]byte, error) {
	encoded := strings.Split(compact, ".")
	if len(encoded) != 3 {
		return nil, errors.New("not a compact token")
	}
	var parts [3][]byte
	for i, part := range encoded {
		decoded, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil {
			return nil, err
		}
		parts[i] = decoded
	}
	var header struct {
		Algorithm string `json:"alg"`
		ID        string `json:"kid"`
	}
	if err := json.Unmarshal(parts[0], &header); err != nil {
		return nil, fmt.Errorf("the header: %w", err)
	}
	if header.Algorithm != k.Algorithm || header.ID != k.ID {
		return nil, errors.New("alg or kid differs from the key's")
	}
	if !k.verify([]byte(encoded[0]+"."+encoded[1]), parts[2]) {
		return nil, errors.New("the signature does not match the key")
	}
	return parts[1], nil
}

package scriptedop

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxRequestObjectLifetime bounds exp and the age of nbf (FAPI 2.0 Message Signing section 5.3.1).
const maxRequestObjectLifetime = time.Hour

// besideRequestObject are the parameters that may be outside of a request object: those that
// authenticate the client, and those that OpenID Connect Core 1.0 section 6.1 wants outside, which
// must have the same values there.
var besideRequestObject = []string{
	"request", "client_secret", "client_assertion", "client_assertion_type", "client_id", "response_type", "scope",
}

// openRequest returns the parameters of an authorization request. If the client has a request key, they
// must be in a request object that it has signed (RFC 9101 section 6).
func (p *Provider) openRequest(outside url.Values) (url.Values, error) {
	p.mu.Lock()
	key := p.requestKey
	p.mu.Unlock()
	if key.Private == nil {
		if outside.Has("request") {
			return nil, errors.New("request objects are not supported")
		}
		return outside, nil
	}
	if len(outside["request"]) != 1 {
		return nil, errors.New("the request object is missing")
	}
	claims, err := p.verifyRequestObject(outside.Get("request"), key)
	if err != nil {
		return nil, err
	}
	inside := make(url.Values)
	for name, value := range claims {
		if slices.Contains([]string{"iss", "aud", "exp", "nbf", "iat", "jti"}, name) {
			continue
		}
		list, isList := value.([]any)
		if !isList {
			list = []any{value}
		}
		for _, one := range list {
			inside.Add(name, fmt.Sprint(one))
		}
	}
	for name := range outside {
		if !slices.Contains(besideRequestObject, name) {
			return nil, fmt.Errorf("%s is outside of the request object", name)
		}
		if inside.Has(name) && inside.Get(name) != outside.Get(name) {
			return nil, fmt.Errorf("%s differs from that in the request object", name)
		}
	}
	p.secret(inside.Get("state"), inside.Get("nonce"))
	return inside, nil
}

// verifyRequestObject returns the claims of a request object.
func (p *Provider) verifyRequestObject(compact string, key Key) (map[string]any, error) {
	payload, err := key.open(compact)
	if err != nil {
		return nil, err
	}
	encoded, _, _ := strings.Cut(compact, ".")
	header, _ := base64.RawURLEncoding.DecodeString(encoded) // open has decoded it
	var typ struct{ Typ string }
	if err := json.Unmarshal(header, &typ); err != nil || typ.Typ != "oauth-authz-req+jwt" {
		return nil, errors.New("typ is not oauth-authz-req+jwt")
	}
	decoder := json.NewDecoder(strings.NewReader(string(payload)))
	decoder.UseNumber()
	var claims map[string]any
	if err := decoder.Decode(&claims); err != nil {
		return nil, fmt.Errorf("the claims: %w", err)
	}
	moment := func(name string) time.Time {
		n, _ := claims[name].(json.Number)
		seconds, _ := n.Int64()
		return time.Unix(seconds, 0)
	}
	now := p.now()
	_, hasSubject := claims["sub"]
	maxAge, hasMaxAge := claims["max_age"]
	_, isNumber := maxAge.(json.Number)
	jti, _ := claims["jti"].(string)
	switch {
	case claims["iss"] != p.ClientID || claims["client_id"] != p.ClientID:
		return nil, errors.New("iss or client_id is not the client's id")
	case claims["aud"] != p.Issuer:
		return nil, errors.New("aud is not the issuer")
	case !moment("exp").After(now) || moment("exp").Sub(now) > maxRequestObjectLifetime:
		return nil, errors.New("exp has passed or is too far in the future")
	case moment("nbf").After(now) || now.Sub(moment("nbf")) > maxRequestObjectLifetime || moment("iat").After(now):
		return nil, errors.New("nbf or iat is in the future, or nbf is too old")
	case hasSubject:
		return nil, errors.New("sub makes it a client assertion")
	case claims["request"] != nil || claims["request_uri"] != nil:
		return nil, errors.New("a request object holds another one")
	case hasMaxAge && !isNumber:
		return nil, errors.New("max_age is not a number")
	case jti == "":
		return nil, errors.New("jti is missing")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.assertions[jti] {
		return nil, errors.New("the jti was already used")
	}
	p.assertions[jti] = true
	return claims, nil
}

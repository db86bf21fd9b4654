package openid

import (
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// requestObjectType is the media type of a request object, without "application/" (RFC 9101
	// section 10.8). It tells one from a client assertion, which the same key signs.
	requestObjectType jose.ContentType = "oauth-authz-req+jwt"
	// requestObjectLifetime is how long a browser may take from here to the provider.
	requestObjectLifetime = 5 * time.Minute
)

// requestObject returns an authorization request as a request object: a JWT, signed by the client,
// with all parameters (RFC 9101 section 4). It is for the configured provider, for a few minutes,
// and with jti for one use (FAPI 2.0 Message Signing section 5.3.2). It has no sub: with one that is
// the client's id, it could pass for a client assertion (RFC 9101 section 10.8).
func (p *Provider) requestObject(request url.Values) (string, error) {
	claims := make(map[string]any, len(request)+7)
	for name, values := range request {
		if claims[name] = request.Get(name); len(values) > 1 {
			claims[name] = values // as resource may be (RFC 8707 section 2.1)
		}
	}
	if request.Has("max_age") {
		claims["max_age"] = json.Number(request.Get("max_age")) // JSON has numbers, a query has only text
	}
	now := p.cfg.Now()
	claims["iss"], claims["aud"], claims["client_id"] = p.cfg.ClientID, p.cfg.Issuer, p.cfg.ClientID
	claims["iat"], claims["nbf"], claims["exp"] = now.Unix(), now.Unix(), now.Add(requestObjectLifetime).Unix()
	claims["jti"] = RandomToken()
	object, err := signClaims(p.requests, claims)
	if err != nil {
		return "", fmt.Errorf("openid: request object: %w", err)
	}
	return object, nil
}

// signedRequest returns the query of the authorization endpoint with a request object in it. Beside
// it are the parameters that OpenID Connect Core 1.0 section 6.1 wants to see outside, and those of the
// endpoint itself.
func (p *Provider) signedRequest(m *Metadata, request url.Values) (url.Values, error) {
	endpoint, err := url.Parse(m.AuthorizationEndpoint)
	if err != nil {
		return nil, refuse(ReasonProviderMisconfigured, "authorization endpoint: %w", err)
	}
	query := endpoint.Query()
	for name := range query {
		request.Del(name)
	}
	object, err := p.requestObject(request)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"client_id", "response_type", "scope"} {
		query.Set(name, request.Get(name))
	}
	query.Set("request", object)
	return query, nil
}

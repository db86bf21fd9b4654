package openid

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// Tokens are the tokens that the provider has issued for a session. They never leave the
// server.
type Tokens struct {
	Access, Refresh Secret
	// IDToken is the last ID token as it came, for id_token_hint at sign-out.
	IDToken Secret
	// Obtained is when they were issued, and Expires when the access token expires; zero
	// if the provider did not say.
	Obtained, Expires time.Time
	// Scope lists the scopes of the access token, as the token response did.
	Scope string
}

// Same reports whether two sets come from the same token response. A provider may issue the
// same access token again.
func (t Tokens) Same(other Tokens) bool {
	return t.Access == other.Access && t.Refresh == other.Refresh && t.Obtained.Equal(other.Obtained)
}

// oauth2Config returns x/oauth2's view of the client.
func (p *Provider) oauth2Config(m *Metadata) *oauth2.Config {
	return &oauth2.Config{
		ClientID:     p.cfg.ClientID,
		ClientSecret: p.cfg.secret(),
		RedirectURL:  p.cfg.RedirectURL,
		Scopes:       p.scopes(m),
		Endpoint: oauth2.Endpoint{
			AuthURL: m.AuthorizationEndpoint, TokenURL: m.TokenEndpoint, AuthStyle: p.cfg.authStyle(),
		},
	}
}

// exchange sends the code to the token endpoint, once, whatever the answer (OpenID Connect
// Core 1.0 section 3.1.3).
func (p *Provider) exchange(ctx context.Context, m *Metadata, code, verifier string) (Tokens, error) {
	token, err := p.oauth2Config(m).Exchange(p.withTokenClient(ctx), code, oauth2.VerifierOption(verifier))
	if err != nil {
		return Tokens{}, p.tokenError(err, code, verifier)
	}
	tokens := p.tokens(token)
	if tokens.IDToken == "" {
		return Tokens{}, refuse(ReasonTokenInvalid, "the token response has no ID token")
	}
	return tokens, nil
}

// Refresh exchanges the refresh token for new tokens (RFC 6749 section 6). If the provider
// sends no new refresh token, or no new ID token, the old one stays. If it sends a new refresh
// token in a response that cannot be used otherwise, Refresh returns that token and an error: the
// old one is worth nothing now.
func (p *Provider) Refresh(ctx context.Context, old Tokens) (Tokens, error) {
	tokens, err := p.refresh(ctx, old)
	if err != nil {
		return tokens, err
	}
	if tokens.IDToken == "" {
		tokens.IDToken = old.IDToken
	}
	tokens.Scope = refreshedScope(old.Scope, tokens.Scope)
	return tokens, nil
}

// refresh uses the refresh token, and returns the tokens of the response, with the old refresh token if
// it has no new one.
func (p *Provider) refresh(ctx context.Context, old Tokens) (Tokens, error) {
	m, err := p.discovery.wait(ctx)
	if err != nil {
		return Tokens{}, err
	}
	expired := &oauth2.Token{RefreshToken: string(old.Refresh), Expiry: time.Unix(1, 0)}
	token, err := p.oauth2Config(m).TokenSource(p.withTokenClient(ctx), expired).Token()
	if err != nil {
		rotated := Tokens{}
		if e, ok := errors.AsType[*tokenResponseError](err); ok {
			rotated.Refresh = e.refresh
		}
		return rotated, p.tokenError(err, string(old.Refresh))
	}
	return p.tokens(token), nil
}

// refreshedScope returns the scope of a refreshed token: what the provider says, but never more
// than was granted (RFC 6749 section 6).
func refreshedScope(granted, said string) string {
	if said == "" || granted == "" {
		return granted
	}
	allowed := strings.Fields(granted)
	return strings.Join(slices.DeleteFunc(strings.Fields(said), func(scope string) bool {
		return !slices.Contains(allowed, scope)
	}), " ")
}

func (p *Provider) tokens(t *oauth2.Token) Tokens {
	idToken, _ := t.Extra("id_token").(string)
	scope, _ := t.Extra("scope").(string)
	tokens := Tokens{
		Access: Secret(t.AccessToken), Refresh: Secret(t.RefreshToken), IDToken: Secret(idToken),
		Obtained: p.cfg.Now().Truncate(time.Microsecond), Scope: scope, // as it is stored
	}
	if t.ExpiresIn > 0 {
		tokens.Expires = tokens.Obtained.Add(time.Duration(t.ExpiresIn) * time.Second)
	}
	return tokens
}

// tokenError turns x/oauth2's error, whose text may quote the response, into an *Error. The
// secrets are those of the request.
func (p *Provider) tokenError(err error, secrets ...string) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	e, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return refuse(ReasonProviderUnreachable, "token endpoint: %w", withoutQuery(err))
	}
	status := e.Response.StatusCode
	if status >= 500 || status == http.StatusTooManyRequests {
		return &Error{
			Reason: ReasonProviderUnreachable, RetryAfter: retryAfter(e.Response),
			Err: fmt.Errorf("the token endpoint answered %d", status),
		}
	}
	return refuse(ReasonTokenRequestFailed, "the token endpoint answered %d", status).
		describe(e.ErrorCode, e.ErrorDescription, append(secrets, string(p.cfg.ClientSecret))...)
}

// maxRetryAfter bounds how long a provider can ask for no requests.
const maxRetryAfter = time.Minute

// retryAfter reads the Retry-After header in seconds (RFC 9110 section 10.2.3). A date, which
// would have to be compared with the provider's clock, counts as none.
func retryAfter(resp *http.Response) time.Duration {
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, maxRetryAfter)
}

func (p *Provider) withTokenClient(ctx context.Context) context.Context {
	return context.WithValue(calling(ctx, "token"), oauth2.HTTPClient, p.tokenClient)
}

// tokenTransport stands between x/oauth2 and the token endpoint. It authenticates the client
// with an assertion and adds parameters to a refresh, which x/oauth2 cannot, and passes on only responses that the standards
// allow, in a form that x/oauth2 reads as the standards mean it.
type tokenTransport struct{ provider *Provider }

func (t tokenTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	extra, _ := req.Context().Value(extraParameters{}).(url.Values)
	if t.provider.signer != nil || len(extra) > 0 {
		completed, err := t.complete(req, extra)
		if err != nil {
			return nil, err
		}
		req = completed
	}
	req.Header.Set("Accept", "application/json")
	resp, err := t.provider.client.Transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := readAll(resp)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		if err != nil {
			return nil, withReason(ReasonProviderUnreachable, err)
		}
		// An error comes in JSON (RFC 6749 section 5.2). x/oauth2 would read one out of
		// plain text, too, which anything between here and the provider may have sent.
		resp.Header.Set("Content-Type", "application/json")
		return withBody(resp, normalizeTokenError(body)), nil
	}
	if err != nil {
		return nil, withReason(ReasonTokenInvalid, err)
	}
	_, err = checkResponse(resp, "application/json")
	var normal []byte
	if err == nil {
		normal, err = normalizeTokenResponse(body)
	}
	if err != nil {
		return nil, withReason(ReasonTokenInvalid, &tokenResponseError{err, refreshTokenIn(body)})
	}
	return withBody(resp, normal), nil
}

// withBody puts another body into a response.
func withBody(resp *http.Response, body []byte) *http.Response {
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp
}

// complete returns the request with extra parameters in its form, and a client assertion if the client
// authenticates with one.
func (t tokenTransport) complete(req *http.Request, extra url.Values) (*http.Request, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, fmt.Errorf("openid: token request: %w", err)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, fmt.Errorf("openid: token request: %w", err)
	}
	maps.Copy(form, extra)
	if t.provider.signer != nil {
		if err := t.provider.addAssertion(form); err != nil {
			return nil, err
		}
	}
	encoded := form.Encode()
	clone := req.Clone(req.Context())
	clone.Body = io.NopCloser(strings.NewReader(encoded))
	clone.GetBody = nil // a second try would repeat the code and the assertion's jti
	clone.ContentLength = int64(len(encoded))
	return clone, nil
}

// tokenResponseError is what is wrong with a successful token response, with the refresh token in
// it, or "".
type tokenResponseError struct {
	error
	refresh Secret
}

func (e *tokenResponseError) Unwrap() error { return e.error }

// refreshTokenIn finds the refresh token in a response that is not what it should be.
func refreshTokenIn(body []byte) (token Secret) {
	var response map[string]json.RawMessage
	_ = json.Unmarshal(body, &response)
	_ = json.Unmarshal(response["refresh_token"], &token)
	return token
}

// normalizeTokenError returns the code and the description of an error response (RFC 6749 section
// 5.2). x/oauth2 would lose the code, which may end a session, if another member is not of its type.
func normalizeTokenError(body []byte) []byte {
	var response map[string]json.RawMessage
	_ = json.Unmarshal(body, &response) // a body that is not JSON has no code
	texts := make(map[string]string)
	for _, name := range []string{"error", "error_description"} {
		var text string
		if json.Unmarshal(response[name], &text) == nil {
			texts[name] = text
		}
	}
	normal, _ := json.Marshal(texts) // of texts, this cannot fail
	return normal
}

// normalizeTokenResponse checks a successful token response (RFC 6749 section 5.1, OpenID
// Connect Core 1.0 section 3.1.3.3). x/oauth2 accepts any token type, and an expires_in that
// is missing, zero or not an integer. A member that a sign-in can do without counts as absent if
// it is not of its type: with the response, a rotated refresh token would be lost.
func normalizeTokenResponse(body []byte) ([]byte, error) {
	c, err := parseStrict(body)
	if err != nil {
		return nil, fmt.Errorf("the token response: %w", err)
	}
	if code, err := c.string("error"); err == nil && code != "" {
		return normalizeTokenError(body), nil // some providers send errors with 200, which x/oauth2 understands
	}
	access, err := c.string("access_token")
	if err != nil || access == "" {
		return nil, errors.New("the token response has no access token")
	}
	kind, err := c.string("token_type")
	if err != nil || !strings.EqualFold(kind, "Bearer") {
		return nil, errors.New("the token type is not Bearer")
	}
	normal := map[string]any{"access_token": access, "token_type": "Bearer"}
	for _, name := range []string{"refresh_token", "id_token", "scope"} {
		if value, _ := c.string(name); value != "" {
			normal[name] = value
		}
	}
	if list, err := stringList(c["scope"]); err == nil { // as some providers send it
		normal["scope"] = strings.Join(list, " ")
	}
	if seconds := lifetimeSeconds(c["expires_in"]); seconds > 0 {
		normal["expires_in"] = seconds
	}
	return json.Marshal(normal)
}

// lifetimeSeconds reads expires_in; 0 if it is missing or makes no sense. A token of unknown
// lifetime is replaced before it is used again.
func lifetimeSeconds(raw json.RawMessage) int64 {
	var n json.Number
	if json.Unmarshal(raw, &n) != nil {
		return 0
	}
	seconds, err := n.Float64()
	if err != nil || seconds < 1 || math.IsNaN(seconds) {
		return 0
	}
	const year = 365 * 24 * 3600
	return int64(min(seconds, year))
}

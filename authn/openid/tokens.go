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
	// ProofKey is the key that the access token is bound to, in PKCS #8; "" for a bearer token. It
	// belongs to the session: a refresh keeps it.
	ProofKey Secret
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

// The types of access tokens (RFC 6750 section 6.1.1, RFC 9449 section 5).
const (
	bearerToken = "Bearer"
	boundToken  = "DPoP"
)

// Type returns the type of the access token, which is also the scheme of the Authorization header that it is
// sent in: "Bearer", or "DPoP" for one that is bound to a key.
func (t Tokens) Type() string {
	if t.ProofKey != "" {
		return boundToken
	}
	return bearerToken
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

// exchange sends the code to the token endpoint (OpenID Connect Core 1.0 section 3.1.3): once, whatever
// the answer, with the one exception of tokenTransport.
func (p *Provider) exchange(ctx context.Context, m *Metadata, code, verifier string) (Tokens, error) {
	proofKey, err := p.newProofKey(m)
	if err != nil {
		return Tokens{}, err
	}
	token, err := p.oauth2Config(m).Exchange(p.withTokenClient(ctx, proofKey), code, oauth2.VerifierOption(verifier))
	if err != nil {
		return Tokens{}, p.tokenError(err, code, verifier)
	}
	tokens := p.tokens(token, proofKey)
	if tokens.IDToken == "" {
		return Tokens{}, refuse(ReasonTokenInvalid, "the token response has no ID token")
	}
	return tokens, nil
}

// Refresh exchanges the refresh token for new tokens (RFC 6749 section 6). If the provider
// sends no new refresh token, or no new ID token, the old one stays. If it sends a new refresh
// token in a response that cannot be used otherwise, Refresh returns that token and an error: the
// old one is worth nothing now.
//
// The old tokens say whether the new ones are bound to a key (RFC 9449 section 5), and not the
// configuration: a session stays as it began.
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
	token, err := p.oauth2Config(m).TokenSource(p.withTokenClient(ctx, old.ProofKey), expired).Token()
	if err != nil {
		rotated := Tokens{}
		if e, ok := errors.AsType[*tokenResponseError](err); ok {
			rotated.Refresh = e.refresh
		}
		return rotated, p.tokenError(err, string(old.Refresh))
	}
	return p.tokens(token, old.ProofKey), nil
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

func (p *Provider) tokens(t *oauth2.Token, proofKey Secret) Tokens {
	idToken, _ := t.Extra("id_token").(string)
	scope, _ := t.Extra("scope").(string)
	tokens := Tokens{
		Access: Secret(t.AccessToken), Refresh: Secret(t.RefreshToken), ProofKey: proofKey, IDToken: Secret(idToken),
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

// tokenProofKey is the context key of the key, a Secret, that a token request asks to bind the access
// token to.
type tokenProofKey struct{}

func (p *Provider) withTokenClient(ctx context.Context, proofKey Secret) context.Context {
	ctx = context.WithValue(calling(ctx, "token"), tokenProofKey{}, proofKey)
	return context.WithValue(ctx, oauth2.HTTPClient, p.tokenClient)
}

// tokenTransport stands between x/oauth2 and the token endpoint. It authenticates the client with an
// assertion, adds parameters to a refresh and proves that the client has the session's key, none of which
// x/oauth2 can. It passes on only responses that the standards allow, in a form that x/oauth2 reads as the
// standards mean it.
//
// It sends the code, or the refresh token, a second time in one case only: the provider has asked for a
// nonce in the proof (RFC 9449 section 8), which it does before it looks at either. The second request has
// a new proof and a new client assertion, because the jti of each counts once.
type tokenTransport struct{ provider *Provider }

func (t tokenTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	proofKey, _ := req.Context().Value(tokenProofKey{}).(Secret)
	resp, body, nonceGiven, err := t.send(req, proofKey)
	if err == nil && nonceGiven && resp.StatusCode >= 400 && resp.StatusCode <= 499 && tokenErrorCode(body) == useNonce {
		resp, body, _, err = t.send(req, proofKey)
	}
	if resp == nil {
		return nil, err
	}
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
		normal, err = normalizeTokenResponse(body, Tokens{ProofKey: proofKey}.Type())
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

// send completes a request and sends it. It returns the response, read to its end, and whether it gives a
// nonce for the next proof. An error that comes with a response is that of reading its body.
func (t tokenTransport) send(req *http.Request, proofKey Secret) (resp *http.Response, body []byte, nonceGiven bool, err error) {
	complete, err := t.complete(req)
	if err != nil {
		return nil, nil, false, err
	}
	complete.Header.Set("Accept", "application/json")
	if proofKey != "" {
		proof, err := t.provider.proof(complete, proofKey, "", t.provider.nonces.of(authorizationServer))
		if err != nil {
			return nil, nil, false, err
		}
		complete.Header.Set("DPoP", proof)
	}
	if resp, err = t.provider.client.Transport.RoundTrip(complete); err != nil {
		return nil, nil, false, err
	}
	nonceGiven = proofKey != "" && t.provider.nonces.read(authorizationServer, resp.Header)
	body, err = readAll(resp)
	return resp, body, nonceGiven, err
}

// complete returns a copy of the request with the extra parameters of its context in the form, and a
// client assertion if the client authenticates with one.
func (t tokenTransport) complete(req *http.Request) (*http.Request, error) {
	source, err := req.GetBody()
	if err != nil {
		return nil, fmt.Errorf("openid: token request: %w", err)
	}
	body, err := io.ReadAll(source)
	if err != nil {
		return nil, fmt.Errorf("openid: token request: %w", err)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, fmt.Errorf("openid: token request: %w", err)
	}
	extra, _ := req.Context().Value(extraParameters{}).(url.Values)
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

// tokenErrorCode returns the code of an error response, or "".
func tokenErrorCode(body []byte) string {
	var refusal struct{ Error string }
	_ = json.Unmarshal(normalizeTokenError(body), &refusal) // which this package wrote
	return refusal.Error
}

// normalizeTokenResponse checks a successful token response (RFC 6749 section 5.1, OpenID
// Connect Core 1.0 section 3.1.3.3). The token must be of the type that was requested: a bearer token in
// place of a bound one would silently remove the protection. x/oauth2 accepts any token type, and an
// expires_in that is missing, zero or not an integer. An optional member of the wrong type is ignored,
// because refusing the response would lose a rotated refresh token.
func normalizeTokenResponse(body []byte, wanted string) ([]byte, error) {
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
	if err != nil || !strings.EqualFold(kind, wanted) {
		return nil, fmt.Errorf("the token type is not %s", wanted)
	}
	normal := map[string]any{"access_token": access, "token_type": wanted}
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

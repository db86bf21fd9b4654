package authn

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"latchkey/authn/openid"
)

// signInAPI stands for the access token of the sign-in.
var signInAPI = openid.API{}

const (
	// maxAPIs is how many other APIs a session keeps access tokens for. A token for one more replaces
	// the one that was refreshed least recently.
	maxAPIs = 8
	// refusedEarly is how long an access token counts as good after it was issued, whatever an API says:
	// otherwise an API that refuses every token would make each request use the refresh token.
	refusedEarly = 30 * time.Second
)

// heldToken is an access token of a session for an API. It has no refresh token and no ID token of its
// own. backoff says when it may be refreshed again after that has failed.
type heldToken struct {
	api     openid.API
	tokens  openid.Tokens
	backoff backoff
}

// failed returns the token after one more failure to refresh it.
func (h heldToken) failed(now time.Time, retryAfter time.Duration) heldToken {
	h.backoff = h.backoff.next(now, retryAfter)
	return h
}

// held returns the session's access token for an API, with no token if there is none.
func (s *Session) held(api openid.API) heldToken {
	if api == signInAPI {
		return heldToken{api, s.tokens, s.backoff}
	}
	if i := slices.IndexFunc(s.apis, func(h heldToken) bool { return h.api == api }); i >= 0 {
		return s.apis[i]
	}
	return heldToken{api: api}
}

// hold puts a token in the place of the one for the same API. Other snapshots of the session keep theirs.
func (s *Session) hold(h heldToken) {
	if h.api == signInAPI {
		s.tokens, s.backoff = h.tokens, h.backoff
		return
	}
	others := slices.DeleteFunc(slices.Clone(s.apis), func(other heldToken) bool { return other.api == h.api })
	s.apis = append(others, h)
	s.apis = s.apis[max(0, len(s.apis)-maxAPIs):]
}

// replaced reports whether the access token for an API is another one than in seen. The refresh token
// alone may have been replaced for the sake of another API.
func (s *Session) replaced(seen *Session, api openid.API) bool {
	mine, theirs := s.held(api).tokens, seen.held(api).tokens
	return mine.Access != theirs.Access || !mine.Obtained.Equal(theirs.Obtained)
}

func (s *Session) encodeSince4(e *encoder) {
	e.byte(byte(len(s.apis)))
	for _, h := range s.apis {
		e.string(h.api.Audience)
		e.string(h.api.Scope)
		e.string(string(h.tokens.Access))
		e.time(h.tokens.Obtained)
		e.time(h.tokens.Expires)
		e.string(h.tokens.Scope)
		e.byte(h.backoff.failures)
		e.time(h.backoff.until)
	}
}

func (s *Session) decodeSince4(d *decoder) {
	for range d.byte() {
		s.apis = append(s.apis, heldToken{
			api:     openid.API{Audience: d.string(), Scope: d.string()},
			tokens:  openid.Tokens{Access: openid.Secret(d.string()), Obtained: d.time(), Expires: d.time(), Scope: d.string()},
			backoff: backoff{failures: d.byte(), until: d.time()},
		})
	}
}

// APITokens are people's access tokens for one API.
type APITokens struct {
	ts  *TokenSource
	api openid.API
}

// For returns the access tokens for an API. The first one for a session is requested with its refresh
// token. The session keeps it apart from the others, and they end with it.
func (ts *TokenSource) For(api openid.API) APITokens {
	api.Scope = strings.Join(strings.Fields(api.Scope), " ")
	return APITokens{ts, api}
}

// at returns the API, or signInAPI if the sign-in already requests an access token for it.
func (t APITokens) at(session *Session) openid.API {
	if t.api.Scope == "" && t.api.Audience == t.ts.provider(session).Audience() {
		return signInAPI
	}
	return t.api
}

// Token returns an access token of the session that the context carries. It is refreshed first
// if it is about to expire; if that fails, it is used until it expires.
//
// Token returns ErrAnonymous if the context carries no session. The other errors are an
// *openid.Error with ReasonSessionEnded, if the session has ended; ReasonRefreshRefused, if
// there is no refresh token; openid.ReasonAPIRefused, if the provider issues no token for the API; or
// openid.ReasonProviderUnreachable, openid.ReasonProviderMisconfigured, ReasonRefreshFailed or
// ReasonStoreUnavailable, if it is worth trying again.
//
// A token of type DPoP is worth nothing without the session's key: use Client or Access to send it.
func (t APITokens) Token(ctx context.Context) (*oauth2.Token, error) {
	access, err := t.Access(ctx)
	if err != nil {
		return nil, err
	}
	tokens := access.tokens
	return &oauth2.Token{AccessToken: string(tokens.Access), TokenType: tokens.Type(), Expiry: tokens.Expires}, nil
}

// AccessToken is an access token of a session, with the key that it is bound to, if there is one.
type AccessToken struct {
	provider *openid.Provider
	tokens   openid.Tokens
}

// Format implements fmt.Formatter for every verb: fmt would print the secrets in unexported fields without
// calling their methods.
func (AccessToken) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[hidden]") }

// Send sends a request to the API with the token; see [openid.Provider.Send].
func (a *AccessToken) Send(r *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	return a.provider.Send(r, a.tokens, send)
}

// Access returns the token that Token returns, for a caller that makes the request itself. The errors are
// those of Token.
func (t APITokens) Access(ctx context.Context) (*AccessToken, error) {
	session := FromContext(ctx)
	if session == nil {
		return nil, ErrAnonymous
	}
	session, err := t.ts.sessions.withTokens(ctx, t.ts.latest(session))
	if err == nil {
		session, err = t.ts.fresh(ctx, session, t.at(session))
	}
	if err != nil {
		return nil, err
	}
	return t.of(session), nil
}

// Renew returns an access token in place of one that the API has refused: the session's, if it has
// another one by now, and otherwise a new one from the provider. It returns nil if the refused token was
// issued less than half a minute ago: another one would be refused too. The errors are those of Token.
func (t APITokens) Renew(ctx context.Context, refused *AccessToken) (*AccessToken, error) {
	session := FromContext(ctx)
	if session == nil {
		return nil, ErrAnonymous
	}
	if _, unsaved := t.ts.unsavedTokens(session); unsaved {
		session = t.ts.latest(session)
	} else {
		var err error
		if session, err = t.ts.sessions.current(ctx, session); err != nil {
			return nil, err
		}
	}
	held := session.held(t.at(session)).tokens
	if refusedAgain := held.Access == refused.tokens.Access; refusedAgain || held.Access == "" {
		if refusedAgain && t.ts.now().Sub(held.Obtained) < refusedEarly {
			return nil, nil
		}
		renewed, err := t.ts.refresh(ctx, session, t.at(session))
		if err != nil {
			return nil, err
		}
		session = renewed
	}
	return t.of(session), nil
}

// of returns the token of a session. All tokens of a session are bound to the same key.
func (t APITokens) of(session *Session) *AccessToken {
	held := session.held(t.at(session)).tokens
	return &AccessToken{t.ts.provider(session), openid.Tokens{Access: held.Access, ProofKey: session.tokens.ProofKey, Expires: held.Expires}}
}

// Source returns an oauth2.TokenSource for the session that the context carries. It calls
// Token, as long as the context is alive.
func (t APITokens) Source(ctx context.Context) oauth2.TokenSource { return boundSource{ctx, t} }

type boundSource struct {
	ctx    context.Context
	tokens APITokens
}

func (s boundSource) Token() (*oauth2.Token, error) { return s.tokens.Token(s.ctx) }

// Client returns an HTTP client that sends the session's access token (RFC 6750 section 2.1), with a proof
// for each request if the token is bound to the session's key (RFC 9449 section 7.1), for calls to the API
// that the token is for. Each call calls Access. The client follows no redirects, which would take the
// token elsewhere.
func (t APITokens) Client(ctx context.Context) *http.Client {
	return &http.Client{
		Transport:     boundTransport{ctx, t},
		Timeout:       callbackTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// boundTransport sends the access token of the session that a context carries.
type boundTransport struct {
	ctx    context.Context
	tokens APITokens
}

func (t boundTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	access, err := t.tokens.Access(t.ctx)
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	return access.Send(r, t.tokens.ts.transports.For(t.ctx).RoundTrip)
}

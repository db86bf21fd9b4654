package routes

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
)

// apiError is an error of an API route. The response is problem+json, whatever the client accepts.
type apiError struct{ err error }

func (e *apiError) Error() string { return e.err.Error() }
func (e *apiError) Unwrap() error { return e.err }

// bearerError is a refusal with an error code from RFC 6750 section 3.1.
type bearerError struct {
	code  string // "" if there were no credentials
	scope string // the scopes that the route requires, with insufficient_scope
	err   error
}

func (e *bearerError) reason() string { return cmp.Or(e.code, "no_credentials") }

func (e *bearerError) Error() string { return "routes: API: " + e.err.Error() }
func (e *bearerError) Unwrap() error { return e.err }

// challenge returns the value of the WWW-Authenticate header (RFC 6750 section 3).
func (e *bearerError) challenge(realm string) string {
	text := `Bearer realm="` + realm + `"`
	if e.code != "" {
		text += `, error="` + e.code + `"`
	}
	if e.scope != "" {
		text += `, scope="` + e.scope + `"`
	}
	return text
}

func invalidRequest(text string) *bearerError {
	return &bearerError{code: "invalid_request", err: errors.New(text)}
}

// writeAPIError answers with problem+json, and adds a challenge if the bearer token is missing or
// refused.
func (a *App) writeAPIError(c echo.Context, f failure, err error) error {
	if refused, ok := errors.AsType[*bearerError](err); ok {
		c.Response().Header().Set(echo.HeaderWWWAuthenticate, refused.challenge(a.BaseURL.String()))
	}
	return a.writeProblem(c, f)
}

// api comes before every API route. It accepts a caller with an access token or a session, and
// puts the caller into the request's context (see authn.CallerFrom). If the request has a token,
// api ignores the session: it refuses a bad token even from a browser that is signed in.
//
// A call does not restart the idle timeout, because scripts call APIs without a person.
func (a *App) api(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Header()["Vary"] = []string{"Authorization, Cookie"}
		caller, err := a.caller(c.Request())
		if err == nil {
			setCaller(c, caller)
			err = next(c)
		}
		if err != nil {
			return &apiError{err}
		}
		return nil
	}
}

// caller returns the sender of a request.
func (a *App) caller(r *http.Request) (*authn.Caller, error) {
	token, err := bearerToken(r)
	if err != nil {
		return nil, err
	}
	if token == "" {
		return a.callerBySession(r)
	}
	t, err := a.Provider.VerifyAccessToken(r.Context(), token)
	if openid.ReasonOf(err) == openid.ReasonAccessTokenInvalid {
		return nil, &bearerError{code: "invalid_token", err: err}
	}
	if err != nil {
		return nil, err
	}
	return &authn.Caller{Token: t}, nil
}

// callerBySession accepts the session cookie from this app's own pages and from a person who types
// the address. It refuses the pages of other sites, which can make a browser send the cookie.
func (a *App) callerBySession(r *http.Request) (*authn.Caller, error) {
	s, err := a.Sessions.Load(r)
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return nil, &bearerError{err: authn.ErrAnonymous}
	case !slices.Contains([]string{"", "same-origin", "none"}, r.Header.Get("Sec-Fetch-Site")):
		return nil, errCrossOrigin
	}
	return &authn.Caller{Session: s}, nil
}

// bearerToken returns the access token of a request, or "" if it has none. It accepts a token only
// in the Authorization header, because URLs end up in logs (RFC 6750 sections 2.3 and 5.3).
func bearerToken(r *http.Request) (string, error) {
	if err := r.ParseForm(); err != nil {
		return "", invalidRequest("the query or the form is malformed")
	}
	if r.Form.Has("access_token") {
		return "", invalidRequest("an access token is in the query or in the form")
	}
	headers := r.Header.Values("Authorization")
	if len(headers) > 1 {
		return "", invalidRequest("there are two Authorization headers")
	}
	scheme, token, _ := strings.Cut(strings.Join(headers, ""), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", nil // these may be credentials for a proxy
	}
	token = strings.TrimLeft(token, " ")
	if !isB64Token(token) {
		return "", invalidRequest("the Authorization header does not hold exactly one bearer token")
	}
	return token, nil
}

// isB64Token reports whether s has the syntax of a bearer token (RFC 6750 section 2.1).
func isB64Token(s string) bool {
	s = strings.TrimRight(s, "=")
	strange := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~+/", r)
	}
	return s != "" && !strings.ContainsFunc(s, strange)
}

// requireScope refuses an access token that lacks one of these scopes. A session needs no scope: a
// scope limits what a client may do on a person's behalf, and with a session the person acts.
// requireScope comes after api.
func (a *App) requireScope(scopes ...string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			caller := authn.CallerFrom(c.Request().Context())
			if caller == nil {
				return authn.ErrAnonymous
			}
			for _, scope := range scopes {
				if caller.Token != nil && !slices.Contains(caller.Token.Scopes, scope) {
					return &bearerError{
						code: "insufficient_scope", scope: strings.Join(scopes, " "),
						err: errors.New("the access token does not have the scope"),
					}
				}
			}
			return next(c)
		}
	}
}

// me is the response of GET /api/me. It contains nothing of a token.
type me struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
	// Name, Email, EmailVerified and Picture are missing if the provider does not send them.
	Name          string `json:"name,omitempty"`
	Email         string `json:"email,omitempty"`
	EmailVerified *bool  `json:"email_verified,omitempty"`
	Picture       string `json:"picture,omitempty"`
	// AuthenticatedBy is "session" or "access_token". ClientID is the client that holds the token.
	AuthenticatedBy string    `json:"authenticated_by"`
	ClientID        string    `json:"client_id,omitempty"`
	Scopes          []string  `json:"scopes"`
	Expires         time.Time `json:"expires_at"`
}

// me answers with the caller's identity.
func (a *App) me(c echo.Context) error {
	caller := authn.CallerFrom(c.Request().Context())
	answer := me{
		Issuer: caller.Issuer(), Subject: caller.Subject(), AuthenticatedBy: "session",
		Scopes: append([]string{}, caller.Scopes()...), Expires: caller.Expires().UTC(),
	}
	if caller.Token != nil {
		answer.AuthenticatedBy, answer.ClientID = "access_token", caller.Token.ClientID
	}
	profile := caller.Profile()
	answer.Name, answer.Email, answer.Picture = profile.Name, profile.Email, profile.Picture
	if answer.Email != "" {
		answer.EmailVerified = &profile.EmailVerified
	}
	return c.JSON(http.StatusOK, answer)
}

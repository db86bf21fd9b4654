package routes

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
)

// apiError is any error of an API route. It is answered as problem+json, whatever the
// client says that it reads.
type apiError struct{ err error }

func (e *apiError) Error() string { return e.err.Error() }
func (e *apiError) Unwrap() error { return e.err }

// bearerError is a refusal in the words of RFC 6750 section 3.1.
type bearerError struct {
	status int
	code   string // "" where no credentials came
	scope  string // that is needed, if that is what is missing
	err    error
}

func (e *bearerError) Error() string { return "routes: API: " + e.err.Error() }
func (e *bearerError) Unwrap() error { return e.err }

// challenge is the WWW-Authenticate header of the refusal (RFC 6750 section 3).
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
	return &bearerError{status: http.StatusBadRequest, code: "invalid_request", err: errors.New(text)}
}

// api stands in front of every API route. It lets a caller through who has an access
// token, or who is signed in, and puts them into the request's context (see
// authn.CallerFrom). A token that was sent counts, and the session that a browser may have
// sent along does not: a bad token is refused, whoever is signed in.
//
// A session does not get older by it: scripts call APIs, and need nobody for it.
func (a *App) api(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Header()["Vary"] = []string{"Authorization, Cookie"}
		caller, err := a.caller(c.Request())
		if err == nil {
			r := c.Request()
			c.SetRequest(r.WithContext(authn.WithCaller(r.Context(), caller)))
			err = next(c)
		}
		if err != nil {
			return &apiError{err}
		}
		return nil
	}
}

// caller finds out who sent a request.
func (a *App) caller(r *http.Request) (*authn.Caller, error) {
	token, err := bearerToken(r)
	if err != nil {
		return nil, err
	}
	if token == "" {
		return a.callerBySession(r)
	}
	t, err := a.RelyingParty.VerifyAccessToken(r.Context(), token)
	if authn.ReasonOf(err) == authn.ReasonAccessTokenInvalid {
		return nil, &bearerError{status: http.StatusUnauthorized, code: "invalid_token", err: err}
	}
	if err != nil {
		return nil, err
	}
	return &authn.Caller{Token: t}, nil
}

// callerBySession takes the session's cookie from this app's own pages and from a person
// who types the address. Another site's page may make a browser send it, and has no
// business here.
func (a *App) callerBySession(r *http.Request) (*authn.Caller, error) {
	s, err := a.Sessions.Load(r)
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return nil, &bearerError{status: http.StatusUnauthorized, err: authn.ErrAnonymous}
	case !slices.Contains([]string{"", "same-origin", "none"}, r.Header.Get("Sec-Fetch-Site")):
		return nil, errCrossOrigin
	}
	return &authn.Caller{Session: s}, nil
}

// bearerToken returns the access token of a request, or "" if it has none. It is taken
// from the Authorization header and from nowhere else: what is in a URL is in logs too (RFC
// 6750 sections 2.3 and 5.3).
func bearerToken(r *http.Request) (string, error) {
	if err := r.ParseForm(); err != nil {
		return "", invalidRequest("the query or the form cannot be read")
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
		return "", nil // a proxy's, perhaps
	}
	token = strings.TrimLeft(token, " ")
	if !isB64Token(token) {
		return "", invalidRequest("the Authorization header has no bearer token, or not one alone")
	}
	return token, nil
}

// isB64Token reports whether a text can be a bearer token (RFC 6750 section 2.1).
func isB64Token(s string) bool {
	s = strings.TrimRight(s, "=")
	strange := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~+/", r)
	}
	return s != "" && !strings.ContainsFunc(s, strange)
}

// requireScope lets no access token past that does not have all of these scopes. A
// session needs none: a scope says what a person lets a client do in their name, and here
// they do it themselves. It stands behind api.
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
						status: http.StatusForbidden, code: "insufficient_scope", scope: strings.Join(scopes, " "),
						err: errors.New("the access token does not have the scope"),
					}
				}
			}
			return next(c)
		}
	}
}

// me is the answer of GET /api/me. There is nothing of a token in it.
type me struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
	// Name and what follows are missing where the provider does not say them.
	Name          string `json:"name,omitempty"`
	Email         string `json:"email,omitempty"`
	EmailVerified *bool  `json:"email_verified,omitempty"`
	Picture       string `json:"picture,omitempty"`
	// AuthenticatedBy is "session" or "access_token"; ClientID is who holds the token.
	AuthenticatedBy string    `json:"authenticated_by"`
	ClientID        string    `json:"client_id,omitempty"`
	Scopes          []string  `json:"scopes"`
	Expires         time.Time `json:"expires_at"`
}

// me says who is calling.
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

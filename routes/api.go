package routes

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
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

// scheme is an authentication scheme with which an access token is sent.
type scheme string

const (
	bearer scheme = "Bearer" // RFC 6750 section 2.1
	dpop   scheme = "DPoP"   // RFC 9449 section 7.1
)

// tokenError is a refusal of an access token or of the operators' token, with an error code from RFC 6750
// section 3.1 or RFC 9449 section 7.1, or of a request that has none.
type tokenError struct {
	code  string // "" if there were no credentials
	scope string // the scopes that the route requires, with insufficient_scope
	// schemes are those that the request used, or may use.
	schemes []scheme
	err     error
}

func (e *tokenError) reason() string { return cmp.Or(e.code, "no_credentials") }

func (e *tokenError) Error() string { return "routes: API: " + e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }

// challenges returns the values of the WWW-Authenticate header (RFC 6750 section 3, RFC 9449 section
// 7.1).
func (e *tokenError) challenges(realm string) (list []string) {
	for _, scheme := range e.schemes {
		text := string(scheme) + ` realm="` + realm + `"`
		if e.code != "" {
			text += `, error="` + e.code + `"`
		}
		if e.scope != "" {
			text += `, scope="` + e.scope + `"`
		}
		if scheme == dpop {
			text += `, algs="` + strings.Join(openid.ProofAlgorithms(), " ") + `"`
		}
		list = append(list, text)
	}
	return list
}

func invalidRequest(used scheme, text string) *tokenError {
	return &tokenError{code: "invalid_request", schemes: []scheme{used}, err: errors.New(text)}
}

// writeAPIError answers with problem+json, and adds a challenge if the access token is missing or
// refused.
func (a *App) writeAPIError(c echo.Context, f failure, err error) error {
	if refused, ok := errors.AsType[*tokenError](err); ok {
		c.Response().Header()["Www-Authenticate"] = refused.challenges(a.BaseURL.String())
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
		caller, err := a.caller(c)
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
func (a *App) caller(c echo.Context) (*authn.Caller, error) {
	r := c.Request()
	used, token, err := accessToken(r)
	if err != nil {
		return nil, err
	}
	if token == "" {
		return a.callerBySession(r)
	}
	t, err := a.ResourceServer.Accept(r.Context(), a.RelyingParties.OfToken(token).Provider(), a.presented(r, used, token))
	if nonce := a.ResourceServer.Nonce(); used == dpop && nonce != "" && (err != nil || t.Proof.Nonce != nonce) {
		c.Response().Header()["Dpop-Nonce"] = []string{nonce} // RFC 9449 sections 8.2 and 9
	}
	switch reason := openid.ReasonOf(err); reason {
	case openid.ReasonAccessTokenInvalid, openid.ReasonOtherTenant:
		return nil, &tokenError{code: "invalid_token", schemes: []scheme{used}, err: err}
	case openid.ReasonProofInvalid, authn.ReasonNonceNeeded: // which are error codes
		return nil, &tokenError{code: string(reason), schemes: []scheme{used}, err: err}
	}
	if err != nil {
		return nil, err
	}
	return &authn.Caller{Token: t}, nil
}

// presented returns an access token with the request's evidence for the keys that it may be bound to. A
// DPoP proof must name the app's own URL, not the one that a proxy has rewritten. A certificate counts
// only if the client presented it on a connection to this process: a client can send a header with any
// certificate, and proxies do not remove such a header by default.
func (a *App) presented(r *http.Request, used scheme, token string) openid.Presented {
	sent := openid.Presented{Token: token}
	if used == dpop {
		sent.DPoP, sent.Proofs, sent.Method = true, r.Header["Dpop"], r.Method
		sent.URL = &url.URL{Scheme: a.BaseURL.Scheme, Host: a.BaseURL.Host, Path: r.URL.Path, RawPath: r.URL.RawPath}
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		sent.Certificate = r.TLS.PeerCertificates[0]
	}
	return sent
}

// MutualTLS returns the handler of the address where clients are asked for a certificate (RFC 8705). It
// has an address of its own because a browser that is asked for a certificate asks the person for it. The
// handler serves a request with an access token under any host name, so that the name can differ from the
// app's. It serves any other request only under the app's own host, and without its cookies. No proxy has
// read the request, so its forwarding headers are the client's own.
func (a *App) MutualTLS() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Cookie", "X-Forwarded-For", "X-Forwarded-Host"} {
			r.Header.Del(name)
		}
		if used, _ := credentials(r.Header.Get("Authorization")); used != "" {
			r.Host = a.BaseURL.Host
		}
		a.ServeHTTP(w, r)
	})
}

// callerBySession accepts the session cookie from this app's own pages and from a person who types
// the address. It refuses the pages of other sites, which can make a browser send the cookie.
func (a *App) callerBySession(r *http.Request) (*authn.Caller, error) {
	s, err := a.Sessions.Load(r)
	switch {
	case errors.Is(err, authn.ErrRenewalNeeded):
		return nil, &tokenError{schemes: []scheme{bearer, dpop}, err: err}
	case err != nil:
		return nil, err
	case s == nil:
		return nil, &tokenError{schemes: []scheme{bearer, dpop}, err: authn.ErrAnonymous}
	case !fromOurOrigin(r):
		return nil, errCrossOrigin
	}
	return &authn.Caller{Session: s}, nil
}

// accessToken returns the access token of a request and the scheme that it was sent with, or "" if it
// has none. It accepts a token only in the Authorization header, because URLs end up in logs (RFC 6750
// sections 2.3 and 5.3).
func accessToken(r *http.Request) (used scheme, token string, err error) {
	if err := r.ParseForm(); err != nil {
		return "", "", invalidRequest(bearer, "the query or the form is malformed")
	}
	if r.Form.Has("access_token") {
		return "", "", invalidRequest(bearer, "an access token is in the query or in the form")
	}
	headers := r.Header.Values("Authorization")
	if len(headers) > 1 {
		return "", "", invalidRequest(bearer, "there are two Authorization headers")
	}
	used, token = credentials(strings.Join(headers, ""))
	if used == "" {
		return "", "", nil // these may be credentials for a proxy
	}
	if !isB64Token(token) {
		return "", "", invalidRequest(used, "the Authorization header does not hold exactly one access token")
	}
	return used, token, nil
}

// credentials splits the value of an Authorization header. It returns no scheme if that is not one of an
// access token.
func credentials(authorization string) (scheme, string) {
	name, token, _ := strings.Cut(authorization, " ")
	for _, known := range []scheme{bearer, dpop} {
		if strings.EqualFold(name, string(known)) {
			return known, strings.TrimLeft(token, " ")
		}
	}
	return "", ""
}

// isB64Token reports whether s has the syntax of an access token (RFC 6750 section 2.1, RFC 9449
// section 7.1).
func isB64Token(s string) bool {
	s = strings.TrimRight(s, "=")
	strange := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~+/", r)
	}
	return s != "" && !strings.ContainsFunc(s, strange)
}

// RequireScope refuses an access token that does not have all of these scopes. A session needs no scope:
// a scope limits what a client may do on a person's behalf, and with a session the person acts.
// RequireScope comes after Router.API.
func (a *App) RequireScope(scopes ...string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			caller := authn.CallerFrom(c.Request().Context())
			if caller == nil {
				return authn.ErrAnonymous
			}
			for _, scope := range scopes {
				if caller.Token != nil && !slices.Contains(caller.Token.Scopes, scope) {
					used := bearer
					if caller.Token.Proof != nil {
						used = dpop
					}
					return &tokenError{
						code: "insufficient_scope", scope: strings.Join(scopes, " "), schemes: []scheme{used},
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

// newMe returns the identity of a caller.
func newMe(caller *authn.Caller) me {
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
	return answer
}

// me answers with the caller's identity.
func (a *App) me(c echo.Context) error {
	caller := authn.CallerFrom(c.Request().Context())
	encode := func(w io.Writer) error { return json.NewEncoder(w).Encode(newMe(caller)) }
	c.Response().Header()[echo.HeaderContentType] = []string{echo.MIMEApplicationJSON}
	if caller.Session != nil {
		return caller.Session.Fragment(c.Response(), "/api/me", caller.Expires(), encode)
	}
	return encode(c.Response())
}

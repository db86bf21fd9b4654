package routes

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"latchkey/authn"
	"latchkey/authn/openid"
)

// chain joins middleware. The first one sees a request first.
func chain(middleware ...echo.MiddlewareFunc) echo.MiddlewareFunc {
	return func(handler echo.HandlerFunc) echo.HandlerFunc {
		for _, m := range slices.Backward(middleware) {
			handler = m(handler)
		}
		return handler
	}
}

// once applies middleware once. Echo applies it to the handler of the route, again for each request.
func once(middleware echo.MiddlewareFunc) echo.MiddlewareFunc {
	handle := middleware(func(c echo.Context) error { return c.Handler()(c) })
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.SetHandler(next) // with the middleware that a product adds by Use
			return handle(c)
		}
	}
}

// recover turns a panic in a handler into an error, so that the process survives.
func (a *App) recover() echo.MiddlewareFunc {
	return middleware.RecoverWithConfig(middleware.RecoverConfig{
		DisableStackAll:     true,
		DisableErrorHandler: true,
		LogErrorFunc: func(c echo.Context, err error, stack []byte) error {
			// The text of a panic may contain anything, unless the runtime wrote it.
			text := "withheld"
			if e, ok := errors.AsType[runtime.Error](err); ok {
				text = e.Error()
			}
			a.Log.ErrorContext(c.Request().Context(), "handler panicked", "text", text, "type", fmt.Sprintf("%T", err), "stack", string(stack))
			return errPanic
		},
	})
}

// limitAddress refuses an address that is longer, or has more parameters, than any useful one,
// because later handlers parse the address more than once.
func limitAddress(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if len(r.RequestURI) > maxAddress || strings.Count(r.URL.RawQuery, "&") >= maxParameters {
			return echo.NewHTTPError(http.StatusRequestURITooLong)
		}
		return next(c)
	}
}

// limitBody bounds the bodies of requests. Those that Proxy passes on have a limit of their own.
func (a *App) limitBody() echo.MiddlewareFunc {
	return middleware.BodyLimitWithConfig(middleware.BodyLimitConfig{
		Limit: maxBody, Skipper: func(c echo.Context) bool { return a.proxied[c.Request().Method+" "+c.Path()] },
	})
}

// host refuses requests for any host but the configured one. A sign-in that starts under another
// name cannot finish, because its cookie belongs to that name, and a foreign name that resolves to
// this server is a sign of DNS rebinding.
func (a *App) host(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		host := a.requestedHost(r)
		if strings.EqualFold(host, a.BaseURL.Host) {
			r.Host = strings.ToLower(host) // as browsers write it in Origin, with which crossOriginCheck compares it
			return next(c)
		}
		// A provider may know this server by a name of its own network. The signature of its token is checked.
		if slices.Contains([]string{"/healthz", "/readyz", backchannelLogoutPath}, c.Path()) {
			return next(c)
		}
		// To people, "localhost" and "127.0.0.1" are the same.
		name, _, err := net.SplitHostPort(host)
		if err != nil {
			name = host
		}
		if openid.IsLoopback(name) && openid.IsLoopback(a.BaseURL.Hostname()) && slices.Contains(reading, r.Method) && authn.IsNavigation(r) {
			page, _ := authn.ParseReturnPath(r.URL.RequestURI())
			return c.Redirect(http.StatusSeeOther, a.BaseURL.Scheme+"://"+a.BaseURL.Host+page.String())
		}
		return errWrongHost
	}
}

// crossOriginCheck refuses requests that another site's page makes a browser send. A request without
// Sec-Fetch-Site and Origin passes: it does not come from a browser, so no page could have forged it.
func (a *App) crossOriginCheck(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().Method == http.MethodOptions {
			return echo.ErrMethodNotAllowed // no other origin has access, so a preflight is refused
		}
		if err := a.crossOrigin.Check(c.Request()); err != nil {
			return errCrossOrigin
		}
		return next(c)
	}
}

// session puts the visitor's session into the request's context. If the store does not respond, it
// returns an error: an outage must not look like a visitor who is not signed in. Neither must a person
// whose browser has yet to prove the key of their session.
func (a *App) session(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		c.Response().Header()["Vary"] = pageVary()
		s, err := a.Sessions.Load(r)
		switch {
		case errors.Is(err, authn.ErrRenewalNeeded) && withoutProof(c):
		case err != nil:
			return err
		case s != nil:
			setSession(c, s)
		case a.Sessions.SentCookie(r) && authn.IsNavigation(r):
			// Only for navigations: the response to a script could arrive after a sign-in in
			// another tab, and delete the new cookie.
			a.Sessions.Clear(c.Response())
		}
		return next(c)
	}
}

// requireSession refuses visitors who have not signed in. A request that shows that the person is active
// restarts the idle timeout.
func (a *App) requireSession(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		s := current(c)
		if s == nil {
			return a.noSession(c)
		}
		if showsActivity(c.Request()) {
			a.Sessions.Touch(c.Request().Context(), s)
		}
		return next(c)
	}
}

// showsActivity reports whether a person goes to a page, or a page of this app sends the request. A prefetch,
// or an image in the page of a neighbouring host, comes without its person.
func showsActivity(r *http.Request) bool {
	return authn.IsNavigation(r) || fromOurOrigin(r) && !authn.IsPrefetch(r)
}

// noSession returns the error for a request without a session. If the session was ended in a way
// that needs an explanation, the error says why.
func (a *App) noSession(c echo.Context) error {
	if because := because(a.Sessions.EndCause(c.Request())); because != "" {
		return &sessionEnded{because}
	}
	return authn.ErrAnonymous
}

// current returns the session of a request, or nil.
func current(c echo.Context) *authn.Session {
	return authn.FromContext(c.Request().Context())
}

// fromOurOrigin reports whether a page of this app sends a request, or the person themselves, who types the
// address. It also returns true for a client that is no browser, or too old to say.
func fromOurOrigin(r *http.Request) bool {
	return slices.Contains([]string{"", "same-origin", "none"}, r.Header.Get("Sec-Fetch-Site"))
}

// isHTMX reports whether htmx requests a fragment. The result may decide only the format of the
// response, because any client can send the header.
func isHTMX(r *http.Request) bool { return r.Header.Get("HX-Request") == "true" }

// wantsJSON reports whether the client is a program that reads JSON and not HTML.
func wantsJSON(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	return !strings.Contains(accept, "text/html") &&
		(strings.Contains(accept, "application/json") || strings.Contains(accept, "application/problem+json"))
}

// returnPath returns the page to return to after a sign-in: the page that the person was on, not the
// fragment or the form whose request found them signed out.
func returnPath(r *http.Request) authn.ReturnPath {
	switch {
	case isHTMX(r):
		if page, err := url.Parse(r.Header.Get("HX-Current-URL")); err == nil {
			return parseReturnPath(page.RequestURI())
		}
		return authn.ReturnPath{}
	case r.URL.Path == "/login":
		return parseReturnPath(r.URL.Query().Get("return_to"))
	case slices.Contains(reading, r.Method):
		return parseReturnPath(r.URL.RequestURI())
	default:
		return authn.ReturnPath{}
	}
}

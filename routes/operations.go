package routes

import (
	"context"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"latchkey/authn/openid"
)

// Operations returns the handler for the operators' own address. It serves health and metrics, and with
// an OperatorToken what operators do with sessions.
func (a *App) Operations() http.Handler {
	e := echo.New()
	e.HTTPErrorHandler = func(err error, c echo.Context) { a.handleError(&apiError{err}, c) }
	e.IPExtractor = echo.ExtractIPDirect()
	e.Use(a.identify, a.recover(), limitAddress, middleware.BodyLimit(maxBody), func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.Response().Header()["Cache-Control"] = []string{"no-store"}
			c.Response().Header()["X-Content-Type-Options"] = []string{"nosniff"}
			return next(c)
		}
	})
	e.Match(reading, "/healthz", a.healthz)
	e.Match(reading, "/readyz", a.readyz)
	e.Match(reading, "/metrics", a.exposeMetrics)
	if a.OperatorToken != "" {
		e.GET(SessionsPath, a.listSessions, a.operator)
		e.POST(EndSessionsPath, a.endSessions, a.operator)
	}
	return e
}

// AppHeader is a header of /healthz and /readyz with AppName, by which a caller on this machine knows
// that it has asked this app: other programs also answer {"status":"ok"}.
const AppHeader = "X-App"

// AppName names the program and the base URL that it serves.
func AppName(base *url.URL) string { return "latchkey at " + base.String() }

// healthz reports that the process is alive.
func (a *App) healthz(c echo.Context) error {
	c.Response().Header().Set(AppHeader, AppName(a.BaseURL))
	return c.JSON(http.StatusOK, map[string]string{"status": "ok"})
}

// readyz reports whether people can sign in: the store responds and the provider, or one of them, has
// been discovered. It names reasons; the details are in the log.
func (a *App) readyz(c echo.Context) error {
	r := a.readiness(c.Request().Context())
	c.Response().Header().Set(AppHeader, AppName(a.BaseURL))
	return c.JSON(r.httpStatus, r)
}

// readiness is the response of /readyz.
type readiness struct {
	httpStatus int
	Status     string            `json:"status"`
	Checks     map[string]string `json:"checks"`
}

func (a *App) readiness(ctx context.Context) readiness {
	r := readiness{http.StatusOK, "ready", map[string]string{"store": "ok", "provider": "ok"}}
	fail := func(check string, err error) {
		r.Checks[check], r.httpStatus, r.Status = string(openid.ReasonOf(err)), http.StatusServiceUnavailable, "not ready"
	}
	if err := a.Sessions.Ready(ctx); err != nil {
		fail("store", err)
	}
	if err := a.RelyingParties.Ready(); err != nil {
		fail("provider", err)
	}
	for _, rp := range a.RelyingParties.All() {
		if p := rp.Provider(); p.Name() != "" {
			r.Checks["provider "+p.Name()] = "ok"
			if err := p.Ready(); err != nil { // the others' people can sign in
				r.Checks["provider "+p.Name()] = string(openid.ReasonOf(err))
			}
		}
	}
	if a.draining.Load() {
		r.httpStatus, r.Status = http.StatusServiceUnavailable, "draining"
	}
	return r
}

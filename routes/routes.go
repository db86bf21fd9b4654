// Package routes is the app over HTTP: which page answers where, what stands in
// front of it, and how an error becomes an answer. Echo lives here and nowhere else.
package routes

import (
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/labstack/echo-contrib/session"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/static"
)

// Config is what the app is made from.
type Config struct {
	Provider     *openid.Provider
	RelyingParty *authn.RelyingParty
	Sessions     *authn.Sessions
	TokenSource  *authn.TokenSource
	Assets       *static.Assets
	// BaseURL is where people reach the app: scheme and host, no path.
	BaseURL *url.URL
	// FrontchannelLogout serves /frontchannel-logout.
	FrontchannelLogout bool
	// FederatedLogout says that a sign-out goes on from the provider to others.
	FederatedLogout bool
	// PictureOrigins are the origins that pictures of people may be shown from,
	// beside the provider's own.
	PictureOrigins []string
	// DevelopmentProvider is the address of the built-in provider; "" with a real one.
	DevelopmentProvider string
	// TrustedProxies may say whom they forward for.
	TrustedProxies []netip.Prefix

	Now func() time.Time
	Log *slog.Logger
	// Metrics is the set that /metrics shows; nil makes one for the requests alone.
	Metrics *metrics.Set
}

// App answers requests.
type App struct {
	Config
	echo        *echo.Echo
	crossOrigin *http.CrossOriginProtection
	policy      atomic.Pointer[contentPolicy]
	draining    atomic.Bool
	stopping    chan struct{} // closed when draining is set
	durations   requestDurations
	process     string // that pages load themselves anew without; "" where they do not
}

const (
	// maxBody bounds a request's body: the largest that anybody has reason to send is a
	// logout token.
	maxBody = "64K"
	// maxAddress, in bytes, and maxParameters bound a request's path and query: the longest
	// that anybody has reason to send is an authorization response.
	maxAddress, maxParameters = 8 << 10, 100
)

// New returns the app. The middleware order and the route table are all here.
func New(cfg Config) *App {
	a := &App{Config: cfg, echo: echo.New(), crossOrigin: http.NewCrossOriginProtection(), stopping: make(chan struct{})}
	e := a.echo
	if a.Metrics == nil {
		a.Metrics = metrics.NewSet()
	}
	a.registerMetrics()
	e.HTTPErrorHandler = a.handleError
	e.IPExtractor = a.clientAddress()

	e.Use(a.identify, a.observe, a.recover(), a.headers, limitAddress, a.host, a.crossOriginCheck, middleware.BodyLimit(maxBody))

	e.Match(reading, "/healthz", a.healthz)
	e.Match(reading, "/readyz", a.readyz)
	e.Match(reading, static.Prefix+"*", echo.WrapHandler(cfg.Assets))
	e.Match(reading, "/favicon.ico", echo.WrapHandler(cfg.Assets.Unhashed("icon.svg")))
	e.Match(reading, "/robots.txt", echo.WrapHandler(cfg.Assets.Unhashed("robots.txt")))
	// The token that it brings is the check, whoever sends it (see backchannelLogout).
	a.crossOrigin.AddInsecureBypassPattern("POST /backchannel-logout")
	e.POST("/backchannel-logout", a.backchannelLogout)

	// A visitor may be signed in here; a person must be; and some things ask that they have
	// signed in recently, or that their claims say what they may do. (An Echo group would
	// answer 404 where a route takes another method.)
	visitor := []echo.MiddlewareFunc{session.Middleware(cfg.Sessions), a.session}
	limited := []echo.MiddlewareFunc{a.limitSignIns()}
	signingIn := append(limited, visitor...)
	person := append(slices.Clone(visitor), a.requireSession)
	recently := append(slices.Clone(person), a.demand(openid.Demand{MaxAge: sensitiveAge}))
	admins := append(slices.Clone(person), a.requireClaim(administrator()))

	e.Match(reading, "/", a.home, visitor...)
	e.GET("/login", a.login, signingIn...)
	e.GET("/callback", a.callback, signingIn...)
	e.Match(reading, "/logout", a.confirmSignOut, visitor...)
	e.POST("/logout", a.signOut, visitor...)
	e.GET("/signed-out", a.signedOut, visitor...)
	e.Match(reading, "/events", a.events) // looks for the session itself, and never touches it
	e.GET("/session/ended", a.sessionEndedByNow, visitor...)
	e.POST("/session/extend", a.extend, person...)

	e.Match(reading, "/dashboard", a.dashboard, person...)
	e.Match(reading, "/profile", a.profile, person...)
	e.POST("/profile/refresh", a.refreshProfile, person...)
	e.Match(reading, "/sessions", a.sessions, person...)
	e.POST("/sessions/:id/end", a.endSession, person...)
	e.POST("/sessions/end-others", a.endOtherSessions, recently...)
	e.GET("/resume/:id", a.resume, append(limited, person...)...)
	e.Match(reading, "/admin", a.admin, admins...)

	a.gallery()
	a.reload()

	// An API is for people who are signed in and for programs that have an access token.
	e.Match(reading, "/api/me", a.me, a.api)

	if cfg.Provider.FormPost() {
		// The provider's page posts here from its own origin; the state in the
		// transaction is the check (see authn.RelyingParty.Complete).
		a.crossOrigin.AddInsecureBypassPattern("POST /callback")
		e.POST("/callback", a.callback, signingIn...)
	}
	if cfg.FrontchannelLogout {
		e.GET("/frontchannel-logout", a.frontchannelLogout)
	}
	a.durations.routes = patterns(e)
	return a
}

// reading are the methods that a page answers to.
var reading = []string{http.MethodGet, http.MethodHead}

// ServeHTTP implements http.Handler.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.echo.ServeHTTP(w, r) }

// Drain makes the app report that it is not ready, so that no new requests are sent
// here while the last are answered, and ends the event streams, which no server could
// wait for.
func (a *App) Drain() {
	if !a.draining.Swap(true) {
		close(a.stopping)
	}
}

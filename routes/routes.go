// Package routes serves the app over HTTP: the route table, the middleware, the handlers, and how an
// error becomes a response. It is the only package of the app that uses Echo; a product's handlers use it,
// too.
package routes

import (
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/labstack/echo-contrib/session"
	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/static"
	"latchkey/views"
	"latchkey/views/messages"
)

// Config is what the app needs.
type Config struct {
	RelyingParties *authn.RelyingParties
	// Choices say how people choose a provider if there are several, in the order in which pages list
	// them.
	Choices     []Choice
	Sessions    *authn.Sessions
	TokenSource *authn.TokenSource
	// ResourceServer accepts the access tokens of API routes.
	ResourceServer *authn.ResourceServer
	Assets         *views.Assets
	// BaseURL is the address of the app: scheme and host, no path.
	BaseURL *url.URL
	// FrontchannelLogout serves /frontchannel-logout.
	FrontchannelLogout bool
	// PictureOrigins are the origins of people's pictures, in addition to the provider's.
	PictureOrigins []string
	// DevelopmentProvider is the address of the development provider; "" with a real provider.
	DevelopmentProvider string
	// TrustedProxies are the proxies whose X-Forwarded-For and X-Forwarded-Host are trusted.
	TrustedProxies []netip.Prefix
	// OperatorToken is the bearer token that lets operators list and end sessions; "" lets nobody.
	OperatorToken openid.Secret
	// Product is what is built on the app.
	Product Product

	Now func() time.Time
	Log *slog.Logger
	// Metrics is the set that /metrics exposes. If it is nil, New creates one.
	Metrics *metrics.Set
	// StartSpan traces requests; it may be nil.
	StartSpan openid.StartSpan
}

// App is the app's http.Handler.
type App struct {
	Config
	echo        *echo.Echo
	router      Router
	crossOrigin *http.CrossOriginProtection
	policy      atomic.Pointer[contentPolicy]
	languages   *messages.Matcher
	people      *authn.Limits[authn.Key] // see limitPerson
	proxied     map[string]bool          // methods and patterns of routes that Proxy has added
	draining    atomic.Bool
	stopping    chan struct{} // closed when draining is set
	durations   requestDurations
	process     string // pages reload themselves when another process answers; "" switches that off
}

const (
	// maxBody bounds a request's body, unless it is proxied. The largest useful body is a logout token.
	maxBody = "64K"
	// maxAddress, in bytes, and maxParameters bound a request's path and query. The longest useful
	// address is an authorization response.
	maxAddress, maxParameters = 8 << 10, 100
)

// ReadTexts reads the texts of the pages, in all languages. [New] needs them, and waits for a call in
// progress.
func ReadTexts() { messages.English() }

// New returns the app.
func New(cfg Config) *App {
	a := &App{
		Config: cfg, echo: echo.New(), crossOrigin: http.NewCrossOriginProtection(), languages: messages.NewMatcher(),
		stopping: make(chan struct{}), proxied: make(map[string]bool),
	}
	a.people = newPersonLimits(a.Sessions.PerPerson())
	if a.Metrics == nil {
		a.Metrics = metrics.NewSet()
	}
	a.registerMetrics()
	a.echo.HTTPErrorHandler = a.handleError
	a.echo.IPExtractor = a.clientAddress
	a.route(a.echo)
	a.durations.routes = patterns(a.echo)
	return a
}

// route sets up the middleware, in order, and the whole route table.
func (a *App) route(e *echo.Echo) {
	e.Use(once(chain(a.identify, a.observe, a.recover(), a.headers(), limitAddress, a.host, a.crossOriginCheck, a.limitBody())))

	e.Match(reading, "/healthz", a.healthz)
	e.Match(reading, "/readyz", a.readyz)
	e.Match(reading, static.Prefix+"*", inOneWrite(a.Assets))
	e.Match(reading, "/favicon.ico", inOneWrite(a.Assets.Unhashed("icon.svg")))
	e.Match(reading, "/apple-touch-icon.png", inOneWrite(a.Assets.Unhashed("touch-icon.png")))
	e.Match(reading, "/robots.txt", inOneWrite(a.Assets.Unhashed("robots.txt")))
	// backchannelLogout verifies the logout token instead of the origin.
	a.crossOrigin.AddInsecureBypassPattern("POST " + backchannelLogoutPath)
	e.POST(backchannelLogoutPath, a.backchannelLogout)

	// A visitor may be signed in; a person must be. Some routes also require a recent sign-in or a
	// claim. (An Echo group would answer 404, not 405, to another method.)
	visitor := chain(session.Middleware(a.Sessions), a.session)
	limited := a.limitSignIns()
	signingIn := chain(limited, visitor)
	person := chain(visitor, a.requireSession)
	recent := a.demand(openid.Demand{MaxAge: sensitiveAge})
	recently := chain(person, recent)
	admins := chain(person, a.requireClaim(a.administrators()))
	a.router = Router{e, visitor, person, recently, a.api}

	e.Match(reading, "/", visitor(a.home))
	e.GET("/login", signingIn(a.login))
	for _, rp := range a.RelyingParties.All() {
		a.routeCallback(e, rp, signingIn)
	}
	e.Match(reading, "/logout", visitor(a.confirmSignOut))
	e.POST("/logout", visitor(a.signOut))
	e.GET("/signed-out", visitor(a.signedOut))
	e.Match(reading, "/events", a.events) // loads the session itself, and does not restart its idle timeout
	e.GET("/session/ended", visitor(a.sessionEndedByNow))
	e.POST("/session/extend", person(a.extend))
	if a.Sessions.BindsDevices() {
		e.POST(bindPath, a.bindDevice)
		e.POST(renewPath, a.renewDevice)
	}

	e.Match(reading, "/dashboard", person(a.dashboard))
	e.Match(reading, "/profile", person(a.profile))
	e.POST("/profile/refresh", person(a.refreshProfile))
	e.Match(reading, "/sessions", person(a.sessions))
	e.POST("/sessions/:id/end", person(a.unlessCurrent(recent)(a.endSession)))
	e.Match(reading, "/sessions/end-others", person(a.confirmEndOthers))
	e.POST("/sessions/end-others", recently(a.endOtherSessions))
	e.GET("/resume/:id", limited(person(a.resume)))
	e.POST("/resume/:id", person(a.sendSaved))
	e.Match(reading, "/admin", admins(a.admin))

	a.gallery()
	a.reload()

	// API routes accept a session or an access token.
	e.Match(reading, "/api/me", a.api(a.me))

	if a.FrontchannelLogout {
		e.GET("/frontchannel-logout", a.frontchannelLogout)
	}
}

// routeCallback routes the authorization responses of a provider: /callback, or /callback/NAME if it has
// a name. With an address for each provider, a response of one cannot be taken for one of another (RFC
// 9700 section 4.4.2.2).
func (a *App) routeCallback(e *echo.Echo, rp *authn.RelyingParty, signingIn echo.MiddlewareFunc) {
	path := callbackPath
	if name := rp.Provider().Name(); name != "" {
		path += "/" + name
	}
	e.GET(path, signingIn(a.callback(rp)))
	if rp.Provider().FormPost() {
		// The provider's page posts from its own origin. authn.RelyingParty.Complete checks the
		// state instead.
		a.crossOrigin.AddInsecureBypassPattern("POST " + path)
		e.POST(path, signingIn(a.callback(rp)))
	}
}

// reading lists the methods that request a page.
var reading = []string{http.MethodGet, http.MethodHead}

// ServeHTTP implements http.Handler. A page or a file is sent when everything else is done, the log line
// included. The other requests that are ready run first, so that under load the responses leave together and
// a client or a proxy on the same machine is woken once for all of them. Waking it is a third of the cost of
// a write.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.echo.ServeHTTP(w, r)
	runtime.Gosched()
	connectionOf(r).send(w)
}

// Drain makes the app report that it is not ready, so that load balancers stop sending requests while
// it answers the last ones. It also ends the event streams, because http.Server.Shutdown would wait
// for them for ever.
func (a *App) Drain() {
	if !a.draining.Swap(true) {
		close(a.stopping)
	}
}

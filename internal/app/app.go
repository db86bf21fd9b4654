// Package app is the program: it reads the configuration, runs the commands, puts the app
// together and serves it.
package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"latchkey/authn"
	"latchkey/authn/boltstore"
	"latchkey/authn/openid"
	"latchkey/authn/redisstore"
	"latchkey/routes"
)

// sweepInterval is how often expired sessions are deleted.
const sweepInterval = 5 * time.Minute

// openPages is how many pages may listen for the end of their sessions at a time, at about
// 60 KB each. Further pages learn of it at their next request.
const openPages = 10_000

// ErrConfiguration marks an error that somebody has to remove before the program can run: a fault of the
// configuration or of the command line, or an address that is in use.
var ErrConfiguration = errors.New("the configuration is invalid")

// Program is the app with what its main function adds. The zero Program is the app alone.
type Program struct {
	// Product is what is built on the app.
	Product routes.Product
	// StartSpan traces requests and the calls to the provider and the store; it may be nil.
	StartSpan openid.StartSpan
}

// ballast is the size of an unused allocation. Go collects garbage when the heap has doubled, and without
// the allocation, this app's small heap doubles forty times a second at full load. It occupies no physical
// memory, because nothing writes to it.
const ballast = 8 << 20

// Run runs the app alone; see [Program.Run].
func Run(ctx context.Context, args, env []string, stdout io.Writer) error {
	return Program{}.Run(ctx, args, env, stdout)
}

// Run is the program. Without arguments it serves until ctx ends, and then drains; an
// argument names another command, such as doctor. env is a list of NAME=value, as
// [os.Environ] returns it.
func (p Program) Run(ctx context.Context, args, env []string, stdout io.Writer) error {
	if len(args) > 0 {
		return p.runCommand(ctx, args, env, stdout)
	}
	defer runtime.KeepAlive(make([]byte, ballast))
	go routes.ReadTexts() // takes a third of the start, and waits for nothing
	cfg, err := p.LoadConfig(env)
	if err != nil {
		return refused(err)
	}
	events, err := cfg.openEvents()
	if err != nil {
		return err
	}
	log := newLogger(cfg, stdout, events)
	defer flushLog(log)
	cfg.warnOfOpenFiles(log)
	cfg.cacheBytes = limitMemory(log)

	// Everything that can fail does so before the app answers anyone: another process may
	// hold the store, and a port may be taken.
	servers := newServers(log)
	defer servers.close()
	open, err := servers.listenAll(ctx, cfg)
	if err != nil {
		return err
	}
	store, keys, err := cfg.openStorage(ctx, log)
	if err != nil {
		return err
	}
	defer store.Close()
	port := open.app[0].Addr().(*net.TCPAddr).Port
	providers, err := startProviders(ctx, cfg, port, servers, log)
	if err != nil {
		return err
	}
	defer closeProviders(providers)
	app, err := assemble(cfg, port, cfg.settings(port, providers, keys, store, log), providers[0].address)
	if err != nil {
		return err
	}
	if err := app.openProduct(ctx); err != nil {
		return err
	}
	defer app.Handler.CloseProduct()

	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	app.runBackground(background)
	app.serve(servers, open, cfg.tlsConfig(log))
	announce(stdout, log, cfg, port, providers, open.operations)
	select {
	case <-ctx.Done():
		return app.stop(servers, cfg.shutdownGrace(), log)
	case err := <-servers.failed:
		return errors.Join(err, app.drain(servers))
	}
}

// openProduct opens the product. Its faults are faults of the configuration.
func (a *App) openProduct(ctx context.Context) error {
	err := a.Handler.OpenProduct(ctx)
	if faults, ok := errors.AsType[openid.Faults](err); ok {
		return refused(faults)
	}
	return err
}

// serve answers on every port that is open.
func (a *App) serve(servers *servers, open openPorts, tlsConfig *tls.Config) {
	if open.operations != nil {
		servers.serve(open.operations, a.Handler.Operations(), nil)
	}
	if open.mutualTLS != nil {
		servers.serve(open.mutualTLS, a.Handler.MutualTLS(), askingForCertificates(tlsConfig))
	}
	servers.serve(open.app, a.Handler, tlsConfig)
}

// runBackground starts the work that goes on between requests, until ctx ends.
func (a *App) runBackground(ctx context.Context) {
	for _, rp := range a.RelyingParties.All() {
		go rp.Provider().Run(ctx)
	}
	go a.TokenSource.Run(ctx)
	go a.Sessions.Sweep(ctx, sweepInterval)
}

// App is the app without its servers.
type App struct {
	RelyingParties *authn.RelyingParties
	Sessions       *authn.Sessions
	TokenSource    *authn.TokenSource
	Handler        *routes.App
}

// Settings are what package openid and package authn need of the configuration. OpenID is the first
// provider, and Others are the further ones. All have the clock, the log, the metrics and the spans of
// OpenID.
type Settings struct {
	OpenID openid.Config
	Others []openid.Config
	Authn  authn.Config
}

// New puts an app together for a test that serves it itself. It logs to stdout, and starts
// nothing: no server, no provider, and nothing in the background. change has the last word
// on the settings, the clock among them.
func New(ctx context.Context, cfg *Config, stdout io.Writer, change func(*Settings)) (*App, error) {
	log := newLogger(cfg, stdout, nil)
	store, keys, err := cfg.openStorage(ctx, log)
	if err != nil {
		return nil, err
	}
	settings := cfg.settings(cfg.Port, realProviders(cfg), keys, store, log)
	change(&settings)
	return assemble(cfg, cfg.Port, settings, "")
}

// assemble puts the app together. Nothing runs yet.
func assemble(cfg *Config, port int, settings Settings, developmentProvider string) (*App, error) {
	shared := settings.OpenID
	var pictures []string // of the presets
	for _, c := range append([]openid.Config{shared}, settings.Others...) {
		c.Now, c.Log, c.Metrics, c.StartSpan = shared.Now, shared.Log, shared.Metrics, shared.StartSpan
		provider, err := openid.New(c)
		if err != nil {
			return nil, err
		}
		settings.Authn.Providers = append(settings.Authn.Providers, provider)
		pictures = append(pictures, provider.Preset().PictureOrigins()...)
	}
	settings.Authn.Now, settings.Authn.Log, settings.Authn.Metrics = shared.Now, shared.Log, shared.Metrics
	settings.Authn.StartSpan = shared.StartSpan
	relyingParties, err := authn.NewRelyingParties(settings.Authn)
	if err != nil {
		return nil, err
	}
	sessions, err := authn.NewSessions(settings.Authn)
	if err != nil {
		return nil, err
	}
	assets, err := routes.NewAssets()
	if err != nil {
		return nil, err
	}
	resourceServer, err := authn.NewResourceServer(settings.Authn)
	if err != nil {
		return nil, err
	}
	tokenSource := authn.NewTokenSource(relyingParties, sessions)
	handler := routes.New(routes.Config{
		RelyingParties: relyingParties, Choices: cfg.choices(), Sessions: sessions, TokenSource: tokenSource, ResourceServer: resourceServer,
		Assets: assets, BaseURL: cfg.BaseURL(port),
		FrontchannelLogout: cfg.FrontchannelLogout == "on",
		PictureOrigins:     cfg.pictureOrigins(pictures), DevelopmentProvider: developmentProvider,
		TrustedProxies: cfg.parsedTrustProxies, OperatorToken: cfg.OpsToken, Product: cfg.program.Product, Now: shared.Now, Log: shared.Log, Metrics: shared.Metrics,
		StartSpan: shared.StartSpan,
	})
	return &App{relyingParties, sessions, tokenSource, handler}, nil
}

// stop ends the app once the requests under way are done. Load balancers send requests until
// they have noticed, so it keeps serving for the grace period.
func (a *App) stop(servers *servers, grace time.Duration, log *slog.Logger) error {
	log.Info("stopping", "grace_s", grace.Seconds())
	a.Handler.Drain()
	var failed error
	select {
	case <-time.After(grace):
	case failed = <-servers.failed:
	}
	return errors.Join(failed, a.drain(servers))
}

// drain lets the requests under way finish, and then the refreshes that outlive them: the product and the
// store close after this, and a refreshed token must be in the store.
func (a *App) drain(servers *servers) error {
	a.Handler.Drain()
	err := servers.drain()
	a.TokenSource.Wait()
	return err
}

// settings translates the configuration for packages openid and authn.
func (c *Config) settings(port int, providers []*providerSettings, keys *authn.Keys, store authn.Store, log *slog.Logger) Settings {
	s := Settings{OpenID: c.openID(port, providers[0], log), Authn: c.sessionSettings(keys, store)}
	for _, other := range providers[1:] {
		s.Others = append(s.Others, c.openID(port, other, log))
	}
	return s
}

func (c *Config) sessionSettings(keys *authn.Keys, store authn.Store) authn.Config {
	return authn.Config{
		Keys: keys, Store: store, Idle: c.Idle, Absolute: c.Absolute, SessionsPerPerson: c.SessionsPerPerson, Watchers: openPages,
		CacheBytes: c.cacheBytes,
		SignInHook: c.program.Product.SignIn, DeviceBound: c.DeviceBound == "auto",
		BoundTokens: c.AccessTokens == "bound", ProofNonces: c.ProofNonces == "required",
	}
}

// openStorage opens the session store and then reads the keys: the store checks DATA_DIR, where
// a key may be, too.
func (c *Config) openStorage(ctx context.Context, log *slog.Logger) (authn.Store, *authn.Keys, error) {
	store, err := c.openStore(ctx, log)
	if err != nil {
		return nil, nil, err
	}
	keys, err := c.keys()
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return store, keys, nil
}

// openStore opens the session store.
func (c *Config) openStore(ctx context.Context, log *slog.Logger) (authn.Store, error) {
	switch {
	case c.SessionStore == "memory":
		return authn.NewMemoryStore(), nil
	case c.parsedRedis != nil:
		c.parsedRedis.CacheBytes = c.cacheBytes
		store, err := redisstore.Open(ctx, c.parsedRedis, log)
		if err != nil {
			return nil, fmt.Errorf("%w: SESSION_STORE: %w", ErrConfiguration, err)
		}
		return store, nil
	}
	store, err := boltstore.Open(filepath.Join(c.DataDir, "sessions.db"))
	_, explained := errors.AsType[*boltstore.Error](err)
	switch {
	case err == nil:
		return store, nil
	case explained || errors.Is(err, boltstore.ErrHeld):
		return nil, fmt.Errorf("%w: DATA_DIR: %w", ErrConfiguration, err)
	}
	return nil, fmt.Errorf("%w: DATA_DIR: %w; name a directory that this user may write to", ErrConfiguration, err)
}

// providerSettings is what the app needs to know about a provider.
type providerSettings struct {
	config       *provider
	issuer       string
	clientID     string
	clientSecret openid.Secret
	// certificate returns the client's certificate, and roots are the authorities of the provider's own;
	// nil with a real provider, where they follow from the configuration and this machine.
	certificate func() (*tls.Certificate, error)
	roots       *x509.CertPool
	// address is where people find the development provider; "" with a real one.
	address string
	close   func()
}

// realProvider returns a provider that the configuration names.
func realProvider(p *provider) *providerSettings {
	return &providerSettings{
		config: p, issuer: p.issuer(), clientID: p.ClientID, clientSecret: p.ClientSecret, close: func() {},
	}
}

func realProviders(c *Config) (list []*providerSettings) {
	for _, p := range c.providers {
		list = append(list, realProvider(p))
	}
	return list
}

func closeProviders(providers []*providerSettings) {
	for _, p := range providers {
		p.close()
	}
}

// announce prints or logs where the app is, and where people sign in.
func announce(stdout io.Writer, log *slog.Logger, cfg *Config, port int, providers []*providerSettings, operations []net.Listener) {
	base, metricsURL := cfg.BaseURL(port).String(), ""
	if operations != nil {
		metricsURL = "http://" + strings.Replace(operations[0].Addr().String(), "[::]", "localhost", 1) + "/metrics"
	}
	if !cfg.readable(stdout) || cfg.LogEvents != "" {
		logStart(log, cfg, base, metricsURL, providers)
	}
	if !cfg.readable(stdout) {
		return
	}
	flushLog(log)
	fmt.Fprintf(stdout, "\n  The app is at       %s\n", base)
	if metricsURL != "" {
		fmt.Fprintf(stdout, "  Metrics are at      %s\n", metricsURL)
	}
	if provider := providers[0]; provider.config.name == "" {
		greet(stdout, cfg, port, provider)
		return
	}
	for _, p := range providers {
		kind := p.config.label()
		if p.address != "" {
			kind = "a built-in development provider: sample people, no account needed"
		}
		fmt.Fprintf(stdout, "  People sign in at   %s   (%s: %s)\n", p.issuer, p.config.name, kind)
	}
	fmt.Fprintln(stdout)
}

// logStart logs the configuration, without secrets.
func logStart(log *slog.Logger, cfg *Config, base, metricsURL string, providers []*providerSettings) {
	var issuers []string
	for _, p := range providers {
		issuers = append(issuers, p.issuer)
	}
	first := providers[0]
	attributes := []any{
		"event", authn.EventConfiguration, "url", base, "metrics", metricsURL, "issuer", strings.Join(issuers, ","), "development_provider", first.address != "",
		"session_store", cfg.storeKind(), "secret_keys", max(1, len(cfg.secrets())),
	}
	if first.config.name == "" {
		attributes = append(attributes, first.config.logged()...)
	}
	log.Info("listening", append(attributes, "frontchannel_logout", cfg.FrontchannelLogout,
		"trusted_proxies", cfg.TrustedProxies, "operators", cfg.OpsToken != "", "mtls", cfg.MutualTLSAddr, "variables", cfg.setVariables())...)
	for _, p := range providers {
		if p.config.name != "" {
			log.Info("provider configured", append([]any{"event", authn.EventConfiguration, "provider", p.config.name, "issuer", p.issuer}, p.config.logged()...)...)
		}
		if p.address != "" {
			log.Warn("development provider in use: anyone on this machine can sign in as any person", "issuer", p.issuer)
		}
	}
}

// greet prints where people sign in at the only provider.
func greet(stdout io.Writer, cfg *Config, port int, provider *providerSettings) {
	if provider.address == "" {
		fmt.Fprintf(stdout, "  People sign in at   %s\n\n", provider.issuer)
		return
	}
	callback := cfg.callbackURL(port)
	fmt.Fprintf(stdout, `  People sign in at   %s   (the built-in development provider: sample people, no account needed)

  To use an Auth0 tenant instead, put these into .env and start again:
    AUTH0_DOMAIN=tenant.eu.auth0.com
    AUTH0_CLIENT_ID=...
    AUTH0_CLIENT_SECRET=...
    APP_SECRET_KEY=...            made with: openssl rand -hex 32
  and register at the tenant
    %s   as Allowed Callback URL
    %-*s   as Allowed Logout URL
  Any other OpenID provider: OIDC_ISSUER in place of AUTH0_DOMAIN. Stop with Ctrl-C.

`, provider.address, callback, len(callback), cfg.logoutURL(port))
}

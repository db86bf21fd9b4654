// Package app is the program: it reads the configuration, runs the commands, and puts the
// app together and serves it.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"latchkey/authn"
	"latchkey/authn/boltstore"
	"latchkey/authn/redisstore"
	"latchkey/routes"
	"latchkey/static"
)

// sweepInterval is how often expired sessions are dropped.
const sweepInterval = 5 * time.Minute

// openPages is how many pages may listen for the end of their sessions at a time, at about
// 40 KB each. Beyond it a page learns of it at its next request.
const openPages = 5_000

// ErrConfiguration marks an error that only a change of the configuration mends.
var ErrConfiguration = errors.New("the configuration is not right")

// Run is the program. Without arguments it serves until ctx ends, and then drains; the first
// argument can name another command.
func Run(ctx context.Context, args, env []string, stdout io.Writer) error {
	if len(args) > 0 {
		return runCommand(ctx, args, env, stdout)
	}
	cfg, err := loadConfig(env)
	if err != nil {
		return refused(err)
	}
	log := newLogger(cfg, stdout)
	cfg.warnOfOpenFiles(log)

	// Everything that can be refused is, before anything is opened to the network:
	// the store may be held by another process, the port may be taken.
	listener, err := listen(ctx, net.JoinHostPort(cfg.listenHost(), strconv.Itoa(cfg.Port)), "PORT")
	if err != nil {
		return err
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port

	operations, err := openOperations(ctx, cfg)
	if err != nil {
		return err
	}
	defer operations.close()

	// The store looks at DATA_DIR first: a key is kept there, too.
	store, err := cfg.openStore(ctx, log)
	if err != nil {
		return err
	}
	defer store.Close()
	keys, err := cfg.keys()
	if err != nil {
		return err
	}

	servers := newServers(log)
	provider, err := startProvider(ctx, cfg, port, servers, log)
	if err != nil {
		return err
	}
	defer provider.close()

	app, err := assemble(cfg, port, provider, cfg.authn(port, provider, keys, store, log))
	if err != nil {
		return err
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	app.start(background)
	operations.serve(servers, app.handler.Operations())
	servers.serve(listener, app.handler, cfg.TLSCertFile, cfg.TLSKeyFile)
	announce(stdout, log, cfg, port, provider, operations)

	select {
	case <-ctx.Done():
	case err := <-servers.failed:
		return err
	}
	log.Info("stopping", "grace_s", cfg.shutdownGrace().Seconds())
	return app.stop(servers, cfg.shutdownGrace())
}

// parts are what the program is put together from, beside its servers.
type parts struct {
	relyingParty *authn.RelyingParty
	sessions     *authn.Sessions
	tokenSource  *authn.TokenSource
	handler      *routes.App
}

// assemble puts the app together. Nothing runs yet.
func assemble(cfg *Config, port int, provider *providerSettings, settings authn.Config) (*parts, error) {
	relyingParty, err := authn.NewRelyingParty(settings)
	if err != nil {
		return nil, err
	}
	sessions, err := authn.NewSessions(settings)
	if err != nil {
		return nil, err
	}
	assets, err := static.New()
	if err != nil {
		return nil, err
	}
	tokenSource := authn.NewTokenSource(relyingParty, sessions)
	handler := routes.New(routes.Config{
		RelyingParty: relyingParty, Sessions: sessions, TokenSource: tokenSource,
		Assets: assets, BaseURL: cfg.baseURL(port),
		FormPost: cfg.ResponseMode == "form_post", FrontchannelLogout: cfg.FrontchannelLogout == "on", FederatedLogout: settings.FederatedLogout,
		PictureOrigins: cfg.PictureOrigins, DevelopmentProvider: provider.address,
		TrustedProxies: cfg.parsedTrustProxies, Now: settings.Now, Log: settings.Log, Statistics: settings.Statistics,
	})
	return &parts{relyingParty, sessions, tokenSource, handler}, nil
}

// start starts what runs beside the servers, until ctx ends.
func (p *parts) start(ctx context.Context) {
	go p.relyingParty.Run(ctx)
	go p.tokenSource.Run(ctx)
	go p.sessions.Sweep(ctx, sweepInterval)
}

// stop lets what is under way end.
func (p *parts) stop(servers *servers, grace time.Duration) error {
	p.handler.Drain()
	// Until they have noticed, load balancers send requests.
	if err := servers.goOn(grace); err != nil {
		return err
	}
	err := servers.drain()
	// The store closes after this: a token that was renewed must be in it.
	p.tokenSource.Wait()
	return err
}

// authn translates the configuration for package authn.
func (c *Config) authn(port int, provider *providerSettings, keys *authn.Keys, store authn.Store, log *slog.Logger) authn.Config {
	base := c.baseURL(port)
	return authn.Config{
		Issuer: provider.issuer, Auth0: c.Auth0Domain != "",
		ClientID: provider.clientID, ClientSecret: provider.clientSecret,
		ClientAuth: c.ClientAuth, SigningKey: c.parsedSigningKey,
		SigningAlgorithm: c.ClientSigningAlg, SigningKeyID: c.ClientSigningKID,
		RedirectURL: c.callbackURL(port), PostLogoutRedirectURL: base.String() + "/signed-out",
		Scopes: strings.Fields(c.Scopes), Audience: c.Audience,
		IDTokenAlgorithms: c.IDTokenAlgorithms, ResponseMode: c.ResponseMode,
		PushedAuthorizationRequests: c.PushedRequests, StrictLogoutTokenType: c.LogoutTokenType == "strict",
		FederatedLogout: c.FederatedLogout == "on", UserInfoRequired: c.UserInfo == "required",
		Keys: keys, Store: store, Secure: base.Scheme == "https",
		Idle: c.SessionIdle, Absolute: c.SessionAbsolute, SessionsPerPerson: c.SessionLimit, Watchers: openPages, Now: time.Now, Log: log,
		Statistics: new(authn.Statistics),
	}
}

// openStore opens the session store.
func (c *Config) openStore(ctx context.Context, log *slog.Logger) (authn.Store, error) {
	switch {
	case c.SessionStore == "memory":
		return authn.NewMemoryStore(), nil
	case c.parsedRedis != nil:
		store, err := redisstore.Open(ctx, c.parsedRedis, log)
		if err != nil {
			return nil, fmt.Errorf("%w: SESSION_STORE: %w", ErrConfiguration, err)
		}
		return store, nil
	}
	store, err := boltstore.Open(filepath.Join(c.DataDir, "sessions.db"))
	if err != nil {
		return nil, fmt.Errorf("%w: DATA_DIR: %w", ErrConfiguration, err)
	}
	return store, nil
}

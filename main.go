// Latchkey signs people in with Auth0, or any OpenID Connect provider, shows them
// what it knows about them, and signs them out everywhere.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"latchkey/authn"
	"latchkey/routes"
	"latchkey/static"
)

const (
	// drainTimeout is how long requests that are under way may take to finish.
	drainTimeout = 10 * time.Second
	// sweepInterval is how often expired sessions are dropped.
	sweepInterval = 5 * time.Minute
)

// errConfiguration marks an error that only a change of the configuration mends.
var errConfiguration = errors.New("the configuration is not right")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the next one ends the process at once.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Environ(), os.Stdout)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, errConfiguration):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "latchkey:", err)
		os.Exit(1)
	}
}

// run is the program: it serves until ctx ends, and then drains.
func run(ctx context.Context, args, env []string, stdout io.Writer) error {
	switch {
	case len(args) == 1 && (args[0] == "help" || args[0] == "-h" || args[0] == "--help"):
		return help(stdout)
	case len(args) > 0:
		return fmt.Errorf("%w: there is no command %q; `latchkey` alone serves, `latchkey help` explains", errConfiguration, args[0])
	}
	cfg, err := loadConfig(env)
	if err != nil {
		return fmt.Errorf("%w:\n%s\nNothing was started. `latchkey help` lists every variable", errConfiguration, indented(err))
	}
	log := newLogger(cfg, stdout)

	// Everything that can be refused is, before anything is opened to the network:
	// the store may be held by another process, the port may be taken.
	listener, err := listen(ctx, net.JoinHostPort(cfg.listenHost(), strconv.Itoa(cfg.Port)), "PORT")
	if err != nil {
		return err
	}
	defer listener.Close()
	port := listener.Addr().(*net.TCPAddr).Port

	keys, err := cfg.keys()
	if err != nil {
		return err
	}
	store, err := cfg.openStore()
	if err != nil {
		return err
	}
	defer store.Close()

	servers := &servers{log: log}
	provider, err := startProvider(ctx, cfg, port, servers, log)
	if err != nil {
		return err
	}
	defer provider.close()

	handler, background, err := newApp(cfg, port, provider, keys, store, log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, task := range background {
		go task(ctx)
	}
	servers.serve(listener, handler, cfg.TLSCertFile, cfg.TLSKeyFile)
	announce(stdout, log, cfg, port, provider)

	select {
	case <-ctx.Done():
	case err := <-servers.failed():
		return err
	}
	log.Info("stopping")
	handler.Drain()
	return servers.drain()
}

// newApp puts the app together and names what runs beside it.
func newApp(cfg *Config, port int, provider *providerSettings, keys *authn.Keys, store authn.Store, log *slog.Logger) (*routes.App, []func(context.Context), error) {
	settings := cfg.authn(port, provider, keys, store, log)
	relyingParty, err := authn.NewRelyingParty(settings)
	if err != nil {
		return nil, nil, err
	}
	sessions, err := authn.NewSessions(settings)
	if err != nil {
		return nil, nil, err
	}
	assets, err := static.New()
	if err != nil {
		return nil, nil, err
	}
	app := routes.New(routes.Config{
		RelyingParty: relyingParty, Sessions: sessions, TokenSource: authn.NewTokenSource(relyingParty, sessions),
		Assets: assets, BaseURL: cfg.baseURL(port), FormPost: cfg.ResponseMode == "form_post", FrontchannelLogout: cfg.FrontchannelLogout == "on",
		PictureOrigins: cfg.PictureOrigins, DevelopmentProvider: provider.address,
		TrustedProxies: cfg.parsedTrustProxies, Now: time.Now, Log: log,
	})
	sweep := func(ctx context.Context) { sessions.Sweep(ctx, sweepInterval) }
	return app, []func(context.Context){relyingParty.Run, sweep}, nil
}

// servers are the HTTP servers of the process.
type servers struct {
	log     *slog.Logger
	running []*http.Server
	errs    chan error
}

// serve starts a server on a listener. Its limits are for clients that are slow,
// broken or hostile; a browser never meets them.
func (s *servers) serve(listener net.Listener, handler http.Handler, certFile, keyFile string) {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	if s.errs == nil {
		s.errs = make(chan error, 2)
	}
	s.running = append(s.running, server)
	go func() {
		serve := func() error { return server.Serve(listener) }
		if certFile != "" {
			serve = func() error { return server.ServeTLS(listener, certFile, keyFile) }
		}
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			s.errs <- fmt.Errorf("serving on %s: %w", listener.Addr(), err)
		}
	}()
}

func (s *servers) failed() <-chan error { return s.errs }

// drain lets the requests that are under way finish. The app goes first: it may
// still need the development provider.
func (s *servers) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	var faults []error
	for i := len(s.running) - 1; i >= 0; i-- {
		if err := s.running[i].Shutdown(ctx); err != nil {
			faults = append(faults, fmt.Errorf("draining: %w", err), s.running[i].Close())
		}
	}
	return errors.Join(faults...)
}

// listen opens a port. While a process that is being replaced still holds it, as in
// a hot reload, it waits a little.
func listen(ctx context.Context, address, variable string) (net.Listener, error) {
	deadline := time.Now().Add(3 * time.Second)
	for {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err == nil {
			return listener, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("%w: %s: cannot listen on %s: %w", errConfiguration, variable, address, err)
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%w: %s: another program listens on %s already; stop it, or choose another port", errConfiguration, variable, address)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

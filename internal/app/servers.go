package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"syscall"
	"time"
)

// drainTimeout is how long requests under way may take to finish. With the grace period
// before it, a stop takes ten seconds at most, which supervisors tolerate.
const drainTimeout = 8 * time.Second

// servers are the listeners and the HTTP servers of the process.
type servers struct {
	log       *slog.Logger
	listeners []net.Listener
	running   []*http.Server
	// failed receives the error of a server that stops by itself.
	failed chan error
}

func newServers(log *slog.Logger) *servers { return &servers{log: log, failed: make(chan error, 3)} }

// listen opens the port that a variable names. It waits a little for a process that is being
// replaced, as in a hot reload, to release it.
func (s *servers) listen(ctx context.Context, address, variable string) (net.Listener, error) {
	deadline := time.Now().Add(3 * time.Second)
	for {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err == nil {
			s.listeners = append(s.listeners, listener)
			return listener, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("%w: %s: cannot listen on %s: %w", ErrConfiguration, variable, address, err)
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%w: %s: another program already listens on %s; stop it, or choose another port", ErrConfiguration, variable, address)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// serve starts a server on a listener, with TLS unless certificate is nil. Its limits stop
// clients that are slow, broken or hostile, and no browser meets them.
func (s *servers) serve(listener net.Listener, handler http.Handler, certificate *tls.Config) {
	server := &http.Server{
		Handler:           handler,
		TLSConfig:         certificate,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	serve := server.Serve
	if certificate != nil {
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	s.running = append(s.running, server)
	go func() {
		if err := serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serving on %s: %w", listener.Addr(), err)
		}
	}()
}

// drain lets the requests under way finish. The app goes first, because it may still need
// the development provider.
func (s *servers) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	var faults []error
	for _, server := range slices.Backward(s.running) {
		if err := server.Shutdown(ctx); err != nil {
			faults = append(faults, fmt.Errorf("draining: %w", err), server.Close())
		}
	}
	return errors.Join(faults...)
}

// close closes the listeners, also those that nothing serves yet.
func (s *servers) close() {
	for _, listener := range s.listeners {
		_ = listener.Close() // closed already, if its server was drained
	}
}

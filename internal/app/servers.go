package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// drainTimeout is how long requests under way may take to finish. With the grace period
// before it, a stop takes ten seconds at most, which supervisors tolerate.
const drainTimeout = 8 * time.Second

// servers are the HTTP servers of the process.
type servers struct {
	log     *slog.Logger
	running []*http.Server
	// failed receives the error of a server that stops by itself.
	failed chan error
}

func newServers(log *slog.Logger) *servers { return &servers{log: log, failed: make(chan error, 3)} }

// serve starts a server on a listener. Its limits stop clients that are slow, broken or
// hostile, and no browser meets them.
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
	if certFile != "" {
		server.TLSConfig = (&certificate{certFile: certFile, keyFile: keyFile, now: time.Now, log: s.log}).tlsConfig()
	}
	s.running = append(s.running, server)
	go func() {
		serve := func() error { return server.Serve(listener) }
		if certFile != "" {
			serve = func() error { return server.ServeTLS(listener, "", "") } // of TLSConfig
		}
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serving on %s: %w", listener.Addr(), err)
		}
	}()
}

// goOn keeps serving for a while. It returns the error of a server that stops by itself.
func (s *servers) goOn(grace time.Duration) error {
	select {
	case <-time.After(grace):
		return nil
	case err := <-s.failed:
		return err
	}
}

// drain lets the requests under way finish. The app goes first, because it may still need
// the development provider.
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

// listen opens a port. It waits a little for a process that is being replaced, as in a hot
// reload, to release it.
func listen(ctx context.Context, address, variable string) (net.Listener, error) {
	deadline := time.Now().Add(3 * time.Second)
	for {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err == nil {
			return listener, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("%w: %s: cannot listen on %s: %w", ErrConfiguration, variable, address, err)
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%w: %s: another program listens on %s already; stop it, or choose another port", ErrConfiguration, variable, address)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// operations is the second address, for operators and their tools.
type operations struct {
	listener net.Listener // nil where there is none
}

// openOperations listens on OPS_ADDR, if it is set.
func openOperations(ctx context.Context, cfg *Config) (*operations, error) {
	if cfg.OpsAddr == "" {
		return new(operations), nil
	}
	listener, err := listen(ctx, cfg.OpsAddr, "OPS_ADDR")
	if err != nil {
		return nil, err
	}
	return &operations{listener}, nil
}

func (o *operations) serve(s *servers, handler http.Handler) {
	if o.listener != nil {
		s.serve(o.listener, handler, "", "")
	}
}

func (o *operations) close() {
	if o.listener != nil {
		o.listener.Close()
	}
}

// url returns the address of the metrics, or "" without OPS_ADDR.
func (o *operations) url() string {
	if o.listener == nil {
		return ""
	}
	return "http://" + strings.Replace(o.listener.Addr().String(), "[::]", "localhost", 1) + "/metrics"
}

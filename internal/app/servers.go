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
	"strconv"
	"syscall"
	"time"

	"latchkey/routes"
)

// drainTimeout is how long requests under way may take to finish, once SHUTDOWN_GRACE is over. With the
// default of that, both take ten seconds at most; see [App.drain] for what follows.
const drainTimeout = 8 * time.Second

// servers are the listeners and the HTTP servers of the process.
type servers struct {
	log       *slog.Logger
	listeners []net.Listener
	running   []*http.Server
	// failed receives the error of the first server that stops by itself, which ends the program.
	failed chan error
}

func newServers(log *slog.Logger) *servers { return &servers{log: log, failed: make(chan error, 1)} }

// openPorts are the listeners of each server. Those of a server that is off are nil.
type openPorts struct{ app, operations, mutualTLS []net.Listener }

// listenAll opens every port that the configuration names.
func (s *servers) listenAll(ctx context.Context, cfg *Config) (open openPorts, err error) {
	if open.app, err = s.listen(ctx, cfg.listenAddr(), "PORT", cfg.otherLocalhosts()...); err != nil {
		return open, err
	}
	if cfg.OpsAddr != "" {
		if open.operations, err = s.listen(ctx, cfg.OpsAddr, "OPS_ADDR"); err != nil {
			return open, err
		}
	}
	if cfg.MutualTLSAddr != "" {
		open.mutualTLS, err = s.listen(ctx, cfg.MutualTLSAddr, "MTLS_ADDR")
	}
	return open, err
}

// listen opens the port that a variable names, as bind does. It waits a little for a process that
// is being replaced, as in a hot reload, to release it.
func (s *servers) listen(ctx context.Context, address, variable string, free ...string) ([]net.Listener, error) {
	deadline := time.Now().Add(3 * time.Second)
	for {
		listeners, err := bind(ctx, address, free)
		if err == nil {
			s.listeners = append(s.listeners, listeners...)
			return listeners, nil
		}
		if !isAddressInUse(err) {
			return nil, fmt.Errorf("%w: %s: cannot listen on %s: %w", ErrConfiguration, variable, address, err)
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%w: %s: another program already listens on %s; stop it, or choose another port", ErrConfiguration, variable, taken(err, address))
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// bind opens a port on each address of a host, or on none. The hosts in free get no listener; it is
// an error if another program has the port there.
func bind(ctx context.Context, address string, free []string) (listeners []net.Listener, err error) {
	defer func() {
		if err != nil {
			closeAll(listeners)
		}
	}()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	open := func(host string) (net.Listener, error) {
		return new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, port))
	}
	for _, host := range addresses(host) {
		listener, err := open(host)
		if err != nil {
			return listeners, err
		}
		listeners = append(listeners, listener)
		port = strconv.Itoa(listener.Addr().(*net.TCPAddr).Port) // if it was 0, the next address gets the same
	}
	for _, host := range free {
		listener, err := open(host)
		if err != nil {
			return listeners, err
		}
		_ = listener.Close() // nobody has connected to it
	}
	return listeners, nil
}

// addresses returns the addresses that a listener's host stands for. localhost is two, and a browser
// shows the server that it finds at either (RFC 6761 section 6.3). An address that this machine does
// not have is left out, because nobody can listen there.
func addresses(host string) []string {
	if host != "localhost" {
		return []string{host}
	}
	both := []string{"127.0.0.1", "::1"}
	interfaces, err := net.InterfaceAddrs()
	has := func(address string) bool {
		return slices.ContainsFunc(interfaces, func(a net.Addr) bool {
			network, ok := a.(*net.IPNet)
			return ok && network.IP.Equal(net.ParseIP(address))
		})
	}
	if err != nil || !slices.ContainsFunc(both, has) {
		return both
	}
	return slices.DeleteFunc(both, func(address string) bool { return !has(address) })
}

// isAddressInUse reports whether an error says that another program listens on the address. Windows
// returns Winsock's number for that; syscall's own constant is a number that no call returns there.
func isAddressInUse(err error) bool {
	const wsaEADDRINUSE = syscall.Errno(10048)
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaEADDRINUSE)
}

// isAccessDenied reports whether an error says that this user may not listen on the address, or that Windows
// reserves it.
func isAccessDenied(err error) bool {
	const wsaEACCES = syscall.Errno(10013)
	return errors.Is(err, syscall.EACCES) || errors.Is(err, wsaEACCES)
}

// taken returns the address that an error of bind is about.
func taken(err error, address string) string {
	if failure, ok := errors.AsType[*net.OpError](err); ok && failure.Addr != nil {
		return failure.Addr.String()
	}
	return address
}

// serve starts a server on listeners, with TLS unless tlsConfig is nil. Its limits stop slow, broken or
// hostile clients; browsers never reach them.
func (s *servers) serve(listeners []net.Listener, handler http.Handler, tlsConfig *tls.Config) {
	server := &http.Server{
		Handler:           handler,
		TLSConfig:         tlsConfig,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       idleTimeout(tlsConfig),
		MaxHeaderBytes:    32 << 10,
		ConnContext:       routes.ConnContext,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	serve := func(l net.Listener) error { return server.Serve(routes.Listener(l)) }
	if tlsConfig != nil {
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	s.running = append(s.running, server)
	for _, listener := range listeners {
		go func() {
			if err := serve(listener); !errors.Is(err, http.ErrServerClosed) {
				select {
				case s.failed <- fmt.Errorf("serving on %s: %w", listener.Addr(), err):
				default:
				}
			}
		}()
	}
}

// idleTimeout returns how long a connection may be idle. Behind a proxy it is longer than proxies keep
// theirs, at most 600 seconds at Google Cloud: a proxy that sends a request on a connection which is being
// closed answers 502.
func idleTimeout(tlsConfig *tls.Config) time.Duration {
	if tlsConfig != nil {
		return 90 * time.Second
	}
	return 620 * time.Second
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
func (s *servers) close() { closeAll(s.listeners) }

func closeAll(listeners []net.Listener) {
	for _, listener := range listeners {
		_ = listener.Close() // closed already, if its server was drained
	}
}

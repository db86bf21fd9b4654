package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"latchkey/routes"
)

// healthTimeout is shorter than the timeout of container engines.
const healthTimeout = 3 * time.Second

// health asks the running app of this configuration whether it is alive, or with --ready
// whether people can sign in. A container without a shell can run it as its health check.
func health(ctx context.Context, c invocation) error {
	cfg, err := c.program.LoadConfig(c.env)
	if err != nil {
		return refused(err)
	}
	path := "/healthz"
	if _, ready := c.flags["--ready"]; ready {
		path = "/readyz"
	}
	answer, err := cfg.askApp(ctx, path)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.stdout, answer)
	return err
}

// askApp returns the answer of the running app.
func (c *Config) askApp(ctx context.Context, path string) (string, error) {
	scheme := "http"
	if c.parsedCertificate != nil {
		scheme = "https"
	}
	return c.ask(ctx, scheme, c.appAddress(), path)
}

// ask returns the answer of the running app at one of its addresses. The error says that nothing
// answers, that another program does, or that the status is not 200.
func (c *Config) ask(ctx context.Context, scheme, address, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	transport := c.appTransport()
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+path, nil)
	if err != nil {
		return "", fmt.Errorf("health: %w", err)
	}
	resp, err := transport.RoundTrip(req) // follows no redirect, and uses no proxy
	if err != nil {
		return "", fmt.Errorf("nothing answers at %s: %w", address, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return "", fmt.Errorf("reading the answer of %s: %w", address, err)
	}
	if resp.Header.Get(routes.AppHeader) != routes.AppName(c.BaseURL(c.Port)) {
		return "", fmt.Errorf("another program answers at %s, or this app for another base URL than %s", address, c.BaseURL(c.Port))
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %d: %s", path, resp.StatusCode, printable(string(body)))
	}
	return printable(string(body)), nil
}

// appAddress returns an address that the app listens on.
func (c *Config) appAddress() string { return reachable(c.listenHost(), strconv.Itoa(c.Port)) }

// reachable returns an address of a listener on this machine. A name would leave it to the resolver
// which of its addresses is asked.
func reachable(host, port string) string {
	host = cmp.Or(host, "localhost")
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(addresses(host)[0], port)
}

// appTransport trusts the app's own certificate, besides the authorities that this machine
// trusts, for the host name of the base URL.
func (c *Config) appTransport() *http.Transport {
	if c.parsedCertificate == nil {
		return new(http.Transport)
	}
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: rootsWith(c.parsedCertificate), ServerName: c.BaseURL(c.Port).Hostname()}}
}

// rootsWith returns the authorities that this machine trusts, and one certificate more.
func rootsWith(certificate *x509.Certificate) *x509.CertPool {
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	roots.AddCert(certificate)
	return roots
}

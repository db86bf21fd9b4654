// Package apptest starts the app for a test, and visits it the way people, programs and
// providers do. Everything is real: the program, its stores, the development provider, a
// browser, Redis. Only [Scripted] has a provider that does what its test tells it to.
//
//	func TestNotes(t *testing.T) {
//		t.Parallel()
//		visitor := apptest.StartProduct(t, product.New()).Visitor()
//		page := visitor.SignIn("/notes", apptest.Ada)
//		if page.StatusCode != http.StatusOK {
//			t.Errorf("the notes answer %s", page.Status)
//		}
//	}
//
// Tests of a product need no other package of this module to start the app.
package apptest

import (
	"context"
	"crypto/x509"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"latchkey/internal/app"
	"latchkey/routes"
)

// Patience is how long a test waits for what should happen at once.
const Patience = 20 * time.Second

// Ada is the subject of the first sample person of the development provider.
const Ada = "dev|ada"

// App is a running program, with a port, a data directory and a log of its own.
type App struct {
	T *testing.T
	// URL is the origin that the app announces, and Issuer is where people sign in. With several
	// providers use Issuers.
	URL, Issuer string
	Log         *Log
	DataDir     string
	// Stop stops the program, and returns the error that it ends with.
	Stop func() error

	// transport is the visitors' own: a server of net/http/httptest that is closed also closes
	// the connections of the default transport, and the requests on them fail.
	transport     *http.Transport
	makeTransport sync.Once
	// certificate is that of [AssembleHTTPS]; nil for an app that serves plain HTTP.
	certificate *x509.Certificate
}

// Start runs the app alone; see [StartProduct].
func Start(t *testing.T, env ...string) *App {
	t.Helper()
	return StartProduct(t, routes.Product{}, env...)
}

// StartProduct runs the program with a product in this process and waits until it listens. It stops
// with the test. env is a list of NAME=value; what it does not set is chosen for a test: any free
// port, an empty data directory, and a detailed log in JSON.
func StartProduct(t *testing.T, product routes.Product, env ...string) *App {
	t.Helper()
	a := &App{T: t, Log: NewLog(), DataDir: t.TempDir()}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	env = append([]string{"PORT=0", "LOG_FORMAT=json", "LOG_LEVEL=debug", "DATA_DIR=" + a.DataDir}, env...)
	go func() { ended <- app.Program{Product: product}.Run(ctx, nil, env, a.Log) }()
	a.Stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(Patience):
			t.Error("the program does not stop")
			return nil
		}
	})
	t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			t.Errorf("the program ended with: %v", err)
		}
	})
	select {
	case line := <-a.Log.listening:
		a.URL, a.Issuer = line.URL, line.Issuer
	case err := <-ended:
		ended <- nil
		t.Fatalf("the program ended with: %v", err)
	case <-time.After(Patience):
		t.Fatal("the program does not start")
	}
	return a
}

// StartHTTPS runs the program so that it serves HTTPS itself, beside the development
// provider.
func StartHTTPS(t *testing.T, certFile, keyFile string, env ...string) *App {
	t.Helper()
	port := FreePort(t)
	return Start(t, append([]string{
		"PORT=" + port, "AUTH0_CALLBACK_URL=https://localhost:" + port + "/callback",
		"TLS_CERT_FILE=" + certFile, "TLS_KEY_FILE=" + keyFile, "DEV_PROVIDER_ADDR=127.0.0.1:0",
	}, env...)...)
}

// Issuers returns where people sign in, in the order of the configuration.
func (a *App) Issuers() []string { return strings.Split(a.Issuer, ",") }

// Visitor returns a new browser that has never been here.
func (a *App) Visitor() *Visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		a.T.Fatal(err)
	}
	a.makeTransport.Do(func() {
		a.transport = http.DefaultTransport.(*http.Transport).Clone()
		a.T.Cleanup(a.transport.CloseIdleConnections)
	})
	return &Visitor{T: a.T, App: a, Client: &http.Client{Jar: jar, Transport: a.transport, Timeout: Patience}}
}

// Operators returns a visitor of the operators' address, which OPS_ADDR opens.
func (a *App) Operators() *Visitor {
	a.T.Helper()
	address, ok := a.Logged("listening", "")[0]["metrics"].(string)
	if !ok || address == "" {
		a.T.Fatal("OPS_ADDR is not announced")
	}
	return (&App{T: a.T, URL: strings.TrimSuffix(address, "/metrics"), Log: a.Log}).Visitor()
}

// Await waits until a GET of a path is answered with a status.
func (a *App) Await(path string, status int) {
	a.T.Helper()
	Eventually(a.T, path+" answers "+strconv.Itoa(status), func() bool { return a.Visitor().Get(path).StatusCode == status })
}

// Gallery returns the paths of all pieces of /dev/gallery.
func (a *App) Gallery() (pieces []string) {
	a.T.Helper()
	index := a.Visitor().Get("/dev/gallery")
	for n := range Parse(a.T, index.Body).Descendants() {
		if n.Type == html.ElementNode && n.Data == "a" && strings.HasPrefix(Attribute(n, "href"), "/dev/gallery/") {
			pieces = append(pieces, Attribute(n, "href"))
		}
	}
	if len(pieces) < 50 {
		a.T.Fatalf("the gallery has %d pieces:\n%s", len(pieces), index.Body)
	}
	return pieces
}

// Eventually waits until a condition holds. The test fails if it does not within [Patience].
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(Patience); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", Patience, what)
		}
	}
}

// FreePort returns a free port. It is below those that the system gives to anyone who asks for any
// port, so that no other test is given it before this one uses it.
func FreePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(11_000 + rand.IntN(21_000))
		if listener, err := net.Listen("tcp", ":"+port); err == nil { // on every address, as localhost is two
			listener.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

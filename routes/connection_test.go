package routes_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/internal/apptest"
	"latchkey/routes"
)

// large is longer than the buffers of both sides of a connection.
const large = 16 << 20

// filledPage is a page of the given number of bytes.
type filledPage int

func (p filledPage) Render(_ context.Context, w io.Writer) error {
	_, err := io.WriteString(w, strings.Repeat("x", int(p)))
	return err
}

// connected is a client's connection to an app with two kinds of pages: /large, and /aborted/, whose handler
// gives up after it has rendered as many bytes as the path says.
type connected struct {
	net.Conn
	t   *testing.T
	app string // its origin
}

func connect(t *testing.T) connected {
	t.Helper()
	var product routes.Product
	var app *routes.App
	product.Open = func(_ context.Context, a *routes.App) error {
		app = a
		return nil
	}
	product.Routes = func(r routes.Router) {
		r.Page("/large", func(c echo.Context) error { return app.Render(c, http.StatusOK, filledPage(large)) }, r.Visitor)
		r.Page("/aborted/:bytes", func(c echo.Context) error {
			n, err := strconv.Atoi(c.Param("bytes"))
			if err != nil {
				return err
			}
			_ = app.Render(c, http.StatusOK, filledPage(n))
			panic(http.ErrAbortHandler)
		}, r.Visitor)
	}
	a := apptest.StartProduct(t, product)
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(apptest.Patience)); err != nil {
		t.Fatal(err)
	}
	return connected{conn, t, a.URL}
}

// ask sends a request.
func (c connected) ask(method, path string) *http.Request {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.app+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := r.Write(c); err != nil {
		c.t.Fatal(err)
	}
	return r
}

// countedWrites counts what the connections of a listener write.
type countedWrites struct {
	net.Listener
	writes atomic.Int64
}

type countedConn struct {
	net.Conn
	writes *atomic.Int64
}

func (l *countedWrites) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return countedConn{conn, &l.writes}, err
}

func (c countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// TestOneWrite counts the writes of a page and of a file that are longer than the buffer of net/http, from a
// server that can collect them and from one that cannot.
func TestOneWrite(t *testing.T) {
	t.Parallel()
	s, _ := apptest.Assemble(t)
	v := s.Visitor()
	s.SignIn(v)
	_, style, _ := strings.Cut(v.Get("/dashboard").Body, `<link rel="stylesheet" href="`)
	style, _, _ = strings.Cut(style, `"`)
	for name, tt := range map[string]struct {
		listener func(net.Listener) net.Listener
		fits     func(writes int64) bool
	}{
		"a listener of ours": {routes.Listener, func(writes int64) bool { return writes == 1 }},
		"any other":          {func(l net.Listener) net.Listener { return l }, func(writes int64) bool { return writes > 1 }},
	} {
		server := httptest.NewUnstartedServer(s.Assembled.Handler)
		counted := &countedWrites{Listener: server.Listener}
		server.Listener, server.Config.ConnContext = tt.listener(counted), routes.ConnContext
		server.Start()
		for _, path := range []string{"/dashboard", style, "/dashboard", style} { // on the same connection
			r := v.Request(http.MethodGet, path, nil, "Cookie", v.CookieHeader())
			r.URL.Host = server.Listener.Addr().String()
			resp, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if n := counted.writes.Swap(0); !tt.fits(n) || err != nil || resp.StatusCode != http.StatusOK || string(body) != v.Get(path).Body {
				t.Errorf("%s: %s: %s, %d bytes in %d writes; %v", name, path, resp.Status, len(body), n, err)
			}
		}
		server.Close()
	}
}

// TestLargePage checks that a page arrives that is longer than the buffers of a connection.
func TestLargePage(t *testing.T) {
	t.Parallel()
	c := connect(t)
	received := bufio.NewReader(c)
	for range 2 {
		resp, err := http.ReadResponse(received, c.ask(http.MethodGet, "/large"))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); n != resp.ContentLength || n != large || err != nil {
			t.Fatalf("%d bytes of %d, %v", n, resp.ContentLength, err)
		}
	}
}

// TestAbortedPage checks that a client gets nothing of a page whose handler gave up, no matter how much of
// it the server still has in its own buffers, and that the connection is closed.
func TestAbortedPage(t *testing.T) {
	t.Parallel()
	for _, length := range []int{100, 2_500, 5_000, 7_000, large} {
		c := connect(t)
		c.ask(http.MethodGet, "/aborted/"+strconv.Itoa(length))
		if received, err := io.ReadAll(c); len(received) > 0 || err != nil {
			t.Errorf("%d bytes of a page with %d, %v", len(received), length, err)
		}
	}
}

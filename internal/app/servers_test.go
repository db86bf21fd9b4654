package app_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/app"
	"latchkey/internal/apptest"
)

func TestMain(m *testing.M) { apptest.Main(m) }

// TestServerLimits (DO-01, DO-02, DO-03) sends requests that are too slow or too large.
func TestServerLimits(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	if got := v.Get("/", "X-Filler", strings.Repeat("x", 40<<10)); got.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("40 KiB of headers are answered with %d", got.StatusCode)
	}
	if got := v.Get("/", "X-Filler", strings.Repeat("x", 20<<10)); got.StatusCode != http.StatusOK {
		t.Errorf("20 KiB of headers are answered with %d", got.StatusCode)
	}
	if got := v.Post("/backchannel-logout", url.Values{"x": {strings.Repeat("x", 70<<10)}}); got.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("70 KiB of form are answered with %d", got.StatusCode)
	}

	conn, err := net.Dial("tcp", strings.TrimPrefix(a.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n") // and never the end of it
	if err := conn.SetReadDeadline(time.Now().Add(apptest.Patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Error("a client that never ends its headers is not cut off")
	}
}

// TestOperationsAddress (SE-16, CF-06) requests the operators' pages at both addresses.
func TestOperationsAddress(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t, "OPS_ADDR=127.0.0.1:0")
	operators, v := s.Operators(), s.Visitor()
	s.SignIn(v)
	for path, want := range map[string]string{"/healthz": `{"status":"ok"}`, "/readyz": `{"status":"ready","checks":{"provider":"ok","store":"ok"}}`} {
		for _, from := range []*apptest.Visitor{operators, v} {
			got := from.WhenAvailable(from.Request(http.MethodGet, path, nil))
			if got.StatusCode != http.StatusOK || strings.TrimSpace(got.Body) != want || got.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("CF-06: %s of %s is %d %s", path, from.App.URL, got.StatusCode, got.Body)
			}
			if got := from.WhenAvailable(from.Request(http.MethodHead, path, nil)); got.StatusCode != http.StatusOK || got.Body != "" {
				t.Errorf("HEAD of %s is %d %q", path, got.StatusCode, got.Body)
			}
		}
	}
	for _, agent := range []string{"GoogleHC/1.0", "kube-probe/1.30", "Prometheus/3.0"} {
		if got := v.Get("/metrics", "User-Agent", agent); got.StatusCode != http.StatusNotFound {
			t.Errorf("SE-16: /metrics of the app is %d to %s", got.StatusCode, agent)
		}
		for _, path := range []string{"/", "/dashboard", "/login", "/api/me", "/static/", "/debug/pprof/", "/metrics/x"} {
			if got := operators.Direct(operators.Request(http.MethodGet, path, nil, "User-Agent", agent)); got.StatusCode != http.StatusNotFound || len(got.Cookies()) > 0 {
				t.Errorf("SE-16: %s of the operators' address is %d to %s", path, got.StatusCode, agent)
			}
		}
	}
	if got := operators.Do(operators.Request(http.MethodPost, "/metrics", nil)); got.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST of /metrics is %d", got.StatusCode)
	}
	page := operators.Get("/metrics").Body
	for _, private := range []string{"alice", s.OP.ClientID + `"`, s.OP.Issuer, s.DataDir} {
		if strings.Contains(page, private) {
			t.Errorf("SE-16: /metrics says %q", private)
		}
	}
}

// TestOperationsAddressIsTaken starts the program when another one has the operators'
// address: it does not start.
func TestOperationsAddressIsTaken(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t, "OPS_ADDR=127.0.0.1:0")
	address := strings.TrimPrefix(s.Operators().App.URL, "http://")
	ctx, stop := context.WithTimeout(t.Context(), apptest.Patience)
	defer stop()
	err := app.Run(ctx, nil, append(apptest.Env(s.OP), "PORT=0", "DATA_DIR="+t.TempDir(), "OPS_ADDR="+address), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "OPS_ADDR") {
		t.Errorf("it ends with %v", err)
	}
}

// TestSocketErrors recognizes the errors of listening with the numbers of this system and of Windows.
func TestSocketErrors(t *testing.T) {
	t.Parallel()
	for number, want := range map[syscall.Errno]struct{ inUse, denied bool }{
		syscall.EADDRINUSE: {inUse: true}, 10048: {inUse: true},
		syscall.EACCES: {denied: true}, 10013: {denied: true},
		syscall.EADDRNOTAVAIL: {}, 10049: {}, 0: {},
	} {
		err := fmt.Errorf("listening: %w", &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", number)})
		if got := app.IsAddressInUse(err); got != want.inUse {
			t.Errorf("%d: in use %t", number, got)
		}
		if got := app.IsAccessDenied(err); got != want.denied {
			t.Errorf("%d: denied %t", number, got)
		}
	}
}

package routes_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn/openid"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
	"latchkey/routes"
)

// ordersAPI is an API behind /api/orders of an app, and what it has received.
type ordersAPI struct {
	*apptest.Scripted
	clock  *apptest.Clock
	server *httptest.Server

	mu       sync.Mutex
	received []received
	answer   http.HandlerFunc // nil answers 200 with JSON
}

// received is a request with its body.
type received struct {
	*http.Request
	body string
}

// startOrders starts an app, and an API below the path /v1 that the app passes requests on to.
func startOrders(t *testing.T, change func(*routes.Upstream), env ...string) *ordersAPI {
	t.Helper()
	o := &ordersAPI{}
	o.Scripted, o.clock = apptest.Assemble(t, env...)
	o.server = httptest.NewServer(o)
	t.Cleanup(o.server.Close)
	to := routes.Upstream{URL: o.server.URL + "/v1"}
	if change != nil {
		change(&to)
	}
	o.Assembled.Handler.Proxy("/api/orders", to)
	return o
}

func (o *ordersAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	answer := o.answer
	o.mu.Unlock()
	if answer != nil {
		o.receive(r, "")
		answer(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	o.receive(r, string(body))
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"orders":[]}`)
}

func (o *ordersAPI) receive(r *http.Request, body string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.received = append(o.received, received{r, body})
}

// answers sets the API's answer.
func (o *ordersAPI) answers(answer http.HandlerFunc) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer = answer
}

// calls returns the requests that the API has received since the last call.
func (o *ordersAPI) calls() []received {
	o.mu.Lock()
	defer o.mu.Unlock()
	calls := o.received
	o.received = nil
	return calls
}

// signedIn returns a visitor who is signed in.
func (o *ordersAPI) signedIn() *apptest.Visitor {
	v := o.Visitor()
	o.SignIn(v)
	return v
}

// fetch sends a request as a script of one of the app's pages does. headers are pairs.
func (o *ordersAPI) fetch(v *apptest.Visitor, method, path, body string, headers ...string) apptest.Answer {
	o.T.Helper()
	own := []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "empty", "Sec-Fetch-Mode", "cors"}
	req := v.Request(method, path, nil, append(own, headers...)...)
	if body != "" {
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	}
	return v.Direct(req)
}

// wantPassed checks an answer of the API, and returns the one request that it received.
func (o *ordersAPI) wantPassed(got apptest.Answer) received {
	o.T.Helper()
	calls := o.calls()
	if got.StatusCode != http.StatusOK || len(calls) != 1 {
		o.T.Fatalf("answered %d after %d calls\n%s\n%s", got.StatusCode, len(calls), got.Body, o.Log)
	}
	return calls[0]
}

// wantRefused checks a refusal that did not reach the API.
func (o *ordersAPI) wantRefused(got apptest.Answer, status int, reason string) {
	o.T.Helper()
	o.wantFailure(got, status, reason, 0)
}

// wantFailure checks a refusal after a number of calls of the API.
func (o *ordersAPI) wantFailure(got apptest.Answer, status int, reason string, calls int) {
	o.T.Helper()
	if made := len(o.calls()); got.StatusCode != status || made != calls {
		o.T.Errorf("answered %d after %d calls, want %d after %d\n%s\n%s", got.StatusCode, made, status, calls, got.Body, o.Log)
	}
	if lines := o.Logged("refused", got.Header.Get("X-Request-Id")); reason != "" && (len(lines) != 1 || lines[0]["reason"] != reason) {
		o.T.Errorf("the log says %v, want one refusal for %q", lines, reason)
	}
	apptest.CheckHeaders(o.T, reason, got)
	o.WantNoSecrets(got)
}

// TestProxiedRequest sends everything that a browser, an attacker's script or a proxy in front may put
// into a request. Only what is listed reaches the API, with the person's own access token.
func TestProxiedRequest(t *testing.T) {
	t.Parallel()
	o := startOrders(t, nil)
	v := o.signedIn()
	got := o.fetch(v, "POST", "/api/orders/42?state=open&sort=a%2Fb", `{"a":1}`,
		"Content-Type", "application/json", "Accept", "application/json", "Accept-Language", "de", "If-Match", `"1"`, "Idempotency-Key", "k",
		"Authorization", "Bearer of-the-browser", "Proxy-Authorization", "Basic eDp5", "X-Api-Key", "k", "User-Agent", "Browser/1", "Referer", o.URL,
		"Forwarded", "for=6.6.6.6", "X-Forwarded-For", "6.6.6.6", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https", "X-Forwarded-User", "admin",
		"X-Real-Ip", "6.6.6.6", "X-Original-Url", "/admin", "X-Http-Method-Override", "DELETE", "X-Request-Id", "mine", "Origin", o.URL,
		"Te", "trailers", "Connection", "Authorization, Content-Type, close", "Keep-Alive", "1", "HX-Request", "false")
	r := o.wantPassed(got)
	if r.Method != "POST" || r.URL.String() != "/v1/42?state=open&sort=a%2Fb" || r.body != `{"a":1}` || "http://"+r.Host != o.server.URL {
		t.Errorf("the API received %s %s for %s with %q", r.Method, r.URL, r.Host, r.body)
	}
	token := r.Header.Get("Authorization")
	if access, ok := strings.CutPrefix(token, "Bearer access-"); !ok || access == "" {
		t.Errorf("the API received the credentials %q", token)
	}
	want := http.Header{
		"Accept": {"application/json"}, "Accept-Encoding": {"gzip"}, "Accept-Language": {"de"}, "Authorization": {token}, "Content-Length": {"7"},
		"Content-Type": {"application/json"}, "Idempotency-Key": {"k"}, "If-Match": {`"1"`},
	}
	for name, values := range r.Header {
		if !slices.Equal(values, want[name]) {
			t.Errorf("the API received %s: %q", name, values)
		}
	}
	for name := range want {
		if len(r.Header[name]) == 0 {
			t.Errorf("the API did not receive %s", name)
		}
	}
	if got := o.wantPassed(o.fetch(v, "GET", "/api/orders", "")); got.URL.String() != "/v1" || got.ContentLength != 0 {
		t.Errorf("the API received %s with %d bytes", got.URL, got.ContentLength)
	}
	o.WantNoSecrets(got)
}

// TestProxyPresentsTheCertificate (CB-27) passes a request on to an API that accepts the token from the
// holder of a certificate alone.
func TestProxyPresentsTheCertificate(t *testing.T) {
	t.Parallel()
	own := scriptedop.NewCertificate("client")
	for name, tt := range map[string]struct {
		presented *tls.Certificate
		want      int
	}{"CB-27 its own": {own, 200}, "CB-27 another client's": {scriptedop.NewCertificate("client"), 403}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &ordersAPI{}
			o.Scripted, o.clock = apptest.AssembleWith(t, func(s *apptest.Settings) {
				s.OpenID.RootCAs, s.OpenID.ClientCertificate = scriptedop.Roots(), func() (*tls.Certificate, error) { return tt.presented, nil }
			})
			o.OP.StartMTLS(t, nil)
			o.answer = func(w http.ResponseWriter, r *http.Request) {
				if !r.TLS.PeerCertificates[0].Equal(own.Leaf) {
					w.WriteHeader(http.StatusForbidden)
				}
			}
			o.server = httptest.NewUnstartedServer(o)
			o.server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
			o.server.StartTLS()
			t.Cleanup(o.server.Close)
			o.Assembled.Handler.Proxy("/api/orders", routes.Upstream{URL: o.server.URL})
			if got := o.fetch(o.signedIn(), "GET", "/api/orders", ""); got.StatusCode != tt.want {
				t.Errorf("answered %d, want %d\n%s", got.StatusCode, tt.want, o.Log)
			}
		})
	}
}

// TestProxiedAnswer has an API that sends whatever it likes: with an interim answer, in its header and in
// trailers. Only what is listed comes back.
func TestProxiedAnswer(t *testing.T) {
	t.Parallel()
	o := startOrders(t, nil)
	v := o.signedIn()
	dashboard := v.Direct(v.Request("GET", "/dashboard", nil))
	hostile := func(h http.Header) {
		for name, value := range map[string]string{
			"Set-Cookie": "session=stolen", "Content-Security-Policy": "default-src *", "X-Frame-Options": "ALLOWALL", "X-Request-Id": "mine",
			"Cross-Origin-Resource-Policy": "cross-origin", "Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=1000", "Clear-Site-Data": `"*"`,
			"Strict-Transport-Security": "max-age=0", "Www-Authenticate": "Basic", "Location": "https://evil.example", "Refresh": "0; url=//evil.example",
			"Link": "<https://evil.example>; rel=preload", "Server": "X", "Hx-Redirect": "https://evil.example", "Hx-Trigger": "x", "Service-Worker-Allowed": "/",
			"Referrer-Policy": "unsafe-url", "X-Content-Type-Options": "", "Vary": "X", "Alt-Svc": "h3", "Sourcemap": "/x",
		} {
			h.Set(name, value)
		}
	}
	o.answers(func(w http.ResponseWriter, _ *http.Request) {
		hostile(w.Header())
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Etag", `"1"`)
		w.Header().Set("Retry-After", "7")
		w.Header().Set("Trailer", "Set-Cookie")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error":"no such order"}`)
		trailers := make(http.Header)
		hostile(trailers)
		for name, values := range trailers {
			w.Header()[http.TrailerPrefix+name] = values
		}
	})
	got := o.fetch(v, "GET", "/api/orders/1", "")
	if got.StatusCode != http.StatusNotFound || got.Body != `{"error":"no such order"}` || len(got.Trailer) > 0 {
		t.Errorf("answered %d %s, trailers %v", got.StatusCode, got.Body, got.Trailer)
	}
	for name, values := range got.Header {
		want := dashboard.Header[name]
		switch name {
		case "Content-Type":
			want = []string{"application/json"}
		case "Etag":
			want = []string{`"1"`}
		case "Retry-After":
			want = []string{"7"}
		case "Content-Security-Policy":
			want = []string{"default-src 'none'; frame-ancestors 'none'; sandbox"}
		case "Date", "X-Request-Id", "Content-Length":
			want = values
		}
		if !slices.Equal(values, want) || values[0] == "mine" {
			t.Errorf("%s: %q, want %q", name, values, want)
		}
	}
	for _, name := range []string{"Cache-Control", "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy", "X-Request-Id", "Cross-Origin-Resource-Policy"} {
		if got.Header.Get(name) == "" {
			t.Errorf("%s is missing", name)
		}
	}
	o.answers(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		_, _ = io.WriteString(w, "<html><script>alert(1)</script>")
	})
	if got := o.fetch(v, "GET", "/api/orders/1", ""); got.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("an answer without a type is %q", got.Header.Get("Content-Type"))
	}
}

// TestProxiedPath tries to leave the API's path, on a connection of its own so that nothing corrects the path
// on the way.
func TestProxiedPath(t *testing.T) {
	t.Parallel()
	o := startOrders(t, nil)
	v := o.signedIn()
	cookies := v.Client.Jar.Cookies(v.Request("GET", "/", nil).URL)
	for path, want := range map[string]string{
		"":                        "/v1",
		"/":                       "/v1/",
		"/42":                     "/v1/42",
		"/a%20b/%C3%A4":           "/v1/a%20b/%C3%A4",
		"/a.b/..c/...":            "/v1/a.b/..c/...",
		"/a;v=1/b":                "/v1/a;v=1/b",
		"/42/?a=../..&b=%2e%2e":   "/v1/42/?a=../..&b=%2e%2e",
		"/42?url=http://10.0.0.1": "/v1/42?url=http://10.0.0.1",
		"/@evil.example/":         "/v1/@evil.example/",

		"/../admin":           "",
		"/./admin":            "",
		"/42/..":              "",
		"/%2e%2e/admin":       "",
		"/.%2E/admin":         "",
		"/..;/admin":          "",
		"/..;a=b/admin":       "",
		"/%2e%2e;/admin":      "",
		"/a/%2e/b":            "",
		"/..%2fadmin":         "",
		"/..%5cadmin":         "",
		`/..\admin`:           "",
		"/%252e%252e/admin":   "",
		"/%c0%ae%c0%ae/admin": "",
		"//evil.example":      "",
		"/;/admin":            "",
		"/a%00b":              "",
		"/a%0d%0aHost:%20b":   "",
		"/42?access_token=x":  "",
	} {
		conn, err := net.Dial("tcp", o.Server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /api/orders%s HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\nConnection: close\r\n\r\n", path, strings.TrimPrefix(o.URL, "http://"), cookies[0])
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		_ = conn.Close()
		calls := o.calls()
		switch {
		case want == "" && (resp.StatusCode != http.StatusBadRequest || len(calls) > 0):
			t.Errorf("%s: answered %d, the API received %v", path, resp.StatusCode, calls)
		case want != "" && (resp.StatusCode != http.StatusOK || len(calls) != 1 || calls[0].RequestURI != want):
			t.Errorf("%s: answered %d, the API received %v, want %s", path, resp.StatusCode, calls, want)
		}
	}
	for _, path := range []string{"/api/orders.evil.example/", "/api/ordersx", "/api/%6frders/1", "/api/orders@evil.example"} {
		if got := o.fetch(v, "GET", path, ""); got.StatusCode != http.StatusNotFound || len(o.calls()) > 0 {
			t.Errorf("%s: answered %d", path, got.StatusCode)
		}
	}
}

// TestProxySmuggling sends requests whose end servers may see in different places. The API receives one
// request, or none.
func TestProxySmuggling(t *testing.T) {
	t.Parallel()
	o := startOrders(t, nil)
	v := o.signedIn()
	cookie := v.Client.Jar.Cookies(v.Request("GET", "/", nil).URL)[0].String()
	const inner = "GET /api/orders/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, tt := range map[string]struct {
		header, body string
		status       int
	}{
		"a length":                   {"Content-Length: " + strconv.Itoa(len(inner)), inner, 200},
		"chunked":                    {"Transfer-Encoding: chunked", strconv.FormatInt(int64(len(inner)), 16) + "\r\n" + inner + "\r\n0\r\n\r\n", 200},
		"chunked with a trailer":     {"Transfer-Encoding: chunked\r\nTrailer: Authorization", "1\r\na\r\n0\r\nAuthorization: Bearer evil\r\n\r\n", 200},
		"two lengths":                {"Content-Length: 0\r\nContent-Length: " + strconv.Itoa(len(inner)), inner, 400},
		"a list of lengths":          {"Content-Length: 0, " + strconv.Itoa(len(inner)), inner, 400},
		"a signed length":            {"Content-Length: +1", "a", 400},
		"an unknown coding":          {"Transfer-Encoding: xchunked", "0\r\n\r\n" + inner, 501},
		"two codings":                {"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n" + inner, 501},
		"space before the colon":     {"Transfer-Encoding : chunked", "0\r\n\r\n" + inner, 400},
		"a folded header":            {"X: a\r\n Transfer-Encoding: chunked", "", 200},
		"no end of the line":         {"X: a\rTransfer-Encoding: chunked", "", 400},
		"an upgrade":                 {"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==", "", 400},
		"an upgrade to h2c":          {"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__", "", 400},
		"an upgrade that is not one": {"Connection: Upgrade", "", 200},
	} {
		conn, err := net.Dial("tcp", o.Server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /api/orders HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\n%s\r\n\r\n%s", strings.TrimPrefix(o.URL, "http://"), cookie, tt.header, tt.body)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = conn.Close()
		calls := o.calls()
		if passed := tt.status == 200; resp.StatusCode != tt.status || len(calls) > 1 || passed != (len(calls) == 1) {
			t.Errorf("%s: answered %d, want %d; the API received %v", name, resp.StatusCode, tt.status, calls)
		}
		for _, call := range calls {
			if call.RequestURI != "/v1" || len(call.Trailer) > 0 || call.Header.Get("Upgrade")+call.Header.Get("Connection") != "" || call.Header.Get("Cookie") != "" {
				t.Errorf("%s: the API received %s %v %v", name, call.RequestURI, call.Header, call.Trailer)
			}
		}
	}
}

// TestProxyAdmits sends requests as pages of this app, of other sites and of other origins on this site send
// them, and as parts of a page.
func TestProxyAdmits(t *testing.T) {
	t.Parallel()
	o := startOrders(t, func(to *routes.Upstream) { to.Methods = []string{"GET", "POST"} })
	v := o.signedIn()
	for name, tt := range map[string]struct {
		method, headers string // site, dest, origin
		status          int
		reason          string
	}{
		"a script reads":                     {"GET", "same-origin empty", 200, ""},
		"a script writes":                    {"POST", "same-origin empty " + o.URL, 200, ""},
		"a person opens the address":         {"GET", "none document", 200, ""},
		"a form":                             {"POST", "same-origin document " + o.URL, 200, ""},
		"a program with the cookie":          {"POST", "", 200, ""},
		"an old browser, from here":          {"POST", "- - " + o.URL, 200, ""},
		"another site writes":                {"POST", "cross-site empty https://evil.example", 403, "cross_origin"},
		"another site's form":                {"POST", "cross-site document https://evil.example", 403, "cross_origin"},
		"an old browser, from another site":  {"POST", "- - https://evil.example", 403, "cross_origin"},
		"a sandboxed page":                   {"POST", "cross-site empty null", 403, "cross_origin"},
		"another origin on this site writes": {"POST", "same-site empty http://localhost:1", 403, "cross_origin"},
		"another origin on this site reads":  {"GET", "same-site empty", 403, "cross_origin"},
		"another site links to it":           {"GET", "cross-site document", 403, "cross_origin"},
		"a script of a page":                 {"GET", "same-origin script", 403, "not_data"},
		"a style sheet":                      {"GET", "same-origin style", 403, "not_data"},
		"a worker":                           {"GET", "same-origin worker", 403, "not_data"},
		"a service worker":                   {"GET", "same-origin serviceworker", 403, "not_data"},
		"a frame":                            {"GET", "same-origin iframe", 403, "not_data"},
		"another method":                     {"DELETE", "same-origin empty", 405, ""},
		"a preflight":                        {"OPTIONS", "cross-site empty https://evil.example", 405, ""},
		"TRACE":                              {"TRACE", "same-origin empty", 405, ""},
	} {
		var headers []string
		for i, value := range strings.Fields(tt.headers) {
			if value != "-" {
				headers = append(headers, []string{"Sec-Fetch-Site", "Sec-Fetch-Dest", "Origin"}[i], value)
			}
		}
		got := v.Direct(v.Request(tt.method, "/api/orders", nil, headers...))
		if calls := len(o.calls()); got.StatusCode != tt.status || calls > 0 != (tt.status == 200) {
			t.Errorf("%s: answered %d after %d calls, want %d", name, got.StatusCode, calls, tt.status)
		}
		if lines := o.Logged("refused", got.Header.Get("X-Request-Id")); tt.reason != "" && (len(lines) != 1 || lines[0]["reason"] != tt.reason) {
			t.Errorf("%s: the log says %v, want %q", name, lines, tt.reason)
		}
	}
}

// TestProxyWithoutASession sends requests of visitors, and of people whose session has ended before or ends
// with this request.
func TestProxyWithoutASession(t *testing.T) {
	t.Parallel()
	ways := map[string]func(*ordersAPI) *apptest.Visitor{
		"a visitor": func(o *ordersAPI) *apptest.Visitor { return o.Visitor() },
		"signed out elsewhere": func(o *ordersAPI) *apptest.Visitor {
			v := o.signedIn()
			token := o.OP.LogoutToken()
			token.Claims["sub"] = "alice"
			v.Direct(v.Request("POST", "/backchannel-logout", url.Values{"logout_token": {token.Compact()}}))
			return v
		},
		"the refresh ends the session": func(o *ordersAPI) *apptest.Visitor {
			v := o.signedIn()
			o.clock.Move(time.Hour)
			o.OP.Answer(scriptedop.Token, scriptedop.JSON(400, map[string]any{"error": "invalid_grant"}))
			return v
		},
		"an expired token and no refresh token": func(o *ordersAPI) *apptest.Visitor {
			o.OP.Edit(scriptedop.Token, func(response map[string]any) { delete(response, "refresh_token") })
			v := o.signedIn()
			o.clock.Move(2 * time.Hour)
			return v
		},
	}
	for name, begin := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for client, headers := range map[string][]string{
				"a script":      {"Accept", "*/*"},
				"an API client": {"Accept", "application/json"},
				"htmx":          {"Accept", "*/*", "HX-Request", "true", "HX-Current-URL", "http://localhost/dashboard"},
			} {
				o := startOrders(t, nil)
				v := begin(o)
				got := o.fetch(v, "POST", "/api/orders", "a=1", headers...)
				o.wantRefused(got, http.StatusUnauthorized, "")
				target := got.Header.Get("HX-Redirect")
				if isHTMX := client == "htmx"; isHTMX != (strings.HasPrefix(target, "/login") || strings.HasPrefix(target, "/signed-out?")) {
					t.Errorf("%s: HX-Redirect is %q", client, target)
				}
				if client != "htmx" && got.Header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("%s: the answer is %q", client, got.Header.Get("Content-Type"))
				}
			}
			o := startOrders(t, nil)
			got := o.fetch(begin(o), "GET", "/api/orders/1", "", "Accept", "text/html", "Sec-Fetch-Site", "none", "Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate")
			if location := got.Header.Get("Location"); got.StatusCode != http.StatusSeeOther || !strings.HasPrefix(location, "/login?") && !strings.HasPrefix(location, "/signed-out?") || len(o.calls()) > 0 {
				t.Errorf("a person: answered %d to %q", got.StatusCode, location)
			}
		})
	}
}

// TestProxyRenewsTheToken has an API that refuses the access token, because the provider has revoked it. The
// request is repeated once with a new one, if its body is still there.
func TestProxyRenewsTheToken(t *testing.T) {
	t.Parallel()
	const long = 65 << 10
	for name, tt := range map[string]struct {
		method string
		body   int // bytes
		again  int // how many times the API refuses
		status int
		reason string
		calls  int
	}{
		"GET":                      {"GET", 0, 1, 200, "", 2},
		"a form":                   {"POST", 100, 1, 200, "", 2},
		"the longest that is kept": {"POST", 64 << 10, 1, 200, "", 2},
		"a long body":              {"POST", long, 1, 503, "upstream_token_renewed", 1},
		"every token is refused":   {"GET", 0, 9, 502, "upstream_token_refused", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := startOrders(t, nil)
			v := o.signedIn()
			body := strings.Repeat("x", tt.body)
			refuse := tt.again
			var bodies, tokens []string
			o.answers(func(w http.ResponseWriter, r *http.Request) {
				got, _ := io.ReadAll(r.Body)
				bodies, tokens = append(bodies, string(got)), append(tokens, r.Header.Get("Authorization"))
				if refuse > 0 {
					refuse--
					w.Header().Set("WWW-Authenticate", "Basic")
					w.WriteHeader(http.StatusUnauthorized)
				}
			})
			o.clock.Move(time.Minute)
			got := o.fetch(v, tt.method, "/api/orders", body)
			if tt.status != 200 {
				o.wantFailure(got, tt.status, tt.reason, tt.calls)
			} else if calls := len(o.calls()); got.StatusCode != 200 || calls != tt.calls {
				t.Errorf("answered %d after %d calls\n%s", got.StatusCode, calls, o.Log)
			}
			if got.Header.Get("WWW-Authenticate") != "" {
				t.Error("the browser asks for a password")
			}
			if refreshes := o.OP.Calls(scriptedop.Token) - 1; refreshes != 1 || slices.ContainsFunc(bodies, func(b string) bool { return b != body }) || len(slices.Compact(tokens)) != tt.calls {
				t.Errorf("%d refreshes, %d different tokens", refreshes, len(slices.Compact(tokens)))
			}
			if tt.status == 503 {
				if got := o.fetch(v, tt.method, "/api/orders", body); got.StatusCode != 200 || o.OP.Calls(scriptedop.Token) != 2 {
					t.Errorf("sent again, it is answered with %d", got.StatusCode)
				}
			}
			if tt.again > 1 { // the token is new: another refresh would not help
				o.calls()
				o.wantFailure(o.fetch(v, tt.method, "/api/orders", body), 502, "upstream_token_refused", 1)
				if o.OP.Calls(scriptedop.Token) != 2 {
					t.Error("each refusal uses the refresh token")
				}
			}
		})
	}
}

// TestProxyDPoP passes requests on to an API that demands bound tokens, each with a proof that has a nonce.
func TestProxyDPoP(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		body      int  // bytes
		anotherOf bool // the nonce changes with each request
		revoked   bool // the provider has revoked the access token
		status    int
		reason    string
		calls     int
	}{
		"GET":                        {0, false, false, 200, "", 2},
		"a form":                     {100, false, false, 200, "", 2},
		"a long body":                {65 << 10, false, false, 503, "upstream_token_renewed", 1},
		"another nonce each time":    {0, true, false, 502, "upstream_token_refused", 2},
		"the token has been revoked": {0, false, true, 200, "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := startOrders(t, nil, "DPOP=on")
			v := o.signedIn()
			nonce := func() string {
				if tt.anotherOf {
					return openid.RandomToken()
				}
				return "a-nonce-of-the-api"
			}
			var bodies []string
			o.answers(o.OP.Protected(nonce, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got, _ := io.ReadAll(r.Body)
				bodies = append(bodies, string(got))
			})).ServeHTTP)
			refreshes := -o.OP.Calls(scriptedop.Token)
			o.clock.Move(time.Minute)
			if tt.revoked {
				o.OP.RevokeAccessTokens()
				refreshes--
			}
			body := strings.Repeat("x", tt.body)
			fetch := func() apptest.Answer {
				got := o.fetch(v, "POST", "/api/orders/7?page=2", body, "DPoP", "of the browser", "Authorization", "DPoP of-the-browser")
				if got.Header.Get("DPoP-Nonce") != "" {
					t.Error("the nonce reaches the browser")
				}
				return got
			}
			got := fetch()
			if tt.status != 200 {
				o.wantFailure(got, tt.status, tt.reason, tt.calls)
			} else if calls := len(o.calls()); got.StatusCode != 200 || calls != tt.calls || len(bodies) != 1 || bodies[0] != body {
				t.Errorf("answered %d after %d calls with %d bodies\n%s", got.StatusCode, calls, len(bodies), o.Log)
			}
			if tt.status == 503 {
				if again := fetch(); again.StatusCode != 200 || len(bodies) != 1 || bodies[0] != body {
					t.Errorf("sent again, it is answered with %d", again.StatusCode)
				}
			}
			if refreshes += o.OP.Calls(scriptedop.Token); refreshes != 0 {
				t.Errorf("%d refreshes more than are needed", refreshes)
			}
		})
	}
}

// TestProxyTokenOfTheAPI proxies to an API that has access tokens of its own.
func TestProxyTokenOfTheAPI(t *testing.T) {
	t.Parallel()
	o := startOrders(t, func(to *routes.Upstream) { to.API = openid.API{Audience: "https://orders.example"} })
	v := o.signedIn()
	first := o.wantPassed(o.fetch(v, "GET", "/api/orders", "")).Header.Get("Authorization")
	if form := o.OP.Last(scriptedop.Token).Form; form.Get("resource") != "https://orders.example" {
		t.Errorf("the refresh sends %v", form)
	}
	if next := o.wantPassed(o.fetch(v, "GET", "/api/orders", "")).Header.Get("Authorization"); next != first || o.OP.Calls(scriptedop.Token) != 2 {
		t.Errorf("%d calls of the token endpoint", o.OP.Calls(scriptedop.Token))
	}
	o.clock.Move(2 * time.Hour)
	o.OP.Answer(scriptedop.Token, scriptedop.JSON(400, map[string]any{"error": "invalid_target"}))
	o.wantRefused(o.fetch(v, "GET", "/api/orders", ""), 502, "api_token_refused")
}

// TestProxyStreams sends a body piece by piece, and reads an answer piece by piece.
func TestProxyStreams(t *testing.T) {
	t.Parallel()
	o := startOrders(t, nil)
	v := o.signedIn()
	pieces, proceed := make(chan string), make(chan struct{})
	o.answers(func(w http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 64)
		for range 2 {
			n, _ := r.Body.Read(buf)
			pieces <- string(buf[:n])
		}
		for _, piece := range []string{"first ", "second"} {
			<-proceed
			_, _ = io.WriteString(w, piece)
			_ = http.NewResponseController(w).Flush()
		}
	})
	body, send := io.Pipe()
	req := v.Request("POST", "/api/orders", nil)
	req.Body, req.ContentLength = body, -1
	answered := make(chan *http.Response, 1)
	go func() {
		resp, err := v.Client.Do(req)
		if err != nil {
			t.Error(err)
		}
		answered <- resp
	}()
	for _, piece := range []string{"one", "two"} {
		if _, err := io.WriteString(send, piece); err != nil {
			t.Fatal(err)
		}
		if got := <-pieces; got != piece {
			t.Errorf("the API received %q, want %q", got, piece)
		}
	}
	_ = send.Close()
	proceed <- struct{}{}
	resp := <-answered
	defer resp.Body.Close()
	for i, piece := range []string{"first ", "second"} {
		buf := make([]byte, len(piece))
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != piece {
			t.Fatalf("the answer is %q: %v", buf, err)
		}
		if i == 0 {
			proceed <- struct{}{}
		}
	}
}

// TestProxyBesideAnOwnRoute has a route of the product's own at a path whose other methods are proxied. Its
// bodies are bounded as anywhere else.
func TestProxyBesideAnOwnRoute(t *testing.T) {
	t.Parallel()
	o := startOrders(t, func(to *routes.Upstream) { to.Methods = []string{http.MethodPut} })
	o.Assembled.Handler.Echo().POST("/api/orders", func(c echo.Context) error {
		_, err := io.Copy(io.Discard, c.Request().Body)
		return err
	})
	v := o.signedIn()
	body := strings.Repeat("x", 65<<10)
	o.wantPassed(o.fetch(v, http.MethodPut, "/api/orders", body))
	if got := o.fetch(v, http.MethodPost, "/api/orders", body); got.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body is answered %d", got.StatusCode)
	}
}

// endless reads as zeros.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestProxyBounds sends bodies that are too large, and has an API whose answers are, or that are none.
func TestProxyBounds(t *testing.T) {
	t.Parallel()
	const limit = 10 << 20
	o := startOrders(t, nil)
	v := o.signedIn()
	send := func(length int64, body io.Reader) apptest.Answer {
		req := v.Request("POST", "/api/orders", nil)
		req.Body, req.ContentLength = io.NopCloser(body), length
		return v.Direct(req)
	}
	if r := o.wantPassed(send(limit, io.LimitReader(endless{}, limit))); len(r.body) != limit {
		t.Errorf("the API received %d bytes", len(r.body))
	}
	if r := o.wantPassed(send(-1, io.LimitReader(endless{}, limit))); len(r.body) != limit {
		t.Errorf("the API received %d bytes", len(r.body))
	}
	o.wantRefused(send(limit+1, io.LimitReader(endless{}, limit+1)), http.StatusRequestEntityTooLarge, "request_entity_too_large")
	if got := send(-1, io.LimitReader(endless{}, limit+1)); got.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a long body of unknown length: %d", got.StatusCode)
	}
	apptest.Eventually(t, "the API sees the end of that body", func() bool { return len(o.calls()) == 1 })
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		status int
		reason string
	}{
		"as much as allowed":       {answerOf(limit, true), 200, ""},
		"of unknown length":        {answerOf(limit, false), 200, ""},
		"too much":                 {answerOf(limit+1, true), 502, "upstream_answer_refused"},
		"a redirect":               {scriptedop.Redirect(302, "https://evil.example"), 502, "upstream_answer_refused"},
		"a redirect of a POST":     {scriptedop.Redirect(307, "/v1/elsewhere"), 502, "upstream_answer_refused"},
		"not modified":             {scriptedop.Redirect(304, ""), 304, ""},
		"a proxy's demand":         {scriptedop.Body(407, "text/plain", ""), 502, "upstream_answer_refused"},
		"an error of its own":      {scriptedop.Body(500, "text/plain", "x"), 500, ""},
		"forbidden":                {scriptedop.Body(403, "text/plain", "x"), 403, ""},
		"another protocol":         {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(101) }, 502, ""},
		"nothing":                  {hangUp(""), 502, "upstream_unreachable"},
		"not HTTP":                 {hangUp("hello\r\n\r\n"), 502, "upstream_unreachable"},
		"a header that is endless": {hangUp("HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 100<<10) + "\r\n\r\n"), 502, "upstream_unreachable"},
	} {
		o.answers(tt.answer)
		got := o.fetch(v, "POST", "/api/orders", "")
		if tt.status >= 400 && tt.reason != "" {
			o.wantFailure(got, tt.status, tt.reason, 1)
		} else if got.StatusCode != tt.status {
			t.Errorf("%s: answered %d, want %d", name, got.StatusCode, tt.status)
		}
		o.calls()
	}
	o.server.CloseClientConnections()
	o.server.Close()
	o.wantRefused(o.fetch(v, "GET", "/api/orders", ""), 502, "upstream_unreachable")
}

// answerOf returns an answer of n bytes, with their number or without.
func answerOf(n int64, known bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if known {
			w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		}
		_, _ = io.Copy(w, io.LimitReader(endless{}, n))
	}
}

// hangUp sends a text as it is and closes the connection.
func hangUp(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, text)
		_ = conn.Close()
	}
}

// TestProxyCutOff has an answer that breaks off after its header. The client can see that, and so can the
// operator.
func TestProxyCutOff(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer  http.HandlerFunc
		timeout time.Duration
	}{
		"too much of unknown length": {answer: answerOf(10<<20+1, false)},
		"the API hangs up":           {answer: hangUp("HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + strings.Repeat("a", 9000))},
		"the API stops":              {answer: stall(strings.Repeat("a", 9000)), timeout: 3 * time.Second},
		"the API hangs up, chunked":  {answer: hangUp("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := startOrders(t, func(to *routes.Upstream) { to.Timeout = tt.timeout })
			v := o.signedIn()
			o.answers(tt.answer)
			resp, err := v.Client.Do(v.Request("GET", "/api/orders", nil))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if n, err := io.Copy(io.Discard, resp.Body); err == nil {
				t.Errorf("the answer looks complete after %d bytes", n)
			}
			id := resp.Header.Get("X-Request-Id")
			apptest.Eventually(t, "the request is logged", func() bool { return len(o.Logged("request answered", id)) == 1 })
			if lines := o.Logged("refused", id); len(lines) != 1 || !strings.HasPrefix(fmt.Sprint(lines[0]["reason"]), "upstream_") {
				t.Errorf("the log says %v", lines)
			}
		})
	}
}

// stall sends a text and then nothing until the request ends.
func stall(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if text != "" {
			_, _ = io.WriteString(w, text)
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	}
}

// TestProxyTimeout has an API that does not answer in time.
func TestProxyTimeout(t *testing.T) {
	t.Parallel()
	o := startOrders(t, func(to *routes.Upstream) { to.Timeout = 3 * time.Second })
	o.answers(stall(""))
	got := o.fetch(o.signedIn(), "GET", "/api/orders", "")
	o.wantFailure(got, http.StatusGatewayTimeout, "upstream_timeout", 1)
}

// TestProxyAddress adds routes to addresses that are none.
func TestProxyAddress(t *testing.T) {
	t.Parallel()
	s, _ := apptest.Assemble(t)
	for address, want := range map[string]bool{
		"https://orders.example.com": true, "https://orders.example.com/v1/": true, "http://orders:8080": true, "http://127.0.0.1:1": true,
		"http://orders.example.com": false, "orders.example.com": false, "https://a:b@orders.example.com": false, "https://orders.example.com?a": false,
		"https://orders.example.com/#a": false, "ftp://orders": false, "": false, "https:///v1": false,
	} {
		accepted := func() (ok bool) {
			defer func() { ok = recover() == nil }()
			s.Assembled.Handler.Proxy("/api/a"+strconv.Itoa(len(address)), routes.Upstream{URL: address})
			return
		}()
		if accepted != want {
			t.Errorf("%q: accepted %t, want %t", address, accepted, want)
		}
	}
}

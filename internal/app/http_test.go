package app_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
)

// TestHeaders (HB-01, HB-02, HB-08, HB-09) looks at every kind of answer, the
// refusals too.
func TestHeaders(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	person := a.Visitor()
	person.SignIn("/login", apptest.Ada)
	requests := map[string]*http.Request{
		"a page":             v.Request(http.MethodGet, "/", nil),
		"HEAD of a page":     v.Request(http.MethodHead, "/", nil),
		"a redirect":         v.Request(http.MethodGet, "/dashboard", nil),
		"to the provider":    v.Request(http.MethodGet, "/login", nil),
		"no such page":       v.Request(http.MethodGet, "/nothing", nil),
		"another method":     v.Request(http.MethodDelete, "/dashboard", nil),
		"a bad callback":     v.Request(http.MethodGet, "/callback?state=x&code=y", nil),
		"another site":       v.Request(http.MethodPost, "/logout", url.Values{}, "Sec-Fetch-Site", "cross-site"),
		"too much":           v.Request(http.MethodPost, "/logout", url.Values{"x": {strings.Repeat("x", 70<<10)}}),
		"no such asset":      v.Request(http.MethodGet, "/static/app.css", nil),
		"a bad logout token": v.Request(http.MethodPost, "/backchannel-logout", url.Values{"logout_token": {"x"}}),
		"health":             v.Request(http.MethodGet, "/healthz", nil),
		"readiness":          v.Request(http.MethodGet, "/readyz", nil),
	}
	for name, req := range requests {
		apptest.CheckHeaders(t, name, v.Direct(req))
	}
	apptest.CheckHeaders(t, "the dashboard", person.Direct(person.Request(http.MethodGet, "/dashboard", nil)))
}

// TestAssets (HB-28) loads what the pages link and nothing else.
func TestAssets(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	dashboard := v.SignIn("/login", apptest.Ada)
	links := 0
	for n := range apptest.Parse(t, dashboard.Body).Descendants() {
		for _, name := range []string{"src", "href"} {
			address := apptest.Attribute(n, name)
			if n.Data != "script" && n.Data != "link" && n.Data != "img" || address == "" {
				continue
			}
			links++
			if !strings.HasPrefix(address, "/static/") && !strings.HasPrefix(address, a.Issuer) {
				t.Errorf("the dashboard loads %s", address)
			}
			got := v.Get(address)
			if got.StatusCode != http.StatusOK {
				t.Errorf("%s is %d", address, got.StatusCode)
			}
			if strings.HasPrefix(address, "/static/") && !strings.Contains(got.Header.Get("Cache-Control"), "immutable") {
				t.Errorf("%s: Cache-Control is %q", address, got.Header.Get("Cache-Control"))
			}
			if len(got.Header.Values("Set-Cookie")) > 0 {
				t.Errorf("CK-07: %s sets a cookie", address)
			}
		}
	}
	if links < 4 {
		t.Errorf("the dashboard links %d assets", links)
	}
	for _, address := range []string{"/static/", "/static/app.css", "/static/..%2fmain.go", "/static/%2e%2e/main.go", "/static//app.css", "/static/%5c..%5cmain.go", "/static/.git/config"} {
		if got := v.Get(address); got.StatusCode != http.StatusNotFound {
			t.Errorf("%s is %d", address, got.StatusCode)
		}
	}
	if icon := v.Get("/favicon.ico"); icon.StatusCode != http.StatusOK || !strings.HasPrefix(icon.Header.Get("Content-Type"), "image/svg+xml") {
		t.Errorf("/favicon.ico is %d %s", icon.StatusCode, icon.Header.Get("Content-Type"))
	}
}

// TestErrorsFitTheClient shows one refusal as a page, as a fragment and as JSON.
func TestErrorsFitTheClient(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()

	page := v.Get("/nothing")
	reference := page.Header.Get("X-Request-Id")
	if page.StatusCode != http.StatusNotFound || !strings.Contains(page.Body, "<html") || !strings.Contains(page.Body, reference) {
		t.Errorf("a browser gets %d:\n%s", page.StatusCode, page.Body)
	}
	fragment := v.Get("/nothing", "HX-Request", "true")
	if fragment.StatusCode != http.StatusNotFound || strings.Contains(fragment.Body, "<html") || !strings.Contains(fragment.Body, `role="alert"`) {
		t.Errorf("htmx gets %d:\n%s", fragment.StatusCode, fragment.Body)
	}
	problem := v.Get("/dashboard", "Accept", "application/json")
	var details struct {
		Status   int
		Title    string
		Instance string
	}
	if err := json.Unmarshal([]byte(problem.Body), &details); err != nil || details.Status != http.StatusUnauthorized || details.Title == "" || details.Instance == "" ||
		problem.StatusCode != http.StatusUnauthorized || problem.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("a program gets %d %s:\n%s", problem.StatusCode, problem.Header.Get("Content-Type"), problem.Body)
	}
	if line := `"request":"` + reference + `"`; !strings.Contains(a.Log.String(), line) {
		t.Error("the log does not hold the reference of the error page")
	}
}

// TestHost (HB-25, AR-06) asks for the app under other names.
func TestHost(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	as := func(host, address string) apptest.Answer {
		req := v.Request(http.MethodGet, address, nil)
		req.Host = host
		return v.Direct(req)
	}
	if got := as("evil.example", "/login"); got.StatusCode != http.StatusMisdirectedRequest || len(got.Header.Values("Set-Cookie")) > 0 {
		t.Errorf("a foreign name is answered with %d", got.StatusCode)
	}
	port := a.URL[strings.LastIndex(a.URL, ":"):]
	if got := as("127.0.0.1"+port, "/profile?x=1"); got.Header.Get("Location") != a.URL+"/profile?x=1" {
		t.Errorf("127.0.0.1 leads to %q", got.Header.Get("Location"))
	}
	if got := as("evil.example", "/healthz"); got.StatusCode != http.StatusOK {
		t.Errorf("/healthz by another name is %d", got.StatusCode)
	}
	for name, headers := range map[string][]string{
		"X-Forwarded-Host":  {"X-Forwarded-Host", "evil.example"},
		"Forwarded":         {"Forwarded", "host=evil.example;proto=https"},
		"X-Forwarded-Proto": {"X-Forwarded-Proto", "https"},
	} {
		got := v.Direct(v.Request(http.MethodGet, "/login", nil, headers...))
		location, err := url.Parse(got.Header.Get("Location"))
		if err != nil || location.Query().Get("redirect_uri") != a.URL+"/callback" {
			t.Errorf("AR-06: with %s the redirect URI is %q", name, location.Query().Get("redirect_uri"))
		}
	}
}

// TestWhatStartsNoSignIn (AR-11) sends what browsers send for parts of pages.
func TestWhatStartsNoSignIn(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	for name, headers := range map[string][]string{
		"an image":    {"Sec-Fetch-Dest", "image", "Sec-Fetch-Mode", "no-cors"},
		"a frame":     {"Sec-Fetch-Dest", "iframe", "Sec-Fetch-Mode", "navigate"},
		"a script":    {"Sec-Fetch-Dest", "empty", "Sec-Fetch-Mode", "cors"},
		"a prefetch":  {"Sec-Purpose", "prefetch", "Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate"},
		"a prerender": {"Sec-Purpose", "prefetch;prerender"},
		"an old hint": {"Purpose", "prefetch"},
		"htmx":        {"HX-Request", "true"},
	} {
		got := v.Direct(v.Request(http.MethodGet, "/login", nil, headers...))
		if got.StatusCode < 400 || len(got.Header.Values("Set-Cookie")) > 0 {
			t.Errorf("%s gets %d and cookies %q", name, got.StatusCode, got.Header.Values("Set-Cookie"))
		}
	}
	if got := v.Direct(v.Request(http.MethodHead, "/login", nil)); got.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("HEAD /login is %d", got.StatusCode)
	}
	for name, headers := range map[string][]string{
		"a browser":      {"Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "none"},
		"an old browser": nil,
	} {
		if got := v.Direct(v.Request(http.MethodGet, "/login", nil, headers...)); got.StatusCode != http.StatusSeeOther {
			t.Errorf("%s gets %d", name, got.StatusCode)
		}
	}
}

// TestAnonymousVisitorsLeaveNothing (SE-03) visits without signing in.
func TestAnonymousVisitorsLeaveNothing(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	for _, address := range []string{"/", "/signed-out", "/nothing", "/healthz"} {
		if got := v.Direct(v.Request(http.MethodGet, address, nil)); len(got.Header.Values("Set-Cookie")) > 0 {
			t.Errorf("%s sets %q", address, got.Header.Values("Set-Cookie"))
		}
	}
}

// TestServerLimits (DO-01, DO-02, DO-03) sends what is too slow or too large.
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

// TestHTTPS (CK-01, HB-07, CB-13) serves TLS itself and takes the response by POST.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	certFile, keyFile := apptest.WriteCertificate(t)
	a := apptest.StartHTTPS(t, certFile, keyFile, "RESPONSE_MODE=form_post")
	v := a.Visitor()
	v.Client.Transport = &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the certificate is this test's own
		ForceAttemptHTTP2: true,
	}
	home := v.Get("/")
	if home.Header.Get("Strict-Transport-Security") == "" || home.ProtoMajor != 2 {
		t.Errorf("HB-07: no HSTS, or HTTP/%d", home.ProtoMajor)
	}
	begun := v.Direct(v.Request(http.MethodGet, "/login", nil))
	if cookie := begun.Header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "__Host-txn_") || !strings.Contains(cookie, "SameSite=None") {
		t.Errorf("CB-13: the transaction cookie is %.20s…", cookie)
	}
	page := v.Press(v.Get("/login"), "person-"+apptest.Ada)
	form := apptest.Find(apptest.Parse(t, page.Body), func(n *apptest.Node) bool {
		return n.Data == "form" && apptest.Attribute(n, "action") == a.URL+"/callback"
	})
	if form == nil {
		t.Fatalf("the provider does not answer by form_post:\n%s", page.Body)
	}
	values := url.Values{}
	for n := range form.Descendants() {
		if n.Data == "input" {
			values.Set(apptest.Attribute(n, "name"), apptest.Attribute(n, "value"))
		}
	}
	// As a browser sends it: from the provider's page, in another site's name.
	done := v.Direct(v.Request(http.MethodPost, "/callback", values, "Sec-Fetch-Site", "cross-site", "Origin", a.Issuer))
	if done.StatusCode != http.StatusSeeOther {
		t.Fatalf("the callback answers %d:\n%s", done.StatusCode, done.Body)
	}
	session := ""
	for _, cookie := range done.Header.Values("Set-Cookie") {
		if strings.HasPrefix(cookie, "__Host-session=") {
			session = cookie
		}
	}
	for _, want := range []string{"Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age="} {
		if !strings.Contains(session, want) {
			t.Errorf("CK-01: the session cookie lacks %s", want)
		}
	}
	if strings.Contains(session, "Domain") {
		t.Error("CK-01: the session cookie has a domain")
	}
	if dashboard := v.Get("/dashboard"); dashboard.StatusCode != http.StatusOK || dashboard.Request.URL.Path != "/dashboard" {
		t.Errorf("the dashboard is %d at %s", dashboard.StatusCode, dashboard.Request.URL)
	}
	if got := v.Direct(v.Request(http.MethodGet, "/callback?state=x&code=y", nil)); got.StatusCode != http.StatusSeeOther && got.StatusCode != http.StatusBadRequest {
		t.Errorf("CB-12: a GET of the callback answers %d", got.StatusCode)
	}
}

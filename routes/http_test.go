package routes_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

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

package routes_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestCacheDeception (HB-11) requests a person's page under an address that looks like a
// file, which a cache might store.
func TestCacheDeception(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	v := s.Visitor()
	s.SignIn(v)
	for _, page := range []string{"/profile", "/dashboard", "/sessions", "/api/me"} {
		for _, ending := range []string{"/x.css", ";.js", "%0a.css", "%2fx.css", "%23.css", "%3f.css", ".css", "/.png", "%00.js", "//x.css"} {
			got := v.Direct(v.Request(http.MethodGet, page+ending, nil))
			if got.StatusCode != http.StatusNotFound && got.StatusCode != http.StatusBadRequest || got.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s is %d, %q", page+ending, got.StatusCode, got.Header.Get("Cache-Control"))
			}
			if strings.Contains(got.Body, "Alice") || strings.Contains(got.Body, "qsLogoutBtn") {
				t.Errorf("%s shows the person", page+ending)
			}
		}
	}
	if got := v.Get("/nothing"); got.StatusCode != http.StatusNotFound || !strings.Contains(got.Body, "qsLogoutBtn") {
		t.Errorf("an unknown page is %d, or lacks the person's header", got.StatusCode)
	}
}

// TestPlantedTokens (HB-13, HB-14, HB-15) sends forms from another site with a cookie and a
// token that match. The app trusts no such pair.
func TestPlantedTokens(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	v := s.Visitor()
	s.SignIn(v)
	for _, page := range []string{"/logout", "/profile/refresh", "/sessions/x/end", "/sessions/end-others", "/session/extend"} {
		for _, headers := range [][]string{
			{"Sec-Fetch-Site", "same-site", "Origin", "http://sibling.localhost"},
			{"Sec-Fetch-Site", "cross-site", "Origin", "null"},
			{"Origin", "https://" + strings.TrimPrefix(s.URL, "http://") + ".evil.example"},
			{"Origin", "null"},
		} {
			for _, token := range []string{"evil", "_echo_csrf_using_sec_fetch_site_"} {
				req := v.Request(http.MethodPost, page, url.Values{"csrf": {token}, "_csrf": {token}}, append(headers, "X-CSRF-Token", token)...)
				req.AddCookie(&http.Cookie{Name: "_csrf", Value: token})
				if got := v.Direct(req); got.StatusCode != http.StatusForbidden {
					t.Errorf("%s with %v is answered %d", page, headers, got.StatusCode)
				}
			}
		}
	}
	if !v.SignedIn() {
		t.Error("the person was signed out")
	}
}

// TestNoOtherOrigins (HB-16, HB-30) sends requests from other origins.
func TestNoOtherOrigins(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	v := s.Visitor()
	s.SignIn(v)
	for _, page := range []string{"/", "/dashboard", "/profile", "/api/me", "/events", "/login", "/callback", "/static/x.js", "/healthz", "/backchannel-logout", "/nothing"} {
		for _, origin := range []string{"https://evil.example", "null", s.URL + ".evil.example"} {
			preflight := v.Direct(v.Request(http.MethodOptions, page, nil, "Origin", origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization"))
			if preflight.StatusCode != 403 && preflight.StatusCode != 404 && preflight.StatusCode != 405 {
				t.Errorf("a preflight of %s from %s is %d", page, origin, preflight.StatusCode)
			}
			for _, got := range []apptest.Answer{preflight, v.Direct(v.Request(http.MethodHead, page, nil, "Origin", origin))} {
				for header := range got.Header {
					if strings.HasPrefix(header, "Access-Control-") {
						t.Errorf("%s says %s to %s", page, header, origin)
					}
				}
			}
		}
	}
	got := v.Get("/api/me?callback=alert&jsonp=alert", "Accept", "application/json")
	if got.StatusCode != http.StatusOK || !strings.HasPrefix(got.Body, "{") || strings.Contains(got.Body, "alert") {
		t.Errorf("HB-30: %d %s", got.StatusCode, got.Body)
	}
}

// TestForwardedHeaders (HB-24) claims another client address, to an app without a proxy and
// to one with.
func TestForwardedHeaders(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env     []string
		headers [][2]string
		want    string
	}{
		"no proxy":        {nil, [][2]string{{"X-Forwarded-For", "192.0.2.9"}, {"X-Real-Ip", "192.0.2.9"}, {"Forwarded", "for=192.0.2.9"}}, "loopback"},
		"a proxy":         {[]string{"TRUSTED_PROXIES=127.0.0.0/8,::1/128"}, [][2]string{{"X-Forwarded-For", "192.0.2.9"}}, "192.0.2.9"},
		"a proxy appends": {[]string{"TRUSTED_PROXIES=127.0.0.0/8,::1/128"}, [][2]string{{"X-Forwarded-For", "203.0.113.1, 192.0.2.9"}}, "192.0.2.9"},
		"twice":           {[]string{"TRUSTED_PROXIES=127.0.0.0/8,::1/128"}, [][2]string{{"X-Forwarded-For", "203.0.113.1"}, {"X-Forwarded-For", "192.0.2.9"}}, "192.0.2.9"},
		"an underscore":   {[]string{"TRUSTED_PROXIES=127.0.0.0/8,::1/128"}, [][2]string{{"X_Forwarded_For", "192.0.2.9"}}, "loopback"},
		"another proxy":   {[]string{"TRUSTED_PROXIES=198.51.100.0/24"}, [][2]string{{"X-Forwarded-For", "192.0.2.9"}}, "loopback"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := apptest.Start(t, c.env...)
			v := a.Visitor()
			req := v.Request(http.MethodGet, "/nothing", nil)
			for _, h := range c.headers {
				req.Header[h[0]] = append(req.Header[h[0]], h[1])
			}
			got := v.Direct(req)
			lines := a.Logged("request answered", got.Header.Get("X-Request-Id"))
			if len(lines) != 1 {
				t.Fatalf("%d lines of the request", len(lines))
			}
			client := fmt.Sprint(lines[0]["client"])
			if ip := net.ParseIP(client); client != c.want && !(c.want == "loopback" && ip != nil && ip.IsLoopback()) {
				t.Errorf("the client is %s, want %s", client, c.want)
			}
		})
	}
}

// TestContentTypes (HB-27) checks the media type of every kind of answer.
func TestContentTypes(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	v := s.Visitor()
	s.SignIn(v)
	const page, problem = "text/html; charset=UTF-8", "application/problem+json"
	for _, c := range []struct{ method, path, accept, want string }{
		{"GET", "/", "text/html", page},
		{"GET", "/dashboard", "", page},
		{"GET", "/nothing", "", page},
		{"GET", "/nothing", "*/*", page},
		{"GET", "/nothing", "text/html, application/json", page},
		{"GET", "/nothing", "application/json", problem},
		{"DELETE", "/dashboard", "text/html", page},
		{"DELETE", "/dashboard", "application/json", problem},
		{"GET", "/callback?code=x&state=y", "application/json", problem},
		{"GET", "/api/me", "text/html", "application/json"},
		{"POST", "/backchannel-logout", "", "application/json"},
	} {
		req := v.Request(c.method, c.path, nil)
		if c.accept != "" {
			req.Header.Set("Accept", c.accept)
		}
		got := v.Direct(req)
		if got.StatusCode >= 300 && got.StatusCode < 400 {
			continue // no body
		}
		if c.method == "DELETE" && got.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s %s is %d", c.method, c.path, got.StatusCode)
		}
		if kind := got.Header.Get("Content-Type"); kind != c.want {
			t.Errorf("%s %s for %q is %q (%d), want %q", c.method, c.path, c.accept, kind, got.StatusCode, c.want)
		}
		if strings.Contains(got.Body, `{"message"`) {
			t.Errorf("%s %s shows Echo's own error: %s", c.method, c.path, got.Body)
		}
	}
}

// TestNothingElseIsServed (HB-29) requests paths that frameworks and servers often expose.
func TestNothingElseIsServed(t *testing.T) {
	t.Parallel()
	v := apptest.Start(t).Visitor()
	for _, path := range []string{
		"/debug/pprof/", "/debug/pprof/heap", "/debug/vars", "/debug/requests", "/.env", "/.git/config", "/go.mod", "/main.go", "/data/sessions.db",
		"/server-status", "/actuator", "/swagger", "/graphql", "/admin.php", "/static/", "/views/", "/.well-known/security.txt",
	} {
		if got := v.Get(path); got.StatusCode != http.StatusNotFound {
			t.Errorf("%s is %d", path, got.StatusCode)
		}
	}
	version := regexp.MustCompile(`(?i)echo|go1\.|htmx/?\d|labstack`)
	for _, path := range []string{"/", "/nothing", "/callback"} {
		if got := v.Get(path); version.MatchString(got.Body) || version.MatchString(fmt.Sprint(got.Header)) {
			t.Errorf("%s names the software behind it", path)
		}
	}
}

// TestObservatory (HB-31, HB-23) computes the score of Mozilla's HTTP Observatory for pages
// and failures: 100, and all bonus points.
func TestObservatory(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	person := a.Visitor()
	person.SignIn("/login", apptest.Ada)
	for name, got := range map[string]apptest.Answer{
		"home": v.Get("/"), "a failure": v.Get("/nothing"), "the dashboard": person.Get("/dashboard"), "the gallery": v.Get("/dev/gallery"),
		"the start of a sign-in": v.Direct(v.Request(http.MethodGet, "/login", nil)),
	} {
		points, h := 100, got.Header
		policy := h.Get("Content-Security-Policy")
		for _, earned := range []struct {
			points int
			when   bool
		}{
			{10, strings.HasPrefix(policy, "default-src 'none'") && !strings.Contains(policy, "unsafe") && !strings.Contains(policy, "data:")},
			{5, strings.Contains(policy, "frame-ancestors 'none'")},
			{5, h.Get("Referrer-Policy") == "no-referrer"},
			{10, h.Get("Cross-Origin-Resource-Policy") == "same-origin"},
			{-5, h.Get("X-Content-Type-Options") != "nosniff"},
			{-50, h.Get("Access-Control-Allow-Origin") != ""},
		} {
			if earned.when {
				points += earned.points
			}
		}
		for _, cookie := range got.Cookies() {
			if !cookie.HttpOnly || cookie.SameSite == http.SameSiteDefaultMode {
				points -= 20
			}
		}
		if points < 130 {
			t.Errorf("%s has %d points", name, points)
		}
	}
}

// TestPicturesOfStrangers (HB-19) has a person whose picture is not at their provider. The
// page does not show it, and nobody fetches it.
func TestPicturesOfStrangers(t *testing.T) {
	t.Parallel()
	for _, picture := range []string{
		"http://169.254.169.254/latest/meta-data/", "https://evil.example/pixel.png", "data:image/svg+xml,<svg onload=alert(1)>",
		"javascript:alert(1)", "//evil.example/x.png", "https://user:password@evil.example/x.png", "file:///etc/passwd", "/logout",
	} {
		t.Run(picture, func(t *testing.T) {
			t.Parallel()
			s := apptest.StartScripted(t)
			s.OP.Edit(scriptedop.UserInfo, func(document map[string]any) { document["picture"] = picture })
			v := s.Visitor()
			s.SignIn(v)
			page := v.Get("/profile")
			for n := range apptest.Parse(t, page.Body).Descendants() {
				if n.Data == "img" && !strings.HasPrefix(apptest.Attribute(n, "src"), "/static/") {
					t.Errorf("the page shows %q", apptest.Attribute(n, "src"))
				}
			}
			if page.StatusCode != http.StatusOK {
				t.Errorf("it is %d", page.StatusCode)
			}
		})
	}
}

// TestHTTPHygiene (HB-26) sends requests that two servers could read differently.
func TestHTTPHygiene(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	host := strings.TrimPrefix(a.URL, "http://")
	for name, c := range map[string]struct {
		request string
		want    []int
	}{
		"a plain one":           {"GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n", []int{200}},
		"two lengths":           {"POST /logout HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", []int{400}},
		"no such encoding":      {"POST /logout HTTP/1.1\r\nHost: " + host + "\r\nTransfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n", []int{400, 501}},
		"a space in a header":   {"GET / HTTP/1.1\r\nHost : " + host + "\r\n\r\n", []int{400}},
		"two hosts":             {"GET / HTTP/1.1\r\nHost: " + host + "\r\nHost: evil.example\r\n\r\n", []int{400}},
		"no host":               {"GET / HTTP/1.1\r\n\r\n", []int{400}},
		"another absolute URI":  {"GET http://evil.example/ HTTP/1.1\r\nHost: " + host + "\r\n\r\n", []int{421}},
		"our absolute URI":      {"GET " + a.URL + "/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", []int{200}},
		"TRACE":                 {"TRACE / HTTP/1.1\r\nHost: " + host + "\r\n\r\n", []int{405}},
		"CONNECT":               {"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", []int{400, 404, 405, 421}},
		"an upgrade to h2c":     {"GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", []int{200}},
		"a method in the query": {"POST /?_method=GET HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 0\r\n\r\n", []int{405}},
		"a method in a header":  {"GET /logout HTTP/1.1\r\nHost: " + host + "\r\nX-HTTP-Method-Override: POST\r\n\r\n", []int{303}},
		"a NUL in a header":     {"GET / HTTP/1.1\r\nHost: " + host + "\r\nX-A: a\x00b\r\n\r\n", []int{400}},
		"a bare CR in a header": {"GET / HTTP/1.1\r\nHost: " + host + "\r\nX-A: a\rb\r\n\r\n", []int{400}},
		"a control in the path": {"GET /\x01 HTTP/1.1\r\nHost: " + host + "\r\n\r\n", []int{400}},
		"an unknown version":    {"GET / HTTP/9.9\r\nHost: " + host + "\r\n\r\n", []int{400, 505}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", host)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(apptest.Patience)); err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(conn, c.request)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if slices.Contains(c.want, resp.StatusCode) {
				return
			}
			t.Errorf("it is answered %d, want %v", resp.StatusCode, c.want)
		})
	}
}

// TestHeaders (HB-01, HB-02, HB-08, HB-09) checks the header of every kind of answer,
// including refusals.
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

// TestHost (HB-25, AR-06) requests the app under other host names.
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
	logout := v.Request(http.MethodPost, "/backchannel-logout", url.Values{"logout_token": {"e30.e30.e30"}})
	logout.Host = "app.internal"
	if got := v.Direct(logout); got.StatusCode != http.StatusBadRequest || !strings.Contains(got.Body, "logout_token_invalid") {
		t.Errorf("a logout token for another name is answered %d %s", got.StatusCode, got.Body)
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

// TestAnonymousVisitorsLeaveNothing (SE-03) visits the app without signing in.
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

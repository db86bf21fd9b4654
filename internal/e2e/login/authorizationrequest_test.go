package login

import (
	"encoding/base64"
	"maps"
	"math/bits"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestRequestsAreFresh starts a few thousand sign-ins. Each bit of their values is set in
// 1,280 to 1,720 of 3,000 cases: a fair bit misses that range once in 10^15 times.
func TestRequestsAreFresh(t *testing.T) {
	t.Parallel()
	const logins, workers = 3000, 4
	s := apptest.StartScripted(t)
	var requests [logins]url.Values
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			v := s.Visitor()
			v.Client.Jar = nil // each request is from a new browser
			for i := worker; i < logins; i += workers {
				got := v.Direct(v.Request(http.MethodGet, "/login?return_to=%2Forders%2F4711", nil))
				requests[i] = apptest.Query(t, got.Header.Get("Location"))
			}
		})
	}
	wg.Wait()
	seen := make(map[string]bool) // shared by all three, which must differ from each other too
	for name, parameter := range map[string]string{"AR-04 state": "state", "AR-05 nonce": "nonce", "AR-02 challenge": "code_challenge"} {
		t.Run(name, func(t *testing.T) {
			var ones [256]int
			for _, request := range requests {
				value := request.Get(parameter)
				raw, err := base64.RawURLEncoding.DecodeString(value)
				// After the random bits the state has the return path, sealed.
				if err != nil || len(raw) < 32 || (parameter != "state" && len(raw) > 32) {
					t.Fatalf("%q is not 256 bits", value)
				}
				if seen[value] || strings.Contains(string(raw), "orders") {
					t.Fatalf("%q is a repeat, or reveals the return path", value)
				}
				seen[value] = true
				for i := range ones {
					ones[i] += bits.OnesCount8(raw[i/8] >> (i % 8) & 1)
				}
			}
			for i, n := range ones {
				if n < 1280 || n > 1720 {
					t.Errorf("bit %d is set in %d of %d", i, n, logins)
				}
			}
		})
	}
	if n := s.OP.Calls(scriptedop.Discovery); n > 1 {
		t.Errorf("DO-05: the provider was called %d times", n)
	}
}

// TestLinksChangeNothing (AR-06, AR-07, AR-16) sends login parameters and headers that try
// to change the authorization request.
func TestLinksChangeNothing(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	request := func(t *testing.T, address string, headers ...string) url.Values {
		t.Helper()
		v := s.Visitor()
		got := v.Direct(v.Request(http.MethodGet, address, nil, headers...))
		if got.StatusCode != http.StatusSeeOther || !strings.HasPrefix(got.Header.Get("Location"), s.OP.URL(scriptedop.Authorize)+"?") {
			t.Fatalf("answered %d to %q", got.StatusCode, got.Header.Get("Location"))
		}
		return apptest.Query(t, got.Header.Get("Location"))
	}
	usual := request(t, "/login")
	if usual.Get("redirect_uri") != s.URL+"/callback" || usual.Get("response_type") != "code" || usual.Get("code_challenge_method") != "S256" {
		t.Fatalf("AR-01, AR-02, AR-06: the request is %v", usual)
	}
	for name, tt := range map[string]struct {
		query   string
		headers []string
		added   url.Values
	}{
		"AR-06 X-Forwarded-Host": {headers: []string{"X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https", "X-Forwarded-Port", "1"}},
		"AR-06 Forwarded":        {headers: []string{"Forwarded", "host=evil.example;proto=https"}},
		"AR-06 X-Original-Host":  {headers: []string{"X-Original-Host", "evil.example", "X-Host", "evil.example", "X-Rewrite-Url", "/x"}},
		"AR-07 what only the app decides": {query: "scope=admin&redirect_uri=https://evil.example&client_id=evil&response_type=token&response_mode=fragment" +
			"&audience=evil&acr_values=0&max_age=0&state=evil&nonce=evil&code_challenge=evil&code_challenge_method=plain" +
			"&request=evil&request_uri=https://evil.example&id_token_hint=evil&claims=evil&resource=evil"},
		"AR-07 AR-16 silence":      {query: "prompt=none"},
		"AR-07 in the return path": {query: "return_to=%2Fa%26scope%3Dadmin%26prompt%3Dnone"},
		"AR-07 in a hint":          {query: "login_hint=x%26scope%3Dadmin", added: url.Values{"login_hint": {"x&scope=admin"}}},
		"AR-07 the allowed hints":  {query: "screen_hint=signup&ui_locales=de", added: url.Values{"screen_hint": {"signup"}, "ui_locales": {"de"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := request(t, "/login?"+tt.query, tt.headers...)
			want := maps.Clone(usual)
			maps.Copy(want, tt.added)
			for _, fresh := range []string{"state", "nonce", "code_challenge"} {
				if got.Get(fresh) == "evil" {
					t.Errorf("%s comes from the link", fresh)
				}
				want[fresh] = got[fresh]
			}
			if !maps.EqualFunc(got, want, slices.Equal) {
				t.Errorf("the request is %v, want %v", got, want)
			}
		})
	}
	t.Run("AR-07 the return path is still a path", func(t *testing.T) {
		t.Parallel()
		v := s.Visitor()
		got := v.Callback(v.AuthorizationResponse("/login?return_to=%2Fa%26scope%3Dx"))
		s.WantSignedIn(v, got, "alice", "/a&scope=x")
	})
	t.Run("AR-06 another host", func(t *testing.T) {
		t.Parallel()
		v := s.Visitor()
		req := v.Request(http.MethodGet, "/login", nil)
		req.Host = "evil.example"
		if got := v.Direct(req); got.StatusCode != http.StatusMisdirectedRequest || len(got.Cookies()) > 0 {
			t.Errorf("answered %d with cookies %v", got.StatusCode, got.Cookies())
		}
	})
}

// TestScopes (AR-09) checks that the app requests exactly the scopes that are both
// configured and offered.
func TestScopes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		env     []string
		offered []string
		want    string
	}{
		"AR-09 as documented":                       {offered: []string{"openid", "offline_access"}, want: "openid profile email offline_access"},
		"AR-09 without refresh":                     {env: []string{"AUTH0_SCOPES=openid email"}, offered: []string{"openid", "offline_access"}, want: "openid email"},
		"AR-09 the provider does not offer refresh": {offered: []string{"openid"}, want: "openid profile email"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := apptest.NewOP(t)
			op.Edit(scriptedop.Discovery, func(m map[string]any) { m["scopes_supported"] = tt.offered })
			s := apptest.StartBeside(t, op, tt.env...)
			s.Await("/readyz", http.StatusOK)
			v := s.Visitor()
			if got := apptest.Query(t, v.AuthorizationRequest("/login"))["scope"]; !slices.Equal(got, []string{tt.want}) {
				t.Errorf("the scope is %q, want %q", got, tt.want)
			}
			s.WantSignedIn(v, v.Callback(v.AuthorizationResponse("/login")), "alice", "/dashboard")
		})
	}
}

// TestPartsOfPagesStartNoSignIn (AR-11) sends the requests that browsers make without
// navigation. The provider would notice a pushed request.
func TestPartsOfPagesStartNoSignIn(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t, "PUSHED_AUTHORIZATION_REQUESTS=always")
	refused := map[string][]string{
		"a prefetch":      {"Sec-Purpose", "prefetch", "Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate"},
		"a prerender":     {"Sec-Purpose", "prefetch;prerender", "Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate"},
		"an old prefetch": {"Purpose", "prefetch"},
		"an old Firefox":  {"X-Moz", "prefetch"},
		"htmx":            {"HX-Request", "true"},
		"htmx, boosted":   {"HX-Request", "true", "HX-Boosted", "true"},
		"a fetch":         {"Sec-Fetch-Mode", "cors"},
	}
	for part := range strings.FieldsSeq("audio audioworklet embed empty fencedframe font frame iframe image manifest object paintworklet report script serviceworker sharedworker style track video webidentity worker xslt") {
		refused[part] = []string{"Sec-Fetch-Dest", part, "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Site", "cross-site"}
	}
	for name, headers := range refused {
		v := s.Visitor()
		if got := v.Direct(v.Request(http.MethodGet, "/login", nil, headers...)); got.StatusCode < 400 || got.StatusCode >= 500 || len(got.Cookies()) > 0 {
			t.Errorf("AR-11: %s gets %d and cookies %v", name, got.StatusCode, got.Cookies())
		}
	}
	for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodPut, http.MethodOptions} {
		v := s.Visitor()
		if got := v.Direct(v.Request(method, "/login", nil, "Sec-Fetch-Site", "same-origin")); got.StatusCode != http.StatusMethodNotAllowed || len(got.Cookies()) > 0 {
			t.Errorf("AR-11, AR-18: %s is answered with %d", method, got.StatusCode)
		}
	}
	if n := s.OP.Calls(scriptedop.PAR); n != 0 {
		t.Errorf("AR-11: the provider was asked %d times", n)
	}
	for name, headers := range map[string][]string{
		"a link":                           {"Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "same-origin"},
		"a link on another site":           {"Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "cross-site"},
		"a browser without Fetch Metadata": nil,
	} {
		v := s.Visitor()
		before := s.OP.Calls(scriptedop.PAR)
		got := v.Direct(v.Request(http.MethodGet, "/login", nil, headers...))
		if got.StatusCode != http.StatusSeeOther || got.Header.Get("Cache-Control") != "no-store" || len(got.Cookies()) != 1 {
			t.Errorf("AR-18: %s gets %d, Cache-Control %q, cookies %v", name, got.StatusCode, got.Header.Get("Cache-Control"), got.Cookies())
		}
		if n := s.OP.Calls(scriptedop.PAR) - before; n != 1 {
			t.Errorf("AR-14: the request of %s is pushed %d times", name, n)
		}
	}
}

// TestGivenUpSignIn (AR-12) starts a sign-in in a browser that is signed in, and abandons
// it.
func TestGivenUpSignIn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		page  string
		alive bool
	}{
		"AR-12 it does not extend the session": {"/login", false},
		"AR-12 a visit to a page does":         {"/dashboard", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, clock := apptest.Assemble(t, "SESSION_IDLE=1h")
			v := s.Visitor()
			s.WantSignedIn(v, v.Callback(v.AuthorizationResponse("/login")), "alice", "/dashboard")
			clock.Move(50 * time.Minute)
			v.Direct(v.Request(http.MethodGet, tt.page, nil))
			clock.Move(11 * time.Minute)
			if got := v.SignedIn(); got != tt.alive {
				t.Errorf("signed in: %t, want %t", got, tt.alive)
			}
		})
	}
	t.Run("AR-12 it signs nobody out", func(t *testing.T) {
		t.Parallel()
		s := apptest.StartScripted(t)
		v := s.Visitor()
		s.WantSignedIn(v, v.Callback(v.AuthorizationResponse("/login")), "alice", "/dashboard")
		s.OP.SignInAs("bob")
		v.AuthorizationResponse("/login")
		if dashboard := v.Get("/dashboard"); !strings.Contains(dashboard.Body, "Alice Example") {
			t.Errorf("the dashboard is %d", dashboard.StatusCode)
		}
	})
}

// TestSignInsSideBySide (AR-13) completes three sign-ins of one browser out of order.
func TestSignInsSideBySide(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	v := s.Visitor()
	type tab struct{ subject, page, response string }
	var tabs []tab
	for _, one := range []tab{{"alice", "/profile?a=1", ""}, {"bob", "/dashboard?b=2", ""}, {"carol", "/dashboard", ""}} {
		s.OP.SignInAs(one.subject)
		one.response = v.AuthorizationResponse("/login?" + url.Values{"return_to": {one.page}}.Encode())
		tabs = append(tabs, one)
	}
	for _, i := range []int{1, 2, 0} {
		s.WantSignedIn(v, v.Callback(tabs[i].response), tabs[i].subject, tabs[i].page)
	}
}

// TestSilenceIsNotAskedFor (AR-16) uses a provider that signs nobody in without asking.
func TestSilenceIsNotAskedFor(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	s.OP.Edit(scriptedop.Authorize, func(response map[string]any) {
		delete(response, "code")
		response["error"] = "login_required"
	})
	v := s.Visitor()
	end := v.Get("/profile") // follows all redirects
	s.WantRefused(v, end, http.StatusBadRequest, openid.ReasonDeclined, 0, 0)
	if n := s.OP.Calls(scriptedop.Authorize); n != 1 {
		t.Errorf("AR-16: the browser was sent to the provider %d times", n)
	}
	if asked := s.OP.Last(scriptedop.Authorize).Query; asked.Has("prompt") {
		t.Errorf("AR-16: the prompt is %q", asked.Get("prompt"))
	}
	s.OP.Edit(scriptedop.Authorize, nil)
	if end := v.Get("/login?return_to=%2Fprofile"); end.StatusCode != http.StatusOK || end.Request.URL.Path != "/profile" {
		t.Errorf("trying again ends at %s with %d", end.Request.URL.Path, end.StatusCode)
	}
}

// TestThirdPartyInitiatedLogin (AR-17) starts sign-ins from another site.
func TestThirdPartyInitiatedLogin(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	for name, test := range map[string]struct {
		query  url.Values
		status int
	}{
		"ours":               {url.Values{"iss": {a.Issuer}}, http.StatusSeeOther},
		"ours, to a page":    {url.Values{"iss": {a.Issuer}, "target_link_uri": {a.URL + "/profile"}, "login_hint": {"ada@example.test"}}, http.StatusSeeOther},
		"another provider":   {url.Values{"iss": {"https://evil.example"}}, http.StatusBadRequest},
		"two providers":      {url.Values{"iss": {a.Issuer, "https://evil.example"}}, http.StatusBadRequest},
		"another site":       {url.Values{"iss": {a.Issuer}, "target_link_uri": {"https://evil.example/"}}, http.StatusBadRequest},
		"a look-alike site":  {url.Values{"iss": {a.Issuer}, "target_link_uri": {a.URL + ".evil.example/"}}, http.StatusBadRequest},
		"a site in the path": {url.Values{"iss": {a.Issuer}, "target_link_uri": {a.URL + "//evil.example/"}}, http.StatusBadRequest},
	} {
		got := v.Direct(v.Request(http.MethodGet, "/login?"+test.query.Encode(), nil, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"))
		if got.StatusCode != test.status || (len(got.Cookies()) > 0) != (test.status == http.StatusSeeOther) {
			t.Errorf("%s is answered with %d and cookies %v", name, got.StatusCode, got.Cookies())
		}
	}
	from := "/login?" + url.Values{"iss": {a.Issuer}, "target_link_uri": {a.URL + "/profile"}}.Encode()
	if end := v.SignIn(from, apptest.Ada); end.Request.URL.Path != "/profile" {
		t.Errorf("the sign-in ends at %s", end.Request.URL)
	}
}

// TestWhatStartsNoSignIn (AR-11) sends the requests that browsers make for parts of pages.
func TestWhatStartsNoSignIn(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	for name, headers := range map[string][]string{
		"an image":        {"Sec-Fetch-Dest", "image", "Sec-Fetch-Mode", "no-cors"},
		"a frame":         {"Sec-Fetch-Dest", "iframe", "Sec-Fetch-Mode", "navigate"},
		"a script":        {"Sec-Fetch-Dest", "empty", "Sec-Fetch-Mode", "cors"},
		"a prefetch":      {"Sec-Purpose", "prefetch", "Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate"},
		"a prerender":     {"Sec-Purpose", "prefetch;prerender"},
		"an old prefetch": {"Purpose", "prefetch"},
		"htmx":            {"HX-Request", "true"},
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

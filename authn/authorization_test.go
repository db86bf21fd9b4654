package authn_test

import (
	"crypto/sha256"
	"encoding/base64"
	"math/bits"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/scriptedop"
)

func TestAuthorizationRequest(t *testing.T) {
	t.Parallel()
	a := newApp(t, appOptions{})
	redirect := a.URL + "/callback"
	request := query(t, a.person(t).begin("return_to=/orders"))
	for _, tt := range []struct {
		name, parameter string
		want            []string
	}{
		{"AR-01 asks for a code and nothing else", "response_type", []string{"code"}},
		{"AR-01 leaves the response mode alone", "response_mode", nil},
		{"AR-02 challenges by S256", "code_challenge_method", []string{"S256"}},
		{"AR-06 the redirect URI is the configured one", "redirect_uri", []string{redirect}},
		{"AR-09 the scopes are the configured ones", "scope", []string{"openid profile email offline_access"}},
		{"AR-16 does not ask for silence", "prompt", nil},
		{"has no request object", "request", nil},
		{"has no audience unless one is configured", "audience", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := request[tt.parameter]; !slices.Equal(got, tt.want) {
				t.Errorf("%s is %q, want %q", tt.parameter, got, tt.want)
			}
		})
	}
	t.Run("AR-08 where the person is going is not in it", func(t *testing.T) {
		if strings.Contains(request.Encode(), "orders") {
			t.Errorf("the return path is in %q", request)
		}
	})
}

func TestAuthorizationRequestByConfiguration(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		config     func(*authn.Config)
		metadata   func(map[string]any)
		secure     bool
		parameter  string
		want       string
		wantAbsent bool
	}{
		"AR-01 form_post": {
			config: func(c *authn.Config) { c.ResponseMode = "form_post" }, secure: true,
			parameter: "response_mode", want: "form_post",
		},
		"AR-03 the provider lists plain alone": {
			metadata:  func(m map[string]any) { m["code_challenge_methods_supported"] = []string{"plain"} },
			parameter: "code_challenge_method", want: "S256",
		},
		"AR-03 the provider lists no methods": {
			metadata:  func(m map[string]any) { delete(m, "code_challenge_methods_supported") },
			parameter: "code_challenge_method", want: "S256",
		},
		"AR-09 without refresh": {
			config:    func(c *authn.Config) { c.Scopes = []string{"openid", "email"} },
			parameter: "scope", want: "openid email",
		},
		"AR-09 the provider does not offer refresh": {
			metadata:  func(m map[string]any) { m["scopes_supported"] = []string{"openid"} },
			parameter: "scope", want: "openid profile email",
		},
		"an audience": {
			config:    func(c *authn.Config) { c.Audience = "https://api.example.com" },
			parameter: "audience", want: "https://api.example.com",
		},
		"AR-10 the endpoint has a query of its own": {
			metadata: func(m map[string]any) {
				m["authorization_endpoint"] = m["authorization_endpoint"].(string) + "?tenant=a%26b"
			},
			parameter: "tenant", want: "a&b",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{config: tt.config, secure: tt.secure})
			a.op.Edit(scriptedop.Discovery, tt.metadata)
			request := query(t, a.person(t).begin(""))
			if got := request[tt.parameter]; !slices.Equal(got, []string{tt.want}) {
				t.Errorf("%s is %q, want %q once", tt.parameter, got, tt.want)
			}
			for name, values := range request {
				if len(values) != 1 {
					t.Errorf("%s appears %d times", name, len(values))
				}
			}
		})
	}
}

// TestAuthorizationRequestIsFresh counts the bits of what must not be guessed. Of
// 10,000 fair bits between 4,600 and 5,400 are set, but for once in 10^15 times.
func TestAuthorizationRequestIsFresh(t *testing.T) {
	t.Parallel()
	const logins = 10_000
	a := newApp(t, appOptions{})
	seen := make(map[string]bool)
	for name, parameter := range map[string]string{
		"AR-04 state": "state", "AR-05 nonce": "nonce", "AR-02 challenge": "code_challenge",
	} {
		t.Run(name, func(t *testing.T) {
			var ones [256]int
			for range logins {
				location, err := a.rp.Begin(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/login", nil), "/orders", nil)
				if err != nil {
					t.Fatal(err)
				}
				value := query(t, location).Get(parameter)
				raw, err := base64.RawURLEncoding.DecodeString(value)
				if err != nil || len(raw) != 32 || len(value) > 43 {
					t.Fatalf("%q is not 256 bits in 43 characters", value)
				}
				// The three have nothing in common either.
				if seen[value] {
					t.Fatalf("%q came before", value)
				}
				seen[value] = true
				for i := range ones {
					ones[i] += bits.OnesCount8(raw[i/8] >> (i % 8) & 1)
				}
			}
			for i, n := range ones {
				if n < 4600 || n > 5400 {
					t.Errorf("bit %d is set in %d of %d", i, n, logins)
				}
			}
		})
	}
}

func TestVerifierIsThatOfTheChallenge(t *testing.T) {
	t.Parallel()
	t.Run("AR-02", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		request := b.begin("")
		b.wantSignedIn(b.get(b.authorize(request)), "alice")
		verifier := a.op.Last(scriptedop.Token).Form.Get("code_verifier")
		sum := sha256.Sum256([]byte(verifier))
		if got, want := base64.RawURLEncoding.EncodeToString(sum[:]), query(t, request).Get("code_challenge"); got != want || len(verifier) < 43 {
			t.Errorf("the verifier %q gives %q, the challenge was %q", verifier, got, want)
		}
		if strings.Contains(request, verifier) || query(t, request).Get("state") == verifier {
			t.Error("the verifier was in the authorization request")
		}
	})
}

// TestForeignParameters sends a link's parameters and headers to the login. None may
// change the request but the hints.
func TestForeignParameters(t *testing.T) {
	t.Parallel()
	a := newApp(t, appOptions{})
	fresh := []string{"state", "nonce", "code_challenge"}
	usual := query(t, a.person(t).begin(""))
	for name, tt := range map[string]struct {
		query  string
		header http.Header
		host   string
		want   map[string]string
	}{
		"AR-07 parameters of ours": {query: "scope=admin&redirect_uri=https://evil.example&prompt=none&client_id=evil&response_type=token" +
			"&audience=evil&acr_values=0&state=evil&nonce=evil&code_challenge=evil&code_challenge_method=plain&response_mode=fragment" +
			"&request=evil&request_uri=https://evil.example&max_age=0&id_token_hint=evil&return_to=%2Fa%26scope%3Dx"},
		"AR-17 a sign-in that another site starts": {query: "iss=https://evil.example&target_link_uri=https://evil.example"},
		"AR-07 an overlong hint":                   {query: "login_hint=" + strings.Repeat("x", 513)},
		"AR-07 an empty hint":                      {query: "login_hint="},
		"AR-07 hints": {
			query: "screen_hint=signup&login_hint=a%40b.example&connection=c&organization=o&invitation=i&ui_locales=de%20en",
			want: map[string]string{
				"screen_hint": "signup", "login_hint": "a@b.example", "connection": "c", "organization": "o", "invitation": "i", "ui_locales": "de en",
			},
		},
		"AR-07 a hint that tries to be more": {
			query: "login_hint=x%26scope%3Dadmin", want: map[string]string{"login_hint": "x&scope=admin"},
		},
		"AR-06 forwarded hosts": {header: http.Header{
			"X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {"host=evil.example"}, "X-Original-Url": {"https://evil.example"},
		}},
		"AR-06 host": {host: "evil.example"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := a.person(t)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.URL+"/login?"+tt.query, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header, r.Host = tt.header, tt.host
			got := query(t, b.do(r, nil).location)
			for name := range got {
				want := usual[name]
				if hint, ok := tt.want[name]; ok {
					want = []string{hint}
				}
				if !slices.Contains(fresh, name) && !slices.Equal(got[name], want) {
					t.Errorf("%s is %q, want %q", name, got[name], want)
				}
				if slices.Contains(got[name], "evil") {
					t.Errorf("%s is evil", name)
				}
			}
			if len(got) != len(usual)+len(tt.want) {
				t.Errorf("the request has the parameters %v", got)
			}
		})
	}
}

func TestReturnPathIsKept(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ returnTo, want string }{
		"AR-08 a page":                    {"/orders?page=2&sort=up", "/orders?page=2&sort=up"},
		"AR-08 a page with an ampersand":  {"/a&scope=x", "/a&scope=x"},
		"AR-08 another site":              {"https://evil.example/", "/"},
		"AR-08 another site, abbreviated": {"//evil.example/", "/"},
		"AR-08 another site, backslash":   {`/\evil.example/`, "/"},
		"AR-08 nowhere":                   {"", "/"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			b := a.person(t)
			request := b.begin(url.Values{"return_to": {tt.returnTo}}.Encode())
			state, err := base64.RawURLEncoding.DecodeString(query(t, request).Get("state"))
			if err != nil || (len(tt.want) > 1 && strings.Contains(string(state), tt.want)) {
				t.Errorf("state is %q, %v", state, err)
			}
			got := b.get(b.authorize(request))
			b.wantSignedIn(got, "alice")
			if got.location != tt.want {
				t.Errorf("sent on to %q, want %q", got.location, tt.want)
			}
		})
	}
}

// TestAuthorizationEndpoint is about where the browser is sent at all.
func TestAuthorizationEndpoint(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		endpoint string
		accepted bool
	}{
		"AR-10 https":                       {"https://op.example/authorize", true},
		"AR-10 loopback, as the issuer is":  {"http://127.0.0.1:1/authorize", true},
		"AR-10 with a query":                {"https://op.example/authorize?tenant=a", true},
		"AR-10 script":                      {"javascript:alert(1)", false},
		"AR-10 plain http":                  {"http://op.example/authorize", false},
		"AR-10 no host":                     {"https:///authorize", false},
		"AR-10 relative":                    {"/authorize", false},
		"AR-10 missing":                     {"", false},
		"AR-10 a fragment":                  {"https://op.example/authorize#x", false},
		"AR-10 an empty fragment":           {"https://op.example/authorize#", false},
		"AR-10 credentials":                 {"https://a:b@op.example/authorize", false},
		"AR-10 a client id":                 {"https://op.example/authorize?client_id=evil#x", false},
		"AR-10 a client id alone":           {"https://op.example/authorize?client_id=evil", false},
		"AR-10 a weaker challenge":          {"https://op.example/authorize?code_challenge_method=plain", false},
		"AR-10 another challenge":           {"https://op.example/authorize?code_challenge=x", false},
		"AR-10 another response mode":       {"https://op.example/authorize?response_mode=fragment", false},
		"AR-10 a prompt":                    {"https://op.example/authorize?prompt=none", false},
		"AR-10 a hint":                      {"https://op.example/authorize?login_hint=x", false},
		"AR-10 another audience":            {"https://op.example/authorize?audience=x", false},
		"AR-10 a request object":            {"https://op.example/authorize?request=x", false},
		"AR-10 with a control character":    {"https://op.example/auth\norize", false},
		"AR-10 with an unreadable query":    {"https://op.example/authorize?%zz=1&a;client_id=evil", false},
		"AR-10 loopback that is not listed": {"http://127.0.0.1.evil.example/authorize", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.op.Edit(scriptedop.Discovery, func(m map[string]any) { m["authorization_endpoint"] = tt.endpoint })
			got := a.person(t).get(a.URL + "/login")
			if tt.accepted {
				if endpoint, _, _ := strings.Cut(tt.endpoint, "?"); !strings.HasPrefix(got.location, endpoint) {
					t.Errorf("answered %d to %q: %s", got.status, got.location, got.text)
				}
				return
			}
			if got.reason != authn.ReasonProviderMisconfigured || got.location != "" || got.header.Get("Set-Cookie") != "" {
				t.Errorf("answered %d to %q with cookie %q: %s", got.status, got.location, got.header.Get("Set-Cookie"), got.text)
			}
			if err := a.rp.Ready(); authn.ReasonOf(err) != authn.ReasonProviderMisconfigured {
				t.Errorf("readiness is %v", err)
			}
		})
	}
}

func TestIsNavigation(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		header http.Header
		want   bool
	}{
		"AR-11 a browser too old to say": {nil, true},
		"AR-11 a link":                   {http.Header{"Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Site": {"same-origin"}}, true},
		"AR-11 a link on another site":   {http.Header{"Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Site": {"cross-site"}}, true},
		"AR-11 an image":                 {http.Header{"Sec-Fetch-Dest": {"image"}, "Sec-Fetch-Mode": {"no-cors"}}, false},
		"AR-11 a frame":                  {http.Header{"Sec-Fetch-Dest": {"iframe"}, "Sec-Fetch-Mode": {"navigate"}}, false},
		"AR-11 an old frame":             {http.Header{"Sec-Fetch-Dest": {"frame"}}, false},
		"AR-11 an object":                {http.Header{"Sec-Fetch-Dest": {"object"}}, false},
		"AR-11 a script":                 {http.Header{"Sec-Fetch-Dest": {"script"}}, false},
		"AR-11 a fetch":                  {http.Header{"Sec-Fetch-Dest": {"empty"}, "Sec-Fetch-Mode": {"cors"}}, false},
		"AR-11 a prefetch":               {http.Header{"Sec-Purpose": {"prefetch"}}, false},
		"AR-11 a prerender":              {http.Header{"Sec-Purpose": {"prefetch;prerender"}, "Sec-Fetch-Dest": {"document"}}, false},
		"AR-11 an old prefetch":          {http.Header{"Purpose": {"prefetch"}}, false},
		"AR-11 an old Firefox's":         {http.Header{"X-Moz": {"prefetch"}}, false},
		"AR-11 htmx":                     {http.Header{"Hx-Request": {"true"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/login", nil)
			r.Header = tt.header
			if got := authn.IsNavigation(r); got != tt.want {
				t.Errorf("IsNavigation is %t, want %t", got, tt.want)
			}
		})
	}
}

func TestLoginsSideBySide(t *testing.T) {
	t.Parallel()
	t.Run("AR-12 a login that is given up changes nothing", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		before := b.who()
		a.clock.Move(2 * time.Minute)
		b.begin("")
		if after := b.who(); after.SID != before.SID || !after.Expires.Equal(before.Expires) || !after.IdleUntil.Equal(before.IdleUntil) {
			t.Errorf("the session was %+v, and is %+v", before, after)
		}
	})
	t.Run("AR-13 two are finished in the other order", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		first, second := b.begin("return_to=/first"), b.begin("return_to=/second")
		for _, one := range []struct{ request, subject, returnTo string }{{second, "bob", "/second"}, {first, "carol", "/first"}} {
			a.op.SignInAs(one.subject)
			got := b.get(b.authorize(one.request))
			b.wantSignedIn(got, one.subject)
			if got.location != one.returnTo {
				t.Errorf("sent on to %q, want %q", got.location, one.returnTo)
			}
		}
	})
	t.Run("AR-13 the oldest of too many goes first", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		var requests []string
		for range 9 {
			requests = append(requests, b.begin(""))
			a.clock.Move(time.Second)
		}
		address, err := url.Parse(a.URL)
		if err != nil {
			t.Fatal(err)
		}
		size, cookies := 0, b.client.Jar.Cookies(address)
		for _, c := range cookies {
			size += len(c.Name) + len(c.Value)
		}
		if len(cookies) > 7 || size > 3500 {
			t.Errorf("the browser keeps %d transactions of %d bytes", len(cookies), size)
		}
		b.wantRefused(b.get(b.authorize(requests[0])), authn.ReasonTransactionMissing, 0, 0)
		b.wantSignedIn(b.get(b.authorize(requests[len(requests)-len(cookies)])), "alice")
	})
	t.Run("AR-18 no cache keeps the redirect", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		if got := a.person(t).get(a.URL + "/login"); got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("Cache-Control is %q", got.header.Get("Cache-Control"))
		}
	})
}

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

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

func TestAuthorizationRequest(t *testing.T) {
	t.Parallel()
	a := newApp(t, appOptions{})
	redirect := a.URL + "/callback"
	request := scriptedop.Query(t, a.person(t).begin("return_to=/orders"))
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
		config     func(*settings)
		metadata   func(map[string]any)
		secure     bool
		parameter  string
		want       string
		wantAbsent bool
	}{
		"AR-01 form_post": {
			config: func(c *settings) { c.ResponseMode = "form_post" }, secure: true,
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
			config:    func(c *settings) { c.Scopes = []string{"openid", "email"} },
			parameter: "scope", want: "openid email",
		},
		"AR-09 the provider does not offer refresh": {
			metadata:  func(m map[string]any) { m["scopes_supported"] = []string{"openid"} },
			parameter: "scope", want: "openid profile email",
		},
		"an audience": {
			config:    func(c *settings) { c.Audience = "https://api.example.com" },
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
			request := scriptedop.Query(t, a.person(t).begin(""))
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

// TestAuthorizationRequestIsFresh counts the bits of the values that must not be guessable.
// Each bit is set in 4,600 to 5,400 of 10,000 cases: a fair bit misses that range once in
// 10^15 times.
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
				location, err := a.rp.Begin(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/login", nil), authn.SignInRequest{ReturnTo: localPath(t, "/orders")})
				if err != nil {
					t.Fatal(err)
				}
				value := scriptedop.Query(t, location).Get(parameter)
				raw, err := base64.RawURLEncoding.DecodeString(value)
				// After the random bits the state has the return path, sealed.
				if err != nil || len(raw) < 32 || (parameter != "state" && len(value) > 43) || strings.Contains(string(raw), "orders") {
					t.Fatalf("%q does not begin with 256 random bits, or reveals the return path", value)
				}
				// The three values must also differ from each other.
				if seen[value] {
					t.Fatalf("%q is a repeat", value)
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
		if got, want := base64.RawURLEncoding.EncodeToString(sum[:]), scriptedop.Query(t, request).Get("code_challenge"); got != want || len(verifier) < 43 {
			t.Errorf("the verifier %q gives %q, the challenge was %q", verifier, got, want)
		}
		if strings.Contains(request, verifier) || scriptedop.Query(t, request).Get("state") == verifier {
			t.Error("the authorization request contains the verifier")
		}
	})
}

// TestForeignParameters sends a link's parameters and headers to the login. Only the hints
// may change the request.
func TestForeignParameters(t *testing.T) {
	t.Parallel()
	a := newApp(t, appOptions{})
	fresh := []string{"state", "nonce", "code_challenge"}
	usual := scriptedop.Query(t, a.person(t).begin(""))
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
			got := scriptedop.Query(t, b.do(r, nil).location)
			for name := range got {
				want := usual[name]
				if hint, ok := tt.want[name]; ok {
					want = []string{hint}
				}
				if !slices.Contains(fresh, name) && !slices.Equal(got[name], want) {
					t.Errorf("%s is %q, want %q", name, got[name], want)
				}
				if slices.Contains(got[name], "evil") {
					t.Errorf("%s comes from the link", name)
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
			state, err := base64.RawURLEncoding.DecodeString(scriptedop.Query(t, request).Get("state"))
			if err != nil || (len(tt.want) > 1 && strings.Contains(string(state), tt.want)) {
				t.Errorf("state is %q, %v", state, err)
			}
			got := b.get(b.authorize(request))
			b.wantSignedIn(got, "alice")
			if got.location != tt.want {
				t.Errorf("redirected to %q, want %q", got.location, tt.want)
			}
		})
	}
}

package routes_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

const deviceBound = "DEVICE_BOUND_SESSIONS=auto"

// bound returns a device that is signed in and has registered its key.
func bound(t *testing.T, s *apptest.Scripted) *apptest.Device {
	t.Helper()
	d := apptest.NewDevice(s).SignIn(s)
	if got := d.Bind(); got.StatusCode != http.StatusOK {
		t.Fatalf("the registration answers %d\n%s", got.StatusCode, s.Log)
	}
	return d
}

// proofOver lets the time pass in which a proof counts. The browser has dropped the cookie by then.
func proofOver(c *apptest.Clock, d *apptest.Device) {
	c.Move(10 * time.Minute)
	d.DropProof()
}

// TestDeviceBoundSession (CK-11) follows a bound session: the session cookie alone opens nothing any more
// once the proof is over, and everything again after each renewal.
func TestDeviceBoundSession(t *testing.T) {
	t.Parallel()
	s, c := apptest.AssembleHTTPS(t, deviceBound)
	d := apptest.NewDevice(s).SignIn(s)
	if d.Offer == (apptest.DeviceOffer{}) {
		t.Fatal("the sign-in offers no registration")
	}
	if !d.SignedIn() {
		t.Error("the session does not open before the registration")
	}
	got := d.Bind()
	if got.StatusCode != http.StatusOK || !strings.HasPrefix(got.Header.Get("Content-Type"), "application/json") {
		t.Fatalf("the registration answers %d\n%s", got.StatusCode, s.Log)
	}
	for _, want := range []string{
		`"session_identifier":"` + d.Session + `"`, `"refresh_url":"/session/renew"`, `"origin":"` + s.URL + `"`, `"include_site":false`,
		`"name":"__Host-bound"`, `"attributes":"Path=/; Secure; HttpOnly; SameSite=Lax"`, `{"type":"exclude","domain":"*","path":"/static"}`,
	} {
		if !strings.Contains(got.Body, want) {
			t.Errorf("the registration's answer lacks %s: %s", want, got.Body)
		}
	}
	if cookie := got.Header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "__Host-bound=") || !strings.HasSuffix(cookie, "; Path=/; Max-Age=540; HttpOnly; Secure; SameSite=Lax") {
		t.Errorf("the cookie is %q", cookie)
	}
	for range 3 {
		if !d.SignedIn() {
			t.Fatalf("the session does not open with its proof\n%s", s.Log)
		}
		old := d.Copy(t)
		proofOver(c, d)
		if d.SignedIn() || old.SignedIn() {
			t.Error("the session opens without its proof, or with one that is over")
		}
		if got := d.Renew(); got.StatusCode != http.StatusOK || got.Body != "" {
			t.Fatalf("the renewal answers %d %q\n%s", got.StatusCode, got.Body, s.Log)
		}
	}
	if !d.SignedIn() {
		t.Error("the session does not open after the renewal")
	}
	// An earlier cookie counts until its own end: requests under way have it.
	earlier := d.Copy(t)
	c.Move(5 * time.Minute)
	d.Renew()
	if !earlier.SignedIn() || !d.SignedIn() {
		t.Error("one of two cookies that overlap does not count")
	}
}

// TestDeviceProofs (CK-12) sends every kind of false proof. Each case has the same proof without its fault
// as a twin, which is accepted afterwards: a refusal costs the owner nothing.
func TestDeviceProofs(t *testing.T) {
	t.Parallel()
	claim := func(name string, value any) func(*apptest.Proof) {
		return func(p *apptest.Proof) { p.Claims[name] = value }
	}
	header := func(name string, value any) func(*apptest.Proof) {
		return func(p *apptest.Proof) { p.Header[name] = value }
	}
	signedWith := func(algorithm string) func(*apptest.Proof) {
		return func(p *apptest.Proof) {
			p.Key = scriptedop.NewKey("", algorithm)
			if _, ok := p.Header["jwk"]; ok {
				p.Header["jwk"] = apptest.PublicJWK(p.Key)
			}
		}
	}
	unsigned := func(p *apptest.Proof) { p.Key = scriptedop.Key{Algorithm: "none"} }
	// The MAC of somebody who does not have the key, but knows it.
	hmac := func(d *apptest.Device) func(*apptest.Proof) {
		return func(p *apptest.Proof) {
			p.Key = scriptedop.Key{Algorithm: "HS256", Private: []byte(apptest.PublicJWK(d.Key)["x"].(string))}
		}
	}
	cases := map[string]func(d, other *apptest.Device) func(*apptest.Proof){
		"alg none":    func(_, _ *apptest.Device) func(*apptest.Proof) { return unsigned },
		"alg HS256":   func(d, _ *apptest.Device) func(*apptest.Proof) { return hmac(d) },
		"alg RS256":   func(_, _ *apptest.Device) func(*apptest.Proof) { return signedWith("RS256") },
		"alg ES384":   func(_, _ *apptest.Device) func(*apptest.Proof) { return signedWith("ES384") },
		"alg changed": func(_, _ *apptest.Device) func(*apptest.Proof) { return header("alg", "ES384") },
		"no typ":      func(_, _ *apptest.Device) func(*apptest.Proof) { return header("typ", "") },
		"typ JWT":     func(_, _ *apptest.Device) func(*apptest.Proof) { return header("typ", "JWT") },
		"crit":        func(_, _ *apptest.Device) func(*apptest.Proof) { return header("crit", []string{"b64"}) },
		"another aud": func(_, _ *apptest.Device) func(*apptest.Proof) {
			return claim("aud", "https://evil.example/session/renew")
		},
		"no challenge": func(_, _ *apptest.Device) func(*apptest.Proof) { return claim("jti", "") },
		"made-up":      func(_, _ *apptest.Device) func(*apptest.Proof) { return claim("jti", strings.Repeat("A", 111)) },
		"not a proof":  func(_, _ *apptest.Device) func(*apptest.Proof) { return func(p *apptest.Proof) { p.Raw = "x" } },
		"a long one":   func(_, _ *apptest.Device) func(*apptest.Proof) { return claim("x", strings.Repeat("x", 5<<10)) },
		"another key": func(_, other *apptest.Device) func(*apptest.Proof) {
			return func(p *apptest.Proof) { p.Key = other.Key }
		},
		"of another one": func(_, other *apptest.Device) func(*apptest.Proof) { return claim("jti", other.Challenge) },
		"of a registration": func(d, _ *apptest.Device) func(*apptest.Proof) {
			return claim("jti", d.Offer.Challenge)
		},
	}
	for name, fault := range cases {
		t.Run("renewal: "+name, func(t *testing.T) {
			t.Parallel()
			s, c := apptest.AssembleHTTPS(t, deviceBound)
			d, other := bound(t, s), bound(t, s)
			proofOver(c, d)
			challenge := d.Challenge
			wantProofRefused(t, s, d.Renew(fault(d, other)))
			if d.SignedIn() {
				t.Error("the session opens")
			}
			d.Challenge = challenge
			if got := d.Renew(); got.StatusCode != http.StatusOK || !d.SignedIn() {
				t.Errorf("its twin is answered %d\n%s", got.StatusCode, s.Log)
			}
		})
	}
	renewing := map[string]func(d *apptest.Device) func(*apptest.Proof){
		"a key in the proof": func(*apptest.Device) func(*apptest.Proof) {
			return func(p *apptest.Proof) {
				p.Key = scriptedop.NewKey("", "ES256")
				p.Header["jwk"] = apptest.PublicJWK(p.Key)
			}
		},
	}
	for name, fault := range renewing {
		t.Run("renewal: "+name, func(t *testing.T) {
			t.Parallel()
			s, c := apptest.AssembleHTTPS(t, deviceBound)
			d := bound(t, s)
			proofOver(c, d)
			challenge := d.Challenge
			wantProofRefused(t, s, d.Renew(fault(d)))
			d.Challenge = challenge
			if got := d.Renew(func(p *apptest.Proof) { p.Header["jwk"] = apptest.PublicJWK(d.Key) }); got.StatusCode != http.StatusOK {
				t.Errorf("its twin is answered %d\n%s", got.StatusCode, s.Log)
			}
		})
	}
	binding := map[string]func(d, other *apptest.Device) func(*apptest.Proof){
		"a key that did not sign it": func(_, other *apptest.Device) func(*apptest.Proof) {
			return header("jwk", apptest.PublicJWK(other.Key))
		},
		"no key": func(_, _ *apptest.Device) func(*apptest.Proof) {
			return func(p *apptest.Proof) { delete(p.Header, "jwk") }
		},
		"a private key": func(d, _ *apptest.Device) func(*apptest.Proof) {
			jwk := apptest.PublicJWK(d.Key)
			jwk["d"] = jwk["x"]
			return header("jwk", jwk)
		},
		"a point that is not on the curve": func(d, _ *apptest.Device) func(*apptest.Proof) {
			jwk := apptest.PublicJWK(d.Key)
			jwk["y"] = jwk["x"]
			return header("jwk", jwk)
		},
		"alg none":         func(_, _ *apptest.Device) func(*apptest.Proof) { return unsigned },
		"alg RS256":        func(_, _ *apptest.Device) func(*apptest.Proof) { return signedWith("RS256") },
		"typ JWT":          func(_, _ *apptest.Device) func(*apptest.Proof) { return header("typ", "JWT") },
		"no authorization": func(_, _ *apptest.Device) func(*apptest.Proof) { return claim("authorization", "") },
		"a made-up authorization": func(_, _ *apptest.Device) func(*apptest.Proof) {
			return claim("authorization", strings.Repeat("A", 150))
		},
		"another's authorization": func(_, other *apptest.Device) func(*apptest.Proof) {
			return claim("authorization", other.Offer.Authorization)
		},
		"another one's challenge": func(_, other *apptest.Device) func(*apptest.Proof) { return claim("jti", other.Offer.Challenge) },
		"another endpoint's proof": func(_, _ *apptest.Device) func(*apptest.Proof) {
			return claim("aud", "https://evil.example/session/bind")
		},
	}
	for name, fault := range binding {
		t.Run("registration: "+name, func(t *testing.T) {
			t.Parallel()
			s, _ := apptest.AssembleHTTPS(t, deviceBound)
			d, other := apptest.NewDevice(s).SignIn(s), apptest.NewDevice(s).SignIn(s)
			wantProofRefused(t, s, d.Bind(fault(d, other)))
			if got := d.Bind(); got.StatusCode != http.StatusOK {
				t.Errorf("its twin is answered %d\n%s", got.StatusCode, s.Log)
			}
		})
	}
}

// wantProofRefused checks that a proof was refused, and that the event says so.
func wantProofRefused(t *testing.T, s *apptest.Scripted, got apptest.Answer) {
	t.Helper()
	if got.StatusCode != http.StatusForbidden || got.Header.Get("Set-Cookie") != "" {
		t.Fatalf("answered %d with the cookie %.20q\n%s", got.StatusCode, got.Header.Get("Set-Cookie"), s.Log)
	}
	lines := s.Logged("refused", got.Header.Get("X-Request-Id"))
	if len(lines) != 1 || lines[0]["event"] != "proof_refused" || lines[0]["reason"] != "device_proof_refused" {
		t.Errorf("the log says %v, want one refused proof", lines)
	}
}

// TestDeviceChallenges (CK-12) answers challenges that do not count, or no longer. The browser gets
// another one, which it can answer, and someone without the key cannot.
func TestDeviceChallenges(t *testing.T) {
	t.Parallel()
	s, c := apptest.AssembleHTTPS(t, deviceBound)
	d := bound(t, s)

	used := d.Challenge
	if got := d.Renew(); got.StatusCode != http.StatusOK {
		t.Fatalf("the renewal answers %d", got.StatusCode)
	}
	next := d.Challenge
	d.Challenge = used
	wantProofRefused(t, s, d.Renew())
	if d.Challenge == used || d.Challenge == next {
		t.Error("a refusal brings no new challenge")
	}
	d.Challenge = next // a refused proof uses nothing up
	if got := d.Renew(); got.StatusCode != http.StatusOK {
		t.Errorf("the challenge that was not used is answered %d", got.StatusCode)
	}

	if got := d.AskForChallenge(); got.StatusCode != http.StatusForbidden || got.Header.Get("Secure-Session-Challenge") == "" {
		t.Errorf("a renewal without proof is answered %d with %q", got.StatusCode, got.Header.Get("Secure-Session-Challenge"))
	}
	if got := d.Renew(); got.StatusCode != http.StatusOK {
		t.Errorf("its challenge is answered %d", got.StatusCode)
	}

	expired := d.Challenge
	c.Move(16*time.Minute + time.Second) // with the minute that clocks may differ by
	got := d.Renew()
	if got.StatusCode != http.StatusForbidden || d.Challenge == expired || len(s.Logged("refused", got.Header.Get("X-Request-Id"))) > 0 {
		t.Errorf("an expired challenge is answered %d", got.StatusCode)
	}
	fresh := d.Challenge
	c.Move(15 * time.Minute)
	d.Challenge = fresh
	if got := d.Renew(); got.StatusCode != http.StatusOK || !d.SignedIn() {
		t.Errorf("a challenge of 15 minutes ago is answered %d", got.StatusCode)
	}

	quoted := func(p *apptest.Proof) {
		p.Raw = `"` + p.Compact() + `"` // as the draft has it
		p.Headers["Sec-Secure-Session-Id"] = `"` + d.Session + `"`
	}
	if got := d.Renew(quoted); got.StatusCode != http.StatusOK {
		t.Errorf("a proof in quotes is answered %d", got.StatusCode)
	}
	if got := d.Renew(func(p *apptest.Proof) { p.Claims["aud"] = s.URL + "/session/renew" }); got.StatusCode != http.StatusOK {
		t.Errorf("a proof for this endpoint is answered %d", got.StatusCode)
	}
}

// TestDeviceRegistration (CK-12) registers keys late, twice, and for sessions of others.
func TestDeviceRegistration(t *testing.T) {
	t.Parallel()
	t.Run("late", func(t *testing.T) {
		t.Parallel()
		s, c := apptest.AssembleHTTPS(t, deviceBound)
		d, intime := apptest.NewDevice(s).SignIn(s), apptest.NewDevice(s).SignIn(s)
		c.Move(2 * time.Minute) // one, and the one that clocks may differ by
		if got := intime.Bind(); got.StatusCode != http.StatusOK {
			t.Errorf("the last moment is answered %d", got.StatusCode)
		}
		c.Move(time.Second)
		wantProofRefused(t, s, d.Bind())
		c.Move(time.Hour)
		if !d.SignedIn() {
			t.Error("a session without a key is not as before")
		}
	})
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		s, _ := apptest.AssembleHTTPS(t, deviceBound)
		d := bound(t, s)
		wantProofRefused(t, s, d.Bind())
		// The thief has the offer, all cookies, and a key.
		wantProofRefused(t, s, d.Bind(func(p *apptest.Proof) {
			p.Key = scriptedop.NewKey("", "ES256")
			p.Header["jwk"] = apptest.PublicJWK(p.Key)
		}))
		if got := d.Renew(); got.StatusCode != http.StatusOK {
			t.Errorf("the owner's renewal answers %d\n%s", got.StatusCode, s.Log)
		}
	})
	t.Run("at once", func(t *testing.T) {
		t.Parallel()
		s, _ := apptest.AssembleHTTPS(t, deviceBound)
		d := apptest.NewDevice(s).SignIn(s)
		accepted := 0
		for _, status := range together(8, func() int { return d.Bind().StatusCode }) {
			if status == http.StatusOK {
				accepted++
			}
		}
		if accepted != 1 {
			t.Errorf("%d registrations are accepted", accepted)
		}
	})
	t.Run("of a session that has ended", func(t *testing.T) {
		t.Parallel()
		s, _ := apptest.AssembleHTTPS(t, deviceBound)
		d := apptest.NewDevice(s).SignIn(s)
		d.Post("/logout", nil)
		if got := d.Bind(); got.StatusCode != http.StatusUnauthorized || got.Header.Get("Set-Cookie") != "" {
			t.Errorf("answered %d", got.StatusCode)
		}
	})
	t.Run("that nobody offers", func(t *testing.T) {
		t.Parallel()
		offers := func(s *apptest.Scripted) bool {
			d := apptest.NewDevice(s).SignIn(s)
			return d.Offer != (apptest.DeviceOffer{}) || d.Bind().StatusCode != http.StatusNotFound || d.Renew().StatusCode != http.StatusNotFound
		}
		off, _ := apptest.AssembleHTTPS(t)
		plain, _ := apptest.Assemble(t, deviceBound)
		on, _ := apptest.AssembleHTTPS(t, deviceBound)
		if offers(off) || offers(plain) || !offers(on) {
			t.Error("the offer is there although it is off, or on plain http, or not there")
		}
	})
}

// together calls a function at the same time and returns the results.
func together(n int, call func() int) []int {
	results := make([]int, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { results[i] = call() })
	}
	wait.Wait()
	return results
}

// TestWithoutDeviceProof (CK-13) sends requests with all cookies of a bound session and without its proof.
// Nothing opens, nothing is changed, and the session is alive afterwards.
func TestWithoutDeviceProof(t *testing.T) {
	t.Parallel()
	s, c := apptest.AssembleHTTPS(t, deviceBound, "AUTH0_AUDIENCE="+apiAudience)
	navigate := []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site"}
	link := func(site string) []string { return append(slices.Clone(navigate), site) }
	fetch := []string{"Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", "same-origin"}
	cases := map[string]struct {
		method, path string
		headers      []string
		status       int
		next         string // where the browser goes on to by itself
		twin         int    // the status with the proof
	}{
		"a link of another site":     {"GET", "/dashboard", link("cross-site"), 401, "/dashboard", 200},
		"a link of a sibling":        {"GET", "/profile?x=%20y", link("same-site"), 401, "/profile?x=%20y", 200},
		"a typed address":            {"GET", "/sessions", link("none"), 401, "/sessions", 200},
		"a link to the home page":    {"GET", "/", link("cross-site"), 401, "/", 303},
		"a page that asks again":     {"GET", "/dashboard", link("same-origin"), 303, "/login", 200},
		"a browser that gave up":     {"GET", "/profile", append(link("cross-site"), "Secure-Session-Skipped", "quota_exceeded"), 303, "/login?return_to=%2Fprofile", 200},
		"no browser":                 {"GET", "/dashboard", nil, 303, "/login", 200},
		"a form":                     {"POST", "/session/extend", link("same-origin"), 401, "/login", 303},
		"the question to sign out":   {"GET", "/logout", link("cross-site"), 401, "/logout", 200},
		"htmx":                       {"GET", "/sessions", append(slices.Clone(fetch), "HX-Request", "true"), 401, "", 200},
		"a script":                   {"GET", "/dashboard", fetch, 401, "", 200},
		"a script that reads JSON":   {"GET", "/dashboard", append(slices.Clone(fetch), "Accept", "application/json"), 401, "", 200},
		"the API":                    {"GET", "/api/me", fetch, 401, "", 200},
		"the API, from no browser":   {"GET", "/api/me", nil, 401, "", 200},
		"the state of an event page": {"HEAD", "/events", fetch, 401, "", 200},
	}
	d := bound(t, s)
	proofOver(c, d)
	for name, tt := range cases {
		got := d.Direct(d.Request(tt.method, tt.path, nil, tt.headers...))
		if got.StatusCode != tt.status || got.Next() != tt.next {
			t.Errorf("%s is answered %d to %q, want %d to %q", name, got.StatusCode, got.Next(), tt.status, tt.next)
		}
		if cookies := got.Cookies(); len(cookies) > 0 {
			t.Errorf("%s: the answer changes cookies: %v", name, cookies)
		}
		if strings.Contains(got.Body, "alice") {
			t.Errorf("%s: the answer names the person:\n%s", name, got.Body)
		}
	}
	if got := d.Renew(); got.StatusCode != http.StatusOK {
		t.Fatalf("the renewal answers %d", got.StatusCode)
	}
	for name, tt := range cases {
		if got := d.Direct(d.Request(tt.method, tt.path, nil, tt.headers...)); got.StatusCode != tt.twin {
			t.Errorf("%s is answered %d with the proof, want %d", name, got.StatusCode, tt.twin)
		}
	}
}

// TestSignInWithoutDeviceProof signs in again with a browser that has lost its key: at an app with one
// provider, and at one where the provider has a name and a callback address of its own.
func TestSignInWithoutDeviceProof(t *testing.T) {
	t.Parallel()
	for name, assemble := range map[string]func() (*apptest.Scripted, *apptest.Clock){
		"/callback":      func() (*apptest.Scripted, *apptest.Clock) { return apptest.AssembleHTTPS(t, deviceBound) },
		"/callback/work": func() (*apptest.Scripted, *apptest.Clock) { return apptest.AssembleNamedHTTPS(t, "work", deviceBound) },
	} {
		s, c := assemble()
		d := bound(t, s)
		proofOver(c, d)
		d.SignIn(s)
		if !d.SignedIn() || d.Offer == (apptest.DeviceOffer{}) {
			t.Errorf("%s: signed in %t, offered %+v\n%s", name, d.SignedIn(), d.Offer, s.Log)
		}
	}
}

// TestSignInHookWithoutDeviceProof signs in beside a copy of another person's cookie: the hook sees the
// session only if the browser has proven its key.
func TestSignInHookWithoutDeviceProof(t *testing.T) {
	t.Parallel()
	var previous *authn.Session
	s, c := apptest.AssembleHTTPSWith(t, func(settings *apptest.Settings) {
		settings.Authn.SignInHook = func(_ context.Context, arrival *authn.Arrival) error {
			previous = arrival.Previous
			return nil
		}
	}, deviceBound)
	d := bound(t, s)
	proofOver(c, d)
	thief := d.Copy(t)
	s.OP.SignInAs("mallory")
	if s.SignIn(thief); previous != nil {
		t.Errorf("the hook sees the session of %s", previous.Identity.Subject)
	}
	s.OP.SignInAs("alice")
	d = bound(t, s)
	s.OP.SignInAs("bob")
	if d.SignIn(s); previous == nil || previous.Identity.Subject != "alice" {
		t.Errorf("with the proof, the hook sees %v", previous)
	}
}

// TestWrongDeviceProof (CK-13) opens a page with a cookie that proves nothing any more. The browser would
// not renew it as long as it has it, so the answer deletes it.
func TestWrongDeviceProof(t *testing.T) {
	t.Parallel()
	s, c := apptest.AssembleHTTPS(t, deviceBound)
	d, other := bound(t, s), bound(t, s)
	c.Move(10 * time.Minute)
	for name, value := range map[string]string{
		"expired": d.CookieValue("bound"), "another session's": other.CookieValue("bound"), "made up": strings.Repeat("A", 54),
	} {
		d.SetCookie("bound", value)
		got := d.Direct(d.Request(http.MethodGet, "/dashboard", nil, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate"))
		if got.StatusCode != http.StatusUnauthorized || got.Next() != "/dashboard" || !strings.HasPrefix(got.Header.Get("Set-Cookie"), "__Host-bound=; Path=/; Max-Age=0;") {
			t.Errorf("%s: answered %d to %q with %q", name, got.StatusCode, got.Next(), got.Header.Get("Set-Cookie"))
		}
		if got := d.Direct(d.Request(http.MethodGet, "/dashboard", nil, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate")); got.Next() != "/login" {
			t.Errorf("%s: then answered %d to %q", name, got.StatusCode, got.Next())
		}
	}
	d.SetCookie("bound", "another application's")
	if got := d.Direct(d.Request(http.MethodGet, "/dashboard", nil)); got.Header.Get("Set-Cookie") != "" {
		t.Error("a cookie of another application is deleted")
	}
	d.DropProof()
	d.Renew()
	if !d.SignedIn() {
		t.Errorf("the session does not open after the renewal\n%s", s.Log)
	}
}

// TestBoundSessionEnds (CK-14) ends bound sessions. The next renewal ends them in the browser, too.
func TestBoundSessionEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, s *apptest.Scripted, c *apptest.Clock, d *apptest.Device){
		"by its person": func(_ *testing.T, _ *apptest.Scripted, _ *apptest.Clock, d *apptest.Device) { d.Post("/logout", nil) },
		"by its person, without the proof": func(t *testing.T, s *apptest.Scripted, c *apptest.Clock, d *apptest.Device) {
			proofOver(c, d)
			got := d.Direct(d.Request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin"))
			if strings.Contains(got.Body+got.Next(), "id_token_hint") {
				t.Error("the answer names the person to anyone who has the cookie")
			}
			if s.Log.Count("signed out") != 1 {
				t.Errorf("the log does not say so\n%s", s.Log)
			}
		},
		"by the provider": func(t *testing.T, s *apptest.Scripted, _ *apptest.Clock, d *apptest.Device) {
			got := d.Send("/backchannel-logout", apptest.FormType, url.Values{"logout_token": {s.OP.LogoutToken().Compact()}}.Encode())
			if got.StatusCode != http.StatusOK {
				t.Fatalf("the logout token is answered %d", got.StatusCode)
			}
		},
		"by its idle timeout": func(_ *testing.T, _ *apptest.Scripted, c *apptest.Clock, _ *apptest.Device) { c.Move(25 * time.Hour) },
		"by another sign-in":  func(_ *testing.T, s *apptest.Scripted, _ *apptest.Clock, d *apptest.Device) { s.SignIn(d.Visitor) },
		"by another sign-in, with a key": func(t *testing.T, s *apptest.Scripted, _ *apptest.Clock, d *apptest.Device) {
			before := d.Session
			if got := d.SignIn(s).Bind(); got.StatusCode != http.StatusOK || d.Session == before {
				t.Errorf("the registration answers %d", got.StatusCode)
			}
			if got := d.Renew(); got.StatusCode != http.StatusOK {
				t.Errorf("the new session's renewal answers %d", got.StatusCode)
			}
			d.Session = before
		},
		"with its cookie": func(_ *testing.T, _ *apptest.Scripted, _ *apptest.Clock, d *apptest.Device) {
			d.Client.Jar.SetCookies(d.Request(http.MethodGet, "/", nil).URL, []*http.Cookie{{Name: "__Host-session", Path: "/", MaxAge: -1}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := apptest.AssembleHTTPS(t, deviceBound)
			d := bound(t, s)
			session, thief := d.Session, d.Copy(t)
			end(t, s, c, d)
			got := d.Renew()
			if got.StatusCode != http.StatusOK || strings.TrimSpace(got.Body) != `{"session_identifier":"`+session+`","continue":false}` {
				t.Errorf("the renewal answers %d %s", got.StatusCode, got.Body)
			}
			// The browser may renew the proof of its next session at the same time.
			next := strings.HasPrefix(name, "by another sign-in")
			if cookie := got.Header.Get("Set-Cookie"); strings.HasPrefix(cookie, "__Host-bound=; Path=/; Max-Age=0;") == next || next && cookie != "" {
				t.Errorf("the renewal's cookie is %q", cookie)
			}
			if name != "with its cookie" && thief.SignedIn() {
				t.Error("a copy of all cookies opens it")
			}
		})
	}
}

// TestDeviceBoundNodes (CK-11) uses a bound session at two nodes whose clocks differ by a minute, with the
// provider down.
func TestDeviceBoundNodes(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{"behind": -time.Minute, "ahead": time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes, clocks := apptest.AssembleNodesHTTPS(t, deviceBound)
			one, two := nodes[0], nodes[1]
			clocks[1].Move(ahead)
			d := apptest.NewDevice(one).SignIn(one)
			if got := d.At(two).Bind(); got.StatusCode != http.StatusOK {
				t.Fatalf("the registration answers %d\n%s", got.StatusCode, two.Log)
			}
			one.OP.Answer(scriptedop.Token, scriptedop.Status(503))
			one.OP.Answer(scriptedop.JWKS, scriptedop.Status(503))
			for i := range 6 {
				for _, node := range nodes {
					if !d.At(node).SignedIn() {
						t.Fatalf("the session does not open\n%s", node.Log)
					}
				}
				// The browser keeps the cookie for nine minutes.
				for _, clock := range clocks {
					clock.Move(9*time.Minute - time.Second)
				}
				for _, node := range nodes {
					if !d.At(node).SignedIn() {
						t.Fatalf("a node refuses a proof that the browser still has\n%s", node.Log)
					}
				}
				d.DropProof()
				if got := d.At(nodes[i%2]).Renew(); got.StatusCode != http.StatusOK {
					t.Fatalf("the renewal answers %d\n%s", got.StatusCode, nodes[i%2].Log)
				}
			}
		})
	}
}

// TestManyTabsRenew (CK-12) answers one challenge many times at once, as tabs do that do not share a
// renewal. One of them renews the proof for all, and nothing ends.
func TestManyTabsRenew(t *testing.T) {
	t.Parallel()
	s, c := apptest.AssembleHTTPS(t, deviceBound)
	d := bound(t, s)
	proofOver(c, d)
	renewed := 0
	challenge := d.Challenge
	for _, status := range together(20, func() int {
		return d.Renew(func(p *apptest.Proof) { p.Claims["jti"] = challenge }).StatusCode
	}) {
		switch status {
		case http.StatusOK:
			renewed++
		case http.StatusForbidden:
		default:
			t.Errorf("a renewal is answered %d", status)
		}
	}
	if renewed != 1 || !d.SignedIn() {
		t.Errorf("%d renewals are accepted\n%s", renewed, s.Log)
	}
}

// TestDeviceProofMetrics counts what happens to bound sessions.
func TestDeviceProofMetrics(t *testing.T) {
	t.Parallel()
	s, _ := apptest.AssembleHTTPS(t, deviceBound)
	d := bound(t, s)
	d.Renew()
	d.Renew()
	d.Renew(func(p *apptest.Proof) { p.Key = scriptedop.NewKey("", "ES256") })
	metrics := httptest.NewRecorder()
	s.Assembled.Handler.Operations().ServeHTTP(metrics, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{"latchkey_sessions_bound_total 1\n", "latchkey_sessions_renewed_total 2\n", "latchkey_device_proofs_refused_total 1\n"} {
		if !strings.Contains(metrics.Body.String(), want) {
			t.Errorf("the metrics lack %q", want)
		}
	}
}

// TestStreamOfABoundSession (CK-13) opens an event stream shortly before the proof is over, with which it
// ends: a copy of the cookies must not keep it open. Without a key it goes on.
func TestStreamOfABoundSession(t *testing.T) {
	t.Parallel()
	s, c := apptest.AssembleHTTPS(t, deviceBound)
	d, without := bound(t, s), apptest.NewDevice(s).SignIn(s)
	c.Move(10*time.Minute - time.Millisecond)
	open := without.Listen()
	if got := d.Direct(d.Request(http.MethodGet, "/events", nil)); got.StatusCode != http.StatusOK || !strings.Contains(got.Body, "event: alive") {
		t.Errorf("the stream is answered %d\n%s", got.StatusCode, got.Body)
	}
	s.WantStreams(1)
	open.Close()
	c.Move(time.Millisecond)
	if got := d.Direct(d.Request(http.MethodGet, "/events", nil)); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the proof it is answered %d", got.StatusCode)
	}
}

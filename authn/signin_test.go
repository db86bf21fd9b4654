package authn_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// TestAuthorizationEndpoint checks which authorization endpoints a browser may be sent to.
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
					t.Errorf("answered with %d to %q: %s", got.status, got.location, got.text)
				}
				return
			}
			if got.reason != openid.ReasonProviderMisconfigured || got.location != "" || got.header.Get("Set-Cookie") != "" {
				t.Errorf("answered %d to %q with cookie %q: %s", got.status, got.location, got.header.Get("Set-Cookie"), got.text)
			}
			if err := a.provider.Ready(); openid.ReasonOf(err) != openid.ReasonProviderMisconfigured {
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
		"AR-11 a fetch in the same site": {http.Header{"Sec-Fetch-Dest": {"empty"}, "Sec-Fetch-Mode": {"same-origin"}}, false},
		"AR-11 no destination, no mode":  {http.Header{"Sec-Fetch-Dest": {"empty"}}, false},
		"AR-11 a service worker":         {http.Header{"Sec-Fetch-Dest": {"empty"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Site": {"same-origin"}}, true},
		"AR-11 its prefetch":             {http.Header{"Sec-Fetch-Dest": {"empty"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Purpose": {"prefetch"}}, false},
		"AR-11 its fetch of an image":    {http.Header{"Sec-Fetch-Dest": {"empty"}, "Sec-Fetch-Mode": {"no-cors"}}, false},
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
				t.Errorf("redirected to %q, want %q", got.location, one.returnTo)
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
	t.Run("CK-02 two hundred that were given up", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		for range 200 {
			b.begin("return_to=" + strings.Repeat("/orders", 20))
			if size := len("Cookie: " + b.cookieHeader()); size > 8<<10 {
				t.Fatalf("the browser sends %d bytes of cookies", size)
			}
			a.clock.Move(time.Second)
		}
		b.wantSignedIn(b.signIn(), "alice")
	})
	t.Run("AR-18 no cache keeps the redirect", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		if got := a.person(t).get(a.URL + "/login"); got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("Cache-Control is %q", got.header.Get("Cache-Control"))
		}
	})
}

func TestPushedAuthorizationRequestFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   openid.Reason
		slow   bool
	}{
		"AR-14 500":              {answer: scriptedop.Status(http.StatusInternalServerError)},
		"AR-14 400":              {answer: scriptedop.JSON(http.StatusBadRequest, map[string]any{"error": "invalid_request"})},
		"AR-14 no request_uri":   {answer: scriptedop.JSON(http.StatusCreated, map[string]any{"expires_in": 60})},
		"AR-14 not JSON":         {answer: scriptedop.Body(http.StatusCreated, "application/json", "request_uri=urn:x")},
		"AR-14 a page":           {answer: scriptedop.Body(http.StatusCreated, "text/html", "<html>")},
		"AR-14 a number":         {answer: scriptedop.Body(http.StatusCreated, "application/json", `{"request_uri":1}`)},
		"AR-14 a broken line":    {answer: scriptedop.Reset},
		"AR-14 half an answer":   {answer: scriptedop.Cut},
		"DO-07 no end":           {answer: scriptedop.Endless},
		"DO-07 a bomb":           {answer: scriptedop.GzipBomb(64)},
		"AR-14 no answer at all": {answer: scriptedop.Hang, slow: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.slow && testing.Short() {
				t.Skip("waits for a time limit")
			}
			a := newApp(t, appOptions{config: func(c *settings) { c.PushedAuthorizationRequests = "always" }})
			a.op.Answer(scriptedop.PAR, tt.answer)
			b := a.person(t)
			got := b.get(a.URL + "/login?return_to=/orders")
			b.wantRefused(got, openid.ReasonProviderUnreachable, 0, 0)
			if got.location != "" || len(got.header["Set-Cookie"]) > 0 || got.header.Get("Return-To") != "/orders" {
				t.Errorf("redirected to %q with cookies %q and return path %q", got.location, got.header["Set-Cookie"], got.header.Get("Return-To"))
			}
			if n := a.op.Calls(scriptedop.PAR); n != 1 {
				t.Errorf("pushed %d times", n)
			}
		})
	}
}

package authn_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// TestForeignState sends callbacks that match no transaction in this browser.
func TestForeignState(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		state  func(own, other string) string
		reason openid.Reason
	}{
		"CB-01 none":                {func(string, string) string { return "" }, authn.ReasonTransactionMissing},
		"CB-01 short":               {func(string, string) string { return "x" }, authn.ReasonTransactionMissing},
		"CB-01 random":              {func(string, string) string { return strings.Repeat("x", 43) }, authn.ReasonTransactionMissing},
		"CB-01 another browser's":   {func(_, other string) string { return other }, authn.ReasonTransactionMissing},
		"CB-01 the beginning of it": {func(own, _ string) string { return own[:8] }, authn.ReasonTransactionMissing},
		"CB-01 one that shares the cookie's name": {
			func(own, _ string) string { return own[:8] + strings.Repeat("x", 35) }, authn.ReasonTransactionMissing,
		},
		"CB-01 in another case": {func(own, _ string) string { return own[:8] + swapCase(own[8:]) }, authn.ReasonTransactionMissing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			b := a.person(t)
			callback := b.authorize(b.begin(""))
			other := scriptedop.Query(t, a.person(t).begin("")).Get("state")
			got := b.get(change(t, callback, "state", tt.state(scriptedop.Query(t, callback).Get("state"), other)))
			b.wantRefused(got, tt.reason, 0, 0)
		})
	}
	t.Run("CB-01 an empty one beside the cookie of an empty name", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		b.wantRefused(b.get(a.URL+"/callback?state=&code=x"), authn.ReasonTransactionMissing, 0, 0)
	})
}

// lastBits changes the unused bits of a value's last character.
func lastBits(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(alphabet, s[len(s)-1])
	return s[:len(s)-1] + string(alphabet[i^1])
}

func swapCase(s string) string {
	if upper := strings.ToUpper(s); upper != s {
		return upper
	}
	return strings.ToLower(s)
}

func TestCallbackOfAnotherBrowser(t *testing.T) {
	t.Parallel()
	a := newApp(t, appOptions{})
	attackers := func(t *testing.T) string {
		attacker := a.person(t)
		return attacker.authorize(attacker.begin(""))
	}
	t.Run("CB-02 a browser that began nothing", func(t *testing.T) {
		b := a.person(t)
		b.wantRefused(b.get(attackers(t)), authn.ReasonTransactionMissing, 0, 0)
	})
	t.Run("CB-02 a browser that began its own", func(t *testing.T) {
		b := a.person(t)
		own := b.begin("")
		b.wantRefused(b.get(attackers(t)), authn.ReasonTransactionMissing, 0, 0)
		b.wantSignedIn(b.get(b.authorize(own)), "alice")
	})
	t.Run("CB-02 a browser that is signed in", func(t *testing.T) {
		a.op.SignInAs("victim")
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "victim")
		before := b.who()
		a.op.SignInAs("attacker")
		if got := b.get(attackers(t)); got.reason != authn.ReasonTransactionMissing {
			t.Errorf("reason is %q", got.reason)
		}
		if after := b.who(); after.SID != before.SID || after.Subject != "victim" {
			t.Errorf("%+v is signed in, before it was %+v", after, before)
		}
	})
}

func TestCallbackCountsOnce(t *testing.T) {
	t.Parallel()
	t.Run("CB-04 fifty at once", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		callback := b.authorize(b.begin(""))
		cookie := b.cookieHeader()
		var wg sync.WaitGroup
		var mu sync.Mutex
		answers := make(map[string]int)
		for range 50 {
			wg.Go(func() {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, callback, nil)
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Cookie", cookie)
				resp, err := a.Client().Transport.RoundTrip(r)
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
				mu.Lock()
				defer mu.Unlock()
				answers[resp.Status+" "+resp.Header.Get("Reason")]++
			})
		}
		wg.Wait()
		if answers["303 See Other "] != 1 || answers["400 Bad Request "+string(authn.ReasonTransactionUsed)] != 49 {
			t.Errorf("answered %v", answers)
		}
		b.wantCalls(1, 1)
	})
	t.Run("CB-04 again, with the cookie kept", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		callback := b.authorize(b.begin("return_to=/orders"))
		cookie := b.cookieHeader()
		if got := b.withCookies(cookie, callback); got.status != http.StatusSeeOther {
			t.Fatalf("refused: %s", got.text)
		}
		got := b.withCookies(cookie, callback)
		b.wantRefused(got, authn.ReasonTransactionUsed, 1, 1)
		if got.header.Get("Return-To") != "/orders" {
			t.Errorf("CB-21 the return path is %q", got.header.Get("Return-To"))
		}
	})
	t.Run("CB-04 again after a failure", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		a.op.Answer(scriptedop.Token, scriptedop.InTurn(scriptedop.Status(http.StatusBadGateway), a.op.Correct(scriptedop.Token)))
		b := a.person(t)
		callback := b.authorize(b.begin(""))
		cookie := b.cookieHeader()
		b.wantRefused(b.withCookies(cookie, callback), openid.ReasonProviderUnreachable, 1, 0)
		b.wantRefused(b.withCookies(cookie, callback), authn.ReasonTransactionUsed, 1, 0)
	})
	t.Run("CB-04 again, in the browser", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		callback := b.authorize(b.begin(""))
		b.wantSignedIn(b.get(callback), "alice")
		if got := b.get(callback); got.reason != authn.ReasonTransactionMissing {
			t.Errorf("reason is %q", got.reason)
		}
		b.wantCalls(1, 1)
		if who := b.who(); who.Subject != "alice" {
			t.Errorf("%q is signed in", who.Subject)
		}
	})
}

func TestTransactionExpires(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		age     time.Duration
		expired bool
	}{
		"CB-05 at 15 minutes":        {15 * time.Minute, false},
		"CB-05 a second later":       {15*time.Minute + time.Second, true},
		"CB-05 a month later":        {30 * 24 * time.Hour, true},
		"CB-05 the clock steps back": {-time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			b := a.person(t)
			request := b.begin("return_to=/orders")
			a.clock.Move(tt.age)
			got := b.get(b.authorize(request))
			if !tt.expired {
				b.wantSignedIn(got, "alice")
				return
			}
			b.wantRefused(got, authn.ReasonTransactionExpired, 0, 0)
			if got.header.Get("Return-To") != "/orders" {
				t.Errorf("CB-21 the return path is %q", got.header.Get("Return-To"))
			}
		})
	}
}

func TestTransactionCookieIsSealed(t *testing.T) {
	t.Parallel()
	a := newApp(t, appOptions{})
	signedIn := a.person(t)
	signedIn.wantSignedIn(signedIn.signIn(), "alice")
	_, session, _ := strings.Cut(signedIn.cookieHeader(), "=")

	b := a.person(t)
	callback := b.authorize(b.begin(""))
	name, value, _ := strings.Cut(b.cookieHeader(), "=")
	other := a.person(t)
	other.begin("")
	_, others, _ := strings.Cut(other.cookieHeader(), "=")
	strangers := newApp(t, appOptions{beside: a, config: func(c *settings) {
		var err error
		if c.Sessions.Keys, err = authn.NewKeys("another application secret, 32 bytes"); err != nil {
			t.Error(err)
		}
	}})

	refused := func(t *testing.T, b *person, callback, cookie string) {
		t.Helper()
		got := b.withCookies(cookie, callback)
		if got.reason != authn.ReasonTransactionMissing || a.op.Calls(scriptedop.Token) != 1 {
			t.Errorf("answered with %d %q, token endpoint called %d times", got.status, got.reason, a.op.Calls(scriptedop.Token))
		}
	}
	t.Run("CB-06 each byte flipped", func(t *testing.T) {
		for i := range value {
			for _, flipped := range []byte{value[i] ^ 1, 'A', '_'} {
				if flipped != value[i] && flipped != ';' && flipped != '"' && flipped != ',' && flipped != '\\' {
					refused(t, b, callback, name+"="+value[:i]+string(flipped)+value[i+1:])
				}
			}
		}
	})
	t.Run("CB-06 bits flipped that no byte takes up", func(t *testing.T) {
		for _, path := range []string{"/", "/a", "/ab"} { // one of these lengths leaves unused bits
			b := a.person(t)
			callback := b.authorize(b.begin("return_to=" + path))
			refused(t, b, callback, lastBits(b.cookieHeader()))
		}
	})
	t.Run("CB-06 cut short", func(t *testing.T) {
		for _, n := range []int{0, 1, 16, len(value) / 2, len(value) - 1} {
			refused(t, b, callback, name+"="+value[:n])
		}
	})
	t.Run("CB-06 another transaction's value", func(t *testing.T) { refused(t, b, callback, name+"="+others) })
	t.Run("CB-06 a session's value", func(t *testing.T) { refused(t, b, callback, name+"="+session) })
	t.Run("CB-06 twice", func(t *testing.T) { refused(t, b, callback, name+"="+value+"; "+name+"="+value) })
	t.Run("CB-06 sealed by another key", func(t *testing.T) {
		refused(t, strangers.person(t), strings.Replace(callback, a.URL, strangers.URL, 1), name+"="+value)
	})
	t.Run("CB-06 as a session", func(t *testing.T) {
		if got := b.withCookies("session"+name[len("txn_12345678"):]+"="+value, a.URL+"/me"); got.status != http.StatusBadRequest {
			t.Errorf("answered %d %s", got.status, got.text)
		}
	})
	t.Run("CB-06 as it was", func(t *testing.T) { b.wantSignedIn(b.get(callback), "alice") })
}

// TestConfigurationChanges completes sign-ins at a relying party that has the same keys as
// the one where they began, but another configuration, as after a restart.
func TestConfigurationChanges(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		config   func(*settings)
		accepted bool
	}{
		"CB-22 nothing":        {func(*settings) {}, true},
		"CB-22 the scopes":     {func(c *settings) { c.Scopes = []string{"openid"} }, true},
		"CB-22 the client":     {func(c *settings) { c.ClientID = "another" }, false},
		"CB-22 the issuer":     {func(c *settings) { c.Issuer += "/" }, false},
		"CB-22 the redirect":   {func(c *settings) { c.RedirectURL += "/new" }, false},
		"CB-22 where they end": {func(c *settings) { c.Issuer, c.ClientID = c.Issuer+"c", "lient" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{op: scriptedop.Config{Path: "/t"}})
			after := newApp(t, appOptions{beside: a, config: func(c *settings) {
				c.RedirectURL = a.URL + "/callback"
				tt.config(c)
			}})
			b := a.person(t)
			callback := strings.Replace(b.authorize(b.begin("return_to=/orders")), a.URL, after.URL, 1)
			b.app = after
			got := b.get(callback)
			if tt.accepted {
				b.wantSignedIn(got, "alice")
				return
			}
			b.wantRefused(got, authn.ReasonConfigurationChanged, 0, 0)
			if got.header.Get("Return-To") != "/orders" {
				t.Errorf("the return path is %q", got.header.Get("Return-To"))
			}
		})
	}
}

func FuzzTransactionCookie(f *testing.F) {
	a := readyApp(f)
	state := strings.Repeat("s", 43)
	w := httptest.NewRecorder()
	request, err := a.rp.Begin(w, httptest.NewRequest(http.MethodGet, "/", nil), authn.SignInRequest{ReturnTo: localPath(f, "/orders")})
	if err != nil {
		f.Fatal(err)
	}
	value := w.Result().Cookies()[0].Value
	plain, err := a.rp.OpenTransaction(scriptedop.Query(f, request).Get("state"), value)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value, plain)
	f.Add(value[:20], plain[:20])
	f.Add("", []byte{})
	f.Add("!", []byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add(strings.Repeat("A", 40), []byte{2})
	f.Fuzz(func(t *testing.T, value string, plain []byte) {
		sealed, err := a.rp.SealTransaction(state, plain)
		if err != nil {
			t.Fatal(err)
		}
		// A transaction that opens is encoded again as it was.
		if again, err := a.rp.OpenTransaction(state, sealed.Value); err == nil && len(again) > len(plain) {
			t.Fatalf("%x reads as %x", plain, again)
		}
		for _, cookie := range []*http.Cookie{sealed, {Name: sealed.Name, Value: value}} {
			r := httptest.NewRequest(http.MethodGet, "/callback", nil)
			r.AddCookie(cookie)
			before := a.op.Calls(scriptedop.Token)
			_, err = a.rp.Complete(httptest.NewRecorder(), r, url.Values{"state": {state}, "code": {"c"}, "iss": {a.op.Issuer}})
			if openid.ReasonOf(err) == "" {
				t.Fatalf("%q: %v", cookie, err)
			}
			if cookie != sealed && a.op.Calls(scriptedop.Token) != before {
				t.Fatalf("%q: the code was sent", cookie)
			}
		}
	})
}

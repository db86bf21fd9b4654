package routes_test

import (
	"crypto"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestCallbackOnce (CB-04) sends one authorization response fifty times at once.
func TestCallbackOnce(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	v := s.Visitor()
	address := v.AuthorizationResponse("/profile")
	// The provider answers once the other forty-nine have been answered.
	release := make(chan struct{})
	s.OP.Answer(scriptedop.Token, scriptedop.After(release, s.OP.Correct(scriptedop.Token)))
	answers := make(chan apptest.Answer, 50)
	cookies := v.CookieHeader()
	for range 50 {
		go func() {
			bare := s.Visitor() // it sends the transaction's cookie, and stores none
			answers <- bare.Direct(bare.Request(http.MethodGet, address, nil, "Cookie", cookies))
		}()
	}
	for range 49 {
		got := <-answers
		// The app starts a lost sign-in again once, and then shows a page.
		if got.StatusCode != http.StatusBadRequest && got.Header.Get("Location") != "/login?again=1&return_to=%2Fprofile" {
			t.Errorf("a repeated response is answered with %d to %q", got.StatusCode, got.Header.Get("Location"))
		}
		s.WantNoSecrets(got)
		for _, cookie := range got.Cookies() {
			if cookie.Name == s.CookieName("session") && cookie.Value != "" {
				t.Error("a repeated response sets a session cookie")
			}
		}
	}
	close(release)
	if got := <-answers; got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/profile" {
		t.Errorf("the first is answered with %d to %q", got.StatusCode, got.Header.Get("Location"))
	}
	s.WantCalls(1, 1)
	if n := len(s.Logged("signed in", "")); n != 1 {
		t.Errorf("%d sign-ins are logged", n)
	}
}

// TestCallbackAfterFailure (CB-04, CB-21) replays a failed response, and then tries again.
func TestCallbackAfterFailure(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	s.OP.Answer(scriptedop.Token, scriptedop.InTurn(scriptedop.Status(http.StatusBadGateway), s.OP.Correct(scriptedop.Token)))
	v := s.Visitor()
	address := v.AuthorizationResponse("/profile")
	failed := v.Callback(address)
	s.WantRefused(v, failed, http.StatusServiceUnavailable, openid.ReasonProviderUnreachable, 1, 0)
	again := v.Callback(address)
	if again.Header.Get("Location") != "/login?again=1&return_to=%2Fprofile" || v.SignedIn() {
		t.Errorf("replayed, it leads to %q", again.Header.Get("Location"))
	}
	s.WantCalls(1, 0)
	if end := v.Get(apptest.Link(t, failed, "Try again")); end.StatusCode != http.StatusOK || end.Request.URL.Path != "/profile" {
		t.Errorf("CB-21: trying again ends at %s with %d", end.Request.URL.Path, end.StatusCode)
	}
}

// TestStaleCallback (CB-05, CB-21) sends an authorization response too late, while its
// cookie is still there.
func TestStaleCallback(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		age   time.Duration
		stale bool
	}{
		"CB-05 at 15 minutes":  {15 * time.Minute, false},
		"CB-05 a second later": {15*time.Minute + time.Second, true},
		"CB-05 a month later":  {30 * 24 * time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, clock := apptest.Assemble(t)
			v := s.Visitor()
			address := v.AuthorizationResponse("/profile")
			clock.Move(tt.age)
			got := v.Callback(address)
			if !tt.stale {
				s.WantSignedIn(v, got, "alice", "/profile")
				return
			}
			s.WantNoSession(v, got)
			s.WantCalls(0, 0)
			if lines := s.Logged("sign-in started again", got.Header.Get("X-Request-Id")); len(lines) != 1 || lines[0]["reason"] != string(authn.ReasonTransactionExpired) {
				t.Errorf("the log says %v", lines)
			}
			if end := v.Get(got.Header.Get("Location")); end.Request.URL.Path != "/profile" || end.StatusCode != http.StatusOK {
				t.Errorf("CB-21: the restart ends at %s with %d", end.Request.URL.Path, end.StatusCode)
			}
		})
	}
	t.Run("CB-05 the second time in two minutes there is a page", func(t *testing.T) {
		t.Parallel()
		s, clock := apptest.Assemble(t)
		v := s.Visitor()
		v.Callback("/callback?code=x&state=" + strings.Repeat("x", 43)) // that one is started again
		address := v.AuthorizationResponse("/profile")
		clock.Move(16 * time.Minute)
		got := v.Callback(address)
		s.WantRefused(v, got, http.StatusBadRequest, authn.ReasonTransactionExpired, 0, 0)
		if end := v.Get(apptest.Link(t, got, "Try again")); end.Request.URL.Path != "/profile" || end.StatusCode != http.StatusOK {
			t.Errorf("CB-21: trying again ends at %s with %d", end.Request.URL.Path, end.StatusCode)
		}
	})
	t.Run("CB-21 a person who is signed in continues", func(t *testing.T) {
		t.Parallel()
		s, clock := apptest.Assemble(t)
		v := s.Visitor()
		late, used := v.AuthorizationResponse("/profile"), v.AuthorizationResponse("/dashboard?used=1")
		s.WantSignedIn(v, v.Callback(used), "alice", "/dashboard?used=1")
		clock.Move(16 * time.Minute)
		for address, want := range map[string]string{late: "/profile", used: "/dashboard?used=1", "/callback?code=x&state=" + strings.Repeat("x", 43): "/dashboard"} {
			if got := v.Callback(address); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != want {
				t.Errorf("answered %d to %q, want %s", got.StatusCode, got.Header.Get("Location"), want)
			}
		}
		s.WantCalls(1, 1)
	})
}

// TestCallbackMethods (CB-12, CB-10) sends the response by every method that is not
// configured, and then by the one that is.
func TestCallbackMethods(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	v := s.Visitor()
	address := v.AuthorizationResponse("/profile")
	for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, http.MethodTrace} {
		if got := v.Direct(v.Request(method, address, nil)); got.StatusCode != http.StatusMethodNotAllowed || len(got.Cookies()) > 0 {
			t.Errorf("CB-12: %s is answered with %d and cookies %v", method, got.StatusCode, got.Cookies())
		}
	}
	if got := v.Post("/callback", apptest.Query(t, address)); got.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("CB-12: the response in a form is answered with %d", got.StatusCode)
	}
	s.WantCalls(0, 0)
	s.WantSignedIn(v, v.Callback(address), "alice", "/profile")
}

// TestCallbackAnswers (CB-19, CB-20) checks that no answer of a callback, good or bad,
// shows the code to a third party.
func TestCallbackAnswers(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	v := s.Visitor()
	good := v.Callback(v.AuthorizationResponse("/profile?q=a%20b"))
	if good.StatusCode != http.StatusSeeOther || good.Header.Get("Location") != "/profile?q=a%20b" || good.Body != "" {
		t.Errorf("CB-20: answered %d to %q with %q", good.StatusCode, good.Header.Get("Location"), good.Body)
	}
	apptest.CheckHeaders(t, "CB-19: the redirect", good)
	s.WantNoSecrets(good)

	other := s.Visitor()
	bad := other.Callback(apptest.WithQuery(t, other.AuthorizationResponse("/profile"), func(v url.Values) { v.Set("code", "bad") }))
	s.WantRefused(other, bad, http.StatusBadGateway, openid.ReasonTokenRequestFailed, 2, 1)
	apptest.CheckHeaders(t, "CB-19: the refusal", bad)
	for n := range apptest.Parse(t, bad.Body).Descendants() {
		for _, name := range []string{"src", "href", "action", "formaction", "srcset", "data", "poster", "content"} {
			address := apptest.Attribute(n, name)
			if u, err := url.Parse(address); err == nil && (u.Host != "" || slices.Contains([]string{"javascript", "data"}, u.Scheme)) {
				t.Errorf("CB-19: the page has %s %s=%q", n.Data, name, address)
			}
		}
		if n.Data == "script" && apptest.Attribute(n, "src") == "" {
			t.Error("CB-19: the page has a script of its own")
		}
	}
}

// TestProviderChangesMeanwhile (CB-22) restarts the app with another provider, the same key
// and the same store, in the middle of a sign-in.
func TestProviderChangesMeanwhile(t *testing.T) {
	t.Parallel()
	for name, same := range map[string]bool{"CB-22 the same provider": true, "CB-22 another provider": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := apptest.StartScripted(t)
			v := before.Visitor()
			address := v.AuthorizationResponse("/profile")
			if err := before.Stop(); err != nil {
				t.Fatal(err)
			}
			op := before.OP
			if !same {
				op = scriptedop.New(t, scriptedop.Config{Path: "/tenant/", Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}})
			}
			base, err := url.Parse(before.URL)
			if err != nil {
				t.Fatal(err)
			}
			after := apptest.StartBeside(t, op, "PORT="+base.Port(), "DATA_DIR="+before.DataDir)
			v.App = after.App
			got := v.Callback(address)
			if same {
				after.WantSignedIn(v, got, "alice", "/profile")
				return
			}
			after.WantNoSession(v, got)
			after.WantCalls(0, 0)
			if n := before.OP.Calls(scriptedop.Token); n > 0 {
				t.Errorf("the code was redeemed %d times", n)
			}
			if lines := after.Logged("sign-in started again", ""); len(lines) != 1 || lines[0]["reason"] != string(authn.ReasonConfigurationChanged) {
				t.Errorf("the log says %v", lines)
			}
			if end := v.Get(got.Header.Get("Location")); end.Request.URL.Path != "/profile" || end.StatusCode != http.StatusOK {
				t.Errorf("the restart ends at %s with %d", end.Request.URL.Path, end.StatusCode)
			}
		})
	}
}

// TestCallbackHeals (CB-21, CB-04) opens a callback that is used, lost or made up, both
// signed in and not.
func TestCallbackHeals(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)

	// The authorization response of a sign-in, as the browser gets it.
	response := func(v *apptest.Visitor) string {
		page := v.Get("/profile")
		return v.Direct(v.Submission(page, "person-"+apptest.Ada)).Header.Get("Location")
	}

	t.Run("used, and signed in", func(t *testing.T) {
		v := a.Visitor()
		callback := response(v)
		if end := v.Get(callback); end.Request.URL.Path != "/profile" {
			t.Fatalf("the sign-in ends at %s", end.Request.URL)
		}
		if again := v.Direct(v.Request(http.MethodGet, callback, nil)); again.Header.Get("Location") != "/profile" {
			t.Errorf("the callback answers %d and leads to %q", again.StatusCode, again.Header.Get("Location"))
		}
	})
	t.Run("of another browser", func(t *testing.T) {
		mine, other := a.Visitor(), a.Visitor()
		callback := response(other)
		restarted := mine.Direct(mine.Request(http.MethodGet, callback, nil))
		if restarted.StatusCode != http.StatusSeeOther || restarted.Header.Get("Location") != "/login?again=1&return_to=%2Fprofile" {
			t.Fatalf("CB-02: it answers %d and leads to %q", restarted.StatusCode, restarted.Header.Get("Location"))
		}
		if mine.SignedIn() {
			t.Fatal("CB-02: the response of another browser signs in")
		}
		if begun := mine.Direct(mine.Request(http.MethodGet, restarted.Header.Get("Location"), nil)); !strings.HasPrefix(begun.Header.Get("Location"), a.Issuer) {
			t.Errorf("the restart leads to %q", begun.Header.Get("Location"))
		}
		again := mine.Direct(mine.Request(http.MethodGet, callback, nil))
		if again.StatusCode != http.StatusBadRequest || !strings.Contains(again.Body, `href="/login?return_to=%2Fprofile"`) {
			t.Errorf("the loop is not broken: %d", again.StatusCode)
		}
		if end := other.Get(callback); end.Request.URL.Path != "/profile" {
			t.Errorf("CB-08: its own browser ends at %s with %d", end.Request.URL, end.StatusCode)
		}
	})
	t.Run("a browser that blocks cookies", func(t *testing.T) {
		callback, bare := response(a.Visitor()), a.Visitor()
		bare.Client.Jar = nil
		bare.Client.CheckRedirect = nil // it follows up to ten redirects
		if end := bare.Get(callback); end.StatusCode != http.StatusBadRequest || !strings.Contains(end.Body, "<h1>Cookies are blocked</h1>") {
			t.Errorf("it ends at %s with %d", end.Request.URL.Path, end.StatusCode)
		}
	})
	t.Run("a refusal of another browser", func(t *testing.T) {
		v := a.Visitor()
		refused := v.Direct(v.Request(http.MethodGet, "/callback?error=access_denied&state="+strings.Repeat("x", 43), nil))
		if refused.StatusCode != http.StatusBadRequest || strings.Contains(refused.Body, "cancelled") {
			t.Errorf("CB-08: it answers %d", refused.StatusCode)
		}
	})
	t.Run("fifty at once", func(t *testing.T) {
		v, before := a.Visitor(), a.Log.Count(`"msg":"signed in"`)
		callback := response(v)
		answers := make(chan apptest.Answer, 50)
		for range 50 {
			go func() { answers <- v.Direct(v.Request(http.MethodGet, callback, nil)) }()
		}
		for range 50 {
			if got := <-answers; got.StatusCode >= 500 {
				t.Errorf("CB-04: one is answered with %d", got.StatusCode)
			}
		}
		if !v.SignedIn() {
			t.Error("CB-04: none of them signs in")
		}
		if got := a.Log.Count(`"msg":"signed in"`) - before; got != 1 {
			t.Errorf("CB-04: %d sign-ins are logged", got)
		}
	})
}

// TestUnknownStateStartsNothing (CB-01, CB-21) sends a response whose state is not that of the
// sign-in under way. Without a sign-in under way, the same response is healed.
func TestUnknownStateStartsNothing(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(state, other string) string{
		"none":                                   func(string, string) string { return "" },
		"a longer one":                           func(state, _ string) string { return state + "AAAA" },
		"a made-up one":                          func(string, string) string { return strings.Repeat("x", 43) },
		"one that shares the cookie's name":      func(state, _ string) string { return state[:8] + strings.Repeat("x", 35) },
		"that of a sign-in in another browser":   func(_, other string) string { return other },
		"that of another browser, cut too short": func(_, other string) string { return other[:43] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apptest.StartScripted(t, "PUSHED_AUTHORIZATION_REQUESTS=always")
			v, stranger := s.Visitor(), s.Visitor()
			address := v.AuthorizationResponse("/profile")
			other := apptest.Query(t, s.Visitor().AuthorizationResponse("/profile")).Get("state")
			spoilt := apptest.WithQuery(t, address, func(q url.Values) { q.Set("state", spoil(q.Get("state"), other)) })
			pushed := s.OP.Calls(scriptedop.PAR)
			got := v.Get(spoilt) // follows all redirects
			s.WantRefused(v, got, http.StatusBadRequest, authn.ReasonTransactionMissing, 0, 0)
			if n := s.OP.Calls(scriptedop.PAR) - pushed; n > 0 {
				t.Errorf("%d sign-ins are started", n)
			}
			if got := stranger.Callback(spoilt); !strings.HasPrefix(got.Header.Get("Location"), "/login?again=1") {
				t.Errorf("a browser without a sign-in under way is answered %d to %q", got.StatusCode, got.Header.Get("Location"))
			}
		})
	}
	t.Run("the sign-in under way can be finished", func(t *testing.T) {
		t.Parallel()
		s := apptest.StartScripted(t)
		v := s.Visitor()
		address := v.AuthorizationResponse("/profile")
		v.Callback("/callback?code=x&state=" + strings.Repeat("x", 43))
		s.WantSignedIn(v, v.Callback(address), "alice", "/profile")
	})
	t.Run("one that has expired counts no more", func(t *testing.T) {
		t.Parallel()
		s, clock := apptest.Assemble(t)
		v := s.Visitor()
		v.AuthorizationResponse("/profile")
		clock.Move(16 * time.Minute)
		if got := v.Callback("/callback?code=x&state=" + strings.Repeat("x", 43)); !strings.HasPrefix(got.Header.Get("Location"), "/login?again=1") {
			t.Errorf("answered %d to %q", got.StatusCode, got.Header.Get("Location"))
		}
	})
}

// TestProfileNeverStartsAgain (CF-16) sends a response with an unknown state, or of another issuer, to an
// app that follows FAPI 2.0, in a browser without a sign-in under way. The cases of TestCallbackHeals are
// the control.
func TestProfileNeverStartsAgain(t *testing.T) {
	t.Parallel()
	key, certificate := scriptedop.NewKey("client-key", "ES256"), scriptedop.NewCertificate("client")
	s, _ := apptest.AssembleWith(t, func(settings *apptest.Settings) {
		c := &settings.OpenID
		c.Profile, c.PushedAuthorizationRequests, c.RootCAs = openid.ProfileFAPI2, "always", scriptedop.Roots()
		c.ClientAuth, c.SigningKey, c.SigningKeyID = openid.PrivateKeyJWT, key.Private.(crypto.Signer), key.ID
		c.ClientCertificate = func() (*tls.Certificate, error) { return certificate, nil }
	})
	s.OP.SetClientKey(key)
	s.OP.StartMTLS(t, nil)
	v := s.Visitor()
	address := v.AuthorizationResponse("/profile")
	stranger := s.Visitor()
	s.WantRefused(stranger, stranger.Get(address), http.StatusBadRequest, authn.ReasonTransactionMissing, 0, 0)
	s.WantRefused(stranger, stranger.Get("/callback?code=x&state="+strings.Repeat("x", 43)), http.StatusBadRequest, authn.ReasonTransactionMissing, 0, 0)
	other := s.Visitor()
	mixedUp := apptest.WithQuery(t, other.AuthorizationResponse("/profile"), func(q url.Values) { q.Set("iss", "https://id.example.com") })
	s.WantRefused(other, other.Get(mixedUp), http.StatusBadGateway, openid.ReasonIssuerMismatch, 0, 0)
	if n := s.OP.Calls(scriptedop.PAR); n != 2 {
		t.Errorf("%d requests are pushed, want 2", n)
	}
	s.WantSignedIn(v, v.Callback(address), "alice", "/profile")
}

// TestProviderErrorIsNotQuoted (CB-09) sends error texts that attack a browser, a terminal
// or a log. No page quotes them, and the log has them cut and escaped.
func TestProviderErrorIsNotQuoted(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ code, description, uri string }{
		"CB-09 a code that we know":    {"access_denied", "", ""},
		"CB-09 a script":               {"<script>MARK</script>", "<script>MARK</script>", "https://MARK.example"},
		"CB-09 a javascript: URL":      {"access_denied", "", "javascript:MARK"},
		"CB-09 7 KiB of description":   {"access_denied", strings.Repeat("MARK", 7<<8), ""},
		"CB-09 7 KiB of code":          {strings.Repeat("MARK", 7<<8), "", ""},
		"CB-09 line breaks":            {"MARK\r\n{\"msg\":\"signed in\"}", "\r\nSet-Cookie: MARK=1", ""},
		"CB-09 right-to-left marks":    {"MARK\u202e", "\u2066MARK\u2069", ""},
		"CB-09 colours for a terminal": {"MARK\x1b[31m", "\x1b]0;MARK\x07", ""},
		"CB-09 an attribute":           {`" onmouseover="MARK`, `'><img src=x onerror=MARK>`, ""},
		"CB-09 a template":             {"{{MARK}}", "${MARK}", ""},
		"CB-09 NUL and invalid UTF-8":  {"MARK\x00", "\xff\xfeMARK", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apptest.StartScripted(t)
			s.OP.Edit(scriptedop.Authorize, func(response map[string]any) {
				delete(response, "code")
				response["error"], response["error_description"], response["error_uri"] = tt.code, tt.description, tt.uri
			})
			v := s.Visitor()
			got := v.Callback(v.AuthorizationResponse("/profile"))
			s.WantRefused(v, got, http.StatusForbidden, openid.ReasonDeclined, 0, 0)
			said := got.Body + fmt.Sprint(got.Header)
			if strings.Contains(said, "MARK") || strings.Contains(said, "javascript:") {
				t.Errorf("the provider's text is quoted:\n%.600s", said)
			}
			logged := s.Log.String()
			if strings.ContainsAny(said+logged, "\x1b\x00\u202e\u2066") || strings.Count(logged, "MARK") > 160 {
				t.Errorf("the log is not escaped, or too long:\n%.1200s", logged)
			}
			if lines := s.Logged("signed in", ""); len(lines) > 0 {
				t.Errorf("the log says %v", lines)
			}
		})
	}
	t.Run("CB-09 64 KiB of description are too much", func(t *testing.T) {
		t.Parallel()
		s := apptest.StartScripted(t)
		v := s.Visitor()
		got := v.Callback("/callback?state=" + strings.Repeat("x", 43) + "&error=access_denied&error_description=" + strings.Repeat("MARK", 16<<10))
		if got.StatusCode != http.StatusRequestHeaderFieldsTooLarge || strings.Contains(got.Body+s.Log.String(), "MARK") {
			t.Errorf("answered %d %.100s", got.StatusCode, got.Body)
		}
	})
}

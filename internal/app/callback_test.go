package app_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestCallbackOnce (CB-04) brings one authorization response fifty times at once.
func TestCallbackOnce(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	v := s.Visitor()
	address := v.AuthorizationResponse("/profile")
	// The provider answers when the other forty-nine have been answered.
	release := make(chan struct{})
	s.OP.Answer(scriptedop.Token, scriptedop.After(release, s.OP.Correct(scriptedop.Token)))
	answers := make(chan apptest.Answer, 50)
	cookies := v.CookieHeader()
	for range 50 {
		go func() {
			bare := s.Visitor() // it has the transaction's cookie, and keeps none
			answers <- bare.Direct(bare.Request(http.MethodGet, address, nil, "Cookie", cookies))
		}()
	}
	for range 49 {
		got := <-answers
		// The first that is lost in a browser is started again; there is a page for the next.
		if got.StatusCode != http.StatusBadRequest && got.Header.Get("Location") != "/login?again=1&return_to=%2Fprofile" {
			t.Errorf("a repeated one is answered with %d to %q", got.StatusCode, got.Header.Get("Location"))
		}
		s.WantNoSecrets(got)
		for _, cookie := range got.Cookies() {
			if cookie.Name == "session" && cookie.Value != "" {
				t.Error("a repeated one sets a session cookie")
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

// TestCallbackAfterFailure (CB-04, CB-21) replays what failed, and then tries again.
func TestCallbackAfterFailure(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	s.OP.Answer(scriptedop.Token, scriptedop.InTurn(scriptedop.Status(http.StatusBadGateway), s.OP.Correct(scriptedop.Token)))
	v := s.Visitor()
	address := v.AuthorizationResponse("/profile")
	failed := v.Callback(address)
	s.WantRefused(v, failed, http.StatusServiceUnavailable, authn.ReasonProviderUnreachable, 1, 0)
	again := v.Callback(address)
	if again.Header.Get("Location") != "/login?again=1&return_to=%2Fdashboard" || v.SignedIn() {
		t.Errorf("replayed, it leads to %q", again.Header.Get("Location"))
	}
	s.WantCalls(1, 0)
	if end := v.Get(retryLink(t, failed)); end.StatusCode != http.StatusOK || end.Request.URL.Path != "/profile" {
		t.Errorf("CB-21: trying again ends at %s with %d", end.Request.URL.Path, end.StatusCode)
	}
}

// retryLink is where "Try again" on a page leads.
func retryLink(t *testing.T, page apptest.Answer) string {
	t.Helper()
	link := apptest.Find(apptest.Parse(t, page.Body), func(n *apptest.Node) bool { return n.Data == "a" && apptest.Text(n) == "Try again" })
	if link == nil {
		t.Fatalf("the page has no way on:\n%s", page.Body)
	}
	return apptest.Attribute(link, "href")
}

// TestStaleCallback (CB-05, CB-21) brings an authorization response too late, with its
// cookie still there.
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
		if end := v.Get(retryLink(t, got)); end.Request.URL.Path != "/profile" || end.StatusCode != http.StatusOK {
			t.Errorf("CB-21: trying again ends at %s with %d", end.Request.URL.Path, end.StatusCode)
		}
	})
	t.Run("CB-21 somebody who is signed in goes on", func(t *testing.T) {
		t.Parallel()
		s, clock := apptest.Assemble(t)
		v := s.Visitor()
		late, used := v.AuthorizationResponse("/profile"), v.AuthorizationResponse("/dashboard?used=1")
		s.WantSignedIn(v, v.Callback(used), "alice", "/dashboard?used=1")
		clock.Move(16 * time.Minute)
		for address, want := range map[string]string{late: "/profile", used: "/dashboard", "/callback?code=x&state=" + strings.Repeat("x", 43): "/dashboard"} {
			if got := v.Callback(address); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != want {
				t.Errorf("answered %d to %q, want %s", got.StatusCode, got.Header.Get("Location"), want)
			}
		}
		s.WantCalls(1, 1)
	})
}

// TestCallbackMethods (CB-12, CB-10) sends everything but what is configured, and then
// that.
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

// TestCallbackAnswers (CB-19, CB-20) looks at what a callback answers, good or bad:
// nothing that a third party could see the code by.
func TestCallbackAnswers(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	v := s.Visitor()
	good := v.Callback(v.AuthorizationResponse("/profile?q=a%20b"))
	if good.StatusCode != http.StatusSeeOther || good.Header.Get("Location") != "/profile?q=a%20b" || good.Body != "" {
		t.Errorf("CB-20: answered %d to %q with %q", good.StatusCode, good.Header.Get("Location"), good.Body)
	}
	apptest.CheckHeaders(t, "CB-19: the way on", good)
	s.WantNoSecrets(good)

	other := s.Visitor()
	bad := other.Callback(apptest.WithQuery(t, other.AuthorizationResponse("/profile"), func(v url.Values) { v.Set("code", "bad") }))
	s.WantRefused(other, bad, http.StatusBadGateway, authn.ReasonTokenRequestFailed, 2, 1)
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

// TestProviderChangesMeanwhile (CB-22) restarts the app with another provider, the same
// key and the same store, between the two halves of a sign-in.
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

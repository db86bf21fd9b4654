package session

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestUserInfoRequest (UI-03) checks the userinfo request at the sign-in and after a
// refresh.
func TestUserInfoRequest(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	var access atomic.Value
	s.OP.Edit(scriptedop.Token, func(response map[string]any) {
		access.Store(response["access_token"])
		delete(response, "expires_in") // so that the refresh fetches a new one
	})
	v := s.Visitor()
	check := func(when string) {
		t.Helper()
		last := s.OP.Last(scriptedop.UserInfo)
		if last.Header.Get("Authorization") != "Bearer "+access.Load().(string) || len(last.Query)+len(last.Form) > 0 || last.Header.Get("Cookie") != "" {
			t.Errorf("UI-03: %s the request has Authorization %q, query %v, form %v", when, last.Header.Get("Authorization"), last.Query, last.Form)
		}
	}
	s.SignIn(v)
	check("at the sign-in")
	first := access.Load()
	if got := v.RefreshProfile(); got.StatusCode != http.StatusOK {
		t.Fatalf("refreshing answers %d", got.StatusCode)
	}
	check("later")
	if access.Load() == first {
		t.Error("UI-03: the access token is the old one")
	}
}

// TestUserInfoUnauthorized (UI-06) uses a provider that accepts no access token. Each press
// of Refresh makes one token refresh and one more attempt, and never loops.
func TestUserInfoUnauthorized(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	v := s.Visitor()
	s.SignIn(v)
	s.WantCalls(1, 1)
	s.OP.Answer(scriptedop.UserInfo, scriptedop.Status(http.StatusUnauthorized))
	got := v.RefreshProfile()
	if got.StatusCode != http.StatusBadGateway || !strings.Contains(got.Body, `role="alert"`) {
		t.Errorf("UI-06: answered %d %s", got.StatusCode, got.Body)
	}
	s.WantCalls(2, 3)
	if !v.SignedIn() {
		t.Error("UI-06: the person is signed out")
	}
	s.OP.Answer(scriptedop.UserInfo, nil)
	s.OP.RevokeAccessTokens()
	if got := v.RefreshProfile(); got.StatusCode != http.StatusOK {
		t.Errorf("UI-06: with a provider that accepts the new token, answered with %d", got.StatusCode)
	}
	s.WantCalls(3, 5)
}

// TestManyRefreshes (UI-07) presses Refresh two hundred times, forty at once.
func TestManyRefreshes(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t)
	v := s.Visitor()
	s.SignIn(v)
	s.OP.SignInAs("mallory") // the person at the provider now is not the one who signed in
	var answers [200]apptest.Answer
	for wave := range 5 { // requests of one wave share an answer
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() { answers[40*wave+i] = v.RefreshProfile() })
		}
		wg.Wait()
	}
	refreshed := 0
	for _, got := range answers {
		switch {
		case got.StatusCode == http.StatusOK && strings.Contains(got.Body, "Alice Example"):
			refreshed++
		case got.StatusCode == http.StatusTooManyRequests && got.Header.Get("Retry-After") != "":
		default:
			t.Errorf("UI-07: a refresh is answered with %d %s", got.StatusCode, got.Body)
		}
	}
	if n := s.OP.Calls(scriptedop.UserInfo); n < 2 || n > 4 || refreshed < 1 {
		t.Errorf("UI-07: userinfo was called %d times within a minute, and %d refreshes succeeded", n, refreshed)
	}
	clock.Move(time.Minute)
	if got := v.RefreshProfile(); got.StatusCode != http.StatusOK || !strings.Contains(got.Body, "Alice Example") {
		t.Errorf("UI-07: a minute later: %d %s", got.StatusCode, got.Body)
	}
}

// TestUserInfoFailureIsNotQuoted (UI-08) answers with text that nobody should see, at the
// sign-in and at a refresh.
func TestUserInfoFailureIsNotQuoted(t *testing.T) {
	t.Parallel()
	followed := new(atomic.Int32)
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	t.Cleanup(evil.Close)
	for name, response := range map[string]http.HandlerFunc{
		"UI-08 403":                scriptedop.Body(403, "text/plain", "SECRETBODY"),
		"UI-08 500":                scriptedop.Body(500, "application/json", `{"sub":"alice","name":"SECRETBODY"}`),
		"UI-08 a page":             scriptedop.Body(200, "text/html", "<p>SECRETBODY"),
		"UI-08 half a document":    scriptedop.Body(200, "application/json", `{"sub":"alice","name":"SECRETBODY`),
		"UI-08 a redirect":         scriptedop.Redirect(307, evil.URL+"/SECRETBODY"),
		"UI-08 slightly too large": scriptedop.Body(200, "application/json", `{"sub":"alice","name":"`+strings.Repeat("SECRETBODY", 26<<10)+`"}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apptest.StartScripted(t)
			s.OP.Answer(scriptedop.UserInfo, response)
			v := s.Visitor()
			dashboard := s.SignIn(v)
			refreshed := v.RefreshProfile()
			if refreshed.StatusCode < 500 || !strings.Contains(refreshed.Body, `role="alert"`) {
				t.Errorf("answered %d %s", refreshed.StatusCode, refreshed.Body)
			}
			if strings.Contains(dashboard.Body+refreshed.Body+s.Log.String(), "SECRETBODY") {
				t.Errorf("the response is quoted:\n%s\n%s", refreshed.Body, s.Log)
			}
			if n := followed.Load(); n > 0 {
				t.Errorf("UI-08: %d redirects were followed", n)
			}
			if lines := s.Logged("signed in without userinfo", ""); len(lines) != 1 || lines[0]["reason"] != string(openid.ReasonUserInfoFailed) {
				t.Errorf("UI-05: the log says %v", lines)
			}
			s.OP.Answer(scriptedop.UserInfo, nil)
			if got := v.RefreshProfile(); got.StatusCode != http.StatusOK || !strings.Contains(got.Body, "alice@example.com") {
				t.Errorf("once it answers correctly: %d %s", got.StatusCode, got.Body)
			}
		})
	}
}

// TestWhoIsWho (ID-15) has two people with the same e-mail address, and one whose address
// changes.
func TestWhoIsWho(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	s.OP.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims["email"] = "shared@example.com" })
	alice, bob := s.Visitor(), s.Visitor()
	s.SignIn(alice)
	s.OP.SignInAs("bob")
	s.SignIn(bob)
	for v, want := range map[*apptest.Visitor][2]string{alice: {"Alice Example", "Bob Example"}, bob: {"Bob Example", "Alice Example"}} {
		page := v.Get("/dashboard")
		if !strings.Contains(page.Body, want[0]) || strings.Contains(page.Body, want[1]) || !strings.Contains(page.Body, "shared@example.com") {
			t.Errorf("ID-15: the dashboard of %s is\n%s", want[0], page.Body)
		}
	}
	s.OP.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims["email"] = "new@example.com" })
	if got := bob.RefreshProfile(); !strings.Contains(got.Body, "new@example.com") {
		t.Errorf("refreshing answers %d", got.StatusCode)
	}
	token := s.OP.LogoutToken()
	delete(token.Claims, "sid") // all of bob's sessions
	if got := alice.Post("/backchannel-logout", url.Values{"logout_token": {token.Compact()}}); got.StatusCode != http.StatusOK {
		t.Fatalf("answered %d", got.StatusCode)
	}
	if !alice.SignedIn() || bob.SignedIn() {
		t.Errorf("ID-15: alice is signed in: %t, bob: %t", alice.SignedIn(), bob.SignedIn())
	}
}

// TestDistributedClaims (ID-25) has claims that another server would have to supply.
func TestDistributedClaims(t *testing.T) {
	t.Parallel()
	asked := new(atomic.Int32)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(elsewhere.Close)
	s := apptest.StartScripted(t)
	add := func(claims map[string]any) {
		claims["_claim_names"] = map[string]any{"address": "a", "phone_number": "b"}
		claims["_claim_sources"] = map[string]any{
			"a": map[string]any{"endpoint": elsewhere.URL, "access_token": "x"}, "b": map[string]any{"JWT": "e30.e30."},
		}
		claims["picture"], claims["jku"] = elsewhere.URL+"/picture", elsewhere.URL+"/keys"
	}
	s.OP.Edit(scriptedop.UserInfo, add)
	s.OP.EditIDToken(func(token *scriptedop.JWT) { add(token.Claims) })
	v := s.Visitor()
	s.SignIn(v)
	v.RefreshProfile()
	if n := asked.Load(); n > 0 {
		t.Errorf("ID-25: the app made %d requests to the other server", n)
	}
}

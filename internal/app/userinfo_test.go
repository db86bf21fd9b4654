package app

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

// refreshProfile presses Refresh as htmx does.
func (v *visitor) refreshProfile() answer {
	v.t.Helper()
	return v.post("/profile/refresh", nil, "HX-Request", "true")
}

// TestUserInfoRequest (UI-03) looks at what the provider is asked with, at the sign-in
// and after a refresh.
func TestUserInfoRequest(t *testing.T) {
	t.Parallel()
	s := startScripted(t)
	var access atomic.Value
	s.op.Edit(scriptedop.Token, func(response map[string]any) {
		access.Store(response["access_token"])
		delete(response, "expires_in") // so that the refresh fetches a new one
	})
	v := s.visitor()
	check := func(when string) {
		t.Helper()
		last := s.op.Last(scriptedop.UserInfo)
		if last.Header.Get("Authorization") != "Bearer "+access.Load().(string) || len(last.Query)+len(last.Form) > 0 || last.Header.Get("Cookie") != "" {
			t.Errorf("UI-03: %s it is asked with Authorization %q, query %v, form %v", when, last.Header.Get("Authorization"), last.Query, last.Form)
		}
	}
	s.signInNow(v)
	check("at the sign-in")
	first := access.Load()
	if got := v.refreshProfile(); got.StatusCode != http.StatusOK {
		t.Fatalf("refreshing answers %d", got.StatusCode)
	}
	check("later")
	if access.Load() == first {
		t.Error("UI-03: the access token is the old one")
	}
}

// TestUserInfoUnauthorized (UI-06) has a provider that takes no access token: one
// refresh and one more attempt for each time that a person asks, and never a loop.
func TestUserInfoUnauthorized(t *testing.T) {
	t.Parallel()
	s := startScripted(t)
	v := s.visitor()
	s.signInNow(v)
	s.wantCalls(1, 1)
	s.op.Answer(scriptedop.UserInfo, scriptedop.Status(http.StatusUnauthorized))
	got := v.refreshProfile()
	if got.StatusCode != http.StatusBadGateway || !strings.Contains(got.body, `role="alert"`) {
		t.Errorf("UI-06: answered %d %s", got.StatusCode, got.body)
	}
	s.wantCalls(2, 3)
	if !v.signedIn() {
		t.Error("UI-06: the person is signed out")
	}
	s.op.Answer(scriptedop.UserInfo, nil)
	s.op.RevokeAccessTokens()
	if got := v.refreshProfile(); got.StatusCode != http.StatusOK {
		t.Errorf("UI-06: with a provider that takes the new one, answered %d", got.StatusCode)
	}
	s.wantCalls(3, 5)
}

// TestManyRefreshes (UI-07) presses Refresh two hundred times, forty at once.
func TestManyRefreshes(t *testing.T) {
	t.Parallel()
	s, clock := assembleScripted(t)
	v := s.visitor()
	s.signInNow(v)
	s.op.SignInAs("mallory") // whoever is at the provider now is not who signed in
	var answers [200]answer
	for wave := range 5 { // those of one wave share an answer
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() { answers[40*wave+i] = v.refreshProfile() })
		}
		wg.Wait()
	}
	refreshed := 0
	for _, got := range answers {
		switch {
		case got.StatusCode == http.StatusOK && strings.Contains(got.body, "Alice Example"):
			refreshed++
		case got.StatusCode == http.StatusTooManyRequests && got.Header.Get("Retry-After") != "":
		default:
			t.Errorf("UI-07: one is answered with %d %s", got.StatusCode, got.body)
		}
	}
	if n := s.op.Calls(scriptedop.UserInfo); n < 2 || n > 4 || refreshed < 1 {
		t.Errorf("UI-07: userinfo was asked %d times within a minute, and %d were refreshed", n, refreshed)
	}
	clock.Move(time.Minute)
	if got := v.refreshProfile(); got.StatusCode != http.StatusOK || !strings.Contains(got.body, "Alice Example") {
		t.Errorf("UI-07: a minute later: %d %s", got.StatusCode, got.body)
	}
}

// TestUserInfoFailureIsNotQuoted (UI-08) answers with what nobody should see, at the
// sign-in and at a refresh.
func TestUserInfoFailureIsNotQuoted(t *testing.T) {
	t.Parallel()
	followed := new(atomic.Int32)
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	t.Cleanup(evil.Close)
	for name, response := range map[string]http.HandlerFunc{
		"UI-08 403":               scriptedop.Body(403, "text/plain", "SECRETBODY"),
		"UI-08 500":               scriptedop.Body(500, "application/json", `{"sub":"alice","name":"SECRETBODY"}`),
		"UI-08 a page":            scriptedop.Body(200, "text/html", "<p>SECRETBODY"),
		"UI-08 half a document":   scriptedop.Body(200, "application/json", `{"sub":"alice","name":"SECRETBODY`),
		"UI-08 a redirect":        scriptedop.Redirect(307, evil.URL+"/SECRETBODY"),
		"UI-08 a little too much": scriptedop.Body(200, "application/json", `{"sub":"alice","name":"`+strings.Repeat("SECRETBODY", 26<<10)+`"}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startScripted(t)
			s.op.Answer(scriptedop.UserInfo, response)
			v := s.visitor()
			dashboard := s.signInNow(v)
			refreshed := v.refreshProfile()
			if refreshed.StatusCode < 500 || !strings.Contains(refreshed.body, `role="alert"`) {
				t.Errorf("answered %d %s", refreshed.StatusCode, refreshed.body)
			}
			if strings.Contains(dashboard.body+refreshed.body+s.log.String(), "SECRETBODY") {
				t.Errorf("the answer is quoted:\n%s\n%s", refreshed.body, s.log)
			}
			if n := followed.Load(); n > 0 {
				t.Errorf("UI-08: %d redirects were followed", n)
			}
			if lines := s.logged("signed in without userinfo", ""); len(lines) != 1 || lines[0]["reason"] != string(authn.ReasonUserInfoFailed) {
				t.Errorf("UI-05: the log says %v", lines)
			}
			s.op.Answer(scriptedop.UserInfo, nil)
			if got := v.refreshProfile(); got.StatusCode != http.StatusOK || !strings.Contains(got.body, "alice@example.com") {
				t.Errorf("once it answers well: %d %s", got.StatusCode, got.body)
			}
		})
	}
}

// TestWhoIsWho (ID-15) has two people with one e-mail address, and one whose address
// changes.
func TestWhoIsWho(t *testing.T) {
	t.Parallel()
	s := startScripted(t)
	s.op.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims["email"] = "shared@example.com" })
	alice, bob := s.visitor(), s.visitor()
	s.signInNow(alice)
	s.op.SignInAs("bob")
	s.signInNow(bob)
	for v, want := range map[*visitor][2]string{alice: {"Alice Example", "Bob Example"}, bob: {"Bob Example", "Alice Example"}} {
		page := v.get("/dashboard")
		if !strings.Contains(page.body, want[0]) || strings.Contains(page.body, want[1]) || !strings.Contains(page.body, "shared@example.com") {
			t.Errorf("ID-15: the dashboard of %s is\n%s", want[0], page.body)
		}
	}
	s.op.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims["email"] = "new@example.com" })
	if got := bob.refreshProfile(); !strings.Contains(got.body, "new@example.com") {
		t.Errorf("refreshing answers %d", got.StatusCode)
	}
	token := s.op.LogoutToken()
	delete(token.Claims, "sid") // all sessions of bob's
	if got := alice.post("/backchannel-logout", url.Values{"logout_token": {token.Compact()}}); got.StatusCode != http.StatusOK {
		t.Fatalf("answered %d", got.StatusCode)
	}
	if !alice.signedIn() || bob.signedIn() {
		t.Errorf("ID-15: alice is signed in: %t, bob: %t", alice.signedIn(), bob.signedIn())
	}
}

// TestDistributedClaims (ID-25) has claims that live elsewhere.
func TestDistributedClaims(t *testing.T) {
	t.Parallel()
	asked := new(atomic.Int32)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(elsewhere.Close)
	s := startScripted(t)
	add := func(claims map[string]any) {
		claims["_claim_names"] = map[string]any{"address": "a", "phone_number": "b"}
		claims["_claim_sources"] = map[string]any{
			"a": map[string]any{"endpoint": elsewhere.URL, "access_token": "x"}, "b": map[string]any{"JWT": "e30.e30."},
		}
		claims["picture"], claims["jku"] = elsewhere.URL+"/picture", elsewhere.URL+"/keys"
	}
	s.op.Edit(scriptedop.UserInfo, add)
	s.op.EditIDToken(func(token *scriptedop.JWT) { add(token.Claims) })
	v := s.visitor()
	s.signInNow(v)
	v.refreshProfile()
	if n := asked.Load(); n > 0 {
		t.Errorf("ID-25: the server asked elsewhere %d times", n)
	}
}

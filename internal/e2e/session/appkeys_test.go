package session

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// restart stops the program, and starts it on the same port and data with another
// configuration.
func restart(s *apptest.Scripted, env ...string) *apptest.Scripted {
	s.T.Helper()
	if err := s.Stop(); err != nil {
		s.T.Fatal(err)
	}
	_, port, _ := strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	again := apptest.StartBeside(s.T, s.OP, append([]string{"PORT=" + port, "DATA_DIR=" + s.DataDir}, env...)...)
	again.DataDir = s.DataDir
	return again
}

const (
	firstKey, secondKey = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
)

// TestKeyIsReplaced (CF-10, CK-08) puts a new secret before the old one, as docs/deploy.md
// says, and later removes the old one. Nobody who visits in between is signed out, and no
// sign-in in progress is lost. The provider's sign-out finds all of them under the new secret.
func TestKeyIsReplaced(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t, "APP_SECRET_KEY="+firstKey)
	comes, staysAway, signingIn := s.Visitor(), s.Visitor(), s.Visitor()
	s.SignIn(comes)
	s.SignIn(staysAway)
	response := signingIn.AuthorizationResponse("/profile")

	s = restart(s, "APP_SECRET_KEY="+secondKey+","+firstKey)
	late := s.Visitor()
	s.SignIn(late)
	if !comes.At(s.App).SignedIn() {
		t.Error("with both secrets, a signed-in person is signed out")
	}
	s.WantSignedIn(signingIn.At(s.App), signingIn.At(s.App).Callback(response), "alice", "/profile")

	s = restart(s, "APP_SECRET_KEY="+secondKey)
	for name, v := range map[string]*apptest.Visitor{"the person who visited": comes, "the person who signed in then": late, "the person who was signing in": signingIn} {
		if !v.At(s.App).SignedIn() {
			t.Errorf("with the new secret alone, %s is signed out", name)
		}
	}
	if staysAway.At(s.App).SignedIn() {
		t.Error("the person who never visited is still signed in: the old secret is still in use")
	}
	token := s.OP.LogoutToken()
	delete(token.Claims, "sid") // it ends all of her sessions
	logout := url.Values{"logout_token": {token.Compact()}}
	if got := s.Visitor().Send("/backchannel-logout", apptest.FormType, logout.Encode()); got.StatusCode != http.StatusOK {
		t.Errorf("the logout token is answered %d %s", got.StatusCode, got.Body)
	}
	for name, v := range map[string]*apptest.Visitor{"the person who visited": comes, "the person who signed in then": late, "the person who was signing in": signingIn} {
		if v.At(s.App).SignedIn() {
			t.Errorf("after the provider's sign-out, %s is still signed in", name)
		}
	}
	for document, want := range map[string]string{"docs/configuration.md": "replaces a key without signing anyone out", "docs/deploy.md": "APP_SECRET_KEY=NEW,OLD"} {
		if !strings.Contains(string(apptest.ReadFile(t, document)), want) {
			t.Errorf("%s does not say %q", document, want)
		}
	}
}

// TestKeyIsLost (FM-27) starts the program with an unrelated secret. Everyone is a visitor,
// the log says so once, and signing in works. With the old secret after the new one, all
// sessions are back.
func TestKeyIsLost(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t, "APP_SECRET_KEY="+firstKey)
	people, signingIn := []*apptest.Visitor{s.Visitor(), s.Visitor()}, s.Visitor()
	for _, v := range people {
		s.SignIn(v)
	}
	response := signingIn.AuthorizationResponse("/profile")
	s = restart(s, "APP_SECRET_KEY="+secondKey)
	for range 2 {
		for _, v := range people {
			for path, want := range map[string]int{"/": http.StatusOK, "/dashboard": http.StatusSeeOther, "/api/me": http.StatusUnauthorized} {
				got := v.At(s.App).Direct(v.At(s.App).Request(http.MethodGet, path, nil, "Sec-Fetch-Dest", "empty")) // such a request does not remove the cookie
				if got.StatusCode != want {
					t.Errorf("%s is answered %d, want %d", path, got.StatusCode, want)
				}
			}
		}
	}
	if got := signingIn.At(s.App).Callback(response); got.StatusCode >= 500 {
		t.Errorf("a sign-in in progress is answered with %d", got.StatusCode)
	}
	said := map[any]int{}
	for _, line := range s.Logged("session not opened", "") {
		said[line["level"]]++
	}
	if said["WARN"] != 1 || said["DEBUG"] < 5 {
		t.Errorf("the log says so %v", said)
	}
	page := people[0].At(s.App)
	if got := page.Direct(page.Request(http.MethodGet, "/", nil)); len(got.Cookies()) != 1 || got.Cookies()[0].MaxAge >= 0 {
		t.Errorf("the invalid cookie is not removed: %v", got.Cookies())
	}
	s.SignIn(page)

	s = restart(s, "APP_SECRET_KEY="+secondKey+","+firstKey)
	for i, v := range people {
		if !v.At(s.App).SignedIn() {
			t.Errorf("with the old secret as the second one, person %d is still signed out", i)
		}
	}
}

// TestClientIsReplaced (FM-29) makes the provider reject the client's secret, or the
// client. The page says that the person is not at fault, the log alerts the operator, and
// nobody is signed out.
func TestClientIsReplaced(t *testing.T) {
	t.Parallel()
	for code, status := range map[string]int{"invalid_client": http.StatusUnauthorized, "unauthorized_client": http.StatusBadRequest} {
		t.Run("FM-29 "+code, func(t *testing.T) {
			t.Parallel()
			s := apptest.StartScripted(t)
			s.OP.Edit(scriptedop.Token, func(response map[string]any) { delete(response, "expires_in") })
			person, next := s.Visitor(), s.Visitor()
			s.SignIn(person)
			s.OP.Answer(scriptedop.Token, scriptedop.JSON(status, map[string]any{"error": code}))

			got := next.Callback(next.AuthorizationResponse("/profile"))
			s.WantRefused(next, got, http.StatusServiceUnavailable, "token_request_failed", 2, 1)
			if !strings.Contains(got.Body, "<h1>Sign-in isn&#39;t configured correctly</h1>") {
				t.Errorf("the page says something else:\n%s", got.Body)
			}
			if lines := s.Logged("refused", got.Header.Get("X-Request-Id")); lines[0]["level"] != "ERROR" || lines[0]["code"] != code {
				t.Errorf("the log says %v", lines)
			}
			if got := person.RefreshProfile(); got.StatusCode != http.StatusBadGateway {
				t.Errorf("refreshing is answered %d", got.StatusCode)
			}
			alarms := s.Logged("the provider refuses this client: no tokens can be refreshed", "")
			if len(alarms) != 1 || alarms[0]["level"] != "ERROR" || !person.SignedIn() {
				t.Errorf("the alarms are %v; signed in: %t", alarms, person.SignedIn())
			}
			s.OP.Answer(scriptedop.Token, nil)
			s.SignIn(next)
		})
	}
	t.Run("FM-29 another refusal is not a configuration error", func(t *testing.T) {
		t.Parallel()
		s := apptest.StartScripted(t)
		s.OP.Answer(scriptedop.Token, scriptedop.JSON(http.StatusBadRequest, map[string]any{"error": "invalid_grant"}))
		v := s.Visitor()
		if got := v.Callback(v.AuthorizationResponse("/profile")); !strings.Contains(got.Body, "<h1>The sign-in could not be verified</h1>") {
			t.Errorf("the page says something else:\n%s", got.Body)
		}
	})
}

package session

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestRefreshRotates (RT-04, RT-14) uses a provider that never says when an access token
// expires, and accepts each refresh token once.
func TestRefreshRotates(t *testing.T) {
	t.Parallel()
	s, _ := apptest.Assemble(t)
	s.OP.Edit(scriptedop.Token, func(response map[string]any) { delete(response, "expires_in") })
	v := s.Visitor()
	s.SignIn(v)
	used := map[string]bool{}
	for n := range 3 {
		if got := v.RefreshProfile(); got.StatusCode != http.StatusOK || !v.SignedIn() {
			t.Fatalf("refresh %d is answered with %d\n%s", n, got.StatusCode, s.Log)
		}
		form := s.OP.Last(scriptedop.Token).Form
		if token := form.Get("refresh_token"); form.Get("grant_type") != "refresh_token" || used[token] {
			t.Errorf("refresh %d has the grant type %s, token used before: %t", n, form.Get("grant_type"), used[token])
		} else {
			used[token] = true
		}
	}
	s.WantCalls(4, 4)
	s.WantNoSecrets(v.Get("/dashboard"))
}

// TestRefreshedIDToken (RT-10) refreshes with ID tokens that belong to the session, and
// with others.
func TestRefreshedIDToken(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		claims map[string]any
		alive  bool
	}{
		"RT-10 from the same sign-in": {map[string]any{}, true},
		"RT-10 from another issuer":   {map[string]any{"iss": "https://evil.example/"}, false},
		"RT-10 of another person":     {map[string]any{"sub": "mallory"}, false},
		"RT-10 for another client":    {map[string]any{"aud": "evil"}, false},
		"RT-10 with another nonce":    {map[string]any{"nonce": "evil"}, false},
		"RT-10 from a later sign-in":  {map[string]any{"auth_time": time.Now().Add(time.Hour).Unix()}, true},
		"RT-10 from an old clock":     {map[string]any{"iat": 1_000_000_000, "exp": 1_000_000_300}, true},
		"RT-10 of another, and old":   {map[string]any{"iat": 1_000_000_000, "sub": "mallory"}, false},
		"RT-10 without a subject":     {map[string]any{"sub": ""}, false},
		"RT-10 with a changed claim":  {map[string]any{"name": "Alice the Second"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apptest.StartScripted(t)
			s.OP.Edit(scriptedop.Token, func(response map[string]any) { delete(response, "expires_in") })
			v := s.Visitor()
			s.SignIn(v)
			s.OP.EditIDToken(func(token *scriptedop.JWT) { maps.Copy(token.Claims, tt.claims) })
			got := v.RefreshProfile()
			if v.SignedIn() != tt.alive {
				t.Errorf("signed in: %t, want %t", v.SignedIn(), tt.alive)
			}
			if tt.alive {
				s.WantCalls(2, 2)
				return
			}
			// The new access token must not be used.
			s.WantCalls(2, 1)
			if got.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(got.Header.Get("HX-Redirect"), "/signed-out?because=refresh") {
				t.Errorf("answered %d, HX-Redirect %q", got.StatusCode, got.Header.Get("HX-Redirect"))
			}
			if lines := s.Logged("session ended by refresh", ""); len(lines) != 1 || lines[0]["level"] != "WARN" {
				t.Errorf("the log says %v", lines)
			}
			s.WantNoSecrets(got)
		})
	}
}

// TestRefreshRefused (RT-06, RT-08) distinguishes a grant that has ended from a
// misconfigured client. Only the first ends the session.
func TestRefreshRefused(t *testing.T) {
	t.Parallel()
	for code, alive := range map[string]bool{"invalid_grant": false, "invalid_client": true, "temporarily_unavailable": true} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			s := apptest.StartScripted(t)
			s.OP.Edit(scriptedop.Token, func(response map[string]any) { delete(response, "expires_in") })
			v := s.Visitor()
			s.SignIn(v)
			s.OP.Answer(scriptedop.Token, scriptedop.JSON(http.StatusBadRequest, map[string]any{"error": code, "error_description": "invalid_grant"}))
			if got := v.RefreshProfile(); got.StatusCode < 400 {
				t.Errorf("answered %d", got.StatusCode)
			}
			s.WantCalls(2, 1)
			if v.SignedIn() != alive {
				t.Errorf("signed in: %t, want %t", v.SignedIn(), alive)
			}
		})
	}
}

// TestSignOutDuringRefresh (RT-12, SE-07) signs out while a refresh waits for new tokens.
func TestSignOutDuringRefresh(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []scriptedop.Endpoint{scriptedop.Token, scriptedop.UserInfo} {
		t.Run(string(endpoint), func(t *testing.T) {
			t.Parallel()
			s, _ := apptest.Assemble(t)
			s.OP.Edit(scriptedop.Token, func(response map[string]any) { delete(response, "expires_in") })
			v := s.Visitor()
			s.SignIn(v)
			cookies := v.CookieHeader()
			held, barrier := scriptedop.Hold(s.OP.Correct(endpoint))
			s.OP.Answer(endpoint, held)
			refreshed := make(chan apptest.Answer)
			go func() { refreshed <- v.RefreshProfile() }()
			<-barrier.Reached
			out := v.Direct(v.Request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin"))
			if out.StatusCode != http.StatusOK {
				t.Errorf("the sign-out is answered %d", out.StatusCode)
			}
			barrier.Open()
			if got := <-refreshed; got.StatusCode != http.StatusUnauthorized || got.Header.Get("HX-Redirect") == "" {
				t.Errorf("the refresh is answered %d, HX-Redirect %q", got.StatusCode, got.Header.Get("HX-Redirect"))
			}
			got := s.Visitor().Direct(v.Request(http.MethodGet, "/dashboard", nil, "Cookie", cookies))
			if got.StatusCode == http.StatusOK || v.SignedIn() {
				t.Errorf("the cookie opens the dashboard: %d", got.StatusCode)
			}
			s.WantNoSecrets(got)
		})
	}
}

// TestNothingToRefreshWith (RT-16) uses a provider that issues no refresh token. The pages
// work without one.
func TestNothingToRefreshWith(t *testing.T) {
	t.Parallel()
	s, c := apptest.Assemble(t)
	s.OP.Edit(scriptedop.Token, func(response map[string]any) { delete(response, "refresh_token"); response["expires_in"] = 600 })
	v := s.Visitor()
	s.SignIn(v)
	c.Move(10*time.Minute - time.Second)
	if got := v.RefreshProfile(); got.StatusCode != http.StatusOK {
		t.Errorf("with a valid access token, the refresh is answered with %d", got.StatusCode)
	}
	c.Move(time.Hour)
	for range 3 {
		if got := v.RefreshProfile(); got.StatusCode != http.StatusConflict {
			t.Errorf("the refresh is answered %d", got.StatusCode)
		}
		if got := v.Get("/dashboard"); got.StatusCode != http.StatusOK {
			t.Errorf("the dashboard is %d", got.StatusCode)
		}
	}
	s.WantCalls(1, 2)
	if lines := s.Logged("access token not refreshed yet", ""); len(lines) > 0 {
		t.Errorf("the log says %v", lines)
	}
}

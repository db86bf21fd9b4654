package app_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestWhySignedOut ends a session in each of the ways that its person did not ask for in
// that browser, and reads what the next page says.
func TestWhySignedOut(t *testing.T) {
	t.Parallel()
	logoutToken := func(p *apptest.TwoDevices) {
		t := p.OP.LogoutToken() // of the last sign-in, which is that of there
		p.There.Send("/backchannel-logout", "application/x-www-form-urlencoded", url.Values{"logout_token": {t.Compact()}}.Encode())
	}
	for name, tt := range map[string]struct {
		end     func(p *apptest.TwoDevices)
		because string
		says    string
	}{
		"by its person, elsewhere": {func(p *apptest.TwoDevices) { p.EndOthers() }, "elsewhere", "another one of yours"},
		"by the provider":          {logoutToken, "provider", "The sign-in service ended your session"},
		"by a refused refresh": {func(p *apptest.TwoDevices) {
			p.OP.Answer(scriptedop.Token, scriptedop.JSON(http.StatusBadRequest, map[string]any{"error": "invalid_grant"}))
			p.Clock.Move(2 * time.Hour)
			p.There.Direct(p.There.Request(http.MethodPost, "/profile/refresh", nil, "Sec-Fetch-Site", "same-origin"))
		}, "refresh", "no longer vouches"},
		"by signing in too often": {func(p *apptest.TwoDevices) {
			p.Clock.Move(2 * time.Minute)
			p.Here.Get("/dashboard") // seen later than there
			for range 2 {
				p.SignIn(p.Visitor())
			}
		}, "limit", "so many devices"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := apptest.NewTwoDevices(t, "SESSION_LIMIT=3")
			tt.end(p)
			other := *p.There
			got := other.Direct(other.Request(http.MethodGet, "/profile", nil, "HX-Request", "true", "HX-Current-URL", p.URL+"/sessions"))
			if want := "/signed-out?because=" + tt.because + "&return_to=%2Fsessions"; got.StatusCode != http.StatusUnauthorized || got.Header.Get("HX-Redirect") != want {
				t.Errorf("htmx is answered %d, HX-Redirect %q, want %q", got.StatusCode, got.Header.Get("HX-Redirect"), want)
			}
			page := p.There.Get("/sessions")
			if page.Request.URL.Path != "/signed-out" || !strings.Contains(page.Body, tt.says) || !strings.Contains(page.Body, `href="/login?return_to=%2Fsessions"`) {
				t.Errorf("it ends at %s with\n%s", page.Request.URL, page.Body)
			}
			if got := p.There.Direct(p.There.Request(http.MethodGet, "/sessions", nil)); !strings.HasPrefix(got.Header.Get("Location"), "/login") {
				t.Errorf("once it is said, the next click leads to %q", got.Header.Get("Location"))
			}
			if !p.Here.SignedIn() {
				t.Error("the other session has ended too")
			}
		})
	}
	t.Run("by its person", func(t *testing.T) {
		t.Parallel()
		p := apptest.NewTwoDevices(t)
		cookies := p.There.CookieHeader()
		p.There.Post("/logout", nil)
		if got := p.Visitor().Direct(p.There.Request(http.MethodGet, "/sessions", nil, "Cookie", cookies)); !strings.HasPrefix(got.Header.Get("Location"), "/login") {
			t.Errorf("the next click leads to %q", got.Header.Get("Location"))
		}
	})
	t.Run("an address that anybody can make", func(t *testing.T) {
		t.Parallel()
		s, _ := apptest.Assemble(t)
		got := s.Visitor().Get("/signed-out?because=%3Cb%3Epay+here&return_to=https%3A%2F%2Fevil.example")
		if got.StatusCode != http.StatusOK || strings.Contains(got.Body, "pay here") || strings.Contains(got.Body, "evil") {
			t.Errorf("the page is\n%s", got.Body)
		}
	})
}

// TestSignedOutInAnotherTab (LR-04) has one tab at the provider while another says that the
// person has signed out: the state of the sign-out is the first one's.
func TestSignedOutInAnotherTab(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	dashboard := v.SignIn("/login", apptest.Ada)
	leaving := v.Direct(v.Submission(dashboard, "qsLogoutBtn"))
	if other := v.Get("/signed-out?because=tab&return_to=%2Fprofile"); !strings.Contains(other.Body, "another tab or window") {
		t.Errorf("the other tab says\n%s", other.Body)
	}
	if back := v.Get(leaving.Header.Get("Location")); !strings.Contains(back.Body, "here and at the sign-in service") {
		t.Errorf("the first ends at %s with\n%s", back.Request.URL, back.Body)
	}
}

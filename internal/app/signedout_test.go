package app

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/internal/scriptedop"
)

// TestWhySignedOut ends a session in each of the ways that its person did not ask for in
// that browser, and reads what the next page says.
func TestWhySignedOut(t *testing.T) {
	t.Parallel()
	logoutToken := func(p *stepUp) {
		t := p.op.LogoutToken() // of the last sign-in, which is that of there
		p.there.send("/backchannel-logout", "application/x-www-form-urlencoded", url.Values{"logout_token": {t.Compact()}}.Encode())
	}
	for name, tt := range map[string]struct {
		end     func(p *stepUp)
		because string
		says    string
	}{
		"by its person, elsewhere": {func(p *stepUp) { p.endOthers() }, "elsewhere", "another one of yours"},
		"by the provider":          {logoutToken, "provider", "The sign-in service ended your session"},
		"by a refused refresh": {func(p *stepUp) {
			p.op.Answer(scriptedop.Token, scriptedop.JSON(http.StatusBadRequest, map[string]any{"error": "invalid_grant"}))
			p.clock.Move(2 * time.Hour)
			p.there.direct(p.there.request(http.MethodPost, "/profile/refresh", nil, "Sec-Fetch-Site", "same-origin"))
		}, "refresh", "no longer vouches"},
		"by signing in too often": {func(p *stepUp) {
			p.clock.Move(2 * time.Minute)
			p.here.get("/dashboard") // seen later than there
			for range 2 {
				p.signInNow(p.visitor())
			}
		}, "limit", "so many devices"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newStepUp(t, "SESSION_LIMIT=3")
			tt.end(p)
			other := *p.there
			got := other.direct(other.request(http.MethodGet, "/profile", nil, "HX-Request", "true", "HX-Current-URL", p.url+"/sessions"))
			if want := "/signed-out?because=" + tt.because + "&return_to=%2Fsessions"; got.StatusCode != http.StatusUnauthorized || got.Header.Get("HX-Redirect") != want {
				t.Errorf("htmx is answered %d, HX-Redirect %q, want %q", got.StatusCode, got.Header.Get("HX-Redirect"), want)
			}
			page := p.there.get("/sessions")
			if page.Request.URL.Path != "/signed-out" || !strings.Contains(page.body, tt.says) || !strings.Contains(page.body, `href="/login?return_to=%2Fsessions"`) {
				t.Errorf("it ends at %s with\n%s", page.Request.URL, page.body)
			}
			if got := p.there.direct(p.there.request(http.MethodGet, "/sessions", nil)); !strings.HasPrefix(got.Header.Get("Location"), "/login") {
				t.Errorf("once it is said, the next click leads to %q", got.Header.Get("Location"))
			}
			if !p.here.signedIn() {
				t.Error("the other session has ended too")
			}
		})
	}
	t.Run("by its person", func(t *testing.T) {
		t.Parallel()
		p := newStepUp(t)
		cookies := p.there.cookieHeader()
		p.there.post("/logout", nil)
		if got := p.visitor().direct(p.there.request(http.MethodGet, "/sessions", nil, "Cookie", cookies)); !strings.HasPrefix(got.Header.Get("Location"), "/login") {
			t.Errorf("the next click leads to %q", got.Header.Get("Location"))
		}
	})
	t.Run("an address that anybody can make", func(t *testing.T) {
		t.Parallel()
		s, _ := assembleScripted(t)
		got := s.visitor().get("/signed-out?because=%3Cb%3Epay+here&return_to=https%3A%2F%2Fevil.example")
		if got.StatusCode != http.StatusOK || strings.Contains(got.body, "pay here") || strings.Contains(got.body, "evil") {
			t.Errorf("the page is\n%s", got.body)
		}
	})
}

// TestSignedOutInAnotherTab (LR-04) has one tab at the provider while another says that the
// person has signed out: the state of the sign-out is the first one's.
func TestSignedOutInAnotherTab(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	v := a.visitor()
	dashboard := v.signIn("/login", ada)
	leaving := v.direct(v.submission(dashboard, "qsLogoutBtn"))
	if other := v.get("/signed-out?because=tab&return_to=%2Fprofile"); !strings.Contains(other.body, "another tab or window") {
		t.Errorf("the other tab says\n%s", other.body)
	}
	if back := v.get(leaving.Header.Get("Location")); !strings.Contains(back.body, "here and at the sign-in service") {
		t.Errorf("the first ends at %s with\n%s", back.Request.URL, back.body)
	}
}

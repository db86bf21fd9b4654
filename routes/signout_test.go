package routes_test

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestSignOutAtTheProvider (LR-03) checks the request that the browser takes to the
// provider, and where it comes back to.
func TestSignOutAtTheProvider(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	var idToken string
	s.OP.Edit(scriptedop.Token, func(response map[string]any) { idToken = response["id_token"].(string) })
	v := s.Visitor()
	s.SignIn(v)
	out := v.Direct(v.Request(http.MethodPost, "/logout", url.Values{}, "Sec-Fetch-Site", "same-origin"))
	location, asked := out.Next(), apptest.Query(t, out.Next())
	if out.StatusCode != http.StatusOK || out.Header.Get("Location") != "" || !strings.HasPrefix(location, s.OP.URL(scriptedop.EndSession)+"?") {
		t.Fatalf("answered %d to %q", out.StatusCode, location)
	}
	if asked.Get("id_token_hint") != idToken || asked.Get("client_id") != s.OP.ClientID || asked.Get("post_logout_redirect_uri") != s.URL || len(asked.Get("state")) < 22 || len(asked) != 4 {
		t.Errorf("LR-03: the provider is asked %v", asked)
	}
	back := v.Direct(v.Request(http.MethodGet, location, nil)).Header.Get("Location")
	if page := v.Get(back); page.StatusCode != http.StatusOK || !strings.Contains(page.Body, "You are signed out") || !strings.Contains(page.Body, "here and at the sign-in service") {
		t.Errorf("coming back is answered with %d\n%s", page.StatusCode, apptest.Text(apptest.Parse(t, page.Body)))
	}
	if page := v.Get(back); page.StatusCode != http.StatusOK || strings.Contains(page.Body, "You are signed out") {
		t.Errorf("the state counts twice:\n%s", apptest.Text(apptest.Parse(t, page.Body)))
	}
	if data := out.Header.Get("Clear-Site-Data"); data != `"storage"` {
		t.Errorf("signing out clears %s", data)
	}
	if n := s.OP.Calls(scriptedop.Revoke); n != 1 {
		t.Errorf("LR-05: the refresh token is revoked %d times", n)
	}
}

// TestSignOutByHTMX sends a sign-out with htmx, as a product's own button may: it leaves the page for the
// provider, or for the home page if the provider has no such endpoint.
func TestSignOutByHTMX(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []bool{true, false} {
		op := apptest.NewOP(t)
		if !endpoint {
			op.Edit(scriptedop.Discovery, func(document map[string]any) { delete(document, "end_session_endpoint") })
		}
		s := apptest.StartBeside(t, op)
		s.Await("/readyz", http.StatusOK)
		v := s.Visitor()
		s.SignIn(v)
		want := map[bool]string{true: op.URL(scriptedop.EndSession) + "?", false: s.URL}[endpoint]
		got := v.Direct(v.Request(http.MethodPost, "/logout", url.Values{}, "Sec-Fetch-Site", "same-origin", "HX-Request", "true"))
		if next := got.Header.Get("HX-Redirect"); got.StatusCode != http.StatusOK || !strings.HasPrefix(next, want) || got.Body != "" || v.SignedIn() {
			t.Errorf("answered %d to %q, want %q\n%s", got.StatusCode, next, want, got.Body)
		}
	}
}

// TestEndedTabFindsItsPage opens the page that a tab shows after its session has ended, once the person has
// signed in again in another tab.
func TestEndedTabFindsItsPage(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	v := s.Visitor()
	s.SignIn(v)
	for address, want := range map[string]string{
		"/signed-out?because=expired&return_to=%2Fprofile%3Fpage%3D3":      "/profile?page=3",
		"/signed-out?because=expired&return_to=https%3A%2F%2Fevil.example": "/dashboard",
		"/signed-out": "/dashboard",
	} {
		if got := v.Direct(v.Request(http.MethodGet, address, nil)); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != want {
			t.Errorf("%s: answered %d to %q, want %q", address, got.StatusCode, got.Header.Get("Location"), want)
		}
	}
}

// TestComingBackFromSignOut (LR-04) comes back with another state and with none, to the home page
// and to a page that AUTH0_LOGOUT_URL names. The page is calm, and leads nowhere by itself.
func TestComingBackFromSignOut(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "/", "/signed-out"} {
		t.Run("to the origin"+path, func(t *testing.T) {
			t.Parallel()
			port := apptest.FreePort(t)
			env := []string{"PORT=" + port}
			if path != "" {
				env = append(env, "AUTH0_LOGOUT_URL=http://localhost:"+port+path)
			}
			s := apptest.StartScripted(t, env...)
			for name, query := range map[string]string{
				"another state": "?state=evil", "no state": "", "two states": "?state=a&state=b", "an address": "?redirect=//evil.example&returnTo=https://evil.example",
				"a word of ours": "?state=here", "another word of ours": "?state=none",
			} {
				v := s.Visitor()
				s.SignIn(v)
				out := v.Direct(v.Request(http.MethodPost, "/logout", url.Values{}, "Sec-Fetch-Site", "same-origin"))
				if got := apptest.Query(t, out.Next()).Get("post_logout_redirect_uri"); got != s.URL+path {
					t.Errorf("the provider is to return to %q", got)
				}
				page := v.Direct(v.Request(http.MethodGet, cmp.Or(path, "/")+query, nil))
				if page.StatusCode != http.StatusOK || page.Next() != "" || strings.Contains(page.Body, "evil.example") || strings.Contains(page.Body, "here and at the sign-in service") ||
					!strings.Contains(page.Body, "You are signed out") {
					t.Errorf("%s is answered with %d\n%s", name, page.StatusCode, page.Body)
				}
				if apptest.Find(apptest.Parse(t, page.Body), func(n *apptest.Node) bool { return n.Data == "meta" && apptest.Attribute(n, "http-equiv") == "refresh" }) != nil || v.SignedIn() {
					t.Errorf("%s starts a sign-in", name)
				}
			}
		})
	}
}

// TestVisitsDuringSignOut (LR-04) visits the home page while the browser is at the provider. None of
// the visits is the end of the sign-out.
func TestVisitsDuringSignOut(t *testing.T) {
	t.Parallel()
	for name, noState := range map[string]bool{"the provider brings the state back": false, "it brings none back": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := apptest.AssembleWith(t, func(c *apptest.Settings) { c.OpenID.Auth0 = noState })
			if noState {
				s.OP.Edit(scriptedop.Discovery, func(m map[string]any) { delete(m, "end_session_endpoint") })
			}
			v := s.Visitor()
			s.SignIn(v)
			out := v.Direct(v.Request(http.MethodPost, "/logout", url.Values{}, "Sec-Fetch-Site", "same-origin"))
			for visit, headers := range map[string][]string{
				"typed":      {"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"},
				"a link":     {"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"},
				"a prefetch": {"Sec-Fetch-Site", "cross-site", "Sec-Purpose", "prefetch"},
				"an image":   {"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"},
			} {
				if page := v.Get("/", headers...); strings.Contains(page.Body, "You are signed out") {
					t.Errorf("%s counts", visit)
				}
			}
			v.Direct(v.Request(http.MethodHead, "/", nil))
			back := "/?" + url.Values{"state": {apptest.Query(t, out.Next()).Get("state")}}.Encode()
			if page := v.Get(back, "Sec-Fetch-Site", "cross-site"); !strings.Contains(page.Body, "here and at the sign-in service") {
				t.Errorf("coming back, the page says:\n%s", apptest.Text(apptest.Parse(t, page.Body)))
			}
		})
	}
}

// TestNoSignOutAtTheProvider (LR-01) signs out where the provider offers no logout.
func TestNoSignOutAtTheProvider(t *testing.T) {
	t.Parallel()
	op := scriptedop.New(t, scriptedop.Config{Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}})
	op.Edit(scriptedop.Discovery, func(m map[string]any) { delete(m, "end_session_endpoint") })
	s := apptest.StartBeside(t, op)
	v := s.Visitor()
	s.SignIn(v)
	if page := v.Post("/logout", nil); page.StatusCode != http.StatusOK || page.Request.URL.String() != s.URL || !strings.Contains(page.Body, "You may still be signed in at the sign-in service") || v.SignedIn() {
		t.Errorf("signing out ends at %s with %d", page.Request.URL, page.StatusCode)
	}
}

// TestSignOutWithoutASession (LR-08) signs out without a session, after its end, and with a
// made-up cookie.
func TestSignOutWithoutASession(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t)
	twice, late := s.Visitor(), s.Visitor()
	s.SignIn(twice)
	s.SignIn(late)
	twice.Direct(twice.Request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin"))
	clock.Move(25 * time.Hour) // beyond the idle timeout
	made := strings.Repeat("A", 43) + "." + strings.Repeat("A", 43)
	for name, request := range map[string]*http.Request{
		"nobody":           s.Visitor().Request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin"),
		"twice":            twice.Request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin"),
		"after the end":    late.Request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin"),
		"a made-up cookie": s.Visitor().Request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin", "Cookie", s.CookieName("session")+"="+made),
	} {
		v := map[string]*apptest.Visitor{"twice": twice, "after the end": late}[name]
		if v == nil {
			v = s.Visitor()
		}
		if got := v.Direct(request); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != s.URL {
			t.Errorf("%s: answered %d to %q", name, got.StatusCode, got.Header.Get("Location"))
		}
	}
}

// TestNoCookieSurvivesSignOut (LR-09) keeps every cookie that a browser ever had, and tries
// each of them after the sign-out.
func TestNoCookieSurvivesSignOut(t *testing.T) {
	t.Parallel()
	s, _ := apptest.Assemble(t)
	v := s.Visitor()
	var seen []string
	for range 3 { // signing in again without signing out
		s.SignIn(v)
		seen = append(seen, v.CookieHeader())
	}
	if other := s.Visitor(); !opensWith(other, seen[2]) {
		t.Fatal("the newest cookie opens nothing, so the checks below would prove nothing")
	}
	v.Direct(v.Request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin"))
	v.Get("/")
	seen = append(seen, v.CookieHeader())
	for i, cookies := range seen {
		if opensWith(s.Visitor(), cookies) {
			t.Errorf("cookie %d of %d opens the dashboard", i+1, len(seen))
		}
	}
}

// opensWith reports whether the dashboard opens with a Cookie header.
func opensWith(v *apptest.Visitor, header string) bool {
	v.T.Helper()
	return v.Direct(v.Request(http.MethodGet, "/dashboard", nil, "Cookie", header)).StatusCode == http.StatusOK
}

// TestWhySignedOut ends a session in each way that its person did not ask for in that
// browser, and checks what the next page says.
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
		"by its person, elsewhere": {func(p *apptest.TwoDevices) { p.EndOthers() }, "elsewhere", "You signed out of this session from another device or browser."},
		"by the provider":          {logoutToken, "provider", "You signed out at the sign-in service, or its operator signed you out."},
		"by a refused refresh": {func(p *apptest.TwoDevices) {
			p.OP.Answer(scriptedop.Token, scriptedop.JSON(http.StatusBadRequest, map[string]any{"error": "invalid_grant"}))
			p.Clock.Move(2 * time.Hour)
			p.There.Direct(p.There.Request(http.MethodPost, "/profile/refresh", nil, "Sec-Fetch-Site", "same-origin"))
		}, "refresh", "The sign-in service ended this session."},
		"by signing in too often": {func(p *apptest.TwoDevices) {
			p.Clock.Move(2 * time.Minute)
			p.Here.Get("/dashboard") // seen later than there
			for range 2 {
				p.SignIn(p.Visitor())
			}
		}, "limit", "You signed in on too many devices"},
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
			if home := p.Visitor().Direct(other.Request(http.MethodGet, "/", nil, "Cookie", p.There.CookieHeader())); !strings.Contains(home.Body, "You are signed out") || !strings.Contains(home.Body, tt.says) {
				t.Errorf("the home page says\n%s", home.Body)
			}
			page := p.There.Get("/sessions")
			if page.Request.URL.Path != "/signed-out" || !strings.Contains(page.Body, tt.says) || !strings.Contains(page.Body, `href="/login?return_to=%2Fsessions"`) {
				t.Errorf("it ends at %s with\n%s", page.Request.URL, page.Body)
			}
			if got := p.There.Direct(p.There.Request(http.MethodGet, "/sessions", nil)); !strings.HasPrefix(got.Header.Get("Location"), "/login") {
				t.Errorf("after the explanation, the next click leads to %q", got.Header.Get("Location"))
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
	t.Run("an address that anyone can write", func(t *testing.T) {
		t.Parallel()
		s, _ := apptest.Assemble(t)
		got := s.Visitor().Get("/signed-out?because=%3Cb%3Epay+here&return_to=https%3A%2F%2Fevil.example")
		if got.StatusCode != http.StatusOK || strings.Contains(got.Body, "pay here") || strings.Contains(got.Body, "evil") {
			t.Errorf("the page is\n%s", got.Body)
		}
	})
}

// TestSignedOutInAnotherTab (LR-04) signs out in one tab, and sees in another that this has
// happened. The state of the sign-out belongs to the first tab.
func TestSignedOutInAnotherTab(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	dashboard := v.SignIn("/login", apptest.Ada)
	leaving := v.Direct(v.Submission(dashboard, "qsLogoutBtn"))
	if other := v.Get("/signed-out?because=tab&return_to=%2Fprofile"); !strings.Contains(other.Body, "another tab or window") {
		t.Errorf("the other tab says\n%s", other.Body)
	}
	if back := v.Get(leaving.Next()); !strings.Contains(back.Body, "here and at the sign-in service") {
		t.Errorf("the first ends at %s with\n%s", back.Request.URL, back.Body)
	}
}

package app

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/internal/scriptedop"
)

// TestSignOutAtTheProvider (LR-03) looks at what the browser is sent to the provider with,
// and at what it comes back to.
func TestSignOutAtTheProvider(t *testing.T) {
	t.Parallel()
	s := startScripted(t)
	var idToken string
	s.op.Edit(scriptedop.Token, func(response map[string]any) { idToken = response["id_token"].(string) })
	v := s.visitor()
	s.signInNow(v)
	out := v.direct(v.request(http.MethodPost, "/logout", url.Values{}, "Sec-Fetch-Site", "same-origin"))
	location, asked := out.Header.Get("Location"), query(t, out.Header.Get("Location"))
	if out.StatusCode != http.StatusSeeOther || !strings.HasPrefix(location, s.op.URL(scriptedop.EndSession)+"?") {
		t.Fatalf("answered %d to %q", out.StatusCode, location)
	}
	if asked.Get("id_token_hint") != idToken || asked.Get("client_id") != s.op.ClientID || asked.Get("post_logout_redirect_uri") != s.url+"/signed-out" || len(asked.Get("state")) < 22 || len(asked) != 4 {
		t.Errorf("LR-03: the provider is asked %v", asked)
	}
	back := v.direct(v.request(http.MethodGet, location, nil)).Header.Get("Location")
	if page := v.get(back); page.StatusCode != http.StatusOK || !strings.Contains(page.body, "here and at the sign-in service") {
		t.Errorf("coming back is answered with %d\n%s", page.StatusCode, text(parse(t, page.body)))
	}
	if n := s.op.Calls(scriptedop.Revoke); n != 1 {
		t.Errorf("LR-05: the refresh token is revoked %d times", n)
	}
}

// TestComingBackFromSignOut (LR-04) comes back with another state and with none: a calm
// page, which leads nowhere by itself.
func TestComingBackFromSignOut(t *testing.T) {
	t.Parallel()
	s := startScripted(t)
	for name, query := range map[string]string{
		"another state": "?state=evil", "no state": "", "two states": "?state=a&state=b", "an address": "?redirect=//evil.example&returnTo=https://evil.example",
	} {
		v := s.visitor()
		s.signInNow(v)
		v.direct(v.request(http.MethodPost, "/logout", url.Values{}, "Sec-Fetch-Site", "same-origin"))
		page := v.direct(v.request(http.MethodGet, "/signed-out"+query, nil))
		if page.StatusCode != http.StatusOK || page.Header.Get("Refresh") != "" || strings.Contains(page.body, "evil.example") || strings.Contains(page.body, "and at the sign-in service") {
			t.Errorf("%s is answered with %d\n%s", name, page.StatusCode, page.body)
		}
		if find(parse(t, page.body), func(n *node) bool { return n.Data == "meta" && attribute(n, "http-equiv") == "refresh" }) != nil || v.signedIn() {
			t.Errorf("%s starts a sign-in", name)
		}
	}
}

// TestNoSignOutAtTheProvider (LR-01) is at a provider that offers none.
func TestNoSignOutAtTheProvider(t *testing.T) {
	t.Parallel()
	op := scriptedop.New(t, scriptedop.Config{Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}})
	op.Edit(scriptedop.Discovery, func(m map[string]any) { delete(m, "end_session_endpoint") })
	s := startBeside(t, op)
	v := s.visitor()
	s.signInNow(v)
	if page := v.post("/logout", nil); page.StatusCode != http.StatusOK || page.Request.URL.Path != "/signed-out" || v.signedIn() {
		t.Errorf("signing out ends at %s with %d", page.Request.URL.Path, page.StatusCode)
	}
}

// TestSignOutWithoutASession (LR-08) signs out where there is nobody: never was, any more,
// or with a cookie that nobody made.
func TestSignOutWithoutASession(t *testing.T) {
	t.Parallel()
	s, clock := assembleScripted(t)
	twice, late := s.visitor(), s.visitor()
	s.signInNow(twice)
	s.signInNow(late)
	twice.direct(twice.request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin"))
	clock.Move(25 * time.Hour) // beyond the idle lifetime
	made := strings.Repeat("A", 43) + "." + strings.Repeat("A", 43)
	for name, request := range map[string]*http.Request{
		"nobody":           s.visitor().request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin"),
		"twice":            twice.request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin"),
		"after the end":    late.request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin"),
		"a made-up cookie": s.visitor().request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin", "Cookie", "session="+made),
	} {
		v := map[string]*visitor{"twice": twice, "after the end": late}[name]
		if v == nil {
			v = s.visitor()
		}
		if got := v.direct(request); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/signed-out" {
			t.Errorf("%s: answered %d to %q", name, got.StatusCode, got.Header.Get("Location"))
		}
	}
}

// TestNoCookieSurvivesSignOut (LR-09) keeps every cookie that a person ever got, and tries
// each after they have signed out.
func TestNoCookieSurvivesSignOut(t *testing.T) {
	t.Parallel()
	s, _ := assembleScripted(t)
	v := s.visitor()
	var seen []string
	for range 3 { // signing in anew without signing out
		s.signInNow(v)
		seen = append(seen, v.cookieHeader())
	}
	if other := s.visitor(); !other.withCookies(seen[2]) {
		t.Fatal("the newest cookie opens nothing: the rest would show nothing")
	}
	v.direct(v.request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin"))
	v.get("/signed-out")
	seen = append(seen, v.cookieHeader())
	for i, cookies := range seen {
		if s.visitor().withCookies(cookies) {
			t.Errorf("cookie %d of %d opens the dashboard", i+1, len(seen))
		}
	}
}

// withCookies reports whether the dashboard opens with a Cookie header.
func (v *visitor) withCookies(header string) bool {
	v.t.Helper()
	return v.direct(v.request(http.MethodGet, "/dashboard", nil, "Cookie", header)).StatusCode == http.StatusOK
}

package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"latchkey/authn/scriptedop"
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
	if page := v.get(back); page.StatusCode != http.StatusOK || !strings.Contains(page.body, "here and at the sign-in provider") {
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
		if page.StatusCode != http.StatusOK || page.Header.Get("Refresh") != "" || strings.Contains(page.body, "evil.example") || strings.Contains(page.body, "and at the sign-in provider") {
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

package routes_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

// TestFrontchannelLogout (LF-01, LF-02, LF-03) ends a session as the provider's page does:
// in a frame, without cookies, by issuer and sid.
func TestFrontchannelLogout(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t, "FRONTCHANNEL_LOGOUT=on")
	one, two := a.Visitor(), a.Visitor()
	sid := apptest.SessionID(t, one.SignIn("/login", apptest.Ada))
	two.SignIn("/login", apptest.Ada)
	frame := func(query url.Values) apptest.Answer {
		v := a.Visitor() // its jar is empty
		return v.Direct(v.Request(http.MethodGet, "/frontchannel-logout?"+query.Encode(), nil,
			"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"))
	}
	for name, query := range map[string]url.Values{
		"no issuer":      {"sid": {sid}},
		"no sid":         {"iss": {a.Issuer}},
		"an empty sid":   {"iss": {a.Issuer}, "sid": {""}},
		"another issuer": {"iss": {"https://evil.example"}, "sid": {sid}},
		"two sids":       {"iss": {a.Issuer}, "sid": {sid, "other"}},
	} {
		if got := frame(query); got.StatusCode != http.StatusBadRequest || !strings.Contains(got.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Errorf("%s is answered with %d", name, got.StatusCode)
		}
	}
	if got := frame(url.Values{"iss": {a.Issuer}, "sid": {"unknown"}}); got.StatusCode != http.StatusOK {
		t.Errorf("an unknown sid is answered with %d", got.StatusCode)
	}
	if !one.SignedIn() || !two.SignedIn() {
		t.Fatal("a refused request ended a session")
	}
	got := frame(url.Values{"iss": {a.Issuer}, "sid": {sid}})
	policy := got.Header.Get("Content-Security-Policy")
	if got.StatusCode != http.StatusOK || !strings.HasSuffix(policy, "frame-ancestors "+a.Issuer) || got.Header.Get("X-Frame-Options") != "" || got.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("LF-02: %d, policy %q", got.StatusCode, policy)
	}
	if one.SignedIn() || !two.SignedIn() {
		t.Errorf("LF-01: the one is signed in: %t, the other: %t", one.SignedIn(), two.SignedIn())
	}
	off := apptest.Start(t).Visitor()
	if got := off.Direct(off.Request(http.MethodGet, "/frontchannel-logout?iss=x&sid=x", nil)); got.StatusCode != http.StatusNotFound {
		t.Errorf("LF-01: when it is off, it is answered with %d", got.StatusCode)
	}
}

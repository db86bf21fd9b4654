package app_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

// TestCallbackHeals (CB-21, CB-04) comes back to a callback that is used, lost or made
// up, signed in and not.
func TestCallbackHeals(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)

	// The authorization response of a sign-in, as the browser gets it.
	response := func(v *apptest.Visitor) string {
		page := v.Get("/profile")
		return v.Direct(v.Submission(page, "person-"+apptest.Ada)).Header.Get("Location")
	}

	t.Run("used, and signed in", func(t *testing.T) {
		v := a.Visitor()
		callback := response(v)
		if end := v.Get(callback); end.Request.URL.Path != "/profile" {
			t.Fatalf("the sign-in ends at %s", end.Request.URL)
		}
		if again := v.Direct(v.Request(http.MethodGet, callback, nil)); again.Header.Get("Location") != "/dashboard" {
			t.Errorf("the callback answers %d and leads to %q", again.StatusCode, again.Header.Get("Location"))
		}
	})
	t.Run("of another browser", func(t *testing.T) {
		mine, other := a.Visitor(), a.Visitor()
		callback := response(other)
		restarted := mine.Direct(mine.Request(http.MethodGet, callback, nil))
		if restarted.StatusCode != http.StatusSeeOther || restarted.Header.Get("Location") != "/login?again=1&return_to=%2Fdashboard" {
			t.Fatalf("CB-02: it answers %d and leads to %q", restarted.StatusCode, restarted.Header.Get("Location"))
		}
		if mine.SignedIn() {
			t.Fatal("CB-02: the response of another browser signs in")
		}
		if begun := mine.Direct(mine.Request(http.MethodGet, restarted.Header.Get("Location"), nil)); !strings.HasPrefix(begun.Header.Get("Location"), a.Issuer) {
			t.Errorf("the restart leads to %q", begun.Header.Get("Location"))
		}
		again := mine.Direct(mine.Request(http.MethodGet, callback, nil))
		if again.StatusCode != http.StatusBadRequest || !strings.Contains(again.Body, `href="/login"`) {
			t.Errorf("the loop is not broken: %d", again.StatusCode)
		}
		if end := other.Get(callback); end.Request.URL.Path != "/profile" {
			t.Errorf("CB-08: its own browser ends at %s with %d", end.Request.URL, end.StatusCode)
		}
	})
	t.Run("a browser that keeps no cookies", func(t *testing.T) {
		callback, bare := response(a.Visitor()), a.Visitor()
		bare.Client.Jar = nil
		bare.Client.CheckRedirect = nil // it follows up to ten redirects
		if end := bare.Get(callback); end.StatusCode != http.StatusBadRequest || !strings.Contains(end.Body, "keeps no cookies") {
			t.Errorf("it ends at %s with %d", end.Request.URL.Path, end.StatusCode)
		}
	})
	t.Run("a refusal of another browser", func(t *testing.T) {
		v := a.Visitor()
		refused := v.Direct(v.Request(http.MethodGet, "/callback?error=access_denied&state="+strings.Repeat("x", 43), nil))
		if refused.StatusCode != http.StatusBadRequest || strings.Contains(refused.Body, "cancelled") {
			t.Errorf("CB-08: it answers %d", refused.StatusCode)
		}
	})
	t.Run("fifty at once", func(t *testing.T) {
		v := a.Visitor()
		callback := response(v)
		answers := make(chan apptest.Answer, 50)
		for range 50 {
			go func() { answers <- v.Direct(v.Request(http.MethodGet, callback, nil)) }()
		}
		completed := 0
		for range 50 {
			got := <-answers
			if got.StatusCode >= 500 {
				t.Errorf("CB-04: one is answered with %d", got.StatusCode)
			}
			if got.Header.Get("Location") == "/profile" {
				completed++
			}
		}
		if completed < 1 || !v.SignedIn() {
			t.Errorf("CB-04: %d of them sign in", completed)
		}
		if got := a.Log.Count(`"msg":"signed in"`); got != 3 {
			t.Errorf("CB-04: %d sign-ins are logged, want 3 for the three of this test", got)
		}
	})
}

// TestThirdPartyInitiatedLogin (AR-17) starts sign-ins from another site.
func TestThirdPartyInitiatedLogin(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	for name, test := range map[string]struct {
		query  url.Values
		status int
	}{
		"ours":              {url.Values{"iss": {a.Issuer}}, http.StatusSeeOther},
		"ours, to a page":   {url.Values{"iss": {a.Issuer}, "target_link_uri": {a.URL + "/profile"}, "login_hint": {"ada@example.test"}}, http.StatusSeeOther},
		"another provider":  {url.Values{"iss": {"https://evil.example"}}, http.StatusBadRequest},
		"two providers":     {url.Values{"iss": {a.Issuer, "https://evil.example"}}, http.StatusBadRequest},
		"another site":      {url.Values{"iss": {a.Issuer}, "target_link_uri": {"https://evil.example/"}}, http.StatusBadRequest},
		"a look-alike site": {url.Values{"iss": {a.Issuer}, "target_link_uri": {a.URL + ".evil.example/"}}, http.StatusBadRequest},
		"a hidden site":     {url.Values{"iss": {a.Issuer}, "target_link_uri": {a.URL + "//evil.example/"}}, http.StatusBadRequest},
	} {
		got := v.Direct(v.Request(http.MethodGet, "/login?"+test.query.Encode(), nil, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"))
		if got.StatusCode != test.status || (len(got.Cookies()) > 0) != (test.status == http.StatusSeeOther) {
			t.Errorf("%s is answered with %d and cookies %v", name, got.StatusCode, got.Cookies())
		}
	}
	from := "/login?" + url.Values{"iss": {a.Issuer}, "target_link_uri": {a.URL + "/profile"}}.Encode()
	if end := v.SignIn(from, apptest.Ada); end.Request.URL.Path != "/profile" {
		t.Errorf("it ends at %s", end.Request.URL)
	}
}

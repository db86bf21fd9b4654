package interop

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"latchkey/internal/apptest"
)

// TestBrowserNeighbours (CK-10) signs in to two apps and opens a third application on other ports of
// localhost, whose cookies a browser shares. Each keeps its own.
func TestBrowserNeighbours(t *testing.T) {
	t.Parallel()
	one, two := apptest.Start(t), apptest.Start(t)
	third := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "eyJ1c2VyIjoxfQ.aSdLmQ.flask", Path: "/", HttpOnly: true})
	}))
	t.Cleanup(third.Close)
	thirds := strings.Replace(third.URL, "127.0.0.1", "localhost", 1)

	b := apptest.OpenBrowser(t, one)
	other := b.Tab()
	other.App = two
	for _, tab := range []*apptest.Browser{b, other} {
		tab.AllowComplaint(thirds)
		tab.AllowComplaint("404") // the third application's icon
	}
	b.SignIn("/login", apptest.Ada)
	b.Do(chromedp.Navigate(thirds))
	other.SignIn("/login", "dev|roles")

	names := func() (list []string) {
		for _, c := range apptest.Call(b, network.GetCookies, network.GetCookiesParams{URLs: []string{one.URL}}).Cookies {
			list = append(list, c.Name)
		}
		slices.Sort(list)
		return list
	}
	want := []string{"session", one.CookieName("session"), two.CookieName("session")}
	slices.Sort(want)
	if got := names(); !slices.Equal(got, want) {
		t.Errorf("the browser has the cookies %q, want %q", got, want)
	}
	b.Open("/profile")
	if page := b.Text("body"); !strings.Contains(page, "Ada Lovelace") {
		t.Errorf("signing in to the other app has signed out of this one:\n%s", page)
	}
	other.SignOut()
	other.Wait("#qsLoginBtn")
	b.Open("/profile")
	if page := b.Text("body"); !strings.Contains(page, "Ada Lovelace") {
		t.Errorf("signing out of the other app has signed out of this one:\n%s", page)
	}
	if got := names(); !slices.Contains(got, "session") || slices.Contains(got, two.CookieName("session")) {
		t.Errorf("after the sign-out the browser has the cookies %q", got)
	}
}

// TestCookiesOfOthers (CK-10, SE-05) sends cookies of other applications on the host, under every
// name that they may have. None is deleted. The twins are what this app may have written itself.
func TestCookiesOfOthers(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	token := strings.Repeat("A", 43)
	transaction := strings.Repeat("A", 400)
	for name, tt := range map[string]struct {
		cookie, value string
		deleted       bool
	}{
		"Flask's session":                    {"session", "eyJ1c2VyIjoxfQ.aSdLmQ.flask", false},
		"an earlier version's session":       {"session", token + "." + token, false},
		"the session of another port":        {"session_1", token + "." + token, false},
		"a transaction of another port":      {"txn_AAAAAAAA_1", transaction, false},
		"another's transaction":              {"txn_AAAAAAAA", transaction, false},
		"another's value under our name":     {a.CookieName("session"), "eyJ1c2VyIjoxfQ.aSdLmQ.flask", false},
		"an empty value under our name":      {a.CookieName("session"), "", false},
		"another's transaction, our name":    {a.CookieName("txn_AAAAAAAA"), "s%3Axyz", false},
		"a short transaction, our name":      {a.CookieName("txn_AAAAAAAA"), "AAAA", false},
		"a longer name than a transaction's": {a.CookieName("txn_AAAAAAAAA"), transaction, false},
		"another's logout, our name":         {a.CookieName("logout"), "yes", false},
		"a session that is unknown":          {a.CookieName("session"), token + "." + token, true},
		"a transaction that does not open":   {a.CookieName("txn_AAAAAAAA"), transaction, true},
		"a logout of ours":                   {a.CookieName("logout"), "here", true},
	} {
		deleted := false
		for _, visit := range []struct{ method, path string }{
			{http.MethodGet, "/"},
			{http.MethodGet, "/dashboard"},
			{http.MethodGet, "/login"},
			{http.MethodGet, "/callback?code=x&state=" + token},
			{http.MethodGet, "/signed-out"},
			{http.MethodPost, "/logout"},
		} {
			v := a.Visitor()
			got := v.Direct(v.Request(visit.method, visit.path, nil, "Sec-Fetch-Site", "same-origin", "Cookie", tt.cookie+"="+tt.value))
			deleted = deleted || slices.ContainsFunc(got.Cookies(), func(c *http.Cookie) bool { return c.Name == tt.cookie && c.MaxAge < 0 })
		}
		if deleted != tt.deleted {
			t.Errorf("%s: deleted %t", name, deleted)
		}
	}
}

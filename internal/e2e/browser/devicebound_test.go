package browser

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"latchkey/internal/apptest"
)

// openBound signs a person in over HTTPS, in a browser that binds the session to a key.
func openBound(t *testing.T) (*apptest.Scripted, *apptest.Clock, *apptest.Browser) {
	t.Helper()
	s, c := apptest.AssembleHTTPS(t, "DEVICE_BOUND_SESSIONS=auto")
	b := apptest.OpenDeviceBoundBrowser(t, s.App)
	b.Open("/login")
	b.Wait("#profile-card")
	apptest.Eventually(t, "the browser registers a key", func() bool { return s.Log.Count("session bound to a device") == 1 })
	apptest.Eventually(t, "the browser keeps the cookie", func() bool { return cookieOf(b, "__Host-bound") != "" })
	return s, c, b
}

// renewals returns how often the proof was renewed.
func renewals(s *apptest.Scripted) (n int) {
	for _, line := range s.Logged("request answered", "") {
		if line["path"] == "/session/renew" && line["status"] == float64(http.StatusOK) {
			n++
		}
	}
	return n
}

// cookies returns the cookies that the browser has for the app.
func cookies(b *apptest.Browser) []*network.Cookie {
	b.T.Helper()
	return apptest.Call(b, network.GetCookies, network.GetCookiesParams{URLs: []string{b.App.URL}}).Cookies
}

func cookieOf(b *apptest.Browser, name string) string {
	b.T.Helper()
	for _, c := range cookies(b) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// timePasses lets the time pass in which a proof counts, for the app and, as far as it matters, for the
// browser. What the page asks for between these two steps still has the cookie, and is answered 401.
func timePasses(c *apptest.Clock, b *apptest.Browser) {
	b.T.Helper()
	b.AllowComplaint("401")
	c.Move(10 * time.Minute)
	apptest.Call(b, network.DeleteCookies, network.DeleteCookiesParams{Name: "__Host-bound", URL: b.App.URL})
}

// TestBrowserBindsASession (CK-11, CK-13) signs in, continues through three renewals, and copies all
// cookies to another browser, where they open nothing once the proof is over. The owner notices nothing.
func TestBrowserBindsASession(t *testing.T) {
	t.Parallel()
	s, c, b := openBound(t)
	stolen := cookies(b)
	thief := s.Visitor()
	stealTo(t, thief, stolen)
	if !thief.SignedIn() {
		t.Error("the copy does not open while its proof counts, so this test shows nothing")
	}

	timePasses(c, b)
	b.Open("/profile") // the browser renews before a page is requested
	b.Wait("#profile-card")
	if path := b.Path(); path != "/profile" {
		t.Errorf("the owner is at %s\n%s", path, s.Log)
	}
	timePasses(c, b)
	if status := asScript(b); status != http.StatusOK { // before a script's request
		t.Errorf("the owner's script gets %d", status)
	}
	timePasses(c, b)
	b.Open("/sessions")
	b.Wait(".device")
	if badge := b.Text(".device"); !strings.Contains(badge, "Bound to the device") {
		t.Errorf("the list says %q", badge)
	}
	if n := renewals(s); n != 3 {
		t.Errorf("the proof was renewed %d times, want 3\n%s", n, s.Log)
	}

	stealTo(t, thief, stolen)
	for _, path := range []string{"/dashboard", "/profile", "/sessions", "/api/me"} {
		if got := thief.Direct(thief.Request(http.MethodGet, path, nil)); got.StatusCode == http.StatusOK || strings.Contains(got.Body, "alice") {
			t.Errorf("the copy opens %s: %d", path, got.StatusCode)
		}
	}
	other := b.Device()
	other.AllowComplaint("401")
	for _, cookie := range stolen {
		apptest.Call(other, network.SetCookie, network.SetCookieParams{Name: cookie.Name, Value: cookie.Value, URL: s.URL, Path: "/", Secure: new(true), HTTPOnly: new(true)})
	}
	other.Open("/healthz")
	if status := asScript(other); status != http.StatusUnauthorized {
		t.Errorf("the copy in another browser gets %d", status)
	}

	b.Open("/dashboard")
	b.SignOut()
	b.Until(`location.pathname === "/" || location.pathname === "/signed-out"`)
	stealTo(t, thief, cookies(b))
	if thief.SignedIn() || cookieOf(b, "__Host-bound") != "" {
		t.Error("the sign-out leaves something")
	}
}

// asScript returns the status that a script of the page gets from the API.
func asScript(b *apptest.Browser) int {
	b.T.Helper()
	apptest.Evaluate[string](b, `document.title = ""; fetch("/api/me").then((answer) => { document.title = answer.status }); ""`)
	b.Until(`document.title !== ""`)
	return apptest.Evaluate[int](b, "Number(document.title)")
}

// stealTo gives a visitor cookies of a browser.
func stealTo(t *testing.T, v *apptest.Visitor, stolen []*network.Cookie) {
	t.Helper()
	address := v.Request(http.MethodGet, "/", nil).URL
	for _, c := range stolen {
		v.Client.Jar.SetCookies(address, []*http.Cookie{{Name: c.Name, Value: c.Value, Path: "/", Secure: true}})
	}
}

// TestBrowserFollowsALinkToABoundSession (CK-13) follows a link of another site after the proof is over.
// Chromium renews nothing then. The page goes on by itself, without JavaScript, too, and so do many tabs
// at once.
func TestBrowserFollowsALinkToABoundSession(t *testing.T) {
	t.Parallel()
	s, c, b := openBound(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<link rel="icon" href="data:,"><a href="` + s.URL + `/profile?from=afar">link</a>`))
	}))
	t.Cleanup(elsewhere.Close)
	b.AllowComplaint("a request to " + elsewhere.URL)
	b.WithoutJavaScript()
	b.Do(chromedp.Navigate(elsewhere.URL))
	timePasses(c, b)
	b.Click("a")
	b.Wait("#profile-card")
	if path := b.Path(); path != "/profile?from=afar" {
		t.Errorf("the link leads to %s\n%s", path, s.Log)
	}
	if s.Log.Count("sign-in begun") != 1 {
		t.Error("the person had to sign in again")
	}
	if n := renewals(s); n != 1 {
		t.Errorf("the proof was renewed %d times\n%s", n, s.Log)
	}

	tabs := []*apptest.Browser{b, b.Tab(), b.Tab(), b.Tab()}
	timePasses(c, b)
	var wait sync.WaitGroup
	for _, tab := range tabs {
		wait.Go(func() { _ = chromedp.Do(tab.Context, chromedp.Navigate(s.URL+"/dashboard")) })
	}
	wait.Wait()
	for i, tab := range tabs {
		if path := tab.Path(); path != "/dashboard" {
			t.Errorf("tab %d is at %s", i, path)
		}
	}
	if n := renewals(s); n != 2 {
		t.Errorf("%d tabs have renewed the proof %d times", len(tabs), n-1)
	}
}

// TestBrowserSignsInAgainToABoundSession (CK-14) signs in a second time in the same browser, as a step-up
// does. The browser forgets the first session when it renews both, and keeps the second.
func TestBrowserSignsInAgainToABoundSession(t *testing.T) {
	t.Parallel()
	s, c, b := openBound(t)
	b.Open("/login")
	b.Wait("#profile-card")
	apptest.Eventually(t, "the browser registers another key", func() bool { return s.Log.Count("session bound to a device") == 2 })
	for range 2 {
		timePasses(c, b)
		b.Open("/profile")
		b.Wait("#profile-card")
		if path := b.Path(); path != "/profile" {
			t.Errorf("the person is at %s", path)
		}
	}
	if n := s.Log.Count("sign-in begun"); n != 2 {
		t.Errorf("the person has signed in %d times\n%s", n, s.Log)
	}
	if n := renewals(s); n != 2 && n != 3 { // perhaps one of the first session, if Chromium begins with it
		t.Errorf("there were %d renewals\n%s", n, s.Log)
	}
}

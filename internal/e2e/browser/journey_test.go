package browser

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"latchkey/internal/apptest"
)

// TestBrowserJourney runs through the whole journey in a browser, with JavaScript and
// without.
func TestBrowserJourney(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]bool{"with JavaScript": true, "without JavaScript": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := apptest.Start(t)
			b := apptest.OpenBrowser(t, a)
			if !script {
				b.WithoutJavaScript()
			}
			b.Open("/")
			b.Click("#qsLoginBtn")
			b.Wait(`button[id="person-` + apptest.Ada + `"]`)
			if !strings.HasPrefix(b.Path(), a.Issuer) {
				t.Errorf("the button leads to %s", b.Path())
			}
			b.Click(`button[id="person-` + apptest.Ada + `"]`)
			b.Wait("#profile-card")
			if b.Path() != "/dashboard" {
				t.Errorf("signing in ends at %s", b.Path())
			}

			refreshes(b, script)

			b.SignOut()
			b.Wait("#qsLoginBtn")
			if got := b.Path(); !strings.HasPrefix(got, "/?state=") {
				t.Errorf("signing out ends at %s", got)
			}
			// HB-03: the browser went on to the provider.
			if got := b.Text("main"); !strings.Contains(got, "You are signed out") || !strings.Contains(got, "here and at the sign-in service") {
				t.Errorf("the page says: %s", got)
			}
			// LR-07: going back shows nothing private.
			b.Do(chromedp.NavigateBack())
			b.Do(chromedp.WaitReady(chromedp.CSS("body")))
			if got := b.Text("body"); strings.Contains(got, "Ada") && strings.Contains(got, "Raw JSON") {
				t.Errorf("going back shows the dashboard at %s", b.Path())
			}
		})
	}
}

// refreshes presses Refresh. With JavaScript only the card is replaced, without it the
// whole page.
func refreshes(b *apptest.Browser, script bool) {
	b.T.Helper()
	if !script {
		b.Click("#profile-refresh-button")
		b.Wait("#profile-message p")
		if b.Path() != "/dashboard?refreshed" || !strings.Contains(b.Text("#profile-message p"), "nothing has changed") {
			b.T.Errorf("refreshing ends at %s, which says %s", b.Path(), b.Text("#profile-card"))
		}
		return
	}
	apptest.Evaluate[bool](b, `document.querySelector("h1").dataset.mark = "kept", true`)
	b.Click("#profile-refresh-button")
	b.Do(chromedp.WaitVisible(chromedp.CSS("#profile-message p")))
	if got := b.Text("#profile-message p"); !strings.Contains(got, "nothing has changed") {
		b.T.Errorf("after refreshing, the card says: %s", got)
	}
	if got := apptest.Evaluate[string](b, `document.querySelector("h1").dataset.mark || ""`); got != "kept" {
		b.T.Error("refreshing replaced more than the card")
	}
	if got := apptest.Evaluate[string](b, `document.activeElement.id`); got != "profile-refresh-button" {
		b.T.Errorf("after refreshing, the focus is on %q", got)
	}
	if got := apptest.Evaluate[int](b, `sessionStorage.length + localStorage.length`); got != 0 {
		b.T.Errorf("HB-04: the browser stores %d items", got)
	}
}

// TestBrowserSessionEnded (HB-21) presses Refresh on a page whose session has ended and
// that has no event stream. The person learns why on a page of its own, never inside the
// card, and returns to the page that they were on.
func TestBrowserSessionEnded(t *testing.T) {
	t.Parallel()
	p := apptest.StartDevProvider(t, false)
	b := apptest.OpenBrowser(t, p.App)
	b.AllowComplaint("ERR_BLOCKED_BY_CLIENT")
	apptest.Call(b, network.SetBlockedURLs, network.SetBlockedURLsParams{
		URLPatterns: []*network.BlockPattern{{URLPattern: p.App.URL + "/events", Block: true}},
	})
	b.SignIn("/profile", apptest.Ada)
	apptest.Evaluate[bool](b, `document.body.dataset.mark = "old", true`)
	if err := p.BackchannelLogout(t.Context(), apptest.Ada, ""); err != nil {
		t.Fatal(err)
	}
	// A sign-in in the same second as the sign-out would count as before it.
	p.Ahead.Store(int64(2 * time.Second))
	b.AllowComplaint("401")
	b.Click("#profile-refresh-button")
	b.Wait("#qsLoginBtn")
	if got := b.Path(); !strings.HasPrefix(got, "/signed-out?because=provider") {
		t.Errorf("the reason is shown at %s", got)
	}
	b.Click("#qsLoginBtn")
	// The provider still knows the person, and sends them straight back.
	b.Wait("body:not([data-mark]) #profile-card")
	if got := b.Path(); got != "/profile" {
		t.Errorf("the person ends at %s", got)
	}
	if p.App.Log.Count(`"msg":"signed in"`) != 2 {
		t.Error("there was no second sign-in")
	}
}

// TestBrowserPeople opens the dashboard of every sample person. The browser reports no
// error, and no page is wider than the screen.
func TestBrowserPeople(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	b := apptest.OpenBrowser(t, a)
	b.Open("/login")
	people := apptest.Evaluate[[]string](b, `Array.from(document.querySelectorAll("button[id^=person-]"), b => b.id.slice(7))`)
	if len(people) < 6 {
		t.Fatalf("%d people", len(people))
	}
	for _, subject := range people {
		b.Open("/login?screen_hint=login")
		if strings.HasPrefix(b.Path(), "/") { // the provider recognized the person
			b.SignOut()
			b.Wait("#qsLoginBtn")
			b.Open("/login")
		}
		b.Click(`button[id="person-` + subject + `"]`)
		b.Wait(".account-button")
		for _, width := range []int64{320, 768, 1440} {
			b.Do(chromedp.EmulateViewport(width, 900))
			// The page needs a moment to adopt the new width.
			fits := chromedp.Poll[bool](`innerWidth === `+strconv.FormatInt(width, 10)+` && document.documentElement.scrollWidth <= document.documentElement.clientWidth`,
				chromedp.WithPollingTimeout(apptest.Patience))
			if _, err := chromedp.Run(b.Context, fits); err != nil {
				over := apptest.Evaluate[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`)
				t.Errorf("at %d px the dashboard of %s is %d px too wide", width, subject, over)
			}
		}
	}
}

// TestBrowserForbidden opens a page that Ada may not see, and then signs in as a person who
// may see it.
func TestBrowserForbidden(t *testing.T) {
	t.Parallel()
	b := apptest.OpenBrowser(t, apptest.Start(t))
	b.AllowComplaint("403")
	b.SignIn("/admin", apptest.Ada)
	page := b.Text("main")
	for _, want := range []string{"You don't have access", "This page needs the admin role.", "Ada Lovelace", "ada@example.test", "https://latchkey.example/roles", "a list with admin"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q:\n%s", want, page)
		}
	}
	for _, width := range []int64{320, 768} {
		b.Do(chromedp.EmulateViewport(width, 900))
		b.Do(chromedp.Poll[chromedp.Void](`innerWidth === ` + strconv.FormatInt(width, 10)))
		if over := apptest.Evaluate[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
			t.Errorf("at %d px the page is %d px too wide", width, over)
		}
	}
	b.Click(`main a[href*="switch=1"]`)
	// The provider still knows Ada, but asks anyway.
	b.Click(`button[id="person-dev|roles"]`)
	b.Wait("#state-heading")
	if got := b.Path(); got != "/admin" {
		t.Errorf("the person ends at %s", got)
	}
	if page := apptest.Evaluate[string](b, `document.body.textContent`); strings.Contains(page, "Ada") || !strings.Contains(page, "Rosa Ruiz") {
		t.Errorf("SE-12: the page is\n%s", page)
	}
}

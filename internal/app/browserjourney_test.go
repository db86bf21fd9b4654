package app

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// TestBrowserJourney is the whole journey in a browser, with JavaScript and without.
func TestBrowserJourney(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]bool{"with JavaScript": true, "without JavaScript": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := startApp(t)
			b := openBrowser(t, a)
			if !script {
				b.withoutJavaScript()
			}
			b.open("/")
			b.click("#qsLoginBtn")
			b.wait(`button[id="person-` + ada + `"]`)
			if !strings.HasPrefix(b.path(), a.issuer) {
				t.Errorf("the button leads to %s", b.path())
			}
			b.click(`button[id="person-` + ada + `"]`)
			b.wait("#profile-card")
			if b.path() != "/dashboard" {
				t.Errorf("signing in ends at %s", b.path())
			}

			b.refreshes(script)

			b.click("#qsLogoutBtn")
			b.wait("#qsLoginBtn")
			if got := b.path(); !strings.HasPrefix(got, "/signed-out") {
				t.Errorf("signing out ends at %s", got)
			}
			// HB-03: the browser followed the form's redirect to the provider.
			if got := b.text("main"); !strings.Contains(got, "here and at the sign-in service") {
				t.Errorf("the page says: %s", got)
			}
			// LR-07: going back shows nothing private.
			b.do(chromedp.NavigateBack())
			b.do(chromedp.WaitReady(chromedp.CSS("body")))
			if got := b.text("body"); strings.Contains(got, "Ada") && strings.Contains(got, "Raw JSON") {
				t.Errorf("the back button shows the dashboard at %s", b.path())
			}
		})
	}
}

// refreshes presses Refresh: with scripts the card alone is replaced, without them the
// page is.
func (b *browser) refreshes(script bool) {
	b.t.Helper()
	if !script {
		b.click("#profile-refresh-button")
		b.wait("#profile-card .changes")
		if b.path() != "/dashboard?refreshed" || !strings.Contains(b.text("#profile-card .changes"), "nothing has changed") {
			b.t.Errorf("refreshing ends at %s, which says %s", b.path(), b.text("#profile-card"))
		}
		return
	}
	evaluate[bool](b, `document.querySelector("h1").dataset.mark = "kept", true`)
	b.click("#profile-refresh-button")
	b.do(chromedp.WaitVisible(chromedp.CSS("#profile-card .changes")))
	if got := b.text("#profile-card .changes"); !strings.Contains(got, "nothing has changed") {
		b.t.Errorf("after refreshing the card says: %s", got)
	}
	if got := evaluate[string](b, `document.querySelector("h1").dataset.mark || ""`); got != "kept" {
		b.t.Error("refreshing replaced more than the card")
	}
	if got := evaluate[string](b, `document.activeElement.id`); got != "profile-refresh-button" {
		b.t.Errorf("after refreshing the focus is on %q", got)
	}
	if got := evaluate[int](b, `sessionStorage.length + localStorage.length`); got != 0 {
		b.t.Errorf("HB-04: %d things are kept in the browser", got)
	}
}

// TestBrowserSessionEnded (HB-21) presses Refresh on a page whose session has ended: the
// person is told why on a page of its own, never inside the card, and returns to the page
// that they were on. No stream of events tells the page before.
func TestBrowserSessionEnded(t *testing.T) {
	t.Parallel()
	p := startOwnProvider(t, false)
	b := openBrowser(t, p.app)
	b.expect("ERR_BLOCKED_BY_CLIENT")
	call(b, network.SetBlockedURLs, network.SetBlockedURLsParams{
		URLPatterns: []*network.BlockPattern{{URLPattern: p.app.url + "/events", Block: true}},
	})
	b.signIn("/profile", ada)
	evaluate[bool](b, `document.body.dataset.mark = "old", true`)
	if err := p.BackchannelLogout(t.Context(), ada, ""); err != nil {
		t.Fatal(err)
	}
	// A sign-in in the very second of the sign-out would count as before it.
	p.ahead.Store(int64(2 * time.Second))
	b.expect("401")
	b.click("#profile-refresh-button")
	b.wait("#qsLoginBtn")
	if got := b.path(); !strings.HasPrefix(got, "/signed-out?because=provider") {
		t.Errorf("the person is told at %s", got)
	}
	b.click("#qsLoginBtn")
	// The provider knows the person still, and sends them straight back.
	b.wait("body:not([data-mark]) #profile-card")
	if got := b.path(); got != "/profile" {
		t.Errorf("the person ends at %s", got)
	}
	if p.app.log.count(`"msg":"signed in"`) != 2 {
		t.Error("there was no second sign-in")
	}
}

// TestBrowserPeople looks at the dashboard of everybody that the provider offers: the
// browser must have nothing to complain of, and no page may be wider than the screen.
func TestBrowserPeople(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	b := openBrowser(t, a)
	b.open("/login")
	people := evaluate[[]string](b, `Array.from(document.querySelectorAll("button[id^=person-]"), b => b.id.slice(7))`)
	if len(people) < 6 {
		t.Fatalf("%d people", len(people))
	}
	for _, subject := range people {
		b.open("/login?screen_hint=login")
		if strings.HasPrefix(b.path(), "/") { // the provider knew who it was
			b.click("#qsLogoutBtn")
			b.wait("#qsLoginBtn")
			b.open("/login")
		}
		b.click(`button[id="person-` + subject + `"]`)
		b.wait("#qsLogoutBtn")
		for _, width := range []int64{320, 768, 1440} {
			b.do(chromedp.EmulateViewport(width, 900))
			// The page needs a moment to take the new width.
			fits := chromedp.Poll[bool](`innerWidth === `+strconv.FormatInt(width, 10)+` && document.documentElement.scrollWidth <= document.documentElement.clientWidth`,
				chromedp.WithPollingTimeout(5*time.Second))
			if _, err := chromedp.Run(b.ctx, fits); err != nil {
				over := evaluate[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`)
				t.Errorf("at %d px the dashboard of %s is %d px too wide", width, subject, over)
			}
		}
	}
}

package app

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// axeHash pins testdata/axe/axe.min.js: axe-core 4.14.1 as its makers published it, under
// the licence beside it.
const axeHash = "xt1SFg49QaDwsyt0Xfs2XAyBtYPClXl3X2q5OOLeGAUmq9jZTYIMdztpF99WdhiH"

// axe is the source of axe-core.
func axe(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile("testdata/axe/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha512.Sum384(source)
	if got := base64.StdEncoding.EncodeToString(sum[:]); got != axeHash {
		t.Fatalf("axe.min.js has the hash %s", got)
	}
	return string(source) + ";null"
}

// Every rule of WCAG 2.2 AA and of good practice; for the dark colours, those about colour.
const (
	everyRule   = `{type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}`
	colourRules = `{type: "rule", values: ["color-contrast", "link-in-text-block"]}`
)

// violation is what axe finds.
type violation struct {
	ID, Help string
	Nodes    []struct{ HTML, FailureSummary string }
}

// accessible runs axe on the page at hand, and fails the test for what it finds.
func (b *browser) accessible(axe, where, rules string) {
	b.t.Helper()
	found, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](
		`(window.axe ? Promise.resolve() : new Promise(done => { `+axe+`; done(); })).then(() =>
			axe.run(document, {runOnly: `+rules+`, resultTypes: ["violations"]})).then(r => JSON.stringify(r.violations))`,
		chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatal(err)
	}
	var violations []violation
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		b.t.Fatal(err)
	}
	for _, v := range violations {
		for _, n := range v.Nodes {
			b.t.Errorf("%s: %s (%s)\n\t%.300s\n\t%s", where, v.ID, v.Help, n.HTML, strings.ReplaceAll(n.FailureSummary, "\n", "\n\t"))
		}
	}
}

// colours chooses the light or the dark ones.
func (b *browser) colours(scheme string, others ...*emulation.MediaFeature) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: append(others, &emulation.MediaFeature{Name: "prefers-color-scheme", Value: scheme}),
	})
}

// still switches transitions off, during which a contrast is in between.
var still = &emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"}

// TestBrowserGallery (HB-02) opens every piece of the gallery in one tab: axe finds nothing
// in light or dark, the browser has nothing to complain of, and nothing is wider than the
// narrowest screen.
func TestBrowserGallery(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	b := openBrowser(t, a)
	source := axe(t)
	seen := map[string]bool{}
	for _, piece := range append(a.gallery(), "/dev/gallery") {
		b.narrow(piece)
		// What has the same elements differs in words alone, of which axe has no opinion.
		elements := evaluate[string](b, `[...document.querySelectorAll("*")].map(e => e.localName + "." + e.className + "#" + e.id).join(" ")`)
		if !seen[elements] {
			seen[elements] = true
			b.inBothColours(source, piece)
		}
	}
	if len(seen) < 20 {
		t.Errorf("axe has looked at %d pieces only", len(seen))
	}
	t.Logf("axe has looked at %d pieces", len(seen))
}

// TestBrowserLivePages has axe look at the pages as they are in use, those of the
// development provider too.
func TestBrowserLivePages(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	b := openBrowser(t, a)
	source := axe(t)
	look := func(where string) {
		t.Helper()
		b.inBothColours(source, where)
	}
	b.open("/")
	look("home")
	b.do(chromedp.Navigate(a.issuer + "/"))
	look("the provider")
	b.do(chromedp.Navigate(a.issuer + "/end_session"))
	look("the provider's sign-out")
	b.expect("400")
	b.do(chromedp.Navigate(a.issuer + "/authorize"))
	look("the provider's refusal")
	b.open("/login")
	look("the provider's sign-in")
	b.expect("422")
	b.click("#someone-else")
	b.wait("#email-error")
	look("the provider's sign-in, filled in wrongly")
	b.signIn("/login", ada)
	b.open("/dashboard")
	b.until(`!document.querySelector("time:not([data-local])")`)
	b.wantNoShift()
	b.click("#claims-card .raw summary")
	look("dashboard")
	b.click("#profile-refresh-button")
	b.wait("#profile-card .changes")
	look("dashboard, refreshed")
	b.open("/sessions")
	look("devices")
	b.click("#qsLogoutBtn")
	b.wait("#qsLoginBtn")
	look("signed out")
}

// wantNoShift checks that nothing on the page at hand has moved since it came.
func (b *browser) wantNoShift() {
	b.t.Helper()
	shift := get(b, chromedp.Evaluate[float64](`new Promise(done => {
		let sum = 0;
		new PerformanceObserver(list => { for (const shift of list.getEntries()) sum += shift.value }).observe({type: "layout-shift", buffered: true});
		requestAnimationFrame(() => requestAnimationFrame(() => requestIdleCallback(() => done(sum))));
	})`, chromedp.EvalAwaitPromise))
	if shift > 0 {
		b.t.Errorf("%s has shifted by %v", b.path(), shift)
	}
}

// narrow opens a page on the narrowest screen.
func (b *browser) narrow(where string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(320, 800))
	b.open(where)
	b.fits(where)
}

// fits looks whether the page at hand is wider than the screen.
func (b *browser) fits(where string) {
	b.t.Helper()
	if over := evaluate[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
		b.t.Errorf("%s: at 320 px it is %d px too wide", where, over)
	}
}

// handy looks for a control that a thumb may miss: 44 px each way, but for links within a
// sentence, and boxes, which their label ticks too (WCAG 2.2, 2.5.5).
func (b *browser) handy(where string) {
	b.t.Helper()
	for _, small := range evaluate[[]string](b, `Array.from(document.querySelectorAll("a, button, summary, input:not([type=hidden], [type=checkbox]), textarea"))
		.filter(e => e.getClientRects().length > 0 && getComputedStyle(e).display !== "inline")
		.filter(e => { const box = e.getBoundingClientRect(); return Math.min(box.width, box.height) < 43.5; })
		.map(e => e.outerHTML.slice(0, 200))`) {
		b.t.Errorf("%s: smaller than 44 px: %s", where, small)
	}
}

// inBothColours has axe look at the page at hand, and a thumb.
func (b *browser) inBothColours(axe, where string) {
	b.t.Helper()
	b.handy(where)
	b.colours("light", still)
	b.accessible(axe, where+" in light", everyRule)
	b.colours("dark", still)
	b.accessible(axe, where+" in dark", colourRules)
}

package browser

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"latchkey/internal/apptest"
	"latchkey/internal/product"
	"latchkey/routes"
)

// axeHash pins testdata/axe/axe.min.js: axe-core 4.14.1 as published, under the licence
// next to it.
const axeHash = "xt1SFg49QaDwsyt0Xfs2XAyBtYPClXl3X2q5OOLeGAUmq9jZTYIMdztpF99WdhiH"

// axe returns the source of axe-core.
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

// The light colours are checked against all rules of WCAG 2.2 AA and best practice, the
// dark ones only against those about colour.
const (
	everyRule   = `{type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}`
	colourRules = `{type: "rule", values: ["color-contrast", "link-in-text-block"]}`
)

// violation is a finding of axe.
type violation struct {
	ID, Help string
	Nodes    []struct{ HTML, FailureSummary string }
}

// accessible runs axe on the current page, and fails the test for each finding.
func accessible(b *apptest.Browser, axe, where, rules string) {
	b.T.Helper()
	found, err := chromedp.Run(b.Context, chromedp.Evaluate[string](
		`(window.axe ? Promise.resolve() : new Promise(done => { `+axe+`; done(); })).then(() =>
			axe.run(document, {iframes: false, runOnly: `+rules+`, resultTypes: ["violations"]})).then(r => JSON.stringify(r.violations))`,
		chromedp.EvalAwaitPromise))
	if err != nil {
		b.T.Fatal(err)
	}
	var violations []violation
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		b.T.Fatal(err)
	}
	for _, v := range violations {
		for _, n := range v.Nodes {
			b.T.Errorf("%s: %s (%s)\n\t%.300s\n\t%s", where, v.ID, v.Help, n.HTML, strings.ReplaceAll(n.FailureSummary, "\n", "\n\t"))
		}
	}
}

// setColours chooses the light or the dark colours.
func setColours(b *apptest.Browser, scheme string, others ...*emulation.MediaFeature) {
	b.T.Helper()
	apptest.Call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: append(others, &emulation.MediaFeature{Name: "prefers-color-scheme", Value: scheme}),
	})
}

// still turns off transitions, during which contrast is temporarily lower.
var still = &emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"}

// TestBrowserGallery (HB-02) opens every piece of the gallery, also those of the product, in one tab. axe finds nothing
// in light or dark, the browser reports no error, and nothing is wider than the narrowest
// screen. Each group is a test, so that a product can run its own.
func TestBrowserGallery(t *testing.T) {
	t.Parallel()
	a := apptest.StartProduct(t, routes.Product{Samples: product.New().Samples})
	b := apptest.OpenBrowser(t, a)
	source := axe(t)
	narrow(b, "/dev/gallery")
	inBothColours(b, source, "/dev/gallery")
	groups := map[string][]string{}
	for _, piece := range a.Gallery() {
		group := path.Dir(strings.TrimPrefix(piece, "/dev/gallery/"))
		groups[group] = append(groups[group], piece)
	}
	for group, pieces := range groups {
		t.Run(group, func(t *testing.T) {
			b.T = t
			seen := map[string]bool{}
			for _, piece := range pieces {
				narrow(b, piece)
				// Pieces with the same elements differ only in their words, which axe does not
				// read.
				elements := apptest.Evaluate[string](b, `[...document.querySelectorAll("*")].map(e => e.localName + "." + e.className + "#" + e.id).join(" ")`)
				if !seen[elements] {
					seen[elements] = true
					inBothColours(b, source, piece)
				}
			}
			t.Logf("axe has checked %d of %d pieces", len(seen), len(pieces))
		})
	}
}

// TestBrowserGalleryInGerman opens every piece in German, whose words are longer, on the narrowest
// screen.
func TestBrowserGalleryInGerman(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	b := apptest.OpenBrowser(t, a)
	speaks(b, "de")
	for _, piece := range a.Gallery() {
		narrow(b, piece)
		handy(b, piece)
	}
	if got := apptest.Evaluate[string](b, `document.documentElement.lang`); got != "de" {
		t.Errorf("the pieces are in %s", got)
	}
}

// TestBrowserGalleryView shows a piece of the gallery in a frame of each theme.
func TestBrowserGalleryView(t *testing.T) {
	t.Parallel()
	b := apptest.OpenBrowser(t, apptest.Start(t))
	source := axe(t)
	narrow(b, "/dev/gallery?group=home&name=default&theme=dark&width=390")
	inBothColours(b, source, "the view of a piece")
	apptest.Call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{}) // which counts in frames, too
	const inside = `document.querySelector("iframe").contentWindow`
	for theme, dark := range map[string]bool{"light": false, "dark": true} {
		b.Open("/dev/gallery?group=home&name=default&width=768&theme=" + theme)
		b.Until(inside + `.document.readyState === "complete" && ` + inside + `.document.querySelector("h1") !== null`)
		if got := apptest.Evaluate[string](b, `getComputedStyle(`+inside+`.document.body).backgroundColor`); (got < "oklch(0.5") != dark {
			t.Errorf("the theme %s has the background %s", theme, got)
		}
		if width := apptest.Evaluate[int](b, inside+`.innerWidth`); width != 768 {
			t.Errorf("the frame is %d px wide", width)
		}
	}
	b.Click(`[rel="next"]`)
	b.Until(`document.querySelector("h1").textContent === "sign-in down" && document.querySelector("iframe").width === "768"`)
}

// TestBrowserLivePages runs axe on pages in use, including those of the development
// provider.
func TestBrowserLivePages(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	b := apptest.OpenBrowser(t, a)
	source := axe(t)
	look := func(where string) {
		t.Helper()
		inBothColours(b, source, where)
	}
	b.Open("/")
	look("home")
	b.Do(chromedp.Navigate(a.Issuer + "/"))
	look("the provider")
	b.Do(chromedp.Navigate(a.Issuer + "/end_session"))
	look("the provider's sign-out")
	b.AllowComplaint("400")
	b.Do(chromedp.Navigate(a.Issuer + "/authorize"))
	look("the provider's refusal")
	b.Open("/login")
	look("the provider's sign-in")
	b.AllowComplaint("422")
	b.Click("#someone-else")
	b.Wait("#email-error")
	look("the provider's sign-in, with an invalid form")
	b.SignIn("/login", apptest.Ada)
	b.Open("/dashboard")
	b.Until(`!document.querySelector("time:not([data-local])")`)
	wantNoShift(b)
	b.Click("#claims-card .raw summary")
	b.Click("#protocol-claims summary")
	look("dashboard")
	b.Click("#profile-refresh-button")
	b.Wait("#profile-message p")
	look("dashboard, refreshed")
	b.Open("/sessions")
	look("devices")
	b.SignOut()
	b.Wait("#qsLoginBtn")
	look("signed out")
}

// wantNoShift checks that nothing on the current page has moved visibly since it loaded: by a tenth
// of what Web Vitals call good. A slow machine paints the page before app.js has written the times in
// the reader's language, and what stands after a time then moves a little.
func wantNoShift(b *apptest.Browser) {
	b.T.Helper()
	shift := apptest.Value(b, chromedp.Evaluate[float64](`new Promise(done => {
		let sum = 0;
		new PerformanceObserver(list => { for (const shift of list.getEntries()) sum += shift.value }).observe({type: "layout-shift", buffered: true});
		requestAnimationFrame(() => requestAnimationFrame(() => requestIdleCallback(() => done(sum))));
	})`, chromedp.EvalAwaitPromise))
	if shift > 0.01 {
		b.T.Errorf("the layout of %s has shifted by %v", b.Path(), shift)
	}
}

// narrow opens a page on the narrowest screen.
func narrow(b *apptest.Browser, where string) {
	b.T.Helper()
	b.Do(chromedp.EmulateViewport(320, 800))
	b.Open(where)
	fits(b, where)
}

// fits checks that the current page is no wider than the screen, and no text wider than its button or
// link in the navigation.
func fits(b *apptest.Browser, where string) {
	b.T.Helper()
	if over := apptest.Evaluate[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
		b.T.Errorf("%s: at 320 px it is %d px too wide", where, over)
	}
	for _, text := range apptest.Evaluate[[]string](b, `Array.from(document.querySelectorAll(".button, .navigation a, .menu-item"))
		.filter(e => e.scrollWidth > e.clientWidth).map(e => e.textContent.trim())`) {
		b.T.Errorf("%s: at 320 px, %q is wider than its box", where, text)
	}
}

// handy checks that every control is large enough for a thumb: 44 px in each direction.
// Links within a sentence are exempt, and so are boxes, because their labels tick them too
// (WCAG 2.2, 2.5.5).
func handy(b *apptest.Browser, where string) {
	b.T.Helper()
	for _, small := range apptest.Evaluate[[]string](b, `Array.from(document.querySelectorAll("a, button, summary, input:not([type=hidden], [type=checkbox]), textarea"))
		.filter(e => e.getClientRects().length > 0 && getComputedStyle(e).display !== "inline")
		.filter(e => { const box = e.getBoundingClientRect(); return Math.min(box.width, box.height) < 43.5; })
		.map(e => e.outerHTML.slice(0, 200))`) {
		b.T.Errorf("%s: smaller than 44 px: %s", where, small)
	}
}

// inBothColours runs axe on the current page in light and in dark.
func inBothColours(b *apptest.Browser, axe, where string) {
	b.T.Helper()
	handy(b, where)
	setColours(b, "light", still)
	accessible(b, axe, where+" in light", everyRule)
	setColours(b, "dark", still)
	accessible(b, axe, where+" in dark", colourRules)
}

// TestBrowserWorkbench presses a button of the development provider's workbench in a
// browser, and runs axe on the page after it.
func TestBrowserWorkbench(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	b := apptest.OpenBrowser(t, a)
	source := axe(t)
	narrow(b, "/")
	b.Click(".development a")
	b.Wait("#make-nonce")
	b.Click("#make-nonce")
	b.Wait("#stop-trouble")
	fits(b, "the workbench")
	inBothColours(b, source, "the workbench")
	narrow(b, "/login")
	inBothColours(b, source, "the sign-in page, with a fault")
	b.Click("#stop-trouble")
	b.Wait("#make-nonce")
	if there := apptest.Evaluate[bool](b, `document.getElementById("trouble") !== null`); there {
		t.Error("the fault is still shown")
	}
}

// TestScreenshot photographs every piece of the gallery, in light and dark, at three
// widths, into the directory that SCREENSHOTS names. PIECE limits it to the pieces whose
// address contains that text.
//
//	SCREENSHOTS=DIRECTORY go test -timeout 30m -run TestScreenshot ./internal/e2e/browser
func TestScreenshot(t *testing.T) {
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		t.Skip("SCREENSHOTS names no directory to write to")
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(apptest.Root(t), dir)
	}
	a := apptest.StartProduct(t, routes.Product{Samples: product.New().Samples})
	pieces := append(a.Gallery(), "/dev/gallery", "/login")
	b := apptest.OpenBrowser(t, a)
	apptest.Call(b, emulation.SetScrollbarsHidden, emulation.SetScrollbarsHiddenParams{Hidden: true})
	for _, piece := range pieces {
		if !strings.Contains(piece, os.Getenv("PIECE")) {
			continue
		}
		name, err := url.PathUnescape(strings.TrimPrefix(piece, "/"))
		if err != nil {
			t.Fatal(err)
		}
		name = strings.NewReplacer("/", "-", " ", "_", "?", "").Replace(strings.TrimPrefix(name, "dev/gallery/"))
		b.Open(piece)
		for _, scheme := range []string{"light", "dark"} {
			setColours(b, scheme, still)
			for _, width := range []int64{320, 768, 1440} {
				file := filepath.Join(dir, fmt.Sprintf("%s-%s-%d.png", name, scheme, width))
				if err := os.WriteFile(file, photograph(b, width), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// photograph takes a picture of the whole page.
func photograph(b *apptest.Browser, width int64) []byte {
	b.T.Helper()
	b.Do(chromedp.EmulateViewport(width, 700))
	height := apptest.Evaluate[int64](b, `document.documentElement.scrollHeight`)
	b.Do(chromedp.EmulateViewport(width, max(700, height)))
	return apptest.Value(b, chromedp.CaptureScreenshot())
}

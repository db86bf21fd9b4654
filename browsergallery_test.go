package main

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
	failures := 0
	for _, piece := range append(a.gallery(), "/dev/gallery") {
		if strings.Contains(piece, "/failure/") {
			failures++
		}
		b.narrow(piece)
		if failures <= 2 || !strings.Contains(piece, "/failure/") { // the others differ in words alone
			b.inBothColours(source, piece)
		}
	}
}

// narrow opens a page on the narrowest screen.
func (b *browser) narrow(where string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(320, 800))
	b.open(where)
	if over := evaluate[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
		b.t.Errorf("%s: at 320 px it is %d px too wide", where, over)
	}
}

// inBothColours has axe look at the page at hand.
func (b *browser) inBothColours(axe, where string) {
	b.t.Helper()
	b.colours("light", still)
	b.accessible(axe, where+" in light", everyRule)
	b.colours("dark", still)
	b.accessible(axe, where+" in dark", colourRules)
}

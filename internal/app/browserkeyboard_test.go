package app

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// The keys that the test presses.
const (
	tabKey   = "\t"
	enterKey = "\r"
)

// TestBrowserKeyboard signs in, refreshes, reads, copies, and signs out, with nothing but
// the keyboard. Wherever the focus goes it can be seen (WCAG 2.2, 2.4.7).
func TestBrowserKeyboard(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	b := openBrowser(t, a)
	b.open("/")
	b.tabTo("#qsLoginBtn")
	b.press(enterKey)
	b.wait(`button[id="person-` + ada + `"]`)
	b.tabTo(`button[id="person-` + ada + `"]`)
	b.press(enterKey)
	b.wait("#profile-card")

	b.press(tabKey)
	if got := evaluate[string](b, `document.activeElement.className`); got != "skip" {
		t.Errorf("the first stop is %q, not the link that skips the header", got)
	}
	b.press(enterKey)
	b.until(`document.activeElement.id === "main"`)
	b.tabTo("#profile-refresh-button")
	b.press(enterKey)
	b.wait("#profile-card .changes")
	b.until(`document.activeElement.id === "profile-refresh-button"`)
	b.until(`document.getElementById("announcer").textContent.includes("Nothing has changed")`)

	b.tabTo("#claims-card .raw summary")
	b.press(enterKey)
	b.wait("#claims-json")
	b.tabTo("[data-copy]")
	b.press(enterKey)
	b.until(`/Copied|Not copied/.test(document.querySelector("[data-copy]").textContent)`)

	b.open("/sessions")
	b.tabTo(`.navigation a[href="/dashboard"]`)
	b.press(enterKey)
	b.wait("#claims-card")
	b.tabTo("#qsLogoutBtn")
	b.press(enterKey)
	b.wait("#qsLoginBtn")
	if got := b.path(); !strings.HasPrefix(got, "/signed-out") {
		t.Errorf("signing out ends at %s", got)
	}
}

func (b *browser) press(key string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(key))
}

// tabTo presses Tab until an element has the focus, which can be seen at every stop.
func (b *browser) tabTo(selector string) {
	b.t.Helper()
	for range 60 {
		b.press(tabKey)
		if bare := evaluate[string](b, `(e => getComputedStyle(e).outlineStyle === "none" && e !== document.body ? e.outerHTML.slice(0, 200) : "")(document.activeElement)`); bare != "" {
			b.t.Errorf("the focus cannot be seen on %s", bare)
		}
		if evaluate[bool](b, "document.activeElement.matches(`"+selector+"`)") {
			return
		}
	}
	b.t.Fatalf("at %s no Tab leads to %s", b.path(), selector)
}

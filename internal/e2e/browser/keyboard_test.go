package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"latchkey/internal/apptest"
)

// The keys that the test presses.
const (
	tabKey   = "\t"
	enterKey = "\r"
)

// TestBrowserKeyboard signs in, refreshes, reads, copies and signs out with the keyboard
// alone. The focus is always visible (WCAG 2.2, 2.4.7).
func TestBrowserKeyboard(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	b := apptest.OpenBrowser(t, a)
	b.Open("/")
	tabTo(b, "#qsLoginBtn")
	pressKey(b, enterKey)
	b.Wait(`button[id="person-` + apptest.Ada + `"]`)
	tabTo(b, `button[id="person-`+apptest.Ada+`"]`)
	pressKey(b, enterKey)
	b.Wait("#profile-card")

	pressKey(b, tabKey)
	if got := apptest.Evaluate[string](b, `document.activeElement.className`); got != "skip" {
		t.Errorf("the first stop is %q, want the link that skips the header", got)
	}
	pressKey(b, enterKey)
	b.Until(`document.activeElement.id === "main"`)
	tabTo(b, "#profile-refresh-button")
	pressKey(b, enterKey)
	b.Wait("#profile-message p")
	b.Until(`document.activeElement.id === "profile-refresh-button"`)
	b.Until(`document.getElementById("announcer").textContent.includes("Nothing has changed")`)

	tabTo(b, "#claims-card .raw summary")
	pressKey(b, enterKey)
	b.Wait("#claims-json")
	tabTo(b, "[data-copy]")
	// The button gets its label back after two seconds.
	apptest.Evaluate[bool](b, `(button => { said = [], new MutationObserver(() => said.push(button.textContent)).observe(button, {childList: true}); return true })(document.activeElement)`)
	pressKey(b, enterKey)
	b.Until(`/Copied|Copy failed/.test(said)`)

	b.Open("/sessions")
	tabTo(b, `.navigation a[href="/dashboard"]`)
	pressKey(b, enterKey)
	b.Wait("#claims-card")
	tabTo(b, ".account-button")
	pressKey(b, enterKey)
	tabTo(b, "#qsLogoutBtn")
	pressKey(b, enterKey)
	b.Wait("#qsLoginBtn")
	if got := b.Path(); !strings.HasPrefix(got, "/?state=") {
		t.Errorf("signing out ends at %s", got)
	}
}

func pressKey(b *apptest.Browser, key string) {
	b.T.Helper()
	b.Do(chromedp.KeyEvent(key))
}

// tabTo presses Tab until an element has the focus. The focus must be visible at every
// stop.
func tabTo(b *apptest.Browser, selector string) {
	b.T.Helper()
	for range 60 {
		pressKey(b, tabKey)
		if bare := apptest.Evaluate[string](b, `(e => getComputedStyle(e).outlineStyle === "none" && e !== document.body ? e.outerHTML.slice(0, 200) : "")(document.activeElement)`); bare != "" {
			b.T.Errorf("the focus cannot be seen on %s", bare)
		}
		if apptest.Evaluate[bool](b, "document.activeElement.matches(`"+selector+"`)") {
			return
		}
	}
	b.T.Fatalf("at %s no Tab leads to %s", b.Path(), selector)
}

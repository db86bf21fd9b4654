package app_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"latchkey/internal/apptest"
)

// TestBrowserForbidden goes to a page that is not for Ada, and on as somebody whom it is for.
func TestBrowserForbidden(t *testing.T) {
	t.Parallel()
	b := apptest.OpenBrowser(t, apptest.Start(t))
	b.Expect("403")
	b.SignIn("/admin", apptest.Ada)
	page := b.Text("main")
	for _, want := range []string{"This is not for your account", "Ada Lovelace", "ada@example.test", rolesClaim, "a list with admin"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q:\n%s", want, page)
		}
	}
	for _, width := range []int64{320, 768} {
		b.Do(chromedp.EmulateViewport(width, 900))
		b.Do(chromedp.Poll[chromedp.Void](`innerWidth === ` + strconv.FormatInt(width, 10)))
		if over := apptest.Evaluate[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
			t.Errorf("at %d px it is %d px too wide", width, over)
		}
	}
	b.Click(`main a[href*="switch=1"]`)
	// The provider knows Ada still, and asks nevertheless.
	b.Click(`button[id="person-dev|roles"]`)
	b.Wait("#state-heading")
	if got := b.Path(); got != "/admin" {
		t.Errorf("the person ends at %s", got)
	}
	if page := b.Text("body"); strings.Contains(page, "Ada") || !strings.Contains(page, "Rosa Ruiz") {
		t.Errorf("SE-12: the page is\n%s", page)
	}
}

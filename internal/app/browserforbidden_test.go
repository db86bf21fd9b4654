package app

import (
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestBrowserForbidden goes to a page that is not for Ada, and on as somebody whom it is for.
func TestBrowserForbidden(t *testing.T) {
	t.Parallel()
	b := openBrowser(t, startApp(t))
	b.expect("403")
	b.signIn("/admin", ada)
	page := b.text("main")
	for _, want := range []string{"This is not for your account", "Ada Lovelace", "ada@example.test", rolesClaim, "a list with admin"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q:\n%s", want, page)
		}
	}
	for _, width := range []int64{320, 768} {
		b.do(chromedp.EmulateViewport(width, 900))
		b.do(chromedp.Poll[chromedp.Void](`innerWidth === ` + strconv.FormatInt(width, 10)))
		if over := evaluate[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
			t.Errorf("at %d px it is %d px too wide", width, over)
		}
	}
	b.click(`main a[href*="switch=1"]`)
	// The provider knows Ada still, and asks nevertheless.
	b.click(`button[id="person-dev|roles"]`)
	b.wait("#state-heading")
	if got := b.path(); got != "/admin" {
		t.Errorf("the person ends at %s", got)
	}
	if page := b.text("body"); strings.Contains(page, "Ada") || !strings.Contains(page, "Rosa Ruiz") {
		t.Errorf("SE-12: the page is\n%s", page)
	}
}

package browser

import (
	"io"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"latchkey/internal/apptest"
	"latchkey/views"
)

// menuOpen is whether the account menu is open.
const menuOpen = `document.querySelector("#account-menu").matches(":popover-open")`

// TestBrowserAccountMenu opens the menu with the keyboard, and with the pointer but without JavaScript.
func TestBrowserAccountMenu(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	t.Run("keyboard", func(t *testing.T) {
		t.Parallel()
		b := apptest.OpenBrowser(t, a)
		b.SignIn("/login", apptest.Ada)
		tabTo(b, ".account-button")
		if apptest.Evaluate[bool](b, menuOpen) {
			t.Error("the menu is open before anyone opens it")
		}
		pressKey(b, enterKey)
		b.Until(menuOpen)
		if got := b.Text("#account-menu"); !strings.Contains(got, "Ada Lovelace") || !strings.Contains(got, "ada@example") {
			t.Errorf("the menu says %q", got)
		}
		pressKey(b, tabKey)
		if got := apptest.Evaluate[string](b, `document.activeElement.getAttribute("href")`); got != "/profile" {
			t.Errorf("after the button, the focus is on %q, want the first link of the menu", got)
		}
		pressKey(b, escapeKey)
		b.Until(`!` + menuOpen)
		b.Until(`document.activeElement.className === "account-button"`)
		pressKey(b, enterKey)
		b.Until(menuOpen)
		tabTo(b, `#account-menu a[href="/sessions"]`)
		pressKey(b, enterKey)
		b.Wait("#sessions-card")
	})
	t.Run("without JavaScript", func(t *testing.T) {
		t.Parallel()
		b := apptest.OpenBrowser(t, a)
		b.WithoutJavaScript()
		b.Open("/login")
		b.Click(`button[id="person-` + apptest.Ada + `"]`)
		b.Wait("#profile-card")
		b.SignOut()
		b.Wait("#qsLoginBtn")
	})
}

// TestBrowserMenuStaysInTheWindow opens the menu on a phone and on a wide screen, in both directions of
// writing.
func TestBrowserMenuStaysInTheWindow(t *testing.T) {
	t.Parallel()
	b := apptest.OpenBrowser(t, apptest.Start(t))
	for _, width := range []int64{320, 1600} {
		for _, direction := range []string{"ltr", "rtl"} {
			b.Do(chromedp.EmulateViewport(width, 800))
			b.Open("/dev/gallery/dashboard/long")
			apptest.Evaluate[string](b, `document.documentElement.dir = "`+direction+`"`)
			b.Click(".account-button")
			b.Wait("#qsLogoutBtn")
			if !apptest.Evaluate[bool](b, `(menu => { const box = menu.getBoundingClientRect(), button = document.querySelector(".account-button").getBoundingClientRect();
				return box.left >= 0 && box.right <= document.documentElement.clientWidth && box.top >= button.bottom - 8 && box.top < button.bottom + 16 &&
					Math.min(Math.abs(box.right - button.right), Math.abs(box.left - button.left)) < 16; })(document.querySelector("#account-menu"))`) {
				t.Errorf("%d px, %s: the menu is not below its button: %s", width, direction, apptest.Evaluate[string](b, `JSON.stringify(document.querySelector("#account-menu").getBoundingClientRect())`))
			}
		}
	}
}

// TestBrowserBadgesAreMirrored compares the badges in both directions of writing: the space beside the icon
// and at the end is the same, on the other side.
func TestBrowserBadgesAreMirrored(t *testing.T) {
	t.Parallel()
	b := apptest.OpenBrowser(t, apptest.Start(t))
	// The distance of the content from the edge where the text begins, and from the edge where it ends.
	const distances = `(direction => { document.documentElement.dir = direction;
		return [...document.querySelectorAll(".badge")].map(badge => {
			const range = document.createRange(); range.selectNodeContents(badge);
			const box = badge.getBoundingClientRect(), content = range.getBoundingClientRect(), icon = badge.querySelector(".icon")?.getBoundingClientRect();
			const sides = [content.left - box.left, box.right - content.right];
			if (direction === "rtl") sides.reverse();
			if (icon) sides.push(direction === "ltr" ? icon.left - box.left : box.right - icon.right);
			return sides.map(Math.round).join(" ");
		}); })`
	for _, piece := range []string{"profile/default", "profile/e-mail not verified", "devices/several", "admin/operational", "admin/not responding"} {
		b.Open("/dev/gallery/" + piece)
		ltr := apptest.Evaluate[[]string](b, distances+`("ltr")`)
		if rtl := apptest.Evaluate[[]string](b, distances+`("rtl")`); len(ltr) == 0 || !slices.Equal(ltr, rtl) {
			t.Errorf("%s: the badges have %q, and from right to left %q", piece, ltr, rtl)
		}
	}
}

// TestBrowserHeaderIsOneRow measures the header on phones, also that of an administrator, who has more
// links.
func TestBrowserHeaderIsOneRow(t *testing.T) {
	t.Parallel()
	b := apptest.OpenBrowser(t, apptest.Start(t))
	for _, width := range []int64{320, 390} {
		b.Do(chromedp.EmulateViewport(width, 800))
		for _, piece := range []string{"/", "/dev/gallery/dashboard/ada", "/dev/gallery/dashboard/long", "/dev/gallery/admin/operational"} {
			b.Open(piece)
			if got := apptest.Evaluate[float64](b, `document.querySelector(".bar").getBoundingClientRect().height`); got > 60 {
				t.Errorf("%s at %d px: the header is %v px high", piece, width, got)
			}
			for _, out := range apptest.Evaluate[[]string](b, `[...document.querySelectorAll(".bar > *")].filter(e => { const box = e.getBoundingClientRect();
				return box.left < 0 || box.right > document.documentElement.clientWidth; }).map(e => e.outerHTML.slice(0, 100))`) {
				t.Errorf("%s at %d px: not in the window: %s", piece, width, out)
			}
		}
	}
	b.Open("/")
	if got := b.Text(".bar > .button"); got != "Sign in" {
		t.Errorf("the header of a visitor has %q", got)
	}
}

// TestBrowserForcedColours checks that in forced colours, which draw transparent borders, no button or
// link sticks out of its card, and that the navigation still marks the page.
func TestBrowserForcedColours(t *testing.T) {
	t.Parallel()
	b := apptest.OpenBrowser(t, apptest.Start(t))
	setColours(b, "light", still, &emulation.MediaFeature{Name: "forced-colors", Value: "active"})
	for _, piece := range []string{"/", "/dev/gallery/dashboard/ada", "/dev/gallery/devices/several", "/dev/gallery/admin/forbidden", "/dev/gallery/profile/You%20refreshed%20a%20moment%20ago"} {
		narrow(b, piece)
		for _, out := range apptest.Evaluate[[]string](b, `[...document.querySelectorAll(".bar .button, .account-button, .card .button, .badge")].filter(e => e.checkVisibility() && !e.closest("details:not([open])")).filter(e => {
				const box = e.getBoundingClientRect(), around = e.closest(".card, .bar").getBoundingClientRect();
				return box.left < around.left || box.right > around.right || box.top < around.top || box.bottom > around.bottom;
			}).map(e => e.outerHTML.slice(0, 200))`) {
			t.Errorf("%s: sticks out: %s", piece, out)
		}
		for _, thick := range apptest.Evaluate[[]string](b, `[...document.querySelectorAll(".button")].filter(e => parseFloat(getComputedStyle(e).borderTopWidth) !== 1).map(e => e.outerHTML.slice(0, 200))`) {
			t.Errorf("%s: the border is not one pixel: %s", piece, thick)
		}
		if marked := apptest.Evaluate[bool](b, `[...document.querySelectorAll(".navigation [aria-current]")].every(e => getComputedStyle(e).textDecorationLine === "underline")`); !marked {
			t.Errorf("%s: the navigation does not mark the page", piece)
		}
	}
}

// TestBrowserFocusRing checks that the ring around the links of the navigation is not cut off.
func TestBrowserFocusRing(t *testing.T) {
	t.Parallel()
	b := apptest.OpenBrowser(t, apptest.Start(t))
	b.Open("/dev/gallery/dashboard/ada")
	tabTo(b, `.navigation a[href="/sessions"]`)
	if room := apptest.Evaluate[float64](b, `(e => { const style = getComputedStyle(e), box = e.getBoundingClientRect(), around = e.parentElement.getBoundingClientRect();
		const ring = parseFloat(style.outlineOffset) + parseFloat(style.outlineWidth);
		return Math.min(box.top - ring - around.top, around.bottom - box.bottom - ring, box.left - ring - around.left); })(document.activeElement)`); room < 0 {
		t.Errorf("%v px of the ring are cut off", -room)
	}
}

// TestBrowserCardHeaders checks that the headers of cards with a button, with a text and with neither
// are equally high.
func TestBrowserCardHeaders(t *testing.T) {
	t.Parallel()
	b := apptest.OpenBrowser(t, apptest.Start(t))
	b.Do(chromedp.EmulateViewport(1280, 800))
	b.Open("/dev/gallery/dashboard/ada")
	if got := apptest.Evaluate[[]float64](b, `[...new Set([...document.querySelectorAll(".card-header")].map(e => e.getBoundingClientRect().height))]`); len(got) != 1 {
		t.Errorf("the headers of the cards are %v px high", got)
	}
}

// TestBrowserForbiddenHasColumns checks that the page without access puts labels beside values where
// there is room.
func TestBrowserForbiddenHasColumns(t *testing.T) {
	t.Parallel()
	b := apptest.OpenBrowser(t, apptest.Start(t))
	for width, beside := range map[int64]bool{390: false, 1280: true} {
		b.Do(chromedp.EmulateViewport(width, 800))
		b.Open("/dev/gallery/admin/forbidden")
		if got := apptest.Evaluate[bool](b, `(row => row.children[1].getBoundingClientRect().left > row.children[0].getBoundingClientRect().left)(document.querySelector(".rows > div"))`); got != beside {
			t.Errorf("at %d px, labels are beside values: %t", width, got)
		}
	}
}

// TestBrowserStill loads home and the messages, and nothing moves.
func TestBrowserStill(t *testing.T) {
	t.Parallel()
	b := apptest.OpenBrowser(t, apptest.Start(t))
	for _, piece := range []string{"/", "/dev/gallery/signed%20out/here", "/dev/gallery/admin/forbidden", "/dev/gallery/failure/our%20fault", "/dev/gallery/session/sign%20out%3F"} {
		b.Open(piece)
		wantNoShift(b)
	}
}

// TestBrowserViewTransition follows a link, with and without reduced motion.
func TestBrowserViewTransition(t *testing.T) {
	t.Parallel()
	b := apptest.OpenBrowser(t, apptest.Start(t))
	apptest.Call(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: `addEventListener("pagereveal", ({viewTransition}) => (window.fades = Boolean(viewTransition)))`,
	})
	b.SignIn("/login", apptest.Ada)
	for motion, fades := range map[string]bool{"no-preference": true, "reduce": false} {
		setColours(b, "light", &emulation.MediaFeature{Name: "prefers-reduced-motion", Value: motion})
		b.Open("/dashboard")
		b.Click(`.navigation a[href="/sessions"]`)
		b.Wait("#sessions-card")
		b.Until(`window.fades !== undefined`)
		if got := apptest.Evaluate[bool](b, `window.fades`); got != fades {
			t.Errorf("with %s, the page fades in: %t", motion, got)
		}
		// What is pressed during the transition is pressed on the new page.
		b.Click(".account-button")
		b.Until(menuOpen)
	}
}

// TestBrowserBrands shows pages in the colours of other brands. Their rules are in no layer, so they
// override ours, as the style sheet of a product does.
func TestBrowserBrands(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	source := axe(t)
	for name, colour := range map[string]string{"red": "#d92d20", "black": "#000000", "yellow": "#ffd600"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := apptest.OpenBrowser(t, a)
			assets, err := views.NewAssets(colour)
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			assets.ServeHTTP(w, httptest.NewRequest("GET", assets.URL("app.css"), nil))
			css, _ := io.ReadAll(w.Result().Body)
			properties := regexp.MustCompile(`:root\{--hue[^}]*\}`).FindString(string(css))
			for _, piece := range []string{"/", "/dev/gallery/dashboard/ada", "/dev/gallery/devices/several", "/dev/gallery/signed%20out/because%20expired", "/dev/gallery/admin/forbidden"} {
				b.Open(piece)
				apptest.Evaluate[bool](b, `(sheet => { sheet.replaceSync("`+properties+`"); document.adoptedStyleSheets = [sheet]; return true; })(new CSSStyleSheet)`)
				setColours(b, "light", still)
				if got := apptest.Evaluate[string](b, `getComputedStyle(document.documentElement).getPropertyValue("--brand")`); !strings.Contains(got, colour) {
					t.Fatalf("%s: the brand is %q: a rule in a layer wins over one in none", piece, got)
				}
				inBothColours(b, source, name+" "+piece)
			}
		})
	}
}

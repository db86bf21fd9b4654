package browser

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"

	"latchkey/authn/devop"
	"latchkey/internal/apptest"
)

// TestBrowserDashboardIsShort opens the dashboard of a person with a full profile on a phone. It
// takes two screens at most.
func TestBrowserDashboardIsShort(t *testing.T) {
	t.Parallel()
	b := apptest.OpenBrowser(t, apptest.Start(t))
	const screen = 844
	b.Do(chromedp.EmulateViewport(390, screen))
	b.Open("/dev/gallery/dashboard/full")
	for what, want := range map[string]int{".claims > div": 16, "#protocol-claims": 1} {
		if n := apptest.Evaluate[int](b, `document.querySelectorAll("`+what+`").length`); n < want {
			t.Errorf("the page has %s %d times, want %d", what, n, want)
		}
	}
	// A release has no banner of the development provider.
	if height := apptest.Evaluate[int](b, `document.documentElement.scrollHeight - document.querySelector(".development").offsetHeight`); height > 2*screen {
		t.Errorf("the page is %d px high, more than two screens of %d px", height, screen)
	}
}

// TestBrowserCopiesClaims copies values of claims. Without JavaScript there is no button.
func TestBrowserCopiesClaims(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	b := apptest.OpenBrowser(t, a)
	for _, permission := range []string{"clipboard-write", "clipboard-read"} {
		apptest.Call(b, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: permission}, Setting: browser.PermissionSettingGranted, Origin: a.URL,
		})
	}
	b.Open("/dev/gallery/dashboard/roles")
	for name, want := range map[string]string{
		"name": "Rosa Ruiz", "email": "rosa@example.test", "email_verified": "Yes", "sub": "dev|roles", "amr": "pwd\notp",
	} {
		b.Open("/dev/gallery/dashboard/roles")
		b.Until(`document.querySelector(".copy") !== null`)
		label := apptest.Evaluate[string](b, `(() => {
			document.querySelector("#protocol-claims").open = true;
			const row = [...document.querySelectorAll(".claims > div")].find(row => row.querySelector(".claim-name").textContent === "`+name+`");
			const button = row.querySelector(".copy");
			button.id = "copied";
			// The mark disappears after two seconds.
			new MutationObserver(() => button.classList.add("was-marked")).observe(button, {attributeFilter: ["data-copied"]});
			return button.ariaLabel.startsWith("Copy ") && button.ariaLabel.endsWith(row.querySelector("dt").textContent) ? "" : button.outerHTML;
		})()`)
		if label != "" {
			t.Errorf("%s: the button's name is wrong: %s", name, label)
		}
		b.Click("#copied")
		b.Until(`document.getElementById("announcer").textContent === "Copied" && document.querySelector("#copied.was-marked") !== null`)
		if got := apptest.Value(b, chromedp.Evaluate[string](`navigator.clipboard.readText()`, chromedp.EvalAwaitPromise)); got != want {
			t.Errorf("%s: copied %q, want %q", name, got, want)
		}
	}
	apptest.Evaluate[bool](b, `(navigator.clipboard.writeText = () => Promise.reject(new Error("blocked")), true)`)
	b.Click("#copied")
	b.Until(`document.getElementById("announcer").textContent === "Copy failed" && document.querySelector("[data-copied]") === null`)
	b.Open("/dev/gallery/dashboard/ada")
	b.Until(`document.querySelector(".copy") !== null`)
	if n := apptest.Evaluate[int](b, `document.querySelectorAll(".copy").length - document.querySelectorAll(".claims dd:not(.claim-change):not(:has(> .muted))").length`); n != 0 {
		t.Errorf("there are %d more buttons than values", n)
	}
	b.WithoutJavaScript()
	b.Open("/dev/gallery/dashboard/ada")
	if got := b.Text("#claims-card"); !strings.Contains(got, "countess") || strings.Contains(got, "Copy") {
		t.Errorf("without JavaScript the card says: %s", got)
	}
}

// TestBrowserFiltersClaims filters the claims of a person who has many.
func TestBrowserFiltersClaims(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	b := apptest.OpenBrowser(t, a)
	const shown = `[...document.querySelectorAll(".claims > div")].filter(row => row.checkVisibility()).length`
	b.Open("/dev/gallery/dashboard/many")
	b.Until(`document.querySelector(".copy") !== null`)
	for _, c := range []struct {
		text, announced string
		rows, groups    int
	}{
		{"Setting-07", "Showing 1 of ", 1, 1},
		{"value 1", "Showing 11 of ", 11, 1},
		{"subject", "Showing 1 of ", 1, 0}, // which the filter unfolds
		{"nothing like it", "Showing 0 of ", 0, 0},
	} {
		apptest.Evaluate[bool](b, `(filter => { filter.value = "`+c.text+`"; return filter.dispatchEvent(new Event("input", {bubbles: true})) })(document.getElementById("claims-filter"))`)
		b.Until(`document.getElementById("announcer").textContent.startsWith("` + c.announced + `")`)
		if n := apptest.Evaluate[int](b, shown); n != c.rows {
			t.Errorf("%q: %d rows, want %d", c.text, n, c.rows)
		}
		if n := apptest.Evaluate[int](b, `[...document.querySelectorAll("#claims-card .claims-heading")].filter(e => e.checkVisibility()).length`); n != c.groups {
			t.Errorf("%q: %d headings, want %d", c.text, n, c.groups)
		}
	}
	b.Open("/dev/gallery/dashboard/ada")
	if apptest.Evaluate[bool](b, `document.getElementById("claims-filter") !== null`) {
		t.Error("a person with few claims gets a filter")
	}
}

// standing returns where the cards are, and what of the rest must not move.
func standing(b *apptest.Browser) string {
	b.T.Helper()
	return apptest.Evaluate[string](b, `JSON.stringify([...document.querySelectorAll(".card, #claims-card h3")].map(e => [e.id, Math.round(e.getBoundingClientRect().top + scrollY)]))`)
}

// TestBrowserRefreshMovesNothing presses Refresh until the app refuses. Whatever comes of it, the cards
// stay where they are, and a failure never stands next to an old success.
func TestBrowserRefreshMovesNothing(t *testing.T) {
	t.Parallel()
	p := apptest.StartDevProvider(t, false)
	b := apptest.OpenBrowser(t, p.App)
	for _, width := range []int64{390, 1280} {
		b.Do(chromedp.EmulateViewport(width, 844))
		b.SignIn("/login", apptest.Ada)
		b.Until(`!document.querySelector("time:not([data-local])") && document.querySelector(".copy") !== null`)
		b.Click("#raw-claims summary")
		before := standing(b)
		still := func(when string) {
			t.Helper()
			if now := standing(b); now != before {
				t.Errorf("%d px: %s, the cards have moved from\n%s to\n%s", width, when, before, now)
			}
		}
		b.Click("#profile-refresh-button")
		b.Until(`document.getElementById("profile-message").textContent.includes("Up to date")`)
		b.Until(`!document.querySelector("time:not([data-local])")`)
		still("up to date")

		b.AllowComplaint("429")
		for range 6 {
			b.Until(`document.getElementById("profile-refresh").ariaBusy !== "true"`)
			if apptest.Evaluate[bool](b, `document.querySelector("#profile-message dialog") !== null`) {
				break
			}
			b.Click("#profile-refresh-button")
		}
		b.Wait("#profile-message dialog")
		still("refused")
		if got := b.Text("#profile-card"); strings.Contains(got, "Up to date") || !strings.Contains(got, "Ada Lovelace") {
			t.Errorf("next to the refusal, the card says: %s", got)
		}
		b.Click("#profile-message dialog form button")
		b.Until(`document.activeElement.id === "profile-heading"`)
		if got := b.Text("#profile-card"); strings.Contains(got, "Up to date") || strings.Contains(got, "Try again") {
			t.Errorf("after the refusal is dismissed, the card says: %s", got)
		}
		still("dismissed")
		b.SignOut()
		b.Wait("#qsLoginBtn")
	}
}

// TestBrowserRefreshKeepsChoices changes a person at the provider while a section is open. It stays
// open, the change is marked, and the profile page shows what it was before.
func TestBrowserRefreshKeepsChoices(t *testing.T) {
	t.Parallel()
	p := apptest.StartDevProvider(t, false)
	b := apptest.OpenBrowser(t, p.App)
	b.SignIn("/login", apptest.Ada)
	b.Click("#protocol-claims summary")
	b.Wait("#protocol-claims dl")
	p.SetPerson(devop.Person{Subject: apptest.Ada, Name: "Ada Lovelace", Email: "ada@example.test", EmailVerified: true, Claims: map[string]any{"locale": "fr"}})
	b.Click("#profile-refresh-button")
	b.Wait("#claims-card .claim-removed")
	b.Until(`document.getElementById("protocol-claims").open`)
	const colours = `new Set([".claim-changed", ".claim-removed", ".badge-good"].map(e => getComputedStyle(document.querySelector(e)).color)).size`
	if n := apptest.Evaluate[int](b, colours); n != 3 {
		t.Errorf("changed, removed and verified have %d colours, want 3", n)
	}
	b.Click("#profile-message a")
	b.Wait("#changes")
	if got := b.Text("#changes"); !strings.Contains(got, "en-GB") || !strings.Contains(got, "fr") {
		t.Errorf("the profile page says: %s", got)
	}
	if got := b.Text("#received"); !strings.Contains(got, `"iss"`) || !strings.Contains(got, "Userinfo") || strings.Contains(got, "at_hash") {
		t.Errorf("the profile page shows: %s", got)
	}
	// A refresh updates the profile page, too.
	p.Ahead.Store(int64(time.Second))
	p.SetPerson(devop.Person{Subject: apptest.Ada, Name: "Ada King", Email: "ada@example.test", EmailVerified: true, Claims: map[string]any{"locale": "fr"}})
	b.Click("#profile-refresh-button")
	b.Until(`document.getElementById("userinfo-claims").textContent.includes("Ada King") && document.getElementById("changes").textContent.includes("Ada King")`)
}

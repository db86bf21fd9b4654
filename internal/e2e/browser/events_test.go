package browser

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"

	"latchkey/internal/apptest"
)

// wantLeft checks that the tab leaves by itself for a page that gives the reason and links
// back to the page it was on.
func wantLeft(b *apptest.Browser, because, from, says string) {
	b.T.Helper()
	b.Wait("#qsLoginBtn")
	if got, want := b.Path(), "/signed-out?because="+because+"&return_to="+strings.ReplaceAll(from, "/", "%2F"); got != want {
		b.T.Errorf("the tab is at %s, want %s", got, want)
	}
	if got := b.Text("main"); !strings.Contains(got, says) {
		b.T.Errorf("the page says: %s", got)
	}
}

// TestBrowserTabsLeave (LR-06) opens three tabs on one device and one on another. Each
// device holds one stream, and the tabs leave in time when their session ends.
func TestBrowserTabsLeave(t *testing.T) {
	t.Parallel()
	s, _ := apptest.Assemble(t, "LOG_LEVEL=debug")
	here := apptest.OpenBrowser(t, s.App)
	there := []*apptest.Browser{here.Device()}
	there = append(there, there[0].Tab(), there[0].Tab())
	here.Open("/login")
	here.Wait("#profile-card")
	there[0].Open("/login")
	there[0].Wait("#profile-card")
	s.WantStreams(2)
	there[1].Open("/profile")
	there[2].Open("/sessions")
	ended := func() int { return s.Log.Count(`"path":"/events"`) }
	apptest.Eventually(t, "a stream with the list of devices has replaced the first", func() bool { return ended() > 0 })
	s.WantStreams(2)
	before := ended()

	// When the tab that holds the stream leaves the page, another tab takes over.
	there[0].Open("/sessions")
	there[0].Wait("#sessions-card")
	apptest.Eventually(t, "the stream of the tab that left has ended", func() bool { return ended() > before })
	s.WantStreams(2)

	here.Open("/sessions")
	here.Click("#end-others")
	here.Click("#end-others-confirm")
	pressed := time.Now()
	for i, from := range []string{"/sessions", "/profile", "/sessions"} {
		wantLeft(there[i], "elsewhere", from, "another device or browser")
	}
	if took := time.Since(pressed); took > apptest.Patience {
		t.Errorf("it took %s", took)
	}
	if got := here.Path(); got != "/sessions" {
		t.Errorf("the tab that ended them is at %s", got)
	}
	s.WantStreams(1)
}

// TestBrowserSignOutInAnotherTab signs out in one tab, which goes through the provider as
// usual. The other tab shows what happened.
func TestBrowserSignOutInAnotherTab(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	b := apptest.OpenBrowser(t, a)
	b.SignIn("/login", apptest.Ada)
	other := b.Tab()
	other.Open("/profile")
	other.Wait("#profile-card")
	b.SignOut()
	wantLeft(other, "tab", "/profile", "another tab or window")
	b.Wait("#qsLoginBtn")
	if got := b.Text("main"); !strings.Contains(got, "here and at the sign-in service") {
		t.Errorf("the tab that signed out says: %s", got)
	}
}

// TestBrowserSignOutWithoutAStream does so in a tab whose stream is refused, so that nothing tells the other
// tab before its cookie is gone.
func TestBrowserSignOutWithoutAStream(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	b := apptest.OpenBrowser(t, a)
	b.AllowComplaint("ERR_BLOCKED_BY_CLIENT")
	b.SignIn("/login", apptest.Ada)
	apptest.Call(b, network.SetBlockedURLs, network.SetBlockedURLsParams{URLPatterns: []*network.BlockPattern{{URLPattern: a.URL + "/events", Block: true}}})
	b.Open("/dashboard")
	b.Wait("#profile-card")
	other := b.Tab()
	other.Open("/profile")
	other.Wait("#profile-card")
	b.SignOut()
	wantLeft(other, "tab", "/profile", "another tab or window")
}

// TestBrowserWarning (WCAG 2.2, 2.2.1) lets a session become idle in two tabs.
func TestBrowserWarning(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t)
	b := apptest.OpenBrowser(t, s.App)
	b.Open("/login")
	b.Wait("#profile-card")
	other := b.Tab()
	other.Open("/profile")
	other.Wait("#profile-card")
	s.WantStreams(1)

	apptest.Call(b, page.BringToFront, cdp.Empty{})
	apptest.Evaluate[bool](b, `document.querySelector("summary").focus(), true`)
	clock.Move(24*time.Hour - 2*time.Minute)
	for _, tab := range []*apptest.Browser{b, other} {
		tab.Wait("#session-warning")
		if got := tab.Text("#session-warning"); !strings.Contains(got, "signed out in 2 minutes") || !strings.Contains(got, "Stay signed in") || strings.Contains(got, "new tab") {
			t.Errorf("the warning says: %s", got)
		}
		tab.Until(`document.getElementById("announcer").textContent.includes("2 minutes")`)
	}
	cardSays := func(left string) string {
		return `document.querySelector("[data-idle-end] .countdown").textContent === "` + left + `"`
	}
	b.Until(cardSays("in 2 minutes"))
	if got := apptest.Evaluate[string](b, `document.activeElement.localName`); got != "summary" {
		t.Errorf("the warning moves the focus to %q", got)
	}
	apptest.Evaluate[bool](b, `document.querySelector("#session-warning button").focus(), true`)
	for _, tab := range []*apptest.Browser{b, other} {
		tab.AllowComplaint("ERR_INCOMPLETE_CHUNKED_ENCODING")
	}
	apptest.Evaluate[bool](other, `seen = 0, new BroadcastChannel("session").onmessage = ({ data }) => seen += data.event === "expiring", true`)
	// The clocks of the server and the browser drift apart, and the stream says so when it comes back.
	clock.Move(10 * time.Second)
	s.Server.CloseClientConnections()
	other.Until(`seen > 0`)
	if got := apptest.Evaluate[string](b, `document.activeElement.matches("#session-warning *") ? document.activeElement.localName : "nothing in the warning"`); got != "button" {
		t.Errorf("a stream that comes back moves the focus to %q", got)
	}
	b.Click("#session-warning button")
	for _, tab := range []*apptest.Browser{b, other} {
		tab.Until(`!document.getElementById("session-warning")`)
	}
	b.Until(cardSays("in 24 hours"))
	if got := apptest.Evaluate[string](b, `document.activeElement.localName`); got != "summary" {
		t.Errorf("after the warning the focus is on %q", got)
	}
	if got := b.Path(); got != "/dashboard" {
		t.Errorf("the page is at %s", got)
	}
	if got := apptest.Evaluate[int](b, `sessionStorage.length + localStorage.length`); got != 0 {
		t.Errorf("HB-04: the browser stores %d items", got)
	}

	clock.Move(24*time.Hour - time.Second)
	b.Wait("#session-warning")
	clock.Move(time.Second)
	wantLeft(b, "expired", "/dashboard", "Your session expired.")
	wantLeft(other, "expired", "/profile", "Your session expired.")
}

// TestBrowserLastWarning signs in again in a new tab, before the absolute timeout. The page
// stays unchanged, and its warning disappears.
func TestBrowserLastWarning(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t, "SESSION_IDLE=24h", "SESSION_ABSOLUTE=24h")
	b := apptest.OpenBrowser(t, s.App)
	b.Open("/login")
	b.Wait("#profile-card")
	apptest.Evaluate[bool](b, `document.body.dataset.mark = "kept", true`)
	clock.Move(24*time.Hour - time.Minute)
	b.Wait("#session-warning a")
	if got := apptest.Evaluate[string](b, `[...document.querySelectorAll("#session-warning a")].map(a => a.pathname + a.target + a.rel).join()`); got != "/login_blanknoopener" {
		t.Errorf("the link is %s", got)
	}
	again := b.Tab()
	again.Open("/login")
	again.Wait("#profile-card")
	b.Until(`!document.getElementById("session-warning")`)
	if got := apptest.Evaluate[string](b, `document.body.dataset.mark`); got != "kept" {
		t.Error("the page was reloaded")
	}
	s.OP.SignInAs("mallory")
	again.Open("/login")
	again.Wait("#profile-card")
	// The old page belongs to another person.
	b.Wait("body:not([data-mark]) #profile-card")
	if got := apptest.Evaluate[string](b, `document.querySelector(".menu-name").textContent`); !strings.Contains(got, "Mallory") {
		t.Errorf("the page is that of %s", got)
	}
}

// TestBrowserStreamComesBack interrupts the stream of a page, and then removes the page's
// cookie.
func TestBrowserStreamComesBack(t *testing.T) {
	t.Parallel()
	s, _ := apptest.Assemble(t)
	b := apptest.OpenBrowser(t, s.App)
	b.Open("/login")
	b.Wait("#profile-card")
	s.WantStreams(1)
	b.AllowComplaint("ERR_INCOMPLETE_CHUNKED_ENCODING")
	// Without a cookie the server cannot identify the session, so the page must notice by
	// itself.
	apptest.Call(b, network.ClearBrowserCookies, cdp.Empty{})
	s.Server.CloseClientConnections()
	wantLeft(b, "", "/dashboard", "You are signed out")
}

// TestBrowserWithoutLocks uses a browser without Web Locks, and one that refuses a lock, as it does to a
// page that is being left. Every visible tab holds its own stream.
func TestBrowserWithoutLocks(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"none":    `delete Navigator.prototype.locks`,
		"refused": `LockManager.prototype.request = () => Promise.reject(new DOMException("", "AbortError"))`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := apptest.NewTwoDevices(t)
			b := apptest.OpenBrowser(t, p.App)
			apptest.Call(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
			b.Open("/login")
			b.Wait("#profile-card")
			p.WantStreams(1)
			p.EndOthers()
			wantLeft(b, "elsewhere", "/dashboard", "another device or browser")
			p.WantStreams(0)
		})
	}
}

// TestBrowserLeavesWithoutJavaScript waits for a short session to end.
func TestBrowserLeavesWithoutJavaScript(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t, "SESSION_IDLE=2s")
	b := apptest.OpenBrowser(t, a)
	b.WithoutJavaScript()
	b.Open("/profile")
	b.Click(`button[id="person-` + apptest.Ada + `"]`)
	b.Wait("#profile-card")
	wantLeft(b, "expired", "/profile", "Your session expired.")
	if a.Log.Count(`"path":"/events"`) > 0 {
		t.Error("a page without JavaScript holds a stream")
	}
}

// TestBrowserSuspendedTab suspends tabs that have the stream, as browsers of phones do. The tab that is shown
// then follows the session by itself.
func TestBrowserSuspendedTab(t *testing.T) {
	t.Parallel()
	s, _ := apptest.Assemble(t, "LOG_LEVEL=debug")
	suspend := func(b *apptest.Browser) {
		apptest.Call(b, page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: page.SetWebLifecycleStateStateFrozen})
	}
	resume := func(b *apptest.Browser) {
		apptest.Call(b, page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: page.SetWebLifecycleStateStateActive})
	}
	hide := func(b *apptest.Browser, hidden bool) {
		apptest.Evaluate[bool](b, fmt.Sprintf(`Object.defineProperty(document, "hidden", { value: %v, configurable: true }).dispatchEvent(new Event("visibilitychange"))`, hidden))
	}
	show := func(b *apptest.Browser) { hide(b, false) }
	endsOne := func(act func()) {
		t.Helper()
		ended := func() int { return s.Log.Count(`"path":"/events"`) }
		before := ended()
		act()
		apptest.Eventually(t, "a tab has given up its stream", func() bool { return ended() > before })
	}
	first := apptest.OpenBrowser(t, s.App)
	first.Open("/login")
	first.Wait("#profile-card")
	s.WantStreams(1)
	suspend(first)
	second := first.Tab()
	second.Open("/dashboard")
	second.Wait("#profile-card")
	s.WantStreams(2)

	// The first tab is shown before it learns that it has lost the stream.
	suspend(second)
	show(first)
	endsOne(func() { resume(first) })
	s.WantStreams(2)
	endsOne(func() { resume(second) })
	s.WantStreams(1)

	// The second tab knows that it has lost the stream.
	hide(first, true)
	suspend(first)
	show(second)
	s.WantStreams(2)
	endsOne(func() { resume(first) })
	s.WantStreams(1)

	// Both are shown, in two windows, and the one that has the stream is hidden.
	for _, act := range []func(){func() { show(first) }, func() { show(second) }, func() { hide(second, true) }} {
		endsOne(act)
		s.WantStreams(1)
	}
	suspend(second)

	elsewhere := first.Device()
	elsewhere.Open("/login")
	elsewhere.Wait("#profile-card")
	elsewhere.Open("/sessions")
	elsewhere.Click("#end-others")
	elsewhere.Click("#end-others-confirm")
	wantLeft(first, "elsewhere", "/dashboard", "another device or browser")
}

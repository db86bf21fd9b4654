package app

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// tab opens another tab of the same browser; device opens a tab that shares nothing with
// it, as another computer does.
func (b *browser) tab() *browser    { return b.another() }
func (b *browser) device() *browser { return b.another(chromedp.WithNewBrowserContext()) }

func (b *browser) another(options ...chromedp.ContextOption) *browser {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, options...)
	b.t.Cleanup(cancel)
	return watched(b.t, b.app, ctx)
}

// until waits until an expression is true of the page.
func (b *browser) until(expression string) {
	b.t.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(patience))); err != nil {
		b.t.Fatalf("%s: %v; the page at %s says\n%s", expression, err, b.path(), b.text("body"))
	}
}

// wantLeft checks that the tab has left by itself for the page that says why, with the way
// back to where it was.
func (b *browser) wantLeft(because, from, says string) {
	b.t.Helper()
	b.wait("#qsLoginBtn")
	if got, want := b.path(), "/signed-out?because="+because+"&return_to="+strings.ReplaceAll(from, "/", "%2F"); got != want {
		b.t.Errorf("the tab is at %s, want %s", got, want)
	}
	if got := b.text("main"); !strings.Contains(got, says) {
		b.t.Errorf("the page says: %s", got)
	}
}

// wantStreams waits until so many streams are open.
func (s *scriptedApp) wantStreams(want int) {
	s.t.Helper()
	await(s.t, strconv.Itoa(want)+" open streams", func() bool { return s.parts.Sessions.Watching() == want })
}

// TestBrowserTabsLeave (LR-06) has three tabs on one device and one on another: they hold
// one stream each device, and leave by themselves in time when their session is ended.
func TestBrowserTabsLeave(t *testing.T) {
	t.Parallel()
	s, _ := assembleScripted(t)
	here := openBrowser(t, s.app)
	there := []*browser{here.device()}
	there = append(there, there[0].tab(), there[0].tab())
	here.open("/login")
	here.wait("#profile-card")
	there[0].open("/login")
	there[0].wait("#profile-card")
	there[1].open("/profile")
	there[2].open("/sessions")
	s.wantStreams(2)

	// The tab that holds the stream goes elsewhere; another takes over.
	there[0].open("/sessions")
	there[0].wait("#sessions-card")
	s.wantStreams(2)

	here.open("/sessions")
	here.click("#end-others")
	pressed := time.Now()
	for i, from := range []string{"/sessions", "/profile", "/sessions"} {
		there[i].wantLeft("elsewhere", from, "another one of yours")
	}
	if took := time.Since(pressed); took > inTime {
		t.Errorf("it took %s", took)
	}
	if got := here.path(); got != "/sessions" {
		t.Errorf("the tab that ended them is at %s", got)
	}
	s.wantStreams(1)
}

// TestBrowserSignOutInAnotherTab signs out in one tab, which goes on to the provider and
// back as ever, while the other says what happened.
func TestBrowserSignOutInAnotherTab(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	b := openBrowser(t, a)
	b.signIn("/login", ada)
	other := b.tab()
	other.open("/profile")
	other.wait("#profile-card")
	b.click("#qsLogoutBtn")
	other.wantLeft("tab", "/profile", "another tab or window")
	b.wait("#qsLoginBtn")
	if got := b.text("main"); !strings.Contains(got, "here and at the sign-in service") {
		t.Errorf("the tab that signed out says: %s", got)
	}
}

// TestBrowserWarning (WCAG 2.2, 2.2.1) lets a session go idle under two tabs.
func TestBrowserWarning(t *testing.T) {
	t.Parallel()
	s, clock := assembleScripted(t)
	b := openBrowser(t, s.app)
	b.open("/login")
	b.wait("#profile-card")
	other := b.tab()
	other.open("/profile")
	other.wait("#profile-card")
	s.wantStreams(1)

	call(b, page.BringToFront, cdp.Empty{})
	evaluate[bool](b, `document.querySelector("summary").focus(), true`)
	clock.Move(24*time.Hour - 2*time.Minute)
	for _, tab := range []*browser{b, other} {
		tab.wait("#session-warning")
		if got := tab.text("#session-warning"); !strings.Contains(got, "signed out in 2 minutes") || !strings.Contains(got, "Stay signed in") || strings.Contains(got, "new tab") {
			t.Errorf("the warning says: %s", got)
		}
		tab.until(`document.getElementById("announcer").textContent.includes("2 minutes")`)
	}
	cardSays := func(left string) string {
		return `document.querySelector("[data-idle-end] .countdown").textContent === "` + left + `"`
	}
	b.until(cardSays("in 2 minutes"))
	if got := evaluate[string](b, `document.activeElement.localName`); got != "summary" {
		t.Errorf("the warning takes the focus away: it is on %q", got)
	}
	evaluate[bool](b, `document.querySelector("#session-warning button").focus(), true`)
	b.click("#session-warning button")
	for _, tab := range []*browser{b, other} {
		tab.until(`!document.getElementById("session-warning")`)
	}
	b.until(cardSays("in 24 hours"))
	if got := evaluate[string](b, `document.activeElement.localName`); got != "summary" {
		t.Errorf("after the warning the focus is on %q", got)
	}
	if got := b.path(); got != "/dashboard" {
		t.Errorf("the page is at %s", got)
	}
	if got := evaluate[int](b, `sessionStorage.length + localStorage.length`); got != 0 {
		t.Errorf("HB-04: %d things are kept in the browser", got)
	}

	clock.Move(24*time.Hour - time.Second)
	b.wait("#session-warning")
	clock.Move(time.Second)
	b.wantLeft("expired", "/dashboard", "ended by itself")
	other.wantLeft("expired", "/profile", "ended by itself")
}

// TestBrowserLastWarning offers a new sign-in before the absolute end, in a tab of its own;
// the page stays as it is, and its warning goes.
func TestBrowserLastWarning(t *testing.T) {
	t.Parallel()
	s, clock := assembleScripted(t, "SESSION_IDLE=24h", "SESSION_ABSOLUTE=24h")
	b := openBrowser(t, s.app)
	b.open("/login")
	b.wait("#profile-card")
	evaluate[bool](b, `document.body.dataset.mark = "kept", true`)
	clock.Move(24*time.Hour - time.Minute)
	b.wait("#session-warning a")
	if got := evaluate[string](b, `[...document.querySelectorAll("#session-warning a")].map(a => a.pathname + a.target + a.rel).join()`); got != "/login_blanknoopener" {
		t.Errorf("the link is %s", got)
	}
	again := b.tab()
	again.open("/login")
	again.wait("#profile-card")
	b.until(`!document.getElementById("session-warning")`)
	if got := evaluate[string](b, `document.body.dataset.mark`); got != "kept" {
		t.Error("the page was loaded anew")
	}
	s.op.SignInAs("mallory")
	again.open("/login")
	again.wait("#profile-card")
	// The old page is not this person's.
	b.wait("body:not([data-mark]) #profile-card")
	if got := b.text(".account-name"); !strings.Contains(got, "Mallory") {
		t.Errorf("the page is that of %s", got)
	}
}

// TestBrowserStreamComesBack takes the stream away from a page, and its cookie.
func TestBrowserStreamComesBack(t *testing.T) {
	t.Parallel()
	s, _ := assembleScripted(t)
	b := openBrowser(t, s.app)
	b.open("/login")
	b.wait("#profile-card")
	s.wantStreams(1)
	b.expect("ERR_INCOMPLETE_CHUNKED_ENCODING")
	// Without a cookie the server has nothing to say; the page finds out by itself.
	call(b, network.ClearBrowserCookies, cdp.Empty{})
	s.server.CloseClientConnections()
	b.wantLeft("", "/dashboard", "You are signed out")
}

// TestBrowserWithoutLocks has no Web Locks: every tab that is seen holds its own stream.
func TestBrowserWithoutLocks(t *testing.T) {
	t.Parallel()
	p := newStepUp(t)
	b := openBrowser(t, p.app)
	call(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `delete Navigator.prototype.locks`})
	b.open("/login")
	b.wait("#profile-card")
	p.wantStreams(1)
	p.endOthers()
	b.wantLeft("elsewhere", "/dashboard", "another one of yours")
	p.wantStreams(0)
}

// TestBrowserLeavesWithoutJavaScript waits for a short session to end.
func TestBrowserLeavesWithoutJavaScript(t *testing.T) {
	t.Parallel()
	a := startApp(t, "SESSION_IDLE=2s")
	b := openBrowser(t, a)
	b.withoutJavaScript()
	b.open("/profile")
	b.click(`button[id="person-` + ada + `"]`)
	b.wait("#profile-card")
	b.wantLeft("expired", "/profile", "ended by itself")
	if a.log.count(`"path":"/events"`) > 0 {
		t.Error("a page without JavaScript listens")
	}
}

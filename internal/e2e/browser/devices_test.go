package browser

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"latchkey/internal/apptest"
)

const escapeKey = "\u001b"

// openDevices signs a person in on four devices, and opens the list on one of them.
func openDevices(t *testing.T) (s *apptest.Scripted, b *apptest.Browser, others []*apptest.Visitor) {
	t.Helper()
	s, _ = apptest.Assemble(t)
	for range 3 {
		others = append(others, s.Visitor())
		s.SignIn(others[len(others)-1])
	}
	b = apptest.OpenBrowser(t, s.App)
	b.Open("/login")
	b.Wait("#profile-card")
	return s, b, others
}

// openList opens the list and waits until its scripts handle clicks.
func openList(b *apptest.Browser) {
	b.T.Helper()
	b.Open("/sessions")
	b.Until(`document.readyState === "complete" && document.querySelectorAll(".device").length > 0`)
}

func signedIn(visitors []*apptest.Visitor) (n int) {
	for _, v := range visitors {
		if v.SignedIn() {
			n++
		}
	}
	return n
}

const (
	rowCount    = `document.querySelectorAll(".device").length`
	focusOn     = `document.activeElement.id || document.activeElement.className || document.activeElement.localName`
	focusOnARow = `document.activeElement.matches(".device")`
)

// TestBrowserEndsOneDevice presses Enter, and then again and again, on the button of one device. Only
// that one is signed out, the page says so, and the next Tab leads to the next device.
func TestBrowserEndsOneDevice(t *testing.T) {
	t.Parallel()
	_, b, others := openDevices(t)
	openList(b)
	next := apptest.Evaluate[string](b, `document.querySelectorAll(".device")[2].id`)
	tabTo(b, ".device:nth-child(2) button")
	for range 4 {
		pressKey(b, enterKey)
	}
	b.Until(rowCount + ` === 3 && ` + focusOnARow)
	if got := b.Text("#notices"); got != "The device is signed out." {
		t.Errorf("the page says %q", got)
	}
	b.Until(`document.getElementById("announcer").textContent === "The device is signed out."`)
	for range 3 {
		pressKey(b, enterKey)
	}
	if got := apptest.Evaluate[string](b, focusOn); got != next {
		t.Errorf("the focus is on %q, want %q", got, next)
	}
	pressKey(b, tabKey)
	if !apptest.Evaluate[bool](b, `document.activeElement.matches("#`+next+` button")`) {
		t.Errorf("the next stop is %q", apptest.Evaluate[string](b, focusOn))
	}
	if got := signedIn(others); got != 2 {
		t.Errorf("%d of 3 other devices are signed in, want 2", got)
	}

	// The last ones: the focus goes to the row above, and at the end to this device.
	for left := 2; left > 0; left-- {
		openList(b)
		apptest.Evaluate[bool](b, `document.querySelector(".device:last-child button").focus(), true`)
		pressKey(b, enterKey)
		b.Until(fmt.Sprintf(`%s === %d && document.activeElement === document.querySelector(".device:last-child")`, rowCount, left))
	}
	if got := signedIn(others); got != 0 {
		t.Errorf("%d other devices are signed in", got)
	}
}

// TestBrowserKeepsFocusBetweenSwaps has the live list arrive while the answer to the form, which took the
// device with the focus away, is still being put into the page.
func TestBrowserKeepsFocusBetweenSwaps(t *testing.T) {
	t.Parallel()
	_, b, _ := openDevices(t)
	openList(b)
	next := apptest.Evaluate[string](b, `document.querySelectorAll(".device")[2].id`)
	apptest.Evaluate[bool](b, `new MutationObserver((_, observer) => {
		const card = document.getElementById("sessions-card");
		if (card.querySelectorAll(".device").length !== 3) return;
		observer.disconnect();
		window.focusAtSwap = document.activeElement.localName;
		document.dispatchEvent(new CustomEvent("devices", { detail: card.outerHTML }));
	}).observe(document.getElementById("main"), { childList: true, subtree: true }), true`)
	tabTo(b, ".device:nth-child(2) button")
	pressKey(b, enterKey)
	b.Until(rowCount + ` === 3 && document.activeElement.id === "` + next + `"`)
	if got := apptest.Evaluate[string](b, `window.focusAtSwap`); got != "body" {
		t.Errorf("the focus was on %q when the list came, want body: the test shows nothing", got)
	}
}

// TestBrowserEndOthersAsks opens the dialog and leaves it in every way before confirming it.
func TestBrowserEndOthersAsks(t *testing.T) {
	t.Parallel()
	_, b, others := openDevices(t)
	source := axe(t)
	openList(b)
	tabTo(b, "#end-others")
	for name, key := range map[string]string{"Enter": enterKey, "Escape": escapeKey} {
		pressKey(b, enterKey)
		b.Wait("#end-others-dialog")
		if got := apptest.Evaluate[string](b, `document.activeElement.textContent`); got != "Cancel" {
			t.Errorf("the focus is on %q", got)
		}
		if name == "Escape" {
			inBothColours(b, source, "the dialog")
		}
		pressKey(b, key)
		b.Until(`!document.getElementById("end-others-dialog").open`)
		if got := apptest.Evaluate[string](b, focusOn); got != "end-others" || b.Path() != "/sessions" {
			t.Errorf("after %s the focus is on %q of %s", name, got, b.Path())
		}
	}
	if got := signedIn(others); got != 3 {
		t.Fatalf("%d of 3 other devices are signed in", got)
	}
	pressKey(b, enterKey)
	b.Wait("#end-others-dialog")
	tabTo(b, "#end-others-confirm")
	pressKey(b, enterKey)
	b.Wait("#notices .notice")
	if got := b.Text("#notices"); got != "3 other devices are signed out." || signedIn(others) != 0 {
		t.Errorf("the page says %q, and %d other devices are signed in", got, signedIn(others))
	}
	b.Until(`document.getElementById("announcer").textContent === "3 other devices are signed out."`)
	if apptest.Evaluate[int](b, rowCount) != 1 || apptest.Evaluate[bool](b, `document.getElementById("end-others") !== null`) {
		t.Error("the list is not that of one device")
	}
}

// TestBrowserDevicesWithoutJavaScript signs out one device, and then all others. Each is confirmed once,
// on the page that follows.
func TestBrowserDevicesWithoutJavaScript(t *testing.T) {
	t.Parallel()
	_, b, others := openDevices(t)
	b.WithoutJavaScript()
	b.Open("/sessions")
	b.Click(".device:nth-child(2) button")
	b.Wait("#notices .notice")
	if got := b.Text("#notices"); got != "The device is signed out." || signedIn(others) != 2 {
		t.Errorf("the page says %q, and %d other devices are signed in", got, signedIn(others))
	}
	b.Open("/sessions")
	if got := b.Text("main"); strings.Contains(got, "is signed out.") {
		t.Errorf("the next page says it again: %s", got)
	}
	b.Click("#end-others")
	b.Wait("main a[href='/sessions']")
	if b.Path() != "/sessions/end-others?" || signedIn(others) != 2 {
		t.Fatalf("the button leads to %s, and %d other devices are signed in", b.Path(), signedIn(others))
	}
	b.Click("main a[href='/sessions']")
	b.Click("#end-others")
	b.Wait("main a[href='/sessions']")
	b.Click("#end-others-confirm")
	b.Wait("#notices .notice")
	if got := b.Text("#notices"); got != "2 other devices are signed out." || signedIn(others) != 0 {
		t.Errorf("the page says %q, and %d other devices are signed in", got, signedIn(others))
	}
}

// TestBrowserLostReply loses the reply to a form that the server has acted on. The page does not say
// what it cannot know, and shows the list as it is now, unless the connection is gone altogether.
func TestBrowserLostReply(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		lost []string
		rows int
		says string
	}{
		"one reply":   {[]string{"*/end"}, 3, "This is the list as it is now."},
		"every reply": {[]string{"*/end", "*/sessions"}, 4, "reload the page to see which devices are signed in"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, b, others := openDevices(t)
			b.AllowComplaint("ERR_")
			b.AllowComplaint("console.error") // htmx reports it too
			if len(tt.lost) > 1 {
				// Without the stream, too.
				apptest.Call(b, network.SetBlockedURLs, network.SetBlockedURLsParams{URLPatterns: []*network.BlockPattern{{URLPattern: b.App.URL + "/events?devices", Block: true}}})
			}
			openList(b)
			intercept(b, fetch.RequestStageResponse, tt.lost, func(ctx context.Context, id fetch.RequestID) error {
				_, err := chromedp.Call(ctx, fetch.FailRequest, fetch.FailRequestParams{RequestID: id, ErrorReason: network.ErrorReasonConnectionReset})
				return err
			})
			b.Click(".device:nth-child(2) button")
			b.Wait("#sessions-message .notice")
			b.Until(fmt.Sprintf(`%s === %d && document.getElementById("sessions-message").innerText.includes(%q)`, rowCount, tt.rows, tt.says))
			if got := b.Text("#sessions-message"); !strings.Contains(got, "We couldn't confirm that") || !strings.Contains(got, "Reload") || signedIn(others) != 2 {
				t.Errorf("the page says %q, and %d other devices are signed in", got, signedIn(others))
			}
			if apptest.Evaluate[int](b, `document.querySelectorAll("[aria-busy]").length`) > 0 {
				t.Error("a button is still busy")
			}
		})
	}
}

// TestBrowserDevicesAreLive changes the person's sessions while two tabs are open, of which the other
// has the stream. The list follows, and neither the focus nor the element that has it changes.
func TestBrowserDevicesAreLive(t *testing.T) {
	t.Parallel()
	s, b, others := openDevices(t)
	s.WantStreams(1)
	list := b.Tab()
	openList(list)
	s.WantStreams(1)
	list.Until(rowCount + ` === 4`)
	apptest.Evaluate[bool](list, `(window.kept = document.querySelector(".device:last-child button")).focus(), true`)
	oldest := apptest.Evaluate[string](list, `document.activeElement.closest(".device").id`)
	keepsFocus := func(when string) {
		t.Helper()
		if !apptest.Evaluate[bool](list, `document.activeElement === window.kept && window.kept.closest(".device").id === "`+oldest+`"`) {
			t.Errorf("%s the focus is on %q", when, apptest.Evaluate[string](list, focusOn))
		}
		list.Until(`!document.querySelector("time:not([data-local])")`)
	}
	newest := s.Visitor()
	s.SignIn(newest)
	list.Until(rowCount + ` === 5`)
	keepsFocus("after a sign-in")
	newest.Post("/logout", nil)
	list.Until(rowCount + ` === 4`)
	keepsFocus("after a sign-out")
	if signedIn(others) != 3 {
		t.Error("another device was signed out")
	}

	// The device that has the focus leaves.
	apptest.Evaluate[bool](list, `document.activeElement.blur(), true`)
	others[0].Post("/logout", nil)
	list.Until(rowCount + ` === 3`)
	if got := apptest.Evaluate[string](list, focusOn); got != "body" {
		t.Errorf("the list has taken the focus to %q", got)
	}
	list.Click(".device:nth-child(2) button")
	list.Until(rowCount + ` === 2`)
	if got := list.Text("#notices"); got != "The device is signed out." {
		t.Errorf("the page says %q", got)
	}
}

// intercept has a handler decide about requests, at a stage, whose addresses match a pattern.
func intercept(b *apptest.Browser, stage fetch.RequestStage, patterns []string, decide func(context.Context, fetch.RequestID) error) {
	b.T.Helper()
	err := chromedp.Listen(b.Context, func(event any) {
		if paused, ok := event.(*fetch.EventRequestPaused); ok {
			go func() { // a listener must not wait for the browser
				if err := decide(b.Context, paused.RequestID); err != nil && b.Context.Err() == nil {
					b.T.Errorf("%s: %v", paused.Request.URL, err)
				}
			}()
		}
	})
	if err != nil {
		b.T.Fatal(err)
	}
	params := fetch.EnableParams{}
	for _, pattern := range patterns {
		params.Patterns = append(params.Patterns, &fetch.RequestPattern{URLPattern: pattern, RequestStage: stage})
	}
	apptest.Call(b, fetch.Enable, params)
}

// TestBrowserButtonsWait presses buttons that lead to another page. Each shows that it waits from then
// on, no other does, and it is ready again when the person comes back.
func TestBrowserButtonsWait(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	b := apptest.OpenBrowser(t, a)
	setColours(b, "light", &emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "no-preference"})
	waits := func(page, button string) {
		t.Helper()
		b.Open(page)
		b.Until(`document.readyState === "complete"`)
		// The page may be gone after the click.
		got := apptest.Evaluate[string](b, `(button => {
			button.click();
			const busy = document.querySelectorAll("[aria-busy=true]:not(form)").length;
			const icon = button.querySelector(".icon");
			const ring = icon ? getComputedStyle(icon) : getComputedStyle(button, "::after");
			return [button.ariaBusy, busy, getComputedStyle(button).opacity < 1, ring.animationName].join();
		})(document.querySelector("`+button+`"))`)
		if got != "true,1,true,turn" {
			t.Errorf("%s: after a press of %s: %s", page, button, got)
		}
		b.Until(`document.readyState === "complete" && !document.querySelector("[aria-busy]")`) // on the next page
	}
	waits("/", "#qsLoginBtn")
	b.Wait(`button[id="person-` + apptest.Ada + `"]`)
	b.Do(chromedp.NavigateBack())
	b.Wait("#qsLoginBtn")
	if apptest.Evaluate[bool](b, `document.querySelector("[aria-busy]") !== null`) {
		t.Error("the button is still busy after going back")
	}
	waits("/dev/gallery/signed%20out/redirecting", "main .button")
	waits("/dev/gallery/failure/provider_unreachable", "main .button")
	b.SignIn("/login", apptest.Ada)
	waits("/sessions/end-others", "#end-others-confirm")
	b.Wait("#notices .notice")
	waits("/sessions", "#qsLogoutBtn")
	b.Wait("#qsLoginBtn")
}

// TestBrowserFragmentsWait does the same with a form that htmx sends.
func TestBrowserFragmentsWait(t *testing.T) {
	t.Parallel()
	_, b, _ := openDevices(t)
	openList(b)
	arrived, release := make(chan bool, 1), make(chan bool)
	intercept(b, fetch.RequestStageRequest, []string{"*/end"}, func(ctx context.Context, id fetch.RequestID) error {
		arrived <- true
		<-release
		_, err := chromedp.Call(ctx, fetch.ContinueRequest, fetch.ContinueRequestParams{RequestID: id})
		return err
	})
	b.Click(".device:nth-child(2) button")
	<-arrived
	if got := apptest.Evaluate[string](b, `[...document.querySelectorAll("[aria-busy=true]")].map(e => e.localName).join()`); got != "form,button" {
		t.Errorf("what waits is %q", got)
	}
	close(release)
	b.Until(rowCount + ` === 3 && !document.querySelector("[aria-busy]")`)
}

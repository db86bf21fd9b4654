package apptest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Browser is a tab of headless Chromium. The test fails if a page writes to the console,
// breaks its Content-Security-Policy, or sends a request to a third party.
type Browser struct {
	T       *testing.T
	Context context.Context
	App     *App

	mu        sync.Mutex
	expected  []string
	complaint []string
}

// OpenBrowser starts a browser: Chromium's headless shell, which has the same engine and needs less than
// half of the time, or else Chromium. Where neither is installed the test is skipped, except in CI.
func OpenBrowser(t *testing.T, a *App) *Browser {
	t.Helper()
	return openBrowser(t, a, append([]string{"chromium-headless-shell"}, chromium...))
}

// OpenDeviceBoundBrowser starts a browser that binds sessions to keys, in software, beside an app of
// [AssembleHTTPS]. It needs two features that the headless shell lacks, and that Chromium switches off if it
// ignores all certificate errors.
func OpenDeviceBoundBrowser(t *testing.T, a *App) *Browser {
	t.Helper()
	key := sha256.Sum256(a.certificate.RawSubjectPublicKeyInfo)
	return openBrowser(t, a, chromium,
		chromedp.Flag("enable-features", "DeviceBoundSessions,EnableBoundSessionCredentialsSoftwareKeysForManualTesting"),
		chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(key[:])))
}

// chromium has the names of the program.
var chromium = []string{"chromium", "chromium-browser", "google-chrome"}

// openBrowser starts the first program that is installed.
func openBrowser(t *testing.T, a *App, programs []string, more ...chromedp.ExecAllocatorOption) *Browser {
	t.Helper()
	path := ""
	for _, name := range programs {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI needs Chromium (Debian's package chromium)")
		}
		t.Skip("this test needs Chromium (Debian's package chromium)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		// While one page fades into the next, a press on it is lost.
		chromedp.Flag("force-prefers-reduced-motion", true),
		// Without this, Chromium drops presses on a page that it has not painted yet.
		chromedp.Flag("allow-pre-commit-input", true))
	options = append(options, more...)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return watched(t, a, ctx)
}

// watched returns a tab whose complaints fail the test.
func watched(t *testing.T, a *App, ctx context.Context) *Browser {
	t.Helper()
	b := &Browser{T: t, Context: ctx, App: a}
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	Call(b, network.Enable, network.EnableParams{})
	Call(b, log.Enable, cdp.Empty{})
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, c := range b.complaint {
			t.Errorf("the browser complains: %s", c)
		}
	})
	return b
}

// Call sends a command of the DevTools protocol to a tab.
func Call[P, R any](b *Browser, command cdp.Command[P, R], params P) R {
	b.T.Helper()
	result, err := chromedp.Call(b.Context, command, params)
	if err != nil {
		b.T.Fatal(err)
	}
	return result
}

// hear collects complaints.
func (b *Browser) hear(event any) {
	text := ""
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		text = "console." + string(e.Type)
	case *runtime.EventExceptionThrown:
		text = "an exception: " + e.ExceptionDetails.Text
		if thrown := e.ExceptionDetails.Exception; thrown != nil {
			text += " " + thrown.Description
		}
	case *page.EventJavascriptDialogOpening: // HB-17
		text = "a dialog: " + e.Message
	case *log.EventEntryAdded:
		text = e.Entry.Text
	case *network.EventRequestWillBeSent:
		known := append(b.App.Issuers(), b.App.URL, "about:")
		if address := e.Request.URL; !slices.ContainsFunc(known, func(k string) bool { return strings.HasPrefix(address, k) }) {
			text = "a request to " + address
		}
	}
	// Signing out clears the browser's cache, and Chromium says so. It also says if the page is left
	// while it loads the icon of the manifest, and that it leaves autofocus in a fragment to htmx.
	if text == "" || strings.HasPrefix(text, "Clear-Site-Data header on ") || strings.Contains(text, "icon from the Manifest") ||
		strings.HasPrefix(text, "Autofocus processing was blocked") {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, expected := range b.expected {
		if strings.Contains(text, expected) {
			return
		}
	}
	b.complaint = append(b.complaint, text)
}

// AllowComplaint lets the browser complain with a text that contains the given one, such as the status
// of an answer that is an error. It waits for nothing.
func (b *Browser) AllowComplaint(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = append(b.expected, text)
}

// Do runs steps of chromedp.
func (b *Browser) Do(steps ...chromedp.Action[chromedp.Void]) {
	b.T.Helper()
	if err := chromedp.Do(b.Context, steps...); err != nil {
		b.T.Fatal(err)
	}
}

// Open opens a page of the app.
func (b *Browser) Open(path string) {
	b.T.Helper()
	Value(b, chromedp.Navigate(b.App.URL+path))
}

// Click clicks the element that a selector finds.
func (b *Browser) Click(selector string) {
	b.T.Helper()
	Value(b, chromedp.Click(chromedp.CSS(selector)))
}

// Wait waits until a selector finds a visible element.
func (b *Browser) Wait(selector string) {
	b.T.Helper()
	Value(b, chromedp.WaitVisible(chromedp.CSS(selector)))
}

// Text returns the text of an element as a person reads it.
func (b *Browser) Text(selector string) string {
	b.T.Helper()
	return Value(b, chromedp.Text(chromedp.CSS(selector)))
}

// Path returns the path of a page of the app, or the whole address of another page.
func (b *Browser) Path() string {
	b.T.Helper()
	return strings.TrimPrefix(Value(b, chromedp.Location()), b.App.URL)
}

// Evaluate returns the value of a JavaScript expression in the page.
func Evaluate[T any](b *Browser, expression string) T {
	b.T.Helper()
	return Value(b, chromedp.Evaluate[T](expression))
}

// Value runs a step of chromedp and returns its value.
func Value[T any](b *Browser, action chromedp.Action[T]) T {
	b.T.Helper()
	value, err := settled(b, action)
	if err != nil {
		b.T.Fatal(err)
	}
	return value
}

// settled runs a step of chromedp. It repeats the step if the page, or the element that the step has
// found, is replaced in between, as a navigation and htmx do, and a navigation that Chromium has given up.
func settled[T any](b *Browser, action chromedp.Action[T]) (T, error) {
	for deadline := time.Now().Add(Patience); ; {
		value, err := chromedp.Run(b.Context, action)
		refused, _ := errors.AsType[*cdproto.Error](err)
		failed, _ := errors.AsType[*chromedp.LoadError](err)
		again := refused != nil && refused.Code == replaced || failed != nil && failed.ErrorText == "net::ERR_ABORTED"
		if !again || time.Now().After(deadline) {
			return value, err
		}
	}
}

// replaced is the code of Chromium's answers "No node with given id found" and "Cannot find context
// with specified id".
const replaced = -32000

// WithoutJavaScript switches JavaScript off in the tab.
func (b *Browser) WithoutJavaScript() {
	b.T.Helper()
	Call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// SignIn opens a page that needs a sign-in, and signs in at the development provider as the
// person with this subject.
func (b *Browser) SignIn(from, subject string) {
	b.T.Helper()
	b.Open(from)
	b.Click(`button[id="person-` + subject + `"]`)
	b.Wait(".account-button")
	// Until the scripts have run, htmx handles no click.
	Eventually(b.T, "the page has loaded", func() bool { return Evaluate[string](b, "document.readyState") == "complete" })
}

// SignOut signs out with the account menu.
func (b *Browser) SignOut() {
	b.T.Helper()
	b.Click(".account-button")
	b.Click("#qsLogoutBtn")
}

// Until waits until a JavaScript expression is true. It asks again and again from outside of the page,
// because a page without JavaScript runs no timer of its own. An expression that throws is not true yet.
func (b *Browser) Until(expression string) {
	b.T.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(Patience); !Evaluate[bool](b, "(() => { try { return !!("+expression+") } catch { return false } })()"); <-tick.C {
		if time.Now().After(deadline) {
			b.T.Fatalf("%s: not within %v; the page at %s says\n%s", expression, Patience, b.Path(), b.Text("body"))
		}
	}
}

// Tab opens another tab of the same browser.
func (b *Browser) Tab() *Browser { return b.another() }

// Device opens a tab that shares no cookie with this one, as the browser of another computer.
func (b *Browser) Device() *Browser { return b.another(chromedp.WithNewBrowserContext()) }

func (b *Browser) another(options ...chromedp.ContextOption) *Browser {
	b.T.Helper()
	ctx, cancel := chromedp.NewContext(b.Context, options...)
	b.T.Cleanup(cancel)
	return watched(b.T, b.App, ctx)
}

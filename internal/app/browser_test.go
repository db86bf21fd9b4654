package app

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a tab of headless Chromium. The test fails if the page says anything on
// the console, breaks its Content-Security-Policy, or asks a third party for anything.
type browser struct {
	t   *testing.T
	ctx context.Context
	app *app

	mu        sync.Mutex
	expected  []string
	complaint []string
}

// openBrowser starts a browser of its own for a test. Without Chromium the test is
// skipped, except where CI demands it.
func openBrowser(t *testing.T, a *app) *browser {
	t.Helper()
	path, err := findChromium()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI needs Chromium (Debian's package chromium)")
		}
		t.Skip("this test needs Chromium (Debian's package chromium)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return watched(t, a, ctx)
}

// watched is a tab to whose complaints the test listens.
func watched(t *testing.T, a *app, ctx context.Context) *browser {
	t.Helper()
	b := &browser{t: t, ctx: ctx, app: a}
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatal(err)
	}
	call(b, network.Enable, network.EnableParams{})
	call(b, log.Enable, cdp.Empty{})
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, c := range b.complaint {
			t.Errorf("the browser complains: %s", c)
		}
	})
	return b
}

func findChromium() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

// call sends a command of the DevTools protocol to the tab.
func call[P, R any](b *browser, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	result, err := chromedp.Call(b.ctx, command, params)
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

// hear collects what should not be.
func (b *browser) hear(event any) {
	text := ""
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		text = "console." + string(e.Type)
	case *runtime.EventExceptionThrown:
		text = "an exception: " + e.ExceptionDetails.Text
	case *page.EventJavascriptDialogOpening: // HB-17
		text = "a dialog: " + e.Message
	case *log.EventEntryAdded:
		text = e.Entry.Text
	case *network.EventRequestWillBeSent:
		if address := e.Request.URL; !strings.HasPrefix(address, b.app.url) && !strings.HasPrefix(address, b.app.issuer) && !strings.HasPrefix(address, "about:") {
			text = "a request to " + address
		}
	}
	// Signing out clears the browser's cache, and Chromium says so.
	if text == "" || strings.HasPrefix(text, "Clear-Site-Data header on ") {
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

// expect names a complaint that belongs to what the test does, such as that of an
// answer with an error status.
func (b *browser) expect(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = append(b.expected, text)
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// open goes to a page of the app.
func (b *browser) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.app.url + path))
}

// click presses what a selector finds.
func (b *browser) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

// wait waits until a selector finds something that can be seen.
func (b *browser) wait(selector string) {
	b.t.Helper()
	b.do(chromedp.WaitVisible(chromedp.CSS(selector)))
}

// text returns what a person reads in an element.
func (b *browser) text(selector string) string {
	b.t.Helper()
	return get(b, chromedp.Text(chromedp.CSS(selector)))
}

// path returns the address of the page within the app, or the whole address of
// another.
func (b *browser) path() string {
	b.t.Helper()
	return strings.TrimPrefix(get(b, chromedp.Location()), b.app.url)
}

// evaluate returns the value of an expression in the page.
func evaluate[T any](b *browser, expression string) T {
	b.t.Helper()
	return get(b, chromedp.Evaluate[T](expression))
}

func get[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return value
}

// withoutJavaScript switches scripts off in the tab.
func (b *browser) withoutJavaScript() {
	b.t.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// signIn goes through the provider's page.
func (b *browser) signIn(from, subject string) {
	b.t.Helper()
	b.open(from)
	b.click(`button[id="person-` + subject + `"]`)
	b.wait("#qsLogoutBtn")
}

package app_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"latchkey/internal/apptest"
)

// TestScreenshot photographs every piece of the gallery, in light and dark, at three
// widths: SCREENSHOTS=DIRECTORY go test -timeout 30m -run TestScreenshot . It draws only
// when it is asked to. With PIECE it draws what has that text in its address, alone.
func TestScreenshot(t *testing.T) {
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		t.Skip("SCREENSHOTS names no directory to write to")
	}
	a := apptest.Start(t)
	pieces := append(a.Gallery(), "/dev/gallery", "/login")
	b := apptest.OpenBrowser(t, a)
	apptest.Call(b, emulation.SetScrollbarsHidden, emulation.SetScrollbarsHiddenParams{Hidden: true})
	for _, piece := range pieces {
		if !strings.Contains(piece, os.Getenv("PIECE")) {
			continue
		}
		name, err := url.PathUnescape(strings.TrimPrefix(piece, "/"))
		if err != nil {
			t.Fatal(err)
		}
		name = strings.NewReplacer("/", "-", " ", "_", "?", "").Replace(strings.TrimPrefix(name, "dev/gallery/"))
		b.Open(piece)
		for _, scheme := range []string{"light", "dark"} {
			setColours(b, scheme, still)
			for _, width := range []int64{320, 768, 1440} {
				file := filepath.Join(dir, fmt.Sprintf("%s-%s-%d.png", name, scheme, width))
				if err := os.WriteFile(file, photograph(b, width), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// photograph draws the page at hand from its top to its end.
func photograph(b *apptest.Browser, width int64) []byte {
	b.T.Helper()
	b.Do(chromedp.EmulateViewport(width, 700))
	height := apptest.Evaluate[int64](b, `document.documentElement.scrollHeight`)
	b.Do(chromedp.EmulateViewport(width, max(700, height)))
	return apptest.Value(b, chromedp.CaptureScreenshot())
}

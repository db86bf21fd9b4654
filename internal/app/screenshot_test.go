package app

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// TestScreenshot photographs every piece of the gallery, in light and dark, at three
// widths: SCREENSHOTS=DIRECTORY go test -timeout 30m -run TestScreenshot . It draws only
// when it is asked to. With PIECE it draws what has that text in its address, alone.
func TestScreenshot(t *testing.T) {
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		t.Skip("SCREENSHOTS names no directory to write to")
	}
	a := startApp(t)
	pieces := append(a.gallery(), "/dev/gallery", "/login")
	b := openBrowser(t, a)
	call(b, emulation.SetScrollbarsHidden, emulation.SetScrollbarsHiddenParams{Hidden: true})
	for _, piece := range pieces {
		if !strings.Contains(piece, os.Getenv("PIECE")) {
			continue
		}
		name, err := url.PathUnescape(strings.TrimPrefix(piece, "/"))
		if err != nil {
			t.Fatal(err)
		}
		name = strings.NewReplacer("/", "-", " ", "_", "?", "").Replace(strings.TrimPrefix(name, "dev/gallery/"))
		b.open(piece)
		for _, scheme := range []string{"light", "dark"} {
			b.colours(scheme, still)
			for _, width := range []int64{320, 768, 1440} {
				file := filepath.Join(dir, fmt.Sprintf("%s-%s-%d.png", name, scheme, width))
				if err := os.WriteFile(file, b.photograph(width), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// photograph draws the page at hand from its top to its end.
func (b *browser) photograph(width int64) []byte {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, 700))
	height := evaluate[int64](b, `document.documentElement.scrollHeight`)
	b.do(chromedp.EmulateViewport(width, max(700, height)))
	return get(b, chromedp.CaptureScreenshot())
}

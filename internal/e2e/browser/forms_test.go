package browser

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"latchkey/internal/apptest"
)

// TestBrowserFormErrors opens the sample of a form with errors, with JavaScript and without. The list of
// errors has the focus, each of its links leads to a field, and each field says what is wrong with it.
func TestBrowserFormErrors(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	for name, prepare := range map[string]func(*apptest.Browser){
		"with JavaScript": func(*apptest.Browser) {}, "without": (*apptest.Browser).WithoutJavaScript,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := apptest.OpenBrowser(t, a)
			prepare(b)
			b.Open("/dev/gallery/form/with%20errors")
			b.Until(`document.activeElement.id === "form-errors"`)
			for _, field := range []string{"name", "email", "team", "note", "news"} {
				link := `.form-errors [href="#` + field + `"]`
				text := b.Text(link)
				b.Click(link)
				b.Until(`document.activeElement.id === "` + field + `"`)
				if !apptest.Evaluate[bool](b, `(field => field.ariaInvalid === "true" && field.labels[0].getBoundingClientRect().top >= 0 &&
					field.getAttribute("aria-describedby").split(" ").some(id => document.getElementById(id).textContent === "`+text+`"))(document.activeElement)`) {
					t.Errorf("the field %s does not say %q, or its label is out of sight", field, text)
				}
			}
		})
	}
}

// TestBrowserFormBorders measures how well the border of a field stands out against what is around it:
// 3 to 1 at least (WCAG 2.2, 1.4.11). axe measures only texts.
func TestBrowserFormBorders(t *testing.T) {
	t.Parallel()
	b := apptest.OpenBrowser(t, apptest.Start(t))
	for _, piece := range []string{"filled", "with%20errors"} {
		b.Open("/dev/gallery/form/" + piece)
		for _, scheme := range []string{"light", "dark"} {
			setColours(b, scheme, still)
			for _, property := range []string{"borderTopColor", "color"} { // the second one shows that the measurement works
				ratio := apptest.Value(b, chromedp.Evaluate[float64](`(() => {
					const luminance = colour => {
						const canvas = new OffscreenCanvas(1, 1).getContext("2d");
						canvas.fillStyle = colour;
						canvas.fillRect(0, 0, 1, 1);
						const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
						return 0.2126 * r + 0.7152 * g + 0.0722 * b;
					};
					const of = (selector, property) => luminance(getComputedStyle(document.querySelector(selector))[property]);
					const pair = [of("#email", "`+property+`"), of(".card", "backgroundColor")].sort((a, b) => b - a);
					return (pair[0] + 0.05) / (pair[1] + 0.05);
				})()`))
				if ratio < 3 || property == "color" && ratio < 10 {
					t.Errorf("%s in %s: %s has a contrast of %.1f", piece, scheme, property, ratio)
				}
				t.Logf("%s in %s: %s has a contrast of %.1f", piece, scheme, property, ratio)
			}
		}
	}
}

// TestBrowserTable scrolls a table that is too wide for the screen, with the keyboard. The page stays
// where it is.
func TestBrowserTable(t *testing.T) {
	t.Parallel()
	b := apptest.OpenBrowser(t, apptest.Start(t))
	narrow(b, "/dev/gallery/form/table")
	apptest.Evaluate[bool](b, `(document.querySelector(".table").focus(), true)`)
	b.Until(`document.activeElement.matches("[role=region]")`)
	b.Do(chromedp.KeyEvent(kb.ArrowRight))
	b.Until(`document.querySelector(".table").scrollLeft > 0`)
	if apptest.Evaluate[float64](b, `scrollX`) != 0 {
		t.Error("the page has scrolled")
	}
}

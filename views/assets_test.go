package views_test

import (
	"bytes"
	"encoding/json"
	"image/png"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"latchkey/views"
)

// served returns a file of the assets.
func served(t *testing.T, a *views.Assets, name string) []byte {
	t.Helper()
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest("GET", a.URL(name), nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("%s: status %d, %v", name, w.Code, err)
	}
	return body
}

// brandColours returns the light and the dark value of each property that the brand's colour sets.
func brandColours(t *testing.T, a *views.Assets) (light, dark map[string]string) {
	t.Helper()
	light, dark = map[string]string{}, map[string]string{}
	for _, m := range regexp.MustCompile(`--([a-z-]+):light-dark\((#[0-9a-f]{6}),(#[0-9a-f]{6})\)`).FindAllStringSubmatch(string(served(t, a, "app.css")), -1) {
		light[m[1]], dark[m[1]] = m[2], m[3]
	}
	if len(light) != 6 {
		t.Fatalf("the style sheet sets %v", light)
	}
	return light, dark
}

// luminance is the relative luminance of a colour such as #d92d20 (WCAG 2.2).
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(hex[1:], 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for i, weight := range []float64{0.0722, 0.7152, 0.2126} {
		c := float64(n>>(8*i)&255) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// TestEveryBrandIsReadable computes the contrasts of the colours that follow from a brand's colour
// (WCAG 2.2, 1.4.3 and 1.4.11). TestBrowserBrands checks whole pages.
func TestEveryBrandIsReadable(t *testing.T) {
	t.Parallel()
	colours := map[string]string{
		"ours": views.Colour, "red": "#d92d20", "black": "#000000", "yellow": "#ffd600", "white": "#ffffff", "grey": "#808080",
		"navy": "#0a1a4a", "lime": "#a3e635", "pure blue": "#0000ff", "a grey without a hue": "0 0",
	}
	for hue := 0; hue < 360; hue += 15 {
		colours["hue "+strconv.Itoa(hue)] = strconv.Itoa(hue) + " 0.2"
	}
	for name, colour := range colours {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := views.NewAssets(colour)
			if err != nil {
				t.Fatal(err)
			}
			light, dark := brandColours(t, a)
			for mode, c := range map[string]struct {
				colours     map[string]string
				backgrounds []string // the extremes of app.css
				button      float64
			}{
				// A button on a light page is known by its text: a yellow one cannot have a contrast to white.
				"light": {light, []string{"#ffffff", "#f1f1f1", light["accent-soft"]}, 1},
				"dark":  {dark, []string{"#0d0d10", "#2a2a2f", dark["accent-soft"]}, 3},
			} {
				for _, pair := range [][2]string{{"brand-text", "brand"}, {"brand-text", "brand-strong"}, {"accent-strong", "accent-soft"}} {
					if got := contrast(t, c.colours[pair[0]], c.colours[pair[1]]); got < 4.5 {
						t.Errorf("%s: %s on %s, %s on %s, has a contrast of %.2f", mode, pair[0], pair[1], c.colours[pair[0]], c.colours[pair[1]], got)
					}
				}
				for _, background := range c.backgrounds {
					for _, text := range []string{"accent", "accent-strong"} {
						if got := contrast(t, c.colours[text], background); got < 4.5 {
							t.Errorf("%s: %s %s on %s has a contrast of %.2f", mode, text, c.colours[text], background, got)
						}
					}
				}
				if got := contrast(t, c.colours["brand"], c.backgrounds[0]); got < c.button {
					t.Errorf("%s: a button of %s has a contrast of %.2f to the page", mode, c.colours["brand"], got)
				}
				if c.colours["brand"] == c.colours["brand-strong"] {
					t.Errorf("%s: a button looks the same under the pointer", mode)
				}
			}
		})
	}
}

func TestAnExactColourStaysAsItIs(t *testing.T) {
	t.Parallel()
	for _, colour := range []string{"#d92d20", "#000000", "#ffd600", "#0a1a4a"} {
		a, err := views.NewAssets(colour)
		if err != nil {
			t.Fatal(err)
		}
		if light, _ := brandColours(t, a); light["brand"] != colour {
			t.Errorf("%s is %s on a light page", colour, light["brand"])
		}
	}
}

func TestUnreadableColourIsRefused(t *testing.T) {
	t.Parallel()
	for _, colour := range []string{"", "red", "#fff", "#ggffff", "#+12345", "277", "277 ", "-1 0.1", "361 0.1", "277 0.5", "277 -0.1", "NaN 0.1", "277 NaN", "277 0.1 0.2"} {
		if _, err := views.NewAssets(colour); err == nil || !strings.Contains(err.Error(), strconv.Quote(colour)) {
			t.Errorf("%q: %v", colour, err)
		}
	}
}

// TestPicturesFollowTheColour checks the icon, the touch icon and the manifest.
func TestPicturesFollowTheColour(t *testing.T) {
	t.Parallel()
	a, err := views.NewAssets("#ffd600")
	if err != nil {
		t.Fatal(err)
	}
	light, dark := brandColours(t, a)
	icon := string(served(t, a, "icon.svg"))
	for _, want := range []string{
		"var(--brand," + light["brand"] + ")", "var(--brand-text," + light["brand-text"] + ")",
		"@media(prefers-color-scheme:dark){:root{--brand:" + dark["brand"] + ";--brand-text:" + dark["brand-text"] + "}}",
	} {
		if !strings.Contains(icon, want) {
			t.Errorf("the icon lacks %s: %s", want, icon)
		}
	}
	touch := served(t, a, "touch-icon.png")
	picture, err := png.Decode(bytes.NewReader(touch))
	if err != nil {
		t.Fatal(err)
	}
	r, g, b, opaque := picture.At(2, 2).RGBA()
	if picture.Bounds().Dx() != 180 || len(touch) > 2<<10 || r>>8 != 0xff || g>>8 != 0xd6 || b>>8 != 0 || opaque != 0xffff {
		t.Errorf("the touch icon has %d bytes, is %v, and its corner %x %x %x", len(touch), picture.Bounds(), r>>8, g>>8, b>>8)
	}
	var manifest struct {
		Name  string
		Icons []struct{ Src string }
	}
	if err := json.Unmarshal(served(t, a, "manifest.webmanifest"), &manifest); err != nil || manifest.Name != views.Product || len(manifest.Icons) != 2 {
		t.Errorf("the manifest is %+v: %v", manifest, err)
	}
}

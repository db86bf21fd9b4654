package views

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// palette has the colours that follow from the colour of the brand.
type palette struct {
	// hue and tint are the hue of the greys and how much of it they have, from 0 to 1.
	hue, tint   float64
	light, dark scheme
}

// scheme is a palette's colours on a light or on a dark page.
type scheme struct {
	// brand fills buttons and the icon, and brandText is readable on it. brandStrong is brand under
	// the pointer.
	brand, brandStrong, brandText oklch
	// accent is the brand's colour as text and lines, readable on every background of a page.
	// accentStrong is accent under the pointer, and accentSoft a background.
	accent, accentStrong, accentSoft oklch
	// surface is the background of the header, which a phone continues in its own frame.
	surface oklch
}

const (
	// readable is the contrast that text needs (WCAG 2.2, 1.4.3), and visible that of the edge of a
	// button (1.4.11).
	readable, visible = 4.5, 3
	// defaultLightness is the lightness of a colour that is only a hue and a chroma.
	defaultLightness = 0.5
	// grey is the chroma below which a colour is black, grey or white.
	grey = 0.04
)

// newPalette derives the palette of a brand's colour; see [Colour].
func newPalette(colour string) (palette, error) {
	c, err := parseColour(colour)
	if err != nil {
		return palette{}, fmt.Errorf("views: the brand's colour %q: %w", colour, err)
	}
	p := palette{hue: c.h, tint: min(1, c.c/0.05)}
	// The lightest and the darkest background that text has on a light and on a dark page.
	paper, night := oklch{l: 0.945}, oklch{l: 0.3}

	p.light = scheme{
		brand:      c,
		accent:     c.until(readable, paper, -1),
		accentSoft: oklch{0.95, min(0.025, c.c/5), c.h},
		surface:    oklch{l: 1},
	}
	lit := c
	if c.c < grey && c.l < 0.6 {
		lit.l = 1.03 - c.l/2 // black turns into white
		lit.l = min(lit.l, 0.97)
	}
	p.dark = scheme{
		brand:      lit.until(visible, oklch{l: 0.24}, 1),
		accent:     oklch{lit.l, min(lit.c, 0.14), lit.h}.until(readable, night, 1),
		accentSoft: oklch{0.29, min(0.05, c.c/3), c.h},
		surface:    oklch{0.205, 0.01 * p.tint, c.h},
	}
	p.light.accentStrong, p.dark.accentStrong = p.light.accent.lighter(-0.08), p.dark.accent.lighter(0.07)
	for _, s := range []*scheme{&p.light, &p.dark} {
		s.brandText, s.brandStrong = onColour(s.brand)
	}
	return p, nil
}

// onColour returns the text that is readable on a colour, and the colour under the pointer, on which
// the text is still readable. Of black and white, at least one has a contrast of 4.58.
func onColour(c oklch) (text, strong oklch) {
	if white := (oklch{l: 1}); contrast(white, c) >= readable {
		if c.l < 0.3 {
			return white, c.lighter(0.14)
		}
		return white, c.lighter(-0.06)
	}
	text = oklch{0.2, min(0.03, c.c), c.h}
	if contrast(text, c) < readable {
		text = oklch{}
	}
	if c.l > 0.9 {
		return text, c.lighter(-0.07)
	}
	return text, c.lighter(0.05)
}

// css returns the palette as custom properties. Everything else in app.css derives from them.
func (p palette) css() string {
	var b strings.Builder
	fmt.Fprintf(&b, "@layer tokens{:root{--hue:%.0f;--tint:%.2f;", p.hue, p.tint)
	for _, v := range []struct {
		name        string
		light, dark oklch
	}{
		{"brand", p.light.brand, p.dark.brand},
		{"brand-strong", p.light.brandStrong, p.dark.brandStrong},
		{"brand-text", p.light.brandText, p.dark.brandText},
		{"accent", p.light.accent, p.dark.accent},
		{"accent-strong", p.light.accentStrong, p.dark.accentStrong},
		{"accent-soft", p.light.accentSoft, p.dark.accentSoft},
	} {
		fmt.Fprintf(&b, "--%s:light-dark(%s,%s);", v.name, v.light.hex(), v.dark.hex())
	}
	b.WriteString("}}\n")
	return b.String()
}

// oklch is a colour of CSS Color 4: lightness from 0 to 1, chroma, and hue in degrees. Equal lightness
// looks equally light in every hue.
type oklch struct{ l, c, h float64 }

func parseColour(text string) (oklch, error) {
	if hex, ok := strings.CutPrefix(text, "#"); ok {
		n, err := strconv.ParseUint(hex, 16, 32)
		if err != nil || len(hex) != 6 {
			return oklch{}, errors.New("want six hexadecimal digits")
		}
		return fromRGB(uint8(n>>16), uint8(n>>8), uint8(n)), nil
	}
	hue, chroma, _ := strings.Cut(text, " ")
	h, err := strconv.ParseFloat(hue, 64)
	if err != nil || !(h >= 0 && h <= 360) { // NaN is no hue either
		return oklch{}, errors.New("want #rrggbb, or a hue from 0 to 360 and a chroma")
	}
	c, err := strconv.ParseFloat(chroma, 64)
	if err != nil || !(c >= 0 && c <= 0.4) {
		return oklch{}, errors.New("want a chroma from 0 to 0.4 after the hue")
	}
	// Green looks lighter than its lightness says.
	return oklch{defaultLightness, c, h}.until(readable, oklch{l: 1}, -1), nil
}

// lighter returns the colour with another lightness.
func (c oklch) lighter(by float64) oklch { return oklch{max(0, min(1, c.l+by)), c.c, c.h} }

// until makes the colour darker (-1) or lighter (1), as little as possible, until it has a contrast to
// a background.
func (c oklch) until(wanted float64, background oklch, direction float64) oklch {
	for contrast(c, background) < wanted {
		next := c.lighter(direction * 0.005)
		if next == c {
			break // black or white
		}
		c = next
	}
	return c
}

// contrast returns the contrast ratio of two colours (WCAG 2.2), as they are written in hex.
func contrast(a, b oklch) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func (c oklch) luminance() float64 {
	r, g, b := c.rgb()
	return 0.2126*linear(r) + 0.7152*linear(g) + 0.0722*linear(b)
}

func (c oklch) hex() string {
	r, g, b := c.rgb()
	return fmt.Sprintf("#%02x%02x%02x", r, g, b)
}

// rgb returns the colour in sRGB. A colour outside of sRGB loses chroma until it is inside.
func (c oklch) rgb() (r, g, b uint8) {
	for {
		x, y, z := c.linearRGB()
		const over = 0.0005
		if c.c <= 0 || min(x, y, z) >= -over && max(x, y, z) <= 1+over {
			return encoded(x), encoded(y), encoded(z)
		}
		c.c = max(0, c.c-0.002)
	}
}

// linearRGB and fromRGB have the matrices of https://bottosson.github.io/posts/oklab/.
func (c oklch) linearRGB() (r, g, b float64) {
	sin, cos := math.Sincos(c.h * math.Pi / 180)
	A, B := c.c*cos, c.c*sin
	cube := func(x float64) float64 { return x * x * x }
	l := cube(c.l + 0.3963377774*A + 0.2158037573*B)
	m := cube(c.l - 0.1055613458*A - 0.0638541728*B)
	s := cube(c.l - 0.0894841775*A - 1.2914855480*B)
	return 4.0767416621*l - 3.3077115913*m + 0.2309699292*s,
		-1.2684380046*l + 2.6097574011*m - 0.3413193965*s,
		-0.0041960863*l - 0.7034186147*m + 1.7076147010*s
}

func fromRGB(red, green, blue uint8) oklch {
	r, g, b := linear(red), linear(green), linear(blue)
	l := math.Cbrt(0.4122214708*r + 0.5363325363*g + 0.0514459929*b)
	m := math.Cbrt(0.2119034982*r + 0.6806995451*g + 0.1073969566*b)
	s := math.Cbrt(0.0883024619*r + 0.2817188376*g + 0.6299787005*b)
	A := 1.9779984951*l - 2.4285922050*m + 0.4505937099*s
	B := 0.0259040371*l + 0.7827717662*m - 0.8086757660*s
	h := math.Mod(math.Atan2(B, A)*180/math.Pi+360, 360)
	return oklch{0.2104542553*l + 0.7936177850*m - 0.0040720468*s, math.Hypot(A, B), h}
}

// linear and encoded are the transfer function of sRGB and its inverse.
func linear(v uint8) float64 {
	x := float64(v) / 255
	if x <= 0.04045 {
		return x / 12.92
	}
	return math.Pow((x+0.055)/1.055, 2.4)
}

func encoded(x float64) uint8 {
	x = max(0, min(1, x))
	if x <= 0.0031308 {
		x *= 12.92
	} else {
		x = 1.055*math.Pow(x, 1/2.4) - 0.055
	}
	return uint8(math.Round(x * 255))
}

package views

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"strings"

	"latchkey/static"
)

// Assets are the app's files in the colours of the brand.
type Assets struct {
	*static.Assets
	palette palette
}

// NewAssets returns the assets in a colour; see [Colour]. It fails if the colour cannot be read.
func NewAssets(colour string) (*Assets, error) {
	p, err := newPalette(colour)
	if err != nil {
		return nil, err
	}
	touchIcon, err := p.touchIcon(static.Source("touch-icon.png"))
	if err != nil {
		return nil, fmt.Errorf("views: static/touch-icon.png: %w", err)
	}
	manifest, err := p.manifest()
	if err != nil {
		return nil, err
	}
	files, err := static.New(map[string][]byte{
		"app.css":              append([]byte(p.css()), static.Source("app.css")...),
		"icon.svg":             p.icon(static.Source("icon.svg")),
		"touch-icon.png":       touchIcon,
		"manifest.webmanifest": manifest,
	})
	if err != nil {
		return nil, err
	}
	return &Assets{files, p}, nil
}

// icon puts the colours into the logo. A page and a browser's tab show it as a picture, so it does not
// get the properties of the page.
func (p palette) icon(svg []byte) []byte {
	light := strings.NewReplacer("var(--brand)", "var(--brand,"+p.light.brand.hex()+")", "var(--brand-text)", "var(--brand-text,"+p.light.brandText.hex()+")")
	dark := fmt.Sprintf("<style>@media(prefers-color-scheme:dark){:root{--brand:%s;--brand-text:%s}}</style></svg>", p.dark.brand.hex(), p.dark.brandText.hex())
	return []byte(strings.Replace(light.Replace(string(svg)), "</svg>", dark, 1))
}

// touchIcon colours a greyscale picture. It leaves any other as it is.
func (p palette) touchIcon(file []byte) ([]byte, error) {
	picture, err := png.Decode(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	grey, ok := picture.(*image.Gray)
	if !ok {
		return file, nil
	}
	const shades = 16
	mixed := make(color.Palette, shades)
	r1, g1, b1 := p.light.brand.rgb()
	r2, g2, b2 := p.light.brandText.rgb()
	for i := range mixed {
		mix := func(from, to uint8) uint8 { return uint8((int(from)*(shades-1-i) + int(to)*i) / (shades - 1)) }
		mixed[i] = color.RGBA{mix(r1, r2), mix(g1, g2), mix(b1, b2), 255}
	}
	coloured := image.NewPaletted(grey.Rect, mixed)
	for i, v := range grey.Pix {
		coloured.Pix[i] = uint8((int(v)*(shades-1) + 127) / 255)
	}
	var b bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, coloured)
	return b.Bytes(), err
}

// manifest describes the app to a phone that puts it on its home screen.
func (p palette) manifest() ([]byte, error) {
	type icon struct {
		Src   string `json:"src"`
		Sizes string `json:"sizes"`
		Type  string `json:"type"`
	}
	return json.Marshal(struct {
		Name       string `json:"name"`
		StartURL   string `json:"start_url"`
		Display    string `json:"display"`
		Theme      string `json:"theme_color"`
		Background string `json:"background_color"`
		Icons      []icon `json:"icons"`
	}{
		Product, "/", "minimal-ui", p.light.surface.hex(), p.light.surface.hex(),
		[]icon{{"/favicon.ico", "any", "image/svg+xml"}, {"/apple-touch-icon.png", "180x180", "image/png"}},
	})
}

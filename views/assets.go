package views

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"latchkey/static"
)

// Assets are the app's files in the colours of the brand, and the parts of pages that never change.
type Assets struct {
	*static.Assets
	palette palette
	constants
}

// NewAssets returns the assets in a colour; see [Colour]. It fails if the colour cannot be read.
func NewAssets(colour string) (*Assets, error) {
	p, err := newPalette(colour)
	if err != nil {
		return nil, err
	}
	manifest, err := p.manifest()
	if err != nil {
		return nil, err
	}
	files, err := static.New(map[string][]byte{
		"app.css":              append([]byte(p.css()), static.Source("app.css")...),
		"icon.svg":             p.icon(static.Source("icon.svg")),
		"touch-icon.png":       p.touchIcon(static.Source("touch-icon.png")),
		"manifest.webmanifest": manifest,
		// Pages with a session need both scripts: one file is one request less, and packs better.
		"session.js": slices.Concat(static.Source("app.js"), static.Source("session.js")),
	})
	if err != nil {
		return nil, err
	}
	return &Assets{Assets: files, palette: p}, nil
}

// icon puts the colours into the logo. A page and a browser's tab show it as a picture, so it does not
// get the properties of the page.
func (p palette) icon(svg []byte) []byte {
	light := strings.NewReplacer("var(--brand)", "var(--brand,"+p.light.brand.hex()+")", "var(--brand-text)", "var(--brand-text,"+p.light.brandText.hex()+")")
	dark := fmt.Sprintf("<style>@media(prefers-color-scheme:dark){:root{--brand:%s;--brand-text:%s}}</style></svg>", p.dark.brand.hex(), p.dark.brandText.hex())
	return []byte(strings.Replace(light.Replace(string(svg)), "</svg>", dark, 1))
}

// touchIcon colours the greys in the palette of a PNG picture (PNG Specification, section 11.2.2). It
// leaves other colours, and a picture without a palette, as they are.
func (p palette) touchIcon(picture []byte) []byte {
	const signature, header, sum = 8, 8, 4 // in bytes: of the file, and around the data of each chunk
	coloured := slices.Clone(picture)
	for rest := coloured[min(signature, len(coloured)):]; len(rest) >= header+sum; {
		size := int(binary.BigEndian.Uint32(rest))
		if size > len(rest)-header-sum {
			break
		}
		if string(rest[4:header]) == "PLTE" {
			for entry := range slices.Chunk(rest[header:header+size], 3) {
				if len(entry) == 3 && entry[0] == entry[1] && entry[1] == entry[2] {
					p.mix(entry, int(entry[0]))
				}
			}
			binary.BigEndian.PutUint32(rest[header+size:], crc32.ChecksumIEEE(rest[4:header+size]))
		}
		rest = rest[header+size+sum:]
	}
	return coloured
}

// mix sets an entry to a colour between that of the brand, for the shade 0, and that of what is drawn
// on it, for 255.
func (p palette) mix(entry []byte, shade int) {
	r1, g1, b1 := p.light.brand.rgb()
	r2, g2, b2 := p.light.brandText.rgb()
	for i, ends := range [][2]uint8{{r1, r2}, {g1, g2}, {b1, b2}} {
		entry[i] = uint8((int(ends[0])*(255-shade) + int(ends[1])*shade) / 255)
	}
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

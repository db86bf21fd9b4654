package views

// Your product: this file and the two pictures in static are the brand, and nothing else depends on
// it. Every colour of the pages, the icon and the manifest follows from Colour, in light and dark, except
// for those of success, warnings and errors, which static/app.css has.
//
// static/icon.svg is the logo: var(--brand) in it stands for the colour, and var(--brand-text) for
// what is drawn on the colour. static/touch-icon.png is the same for the home screen of a phone: in a
// PNG with a palette, black stands for the colour and white for what is drawn on it. A logo that has
// colours of its own keeps them.
const (
	// Product is the name that every page shows.
	Product = "Latchkey"
	// Colour is an exact colour, such as "#d92d20", or a hue and a chroma, such as "25 0.2": then the
	// lightness is chosen so that white text is readable on it. A hue is an angle: 25 is red, 100
	// yellow, 165 green, 250 blue. A chroma of 0 is grey, and 0.2 is vivid.
	Colour = "277 0.17"
)

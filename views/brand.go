package views

// Product is the name that every page shows, and Description what search engines say of
// it. To make the app yours, change them, put your logo in the place of static/icon.svg,
// and choose the colour with --hue at the top of static/app.css: nothing else of the looks
// has your name on it.
const (
	Product     = "Latchkey"
	Description = "Sign in, see what the app knows about you, and sign out everywhere."
)

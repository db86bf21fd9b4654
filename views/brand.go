package views

// Product is the name that every page shows, and Description is the text for search
// engines.
//
// Your product: change both, replace static/icon.svg with your logo, and set --hue at the
// top of static/app.css to your colour. Nothing else depends on the brand.
const (
	Product     = "Latchkey"
	Description = "Sign in, see what the app knows about you, and sign out everywhere."
)

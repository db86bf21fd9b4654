package views

// Product is the name that every page shows. To make the app yours, change it, put your
// logo in the place of static/icon.svg, and choose the colour with --hue at the top of
// static/app.css: nothing else of the looks has your name on it.
const Product = "Latchkey"

// Package product is yours: what your team builds on the app. Put your handlers, pages and stores here,
// or in packages below this one. docs/guide.md says how, and examples/people is a worked example.
package product

import "latchkey/routes"

// New returns the product. main runs the app with it.
func New() routes.Product { return routes.Product{} }

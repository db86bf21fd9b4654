// Package product is yours: what your team builds on the app. Put your handlers, pages and stores here,
// or in packages below this one. docs/guide.md says how, and examples/people is a worked example.
package product

import (
	"context"

	"latchkey/authn"
	"latchkey/routes"
	"latchkey/views"
)

// Product is what the handlers share.
type Product struct{ *routes.App }

// New returns the product. main runs the app with it.
func New() routes.Product {
	p := new(Product)
	return routes.Product{Open: p.open, Routes: p.routes, Links: p.links}
}

// open opens what the handlers share, before the app answers anyone.
func (p *Product) open(_ context.Context, a *routes.App) error {
	p.App = a
	return nil
}

// routes adds the product's routes. The fields of r say who gets in.
func (p *Product) routes(r routes.Router) {
}

// links returns the product's links in the navigation of a person's pages.
func (p *Product) links(context.Context, *authn.Session) []views.Link {
	return []views.Link{}
}

// Package product is yours: what your team builds on the app. Put your handlers, pages and stores here,
// or in packages below this one. docs/guide.md says how, and examples/people is a worked example.
package product

import (
	"context"
	"net/url"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/routes"
	"latchkey/views"
)

// Product is what the handlers share.
type Product struct {
	*routes.App
	config Config
}

// Config has the product's variables.
type Config struct {
	OrdersAPI string `env:"ORDERS_API, default=http://localhost:3000/api/orders" desc:"the address of the API that keeps people's orders"`
}

// validate reports the values that cannot be used.
func (c *Config) validate(f *openid.Faults) {
	if address, err := url.Parse(c.OrdersAPI); err != nil || address.Host == "" {
		f.Add("ORDERS_API", "is not the address of an API", "write one such as https://api.example.com/orders")
	}
}

// New returns the product. main runs the app with it.
func New() routes.Product {
	p := new(Product)
	return routes.Product{
		Config: &p.config, Validate: p.config.validate,
		Open: p.open, Routes: p.routes, Links: p.links, Action: action, Samples: samples,
	}
}

// open opens what the handlers share, before the app answers anyone.
func (p *Product) open(_ context.Context, a *routes.App) error {
	p.App = a
	return nil
}

// routes adds the product's routes. The fields of r say who gets in.
func (p *Product) routes(r routes.Router) {
	r.Page("/notes", p.notes, r.Person)
	r.Page("/settings", p.settings, r.Person)
	r.POST("/settings", p.saveSettings, r.Person)
	r.Page("/audit", p.audit, r.Person, p.RequireClaim(auditor()))
	r.Page("/account", p.account, r.Person)
	r.POST("/account/delete", p.deleteAccount, r.Recently)
	r.GET("/api/orders", p.listOrders, r.API, p.RequireScope("orders:read"))
	r.Page("/orders", p.orders, r.Person)
	p.Proxy("/proxy/orders", routes.Upstream{URL: p.config.OrdersAPI})
	p.Proxy("/proxy/stock", stock())
	r.Page("/greeting", p.greeting, r.Visitor)
}

// links returns the product's links in the navigation of a person's pages.
func (p *Product) links(context.Context, *authn.Session) []views.Link {
	return []views.Link{
		{URL: "/notes", Label: "Notes"},
		{URL: "/orders", Label: "Orders"},
	}
}

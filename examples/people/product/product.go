// Package product keeps people in a database: who they are, what they may do, and what they can sign in
// with.
package product

import (
	"context"
	"errors"
	"fmt"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/examples/people/product/store"
	"latchkey/routes"
	"latchkey/views"
)

// Product is what the handlers share.
type Product struct {
	*routes.App
	config Config
	people *store.Store
}

// Config has the variables of the product.
type Config struct {
	Database openid.Secret `env:"DATABASE_URL, default=sqlite:data/people.db" desc:"where people are kept: sqlite: and a file, or the URL of a PostgreSQL database"`
}

// New returns the product.
func New() routes.Product {
	p := new(Product)
	return routes.Product{
		Config: &p.config, Validate: p.config.validate,
		Open: p.open, Close: p.close, SignIn: p.signIn, Routes: p.routes,
		Links: func(context.Context, *authn.Session) []views.Link {
			return []views.Link{{URL: "/account", Label: "Account"}}
		},
		Action: func(_ context.Context, path string) string {
			return map[string]string{"/account/link": "Link another sign-in", "/account/delete": "Delete my account"}[path]
		},
	}
}

func (c *Config) validate(f *openid.Faults) {
	if err := store.CheckAddress(string(c.Database)); err != nil {
		f.Add("DATABASE_URL", "is not the address of a database", "write sqlite: and the path of a file, or postgres://user:password@host/database")
	}
}

// open opens the database before the app answers anyone.
func (p *Product) open(ctx context.Context, a *routes.App) (err error) {
	p.App = a
	if p.people, err = store.Open(ctx, string(p.config.Database)); err != nil {
		return fmt.Errorf("DATABASE_URL: %w", err)
	}
	return nil
}

func (p *Product) close() error { return p.people.Close() }

func (p *Product) routes(r routes.Router) {
	r.Page("/account", p.account, r.Person)
	r.POST("/account", p.rename, r.Person)
	r.POST("/account/link", p.link, r.Recently)
	r.Page(linkedPath+":proof", p.linked, r.Person)
	r.POST("/account/delete", p.delete, r.Recently)

	r.Page("/people", p.everyone, r.Person)
	r.POST("/people/role", p.setRole, r.Person, p.RequireClaim(administrator()))
}

// userKey is the key of the user's ID among the session's values, and linkKey that of the proof that the
// session's person wants to link an identity.
const (
	userKey = "user"
	linkKey = "link"
	// linkedKey is that of the proof of a link that the account page has yet to report.
	linkedKey = "linked"
)

// user returns the user of a request. The session has their ID from the sign-in. If they were deleted
// since, or if the session is older than the database, the session ends.
func (p *Product) user(c echo.Context) (store.User, error) {
	ctx, session := c.Request().Context(), routes.Current(c)
	values, err := session.Values()
	if err != nil {
		return store.User{}, err
	}
	id, _ := values[userKey].(string)
	user, err := p.people.User(ctx, id)
	if !errors.Is(err, store.ErrNoUser) {
		return user, err
	}
	if err := p.Sessions.End(ctx, session, authn.CauseProduct); err != nil {
		return store.User{}, err
	}
	return store.User{}, authn.ErrAnonymous
}

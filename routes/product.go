package routes

import (
	"cmp"
	"context"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/views"
)

// Product is what a team builds on the app. Every field may be missing. internal/product makes the
// program's own one; docs/guide.md walks through an example.
type Product struct {
	// Config points to a struct of the product's own settings, with one field for each environment
	// variable and the tags env and desc, as in internal/app.Config. It is filled before anything else
	// is called. Validate adds the faults of the values.
	Config   any
	Validate func(*openid.Faults)

	// Open opens what the handlers share, such as a database, before the app answers anyone. After an
	// error the program does not start; [openid.Faults] are faults of the configuration. Close closes
	// it, after the last request has been answered. If Open fails, it has to close what it has opened.
	Open  func(context.Context, *App) error
	Close func() error

	// SignIn is the hook between the verified identity and the session; see [authn.Config].
	SignIn func(context.Context, *authn.Arrival) error

	// Routes adds the product's routes, once, after Open. A route with the method and the path of one
	// of ours replaces it.
	Routes func(Router)
	// Links returns the product's links in the navigation. They may depend on the session and on the
	// language of the context, but on nothing else: they are rendered once for each version of the
	// session and each language.
	Links func(context.Context, *authn.Session) []views.Link
	// Action returns the name of the action at a path that demands a recent sign-in, such as "Delete my
	// account". The page that asks whether to continue shows it. Action returns "" for any other path.
	Action func(ctx context.Context, path string) string
	// Samples are the product's pages with made-up data, for the gallery. They need nothing that Open
	// opens.
	Samples func() []Sample
}

// Sample is a page of the product in one state, for the gallery.
type Sample struct {
	// Group is the heading that the gallery lists it under, and Name the name of the state.
	Group, Name string
	// Path is the page's own, and Title its title.
	Path, Title string
	// Page returns the page in a frame, as the sample person Ada sees it.
	Page func(views.Shell) component
}

// Router adds a product's routes to the route table. Its middleware says who may see a page: everyone,
// people who are signed in, or people whose sign-in is at most ten minutes old; API routes accept a session
// or an access token. More middleware can follow it.
type Router struct {
	*echo.Echo
	Visitor, Person, Recently, API echo.MiddlewareFunc
}

// Page adds a route for the methods that request a page, GET and HEAD.
func (r Router) Page(path string, handler echo.HandlerFunc, who ...echo.MiddlewareFunc) {
	r.Match(reading, path, handler, who...)
}

// OpenProduct opens the product and adds its routes. It comes before the first request.
func (a *App) OpenProduct(ctx context.Context) error {
	if a.Product.Open != nil {
		if err := a.Product.Open(ctx, a); err != nil {
			return fmt.Errorf("opening the product: %w", err)
		}
	}
	if a.Product.Routes != nil {
		a.Product.Routes(a.router)
		a.durations.routes = patterns(a.echo)
	}
	return nil
}

// CloseProduct closes the product. It comes after the last request.
func (a *App) CloseProduct() {
	if a.Product.Close == nil {
		return
	}
	if err := a.Product.Close(); err != nil {
		a.Log.Error("the product was not closed", "error", err)
	}
}

// links returns the product's links in the navigation of a session's pages.
func (a *App) links(ctx context.Context, s *authn.Session) []views.Link {
	if a.Product.Links == nil {
		return nil
	}
	return a.Product.Links(ctx, s)
}

// action returns what a form of the product does.
func (a *App) action(ctx context.Context, path string) string {
	if a.Product.Action == nil {
		return ""
	}
	return a.Product.Action(ctx, path)
}

// Current and what follows, up to SwitchAccount, is for the product's handlers.

// Current returns the session of a request, or nil if the visitor has not signed in.
func Current(c echo.Context) *authn.Session { return current(c) }

// IsHTMX reports whether htmx requests a fragment. The result may decide only the format of the
// response, because any client can send the header.
func IsHTMX(r *http.Request) bool { return isHTMX(r) }

// Shell returns the frame of a page with a title.
func (a *App) Shell(c echo.Context, title string) views.Shell { return a.shell(c, title) }

// Render answers with a page, or with the part of one that htmx swaps in.
func (a *App) Render(c echo.Context, status int, page component) error {
	return a.render(c, status, page)
}

// RequireClaim refuses people, and tokens, whose claims do not meet a rule. It comes after Person or API.
func (a *App) RequireClaim(rule authn.Rule) echo.MiddlewareFunc { return a.requireClaim(rule) }

// Demand makes people whose sign-in does not meet a demand sign in again, and then continues. It comes
// after Person.
func (a *App) Demand(d openid.Demand) echo.MiddlewareFunc { return a.demand(d) }

// Flash keeps a sentence for the next page that the person opens, which shows it once. It comes before the
// redirect that answers a form, and after Person.
func (a *App) Flash(c echo.Context, text string) { a.flash(c, text) }

// MoveOn answers a form by sending the person to another site. A redirect from a form may only lead to
// this app and the provider.
func (a *App) MoveOn(c echo.Context, heading, text, url string) error {
	return a.moveOn(c, http.StatusOK, views.MovingOnProps{Heading: heading, Text: text, URL: url})
}

// SignOut ends the session here and at the provider, as the button Sign out does.
func (a *App) SignOut(c echo.Context) error { return a.signOut(c) }

// SwitchAccount answers a form by sending the person to the provider, which lets them choose another
// account. They come back to page.
func (a *App) SwitchAccount(c echo.Context, heading, text, page string) error {
	return a.moveOn(c, http.StatusOK, views.MovingOnProps{Heading: heading, Text: text, URL: switchURL(parseReturnPath(page))})
}

// refused returns the failure for a product's refusal.
func (f failure) refused(e *authn.Refusal, signingIn bool) failure {
	f.heading, f.text = cmp.Or(e.Heading, f.heading), cmp.Or(e.Text, f.text)
	if e.Status >= 400 && e.Status <= 599 {
		f.status = e.Status
	}
	if !signingIn {
		f.remedy = 0
	}
	return f
}

package routes_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
	"latchkey/routes"
	"latchkey/views"
	"latchkey/views/messages"
)

// shop is a product: what its handlers share, and what it adds to the app.
type shop struct{ *routes.App }

// shopTexts are the shop's own texts.
var shopTexts = map[string]struct{ orders, cancel string }{
	"en": {"Orders of ", "Cancel all orders"},
	"de": {"Bestellungen von ", "Alle Bestellungen stornieren"},
}

func newShop() routes.Product {
	p := new(shop)
	return routes.Product{
		Open:   func(_ context.Context, a *routes.App) error { p.App = a; return nil },
		Routes: p.routes,
		Links: func(ctx context.Context, s *authn.Session) []views.Link {
			return []views.Link{{URL: "/orders", Label: messages.In(ctx, shopTexts).orders + s.Identity.Subject}}
		},
		Action: func(ctx context.Context, path string) string {
			return map[string]string{"/orders/cancel": messages.In(ctx, shopTexts).cancel}[path]
		},
	}
}

func (p *shop) routes(r routes.Router) {
	r.Page("/offers", p.say("offers"), r.Visitor)
	r.Page("/orders", p.orders, r.Person)
	r.POST("/orders/cancel", p.say("cancelled"), r.Recently)
	r.Page("/orders/all", p.say("all orders"), r.Person, p.RequireClaim(authn.Includes(rolesClaim, "clerk")))
	r.GET("/api/orders", p.say("[]"), r.API, p.RequireScope("orders:read"))
	r.POST("/forget", p.forget, r.Person)
	r.POST("/orders", func(echo.Context) error {
		return &authn.Refusal{Status: http.StatusConflict, Heading: "That is sold out", Text: "Choose another.", Err: errors.New("stock is 0")}
	}, r.Person)
}

// forget ends the sessions of the person that the form names.
func (p *shop) forget(c echo.Context) error {
	ended, err := p.Sessions.EndPerson(c.Request().Context(), authn.FromContext(c.Request().Context()).Identity.Issuer, c.FormValue("subject"))
	if err != nil {
		return err
	}
	return c.String(http.StatusOK, strconv.Itoa(ended))
}

func (p *shop) say(what string) echo.HandlerFunc {
	return func(c echo.Context) error { return c.String(http.StatusOK, what) }
}

func (p *shop) orders(c echo.Context) error {
	return p.Render(c, http.StatusOK, views.Page(p.Shell(c, "Orders of "+routes.Current(c).Identity.Subject)))
}

// startShop starts the app with a product beside a scripted provider.
func startShop(t *testing.T, product routes.Product, env ...string) *apptest.Scripted {
	t.Helper()
	op := apptest.NewOP(t)
	s := &apptest.Scripted{App: apptest.StartProduct(t, product, append(apptest.Env(op), env...)...), OP: op}
	s.Await("/readyz", http.StatusOK)
	return s
}

// TestProductRoutes opens the routes of a product as people who may and as people who may not.
func TestProductRoutes(t *testing.T) {
	t.Parallel()
	s := startShop(t, newShop())
	anonymous, person := s.Visitor(), s.Visitor()
	s.SignIn(person)
	for name, tt := range map[string]struct {
		v            *apptest.Visitor
		method, path string
		status       int
		want         string
	}{
		"everyone's page":                          {anonymous, "GET", "/offers", http.StatusOK, "offers"},
		"a person's page, as nobody":               {anonymous, "GET", "/orders", http.StatusSeeOther, ""},
		"a person's page":                          {person, "GET", "/orders", http.StatusOK, "<title>Orders of alice"},
		"its link in the navigation":               {person, "GET", "/orders", http.StatusOK, `<a href="/orders" aria-current="page">Orders of alice</a>`},
		"on our pages too":                         {person, "GET", "/dashboard", http.StatusOK, `<a href="/orders">Orders of alice</a>`},
		"without the method":                       {person, "DELETE", "/orders", http.StatusMethodNotAllowed, ""},
		"a page that needs a claim":                {person, "GET", "/orders/all", http.StatusForbidden, "the clerk role"},
		"the API, as nobody":                       {anonymous, "GET", "/api/orders", http.StatusUnauthorized, ""},
		"the API, with the session":                {person, "GET", "/api/orders", http.StatusOK, "[]"},
		"a recent sign-in":                         {person, "POST", "/orders/cancel", http.StatusOK, "cancelled"},
		"a form, as nobody":                        {anonymous, "POST", "/orders/cancel", http.StatusUnauthorized, ""},
		"a refusal with texts of its own":          {person, "POST", "/orders", http.StatusConflict, "<h1>That is sold out</h1>"},
		"which does not quote the operator's text": {person, "POST", "/orders", http.StatusConflict, "Choose another."},
	} {
		got := tt.v.Direct(tt.v.Request(tt.method, tt.path, nil, "Sec-Fetch-Site", "same-origin"))
		if got.StatusCode != tt.status || !strings.Contains(got.Body, tt.want) || strings.Contains(got.Body, "stock is 0") {
			t.Errorf("%s: %s, want %d with %q\n%s", name, got.Status, tt.status, tt.want, got.Body)
		}
	}
	for range 2 { // the second time from what is kept for the session
		if got := person.Get("/dashboard", "Accept-Language", german); !strings.Contains(got.Body, `<a href="/orders">Bestellungen von alice</a>`) {
			t.Errorf("the German link is not in %s", got.Body)
		}
	}
	if got := person.Post("/orders", nil, "Sec-Fetch-Site", "cross-site"); got.StatusCode != http.StatusForbidden {
		t.Errorf("another site's form is answered %s", got.Status)
	}
	lines := s.Logged("refused", person.Post("/orders", nil).Header.Get("X-Request-Id"))
	if len(lines) != 1 || lines[0]["reason"] != "product_refused" || lines[0]["error"] != "stock is 0" || lines[0]["level"] != "INFO" {
		t.Errorf("the log says %v", lines)
	}
}

// TestProductMiddleware adds middleware to all routes. It sees every request that the app's own middleware
// lets pass, and can refuse it.
func TestProductMiddleware(t *testing.T) {
	t.Parallel()
	p := newShop()
	routesOfShop := p.Routes
	p.Routes = func(r routes.Router) {
		r.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				if c.Path() == "/offers" {
					return &authn.Refusal{Status: http.StatusGone, Heading: "The shop is closed"}
				}
				c.Response().Header().Set("X-Shop", c.Path())
				return next(c)
			}
		})
		routesOfShop(r)
	}
	s := startShop(t, p)
	v := s.Visitor()
	s.SignIn(v)
	for _, path := range []string{"/orders", "/dashboard", "/healthz"} {
		if got := v.Get(path); got.StatusCode != http.StatusOK || got.Header.Get("X-Shop") != path {
			t.Errorf("%s is answered %s, and the middleware has set %q", path, got.Status, got.Header.Get("X-Shop"))
		}
	}
	if got := v.Get("/offers"); got.StatusCode != http.StatusGone || !strings.Contains(got.Body, "The shop is closed") {
		t.Errorf("/offers is answered %s\n%s", got.Status, got.Body)
	}
	if got := v.Post("/orders", nil, "Sec-Fetch-Site", "cross-site"); got.StatusCode != http.StatusForbidden || got.Header.Get("X-Shop") != "" {
		t.Errorf("another site's form is answered %s, and the middleware has seen it", got.Status)
	}
}

// TestProductAction asks whether to continue with a product's form, after the sign-in that it demands.
func TestProductAction(t *testing.T) {
	t.Parallel()
	s := startShop(t, newShop())
	v := s.Visitor()
	s.OP.EditIDToken(func(token *scriptedop.JWT) { token.Claims["auth_time"] = time.Now().Add(-time.Hour).Unix() })
	s.SignIn(v)
	s.OP.EditIDToken(nil)
	question := v.Post("/orders/cancel", url.Values{})
	if !strings.Contains(question.Body, "<h1>Cancel all orders?</h1>") {
		t.Fatalf("the form leads to %s with %s\n%s", question.Request.URL, question.Status, question.Body)
	}
	if again := v.Get(question.Request.URL.Path, "Accept-Language", german); !strings.Contains(again.Body, "<h1>Alle Bestellungen stornieren?</h1>") {
		t.Errorf("in German, it is %s", again.Body)
	}
	if end := v.Press(question, "resume-button"); end.Body != "cancelled" {
		t.Errorf("it ends at %s with %s\n%s", end.Request.URL, end.Status, end.Body)
	}
}

// TestProductEndsSessions ends all sessions of one person, who is told so, and of nobody else.
func TestProductEndsSessions(t *testing.T) {
	t.Parallel()
	s := startShop(t, newShop())
	here, there, bob := s.Visitor(), s.Visitor(), s.Visitor()
	s.SignIn(here)
	s.SignIn(there)
	s.OP.SignInAs("bob")
	s.SignIn(bob)
	for subject, want := range map[string]string{"": "0", "nobody": "0"} {
		if got := bob.Post("/forget", url.Values{"subject": {subject}}); got.Body != want || !here.SignedIn() {
			t.Errorf("%q: %s sessions end", subject, got.Body)
		}
	}
	if got := here.Post("/forget", url.Values{"subject": {"alice"}}); got.Body != "2" {
		t.Errorf("%s sessions end", got.Body)
	}
	if page := there.Get("/"); !strings.Contains(page.Body, "the account was deleted") {
		t.Errorf("the home page does not say why:\n%s", page.Body)
	}
	if here.SignedIn() || there.SignedIn() || !bob.SignedIn() {
		t.Errorf("signed in here: %t, there: %t, bob: %t", here.SignedIn(), there.SignedIn(), bob.SignedIn())
	}
	if lines := s.Logged("session ended", ""); len(lines) != 2 || lines[0]["cause"] != "product" || lines[0]["by"] != "app" {
		t.Errorf("the log says %v", lines)
	}
}

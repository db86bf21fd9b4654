package routes

import (
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
)

// contentPolicy is a Content-Security-Policy and the origins of each provider that it was made for.
type contentPolicy struct {
	origins [][]string
	header  []string
}

// headers sets the headers that every response has, including errors and redirects.
func (a *App) headers() echo.MiddlewareFunc {
	type header struct {
		name  string
		value []string // shared by all responses
	}
	fixed := []header{
		{"Cache-Control", []string{"no-store"}},
		{"Cross-Origin-Opener-Policy", []string{"same-origin"}},
		{"Cross-Origin-Resource-Policy", []string{"same-origin"}},
		{"Permissions-Policy", []string{"camera=(), geolocation=(), microphone=(), payment=()"}},
		{"Referrer-Policy", []string{"no-referrer"}},
		{"X-Content-Type-Options", []string{"nosniff"}},
		{"X-Frame-Options", []string{"DENY"}},
	}
	if a.BaseURL.Scheme == "https" {
		// The scheme is that of the configuration, not of a header that a client could send.
		fixed = append(fixed, header{"Strict-Transport-Security", []string{"max-age=31536000; includeSubDomains"}})
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			h := c.Response().Header()
			for _, f := range fixed {
				h[f.name] = f.value
			}
			h["Content-Security-Policy"] = a.contentPolicy()
			return next(c)
		}
	}
}

// contentPolicy returns the Content-Security-Policy. form-action includes the provider's origins for
// forms of a product that redirect to the provider, because browsers apply form-action to redirects.
// Forms of this app go there by moveOn.
func (a *App) contentPolicy() []string {
	rps := a.RelyingParties.All()
	if p := a.policy.Load(); p != nil && p.isFor(rps) {
		return p.header
	}
	var all []string
	p := new(contentPolicy)
	for _, rp := range rps {
		origins := slices.Clone(rp.Provider().Origins())
		p.origins, all = append(p.origins, origins), append(all, origins...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	provider := strings.Join(all, " ")
	pictures := strings.Join(append(all, a.PictureOrigins...), " ")
	p.header = []string{
		"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' " + pictures +
			"; connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self' " + provider +
			"; frame-ancestors 'none'; object-src 'none'",
	}
	a.policy.Store(p)
	return p.header
}

// isFor reports whether the policy was made for the origins that the providers have now.
func (p *contentPolicy) isFor(rps []*authn.RelyingParty) bool {
	for i, rp := range rps {
		if !slices.Equal(p.origins[i], rp.Provider().Origins()) {
			return false
		}
	}
	return true
}

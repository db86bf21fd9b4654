package routes

import (
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// contentPolicy is a Content-Security-Policy and the origins that it was made for.
type contentPolicy struct {
	origins []string
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
	origins := a.Provider.Origins()
	if p := a.policy.Load(); p != nil && slices.Equal(p.origins, origins) {
		return p.header
	}
	provider := strings.Join(origins, " ")
	pictures := strings.Join(append(slices.Clone(origins), a.PictureOrigins...), " ")
	p := &contentPolicy{origins: slices.Clone(origins), header: []string{
		"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' " + pictures +
			"; connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self' " + provider +
			"; frame-ancestors 'none'; object-src 'none'",
	}}
	a.policy.Store(p)
	return p.header
}

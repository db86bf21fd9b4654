package routes

import (
	"errors"
	"maps"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"
)

// Reasons returns the reason of every kind of refusal.
func Reasons() []string { return slices.Sorted(maps.Keys(failures)) }

// Echo returns the router, to which tests add routes.
func (a *App) Echo() *echo.Echo { return a.echo }

// AddProductRoutes adds what a product may add: an API route that requires a scope, and a page whose
// handler fails.
func AddProductRoutes(a *App) {
	a.echo.GET("/api/report", func(c echo.Context) error { return c.String(http.StatusOK, "the report") }, a.api, a.RequireScope("reports:read"))
	a.echo.GET("/unfinished", func(echo.Context) error { return errors.New("not finished") })
}

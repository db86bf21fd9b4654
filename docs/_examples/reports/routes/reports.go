package routes

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
)

// reports lists the caller's reports as JSON.
func (a *App) reports(c echo.Context) error {
	caller := authn.CallerFrom(c.Request().Context())
	return c.JSON(http.StatusOK, map[string]any{"owner": caller.Subject(), "reports": []string{}})
}

package routes

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/views"
)

// auditor is the rule for the audit page.
func auditor() authn.Rule { return authn.Includes("https://example.com/roles", "auditor") }

// audit shows the audit page.
func (a *App) audit(c echo.Context) error {
	return a.render(c, http.StatusOK, views.Audit(a.shell(c, "Audit")))
}

package product

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
)

// auditor is the rule for the audit page: the claim and the role of your provider. These are those of the
// development provider's sample people.
func auditor() authn.Rule { return authn.Includes("https://latchkey.example/roles", "admin") }

// audit shows the audit page.
func (p *Product) audit(c echo.Context) error {
	return p.Render(c, http.StatusOK, auditPage(p.Shell(c, "Audit")))
}

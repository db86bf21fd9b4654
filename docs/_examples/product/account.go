package product

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"
)

// account shows the page where people delete their account.
func (p *Product) account(c echo.Context) error {
	return p.Render(c, http.StatusOK, accountPage(p.Shell(c, "Account")))
}

// deleteAccount deletes a person's account and signs them out.
func (p *Product) deleteAccount(c echo.Context) error {
	// Delete here what your product stores for routes.Current(c).Identity.Subject.
	return p.SignOut(c)
}

// action says what a form does that demands a recent sign-in.
func action(_ context.Context, path string) string {
	return map[string]string{"/account/delete": "Delete my account"}[path]
}

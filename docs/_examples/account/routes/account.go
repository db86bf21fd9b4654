package routes

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/views"
)

// account shows the page where people delete their account.
func (a *App) account(c echo.Context) error {
	return a.render(c, http.StatusOK, views.Account(a.shell(c, "Account")))
}

// deleteAccount deletes a person's account and signs them out.
func (a *App) deleteAccount(c echo.Context) error {
	// Delete here what your product stores for current(c).Identity.Subject.
	return a.signOut(c)
}

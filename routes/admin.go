package routes

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/views"
)

// administrator is the rule of the admin page. The claim is one that the development
// provider's Rosa Ruiz has; at your provider it has another name.
func administrator() authn.Rule { return authn.Includes("https://latchkey.example/roles", "admin") }

// admin shows the state of the app to those who look after it.
func (a *App) admin(c echo.Context) error {
	return a.render(c, http.StatusOK, views.Admin(a.shell(c, "Admin"), views.AdminProps{
		Address: a.BaseURL.String(), Issuer: current(c).Identity.Issuer,
		ProviderDown: a.RelyingParty.Ready() != nil, StoreDown: a.Sessions.Ready(c.Request().Context()) != nil,
	}))
}

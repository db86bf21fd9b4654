package routes

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/views"
)

// administrator is the rule for the admin page. At the development provider, Rosa Ruiz meets
// it. Your provider uses another name for the claim.
func administrator() authn.Rule { return authn.Includes("https://latchkey.example/roles", "admin") }

// administrators is that rule for the people of the first provider. Another one could be a customer's.
func (a *App) administrators() authn.Rule {
	return authn.From(administrator(), a.RelyingParties.First().Provider().Issuers()...)
}

// admin shows the state of the app to its administrators.
func (a *App) admin(c echo.Context) error {
	issuer := current(c).Identity.Issuer
	return a.render(c, http.StatusOK, views.Admin(a.shell(c, texts(c).Title.Admin), views.AdminProps{
		Address: a.BaseURL.String(), Issuer: issuer,
		ProviderDown: a.RelyingParties.Of(issuer).Provider().Ready() != nil, StoreDown: a.Sessions.Ready(c.Request().Context()) != nil,
	}))
}

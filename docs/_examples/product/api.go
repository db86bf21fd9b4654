package product

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
)

// order is an order of a person, as the API sends it.
type order struct {
	Item  string `json:"item"`
	Count int    `json:"count"`
}

// listOrders lists the caller's orders as JSON.
func (p *Product) listOrders(c echo.Context) error {
	caller := authn.CallerFrom(c.Request().Context())
	return c.JSON(http.StatusOK, []order{{Item: "Notebook of " + caller.Subject(), Count: 2}}) // read them from your store
}

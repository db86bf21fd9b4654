package product

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/routes"
)

// orders shows the orders that another API keeps for the person.
func (p *Product) orders(c echo.Context) error {
	client := p.TokenSource.Client(c.Request().Context())
	resp, err := client.Get(p.config.OrdersAPI)
	if err != nil {
		return routes.NoAnswer(fmt.Errorf("orders: %w", err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return routes.WrongAnswer(fmt.Errorf("orders: the API answered %s %s", resp.Status, resp.Header.Get("WWW-Authenticate")))
	}
	var orders []order
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&orders); err != nil {
		return routes.WrongAnswer(fmt.Errorf("orders: %w", err))
	}
	return p.Render(c, http.StatusOK, ordersPage(p.Shell(c, "Orders"), orders))
}

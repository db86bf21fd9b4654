package product

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/labstack/echo/v4"
)

// ordersAPI is the address of the API that keeps people's orders. Here it is the API route of this app.
const ordersAPI = "http://localhost:3000/api/orders"

// orders shows the orders that another API keeps for the person.
func (p *Product) orders(c echo.Context) error {
	client := p.TokenSource.Client(c.Request().Context())
	resp, err := client.Get(ordersAPI)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("orders: the API answered %s %s", resp.Status, resp.Header.Get("WWW-Authenticate"))
	}
	var orders []order
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&orders); err != nil {
		return fmt.Errorf("orders: %w", err)
	}
	return p.Render(c, http.StatusOK, ordersPage(p.Shell(c, "Orders"), orders))
}

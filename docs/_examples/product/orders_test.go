package product_test

import (
	"net/http"
	"strings"
	"testing"

	"latchkey/internal/apptest"
	"latchkey/internal/product"
)

// TestOrders opens the page of the orders with an API that answers, which is the app's own, and with one
// that does not.
func TestOrders(t *testing.T) {
	t.Parallel()
	port := apptest.FreePort(t)
	for api, want := range map[string]int{"http://localhost:" + port: http.StatusOK, "http://localhost:1": http.StatusBadGateway} {
		t.Run(api, func(t *testing.T) {
			a := apptest.StartProduct(t, product.New(), "PORT="+port, "ORDERS_API="+api+"/api/orders",
				"AUTH0_AUDIENCE=https://api.example", "AUTH0_SCOPES=openid profile email offline_access orders:read")
			page := a.Visitor().SignIn("/orders", apptest.Ada)
			if page.StatusCode != want || strings.Contains(page.Body, "Notebook") != (want == http.StatusOK) {
				t.Errorf("the page is %s, want %d\n%s", page.Status, want, page.Body)
			}
		})
	}
}

package session

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"latchkey/internal/apptest"
	"latchkey/routes"
)

// TestOwnAPIWithDPoP passes requests of a person on to the app's own API, which accepts only bound tokens
// with the nonce of the app: both sides of DPoP, and the development provider between them.
func TestOwnAPIWithDPoP(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		dpop   string
		status int
	}{"with proofs": {"on", http.StatusOK}, "with bearer tokens": {"off", http.StatusBadGateway}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := apptest.FreePort(t)
			var app *routes.App
			product := routes.Product{
				Open: func(_ context.Context, a *routes.App) error { app = a; return nil },
				Routes: func(routes.Router) {
					app.Proxy("/proxy/me", routes.Upstream{URL: "http://localhost:" + port + "/api/me"})
				},
			}
			a := apptest.StartProduct(t, product, "PORT="+port, "AUTH0_AUDIENCE=https://api.example",
				"DPOP="+tt.dpop, "API_TOKENS=bound", "API_DPOP_NONCE=required")
			v := a.Visitor()
			v.SignIn("/login", apptest.Ada)
			for range 2 { // without a nonce, and with one
				got := v.Get("/proxy/me", "Accept", "application/json", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "empty")
				if got.StatusCode != tt.status || (strings.Contains(got.Body, apptest.Ada) != (tt.status == http.StatusOK)) {
					t.Errorf("answered %d\n%s\n%s", got.StatusCode, got.Body, a.Log)
				}
			}
		})
	}
}

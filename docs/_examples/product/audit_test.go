package product_test

import (
	"net/http"
	"testing"

	"latchkey/authn/devop"
	"latchkey/authn/devop/devoptest"
	"latchkey/internal/apptest"
	"latchkey/internal/product"
)

// TestAudit opens the audit page as people with different roles.
func TestAudit(t *testing.T) {
	t.Parallel()
	port := apptest.FreePort(t)
	role := func(name string) map[string]any {
		return map[string]any{"https://latchkey.example/roles": []string{name}}
	}
	provider := devoptest.New(t, "http://localhost:"+port,
		devop.Person{Subject: "kim", Name: "Kim", Claims: role("admin")},
		devop.Person{Subject: "lee", Name: "Lee", Claims: role("reader")})
	a := apptest.StartProduct(t, product.New(), append(provider.Env(), "PORT="+port)...)
	for subject, want := range map[string]int{"kim": http.StatusOK, "lee": http.StatusForbidden} {
		if _, page, _ := provider.SignIn(t, a.URL+"/audit", subject); page.StatusCode != want {
			t.Errorf("%s gets %s, want %d", subject, page.Status, want)
		}
	}
}

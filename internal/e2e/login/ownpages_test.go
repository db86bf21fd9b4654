package login

import (
	"net/http"
	"strings"
	"testing"

	"latchkey/authn/devop"
	"latchkey/authn/devop/devoptest"
	"latchkey/internal/apptest"
)

// TestAdminPage opens the page for administrators as people whom the test gives different roles.
func TestAdminPage(t *testing.T) {
	t.Parallel()
	port := apptest.FreePort(t)
	role := func(name string) map[string]any {
		return map[string]any{"https://latchkey.example/roles": []string{name}}
	}
	provider := devoptest.New(t, "http://localhost:"+port,
		devop.Person{Subject: "kim", Name: "Kim", Claims: role("admin")},
		devop.Person{Subject: "lee", Name: "Lee", Claims: role("reader")})
	a := apptest.Start(t, append(provider.Env(), "PORT="+port)...)

	if _, page, body := provider.SignIn(t, a.URL+"/admin", "kim"); page.StatusCode != http.StatusOK || !strings.Contains(body, "Kim") {
		t.Errorf("an administrator gets %s", page.Status)
	}
	client, page, _ := provider.SignIn(t, a.URL+"/admin", "lee")
	if page.StatusCode != http.StatusForbidden {
		t.Errorf("a reader gets %s", page.Status)
	}
	dashboard, err := client.Get(a.URL + "/dashboard")
	if err != nil {
		t.Fatal(err)
	}
	dashboard.Body.Close()
	if dashboard.StatusCode != http.StatusOK {
		t.Errorf("the reader's dashboard is %s", dashboard.Status)
	}
}

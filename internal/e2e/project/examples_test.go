// tools/rename removes this file

package project

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestExamples copies the product of the guide's examples into a copy of the checkout, as a reader who
// has followed the guide to its end. The copy builds, its pages work, and its tests stay green.
func TestExamples(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a clone")
	}
	t.Parallel()
	dir := copyOfCheckout(t)
	port := apptest.FreePort(t)
	copyExamples(t, dir, port)
	mustIn(t, dir, "go", "tool", "-modfile=tools/go.mod", "templ", "generate")
	mustIn(t, dir, "go", "tool", "-modfile=tools/go.mod", "templ", "fmt", "-fail", ".")
	if listed := mustIn(t, dir, "gofmt", "-l", "docs/_examples"); listed != "" {
		t.Errorf("not formatted: %s", listed)
	}
	program := filepath.Join(t.TempDir(), "program")
	mustIn(t, dir, "go", "build", "-o", program, ".")
	mustIn(t, dir, "go", "build", "-tags=release", "-o", os.DevNull, ".")

	dev := apptest.StartCommand(t, exec.Command(program), t.TempDir(), "PORT="+port, "ORDERS_API=http://localhost:"+port+"/api/orders", "AUTH0_AUDIENCE=https://api.example",
		"AUTH0_SCOPES=openid profile email offline_access orders:read stock:read").App
	t.Run("notes", func(t *testing.T) { notesExample(t, dev) })
	t.Run("greeting", func(t *testing.T) { greetingExample(t, dev) })
	t.Run("settings", func(t *testing.T) { settingsExample(t, dev) })
	t.Run("API", func(t *testing.T) { apiExample(t, dev) })
	t.Run("orders", func(t *testing.T) { ordersExample(t, dev) })

	op := apptest.NewOP(t)
	scripted := apptest.StartCommand(t, exec.Command(program), t.TempDir(), apptest.Env(op)...).App
	scripted.Await("/readyz", http.StatusOK)
	t.Run("account", func(t *testing.T) { accountExample(t, scripted, op) })

	mustIn(t, dir, "go", "vet", "./...")
	mustIn(t, dir, "go", "test", "./internal/product") // other packages' tests do not see the product
	updateDocuments(t, dir)
	mustIn(t, dir, "go", "test", "-run", "TestArrows|TestQuotedExamples|TestConfigurationPage", "./internal/e2e/project")
	mustIn(t, dir, "go", "test", "-run", "TestBrowserGallery/product|TestBrowserLivePages", "./internal/e2e/browser")
}

// copyExamples copies docs/_examples/product over the product of a checkout. The app's own API, on a port,
// takes the place of the one that an example names. It verifies access tokens, as it has to.
func copyExamples(t *testing.T, dir, port string) {
	t.Helper()
	from, to := filepath.Join(dir, "docs", "_examples", "product"), filepath.Join(dir, "internal", "product")
	if own, err := os.ReadDir(to); err != nil || len(own) != 1 {
		t.Skipf("this checkout has a product of its own: internal/product has %d files (%v)", len(own), err)
	}
	if err := os.CopyFS(filepath.Join(dir, "copied"), os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(to), os.Rename(filepath.Join(dir, "copied"), to)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(to, "stock.go")
	text := string(apptest.ReadFile(t, file))
	changed := strings.Replace(text, "https://api.example.com/stock", "http://localhost:"+port+"/api/orders", 1)
	if changed == text {
		t.Fatalf("%s does not name the API", file)
	}
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}

// notesExample checks that htmx replaces the card without loading the page again. The page
// without htmx loads it again, so a page that does not load htmx fails here.
func notesExample(t *testing.T, a *apptest.App) {
	b := apptest.OpenBrowser(t, a)
	b.SignIn("/notes", apptest.Ada)
	b.Until(`document.readyState === "complete" && window.htmx !== undefined`)
	if got := b.Text("#notes h2"); got != "Notes of Ada Lovelace" {
		t.Errorf("the card says %q", got)
	}
	if got := b.Text(".navigation [aria-current]"); got != "Notes" {
		t.Errorf("the navigation marks %q", got)
	}
	apptest.Evaluate[bool](b, `(window.replaced = document.getElementById("notes")) !== null`)
	b.Click("#notes-again")
	b.Until(`window.replaced !== undefined && !window.replaced.isConnected && document.getElementById("notes-again") !== null`)
	if requests := a.Log.Count(`"path":"/notes"`); requests < 2 {
		t.Errorf("%d requests for the notes", requests)
	}
}

// greetingExample reads the greeting in several languages.
func greetingExample(t *testing.T, a *apptest.App) {
	v := a.Visitor()
	v.T = t
	for language, want := range map[string]string{"de": "Schön, dass Sie da sind.", "en": "Nice to see you.", "fr": "Nice to see you."} {
		if got := v.Get("/greeting", "Accept-Language", language); got.StatusCode != http.StatusOK || !strings.Contains(got.Body, want) {
			t.Errorf("in %s, the greeting is %s\n%s", language, got.Status, got.Body)
		}
	}
}

// settingsExample fills in the form wrongly and then rightly, and finds it as it was filled in.
func settingsExample(t *testing.T, a *apptest.App) {
	v := a.Visitor()
	v.T = t
	page := v.SignIn("/settings", apptest.Ada)
	const saved = "Your settings are saved."
	page = v.Press(page, "save-settings", "nickname", " ", "theme", "Pink", "news", "on")
	if page.StatusCode != http.StatusUnprocessableEntity || strings.Count(page.Body, `<a href="#nickname">Enter a nickname`) != 1 ||
		!strings.Contains(page.Body, `<a href="#theme">Choose a theme.`) || strings.Contains(page.Body, saved) {
		t.Errorf("the faults are answered %s\n%s", page.Status, page.Body)
	}
	page = v.Press(page, "save-settings", "nickname", "Countess", "theme", "Dark", "news", "on")
	if page.StatusCode != http.StatusOK || page.Request.URL.Path != "/settings" || strings.Count(page.Body, saved) != 1 {
		t.Errorf("the settings are answered %s\n%s", page.Status, page.Body)
	}
	page = v.Get("/settings")
	for want, there := range map[string]bool{`value="Countess"`: true, "<option selected>Dark": true, "checkbox\" checked": true, saved: false} {
		if strings.Contains(page.Body, want) != there {
			t.Errorf("the page has %q: %t\n%s", want, !there, page.Body)
		}
	}
}

// apiExample calls the API with an access token from the development provider, without one, and with one
// that has another scope.
func apiExample(t *testing.T, a *apptest.App) {
	v := a.Visitor()
	v.T = t
	for scope, want := range map[string]int{"orders:read": http.StatusOK, "orders:write": http.StatusForbidden, "": http.StatusUnauthorized} {
		var headers []string
		if scope != "" {
			form := url.Values{"grant_type": {"client_credentials"}, "audience": {"https://api.example"}, "scope": {scope}}
			req := v.Request(http.MethodPost, a.Issuer+"/token", form)
			req.SetBasicAuth("latchkey-terminal", "development")
			_, token, _ := strings.Cut(v.Do(req).Body, `"access_token":"`)
			token, _, _ = strings.Cut(token, `"`)
			headers = []string{"Authorization", "Bearer " + token}
		}
		got := v.Get("/api/orders", headers...)
		if got.StatusCode != want || (want == http.StatusOK) != strings.Contains(got.Body, `"count":2`) {
			t.Errorf("scope %q: %s, want %d\n%s", scope, got.Status, want, got.Body)
		}
	}
}

// ordersExample calls the API for the page and by the proxy, with the access token of the sign-in and the
// scope that the development provider has granted. The other API refuses its token, whose audience is
// another one.
func ordersExample(t *testing.T, a *apptest.App) {
	v := a.Visitor()
	v.T = t
	if page := v.SignIn("/orders", apptest.Ada); page.StatusCode != http.StatusOK || !strings.Contains(page.Body, `<th scope="row">Notebook of `+apptest.Ada+`</th>`) {
		t.Errorf("the page of the orders is %s\n%s", page.Status, page.Body)
	}
	if got := v.Get("/proxy/orders", "Accept", "application/json"); got.StatusCode != http.StatusOK || !strings.Contains(got.Body, "Notebook of "+apptest.Ada) {
		t.Errorf("the orders answer %s\n%s", got.Status, got.Body)
	}
	got := v.Get("/proxy/stock", "Accept", "application/json")
	if got.StatusCode != http.StatusBadGateway {
		t.Errorf("the stock answers %s\n%s", got.Status, got.Body)
	}
	apptest.Eventually(t, "the log says why", func() bool { return a.Log.Count(`upstream_token_refused`) == 1 })
	if got := a.Visitor().Get("/proxy/orders", "Accept", "application/json"); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("a visitor gets %s", got.Status)
	}
}

// accountExample submits the form an hour after the sign-in. The person signs in again,
// confirms, and is signed out.
func accountExample(t *testing.T, a *apptest.App, op *scriptedop.Provider) {
	op.EditIDToken(func(token *scriptedop.JWT) { token.Claims["auth_time"] = time.Now().Add(-time.Hour).Unix() })
	v := a.Visitor()
	v.T = t
	page := v.Get("/account")
	op.EditIDToken(nil)
	question := v.Press(page, "delete-account")
	if question.StatusCode != http.StatusOK || !strings.Contains(question.Body, "<h1>Delete my account?</h1>") || !v.SignedIn() {
		t.Fatalf("the form leads to %s with %s\n%s", question.Request.URL, question.Status, question.Body)
	}
	if end := v.Press(question, "resume-button"); end.StatusCode != http.StatusOK || v.SignedIn() {
		t.Errorf("it ends at %s with %s, signed in: %t", end.Request.URL, end.Status, v.SignedIn())
	}
}

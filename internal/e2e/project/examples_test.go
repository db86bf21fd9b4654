// tools/rename removes this file

package project

import (
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestExamples pastes the examples of the documents into a copy of the checkout, as a reader
// does. The copy builds, its pages work, and its tests stay green.
func TestExamples(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a clone")
	}
	t.Parallel()
	dir := copyOfCheckout(t)
	pasteExamples(t, dir)
	port := apptest.FreePort(t)
	answersItself(t, dir, port)
	mustIn(t, dir, "go", "tool", "-modfile=tools/go.mod", "templ", "generate")
	mustIn(t, dir, "go", "tool", "-modfile=tools/go.mod", "templ", "fmt", "-fail", ".")
	if listed := mustIn(t, dir, "gofmt", "-l", "docs/_examples", "routes/routes.go", "routes/stepup.go", "routes/gallerysamples.go"); listed != "" {
		t.Errorf("not formatted: %s", listed)
	}
	program := filepath.Join(t.TempDir(), "program")
	mustIn(t, dir, "go", "build", "-o", program, ".")
	mustIn(t, dir, "go", "build", "-tags=release", "-o", os.DevNull, ".")

	dev := apptest.StartCommand(t, exec.Command(program), t.TempDir(), "PORT="+port, "AUTH0_AUDIENCE=https://api.example",
		"AUTH0_SCOPES=openid profile email offline_access reports:read stock:read").App
	t.Run("notes", func(t *testing.T) { notesExample(t, dev) })
	t.Run("greeting", func(t *testing.T) { greetingExample(t, dev) })
	t.Run("theme", func(t *testing.T) { themeExample(t, dev) })
	t.Run("orders", func(t *testing.T) { ordersExample(t, dev) })
	t.Run("reports", func(t *testing.T) { reportsExample(t, dev) })

	op := apptest.NewOP(t)
	scripted := apptest.StartCommand(t, exec.Command(program), t.TempDir(), apptest.Env(op)...).App
	scripted.Await("/readyz", http.StatusOK)
	t.Run("audit", func(t *testing.T) { auditExample(t, scripted, op) })
	t.Run("account", func(t *testing.T) { accountExample(t, scripted, op) })

	mustIn(t, dir, "go", "vet", "./...")
	mustIn(t, dir, "go", "test", "./routes", "./views")
	mustIn(t, dir, "go", "test", "-run", "TestArrows|TestQuotedExamples", "./internal/e2e/project")
	mustIn(t, dir, "go", "test", "-run", "TestBrowserGallery|TestBrowserLivePages", "./internal/e2e/browser")
}

// pasteExamples copies the files of docs/_examples into a checkout, and adds the lines of a
// file NAME.add to the file NAME, after its line for products.
func pasteExamples(t *testing.T, dir string) {
	t.Helper()
	root := filepath.Join(dir, "docs", "_examples")
	pasted := 0
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		pasted++
		name, _ := filepath.Rel(root, file)
		_, name, _ = strings.Cut(filepath.ToSlash(name), "/") // without the example's own folder
		to := filepath.Join(dir, filepath.FromSlash(strings.TrimSuffix(name, ".add")))
		text := string(apptest.ReadFile(t, file))
		if strings.HasSuffix(name, ".add") {
			return os.WriteFile(to, []byte(added(t, name, string(apptest.ReadFile(t, to)), text)), 0o600)
		}
		if _, err := os.Stat(to); err == nil {
			t.Skipf("this checkout has a product: it has a file %s of its own", name)
		}
		return os.WriteFile(to, []byte(text), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if pasted < 15 {
		t.Fatalf("docs/_examples has %d files", pasted)
	}
}

// added returns the text of a file with more lines after its line for products.
func added(t *testing.T, name, text, lines string) string {
	t.Helper()
	mark := regexp.MustCompile(`(?m)^(\t+)// Your product: .*\n`).FindStringSubmatchIndex(text)
	if mark == nil {
		t.Fatalf("there is no line for products where %s belongs", name)
	}
	indent := text[mark[2]:mark[3]]
	return text[:mark[1]] + indent + strings.ReplaceAll(strings.TrimSuffix(lines, "\n"), "\n", "\n"+indent) + "\n" + text[mark[1]:]
}

// notesExample checks that htmx replaces the card without loading the page again. The page
// without htmx loads it again, so a page that does not load htmx fails here.
func notesExample(t *testing.T, a *apptest.App) {
	b := apptest.OpenBrowser(t, a)
	b.SignIn("/notes", apptest.Ada)
	b.Until(`document.readyState === "complete" && window.htmx !== undefined`)
	if got := b.Text("#notes"); !strings.Contains(got, "Notes of Ada Lovelace") {
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

func greetingExample(t *testing.T, a *apptest.App) {
	v := a.Visitor()
	v.T = t
	for language, want := range map[string]string{"de": "Schön, dass Sie da sind.", "en": "Nice to see you.", "fr": "Nice to see you."} {
		if got := v.Get("/greeting", "Accept-Language", language); got.StatusCode != http.StatusOK || !strings.Contains(got.Body, want) {
			t.Errorf("in %s, the greeting is %s\n%s", language, got.Status, got.Body)
		}
	}
}

func themeExample(t *testing.T, a *apptest.App) {
	v := a.Visitor()
	v.T = t
	page := v.SignIn("/theme", apptest.Ada)
	const saved = "Your theme is saved."
	if page := v.Press(page, "theme-dark"); strings.Count(page.Body, saved) != 1 {
		t.Errorf("after the choice, the page is %s\n%s", page.Status, page.Body)
	}
	if page := v.Get("/theme"); !strings.Contains(page.Body, "Your theme is dark.") || strings.Contains(page.Body, saved) {
		t.Errorf("the theme page is %s\n%s", page.Status, page.Body)
	}
}

// reportsExample calls the API with an access token from the development provider, without
// one, and with one that has another scope.
func reportsExample(t *testing.T, a *apptest.App) {
	v := a.Visitor()
	v.T = t
	for scope, want := range map[string]int{"reports:read": http.StatusOK, "reports:write": http.StatusForbidden, "": http.StatusUnauthorized} {
		var headers []string
		if scope != "" {
			form := url.Values{"grant_type": {"client_credentials"}, "audience": {"https://api.example"}, "scope": {scope}}
			req := v.Request(http.MethodPost, a.Issuer+"/token", form)
			req.SetBasicAuth("latchkey-terminal", "development")
			_, token, _ := strings.Cut(v.Do(req).Body, `"access_token":"`)
			token, _, _ = strings.Cut(token, `"`)
			headers = []string{"Authorization", "Bearer " + token}
		}
		got := v.Get("/api/reports", headers...)
		if got.StatusCode != want || (want == http.StatusOK) != strings.Contains(got.Body, `"reports":[]`) {
			t.Errorf("scope %q: %s, want %d\n%s", scope, got.Status, want, got.Body)
		}
	}
}

// answersItself puts the app's own API in the place of those of the examples. It verifies access tokens, as
// they have to.
func answersItself(t *testing.T, dir, port string) {
	t.Helper()
	for name, path := range map[string]string{"orders": "/api/reports", "stock": "/api/me"} {
		file := filepath.Join(dir, "routes", name+".go")
		text := string(apptest.ReadFile(t, file))
		changed := strings.Replace(text, "https://api.example.com/"+name, "http://localhost:"+port+path, 1)
		if changed == text {
			t.Fatalf("%s names no API", file)
		}
		if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// ordersExample calls the APIs by the proxy. One accepts the access token of the sign-in and the scope that the
// development provider has granted; the other refuses its own token, whose audience is another API.
func ordersExample(t *testing.T, a *apptest.App) {
	v := a.Visitor()
	v.T = t
	v.SignIn("/dashboard", apptest.Ada)
	if got := v.Get("/api/orders", "Accept", "application/json"); got.StatusCode != http.StatusOK || !strings.Contains(got.Body, `"owner":"`+apptest.Ada+`"`) {
		t.Errorf("the orders answer %s\n%s", got.Status, got.Body)
	}
	got := v.Get("/api/stock", "Accept", "application/json")
	if got.StatusCode != http.StatusBadGateway || a.Log.Count(`"reason":"upstream_token_refused"`) != 1 {
		t.Errorf("the stock answers %s\n%s", got.Status, got.Body)
	}
	if got := a.Visitor().Get("/api/orders", "Accept", "application/json"); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("a visitor gets %s", got.Status)
	}
}

func auditExample(t *testing.T, a *apptest.App, op *scriptedop.Provider) {
	for role, want := range map[string]int{"auditor": http.StatusOK, "reader": http.StatusForbidden} {
		op.EditIDToken(func(token *scriptedop.JWT) { token.Claims["https://example.com/roles"] = []string{role} })
		v := a.Visitor()
		v.T = t
		if page := v.Get("/audit"); page.StatusCode != want || (want == http.StatusOK) != strings.Contains(page.Body, "Only auditors") {
			t.Errorf("the role %s: %s, want %d\n%s", role, page.Status, want, page.Body)
		}
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

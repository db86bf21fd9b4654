// These tests are about how a clone takes what has changed here.
// tools/rename removes this file.

package project

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

// ownProduct is a product with a variable, a store in a package of its own, a sign-in hook, a page and a
// link to it.
var ownProduct = map[string]string{
	"internal/product/product.go": `// Package product is the notes of Acme.
package product

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"example.com/acme/authn"
	"example.com/acme/internal/product/store"
	"example.com/acme/routes"
	"example.com/acme/views"
)

// Product is what the handlers share.
type Product struct {
	*routes.App
	config Config
	notes  *store.Notes
}

// Config has the variables of the product.
type Config struct {
	Limit int ` + "`env:\"NOTES_LIMIT, default=10\" desc:\"how many notes a person may have\"`" + `
}

// New returns the product.
func New() routes.Product {
	p := new(Product)
	return routes.Product{
		Config: &p.config, Open: p.open, SignIn: p.signIn, Routes: p.routes,
		Links: func(context.Context, *authn.Session) []views.Link { return []views.Link{{URL: "/notes", Label: "Notes"}} },
	}
}

func (p *Product) open(_ context.Context, a *routes.App) error {
	p.App, p.notes = a, store.New(p.config.Limit)
	return nil
}

func (p *Product) routes(r routes.Router) { r.Page("/notes", p.page, r.Person) }

func (p *Product) signIn(_ context.Context, arrival *authn.Arrival) error {
	p.notes.Add(arrival.Identity.Subject, "Buy milk.")
	return nil
}

func (p *Product) page(c echo.Context) error {
	return p.Render(c, http.StatusOK, notesPage(p.Shell(c, "Notes"), p.notes.Of(routes.Current(c).Identity.Subject)))
}
`,
	"internal/product/store/store.go": `// Package store keeps notes.
package store

import (
	"regexp"
	"sync"
)

// Notes are everyone's notes.
type Notes struct {
	limit int
	mu    sync.Mutex
	notes map[string][]string
}

// New returns no notes yet.
func New(limit int) *Notes { return &Notes{limit: limit, notes: make(map[string][]string)} }

// Add adds a note of a person.
func (n *Notes) Add(subject, note string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.notes[subject]) < n.limit {
		n.notes[subject] = append(n.notes[subject], regexp.MustCompile(" +").ReplaceAllString(note, " "))
	}
}

// Of returns the notes of a person.
func (n *Notes) Of(subject string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.notes[subject]
}
`,
	"internal/product/page.templ": `package product

import "example.com/acme/views"

templ notesPage(s views.Shell, notes []string) {
	@views.Page(s) {
		<h1>Notes</h1>
		for _, note := range notes {
			<p>{ note }</p>
		}
	}
}
`,
	"internal/product/product_test.go": `package product_test

import (
	"net/http"
	"strings"
	"testing"

	"example.com/acme/internal/apptest"
	"example.com/acme/internal/product"
)

func TestNotes(t *testing.T) {
	page := apptest.StartProduct(t, product.New(), "NOTES_LIMIT=3").Visitor().SignIn("/notes", apptest.Ada)
	if page.StatusCode != http.StatusOK {
		t.Fatalf("the notes answer %s", page.Status)
	}
	for _, want := range []string{"Buy milk.", "Acme Notes", "href=\"/notes\"", "href=\"/version\"", "id=\"upstream\""} {
		if !strings.Contains(page.Body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}
`,
}

// fix is what upstream adds in files of its own.
var fix = map[string]string{
	"routes/version.go": `package routes

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/authn/openid"
)

func (a *App) version(c echo.Context) error {
	return c.String(http.StatusOK, "Latchkey, a relying party of "+openid.Identity{Issuer: "id.example.com"}.Issuer)
}
`,
	"routes/version_test.go": `package routes_test

import (
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

func TestVersion(t *testing.T) {
	if got := apptest.Start(t).Visitor().Get("/version"); !strings.HasPrefix(got.Body, "Latchkey") {
		t.Errorf("%s: %s", got.Status, got.Body)
	}
}
`,
}

// TestUpgrade renames a clone, builds a product on it, and takes upstream changes to the same
// files: nothing conflicts, and the product works with both.
func TestUpgrade(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a clone")
	}
	t.Parallel()
	upstream := copyOfCheckout(t)
	clone := renamedClone(t, upstream)
	write(t, clone, ownProduct)
	generate(t, clone)
	updateDocuments(t, clone)
	commit(t, clone, "Add notes")
	for name := range strings.Lines(mustIn(t, clone, "git", "diff", "--name-only", "HEAD~")) {
		if name = strings.TrimSpace(name); !strings.HasPrefix(name, "internal/product/") && name != "docs/configuration.md" {
			t.Errorf("a variable, a store, a hook and a page change %s", name)
		}
	}
	edit(t, clone, "views/brand.go", `(Product +=) .*`, `${1} "Acme Notes"`)
	edit(t, clone, "README.md", `(?s)\A.+`, "# Acme\n\nNotes for everyone.\n")
	commit(t, clone, "Name it")

	write(t, upstream, fix)
	edit(t, upstream, "authn/seal.go", `(?m)^package authn\n`, "${0}\n// This was fixed upstream.\n")
	edit(t, upstream, "routes/routes.go", `(?m)^.*"/admin".*\n`, "${0}\te.GET(\"/version\", a.version)\n")
	edit(t, upstream, "routes/routes.go", `(?m)^\tif a\.FrontchannelLogout `, "\te.GET(\"/version/next\", a.version)\n\n${0}")
	edit(t, upstream, "internal/app/config.go", `(?m)^.*env:"LOG_LEVEL.*\n`, "${0}\tUpstreamLimit int `env:\"UPSTREAM_LIMIT, default=1\" desc:\"a variable of a later version\"`\n")
	edit(t, upstream, "views/layout.templ", `(?m)^.*<footer class="site-footer">\n`, "${0}<p id=\"upstream\">{ Product }</p>\n")
	edit(t, upstream, "views/layout.templ", `(?m)^.*@navigationLink\("/dashboard".*\n`, "${0}\t\t@navigationLink(\"/version\", \"Version\", path)\n")
	edit(t, upstream, "README.md", `\A.*\n`, "${0}\nA new sentence.\n")
	generate(t, upstream)
	updateDocuments(t, upstream)
	commit(t, upstream, "Fix authn and say the version")

	if report := upgrade(t, clone); !strings.Contains(report, "Fix authn and say the version") {
		t.Errorf("it reports %q", report)
	}
	for name, want := range map[string]string{
		"authn/seal.go":           "This was fixed upstream.",
		"routes/version.go":       `"example.com/acme/authn/openid"`,
		"routes/routes.go":        `"/version/next"`,
		"README.md":               "Notes for everyone.",
		"tools/rename/clone.json": strings.TrimSpace(mustIn(t, upstream, "git", "rev-parse", "HEAD^{tree}")),
	} {
		if text := string(apptest.ReadFile(t, filepath.Join(clone, name))); !strings.Contains(text, want) {
			t.Errorf("%s lacks %s", name, want)
		}
	}
	generate(t, clone)
	if changes := mustIn(t, clone, "git", "status", "--porcelain"); changes != "" {
		t.Errorf("it leaves what has to be generated again, or more:\n%s", changes)
	}
	updateDocuments(t, clone) // both sides have added a row
	mustIn(t, clone, "go", "build", "./...")
	mustIn(t, clone, "go", "vet", "./...")
	mustIn(t, clone, "go", "test", "./views")
	mustIn(t, clone, "go", "test", "-run", "TestNotes|TestVersion|TestArrows|TestCommands|TestConfigurationPage|TestDocumentedVariables", "./internal/product/...", "./routes", "./internal/app", "./internal/e2e/project")
}

// TestUpgradeAgain takes upstream changes one after another, into a clone that began without
// upstream's history and that squashes its branches.
func TestUpgradeAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the tool several times")
	}
	t.Parallel()
	upstream := copyOfCheckout(t)
	clone := t.TempDir()
	mustIn(t, clone, "sh", "-c", `git -C "$0" archive HEAD | tar -x && git init -q`, upstream)
	commit(t, clone, "A copy")
	clone = renamedClone(t, clone)

	if report := upgradeFrom(t, clone, upstream); !strings.Contains(report, "Nothing has changed") {
		t.Errorf("before anything has changed upstream, it reports %q", report)
	}
	for _, line := range []string{"// First.", "// Second."} {
		edit(t, upstream, "authn/seal.go", `(?m)^package authn\n`, "${0}\n"+line+"\n")
		commit(t, upstream, line)
		upgrade(t, clone)
		mustIn(t, clone, "sh", "-c", "git checkout -q --orphan squashed && git commit -qm Squashed && git branch -M main")
	}
	if text := string(apptest.ReadFile(t, filepath.Join(clone, "authn/seal.go"))); !strings.Contains(text, "package authn\n\n// Second.\n\n// First.\n") {
		t.Errorf("authn/seal.go has not both changes:\n%.200s", text)
	}

	// Both change one line: the tool names the file, and git takes it back.
	edit(t, clone, "authn/seal.go", "// First.", "// Ours.")
	commit(t, clone, "Ours")
	edit(t, upstream, "authn/seal.go", "// First.", "// Theirs.")
	commit(t, upstream, "Theirs")
	mustIn(t, clone, "git", "fetch", "-q", "upstream")
	output, err := in(t, clone, "go", "run", "-C", "tools/rename", ".", "-merge", "upstream/main")
	if err == nil || !strings.Contains(output, "both sides have changed the same lines of:\n  authn/seal.go\n") {
		t.Errorf("a conflict (%v) is reported as:\n%s", err, output)
	}
	mustIn(t, clone, "git", "cherry-pick", "--abort")
	if changes := mustIn(t, clone, "git", "status", "--porcelain"); changes != "" {
		t.Errorf("after the way back there are changes:\n%s", changes)
	}
	if output, err := in(t, clone, "go", "run", "-C", "tools/rename", ".", "-merge", "upstream/main~3"); err == nil || !strings.Contains(output, "clone.json") {
		t.Errorf("an upstream commit before the one that the clone has (%v) is reported as:\n%s", err, output)
	}
	if trees := mustIn(t, clone, "git", "worktree", "list"); strings.Count(trees, "\n") != 1 {
		t.Errorf("it leaves work trees:\n%s", trees)
	}
}

// renamedClone clones a repository, with another as its upstream, and renames the clone.
func renamedClone(t *testing.T, from string) string {
	t.Helper()
	mustIn(t, from, "git", "branch", "-M", "main")
	clone := filepath.Join(t.TempDir(), "acme")
	mustIn(t, from, "git", "clone", "-q", from, clone)
	mustIn(t, clone, "git", "config", "user.name", "t")
	mustIn(t, clone, "git", "config", "user.email", "t@example.com")
	mustIn(t, clone, "git", "remote", "add", "upstream", from)
	mustIn(t, clone, "go", "run", "-C", "tools/rename", ".", "example.com/acme", "Acme")
	commit(t, clone, "Rename to Acme")
	return clone
}

// upgrade takes what has changed upstream, as docs/upgrading.md says, and returns the report.
func upgrade(t *testing.T, clone string) string {
	t.Helper()
	mustIn(t, clone, "git", "fetch", "-q", "upstream")
	return mustIn(t, clone, "go", "run", "-C", "tools/rename", ".", "-merge", "upstream/main")
}

// upgradeFrom does the same from another upstream.
func upgradeFrom(t *testing.T, clone, upstream string) string {
	t.Helper()
	mustIn(t, upstream, "git", "branch", "-M", "main")
	mustIn(t, clone, "git", "remote", "set-url", "upstream", upstream)
	return upgrade(t, clone)
}

func generate(t *testing.T, dir string) {
	t.Helper()
	mustIn(t, dir, "go", "tool", "-modfile=tools/go.mod", "templ", "generate")
	mustIn(t, dir, "go", "tool", "-modfile=tools/go.mod", "templ", "fmt", ".")
	mustIn(t, dir, "gofmt", "-w", "internal/app/config.go")
}

func updateDocuments(t *testing.T, dir string) {
	t.Helper()
	mustIn(t, dir, "go", "test", "./internal/e2e/project", "-run", "TestConfigurationPage", "-update")
}

func commit(t *testing.T, dir, message string) {
	t.Helper()
	mustIn(t, dir, "git", "add", "-A")
	mustIn(t, dir, "git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", message)
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// edit replaces the only match of a pattern in a file.
func edit(t *testing.T, dir, name, pattern, with string) {
	t.Helper()
	text, found := apptest.ReadFile(t, filepath.Join(dir, name)), regexp.MustCompile(pattern)
	if n := len(found.FindAll(text, -1)); n != 1 {
		t.Fatalf("%s has %d matches of %s", name, n, pattern)
	}
	write(t, dir, map[string]string{name: string(found.ReplaceAll(text, []byte(with)))})
}

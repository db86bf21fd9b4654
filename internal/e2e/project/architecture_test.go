package project

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// An arrow says who may import a package, or a module and all that is in it.
type arrow struct {
	to   string
	from string // folders, or narrower, files; "tests" are the tests of any package
}

// arrows draws the house. A new package gets a line here; an import that none of
// these lines allows is a decision to take, not a detail.
func arrows() []arrow {
	return []arrow{
		{to: "latchkey/routes", from: "main"},
		{to: "latchkey/views", from: "main routes"},
		{to: "latchkey/static", from: "main routes views"},
		{to: "latchkey/authn", from: "main routes authn/boltstore authn/redisstore authn/storetest"},
		{to: "latchkey/authn/boltstore", from: "main tests"},
		{to: "latchkey/authn/redisstore", from: "main"},
		{to: "latchkey/authn/storetest", from: "tests"},
		{to: "latchkey/internal/scriptedop", from: "tests"},
		{to: "latchkey/authn/devop", from: "main tests authn/devop/devoptest"},
		{to: "latchkey/authn/devop/devoptest", from: "tests"},

		{to: "github.com/labstack", from: "routes"}, // Echo, and echo-contrib's session.Get
		{to: "github.com/VictoriaMetrics", from: "routes"},
		{to: "github.com/a-h/templ", from: "views routes/render.go authn/devop"},
		{to: "html/template", from: "nobody"}, // templ makes every page
		// DO-15: what a stranger sends meets no pattern, which it could keep busy.
		{to: "regexp", from: "static/trim.go authn/devop/devoptest tests"},
		// FM-32: what nobody may guess is of crypto/rand; this spreads work over time.
		{to: "math/rand", from: "authn/background.go authn/lease.go authn/sessions.go routes/eventstream.go tests"},
		{to: "github.com/coreos/go-oidc", from: "authn"},
		{to: "golang.org/x/oauth2", from: "authn"},
		{to: "github.com/gorilla", from: "authn"},
		{to: "github.com/go-jose", from: "authn authn/devop"},
		{to: "github.com/kelseyhightower/envconfig", from: "main"},
		{to: "github.com/joho/godotenv", from: "main"},
		{to: "go.etcd.io/bbolt", from: "authn/boltstore"},
		{to: "github.com/redis/rueidis", from: "authn/redisstore"},
		{to: "github.com/chromedp", from: "tests"},
		{to: "go.yaml.in/yaml", from: "tests"},
	}
}

// TestArrows (DO-15, FM-32) reads the imports of every file of the development build and
// of the release. Tests keep to the arrows too, but for the packages that they test; the
// tests of main are of the whole house, and may import anything.
func TestArrows(t *testing.T) {
	t.Parallel()
	for _, tags := range []string{"", "release"} {
		t.Run("tags="+tags, func(t *testing.T) {
			t.Parallel()
			for _, p := range list(t, "-tags="+tags, "./...") {
				if p.folder() != "main" && arrowTo(p.ImportPath).to != p.ImportPath {
					t.Errorf("no arrow leads to %s: say in architecture_test.go who may import it", p.ImportPath)
				}
				for _, file := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
					for _, imported := range imports(t, filepath.Join(p.Dir, file)) {
						if !allowed(p, file, imported) {
							t.Errorf("%s imports %s, which is for: %s", path.Join(p.ImportPath, file), imported,
								arrowTo(imported).from)
						}
					}
				}
			}
		})
	}
}

// TestDevelopmentProviderIsLinked asks what is in the binary, however it gets there.
func TestDevelopmentProviderIsLinked(t *testing.T) {
	t.Parallel()
	const devop = "latchkey/authn/devop"
	for name, tt := range map[string]struct {
		tags string
		want bool
	}{
		"in the development build":           {tags: "", want: true},
		"DV-01 and not in the release build": {tags: "release", want: false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := slices.ContainsFunc(list(t, "-deps", "-tags="+tt.tags, "."), func(p listed) bool {
				return p.ImportPath == devop || strings.HasPrefix(p.ImportPath, devop+"/")
			})
			if got != tt.want {
				t.Errorf("built with -tags=%q, the program holds %s: %t, want %t", tt.tags, devop, got, tt.want)
			}
		})
	}
}

// allowed says whether a file of p may import a path.
func allowed(p listed, file, imported string) bool {
	a := arrowTo(imported)
	from := strings.Fields(a.from)
	if a.to == "" || slices.Contains(from, p.folder()) || slices.Contains(from, path.Join(p.folder(), file)) {
		return true
	}
	isTest := strings.HasSuffix(file, "_test.go")
	return isTest && (p.folder() == "main" || imported == p.ImportPath || slices.Contains(from, "tests"))
}

// arrowTo finds the narrowest arrow to an import path, or none.
func arrowTo(imported string) (found arrow) {
	for _, a := range arrows() {
		if len(a.to) > len(found.to) && (imported == a.to || strings.HasPrefix(imported, a.to+"/")) {
			found = a
		}
	}
	return found
}

// listed is what go list says of a package.
type listed struct {
	ImportPath, Dir                    string
	GoFiles, TestGoFiles, XTestGoFiles []string
}

// folder is where the package lives, as the arrows name it.
func (p listed) folder() string {
	const module = "latchkey/"
	if p.ImportPath+"/" == module {
		return "main"
	}
	return strings.TrimPrefix(p.ImportPath, module)
}

func list(t *testing.T, args ...string) (packages []listed) {
	t.Helper()
	// -e: a package that does not build is for the compiler to report.
	args = append([]string{"list", "-e", "-json=ImportPath,Dir,GoFiles,TestGoFiles,XTestGoFiles"}, args...)
	var stdout, stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, &stderr)
	}
	for d := json.NewDecoder(strings.NewReader(stdout.String())); d.More(); {
		var p listed
		if err := d.Decode(&p); err != nil {
			t.Fatalf("%v: %v", cmd, err)
		}
		packages = append(packages, p)
	}
	return packages
}

func imports(t *testing.T, file string) (paths []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range f.Imports {
		unquoted, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, unquoted)
	}
	return paths
}

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

	"latchkey/internal/apptest"
)

// An arrow says who may import a package, or a module and all that is in it, and why nobody
// else may.
type arrow struct {
	to   string
	from string // folders, or narrower, files; "tests" are the tests of any package
	why  string
}

const (
	down      = "imports lead from the program down to its parts, never up or across"
	testsOnly = "it is for tests, and must not be part of the program"
	oneRoom   = "each library stays behind the package that needs it, so that it can be replaced there"
)

// productRoom is the folder of the product. It and the folders below it import what arrows lets it of
// ours, each other, and any library.
const productRoom = "internal/product"

// arrows draws the house. A new package gets a line here, unless it is the product's.
func arrows() []arrow {
	return []arrow{
		{"latchkey/internal/app", "main tests", down},
		{"latchkey/internal/product", "main", "the app works without it, so that a product changes nothing of ours"},
		{"latchkey/routes", "internal/app internal/product tests", down},
		{"latchkey/views", "routes internal/product tests", down},
		{"latchkey/views/messages", "routes views internal/product", down},
		{"latchkey/static", "internal/app routes views internal/product", down},
		{"latchkey/authn", "internal/app routes internal/product authn/boltstore authn/redisstore authn/recordcache authn/storetest tests", down},
		{"latchkey/authn/openid", "internal/app routes internal/product authn authn/doctor tests", down},
		{"latchkey/authn/doctor", "internal/app", down},
		{"latchkey/authn/boltstore", "internal/app tests", "any store can take its place: only the program names one"},
		{"latchkey/authn/redisstore", "internal/app", "any store can take its place: only the program names one"},
		{"latchkey/authn/recordcache", "authn/boltstore authn/redisstore internal/product", "a store decides what it keeps"},
		{"latchkey/authn/devop", "internal/app authn/devop/devoptest tests", "a release does not have it"},
		{"latchkey/authn/devop/devoptest", "tests", testsOnly},
		{"latchkey/authn/storetest", "tests", testsOnly},
		{"latchkey/internal/apptest", "tests", testsOnly},
		{"latchkey/internal/scriptedop", "tests", testsOnly},

		{"github.com/labstack", "routes", oneRoom}, // Echo, and echo-contrib's session.Get
		{"github.com/VictoriaMetrics", "internal/app routes authn authn/openid", oneRoom},
		{"github.com/a-h/templ", "views routes/render.go authn/devop", oneRoom},
		{"github.com/coreos/go-oidc", "authn/openid", oneRoom},
		{"golang.org/x/text", "views/messages", oneRoom},
		{"golang.org/x/oauth2", "authn authn/openid", oneRoom},
		{"github.com/gorilla", "authn", oneRoom},
		{"github.com/go-jose", "authn/openid authn/devop", oneRoom},
		{"github.com/sethvargo/go-envconfig", "internal/app", oneRoom},
		{"github.com/joho/godotenv", "internal/app", oneRoom},
		{"github.com/KimMachineGun/automemlimit", "internal/app", oneRoom},
		{"go.etcd.io/bbolt", "authn/boltstore", oneRoom},
		{"github.com/redis/rueidis", "authn/redisstore", oneRoom},
		{"github.com/chromedp", "tests", testsOnly},
		{"go.yaml.in/yaml", "tests", testsOnly},

		{"html/template", "nobody", "templ makes every page"},
		// DO-15
		{"regexp", "static/trim.go authn/devop/devoptest tests", "a stranger's text could keep a pattern busy"},
		// FM-32
		{"math/rand", "authn/openid/discovery.go authn/lease.go authn/sessions.go routes/eventstream.go tests", "what nobody may guess is of crypto/rand; this only spreads work over time"},
	}
}

// TestArrows (DO-15, FM-32) reads the imports of every file of the development build and
// of the release. Tests keep to the arrows too, but may import the package that they test.
// internal/apptest and the tests of internal/e2e are about the whole house, and may import all
// of it.
func TestArrows(t *testing.T) {
	t.Parallel()
	for _, tags := range []string{"", "release"} {
		t.Run("tags="+tags, func(t *testing.T) {
			t.Parallel()
			for _, p := range list(t, "-tags="+tags, "./...") {
				if p.folder() != "main" && !p.ofProduct() && !strings.HasPrefix(p.folder(), "internal/e2e/") && arrowTo(p.ImportPath).to != p.ImportPath {
					t.Errorf("no arrow leads to %s: add a line to arrows in architecture_test.go that says who may import it, and why nobody else may", p.ImportPath)
				}
				for _, file := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
					for _, imported := range imports(t, filepath.Join(p.Dir, file)) {
						if a := arrowTo(imported); !allowed(p, file, imported) {
							t.Errorf("%s imports %s, which is for %s, because %s: move the code that needs it there, or change the arrow in architecture_test.go if the rule itself is to change",
								path.Join(p.ImportPath, file), imported, a.from, a.why)
						}
					}
				}
			}
		})
	}
}

// TestDevelopmentProviderIsLinked checks which packages are in the binary, through whatever they
// are imported.
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

// allowed reports whether a file of p may import a path.
func allowed(p listed, file, imported string) bool {
	a := arrowTo(imported)
	from := strings.Fields(a.from)
	if a.to == "" || slices.Contains(from, p.folder()) || slices.Contains(from, path.Join(p.folder(), file)) {
		return true
	}
	isTest := strings.HasSuffix(file, "_test.go")
	switch {
	case p.ofProduct():
		ours := strings.HasPrefix(imported, "latchkey/") && a.to != "latchkey/"+productRoom
		return !ours || slices.Contains(from, productRoom) || isTest && slices.Contains(from, "tests")
	case strings.HasPrefix(p.folder(), "internal/e2e/"):
		return isTest
	case p.folder() == "internal/apptest":
		return strings.HasPrefix(imported, "latchkey/") || slices.Contains(from, "tests")
	}
	return isTest && (imported == p.ImportPath || slices.Contains(from, "tests"))
}

// arrowTo returns the narrowest arrow to an import path, or none.
func arrowTo(imported string) (found arrow) {
	for _, a := range arrows() {
		if len(a.to) > len(found.to) && (imported == a.to || strings.HasPrefix(imported, a.to+"/")) {
			found = a
		}
	}
	return found
}

// listed is a package as go list describes it.
type listed struct {
	ImportPath, Dir                    string
	GoFiles, TestGoFiles, XTestGoFiles []string
}

// folder returns the folder of the package, as the arrows name it.
func (p listed) folder() string {
	const module = "latchkey/"
	if p.ImportPath+"/" == module {
		return "main"
	}
	return strings.TrimPrefix(p.ImportPath, module)
}

// ofProduct reports whether the package is the product's.
func (p listed) ofProduct() bool {
	return p.folder() == productRoom || strings.HasPrefix(p.folder(), productRoom+"/")
}

func list(t *testing.T, args ...string) (packages []listed) {
	t.Helper()
	// -e: the compiler reports packages that do not build.
	args = append([]string{"list", "-e", "-json=ImportPath,Dir,GoFiles,TestGoFiles,XTestGoFiles"}, args...)
	var stdout, stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = apptest.Root(t), &stdout, &stderr
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

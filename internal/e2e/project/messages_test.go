package project

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/apptest"
	"latchkey/views/messages"
)

// TestMessagesAreUsed looks for each field of the catalogue in the code of the pages. A page reads a
// text by its path, as in t.Action.SignIn. The keys of the maps are checked in package routes.
func TestMessagesAreUsed(t *testing.T) {
	t.Parallel()
	var paths []string
	var walk func(typ reflect.Type, path string)
	walk = func(typ reflect.Type, path string) {
		if typ.Kind() != reflect.Struct || typ == reflect.TypeFor[messages.Count]() {
			paths = append(paths, path)
			return
		}
		for field := range typ.Fields() {
			if field.IsExported() {
				walk(field.Type, path+"."+field.Name)
			}
		}
	}
	walk(reflect.TypeFor[messages.Catalogue](), "")
	used := selectors(t, "views", "views/messages", "routes", productRoom)
	for _, path := range paths {
		if !slices.ContainsFunc(used, func(selector string) bool { return strings.HasSuffix(selector, path) }) {
			t.Errorf("no page shows the text %s", strings.TrimPrefix(path, "."))
		}
	}
	if len(paths) < 20 {
		t.Errorf("the catalogue has %d texts", len(paths))
	}
}

// selectors returns every expression like t.Action.SignIn in folders, without their tests.
func selectors(t *testing.T, folders ...string) (list []string) {
	t.Helper()
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(apptest.Root(t), folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					list = append(list, selector(s))
				}
				return true
			})
		}
	}
	return list
}

func selector(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		return selector(e.X) + "." + e.Sel.Name
	case *ast.Ident:
		return e.Name
	default:
		return ""
	}
}

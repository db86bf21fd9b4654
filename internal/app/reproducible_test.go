package app_test

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

func testReproducible(t *testing.T, release string) {
	if again := buildAsPublished(t, copyOfCheckout(t)); !bytes.Equal(apptest.ReadFile(t, again), apptest.ReadFile(t, release)) {
		t.Error("two builds of the same source differ: .ci/release would refuse it")
	}
}

// testPinned asks the program which modules are in it, and both go.mod files whether they
// replace any.
func testPinned(t *testing.T, release string) {
	info, err := buildinfo.ReadFile(release)
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Deps) < 20 {
		t.Errorf("it names only %d modules", len(info.Deps))
	}
	for _, module := range info.Deps {
		if module.Replace != nil || !strings.HasPrefix(module.Sum, "h1:") {
			t.Errorf("%s %s has the sum %q and is replaced by %v", module.Path, module.Version, module.Sum, module.Replace)
		}
	}
	for _, file := range []string{"go.mod", "tools/go.mod"} {
		var mod struct {
			Go      string
			Replace []any
		}
		if err := json.Unmarshal([]byte(mustIn(t, apptest.Root(t), "go", "mod", "edit", "-json", file)), &mod); err != nil {
			t.Fatal(err)
		}
		if len(mod.Replace) > 0 {
			t.Errorf("%s replaces %v", file, mod.Replace)
		}
		// Without a patch version the image is that of the newest patch.
		image := "FROM docker.io/library/golang:" + strings.TrimSuffix(mod.Go, ".0") + " AS build\n"
		if !bytes.Contains(apptest.ReadFile(t, "Containerfile"), []byte(image)) {
			t.Errorf("%s says go %s, and the Containerfile lacks %q", file, mod.Go, image)
		}
	}
}

// testSymbols looks for the table without which a scanner takes every vulnerability of a
// module for one of the program.
func testSymbols(t *testing.T, release string) {
	if symbols := mustIn(t, apptest.Root(t), "go", "tool", "nm", release); !strings.Contains(symbols, " T net/http.(*Server).Serve\n") {
		t.Error("its table of symbols is stripped")
	}
}

package project

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

// TestRename renames a copy of this checkout, and runs the most important checks on it.
func TestRename(t *testing.T) {
	t.Parallel()
	dir := copyOfCheckout(t)
	rename := []string{"go", "run", "-C", "tools/rename", ".", "example.com/acme", "Acme Works"}

	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := in(t, dir, rename...); err == nil || !strings.Contains(output, "commit them first") {
		t.Fatalf("a checkout with changes is renamed (%v):\n%s", err, output)
	}
	if err := os.Remove(filepath.Join(dir, "notes.txt")); err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]string{{"Acme Works", "Acme"}, {"example.com/acme", `A"cme`}, {"example.com/acme/", "Acme"}, {"example.com/acme"}} {
		if output, err := in(t, dir, append(rename[:5:5], bad...)...); err == nil {
			t.Fatalf("it takes %q:\n%s", bad, output)
		}
	}

	mustIn(t, dir, rename...)
	if output := mustIn(t, dir, rename...); !strings.Contains(output, "Nothing was changed") {
		t.Errorf("a second time it says %q", output)
	}
	mustIn(t, dir, "go", "vet", "./...")
	mustIn(t, dir, "go", "test", "-run", "TestArrows|TestHelp|Variable|TestDeployed|TestConfiguration", "./internal/app", "./internal/e2e/project", "./views", "./static")
	if listed := mustIn(t, dir, "gofmt", "-l", "."); listed != "" {
		t.Errorf("not formatted: %s", listed)
	}
	for _, want := range []string{"# Acme Works\n", "go build -tags release"} {
		if readme := apptest.ReadFile(t, filepath.Join(dir, "README.md")); !strings.Contains(string(readme), want) {
			t.Errorf("README.md lacks %q", want)
		}
	}
	// What is stored keeps its names, and so do the licence and the sample claim.
	left, _ := in(t, dir, "git", "grep", "-iIn", "latchkey", "--", ".", ":!authn", ":!LICENSE", ":!tools/rename", ":!*/testdata/*")
	for line := range strings.Lines(left) {
		if !strings.Contains(line, "latchkey.example") && !strings.Contains(line, "`latchkey:`") && !strings.Contains(line, "LATCHKEY_") {
			t.Errorf("the old name is left: %s", line)
		}
	}
}

// These tests are about a clone that has not been renamed: tools/rename removes this file.

package project

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

// TestRename renames a copy of this checkout. The last step of .ci/run runs the whole suite
// in such a copy.
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
	for _, bad := range [][]string{{"Acme Works", "Acme"}, {"example.com/acme", `A"cme`}, {"example.com/acme/", "Acme"}, {"example.com/acme"}, {"-merge", "HEAD"}, {"example.com/acme-latchkey", "Acme"}, {"github.com/latchkey/acme", "Acme"}} {
		if output, err := in(t, dir, append(rename[:5:5], bad...)...); err == nil {
			t.Fatalf("it takes %q:\n%s", bad, output)
		}
	}

	mustIn(t, dir, rename...)
	if output := mustIn(t, dir, rename...); !strings.Contains(output, "Nothing has changed") {
		t.Errorf("a second time it says %q", output)
	}
	mustIn(t, dir, "go", "vet", "./...")
	mustIn(t, dir, "go", "-C", "examples/tracing", "mod", "tidy", "-diff")
	mustIn(t, dir, "go", "-C", "examples/tracing", "vet", "./...")
	mustIn(t, dir, "go", "test", "-run", "TestArrows|TestHelp|Variable|TestDeployed|TestConfiguration|TestWatchedMetrics", "./internal/app", "./internal/e2e/project", "./views", "./static")
	if listed := mustIn(t, dir, "gofmt", "-l", "."); listed != "" {
		t.Errorf("not formatted: %s", listed)
	}
	for _, want := range []string{"# Acme Works\n", "go build -tags release"} {
		if readme := apptest.ReadFile(t, filepath.Join(dir, "README.md")); !strings.Contains(string(readme), want) {
			t.Errorf("README.md lacks %q", want)
		}
	}
	for name, want := range map[string]string{
		"authn/metrics.go":            "acme_sign_ins_begun_total",
		"authn/seal.go":               `"latchkey 1 "`,
		"authn/redisstore/options.go": `"latchkey:"`,
		"deploy/alerts.yaml":          "AcmeWorksNotReady",
	} {
		if text := string(apptest.ReadFile(t, filepath.Join(dir, name))); !strings.Contains(text, want) {
			t.Errorf("%s lacks %s", name, want)
		}
	}
	if ci := string(apptest.ReadFile(t, filepath.Join(dir, ".ci/run"))); strings.Contains(ci, "rename") {
		t.Error(".ci/run of a renamed clone still renames")
	}
	for _, test := range []string{"rename_test.go", "upgrade_test.go", "examples_test.go"} {
		if _, err := os.Stat(filepath.Join(dir, "internal/e2e/project", test)); err == nil {
			t.Errorf("%s is left", test)
		}
	}
	// What is stored keeps its names, and so do the licence, the pages about upstream and
	// the sample claim.
	left, _ := in(t, dir, "git", "grep", "-iIn", "latchkey", "--", ".", ":!LICENSE", ":!CHANGELOG.md", ":!docs/upgrading.md", ":!tools/rename", ":!*/testdata/*")
	for line := range strings.Lines(left) {
		line = strings.NewReplacer("latchkey.example", "", "latchkey:", "", `"latchkey 1 `, "", "LATCHKEY_", "").Replace(line)
		if strings.Contains(strings.ToLower(line), "latchkey") {
			t.Errorf("the old name is left: %s", line)
		}
	}
}

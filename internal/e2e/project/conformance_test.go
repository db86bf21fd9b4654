package project

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

// TestConformanceIsShown checks docs/conformance.md: each test that it names exists, and
// the tests name each requirement that it lists.
func TestConformanceIsShown(t *testing.T) {
	t.Parallel()
	page := apptest.ReadFile(t, "docs/conformance.md")
	sources := testSources(t)
	named := regexp.MustCompile("`(Test\\w+)`(?:\\]\\(\\.\\./([\\w/]+_test\\.go)\\))?").FindAllStringSubmatch(string(page), -1)
	if len(named) < 60 {
		t.Errorf("it names %d tests", len(named))
	}
	for _, test := range named {
		if !strings.Contains(sources[test[2]], "\nfunc "+test[1]+"(t *testing.T) {") {
			t.Errorf("there is no %s in %q", test[1], test[2])
		}
	}
	var all strings.Builder
	for _, source := range sources {
		all.WriteString(source)
	}
	listed := regexp.MustCompile(`(?m)^\| ([A-Z]{2})-(\d\d) \|`).FindAllStringSubmatch(string(page), -1)
	count := make(map[string]int)
	for _, id := range listed {
		count[id[1]]++
		if !strings.Contains(all.String(), id[1]+"-"+id[2]) {
			t.Errorf("no test names %s-%s", id[1], id[2])
		}
	}
	for group, want := range map[string]int{"AR": 18, "CB": 23, "ID": 25, "UI": 8, "LB": 10} {
		if count[group] != want {
			t.Errorf("it lists %d requirements of %s, want %d", count[group], group, want)
		}
	}
}

// testSources returns the source of every test file but this one, by its path.
func testSources(t *testing.T) map[string]string {
	t.Helper()
	sources := make(map[string]string)
	err := fs.WalkDir(os.DirFS(apptest.Root(t)), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() && (name == "node_modules" || name != "." && strings.HasPrefix(name, ".")) {
			return fs.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, "_test.go") || entry.Name() == "conformance_test.go" {
			return nil
		}
		sources[path] = string(apptest.ReadFile(t, path))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

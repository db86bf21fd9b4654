package project

import (
	"cmp"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

// requirementPages explain the requirements.
var requirementPages = []string{"docs/conformance.md", "docs/security.md"}

// requirements is how many requirements each prefix has.
var requirements = map[string]int{
	"AR": 19, "CB": 27, "CF": 16, "CK": 14, "DO": 16, "DV": 8, "FM": 34, "HB": 31, "ID": 25,
	"LB": 18, "LF": 3, "LR": 9, "RT": 16, "SE": 19, "SL": 9, "SS": 10, "UI": 8,
}

var (
	// requirementID matches the id of a requirement, such as SE-07.
	requirementID = regexp.MustCompile(`\b(?:` + strings.Join(slices.Sorted(maps.Keys(requirements)), "|") + `)-\d\d\b`)
	// requirementRow matches a row of a table: the id, what it asks, and the tests.
	requirementRow = regexp.MustCompile(`(?m)^\| ([A-Z]{2}-\d\d) \|([^|\n]*)\|(.*)\|$`)
	// testLink matches the name of a test and, if it is a link, its file.
	testLink = regexp.MustCompile("`(Test\\w+)`(?:\\]\\(\\.\\./([\\w/]+_test\\.go)\\))?")
)

// TestConformanceIsShown compares the pages that explain requirements with the source. Every
// test that a page names is a link to the file that has the test. Every requirement that a
// page explains links a file that names it, and a page explains every requirement that Go
// code names.
func TestConformanceIsShown(t *testing.T) {
	t.Parallel()
	sources := goSources(t)
	linked := 0
	explainedBy, count := make(map[string]string), make(map[string]int)
	for _, page := range requirementPages {
		text := string(apptest.ReadFile(t, page))
		linked += checkTestLinks(t, sources, page, text)
		for _, row := range requirementRow.FindAllStringSubmatch(text, -1) {
			id, asks, tests := row[1], strings.TrimSpace(row[2]), row[3]
			if other := explainedBy[id]; other != "" {
				t.Errorf("%s explains %s, and %s does too: remove one of the rows", page, id, other)
			}
			explainedBy[id] = page
			count[id[:2]]++
			if asks == "" {
				t.Errorf("%s does not say what %s asks: add a line in plain words", page, id)
			}
			if !slices.ContainsFunc(testLink.FindAllStringSubmatch(tests, -1), func(link []string) bool {
				return strings.Contains(sources[link[2]], id)
			}) {
				t.Errorf("%s explains %s, and no file that it links names %s: link the test that shows it, and name the id in a comment or a subtest there", page, id, id)
			}
		}
	}
	named := make(map[string]string) // the file of each id that Go code names
	for _, file := range slices.Sorted(maps.Keys(sources)) {
		for _, id := range requirementID.FindAllString(sources[file], -1) {
			named[id] = cmp.Or(named[id], file)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(named)) {
		if explainedBy[id] == "" {
			t.Errorf("%s names %s, which no page explains: add a row to %s, or correct the id", named[id], id, strings.Join(requirementPages, " or "))
		}
	}
	for prefix, want := range requirements {
		if count[prefix] != want {
			t.Errorf("the pages explain %d requirements of %s, want %d: restore the missing rows, or correct the number in this test", count[prefix], prefix, want)
		}
	}
	if linked < 400 {
		t.Errorf("%s link %d tests, want 400 or more: the pattern of a link in this test may be out of date", strings.Join(requirementPages, " and "), linked)
	}
}

// checkTestLinks checks that each test that a page names is a link to the file that has the
// test, and returns how many there are.
func checkTestLinks(t *testing.T, sources map[string]string, page, text string) int {
	t.Helper()
	links := testLink.FindAllStringSubmatch(text, -1)
	for _, link := range links {
		switch name, file := link[1], link[2]; {
		case file == "":
			t.Errorf("%s names %s without a link: write [`%s`](../FOLDER/FILE_test.go)", page, name, name)
		case sources[file] == "":
			t.Errorf("%s links %s in %s, which does not exist: link the file that has the test", page, name, file)
		case !strings.Contains(sources[file], "\nfunc "+name+"(t *testing.T) {"):
			t.Errorf("%s links %s in %s, which has no such test: correct the name or the file", page, name, file)
		}
	}
	return len(links)
}

// goSources returns the source of every Go file but this one, by its path.
func goSources(t *testing.T) map[string]string {
	t.Helper()
	sources := make(map[string]string)
	err := fs.WalkDir(os.DirFS(apptest.Root(t)), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() && (name == "node_modules" || name != "." && strings.HasPrefix(name, ".")) {
			return fs.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, ".go") || entry.Name() == "conformance_test.go" {
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

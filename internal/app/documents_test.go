package app_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

// TestOperationsPage reads docs/operations.md against the code: each event that it lists
// is logged somewhere, and each reason that is given is explained.
func TestOperationsPage(t *testing.T) {
	t.Parallel()
	page := apptest.ReadFile(t, "docs/operations.md")
	var source strings.Builder
	for _, pattern := range []string{"internal/app/*.go", "authn/*.go", "routes/*.go"} {
		files, err := filepath.Glob(filepath.Join(apptest.Root(t), pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				source.Write(apptest.ReadFile(t, file))
			}
		}
	}
	_, events, _ := strings.Cut(string(page), "### Events")
	events, rest, _ := strings.Cut(events, "### Reasons")
	listed := 0
	for line := range strings.Lines(events) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		for _, event := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
			listed++
			if !strings.Contains(source.String(), `"`+event[1]) {
				t.Errorf("nothing logs %q", event[1])
			}
		}
	}
	reasons, _, _ := strings.Cut(rest, "## Metrics")
	given := regexp.MustCompile(`(?:reason: +|Reason += +|f\.reason = )"([a-z_]+)"`).FindAllStringSubmatch(source.String(), -1)
	for _, reason := range given {
		if !strings.Contains(reasons, "`"+reason[1]+"`") {
			t.Errorf("docs/operations.md does not explain the reason %s", reason[1])
		}
	}
	if listed < 20 || len(given) < 30 {
		t.Errorf("only %d events and %d reasons were found", listed, len(given))
	}
}

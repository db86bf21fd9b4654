package project

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

// TestOperationsPage compares docs/operations.md with the code: the app logs each event
// that the page lists, and the page explains every reason.
func TestOperationsPage(t *testing.T) {
	t.Parallel()
	page := apptest.ReadFile(t, "docs/operations.md")
	var source strings.Builder
	for _, pattern := range []string{"internal/app/*.go", "authn/*.go", "authn/openid/*.go", "routes/*.go"} {
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
	rows, codes, _ := strings.Cut(source.String(), "\nvar declined = ") // codes from the provider are not reasons
	_, after, _ := strings.Cut(codes, "\n}\n")
	given := regexp.MustCompile(`(?m)Reason += +"([a-z_]+)"|^\t"([a-z_]+)": +(?:\{status|\w+,$)`).FindAllStringSubmatch(rows+after, -1)
	for _, match := range given {
		if reason := match[1] + match[2]; !strings.Contains(reasons, "`"+reason+"`") {
			t.Errorf("docs/operations.md does not explain the reason %s", reason)
		}
	}
	if listed < 20 || len(given) < 30 {
		t.Errorf("only %d events and %d reasons were found", listed, len(given))
	}
}

// TestWatchedMetricsExist checks that every metric exists that the Grafana dashboard, the
// alert rules or the documents name.
func TestWatchedMetricsExist(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t, "OPS_ADDR=127.0.0.1:0")
	s.SignIn(s.Visitor())
	page := s.Operators().Get("/metrics").Body
	known := func(name string) bool {
		for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
			family, ok := strings.CutSuffix(name, suffix)
			if ok && (strings.Contains(page, "# TYPE "+family+" ") || strings.Contains(page, "\n"+name+" ") || strings.Contains(page, "\n"+name+"{")) {
				return true
			}
		}
		return false
	}
	if known("latchkey_nothing_total") {
		t.Fatal("every name counts as known, so this test proves nothing")
	}
	names := regexp.MustCompile(`\b(?:latchkey|process|go)_[a-z_]+\b`)
	for _, file := range []string{"deploy/grafana-dashboard.json", "deploy/alerts.yaml", "docs/operations.md"} {
		text := apptest.ReadFile(t, file)
		found := names.FindAllString(string(text), -1)
		if len(found) < 10 {
			t.Errorf("%s names %d metrics", file, len(found))
		}
		for _, name := range found {
			if !known(name) {
				t.Errorf("%s names %s, which does not exist", file, name)
			}
		}
		if strings.HasSuffix(file, ".json") && !json.Valid(text) {
			t.Errorf("%s is not JSON", file)
		}
		if strings.HasSuffix(file, ".md") {
			for _, family := range regexp.MustCompile(`# TYPE (latchkey_\S+)`).FindAllStringSubmatch(page, -1) {
				if !strings.Contains(string(text), "`"+family[1]) {
					t.Errorf("%s does not explain %s", file, family[1])
				}
			}
		}
	}
}

package project

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"latchkey/authn/devop/devoptest"
	"latchkey/internal/app"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestQuotedExamples checks that the documents quote Go and templ code as it is in the file
// that the last link before it names. An example in docs/_examples is quoted whole, but for product.go,
// which a reader fills line by line.
func TestQuotedExamples(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^()]+)\)`)
	indent := regexp.MustCompile(`(?m)^\t+`)
	block := regexp.MustCompile("(?ms)^```(?:go|templ)\n(.*?)^```$")
	for _, document := range documents(t) {
		if filepath.Ext(document) != ".md" {
			continue
		}
		page := string(apptest.ReadFile(t, document))
		for _, at := range block.FindAllStringSubmatchIndex(page, -1) {
			quoted := page[at[2]:at[3]]
			links := link.FindAllStringSubmatch(page[:at[0]], -1)
			if len(links) == 0 {
				t.Errorf("%s does not link to the file that this is from:\n%s", document, quoted)
				continue
			}
			file := filepath.Join(filepath.Dir(document), links[len(links)-1][1])
			if hasProduct(t) && strings.Contains(file, "internal/product/") {
				continue // it is the reader's own by now
			}
			text, whole := string(apptest.ReadFile(t, file)), strings.Contains(file, "_examples")
			if strings.HasSuffix(file, "_examples/product/product.go") {
				text, quoted, whole = indent.ReplaceAllString(text, ""), indent.ReplaceAllString(quoted, ""), false
			}
			if !strings.Contains(text, quoted) || whole && text != quoted {
				t.Errorf("%s does not quote %s as it is; it has\n%s\nand the file has\n%s", document, file, quoted, text)
			}
		}
	}
}

// hasProduct reports whether this is a clone with a name or a product of its own.
func hasProduct(t *testing.T) bool {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(apptest.Root(t), "internal", "product"))
	_, renamed := os.Stat(filepath.Join(apptest.Root(t), "tools", "rename", "clone.json"))
	return renamed == nil || err != nil || len(files) > 1
}

// TestDocumentLinks checks that every link between documents and files leads somewhere, also
// to a heading.
func TestDocumentLinks(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^()\s]+)\)|srcset="([^"]+)"|src="([^"]+)"`)
	heading := regexp.MustCompile(`(?m)^#+ (.+)$`)
	noAnchor := regexp.MustCompile(`[^\pL\pN _-]`)
	links := 0
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		matches, err := filepath.Glob(filepath.Join(apptest.Root(t), pattern))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, matches...)
	}
	for _, document := range pages {
		for _, match := range link.FindAllStringSubmatch(string(apptest.ReadFile(t, document)), -1) {
			target := match[1] + match[2] + match[3]
			if strings.Contains(target, "://") {
				continue
			}
			links++
			file, anchor, _ := strings.Cut(target, "#")
			to := document
			if file != "" {
				to = filepath.Join(filepath.Dir(document), file)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s, and there is no such file", document, target)
				continue
			}
			if anchor == "" {
				continue
			}
			found := false
			for _, h := range heading.FindAllStringSubmatch(string(apptest.ReadFile(t, to)), -1) {
				found = found || strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-") == anchor
			}
			if !found {
				t.Errorf("%s links to %s, and there is no such heading", document, target)
			}
		}
	}
	if links < 20 {
		t.Errorf("only %d links were found", links)
	}
}

// TestGreeting checks that docs/development.md shows what a terminal shows at the start.
func TestGreeting(t *testing.T) {
	t.Parallel()
	log := apptest.NewLog()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- app.Run(ctx, nil, []string{"PORT=0", "LOG_FORMAT=text", "DATA_DIR=" + t.TempDir()}, log)
	}()
	apptest.Eventually(t, "the start", func() bool { return log.Count("Ctrl-C.\n") > 0 })
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	const begin, end = "\n  The app is at ", "Ctrl-C.\n"
	_, greeting, _ := strings.Cut(log.String(), begin)
	greeting, _, _ = strings.Cut(begin+greeting, end)
	greeting = regexp.MustCompile(`localhost:\d+`).ReplaceAllString(greeting, "localhost:3000")
	greeting = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(greeting, "127.0.0.1:3001")
	wantGenerated(t, "docs/development.md", "greeting", "```\n$ go run .\n"+greeting+end+"```\n")
}

// TestDoctorReports checks that docs/doctor.md shows what the doctor prints: for a fresh
// clone, and for a provider that knows another secret and other addresses.
func TestDoctorReports(t *testing.T) {
	t.Parallel()
	port, providerPort := apptest.FreePort(t), apptest.FreePort(t)
	fresh := []string{"PORT=" + port, "DEV_PROVIDER_ADDR=127.0.0.1:" + providerPort}
	provider := devoptest.New(t, "http://localhost:3000")
	misfit := []string{
		"PORT=" + port, "OIDC_ISSUER=" + provider.Issuer, "AUTH0_CLIENT_ID=" + provider.ClientID, "AUTH0_CLIENT_SECRET=of-another-application",
		"AUTH0_CALLBACK_URL=https://app.example.com/callback", "APP_SECRET_KEY=0123456789abcdef0123456789abcdef",
	}
	data := filepath.Join(t.TempDir(), "data") // the doctor creates a file beside it for a moment
	for name, report := range map[string]struct {
		env []string
		set string // how many variables the reader sets
	}{"fresh": {fresh, "0 set,"}, "misfit": {misfit, "5 set,"}} {
		var out bytes.Buffer
		if err := app.Run(t.Context(), []string{"doctor"}, append(report.env, "DATA_DIR="+data), &out); errors.Is(err, app.ErrConfiguration) {
			t.Fatal(err)
		}
		text := strings.NewReplacer(data, "data", provider.Issuer, "https://id.example.com", "port "+port, "port 3000", "localhost:"+port, "localhost:3000", "port "+providerPort, "port 3001").Replace(out.String())
		text = regexp.MustCompile(`\d+ set,`).ReplaceAllString(text, report.set)
		text = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(text, "127.0.0.1:44701")
		wantGenerated(t, "docs/doctor.md", name, "```\n"+text+"```\n")
	}
}

var update = flag.Bool("update", false, "write what tests generate into the documents")

// wantGenerated checks the part of a document that a test generates: what is between the
// comments "generated: NAME" and "end". With -update it writes the part.
func wantGenerated(t *testing.T, file, name, want string) {
	t.Helper()
	page := string(apptest.ReadFile(t, file))
	begin, end := "<!-- generated: "+name+" -->\n", "<!-- end -->\n"
	before, rest, begun := strings.Cut(page, begin)
	got, after, ended := strings.Cut(rest, end)
	if !begun || !ended {
		t.Fatalf("%s has no lines %q and %q", file, begin, end)
	}
	if got == want {
		return
	}
	if *update {
		if err := os.WriteFile(filepath.Join(apptest.Root(t), file), []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s is out of date; run\n\tgo test ./internal/e2e/project -run %s -update\nIt has\n%s\nand should have\n%s", file, t.Name(), got, want)
}

// TestOperationsPage compares docs/operations.md with the code: the app logs each event
// that the page lists, and the page explains every reason.
func TestOperationsPage(t *testing.T) {
	t.Parallel()
	page := apptest.ReadFile(t, "docs/operations.md")
	var source strings.Builder
	for _, pattern := range []string{"internal/app/*.go", "authn/*.go", "authn/openid/*.go", "authn/redisstore/*.go", "routes/*.go"} {
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
	given := regexp.MustCompile(`(?m)Reason += +"([a-z_]+)"|^\t"([a-z_]+)": +(?:\{status|[a-z]\w*,$)`).FindAllStringSubmatch(rows+after, -1)
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
	named := apptest.StartSeveral(t, map[string]*scriptedop.Provider{"work": apptest.NewOP(t)}, "OPS_ADDR=127.0.0.1:0")
	page += named.Operators().Get("/metrics").Body
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

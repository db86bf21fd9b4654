package routes_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
)

// reloadStream opens /dev/reload and returns its lines.
func reloadStream(a *apptest.App, headers ...string) (*http.Response, <-chan string) {
	a.T.Helper()
	v := a.Visitor()
	v.Client.Timeout = 0 // it lasts
	res, err := v.Client.Do(v.Request(http.MethodGet, "/dev/reload", nil, headers...))
	if err != nil {
		a.T.Fatal(err)
	}
	a.T.Cleanup(func() { res.Body.Close() })
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(res.Body); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	return res, lines
}

// heard collects lines until one has a prefix, or the stream ends.
func heard(t *testing.T, lines <-chan string, last string) (all string) {
	t.Helper()
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return all
			}
			all += line + "\n"
			if last != "" && strings.HasPrefix(line, last) {
				return all
			}
		case <-time.After(apptest.Patience):
			t.Fatalf("the stream stops after:\n%s", all)
		}
	}
}

// TestReloadStream checks the stream by which pages reload: each process has an id of its
// own, its pages carry the id, and the stream ends with the program.
func TestReloadStream(t *testing.T) {
	t.Parallel()
	ids := map[string]bool{}
	for range 2 {
		a := apptest.Start(t)
		res, lines := reloadStream(a, "Sec-Fetch-Site", "same-origin")
		said := heard(t, lines, "data:")
		if res.StatusCode != http.StatusOK || !strings.HasPrefix(said, "retry: 100\n\nevent: process\n") {
			t.Errorf("the stream begins, with %d:\n%s", res.StatusCode, said)
		}
		script := apptest.Find(apptest.Parse(t, a.Visitor().Get("/").Body), func(n *apptest.Node) bool { return apptest.Attribute(n, "data-process") != "" })
		if script == nil {
			t.Fatal("the page does not reload")
		}
		id := apptest.Attribute(script, "data-process")
		if ids[id] || !strings.Contains(said, `data: "`+id+`"`) {
			t.Errorf("the page's process is %q, after %v, and the stream says:\n%s", id, ids, said)
		}
		ids[id] = true
		if other, _ := reloadStream(a, "Sec-Fetch-Site", "cross-site"); other.StatusCode != http.StatusForbidden {
			t.Errorf("another site's page gets %d", other.StatusCode)
		}
		if err := a.Stop(); err != nil { // such as that the stream did not end in time
			t.Error(err)
		}
		heard(t, lines, "")
	}
}

// TestNoReloadWithARealProvider checks that there is no such stream in production.
func TestNoReloadWithARealProvider(t *testing.T) {
	t.Parallel()
	v := apptest.StartScripted(t).Visitor()
	if got := v.Get("/dev/reload"); got.StatusCode != http.StatusNotFound {
		t.Errorf("/dev/reload is %d", got.StatusCode)
	}
	if home := v.Get("/"); strings.Contains(home.Body, "/static/reload.") || strings.Contains(home.Body, "data-process") {
		t.Error("the page reloads")
	}
}

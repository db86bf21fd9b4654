package app_test

import (
	"bufio"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
)

// reloadStream is what /dev/reload says, line by line, until it ends.
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

// heard collects lines until one begins as said, or the stream ends.
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
			t.Fatalf("the stream says no more than:\n%s", all)
		}
	}
}

// TestReloadStream looks at the stream by which pages load themselves anew: each process
// has an id of its own, the pages bear it, and the stream ends when the program does.
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
			t.Fatal("the page does not load itself anew")
		}
		id := apptest.Attribute(script, "data-process")
		if ids[id] || !strings.Contains(said, `data: "`+id+`"`) {
			t.Errorf("the page is of %q, after %v, and the stream says:\n%s", id, ids, said)
		}
		ids[id] = true
		if other, _ := reloadStream(a, "Sec-Fetch-Site", "cross-site"); other.StatusCode != http.StatusForbidden {
			t.Errorf("another site's page gets %d", other.StatusCode)
		}
		stopped := time.Now()
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
		heard(t, lines, "")
		if took := time.Since(stopped); took > 5*time.Second {
			t.Errorf("with an open stream the program took %s to stop", took)
		}
	}
}

// TestNoReloadBesideARealProvider looks for it in production.
func TestNoReloadBesideARealProvider(t *testing.T) {
	t.Parallel()
	v := apptest.StartScripted(t).Visitor()
	if got := v.Get("/dev/reload"); got.StatusCode != http.StatusNotFound {
		t.Errorf("/dev/reload is %d", got.StatusCode)
	}
	if home := v.Get("/"); strings.Contains(home.Body, "/static/reload.") || strings.Contains(home.Body, "data-process") {
		t.Error("the page loads itself anew")
	}
}

// TestBrowserReloads restarts the app under an open page of somebody who is signed in: the
// page comes back by itself, with them, and says what a change broke.
func TestBrowserReloads(t *testing.T) {
	t.Chdir(t.TempDir()) // where the compiler's words are looked for
	env := []string{"PORT=" + apptest.FreePort(t), "DEV_PROVIDER_ADDR=127.0.0.1:" + apptest.FreePort(t), "DATA_DIR=" + t.TempDir()}
	a := apptest.Start(t, env...)
	b := apptest.OpenBrowser(t, a)
	b.Expect("net::ERR_CONNECTION_REFUSED")
	b.Expect("net::ERR_INCOMPLETE_CHUNKED_ENCODING")
	b.SignIn("/login", apptest.Ada)
	const process = `document.querySelector("script[data-process]").dataset.process`
	before := apptest.Evaluate[string](b, process)
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	const failure = "views/home.templ:7:3: <h1 is not closed"
	if err := os.Mkdir("tmp", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("tmp", "build-failure.txt"), []byte(failure), 0o644); err != nil {
		t.Fatal(err)
	}
	again := apptest.Start(t, env...)
	b.Wait("#build-failure") // which the page from before does not show
	if after := apptest.Evaluate[string](b, process); after == before {
		t.Error("the page is still that of the process that has gone")
	}
	if got := b.Text("#build-failure"); !strings.Contains(got, failure) {
		t.Errorf("the page says of the build: %s", got)
	}
	if got := b.Path(); got != "/dashboard" {
		t.Errorf("the page is %s", got)
	}

	// A change that builds and does not start leaves nobody to say so.
	if err := again.Stop(); err != nil {
		t.Fatal(err)
	}
	apptest.Evaluate[bool](b, `(() => { let now = Date.now(); Date.now = () => now += 4000; return true; })()`)
	b.Until(`document.getElementById("build-failure").textContent.startsWith("The program does not answer")`)
}

package app

import (
	"bufio"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// reloadStream is what /dev/reload says, line by line, until it ends.
func (a *app) reloadStream(headers ...string) (*http.Response, <-chan string) {
	a.t.Helper()
	v := a.visitor()
	v.client.Timeout = 0 // it lasts
	res, err := v.client.Do(v.request(http.MethodGet, "/dev/reload", nil, headers...))
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { res.Body.Close() })
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
		case <-time.After(patience):
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
		a := startApp(t)
		res, lines := a.reloadStream("Sec-Fetch-Site", "same-origin")
		said := heard(t, lines, "data:")
		if res.StatusCode != http.StatusOK || !strings.HasPrefix(said, "retry: 100\n\nevent: process\n") {
			t.Errorf("the stream begins, with %d:\n%s", res.StatusCode, said)
		}
		script := find(parse(t, a.visitor().get("/").body), func(n *node) bool { return attribute(n, "data-process") != "" })
		if script == nil {
			t.Fatal("the page does not load itself anew")
		}
		id := attribute(script, "data-process")
		if ids[id] || !strings.Contains(said, `data: "`+id+`"`) {
			t.Errorf("the page is of %q, after %v, and the stream says:\n%s", id, ids, said)
		}
		ids[id] = true
		if other, _ := a.reloadStream("Sec-Fetch-Site", "cross-site"); other.StatusCode != http.StatusForbidden {
			t.Errorf("another site's page gets %d", other.StatusCode)
		}
		stopped := time.Now()
		if err := a.stop(); err != nil {
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
	v := startScripted(t).visitor()
	if got := v.get("/dev/reload"); got.StatusCode != http.StatusNotFound {
		t.Errorf("/dev/reload is %d", got.StatusCode)
	}
	if home := v.get("/"); strings.Contains(home.body, "/static/reload.") || strings.Contains(home.body, "data-process") {
		t.Error("the page loads itself anew")
	}
}

// TestBrowserReloads restarts the app under an open page of somebody who is signed in: the
// page comes back by itself, with them, and says what a change broke.
func TestBrowserReloads(t *testing.T) {
	t.Chdir(t.TempDir()) // where the compiler's words are looked for
	env := []string{"PORT=" + freePort(t), "DEV_PROVIDER_ADDR=127.0.0.1:" + freePort(t), "DATA_DIR=" + t.TempDir()}
	a := startApp(t, env...)
	b := openBrowser(t, a)
	b.expect("net::ERR_CONNECTION_REFUSED")
	b.expect("net::ERR_INCOMPLETE_CHUNKED_ENCODING")
	b.signIn("/login", ada)
	const process = `document.querySelector("script[data-process]").dataset.process`
	before := evaluate[string](b, process)
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	const failure = "views/home.templ:7:3: <h1 is not closed"
	if err := os.Mkdir("tmp", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("tmp", "build-failure.txt"), []byte(failure), 0o644); err != nil {
		t.Fatal(err)
	}
	again := startApp(t, env...)
	b.wait("#build-failure") // which the page from before does not show
	if after := evaluate[string](b, process); after == before {
		t.Error("the page is still that of the process that has gone")
	}
	if got := b.text("#build-failure"); !strings.Contains(got, failure) {
		t.Errorf("the page says of the build: %s", got)
	}
	if got := b.path(); got != "/dashboard" {
		t.Errorf("the page is %s", got)
	}

	// A change that builds and does not start leaves nobody to say so.
	if err := again.stop(); err != nil {
		t.Fatal(err)
	}
	evaluate[bool](b, `(() => { let now = Date.now(); Date.now = () => now += 4000; return true; })()`)
	b.until(`document.getElementById("build-failure").textContent.startsWith("The program does not answer")`)
}

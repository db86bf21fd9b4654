package browser

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

// TestBrowserReloads restarts the app while a page is open. The page reloads by itself, the
// person is still signed in, and the page shows the error of a change that does not build.
func TestBrowserReloads(t *testing.T) {
	t.Chdir(t.TempDir()) // the app looks for the compiler's output here
	env := []string{"PORT=" + apptest.FreePort(t), "DEV_PROVIDER_ADDR=127.0.0.1:" + apptest.FreePort(t), "DATA_DIR=" + t.TempDir()}
	a := apptest.Start(t, env...)
	b := apptest.OpenBrowser(t, a)
	b.AllowComplaint("net::ERR_")
	b.AllowComplaint("503") // of an event stream while the app stops
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
	// If the restart takes long, the old page says that the program is not responding.
	b.Until(`document.getElementById("build-failure") !== null && ` + process + ` !== "` + before + `"`)
	if got := b.Text("#build-failure"); !strings.Contains(got, failure) {
		t.Errorf("the page says about the build: %s", got)
	}
	if got := b.Path(); got != "/dashboard" {
		t.Errorf("the page is %s", got)
	}

	// If a change builds but does not start, no app can report it.
	if err := again.Stop(); err != nil {
		t.Fatal(err)
	}
	apptest.Evaluate[bool](b, `(() => { let now = Date.now(); Date.now = () => now += 4000; return true; })()`)
	b.Until(`document.getElementById("build-failure").textContent.startsWith("The program is not responding")`)
}

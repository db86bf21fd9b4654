package project

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"latchkey/internal/apptest"
)

// testReleaseInItsImage runs the program as the Containerfile does: as an unprivileged
// user, alone in a file system where only DATA_DIR is writable.
func testReleaseInItsImage(t *testing.T, release string) {
	if os.Geteuid() != 0 {
		t.Skip("only root can change a process's root directory")
	}
	const nobody = 65532
	root := t.TempDir()
	must := func(errs ...error) {
		t.Helper()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	data := filepath.Join(root, "data")
	must(os.Chmod(root, 0o555), os.Mkdir(data, 0o700), os.Chown(data, nobody, nobody),
		os.WriteFile(filepath.Join(root, "latchkey"), apptest.ReadFile(t, release), 0o555))
	command := exec.Command("chroot", fmt.Sprintf("--userspec=%d:%d", nobody, nobody), root, "/latchkey")
	// A container engine would add /etc/hosts.
	s := apptest.NewOP(t)
	p := apptest.StartCommand(t, command, "/data", append(apptest.Env(s), "LISTEN_ADDR=127.0.0.1")...)
	p.Await("/readyz", http.StatusOK)
	app := &apptest.Scripted{App: p.App, OP: s}
	v := app.Visitor()
	app.SignIn(v)
	if got := v.Get("/dashboard"); got.Request.URL.Path != "/dashboard" || got.StatusCode != http.StatusOK {
		t.Errorf("after a sign-in the dashboard is %d at %s", got.StatusCode, got.Request.URL)
	}
	info, err := os.Stat(filepath.Join(data, "sessions.db"))
	must(err)
	if info.Mode() != 0o600 {
		t.Errorf("CF-12: the store's file has mode %v", info.Mode())
	}
	entries, err := os.ReadDir(root)
	must(err)
	if len(entries) != 2 {
		t.Errorf("the program has written outside DATA_DIR: %v", entries)
	}
}

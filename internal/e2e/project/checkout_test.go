package project

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

// in runs a command in a directory and returns its output.
func in(t *testing.T, dir string, command ...string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), command[0], command[1:]...)
	c.Dir = dir
	// Copies of the checkout share what has been compiled if its path is not part of it.
	c.Env = append(os.Environ(), "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -trimpath"))
	output, err := c.CombinedOutput()
	return string(output), err
}

func mustIn(t *testing.T, dir string, command ...string) string {
	t.Helper()
	output, err := in(t, dir, command...)
	if err != nil {
		t.Fatalf("%v: %v\n%s", command, err, output)
	}
	return output
}

// copyOfCheckout copies every file that git would commit into a new repository.
func copyOfCheckout(t *testing.T) string {
	t.Helper()
	here := apptest.Root(t)
	if _, err := os.Stat(filepath.Join(here, ".git")); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("this is not a git checkout")
	}
	dir := t.TempDir()
	for name := range strings.SplitSeq(strings.TrimRight(mustIn(t, here, "git", "ls-files", "-zco", "--exclude-standard"), "\x00"), "\x00") {
		info, err := os.Stat(filepath.Join(here, name))
		if err != nil {
			continue // deleted, but not yet committed
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, apptest.ReadFile(t, filepath.Join(here, name)), info.Mode()); err != nil {
			t.Fatal(err)
		}
	}
	mustIn(t, dir, "git", "init", "-q")
	mustIn(t, dir, "git", "add", "-A")
	mustIn(t, dir, "git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "seed")
	return dir
}

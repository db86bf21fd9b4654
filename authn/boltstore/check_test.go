//go:build unix

package boltstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"latchkey/authn/boltstore"
)

// TestCheck compares what Check reports about a path, and checks that it leaves the path
// unchanged.
func TestCheck(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		arrange func(t *testing.T, dir string) string
		found   bool
		want    string // in the error; empty for none
	}{
		{"no file, in a directory that exists", func(_ *testing.T, dir string) string {
			return filepath.Join(dir, "sessions.db")
		}, false, ""},
		{"no file, two missing directories deep", func(_ *testing.T, dir string) string {
			return filepath.Join(dir, "app", "data", "sessions.db")
		}, false, ""},
		{"CF-12 no file, in a directory of mode 0777", withDirectory(0o777), false, "run chmod 700"},
		{"no file, below a file", func(t *testing.T, dir string) string {
			must(t, os.WriteFile(filepath.Join(dir, "data"), nil, 0o600))
			return filepath.Join(dir, "data", "sessions.db")
		}, true, "not a directory"},
		{"a store", withFile(0o600), true, ""},
		{"CF-12 a store that others can read", withFile(0o644), true, "run chmod 600"},
		{"FM-18 another kind of file", withContent("not a store"), true, "move it away"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "own")
			must(t, os.Mkdir(dir, 0o700))
			path := c.arrange(t, dir)
			before := names(t, dir)
			found, err := boltstore.Check(t.Context(), path)
			if found != c.found {
				t.Errorf("found %t, want %t", found, c.found)
			}
			if c.want == "" {
				must(t, err)
			} else {
				wantText(t, err, c.want)
			}
			if after := names(t, dir); after != before {
				t.Errorf("the directory holds %q, before it held %q", after, before)
			}
		})
	}
}

// TestCheckOfAHeldFile checks that Check recognizes a file in use, and does not hold the
// file afterwards.
func TestCheckOfAHeldFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data", "sessions.db")
	s := openStore(t, path)
	if found, err := boltstore.Check(t.Context(), path); !found || !errors.Is(err, boltstore.ErrHeld) {
		t.Errorf("found %t, error %v, want ErrHeld", found, err)
	}
	must(t, s.Close())
	_, err := boltstore.Check(t.Context(), path)
	must(t, err, openStore(t, path).Close())
}

// names lists a directory and everything below it.
func names(t *testing.T, dir string) (list string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		list += path + "\n"
		return err
	}))
	return list
}

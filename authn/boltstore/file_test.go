//go:build unix

package boltstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/boltstore"
)

func TestOpenMakesPrivateFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app", "data", "sessions.db")
	s := openStore(t, path)
	defer s.Close()
	for name, want := range map[string]fs.FileMode{
		path:                             0o600,
		filepath.Dir(path):               fs.ModeDir | 0o700,
		filepath.Dir(filepath.Dir(path)): fs.ModeDir | 0o700,
	} {
		info, err := os.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), want)
		}
	}
}

func TestOpenChecksThePath(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		// arrange prepares dir, which only this user can access, and returns the path.
		arrange func(t *testing.T, dir string) string
		// want is a part of the error, which also names the path. It is empty if Open
		// succeeds.
		want string
	}{
		{"CF-12 a new file in a new directory", func(_ *testing.T, dir string) string {
			return filepath.Join(dir, "data", "sessions.db")
		}, ""},
		{"CF-12 a new file in a directory that others can read", withDirectory(0o755), ""},
		{"CF-12 a new file in a directory of mode 0777", withDirectory(0o777), "run chmod 700"},
		{"CF-12 a new file in a directory of mode 0770", withDirectory(0o770), "run chmod 700"},
		{"CF-12 a new file in a directory like /tmp", withDirectory(0o777 | fs.ModeSticky), "run chmod 700"},
		{"CF-12 a file of mode 0600", withFile(0o600), ""},
		{"CF-12 a file of mode 0640", withFile(0o640), "run chmod 600"},
		{"CF-12 a file of mode 0602", withFile(0o602), "run chmod 600"},
		{"CF-12 a symbolic link to a store", func(t *testing.T, dir string) string {
			path := withFile(0o600)(t, dir)
			must(t, os.Rename(path, path+".real"), os.Symlink(path+".real", path))
			return path
		}, "is a symbolic link"},
		{"CF-12 a dangling symbolic link", func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "sessions.db")
			must(t, os.Symlink(filepath.Join(dir, "nowhere"), path))
			return path
		}, "is a symbolic link"},
		{"CF-12 a symbolic link to a directory", func(t *testing.T, dir string) string {
			must(t, os.Mkdir(filepath.Join(dir, "real"), 0o700), os.Symlink("real", filepath.Join(dir, "data")))
			return filepath.Join(dir, "data", "sessions.db")
		}, "is a symbolic link"},
		{"FM-18 a directory where the file should be", func(t *testing.T, dir string) string {
			must(t, os.Mkdir(filepath.Join(dir, "sessions.db"), 0o700))
			return filepath.Join(dir, "sessions.db")
		}, "is a directory"},
		{"FM-18 a FIFO where the file should be", func(t *testing.T, dir string) string {
			must(t, syscall.Mkfifo(filepath.Join(dir, "sessions.db"), 0o600))
			return filepath.Join(dir, "sessions.db")
		}, "is a special file"},
		{"FM-18 an empty file", withContent(""), ""},
		{"FM-18 a large file of another kind", withContent(strings.Repeat("not a store\n", 10_000)), "move it away"},
		{"FM-18 a small file of another kind", withContent("not a store"), "move it away"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "own")
			must(t, os.Mkdir(dir, 0o700))
			path := c.arrange(t, dir)
			s, err := boltstore.Open(path)
			if c.want == "" {
				must(t, err, s.Close())
				return
			}
			wantText(t, err, c.want, filepath.Dir(path))
		})
	}
}

func TestOpenRefusesADirectoryOfSomebodyElse(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory away")
	}
	dir := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(dir, "sessions.db")
	must(t, os.Mkdir(dir, 0o700), os.Chown(dir, 12345, 12345))
	_, err := boltstore.Open(path)
	wantText(t, err, dir, "belongs to user 12345", "run this as user 12345", "chown 0")

	must(t, os.Chown(dir, 0, 0))
	must(t, openStore(t, path).Close())
}

func TestOpenRefusesAFileCutShort(t *testing.T) {
	t.Parallel()
	for _, pages := range []int64{1, 2, 3, 5, 8, 40, 80} {
		path := filepath.Join(t.TempDir(), "data", "sessions.db")
		s := openStore(t, path)
		for range 50 {
			must(t, s.Create(t.Context(), newRecord(4096)))
		}
		must(t, s.Close(), os.Truncate(path, pages*4096))
		_, err := boltstore.Open(path)
		wantText(t, err, path, "move it away")
	}
}

// TestFileCutShortInUse (FM-18) truncates the file of an open store. Every call must return, and say
// what happened, once it meets the missing part: without a check, the process would die of a fault.
func TestFileCutShortInUse(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{0, 1, 4096, 2 * 4096, 3 * 4096, 8*4096 + 100, 40 * 4096} {
		t.Run(fmt.Sprint(size, " bytes"), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "data", "sessions.db")
			s := openStore(t, path)
			var written []authn.Record
			for range 50 {
				r := newRecord(4096)
				must(t, s.Create(t.Context(), r), s.Touch(t.Context(), r.Key, r.LastSeen, r.Expires))
				written = append(written, r)
			}
			// No commit may be under way when the file loses its pages.
			must(t, s.Flush(), s.Ping(t.Context()), os.Truncate(path, size))

			for _, r := range written { // those whose pages are left may still be read
				if _, err := s.Load(t.Context(), r.Key); err != nil && !errors.Is(err, authn.ErrNotFound) {
					wantText(t, err, path, "move it away")
				}
			}
			r, until := written[0], time.Now().Add(time.Hour)
			_, onceErr := s.Once(t.Context(), r.Key, until)
			_, revokeErr := s.Revoke(t.Context(), r.Owner, until, until)
			_, sweepErr := s.Sweep(t.Context(), until)
			_, loadErr := s.Load(t.Context(), r.Key)
			for name, err := range map[string]error{
				"Ping": s.Ping(t.Context()), "Create": s.Create(t.Context(), newRecord(1)), "End": s.End(t.Context(), r.Key, authn.CauseSignedOut, until),
				"Once": onceErr, "Revoke": revokeErr, "Sweep": sweepErr, "Load": loadErr, "Close": s.Close(),
			} {
				if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "bytes are there): move it away") {
					t.Errorf("%s returned %v", name, err)
				}
			}
		})
	}
}

// TestFileDamagedInUse (FM-18) overwrites pages of an open store, as a failing disk or another program
// may do. The process must survive every call. Each returns, and says what happened if it fails. If a
// commit meets the damage, all calls from then on fail, so that the program is not ready.
func TestFileDamagedInUse(t *testing.T) {
	t.Parallel()
	const page, header = 4096, 2 * 4096
	ones := func(b []byte) { copy(b, bytes.Repeat([]byte{0xff}, len(b))) }
	for name, tt := range map[string]struct {
		damage func(file []byte)
		met    bool // by any commit
		alone  bool // makes one call at a time, because bbolt keeps a lock that calls in progress need
	}{
		"nothing":                  {damage: func([]byte) {}},
		"the header":               {damage: func(file []byte) { clear(file[:header]) }, met: true, alone: true},
		"the header, ones":         {damage: func(file []byte) { ones(file[:header]) }, met: true, alone: true},
		"all but the header":       {damage: func(file []byte) { clear(file[header:]) }, met: true},
		"all but the header, ones": {damage: func(file []byte) { ones(file[header:]) }},
		"everything":               {damage: func(file []byte) { clear(file) }, met: true, alone: true},
		"every other page": {damage: func(file []byte) {
			for page := range slices.Chunk(file[header:], 2*page) {
				clear(page[:len(page)/2])
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "data", "sessions.db")
			s := openStore(t, path)
			var written []authn.Record
			for range 50 {
				r := newRecord(page)
				must(t, s.Create(t.Context(), r))
				r.Version++
				written = append(written, r)
			}
			change(t, path, tt.damage)

			want := func(what string, err error) {
				t.Helper()
				if errors.Is(err, authn.ErrNotFound) && name != "nothing" {
					return // bbolt takes some cleared pages for empty ones
				}
				if err != nil && (name == "nothing" || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "move it away")) {
					t.Errorf("%s returned %v", what, err)
				}
			}
			until := time.Now().Add(time.Hour)
			var calls sync.WaitGroup
			for _, r := range written {
				calls.Go(func() {
					_, err := s.Load(t.Context(), r.Key)
					want("Load", err)
					_, err = s.Once(t.Context(), r.Key, until)
					want("Once", err)
					want("Touch", s.Touch(t.Context(), r.Key, until, until))
					want("Save", s.Save(t.Context(), r))
					want("Create", s.Create(t.Context(), newRecord(10)))
					want("End", s.End(t.Context(), r.Key, authn.CauseSignedOut, until))
				})
				if tt.alone {
					calls.Wait()
				}
			}
			calls.Wait()
			_, err := s.Sweep(t.Context(), until)
			want("Sweep", err)
			if ping := s.Ping(t.Context()); tt.met {
				_, err := s.Load(t.Context(), written[0].Key)
				wantText(t, err, path, "move it away")
				wantText(t, ping, path, "move it away")
				wantText(t, s.Close(), path, "move it away")
			} else {
				want("Ping", ping)
				want("Close", s.Close())
			}
		})
	}
}

// change changes the content of a file in place.
func change(t *testing.T, path string, edit func([]byte)) {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	edit(content)
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = file.WriteAt(content, 0)
	must(t, err, file.Close())
}

func withDirectory(mode fs.FileMode) func(*testing.T, string) string {
	return func(t *testing.T, dir string) string {
		t.Helper()
		must(t, os.Chmod(dir, mode))
		return filepath.Join(dir, "sessions.db")
	}
}

func withFile(mode fs.FileMode) func(*testing.T, string) string {
	return func(t *testing.T, dir string) string {
		t.Helper()
		path := filepath.Join(dir, "sessions.db")
		must(t, openStore(t, path).Close(), os.Chmod(path, mode))
		return path
	}
}

func withContent(content string) func(*testing.T, string) string {
	return func(t *testing.T, dir string) string {
		t.Helper()
		path := filepath.Join(dir, "sessions.db")
		must(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
}

// TestFileTakenAway deletes the store's file, or puts another in its place. The store keeps
// working, and Ping reports the problem.
func TestFileTakenAway(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data", "sessions.db")
	s := openStore(t, path)
	must(t, s.Ping(t.Context()))
	must(t, os.Rename(path, path+".elsewhere"))
	for _, what := range []string{"deleted", "replaced"} {
		if err := s.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "restart the program") {
			t.Errorf("%s: error %v", what, err)
		}
		must(t, os.WriteFile(path, nil, 0o600))
	}
	record := newRecord(1)
	must(t, s.Create(t.Context(), record))
	must(t, os.Rename(path+".elsewhere", path))
	must(t, s.Ping(t.Context()))
}

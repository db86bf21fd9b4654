package faults

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"latchkey/internal/apptest"
)

// disk is where a program stores its sessions.
type disk struct {
	dir string
	// fill leaves no space for the sessions of more people, and free undoes it.
	fill, free func(p *apptest.Process)
}

// fileThatCannotGrow returns a disk with a quota. Limiting the files of one's own process
// needs no special rights.
func fileThatCannotGrow(t *testing.T) disk {
	limit := func(p *apptest.Process, size uint64) {
		t.Helper()
		limit := syscall.Rlimit{Cur: size, Max: ^uint64(0)}
		_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(p.Command.Process.Pid), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
		if errno != 0 {
			t.Fatalf("prlimit: %v", errno)
		}
	}
	return disk{
		dir: t.TempDir(),
		fill: func(p *apptest.Process) {
			file, err := os.Stat(filepath.Join(p.DataDir, "sessions.db"))
			if err != nil {
				t.Fatal(err)
			}
			limit(p, uint64(file.Size()))
		},
		free: func(p *apptest.Process) { limit(p, ^uint64(0)) },
	}
}

// smallDisk returns a disk of its own, which another program fills.
func smallDisk(t *testing.T) disk {
	if !long() {
		t.Skip("only in the long form")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m,mode=0700"); err != nil {
		t.Skipf("only root can mount a disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	other := filepath.Join(dir, "other")
	return disk{
		dir: dir,
		fill: func(*apptest.Process) {
			if err := os.WriteFile(other, make([]byte, 8<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("the disk is not full: %v", err)
			}
		},
		free: func(*apptest.Process) {
			if err := os.Remove(other); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// TestFullDisk (FM-17) fills the disk. Nobody can sign in, and the page says to try again.
// Everyone who is signed in stays signed in and can sign out. Once there is space again,
// everything works as before. The tests of boltstore show that many sign-outs fit on a full
// disk, and that an interrupted write leaves the file intact.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(t *testing.T) disk{
		"FM-17 a file that cannot grow": fileThatCannotGrow,
		"FM-17 a small disk":            smallDisk,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testFullDisk(t, make(t))
		})
	}
}

func testFullDisk(t *testing.T, d disk) {
	op := apptest.NewOP(t)
	p := builds(t)(d.dir, apptest.Env(op)...)
	s := &apptest.Scripted{App: p.App, OP: op}
	var people []*apptest.Visitor
	signIn := func() apptest.Answer {
		t.Helper()
		v := s.Visitor()
		got := v.Callback(v.AuthorizationResponse("/profile"))
		if got.StatusCode == http.StatusSeeOther {
			people = append(people, v)
		}
		return got
	}
	for range 3 {
		signIn()
	}
	d.fill(p)
	got := signIn()
	for got.StatusCode == http.StatusSeeOther && len(people) < 2000 {
		got = signIn()
	}
	if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" || !strings.Contains(got.Body, "Try again") {
		t.Errorf("with %d people signed in, the next sign-in is answered with %d, Retry-After %q:\n%s", len(people), got.StatusCode, got.Header.Get("Retry-After"), got.Body)
	}
	for _, cookie := range got.Cookies() {
		if cookie.Name == p.CookieName("session") && cookie.Value != "" {
			t.Error("the failed sign-in leaves half a session")
		}
	}
	for i, v := range people {
		if !v.SignedIn() {
			t.Fatalf("person %d of %d is no longer signed in\n%s", i, len(people), p.Log)
		}
	}
	for i, v := range people[1:] {
		got := v.Direct(v.Request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin"))
		if got.StatusCode != http.StatusOK || v.SignedIn() {
			t.Fatalf("person %d of %d cannot sign out: answered with %d\n%s", i+1, len(people), got.StatusCode, p.Log)
		}
	}
	d.free(p)
	s.SignIn(s.Visitor())
	s.SignIn(s.Visitor())
	t.Logf("%d people were signed in", len(people)-2)
	if !people[0].SignedIn() {
		t.Error("the person who was signed in all the time is signed out")
	}
	apptest.Eventually(t, "the log reports it", func() bool { return p.Log.Count(`"msg":"refused"`) > 0 })
	if lines := p.Logged("refused", ""); len(lines) != 1 || lines[0]["reason"] != "store_unavailable" || lines[0]["level"] != "ERROR" {
		t.Errorf("the log says %v", lines)
	}
}

package faults

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"latchkey/internal/apptest"
)

// limitFiles limits the size of the files that a process can write, as a full disk or a
// quota does. Limiting one's own process needs no special rights.
func limitFiles(p *apptest.Process, size uint64) {
	p.T.Helper()
	limit := syscall.Rlimit{Cur: size, Max: ^uint64(0)}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(p.Command.Process.Pid), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		p.T.Fatalf("prlimit: %v", errno)
	}
}

// TestFullDisk (FM-17) fills the disk. Nobody can sign in, and the page says to try again.
// Everyone who is signed in stays signed in and can sign out. Once there is space again,
// everything works as before. The test uses a file that cannot grow. The tests of boltstore
// show that many sign-outs fit on a full disk, and that an interrupted write leaves the
// file intact.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	op := apptest.NewOP(t)
	p := apptest.StartProcess(t, dir, apptest.Env(op)...)
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
	file, err := os.Stat(filepath.Join(dir, "sessions.db"))
	if err != nil {
		t.Fatal(err)
	}
	limitFiles(p, uint64(file.Size()))
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
	limitFiles(p, ^uint64(0))
	s.SignIn(s.Visitor())
	s.SignIn(s.Visitor())
	if !people[0].SignedIn() {
		t.Error("the person who was signed in all the time is signed out")
	}
	apptest.Eventually(t, "the log reports it", func() bool { return p.Log.Count(`"msg":"refused"`) > 0 })
	if lines := p.Logged("refused", ""); len(lines) != 1 || lines[0]["reason"] != "store_unavailable" || lines[0]["level"] != "ERROR" {
		t.Errorf("the log says %v", lines)
	}
}

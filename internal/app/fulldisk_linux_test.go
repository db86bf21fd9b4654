package app

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// limitFiles lets a process write no file beyond a size, as a full disk or a quota does. Over
// a process of one's own that takes no rights.
func (p *process) limitFiles(size uint64) {
	p.t.Helper()
	limit := syscall.Rlimit{Cur: size, Max: ^uint64(0)}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(p.command.Process.Pid), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		p.t.Fatalf("prlimit: %v", errno)
	}
}

// TestFullDisk (FM-17) takes the room from the disk: nobody signs in, and gets a page that says
// to try again; who is signed in stays so, and can sign out. With room, all is as before.
// What is shown is a file that cannot grow. That many sign-outs find room on a disk that is
// full to the brim, and that a file cut short in the middle of a write is whole, is for
// boltstore's own tests.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	op := newScriptedOP(t)
	p := startProcess(t, dir, knows(op)...)
	s := &scriptedApp{app: p.app, op: op}
	var people []*visitor
	signIn := func() answer {
		t.Helper()
		v := s.visitor()
		got := v.callback(v.authorizationResponse("/profile"))
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
	p.limitFiles(uint64(file.Size()))
	got := signIn()
	for got.StatusCode == http.StatusSeeOther && len(people) < 2000 {
		got = signIn()
	}
	if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" || !strings.Contains(got.body, "Try again") {
		t.Errorf("with %d people signed in the next is answered %d, Retry-After %q:\n%s", len(people), got.StatusCode, got.Header.Get("Retry-After"), got.body)
	}
	for _, cookie := range got.Cookies() {
		if cookie.Name == "session" && cookie.Value != "" {
			t.Error("they have half a session")
		}
	}
	for i, v := range people {
		if !v.signedIn() {
			t.Fatalf("person %d of %d is not signed in any more\n%s", i, len(people), p.log)
		}
	}
	for i, v := range people[1:] {
		got := v.direct(v.request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin"))
		if got.StatusCode != http.StatusSeeOther || v.signedIn() {
			t.Fatalf("person %d of %d does not get out: answered %d\n%s", i+1, len(people), got.StatusCode, p.log)
		}
	}
	p.limitFiles(^uint64(0))
	s.signInNow(s.visitor())
	s.signInNow(s.visitor())
	if !people[0].signedIn() {
		t.Error("who was signed in all the while is not any more")
	}
	await(t, "the log tells it", func() bool { return p.log.count(`"msg":"refused"`) > 0 })
	if lines := p.logged("refused", ""); len(lines) != 1 || lines[0]["reason"] != "store_unavailable" || lines[0]["level"] != "ERROR" {
		t.Errorf("the log says %v", lines)
	}
}

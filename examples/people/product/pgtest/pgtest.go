// Package pgtest starts a PostgreSQL server for a test.
package pgtest

import (
	"context"
	"database/sql"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
)

// Start starts a server of the installed version, on a Unix socket and with an empty database, and
// returns its address. It ends with the test. Where PostgreSQL is not installed the test is skipped,
// except in CI.
func Start(t *testing.T) string {
	t.Helper()
	bin := binaries(t)
	dir, err := os.MkdirTemp("", "pg") // a short name, as a socket's must be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	owner := ownerOf(t, dir)
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "--pgdata="+data, "--username=test", "--auth=trust", "--encoding=UTF8", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, owner
	if output, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, output)
	}
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-F")
	server.Dir, server.SysProcAttr = dir, owner
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt) // disconnects everyone
		_ = server.Wait()
	})
	address := "postgres://test@/postgres?host=" + dir
	await(t, address)
	return address
}

// binaries returns the folder of the server's programs, which Debian does not put on the PATH.
func binaries(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path)
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI needs PostgreSQL (Debian's package postgresql)")
		}
		t.Skip("this test needs PostgreSQL (Debian's package postgresql)")
	}
	return filepath.Dir(found[len(found)-1])
}

// ownerOf returns the user that the server runs as, and gives dir to that user: PostgreSQL refuses to run
// as root.
func ownerOf(t *testing.T, dir string) *syscall.SysProcAttr {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	owner, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// await waits until the server answers.
func await(t *testing.T, address string) {
	t.Helper()
	db, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("PostgreSQL does not answer: %v", err)
		case <-tick.C:
		}
	}
}

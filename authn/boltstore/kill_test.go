package boltstore_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/boltstore"
)

// childFile is the environment variable that names the file of a child process.
const childFile = "BOLTSTORE_TEST_CHILD_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childFile); path != "" {
		fmt.Fprintln(os.Stderr, writeUntilKilled(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeUntilKilled creates records and ends every third one, on several goroutines. It
// prints each key after the store has acknowledged it.
func writeUntilKilled(path string) error {
	s, err := boltstore.Open(path)
	if err != nil {
		return err
	}
	failed := make(chan error)
	var mu sync.Mutex
	acknowledge := func(what string, key authn.Key) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf("%s %x\n", what, key)
	}
	for range 4 {
		go func() {
			for i := 0; ; i++ {
				r := newRecord(i % 5000)
				if err := s.Create(context.Background(), r); err != nil {
					failed <- err
				}
				if i%3 > 0 {
					acknowledge("created", r.Key)
					continue
				}
				if err := s.End(context.Background(), r.Key, authn.CauseSignedOut, r.Expires); err != nil {
					failed <- err
				}
				acknowledge("ended", r.Key)
			}
		}()
	}
	return <-failed
}

// TestKillKeepsAcknowledgedWrites (FM-19) kills a process that writes. A kill shows that the
// store acknowledges no write that is still in the process, and that an interrupted write does
// no harm. It does not show what a power failure does.
func TestKillKeepsAcknowledgedWrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data", "sessions.db")
	var created, ended []authn.Key
	for round := range 20 {
		all, before := map[string]*[]authn.Key{"created": &created, "ended": &ended}, len(ended)
		for _, line := range killAfter(t, path, 20+7*round) {
			what, text, _ := strings.Cut(line, " ")
			raw, err := hex.DecodeString(text)
			must(t, err)
			*all[what] = append(*all[what], authn.Key(raw))
		}
		s := openStore(t, path)
		for _, key := range created {
			r, err := s.Load(t.Context(), key)
			if err != nil || len(bytes.Trim(r.Sealed, "\xa5")) > 0 {
				t.Errorf("round %d: an acknowledged record: %v", round, err)
			}
		}
		for _, key := range ended[before:] {
			if err := s.Create(t.Context(), authn.Record{Key: key}); !errors.Is(err, authn.ErrEnded) {
				t.Errorf("round %d: Create of an ended session: got error %v, want %v", round, err, authn.ErrEnded)
			}
		}
		must(t, s.Close())
	}
	if len(created) < 20*20/2 || len(ended) == 0 {
		t.Errorf("only %d created and %d ended", len(created), len(ended))
	}
}

// killAfter starts the child, kills it after n acknowledged writes, and returns the
// complete lines that it printed.
func killAfter(t *testing.T, path string, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0])
	child.Env = append(os.Environ(), childFile+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	must(t, err, child.Start())

	var lines []string
	reader := bufio.NewReader(out)
	for {
		line, err := reader.ReadString('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		lines = append(lines, strings.TrimSuffix(line, "\n"))
		if len(lines) == n {
			must(t, child.Process.Kill())
		}
	}
	if err := child.Wait(); err == nil || child.ProcessState.Exited() {
		t.Fatalf("the child exited after %d lines: %v", len(lines), err)
	}
	return lines
}

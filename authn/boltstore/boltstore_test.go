package boltstore_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/boltstore"
	"latchkey/authn/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) authn.Store { return openStore(t, filepath.Join(t.TempDir(), "data", "sessions.db")) })
}

// TestRestartKeepsEverything (FM-19) closes the file and opens it again.
func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data", "sessions.db")
	kept, ended, revoked := newRecord(2000), newRecord(10), newRecord(10)
	revoked.Owner = authn.NewKey("owner", "revoked")
	until := kept.Expires
	s := openStore(t, path)
	must(t, s.Create(t.Context(), kept), s.Create(t.Context(), ended), s.End(t.Context(), ended.Key, authn.CauseSignedOut, until))
	_, err := s.Revoke(t.Context(), revoked.Owner, revoked.SignedIn, until)
	must(t, err)
	kept.Version, kept.Sealed = 1, bytes.Repeat([]byte("new"), 5000)
	must(t, s.Save(t.Context(), kept))
	_, err = s.Once(t.Context(), kept.Key, until)
	must(t, err, s.Close())

	s = openStore(t, path)
	defer s.Close()
	loaded, err := s.Load(t.Context(), kept.Key)
	must(t, err)
	if loaded.Version != 2 || !bytes.Equal(loaded.Sealed, kept.Sealed) {
		t.Errorf("loaded version %d with %d sealed bytes", loaded.Version, len(loaded.Sealed))
	}
	if list, err := s.List(t.Context(), kept.Owner); err != nil || len(list) != 1 {
		t.Errorf("List: %d records, error %v", len(list), err)
	}
	for _, r := range []authn.Record{ended, revoked} {
		if err := s.Create(t.Context(), r); !errors.Is(err, authn.ErrEnded) {
			t.Errorf("Create: got error %v, want %v", err, authn.ErrEnded)
		}
	}
	if first, err := s.Once(t.Context(), kept.Key, until); first || err != nil {
		t.Errorf("Once after a restart: %v, error %v", first, err)
	}
}

// TestTouchesReachTheFile closes a store right after it was touched, before and after its file is
// lost.
func TestTouchesReachTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data", "sessions.db")
	s := openStore(t, path)
	r := newRecord(10)
	seen, until := r.LastSeen.Add(time.Minute), r.Expires.Add(time.Minute)
	must(t, s.Create(t.Context(), r), s.Touch(t.Context(), r.Key, seen, until), s.Close())

	s = openStore(t, path)
	loaded, err := s.Load(t.Context(), r.Key)
	must(t, err)
	if !loaded.LastSeen.Equal(seen) || !loaded.Expires.Equal(until) {
		t.Errorf("last seen %v until %v, want %v until %v", loaded.LastSeen, loaded.Expires, seen, until)
	}
	must(t, s.Touch(t.Context(), r.Key, until, until), s.CloseFile())
	wantText(t, s.Close(), path)
}

// TestOnceDoesNotWaitForTheDisk calls Once while another writer holds the file, and looks after a
// restart.
func TestOnceDoesNotWaitForTheDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data", "sessions.db")
	s := openStore(t, path)
	key, until := authn.NewKey("transaction", "a"), time.Now().Add(time.Hour)
	must(t, s.WhileLocked(func() error {
		for _, want := range []bool{true, false} {
			if first, err := s.Once(t.Context(), key, until); first != want || err != nil {
				t.Errorf("Once: %v, error %v, want %v", first, err, want)
			}
		}
		return nil
	}), s.Close())
	s = openStore(t, path)
	if first, err := s.Once(t.Context(), key, until); first || err != nil {
		t.Errorf("Once after a restart: %v, error %v", first, err)
	}
	must(t, s.CloseFile())
	if first, err := s.Once(t.Context(), authn.NewKey("transaction", "b"), until); first || err == nil {
		t.Errorf("Once without a file: %v, error %v", first, err)
	}
}

// TestLateWritesAreBounded calls Once with ever new keys while the file stands still, until Once refuses.
func TestLateWritesAreBounded(t *testing.T) {
	t.Parallel()
	s := openStore(t, filepath.Join(t.TempDir(), "data", "sessions.db"))
	until, added := time.Now().Add(time.Hour), 0
	once := func(i int) (bool, error) {
		return s.Once(t.Context(), authn.NewKey("transaction", strconv.Itoa(i)), until)
	}
	err := s.WhileLocked(func() error {
		for ; added < boltstore.LateMost; added++ {
			if first, err := once(added); !first || err != nil {
				return fmt.Errorf("Once with key %d: %v, error %w", added, first, err)
			}
		}
		if first, err := once(added); first || err == nil {
			t.Errorf("Once with a key too many: %v, error %v", first, err)
		}
		return nil
	})
	must(t, err)
	_, err = s.Sweep(t.Context(), time.Now())
	must(t, err)
	if first, err := once(added); !first || err != nil {
		t.Errorf("Once after the file has answered: %v, error %v", first, err)
	}
	must(t, s.Close())
}

// TestOneProcessHoldsTheFile (FM-26) opens a file twice: the second Open waits for the
// first to close.
func TestOneProcessHoldsTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data", "sessions.db")
	first := openStore(t, path)
	start := time.Now()
	_, err := boltstore.OpenWithin(path, 120*time.Millisecond)
	wantText(t, err, path, "another process has the file open", "stop that process")
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("refused after %v", took)
	}

	// A hot reload: the second Open waits until the first store is closed.
	opened := make(chan error, 1)
	go func() {
		second, err := boltstore.OpenWithin(path, time.Minute)
		if err == nil {
			err = second.Close()
		}
		opened <- err
	}()
	must(t, first.Close(), <-opened)
}

func TestAWriteWaitsNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	s := openStore(t, filepath.Join(t.TempDir(), "data", "sessions.db"))
	defer s.Close()
	given, taken := newRecord(10), newRecord(10)
	err := s.WhileLocked(func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		if err := s.Create(ctx, given); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Create: got error %v, want %v", err, context.DeadlineExceeded)
		}
		clear(given.Sealed)
		return nil
	})
	// A write that was given up is not written later, and does not delay the next one.
	must(t, err, s.Create(t.Context(), taken))
	if _, err := s.Load(t.Context(), given.Key); !errors.Is(err, authn.ErrNotFound) {
		t.Errorf("Load after a write that was given up: got error %v, want %v", err, authn.ErrNotFound)
	}
	_, err = s.Load(t.Context(), taken.Key)
	must(t, err)
}

func TestAfterCloseEveryMethodFails(t *testing.T) {
	t.Parallel()
	s := openStore(t, filepath.Join(t.TempDir(), "data", "sessions.db"))
	r := newRecord(10)
	must(t, s.Ping(t.Context()), s.Create(t.Context(), r), s.Close())
	_, err := s.Load(t.Context(), r.Key)
	wantText(t, err, "sessions.db", "not open")
	wantText(t, s.Ping(t.Context()), "sessions.db", "not open")
	if errors.Is(err, authn.ErrNotFound) {
		t.Error("a closed store returns ErrNotFound")
	}
}

// newRecord returns a session of the same owner each time, with a new key.
func newRecord(sealed int) authn.Record {
	id := rand.Text()
	return authn.Record{
		Key:             authn.NewKey("session", id),
		Owner:           authn.NewKey("owner", "https://id.example/", "ada"),
		ProviderSession: authn.NewKey("provider session", "https://id.example/", id),
		Device:          "Firefox on Linux",
		SignedIn:        time.Unix(2_000_000_000, 0),
		LastSeen:        time.Unix(2_000_000_060, 0),
		Expires:         time.Unix(2_000_086_400, 0),
		Sealed:          bytes.Repeat([]byte{0xa5}, sealed),
	}
}

// openStore opens the file at path and fails the test if it cannot.
func openStore(t testing.TB, path string) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func wantText(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one with %q", texts)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not contain %q", err, text)
		}
	}
}

package boltstore_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/boltstore"
)

// crowd creates short sessions, many at a time.
func crowd(t *testing.T, s *boltstore.Store, n int) {
	t.Helper()
	const workers = 200
	var creating sync.WaitGroup
	for worker := range workers {
		creating.Go(func() {
			for i := worker; i < n; i += workers {
				if err := s.Create(t.Context(), newRecord(1000)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	creating.Wait()
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return info.Size()
}

// TestFileShrinks (DO-12) creates thousands of short sessions and a lasting one. After the
// sweep the file is small again.
func TestFileShrinks(t *testing.T) {
	t.Parallel()
	const sessions = 8_000
	path := filepath.Join(t.TempDir(), "data", "sessions.db")
	s := openStore(t, path)
	empty := size(t, path)
	lasting := newRecord(1000)
	lasting.Expires = lasting.Expires.Add(time.Hour)
	must(t, s.Create(t.Context(), lasting))
	crowd(t, s, sessions)
	full := size(t, path)

	// Read and write all the while.
	ctx, stop := context.WithCancel(t.Context())
	var using sync.WaitGroup
	using.Go(func() {
		for ctx.Err() == nil {
			if _, err := s.Load(t.Context(), lasting.Key); err != nil {
				t.Errorf("Load: %v", err)
				return
			}
			if err := s.Touch(t.Context(), lasting.Key, lasting.LastSeen, lasting.Expires); err != nil {
				t.Errorf("Touch: %v", err)
				return
			}
		}
	})
	swept, err := s.Sweep(t.Context(), lasting.Expires.Add(-time.Minute))
	must(t, err)
	stop()
	must(t, s.Ping(t.Context()))
	using.Wait()
	if swept != sessions {
		t.Errorf("%d swept, want %d", swept, sessions)
	}
	t.Logf("empty %d bytes, full %d, swept %d", empty, full, size(t, path))
	if now := size(t, path); now > 4*empty {
		t.Errorf("the file has %d bytes after the sweep, and had %d when it was empty", now, empty)
	}
	again := newRecord(1000)
	must(t, s.Create(t.Context(), again), s.Close())
	s = openStore(t, path)
	for _, key := range []authn.Key{lasting.Key, again.Key} {
		if _, err := s.Load(t.Context(), key); err != nil {
			t.Errorf("after opening it again: %v", err)
		}
	}
	must(t, s.Close())
}

// TestAWaitingProcessFindsTheNewFile replaces the file while another process waits for it.
func TestAWaitingProcessFindsTheNewFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data", "sessions.db")
	first := openStore(t, path)
	lasting := newRecord(1000)
	lasting.Expires = lasting.Expires.Add(time.Hour)
	must(t, first.Create(t.Context(), lasting))
	crowd(t, first, 8_000)
	opened := make(chan *boltstore.Store, 1)
	go func() {
		second, err := boltstore.OpenWithin(path, time.Minute)
		if err != nil {
			t.Error(err)
		}
		opened <- second
	}()
	_, err := first.Sweep(t.Context(), lasting.Expires.Add(-time.Minute))
	must(t, err)
	later := newRecord(1000)
	later.Expires = lasting.Expires
	must(t, first.Create(t.Context(), later), first.Close())
	second := <-opened
	if second == nil {
		return
	}
	for _, key := range []authn.Key{lasting.Key, later.Key} {
		if _, err := second.Load(t.Context(), key); err != nil {
			t.Errorf("the second process: %v", err)
		}
	}
	must(t, second.Close())
}

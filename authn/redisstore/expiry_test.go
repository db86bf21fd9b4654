package redisstore_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/redisstore"
)

// TestExpiredSessionsLeaveNothing (DO-12) creates short sessions of many people, ends some,
// and waits until the server is as empty as before.
func TestExpiredSessionsLeaveNothing(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, srv.url)
	const workers, each = 64, 50_000 / 64
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for i := range each {
				r := newRecord(200)
				r.Owner = authn.NewKey("owner", fmt.Sprint(worker, i/10))
				if i%10 > 0 {
					r.ProviderSession = authn.Key{}
				}
				r.Expires = time.Now().Add(2 * time.Second)
				err := s.Create(t.Context(), r)
				if i%10 == 0 && err == nil {
					err = s.End(t.Context(), r.Key, authn.CauseSignedOut, r.Expires)
				}
				if i%100 == 0 && err == nil {
					_, err = s.Revoke(t.Context(), r.Owner, r.SignedIn.Add(-time.Hour), r.Expires)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d keys after all were created", srv.size(t))
	eventually(t, "the server is empty", func() bool { return srv.size(t) == 0 })
}

// TestIndexEntriesGoWithTheirSessions checks that the entries of expired sessions leave an
// index that a newer session keeps alive.
func TestIndexEntriesGoWithTheirSessions(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, srv.url)
	kept := newRecord(10)
	must(t, s.Create(t.Context(), kept))
	for range 50 {
		r := newRecord(10)
		r.Expires = time.Now().Add(50 * time.Millisecond)
		must(t, s.Create(t.Context(), r))
	}
	index := wantOneIndex(t, srv, kept)
	// The server expires entries in whole seconds, so an entry goes within a second of its
	// record.
	eventually(t, "one entry is left", func() bool {
		must(t, s.Touch(t.Context(), kept.Key, kept.LastSeen, kept.Expires.Add(time.Minute)))
		n, err := srv.do(t, "ZCARD", index).AsInt64()
		must(t, err)
		return n == 1
	})
	wantLifetime(t, srv, index, kept.Expires.Add(time.Minute))

	ended := newRecord(10)
	must(t, s.Create(t.Context(), ended), s.End(t.Context(), ended.Key, authn.CauseSignedOut, ended.Expires))
	if n, err := srv.do(t, "ZCARD", index).AsInt64(); err != nil || n != 1 {
		t.Errorf("%d entries after a session has ended, error %v", n, err)
	}
}

// TestTheIndexOutlivesItsSessions checks that an index lives as long as its sessions,
// because a revocation must find them.
func TestTheIndexOutlivesItsSessions(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, srv.url)
	short, long := newRecord(10), newRecord(10)
	short.Expires = time.Now().Add(time.Minute)
	must(t, s.Create(t.Context(), long), s.Create(t.Context(), short))
	index := wantOneIndex(t, srv, long)
	wantLifetime(t, srv, index, long.Expires)
	must(t, s.Touch(t.Context(), short.Key, short.LastSeen, long.Expires.Add(time.Hour)))
	wantLifetime(t, srv, index, long.Expires.Add(time.Hour))

	// A touch restores the entries of a lost index.
	must(t, srv.do(t, "DEL", index).Error())
	must(t, s.Touch(t.Context(), short.Key, short.LastSeen, short.Expires))
	wantEnded(t, s, short.Owner, short.Key)
}

// wantOneIndex returns the name of the owner's index, which is the one with several
// entries.
func wantOneIndex(t *testing.T, srv *server, r authn.Record) string {
	t.Helper()
	names, err := srv.do(t, "KEYS", "latchkey:index:*").AsStrSlice()
	must(t, err)
	for _, name := range names {
		if n, err := srv.do(t, "ZCARD", name).AsInt64(); err == nil && n > 1 {
			return name
		}
	}
	t.Fatalf("no index has more than the entry of %x", r.Key[:4])
	return ""
}

// wantLifetime checks when the server will drop a key.
func wantLifetime(t *testing.T, srv *server, name string, want time.Time) {
	t.Helper()
	got, err := srv.do(t, "PEXPIRETIME", name).AsInt64()
	must(t, err)
	if d := time.UnixMilli(got).Sub(want); d < 0 || d > time.Second {
		t.Errorf("%s lives until %v, want %v", name, time.UnixMilli(got), want)
	}
}

func wantEnded(t *testing.T, s *redisstore.Store, index authn.Key, want ...authn.Key) {
	t.Helper()
	ended, err := s.Revoke(t.Context(), index, time.Now(), time.Now().Add(time.Minute))
	must(t, err)
	if fmt.Sprint(ended) != fmt.Sprint(want) {
		t.Errorf("%d sessions were ended, want %d", len(ended), len(want))
	}
}

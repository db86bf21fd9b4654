package redisstore_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/redisstore"
)

func TestASignedInRequestCostsNoRoundTrip(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, srv.url)
	r := newRecord(2000)
	must(t, s.Create(t.Context(), r))
	for range 1000 {
		loaded, err := s.Load(t.Context(), r.Key)
		must(t, err)
		if !bytes.Equal(loaded.Sealed, r.Sealed) {
			t.Fatal("the sealed part differs")
		}
	}
	if n := srv.calls(t, "hgetall"); n != 1 {
		t.Errorf("1,000 loads read %d times, want once", n)
	}
}

// TestCacheIsBounded loads more records than the cache may hold.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	options, err := redisstore.ParseURL(srv.url)
	must(t, err)
	options.CacheBytes = 20_000
	s, err := openOptions(t, options, slog.New(slog.DiscardHandler))
	must(t, err)
	var records []authn.Record
	for range 50 {
		r := newRecord(2000)
		must(t, s.Create(t.Context(), r))
		records = append(records, r)
	}
	for range 2 {
		for _, r := range records {
			_, err := s.Load(t.Context(), r.Key)
			must(t, err)
		}
	}
	if n := srv.calls(t, "hgetall"); n < 90 {
		t.Errorf("100 loads read %d times", n)
	}
}

// TestAMadeUpKeyCostsNoMemory loads keys that do not exist, which anyone can make up. The server must
// not remember them, as it does each record that it has to report changes of.
func TestAMadeUpKeyCostsNoMemory(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, srv.url)
	tracked := func() int {
		t.Helper()
		info, err := srv.admin.Do(t.Context(), srv.admin.B().Info().Section("stats").Build()).ToString()
		must(t, err)
		_, after, _ := strings.Cut(info, "\ntracking_total_keys:")
		digits, _, _ := strings.Cut(after, "\r")
		n, err := strconv.Atoi(digits)
		must(t, err)
		return n
	}
	used, ended := newRecord(10), newRecord(10)
	must(t, s.Create(t.Context(), used), s.Create(t.Context(), ended), s.End(t.Context(), ended.Key, authn.CauseSignedOut, ended.Expires))
	_, err := s.Load(t.Context(), used.Key)
	must(t, err)
	if n := tracked(); n != 1 {
		t.Errorf("with one record in use, the server tracks %d keys", n)
	}
	for range 100 {
		wantNotFound(t, s, newRecord(0).Key)
		wantNotFound(t, s, ended.Key)
	}
	if n := tracked(); n != 1 {
		t.Errorf("after 100 made-up keys, the server tracks %d keys, want 1", n)
	}
}

// TestEndsOnAnotherNode (LB-15) changes sessions on one node and loads them on another.
func TestEndsOnAnotherNode(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	here, there := open(t, srv.url), open(t, srv.url)
	ended, revoked, saved := newRecord(10), newRecord(10), newRecord(10)
	for _, r := range []authn.Record{ended, revoked, saved} {
		must(t, here.Create(t.Context(), r))
		for range 2 { // the second from the cache
			_, err := here.Load(t.Context(), r.Key)
			must(t, err)
		}
	}
	must(t, there.End(t.Context(), ended.Key, authn.CauseSignedOut, ended.Expires))
	_, err := there.Revoke(t.Context(), revoked.ProviderSession, revoked.SignedIn, revoked.Expires)
	must(t, err)
	saved.Version, saved.Sealed = 1, []byte("new")
	must(t, there.Save(t.Context(), saved))
	for _, r := range []authn.Record{ended, revoked} {
		start := time.Now()
		eventually(t, "the other node refuses the session", func() bool {
			_, err := here.Load(t.Context(), r.Key)
			return errors.Is(err, authn.ErrNotFound)
		})
		t.Logf("refused %v after it ended", time.Since(start))
	}
	eventually(t, "the other node loads the saved record", func() bool {
		r, err := here.Load(t.Context(), saved.Key)
		return err == nil && string(r.Sealed) == "new" && r.Version == 2
	})
}

// TestOwnChangesAreSeenAtOnce runs many loads during a change, and loads again after it. It
// would find a late reply from before the change, or a cache entry that survives it.
func TestOwnChangesAreSeenAtOnce(t *testing.T) {
	t.Parallel()
	s := open(t, startServer(t).url)
	for round := range 30 {
		r := newRecord(100)
		must(t, s.Create(t.Context(), r))
		done := make(chan struct{})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
						_, _ = s.Load(t.Context(), r.Key)
					}
				}
			})
		}
		r.Version = 1
		must(t, s.Save(t.Context(), r))
		if loaded, err := s.Load(t.Context(), r.Key); err != nil || loaded.Version != 2 {
			t.Errorf("round %d: version %d after a save, error %v", round, loaded.Version, err)
		}
		must(t, s.Touch(t.Context(), r.Key, r.LastSeen, r.Expires.Add(time.Hour)))
		if loaded, err := s.Load(t.Context(), r.Key); err != nil || !loaded.Expires.After(r.Expires) {
			t.Errorf("round %d: expires %v after a touch, error %v", round, loaded.Expires, err)
		}
		if round%2 == 0 {
			must(t, s.End(t.Context(), r.Key, authn.CauseSignedOut, r.Expires))
		} else if ended, err := s.Revoke(t.Context(), r.ProviderSession, r.SignedIn, r.Expires); err != nil || len(ended) != 1 {
			t.Errorf("round %d: %d revoked, error %v", round, len(ended), err)
		}
		wantNotFound(t, s, r.Key)
		close(done)
		wg.Wait()
		wantNotFound(t, s, r.Key)
	}
}

// TestOwnChangesNeedNoWordOfTheServer checks that a node drops its own changes from its
// cache before the server reports them.
func TestOwnChangesNeedNoWordOfTheServer(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, srv.url)
	s.Deafen()
	r := newRecord(10)
	load := func() authn.Record {
		loaded, err := s.Load(t.Context(), r.Key)
		must(t, err)
		return loaded
	}
	must(t, s.Create(t.Context(), r))
	load()
	r.Version = 1
	must(t, s.Save(t.Context(), r))
	if version := load().Version; version != 2 {
		t.Errorf("version %d after a save", version)
	}
	must(t, s.Touch(t.Context(), r.Key, r.LastSeen, r.Expires.Add(time.Hour)))
	if expires := load().Expires; !expires.After(r.Expires) {
		t.Errorf("expires %v after a touch", expires)
	}
	must(t, s.End(t.Context(), r.Key, authn.CauseSignedOut, r.Expires))
	wantNotFound(t, s, r.Key)

	r = newRecord(10)
	must(t, s.Create(t.Context(), r))
	load()
	_, err := s.Revoke(t.Context(), r.Owner, r.SignedIn, r.Expires)
	must(t, err)
	wantNotFound(t, s, r.Key)

	// The control: the deaf store does not see another node's change until its own write is
	// refused.
	r = newRecord(10)
	r.SignedIn = r.SignedIn.Add(time.Minute)
	must(t, s.Create(t.Context(), r))
	load()
	r.Version = 1
	must(t, open(t, srv.url).Save(t.Context(), r))
	if version := load().Version; version != 1 {
		t.Errorf("version %d: the store still hears of changes", version)
	}
	if err := s.Save(t.Context(), r); !errors.Is(err, authn.ErrConflict) {
		t.Errorf("Save: got error %v, want %v", err, authn.ErrConflict)
	}
	if version := load().Version; version != 2 {
		t.Errorf("version %d after a conflict", version)
	}
}

func TestACachedRecordIsReadAgainAfterAMinute(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, srv.url)
	now := time.Now()
	s.SetNow(func() time.Time { return now })
	r := newRecord(10)
	must(t, s.Create(t.Context(), r))
	for _, want := range []struct {
		after time.Duration
		reads int
	}{{0, 1}, {59 * time.Second, 1}, {2 * time.Second, 2}, {time.Second, 2}} {
		now = now.Add(want.after)
		_, err := s.Load(t.Context(), r.Key)
		must(t, err)
		if n := srv.calls(t, "hgetall"); n != want.reads {
			t.Errorf("%d reads after another %v, want %d", n, want.after, want.reads)
		}
	}
}

func TestALostConnectionEmptiesTheCache(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, srv.url)
	r := newRecord(10)
	must(t, s.Create(t.Context(), r))
	_, err := s.Load(t.Context(), r.Key)
	must(t, err)
	before := srv.calls(t, "hgetall")
	must(t, srv.do(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Error())
	eventually(t, "the record is read again", func() bool {
		_, _ = s.Load(t.Context(), r.Key)
		return srv.calls(t, "hgetall") > before
	})
}

func wantNotFound(t *testing.T, s *redisstore.Store, key authn.Key) {
	t.Helper()
	if _, err := s.Load(t.Context(), key); !errors.Is(err, authn.ErrNotFound) {
		t.Errorf("Load: got error %v, want %v", err, authn.ErrNotFound)
	}
}

package redisstore_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/redisstore"
)

// requestTime is the limit for a request's call to the store.
const requestTime = time.Second

// callEach calls every method, with at most limit for each, and returns their errors.
func callEach(t *testing.T, s *redisstore.Store, r authn.Record, limit time.Duration) map[string]error {
	t.Helper()
	fresh, until := newRecord(10), r.Expires
	calls := map[string]func(ctx context.Context) error{
		"Create": func(ctx context.Context) error { return s.Create(ctx, fresh) },
		"Load":   func(ctx context.Context) error { _, err := s.Load(ctx, r.Key); return err },
		"Save":   func(ctx context.Context) error { return s.Save(ctx, r) },
		"Touch":  func(ctx context.Context) error { return s.Touch(ctx, r.Key, r.LastSeen, until) },
		"End":    func(ctx context.Context) error { return s.End(ctx, newRecord(0).Key, authn.CauseSignedOut, until) },
		"Revoke": func(ctx context.Context) error {
			_, err := s.Revoke(ctx, fresh.ProviderSession, r.SignedIn.Add(-time.Hour), until)
			return err
		},
		"List": func(ctx context.Context) error { _, err := s.List(ctx, r.Owner); return err },
		"Once": func(ctx context.Context) error { _, err := s.Once(ctx, fresh.Key, until); return err },
		"Ping": s.Ping,
	}
	errs := make(map[string]error)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, call := range calls {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			start := time.Now()
			err := call(ctx)
			if took := time.Since(start); took > limit+soon {
				t.Errorf("%s took %v, its context lasted %v", name, took, limit)
			}
			mu.Lock()
			defer mu.Unlock()
			errs[name] = err
		})
	}
	wg.Wait()
	return errs
}

// wantOutage checks that every method fails with an error that is not an answer.
func wantOutage(t *testing.T, s *redisstore.Store, r authn.Record) {
	t.Helper()
	for name, err := range callEach(t, s, r, requestTime) {
		if isAnswer(err) {
			t.Errorf("%s: got error %v, want one that is not an answer", name, err)
		}
	}
}

func isAnswer(err error) bool {
	return err == nil || errors.Is(err, authn.ErrNotFound) || errors.Is(err, authn.ErrConflict) || errors.Is(err, authn.ErrEnded)
}

// wantHealed waits until every method answers again.
func wantHealed(t *testing.T, s *redisstore.Store) {
	t.Helper()
	eventually(t, "the store answers", func() bool { return s.Ping(t.Context()) == nil })
	r := newRecord(10)
	must(t, s.Create(t.Context(), r))
	r.Version = 1
	for name, err := range callEach(t, s, r, soon) {
		if err != nil {
			t.Errorf("%s after the outage: %v", name, err)
		}
	}
}

// TestPausedServer (FM-12) stops the server's process: connections stay open, nothing answers.
func TestPausedServer(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := openImpatient(t, srv.url)
	r := newRecord(10)
	must(t, s.Create(t.Context(), r))
	r.Version = 1
	srv.pause(t)
	wantOutage(t, s, r)
	wantOutage(t, s, r) // also while it tries to connect
	srv.resume(t)
	wantHealed(t, s)
	_, err := s.Load(t.Context(), r.Key)
	must(t, err)
}

// TestACachedSessionOutlivesASilentServerBriefly checks how long a cached session is
// trusted while the server does not answer and may have ended it.
func TestACachedSessionOutlivesASilentServerBriefly(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := openImpatient(t, srv.url)
	r := newRecord(10)
	must(t, s.Create(t.Context(), r))
	_, err := s.Load(t.Context(), r.Key)
	must(t, err)
	srv.pause(t)
	start := time.Now()
	eventually(t, "the cache is empty", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err = s.Load(ctx, r.Key)
		return err != nil
	})
	took := time.Since(start)
	t.Logf("a cached session was trusted for %v", took)
	if took > 10*time.Second {
		t.Error("that is longer than 3 seconds")
	}
	if errors.Is(err, authn.ErrNotFound) {
		t.Errorf("Load: %v", err)
	}
	srv.resume(t)
	wantHealed(t, s)
}

// TestManyCallsWaitForAPausedServer (FM-12) makes more calls than fit into a pipeline. Each
// returns when its own context ends, if the connection is not given up before.
func TestManyCallsWaitForAPausedServer(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := openImpatient(t, srv.url)
	must(t, s.Ping(t.Context()))
	before := runtime.NumGoroutine()
	srv.pause(t)
	var wg sync.WaitGroup
	for range 3000 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			start := time.Now()
			if _, err := s.Load(ctx, newRecord(0).Key); isAnswer(err) {
				t.Errorf("Load: got error %v, want one that is not an answer", err)
			}
			if took := time.Since(start); took > soon {
				t.Errorf("Load took %v", took)
			}
		})
	}
	wg.Wait()
	eventually(t, "no call waits any longer", func() bool { return runtime.NumGoroutine() < before+500 })
	srv.resume(t)
	wantHealed(t, s)
}

// TestClientPause (FM-12) tells the server to delay its answers.
func TestClientPause(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := openImpatient(t, srv.url)
	r := newRecord(10)
	must(t, s.Create(t.Context(), r))
	r.Version = 1
	must(t, srv.do(t, "CLIENT", "PAUSE", "8000", "ALL").Error()) // much longer than requestTime
	wantOutage(t, s, r)
	wantHealed(t, s)
}

// TestServerRestartsEmpty (FM-11) stops the server and starts it again, empty.
func TestServerRestartsEmpty(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, srv.url)
	r := newRecord(10)
	must(t, s.Create(t.Context(), r))
	srv.stop()
	wantOutage(t, s, r)
	srv.start(t)
	wantHealed(t, s)
	wantNotFound(t, s, r.Key) // correct: this server does not persist anything
}

// TestServerDownAtStart (FM-10) opens the store before its server runs.
func TestServerDownAtStart(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	srv.stop()
	var log bytes.Buffer
	s, err := openLogged(t, srv.url, slog.New(slog.NewTextHandler(&log, nil)))
	must(t, err)
	if !strings.Contains(log.String(), "does not answer yet") {
		t.Errorf("the log says %q", &log)
	}
	wantOutage(t, s, newRecord(10))
	srv.start(t)
	wantHealed(t, s)
}

// TestFullReplicaAndFlushedServer (FM-14) calls a server that is full, is a replica, or has
// lost its data. TestRedisComesLater covers errors that last only a moment.
func TestFullReplicaAndFlushedServer(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	s := open(t, srv.url)
	r, ended := newRecord(10), newRecord(10)
	must(t, s.Create(t.Context(), r), s.Create(t.Context(), ended))
	r.Version = 1

	must(t, srv.do(t, "CONFIG", "SET", "maxmemory", "1").Error())
	wantCode(t, "OOM", s.Create(t.Context(), newRecord(10)), s.Ping(t.Context()), s.Save(t.Context(), r))
	_, err := s.Load(t.Context(), r.Key)
	must(t, err, s.End(t.Context(), ended.Key, authn.CauseSignedOut, ended.Expires)) // sign-out still works
	wantNotFound(t, s, ended.Key)
	must(t, srv.do(t, "CONFIG", "SET", "maxmemory", "0").Error())
	wantHealed(t, s)

	must(t, srv.do(t, "REPLICAOF", "127.0.0.1", "1").Error(), srv.do(t, "CONFIG", "SET", "replica-serve-stale-data", "yes").Error())
	wantCode(t, "READONLY", s.Create(t.Context(), newRecord(10)))
	must(t, srv.do(t, "REPLICAOF", "NO", "ONE").Error())
	wantHealed(t, s)

	must(t, srv.do(t, "SET", "latchkey:once:x", "").Error(), srv.do(t, "FLUSHALL").Error())
	eventually(t, "the flushed record is gone", func() bool {
		_, err := s.Load(t.Context(), r.Key)
		return errors.Is(err, authn.ErrNotFound)
	})
}

// TestFollowsAMovedPrimary (FM-13) points the address at another primary, while the
// connection still leads to the old one, which is now a replica.
func TestFollowsAMovedPrimary(t *testing.T) {
	t.Parallel()
	first, second := startServer(t), startServer(t)
	link := filepath.Join(shortDir(t), "s")
	must(t, os.Symlink(filepath.Join(first.dir, "s"), link))
	s := open(t, "unix://"+link)
	must(t, s.Create(t.Context(), newRecord(10)), os.Remove(link), os.Symlink(filepath.Join(second.dir, "s"), link))
	must(t, first.do(t, "REPLICAOF", "127.0.0.1", "1").Error())
	wantCode(t, "READONLY", s.Create(t.Context(), newRecord(10)))
	eventually(t, "a session is created", func() bool { return s.Create(t.Context(), newRecord(10)) == nil })
	if second.size(t) == 0 {
		t.Error("the session is not at the new primary")
	}
}

// TestWarnsOfEviction (FM-14) opens stores on servers with different eviction policies.
func TestWarnsOfEviction(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, policy, memory string
		want                 bool
	}{
		{"a policy that evicts", "allkeys-lru", "100mb", true},
		{"noeviction", "noeviction", "100mb", false},
		{"no limit", "allkeys-lru", "0", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := startServer(t, "--maxmemory-policy", c.policy, "--maxmemory", c.memory)
			var log bytes.Buffer
			_, err := openLogged(t, srv.url, slog.New(slog.NewTextHandler(&log, nil)))
			must(t, err)
			if got := strings.Contains(log.String(), "maxmemory-policy"); got != c.want {
				t.Errorf("the log says %q", &log)
			}
		})
	}
}

func TestAfterCloseEveryMethodFails(t *testing.T) {
	t.Parallel()
	s := open(t, startServer(t).url)
	r := newRecord(10)
	must(t, s.Create(t.Context(), r), s.Close(), s.Close())
	wantOutage(t, s, r)
}

// wantCode checks that each error is a reply from the server with the code, and not an
// answer.
func wantCode(t *testing.T, code string, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err == nil || !strings.Contains(err.Error(), code) || errors.Is(err, authn.ErrNotFound) {
			t.Errorf("got error %v, want one with %s", err, code)
		}
	}
}

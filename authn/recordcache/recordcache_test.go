package recordcache_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/recordcache"
)

// store is a record and how often it was read.
type store struct {
	record authn.Record
	reads  int
	during func() // what happens while it is read
}

func (s *store) read() (authn.Record, error) {
	s.reads++
	found := s.record
	if s.during != nil {
		s.during()
	}
	if found.Version == 0 {
		return authn.Record{}, authn.ErrNotFound
	}
	return found, nil
}

func want(t *testing.T, c *recordcache.Cache, s *store, version uint64, reads int) {
	t.Helper()
	got, err := c.Load(authn.NewKey("session", "a"), s.read)
	if got.Version != version || s.reads != reads || (version == 0) != errors.Is(err, authn.ErrNotFound) {
		t.Errorf("version %d after %d reads (%v), want %d after %d", got.Version, s.reads, err, version, reads)
	}
}

// TestChangesAreSeen changes a record at each moment of a read. The next Load sees the change.
func TestChangesAreSeen(t *testing.T) {
	t.Parallel()
	key := authn.NewKey("session", "a")
	for name, change := range map[string]func(c *recordcache.Cache){
		"dropped": func(c *recordcache.Cache) { c.Drop(authn.NewKey("session", "b"), key) },
		"flushed": (*recordcache.Cache).Flush,
	} {
		t.Run(name+" between reads", func(t *testing.T) {
			t.Parallel()
			c, s := recordcache.New(recordcache.Config{Bytes: 1 << 20}), &store{record: authn.Record{Key: key, Version: 1}}
			want(t, c, s, 1, 1)
			want(t, c, s, 1, 1)
			s.record.Version = 2
			change(c)
			want(t, c, s, 2, 2)
			want(t, c, s, 2, 2)
			s.record.Version = 0
			change(c)
			want(t, c, s, 0, 3)
			s.record.Version = 3 // nothing is kept of a record that was not found
			want(t, c, s, 3, 4)
		})
		t.Run(name+" during a read", func(t *testing.T) {
			t.Parallel()
			c, s := recordcache.New(recordcache.Config{Bytes: 1 << 20}), &store{record: authn.Record{Key: key, Version: 1}}
			s.during = func() {
				s.during = nil
				s.record.Version = 2
				change(c)
				// Another reader that begins now sees the change, and may keep it.
				want(t, c, s, 2, 2)
			}
			want(t, c, s, 1, 2) // it began before the change
			want(t, c, s, 2, 2)
		})
	}
}

// TestOthersMayBeKept drops another record during a read.
func TestOthersMayBeKept(t *testing.T) {
	t.Parallel()
	c, s := recordcache.New(recordcache.Config{Bytes: 1 << 20}), &store{record: authn.Record{Version: 1}}
	s.during = func() { c.Drop(authn.NewKey("session", "b")) }
	want(t, c, s, 1, 1)
	want(t, c, s, 1, 1)
}

// TestLimits checks how long and how much a cache keeps.
func TestLimits(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	const limit = 1 << 20
	c, s := recordcache.New(recordcache.Config{Bytes: limit, For: time.Minute, Now: func() time.Time { return now }}), &store{record: authn.Record{Version: 1}}
	want(t, c, s, 1, 1)
	now = now.Add(time.Minute - 1)
	want(t, c, s, 1, 1)
	now = now.Add(1)
	want(t, c, s, 1, 2)

	for i := range 1_000 {
		large := store{record: authn.Record{Version: 1, Sealed: make([]byte, 10_000)}}
		key := authn.NewKey("session", string(rune('b'+i)))
		if _, err := c.Load(key, large.read); err != nil {
			t.Fatal(err)
		}
		want(t, c, s, 1, 2) // what is used is kept
	}
	if n := c.Sealed(); n > limit || n < limit/4 {
		t.Errorf("the cache holds %d bytes, want at most %d", n, limit)
	}
	for range 2 {
		now = now.Add(time.Minute)
		c.Sweep()
	}
	if n := c.Sealed(); n > 0 {
		t.Errorf("the cache still holds %d bytes of expired records", n)
	}
}

// TestOneSlice loads a record twice: the cache copies no bytes.
func TestOneSlice(t *testing.T) {
	t.Parallel()
	key := authn.NewKey("session", "a")
	c, s := recordcache.New(recordcache.Config{Bytes: 1 << 20}), &store{record: authn.Record{Version: 1, Sealed: []byte("sealed")}}
	for range 2 {
		if got, err := c.Load(key, s.read); err != nil || !bytes.Equal(got.Sealed, s.record.Sealed) || &got.Sealed[0] != &s.record.Sealed[0] {
			t.Errorf("loaded %q (%v)", got.Sealed, err)
		}
	}
}

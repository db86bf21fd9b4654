package authn

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"
)

// MemoryStore is a Store in the memory of this process. Its sessions end with the process.
type MemoryStore struct {
	mu      sync.Mutex
	records map[Key]Record
	// byIndex lists the keys of records by Owner and by ProviderSession.
	byIndex map[Key]map[Key]struct{}
	ended   map[Key]ending // by session key
	revoked map[Key]revocation
	once    map[Key]time.Time // key -> until
}

// ending records that a session has ended.
type ending struct {
	cause Cause
	until time.Time
}

// revocation refuses sign-ins of an owner or a provider session up to a certain time.
type revocation struct {
	notAfter time.Time
	until    time.Time
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{
		records: make(map[Key]Record),
		byIndex: make(map[Key]map[Key]struct{}),
		ended:   make(map[Key]ending),
		revoked: make(map[Key]revocation),
		once:    make(map[Key]time.Time),
	}
}

// Create implements Store.
func (s *MemoryStore) Create(ctx context.Context, r Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.ended[r.Key]; ok {
		return ErrEnded
	}
	for _, index := range r.Indexes() {
		if rev, ok := s.revoked[index]; ok && !SignedInAfter(r.SignedIn, rev.notAfter) {
			return ErrEnded
		}
	}
	if _, ok := s.records[r.Key]; ok {
		return ErrConflict
	}
	r.Version = 1
	s.put(r)
	return nil
}

// Load implements Store.
func (s *MemoryStore) Load(ctx context.Context, key Key) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.records[key]
	if !ok {
		if e, ok := s.ended[key]; ok {
			return Record{}, &EndedError{e.cause}
		}
		return Record{}, ErrNotFound
	}
	return r, nil
}

// Save implements Store.
func (s *MemoryStore) Save(ctx context.Context, r Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.records[r.Key]
	if !ok {
		return ErrNotFound
	}
	if old.Version != r.Version {
		return ErrConflict
	}
	s.drop(r.Key)
	old.Owner, old.ProviderSession, old.Bound = r.Owner, r.ProviderSession, r.Bound
	old.Version++
	old.Sealed = r.Sealed
	s.put(old)
	return nil
}

// Touch implements Store.
func (s *MemoryStore) Touch(ctx context.Context, key Key, lastSeen, expires time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.records[key]
	if !ok {
		return ErrNotFound
	}
	r.LastSeen, r.Expires = lastSeen, expires
	s.records[key] = r
	return nil
}

// End implements Store.
func (s *MemoryStore) End(ctx context.Context, key Key, cause Cause, until time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(key, cause, until)
	return nil
}

// end drops a record and records that the session has ended. The caller holds the lock.
func (s *MemoryStore) end(key Key, cause Cause, until time.Time) {
	s.drop(key)
	e, ok := s.ended[key]
	if !ok {
		e.cause = cause
	}
	if until.After(e.until) {
		e.until = until
	}
	s.ended[key] = e
}

// Revoke implements Store.
func (s *MemoryStore) Revoke(ctx context.Context, index Key, notAfter, until time.Time) ([]Key, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rev := s.revoked[index]
	if notAfter.After(rev.notAfter) {
		rev.notAfter = notAfter
	}
	if until.After(rev.until) {
		rev.until = until
	}
	s.revoked[index] = rev

	var ended []Key
	for key := range s.byIndex[index] {
		if !SignedInAfter(s.records[key].SignedIn, notAfter) {
			ended = append(ended, key)
		}
	}
	for _, key := range ended {
		s.end(key, CauseProvider, until)
	}
	return ended, nil
}

// List implements Store.
func (s *MemoryStore) List(ctx context.Context, index Key) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Record
	for key := range s.byIndex[index] {
		r := s.records[key]
		r.Sealed = nil
		list = append(list, r)
	}
	// A provider counts in whole seconds, so break ties by key to keep the order stable.
	slices.SortFunc(list, func(a, b Record) int {
		return cmp.Or(b.SignedIn.Compare(a.SignedIn), bytes.Compare(a.Key[:], b.Key[:]))
	})
	return list, nil
}

// All implements Store.
func (s *MemoryStore) All(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(Record{}, err)
			return
		}
		s.mu.Lock()
		all := slices.Collect(maps.Values(s.records))
		s.mu.Unlock()
		for _, r := range all {
			r.Sealed = nil
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Count implements Store.
func (s *MemoryStore) Count(ctx context.Context, index Key) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byIndex[index]), nil
}

// Once implements Store.
func (s *MemoryStore) Once(ctx context.Context, key Key, until time.Time) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, used := s.once[key]; used {
		return false, nil
	}
	s.once[key] = until
	return true, nil
}

// Sweep implements Store.
func (s *MemoryStore) Sweep(ctx context.Context, now time.Time) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	swept := 0
	for key, r := range s.records {
		if !r.Expires.After(now) {
			s.drop(key)
			swept++
		}
	}
	maps.DeleteFunc(s.ended, func(_ Key, e ending) bool { return !e.until.After(now) })
	maps.DeleteFunc(s.once, func(_ Key, until time.Time) bool { return !until.After(now) })
	maps.DeleteFunc(s.revoked, func(_ Key, r revocation) bool { return !r.until.After(now) })
	return swept, nil
}

// Ping implements Store.
func (s *MemoryStore) Ping(ctx context.Context) error { return ctx.Err() }

// Close implements Store.
func (s *MemoryStore) Close() error { return nil }

// put stores a record and its index entries. The caller holds the lock.
func (s *MemoryStore) put(r Record) {
	s.records[r.Key] = r
	for _, index := range r.Indexes() {
		if s.byIndex[index] == nil {
			s.byIndex[index] = make(map[Key]struct{})
		}
		s.byIndex[index][r.Key] = struct{}{}
	}
}

// drop removes a record and its index entries. The caller holds the lock.
func (s *MemoryStore) drop(key Key) {
	r, ok := s.records[key]
	if !ok {
		return
	}
	delete(s.records, key)
	for _, index := range r.Indexes() {
		delete(s.byIndex[index], key)
		if len(s.byIndex[index]) == 0 {
			delete(s.byIndex, index)
		}
	}
}

package boltstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"latchkey/authn"
)

const (
	// lateDelay is how long late writes wait to be written together.
	lateDelay = time.Second
	// lateBatch is how many of them one transaction writes, so that others do not wait for long.
	lateBatch = 500
	// lateMost is how many may wait. A disk that refuses them, or stands still, must not fill the memory.
	lateMost = 20_000
)

// errBehind is the error of a write for which there is no room.
var errBehind = fmt.Errorf("boltstore: %d writes are waiting for the file", lateMost)

// late holds writes that nobody waits for, and writes them to the file together, a second later. Reads
// look here, too. A process that is killed loses them.
type late[V comparable] struct {
	store *Store
	put   func(tx *bbolt.Tx, key authn.Key, value V) error

	// flushing is held while values are written, so that none overwrites a newer one. It is taken before mu.
	flushing sync.Mutex

	mu      sync.Mutex
	pending map[authn.Key]V
	// timer writes what is pending; nil if nothing is.
	timer *time.Timer
	// failed is the error of the last attempt to write, until add has returned it.
	failed error
}

func newLate[V comparable](s *Store, put func(*bbolt.Tx, authn.Key, V) error) *late[V] {
	return &late[V]{store: s, put: put, pending: make(map[authn.Key]V)}
}

// of returns a value that is not in the file yet.
func (l *late[V]) of(key authn.Key) (V, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	value, ok := l.pending[key]
	return value, ok
}

// add makes a value pending. If the last attempt to write failed, it returns that error. The caller
// holds the lock.
func (l *late[V]) add(key authn.Key, value V) error {
	if l.timer == nil {
		l.timer = time.AfterFunc(lateDelay, func() { _ = l.flush() }) // the next add returns the error
	}
	if len(l.pending) >= lateMost {
		return errors.Join(errBehind, l.failed)
	}
	l.pending[key] = value
	err := l.failed
	l.failed = nil
	return err
}

// flush writes what is pending. What it cannot write stays pending.
func (l *late[V]) flush() error {
	l.flushing.Lock()
	defer l.flushing.Unlock()
	l.mu.Lock()
	l.timer = nil
	due := maps.Clone(l.pending)
	l.mu.Unlock()
	for keys := range slices.Chunk(slices.Collect(maps.Keys(due)), lateBatch) {
		err := l.store.batch(context.Background(), func(tx *bbolt.Tx) error {
			for _, key := range keys {
				if err := l.put(tx, key, due[key]); err != nil {
					return err
				}
			}
			return nil
		})
		l.written(keys, due, err)
		if err != nil {
			return err
		}
	}
	return nil
}

// written drops what is in the file now, unless another value has followed.
func (l *late[V]) written(keys []authn.Key, due map[authn.Key]V, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed = err; err != nil {
		return
	}
	for _, key := range keys {
		if l.pending[key] == due[key] {
			delete(l.pending, key)
		}
	}
}

// touch is what Touch sets.
type touch struct{ lastSeen, expires time.Time }

// Touch implements authn.Store. It is durable a second later, because people's clicks must not wait
// for the disk: after a kill, the session counts as unused for that much longer.
func (s *Store) Touch(ctx context.Context, key authn.Key, lastSeen, expires time.Time) error {
	err := s.read(ctx, func(tx *bbolt.Tx) error {
		if _, ok := decodeRecord(key, get(tx, records, key)); !ok {
			return authn.ErrNotFound
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.touches.mu.Lock()
	defer s.touches.mu.Unlock()
	return s.touches.add(key, touch{lastSeen, expires})
}

func (s *Store) putTouch(tx *bbolt.Tx, key authn.Key, at touch) error {
	r, ok := decodeRecord(key, get(tx, records, key))
	if !ok {
		return nil // it has ended
	}
	r.LastSeen, r.Expires = at.lastSeen, at.expires
	return s.putRecord(tx, key, encodeRecord(r))
}

// Once implements authn.Store. It is durable a second later, so that a sign-in waits for the disk
// once, when its session is created. Once reads the file while it holds the lock of the used keys, so
// nobody may take that lock in a transaction.
func (s *Store) Once(ctx context.Context, key authn.Key, until time.Time) (first bool, err error) {
	s.used.mu.Lock()
	defer s.used.mu.Unlock()
	err = s.read(ctx, func(tx *bbolt.Tx) error {
		_, pending := s.used.pending[key]
		first = !pending && get(tx, once, key) == nil
		return nil
	})
	if err == nil && first {
		err = s.used.add(key, until)
	}
	return first && err == nil, err
}

func putUsed(tx *bbolt.Tx, key authn.Key, until time.Time) error {
	return putTombstone(tx, once, key, tombstone{until: until})
}

package boltstore

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"latchkey/authn"
)

const (
	// touchDelay is how long touches wait to be written together. A process that is killed loses
	// them, and the sessions count as unused for that much longer.
	touchDelay = time.Second
	// touchBatch is how many touches one transaction writes, so that others do not wait for long.
	touchBatch = 500
)

// touches holds the times that Touch has set and that are not in the file yet. Reads look here,
// too.
type touches struct {
	mu      sync.Mutex
	pending map[authn.Key]touch
	// timer writes the pending touches; nil if there are none.
	timer *time.Timer
	// failed is the error of the last attempt to write them, until a Touch has returned it.
	failed error
}

type touch struct{ lastSeen, expires time.Time }

// Touch implements authn.Store. It is durable a second later: people's clicks must not wait for
// the disk. If the touches of before could not be written, it returns that error.
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
	t := &s.touches
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending[key] = touch{lastSeen, expires}
	if t.timer == nil {
		t.timer = time.AfterFunc(touchDelay, func() { _ = s.writeTouches() }) // the next Touch returns the error
	}
	err, t.failed = t.failed, nil
	return err
}

// of returns the touch of a session that is not in the file yet.
func (t *touches) of(key authn.Key) (touch, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.pending[key]
	return at, ok
}

// writeTouches writes the pending touches. Those that it cannot write stay pending.
func (s *Store) writeTouches() error {
	t := &s.touches
	t.mu.Lock()
	t.timer = nil
	due := maps.Clone(t.pending)
	t.mu.Unlock()
	for keys := range slices.Chunk(slices.Collect(maps.Keys(due)), touchBatch) {
		err := s.batch(context.Background(), func(tx *bbolt.Tx) error { return writeTimes(tx, keys, due) })
		t.written(keys, due, err)
		if err != nil {
			return err
		}
	}
	return nil
}

func writeTimes(tx *bbolt.Tx, keys []authn.Key, at map[authn.Key]touch) error {
	for _, key := range keys {
		r, ok := decodeRecord(key, get(tx, records, key))
		if !ok {
			continue // it has ended
		}
		r.LastSeen, r.Expires = at[key].lastSeen, at[key].expires
		if err := put(tx, records, key, encodeRecord(r)); err != nil {
			return err
		}
	}
	return nil
}

// written drops touches that are in the file now, unless they have been followed by others.
func (t *touches) written(keys []authn.Key, due map[authn.Key]touch, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed = err; err != nil {
		return
	}
	for _, key := range keys {
		if t.pending[key] == due[key] {
			delete(t.pending, key)
		}
	}
}

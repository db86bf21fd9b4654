package boltstore

import (
	"bytes"
	"context"
	"iter"
	"slices"

	"go.etcd.io/bbolt"

	"latchkey/authn"
)

// allStep is how many records All reads in one transaction.
const allStep = 1000

// Create implements authn.Store.
func (s *Store) Create(ctx context.Context, r authn.Record) error {
	r.Version = 1
	value := encodeRecord(r)
	return s.add(ctx, func(tx *bbolt.Tx) error {
		if get(tx, ended, r.Key) != nil {
			return authn.ErrEnded
		}
		for _, index := range r.Indexes() {
			mark, ok := decodeTombstone(get(tx, revoked, index))
			if ok && !authn.SignedInAfter(r.SignedIn, mark.notAfter) {
				return authn.ErrEnded
			}
		}
		if get(tx, records, r.Key) != nil {
			return authn.ErrConflict
		}
		if err := reindex(tx, r.Key, nil, r.Indexes()); err != nil {
			return err
		}
		return s.putRecord(tx, r.Key, value)
	})
}

// Load implements authn.Store.
func (s *Store) Load(ctx context.Context, key authn.Key) (authn.Record, error) {
	if err := ctx.Err(); err != nil {
		return authn.Record{}, err
	}
	if broken := s.broken.Load(); broken != nil {
		return authn.Record{}, broken
	}
	at, touched := s.touches.of(key) // first: once it is in the file, it is not here
	found, err := s.loaded.Load(key, func() (authn.Record, error) { return s.load(ctx, key) })
	if touched {
		found.LastSeen, found.Expires = at.lastSeen, at.expires
	}
	return found, err
}

// load reads a record from the file.
func (s *Store) load(ctx context.Context, key authn.Key) (found authn.Record, err error) {
	err = s.read(ctx, func(tx *bbolt.Tx) error {
		r, ok := decodeRecord(key, get(tx, records, key))
		if !ok {
			if mark, ok := decodeTombstone(get(tx, ended, key)); ok {
				return &authn.EndedError{Cause: mark.cause}
			}
			return authn.ErrNotFound
		}
		r.Sealed = bytes.Clone(r.Sealed)
		found = r
		return nil
	})
	return found, err
}

// Save implements authn.Store.
func (s *Store) Save(ctx context.Context, r authn.Record) error {
	return s.add(ctx, func(tx *bbolt.Tx) error {
		stored, ok := decodeRecord(r.Key, get(tx, records, r.Key))
		if !ok {
			return authn.ErrNotFound
		}
		if stored.Version != r.Version {
			return authn.ErrConflict
		}
		if old := stored.Indexes(); !slices.Equal(old, r.Indexes()) {
			stored.Owner, stored.ProviderSession = r.Owner, r.ProviderSession
			if err := reindex(tx, r.Key, old, stored.Indexes()); err != nil {
				return err
			}
		}
		stored.Bound = r.Bound
		stored.Version++
		stored.Sealed = r.Sealed
		return s.putRecord(tx, r.Key, encodeRecord(stored))
	})
}

// List implements authn.Store.
func (s *Store) List(ctx context.Context, index authn.Key) ([]authn.Record, error) {
	var list []authn.Record
	err := s.read(ctx, func(tx *bbolt.Tx) error {
		for _, key := range indexed(tx, index) {
			if r, ok := s.head(key, get(tx, records, key)); ok {
				list = append(list, r)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b authn.Record) int { return b.SignedIn.Compare(a.SignedIn) })
	return list, nil
}

// head decodes a record without its sealed part.
func (s *Store) head(key authn.Key, value []byte) (authn.Record, bool) {
	r, ok := decodeRecord(key, value)
	r.Sealed = nil
	if at, touched := s.touches.of(key); touched {
		r.LastSeen, r.Expires = at.lastSeen, at.expires
	}
	return r, ok
}

// All implements authn.Store. It does not return records that it cannot read.
func (s *Store) All(ctx context.Context) iter.Seq2[authn.Record, error] {
	return func(yield func(authn.Record, error) bool) {
		var from []byte
		for {
			list, next, err := s.heads(ctx, from)
			if err != nil {
				yield(authn.Record{}, err)
				return
			}
			for _, r := range list {
				if !yield(r, nil) {
					return
				}
			}
			if next == nil {
				return
			}
			from = next
		}
	}
}

// heads returns the records of one step of All, and where the next step starts, which is nil after
// the last step.
func (s *Store) heads(ctx context.Context, from []byte) (list []authn.Record, next []byte, err error) {
	err = s.read(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(records)).Cursor()
		seen := 0
		for k, value := c.Seek(from); k != nil; k, value = c.Next() {
			if seen++; seen > allStep {
				next = bytes.Clone(k)
				return nil
			}
			if r, ok := s.head(authn.Key(k), value); ok {
				list = append(list, r)
			}
		}
		return nil
	})
	return list, next, err
}

// Count implements authn.Store.
func (s *Store) Count(ctx context.Context, index authn.Key) (n int, err error) {
	err = s.read(ctx, func(tx *bbolt.Tx) error {
		n = len(indexed(tx, index))
		return nil
	})
	return n, err
}

func get(tx *bbolt.Tx, bucket string, key authn.Key) []byte {
	return tx.Bucket([]byte(bucket)).Get(key[:])
}

// putRecord stores a record. commitAll drops its key from the loaded records.
func (s *Store) putRecord(tx *bbolt.Tx, key authn.Key, value []byte) error {
	s.writes.changed = append(s.writes.changed, key)
	return put(tx, records, key, value)
}

func put(tx *bbolt.Tx, bucket string, key authn.Key, value []byte) error {
	return tx.Bucket([]byte(bucket)).Put(key[:], value)
}

// indexed returns the keys of the records under index.
func indexed(tx *bbolt.Tx, index authn.Key) []authn.Key {
	var keys []authn.Key
	c := tx.Bucket([]byte(byIndex)).Cursor()
	for entry, _ := c.Seek(index[:]); bytes.HasPrefix(entry, index[:]); entry, _ = c.Next() {
		var key authn.Key
		copy(key[:], entry[len(index):])
		keys = append(keys, key)
	}
	return keys
}

// reindex moves a record from old indexes to new ones.
func reindex(tx *bbolt.Tx, key authn.Key, from, to []authn.Key) error {
	for _, index := range from {
		if err := tx.Bucket([]byte(byIndex)).Delete(indexEntry(index, key)); err != nil {
			return err
		}
	}
	for _, index := range to {
		if err := tx.Bucket([]byte(byIndex)).Put(indexEntry(index, key), nil); err != nil {
			return err
		}
	}
	return nil
}

func indexEntry(index, key authn.Key) []byte {
	return append(index[:], key[:]...)
}

package boltstore

import (
	"bytes"
	"context"
	"slices"

	"go.etcd.io/bbolt"

	"latchkey/authn"
)

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
		return put(tx, records, r.Key, value)
	})
}

// Load implements authn.Store.
func (s *Store) Load(ctx context.Context, key authn.Key) (authn.Record, error) {
	var found authn.Record
	at, touched := s.touches.of(key) // first: once it is in the file, it is not here
	err := s.read(ctx, func(tx *bbolt.Tx) error {
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
	if touched {
		found.LastSeen, found.Expires = at.lastSeen, at.expires
	}
	return found, err
}

// Save implements authn.Store.
func (s *Store) Save(ctx context.Context, r authn.Record) error {
	r.Sealed = bytes.Clone(r.Sealed)
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
		stored.Version++
		stored.Sealed = r.Sealed
		return put(tx, records, r.Key, encodeRecord(stored))
	})
}

// List implements authn.Store.
func (s *Store) List(ctx context.Context, index authn.Key) ([]authn.Record, error) {
	var list []authn.Record
	err := s.read(ctx, func(tx *bbolt.Tx) error {
		for _, key := range indexed(tx, index) {
			if r, ok := decodeRecord(key, get(tx, records, key)); ok {
				r.Sealed = nil
				if at, ok := s.touches.of(key); ok {
					r.LastSeen, r.Expires = at.lastSeen, at.expires
				}
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

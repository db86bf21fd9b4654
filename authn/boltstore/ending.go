package boltstore

import (
	"context"
	"time"

	"go.etcd.io/bbolt"

	"latchkey/authn"
)

// End implements authn.Store.
func (s *Store) End(ctx context.Context, key authn.Key, cause authn.Cause, until time.Time) error {
	return s.write(ctx, func(tx *bbolt.Tx) error { return s.end(tx, key, cause, until) })
}

// Revoke implements authn.Store. It also ends records that it cannot read, because their
// time of sign-in is unknown and a newer program might be able to read them.
func (s *Store) Revoke(ctx context.Context, index authn.Key, notAfter, until time.Time) ([]authn.Key, error) {
	var keys []authn.Key
	err := s.write(ctx, func(tx *bbolt.Tx) error {
		keys = nil
		err := putTombstone(tx, revoked, index, tombstone{until: until, notAfter: notAfter})
		if err != nil {
			return err
		}
		for _, key := range indexed(tx, index) {
			value := get(tx, records, key)
			if r, ok := decodeRecord(key, value); ok && authn.SignedInAfter(r.SignedIn, notAfter) {
				continue
			}
			if value != nil {
				keys = append(keys, key)
			}
			if err := s.end(tx, key, authn.CauseProvider, until); err != nil {
				return err
			}
			if err := tx.Bucket([]byte(byIndex)).Delete(indexEntry(index, key)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return keys, nil
}

func (s *Store) end(tx *bbolt.Tx, key authn.Key, cause authn.Cause, until time.Time) error {
	if err := s.drop(tx, key); err != nil {
		return err
	}
	return putTombstone(tx, ended, key, tombstone{until: until, cause: cause})
}

// putTombstone stores a tombstone. If there already is one, it keeps the later times and the first
// cause, so that a second call never weakens the first.
func putTombstone(tx *bbolt.Tx, bucket string, key authn.Key, r tombstone) error {
	if stored, ok := decodeTombstone(get(tx, bucket, key)); ok {
		r.until = later(r.until, stored.until)
		r.notAfter = later(r.notAfter, stored.notAfter)
		r.cause = stored.cause
	}
	return put(tx, bucket, key, encodeTombstone(r))
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// drop removes a record and its index entries. If the record cannot be read, its entries
// are unknown: they lead nowhere, and the next Revoke removes them.
func (s *Store) drop(tx *bbolt.Tx, key authn.Key) error {
	s.writes.changed = append(s.writes.changed, key)
	if r, ok := decodeRecord(key, get(tx, records, key)); ok {
		if err := reindex(tx, key, r.Indexes(), nil); err != nil {
			return err
		}
	}
	return tx.Bucket([]byte(records)).Delete(key[:])
}

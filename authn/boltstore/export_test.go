package boltstore

import (
	"time"

	"go.etcd.io/bbolt"

	"latchkey/authn"
)

// LateMost is how many late writes may wait.
const LateMost = lateMost

// OpenWithin is Open with another wait.
func OpenWithin(path string, wait time.Duration) (*Store, error) { return open(path, wait) }

// CloseFile closes the file below the store, as if the disk was gone.
func (s *Store) CloseFile() error {
	s.loaded.Flush()
	return s.db.Close()
}

// Flush writes the touches that wait.
func (s *Store) Flush() error { return s.touches.flush() }

// Edit changes the stored bytes of a record directly.
func (s *Store) Edit(key authn.Key, edit func(value []byte) []byte) error {
	defer s.loaded.Flush()
	return s.db.Update(func(tx *bbolt.Tx) error {
		return put(tx, records, key, edit(append([]byte(nil), get(tx, records, key)...)))
	})
}

// EncodeRecord returns the stored form of a record.
func EncodeRecord(r authn.Record) []byte { return encodeRecord(r) }

// Sum appends the checksum of b to b.
func Sum(b []byte) []byte { return (&encoder{buf: b}).sum() }

// WhileLocked runs fn while another writer holds the file's lock.
func (s *Store) WhileLocked(fn func() error) error {
	return s.db.Update(func(*bbolt.Tx) error { return fn() })
}

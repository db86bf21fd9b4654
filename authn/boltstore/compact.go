package boltstore

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// A file that is this large, and so many times as large as what it holds, is written
	// anew: bbolt keeps a file as large as it ever was.
	compactBytes = 8 << 20
	compactRatio = 4
	// compactBatch is how much is copied in one transaction.
	compactBatch = 1 << 20
)

// compact gives the disk back what dropped records have left in the file, whose live
// entries take so many bytes. Everybody waits meanwhile, for as long as it takes to copy
// the little that is left. Where it fails, the file stays as it is.
func (s *Store) compact(live int64) error {
	if runtime.GOOS == "windows" {
		return nil // an open file cannot be replaced there
	}
	file, err := os.Stat(s.path)
	if err != nil || file.Size() < compactBytes || file.Size() < compactRatio*live {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	small, err := s.copyOf(s.path + ".compact")
	if err != nil {
		return fmt.Errorf("boltstore: compacting %s: %w", s.path, err)
	}
	if err := os.Rename(small.Path(), s.path); err != nil {
		return errors.Join(fmt.Errorf("boltstore: compacting %s: %w", s.path, err), small.Close(), os.Remove(small.Path()))
	}
	large := s.db
	s.db = small
	s.file, err = os.Stat(s.path)
	return errors.Join(err, syncDirectory(s.path), large.Close())
}

// copyOf copies what the file holds into a new one, which it returns open and locked: no
// other process can come between when it takes the other's name.
func (s *Store) copyOf(path string) (*bbolt.DB, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err // of a process that was killed at it
	}
	db, err := bbolt.Open(path, 0o600, options(time.Second))
	if err != nil {
		return nil, err
	}
	db.MaxBatchDelay = batchDelay
	if err := bbolt.Compact(db, s.db, compactBatch); err != nil {
		return nil, errors.Join(err, db.Close(), os.Remove(path))
	}
	return db, nil
}

// options are those of every file. Whoever waits for one may find, when it is free, that
// another has taken its name: see open.
func options(wait time.Duration) *bbolt.Options {
	return &bbolt.Options{Timeout: wait, FreelistType: bbolt.FreelistMapType}
}

package boltstore

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// compact rewrites a file that is at least this large and this many times as large as
	// its content, because bbolt never shrinks a file.
	compactBytes = 8 << 20
	compactRatio = 4
	// compactBatch is how many bytes one transaction copies.
	compactBatch = 1 << 20
)

// compact returns the space of dropped records to the disk. The parameter live is the size
// of the live entries in bytes. All other calls wait while compact copies these few
// entries. If it fails, the file stays as it is.
func (s *Store) compact(live int64) error {
	if runtime.GOOS == "windows" {
		return nil // Windows cannot replace an open file
	}
	file, err := os.Stat(s.path)
	if err != nil || file.Size() < compactBytes || file.Size() < compactRatio*live {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkLength(); err != nil {
		return err
	}
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
	s.length.Store(0) // unknown until checkLength reads it
	return errors.Join(err, syncDirectory(s.path), large.Close())
}

// copyOf copies the content of the file into a new one and returns that open and locked, so
// that no other process can take it before it is renamed.
func (s *Store) copyOf(path string) (*bbolt.DB, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err // left by a process that was killed during a copy
	}
	db, err := bbolt.Open(path, 0o600, options(time.Second))
	if err != nil {
		return nil, err
	}
	if err := s.copyInto(db); err != nil {
		return nil, errors.Join(err, db.Close(), os.Remove(path))
	}
	return db, nil
}

func (s *Store) copyInto(db *bbolt.DB) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer s.recoverDamage(&err)
	return bbolt.Compact(db, s.db, compactBatch)
}

// options returns the options for opening a file. A process that waited for the lock may
// find that another file has taken the name: see openFile.
func options(wait time.Duration) *bbolt.Options {
	return &bbolt.Options{Timeout: wait, FreelistType: bbolt.FreelistMapType}
}

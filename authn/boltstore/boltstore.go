// Package boltstore keeps sessions in one file, in bbolt's format, so that they outlive the
// process. Only one process can hold the file. An app on several nodes needs another store.
//
// Every write is on disk when its method returns, except those of Touch and Once, which are a second
// later. Concurrent writes share a transaction, and so one wait for the disk. The records that were loaded
// last stay in memory until a write changes them.
package boltstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"latchkey/authn"
	"latchkey/authn/recordcache"
)

const (
	// lockWait is how long Open waits for the previous process, which finishes its requests
	// while the new one starts.
	lockWait = 5 * time.Second
	// reserve is how many pages of the file are free when a session begins. Without free
	// pages, people could not sign out on a full disk: to drop an entry, bbolt writes its
	// page elsewhere. A page with records of tens of kilobytes needs many consecutive
	// pages, which a full file may not have. Such a sign-out fails with an error.
	reserve = 256
	// loadedBytes bounds the records in memory.
	loadedBytes = 4 << 20
	// ballast is the bucket that occupies the pages for a moment.
	ballast = "ballast"
)

// The buckets of the file.
const (
	records = "records" // session key -> record
	byIndex = "index"   // owner or provider session, then session key -> nothing
	ended   = "ended"   // session key -> tombstone
	revoked = "revoked" // owner or provider session -> tombstone
	once    = "once"    // key -> tombstone
)

// Store is an authn.Store in one file.
type Store struct {
	path string
	// mu keeps others away from db while compact replaces it.
	mu        sync.RWMutex
	db        *bbolt.DB
	file      os.FileInfo  // describes db's file
	length    atomic.Int64 // of the file, as its header says
	broken    atomic.Pointer[Error]
	writes    writes
	providing sync.Mutex // held while the reserve is provided
	touches   *late[touch]
	used      *late[time.Time] // the keys of Once
	// loaded holds the records that were loaded last. No other process changes them, and commitAll drops
	// what this one changes.
	loaded *recordcache.Cache
}

var _ authn.Store = (*Store)(nil)

// Open opens the file at path. It creates the file and its directory if they are missing,
// accessible to this user alone. It refuses a path that others could change, or that leads
// elsewhere. If another process holds the file, Open waits about 5 seconds for it. Each
// error names the path and the remedy.
func Open(path string) (*Store, error) { return open(path, lockWait) }

func open(path string, wait time.Duration) (s *Store, err error) {
	path, err = prepare(path)
	if err != nil {
		return nil, err
	}
	// Reading beyond the end of a truncated file faults. Make that a panic, which
	// recoverDamage handles.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recoverDamage(path, &err)

	db, err := openFile(path, wait)
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, fmt.Errorf("boltstore: %s: %w, after waiting %v: stop that process, or give each process a file of its own, or a store that they can share: %w", path, ErrHeld, wait, err)
	case errors.As(err, new(syscall.Errno)):
		return nil, fmt.Errorf("boltstore: opening %s: %w", path, err)
	case err != nil: // not a system error, so the file is at fault
		return nil, damaged(path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("boltstore: looking at %s: %w", path, err), db.Close())
	}
	store := &Store{db: db, path: path, file: info, loaded: recordcache.New(recordcache.Config{Bytes: loadedBytes})}
	store.touches, store.used = newLate(store, store.putTouch), newLate(store, putUsed)
	err = store.checkLength()
	if err == nil {
		err = setUp(db, path)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return store, nil
}

// openFile opens the file and waits for its lock. The process that held the lock may have
// replaced the file in the meantime (see compact). Then openFile drops the old file, which
// no longer has a name, and opens the new one.
func openFile(path string, wait time.Duration) (*bbolt.DB, error) {
	for {
		before, err := os.Stat(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		db, err := bbolt.Open(path, 0o600, options(wait))
		if err != nil || before == nil {
			return db, err
		}
		now, err := os.Stat(path)
		if err == nil && os.SameFile(before, now) {
			return db, nil
		}
		if err := db.Close(); err != nil {
			return nil, err
		}
	}
}

// checkLength returns an error if the file is shorter than its header says, and makes every later
// call return it. bbolt does not notice, and would end the process at a read beyond the file's end,
// or grow the file again around the hole. It checks the last known length first, because bbolt
// keeps its locks if it cannot read the header.
func (s *Store) checkLength() error {
	if err := s.atLeast(s.length.Load()); err != nil {
		return err
	}
	err := s.transact((*bbolt.DB).View, func(tx *bbolt.Tx) error {
		s.length.Store(tx.Size())
		return nil
	})
	if err != nil {
		return s.failure("reading", err)
	}
	return s.atLeast(s.length.Load())
}

func (s *Store) atLeast(length int64) error {
	info, err := os.Stat(s.path)
	if err != nil || !os.SameFile(s.file, info) || info.Size() >= length {
		return nil // of a file that was deleted or replaced, nobody can tell; see inPlace
	}
	broken := damaged(s.path, fmt.Errorf("%d of its %d bytes are there", info.Size(), length))
	s.broken.Store(broken)
	return broken
}

// buckets are the names of all buckets.
func buckets() []string { return []string{records, byIndex, ended, revoked, once} }

// setUp creates the buckets that are missing and makes the file's name durable. A start with an existing
// file does not wait for the disk to write.
func setUp(db *bbolt.DB, path string) error {
	complete := false
	err := db.View(func(tx *bbolt.Tx) error {
		complete = !slices.ContainsFunc(buckets(), func(name string) bool { return tx.Bucket([]byte(name)) == nil })
		return nil
	})
	if err == nil && !complete {
		err = db.Update(func(tx *bbolt.Tx) error {
			for _, name := range buckets() {
				if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err == nil {
		err = syncDirectory(path)
	}
	if err != nil {
		return fmt.Errorf("boltstore: setting up %s: %w", path, err)
	}
	return nil
}

// Ping implements authn.Store. It writes a transaction without changes, and checks that the
// file is still in place.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.inPlace(); err != nil {
		return err
	}
	return s.write(ctx, func(*bbolt.Tx) error { return nil })
}

// inPlace returns an error if the file was deleted or replaced. The store keeps working on
// the open file, but everything in it is lost when the program ends.
func (s *Store) inPlace() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if now, err := os.Stat(s.path); err != nil || !os.SameFile(s.file, now) {
		return &Error{Problem: s.path + " was deleted or replaced while it was in use", Remedy: "restart the program; everyone must sign in again"}
	}
	return nil
}

// Close implements authn.Store. It waits for transactions in progress.
func (s *Store) Close() error {
	unwritten := errors.Join(s.touches.flush(), s.used.flush())
	if broken := s.broken.Load(); broken != nil {
		return broken // bbolt may wait for its own locks; see transact
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.loaded.Flush()
	if err := errors.Join(unwritten, s.db.Close()); err != nil {
		return fmt.Errorf("boltstore: closing %s: %w", s.path, err)
	}
	return nil
}

// read runs fn in a transaction that sees one state of the file. Bytes from the transaction
// are invalid after fn returns, so fn copies what it keeps.
func (s *Store) read(ctx context.Context, fn func(tx *bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.failure("reading", s.transact((*bbolt.DB).View, fn))
}

// write runs fn in a transaction that it may share with other writers, and returns when the
// transaction is on disk. fn can run several times, each time in a clean transaction, so it
// must reset its results at the start. If ctx ends, write returns while fn may still run:
// fn must not use data that belongs to the caller, and the caller must not read fn's
// results.
//
// fn may return ErrNotFound, ErrConflict or ErrEnded, but only before it writes: these
// errors do not roll back the transaction, which others share.
func (s *Store) write(ctx context.Context, fn func(tx *bbolt.Tx) error) error {
	return within(ctx, func() error { return s.batch(ctx, fn) })
}

// add is write for operations that make the file grow.
func (s *Store) add(ctx context.Context, fn func(tx *bbolt.Tx) error) error {
	return within(ctx, func() error {
		if err := s.provide(); err != nil {
			return err
		}
		return s.batch(ctx, fn)
	})
}

// provide makes sure that the reserve exists. It writes the pages once, so that the file
// has them and the disk has space for them. If they are missing, one caller provides them
// for all.
func (s *Store) provide() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if stats := s.db.Stats(); stats.FreePageN+stats.PendingPageN >= reserve || !s.providing.TryLock() {
		return nil
	}
	defer s.providing.Unlock()
	s.writes.committing.Lock()
	defer s.writes.committing.Unlock()
	if err := s.checkLength(); err != nil {
		return err
	}
	err := s.transact((*bbolt.DB).Update, func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte(ballast))
		if err != nil {
			return err
		}
		return bucket.Put([]byte(ballast), make([]byte, reserve*s.db.Info().PageSize))
	})
	if err == nil {
		err = s.transact((*bbolt.DB).Update, func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(ballast)) })
	}
	return s.failure("writing", err)
}

// within runs fn and waits for it until ctx ends.
func within(ctx context.Context, fn func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- fn() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func isAnswer(err error) bool {
	return errors.Is(err, authn.ErrNotFound) || errors.Is(err, authn.ErrConflict) || errors.Is(err, authn.ErrEnded)
}

// failure adds the file's path to an error, but leaves an *Error, ErrNotFound, ErrConflict
// and ErrEnded unchanged.
func (s *Store) failure(doing string, err error) error {
	if err == nil || isAnswer(err) || errors.As(err, new(*Error)) {
		return err
	}
	return fmt.Errorf("boltstore: %s %s: %w", doing, s.path, err)
}

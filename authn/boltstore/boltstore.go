// Package boltstore keeps sessions in one file, in bbolt's format, so that they
// outlive the process. One process holds the file at a time: an app on many nodes
// uses another store.
//
// Every write is on the disk when its method returns. Writes that come together
// share one transaction, and with it one wait for the disk.
package boltstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"latchkey/authn"
)

const (
	// lockWait is how long Open waits for the process before it, which is ending
	// its requests while the new one starts.
	lockWait = 5 * time.Second
	// batchDelay is how long a write waits for others to share its transaction:
	// about what the disk takes for one.
	batchDelay = 500 * time.Microsecond
)

// The buckets of the file.
const (
	records = "records" // session key -> record
	byIndex = "index"   // owner or provider session, then session key -> nothing
	ended   = "ended"   // session key -> reminder
	revoked = "revoked" // owner or provider session -> reminder
	once    = "once"    // key -> reminder
)

// Store is an authn.Store in one file.
type Store struct {
	path string
	// mu lets nobody at db while compact replaces it.
	mu        sync.RWMutex
	db        *bbolt.DB
	file      os.FileInfo // that of db
	providing sync.Mutex  // held by who sees to the reserve
}

var _ authn.Store = (*Store)(nil)

// Open opens the file at path, and makes it and its directory where they are
// missing, for this user alone. It refuses a path that others could change or that
// leads elsewhere. Where another process holds the file, it waits about 5 seconds
// for it. Each error names the path and what to do.
func Open(path string) (*Store, error) { return open(path, lockWait) }

func open(path string, wait time.Duration) (s *Store, err error) {
	path, err = prepare(path)
	if err != nil {
		return nil, err
	}
	// A file that was cut short faults when its missing end is read.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recoverDamage(path, &err)

	db, err := openFile(path, wait)
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, fmt.Errorf("boltstore: %w %s, and still did after %v: stop it, or give each process a file of its own, or a store that they can share: %w", ErrHeld, path, wait, err)
	case errors.As(err, new(syscall.Errno)):
		return nil, fmt.Errorf("boltstore: opening %s: %w", path, err)
	case err != nil: // not the system's error, so the file's
		return nil, damaged(path, err)
	}
	db.MaxBatchDelay = batchDelay
	info, err := os.Stat(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("boltstore: looking at %s: %w", path, err), db.Close())
	}
	err = checkLength(db, info, path)
	if err == nil {
		err = setUp(db, path)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Store{db: db, path: path, file: info}, nil
}

// openFile opens the file and waits for its lock. The process that held it may have
// replaced it meanwhile (see compact): then the one that was waited for is nobody's any
// more, and the new one is the one to open.
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

// checkLength refuses a file that is shorter than it says: bbolt opens one, and the
// process would die at the first read beyond its end.
func checkLength(db *bbolt.DB, info os.FileInfo, path string) error {
	return db.View(func(tx *bbolt.Tx) error {
		if info.Size() < tx.Size() {
			return damaged(path, fmt.Errorf("%d of its %d bytes are there", info.Size(), tx.Size()))
		}
		return nil
	})
}

// setUp makes the buckets, and the file's own name, durable.
func setUp(db *bbolt.DB, path string) error {
	err := db.Update(func(tx *bbolt.Tx) error {
		for _, name := range []string{records, byIndex, ended, revoked, once} {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = syncDirectory(path)
	}
	if err != nil {
		return fmt.Errorf("boltstore: setting up %s: %w", path, err)
	}
	return nil
}

// Ping implements authn.Store: it writes a transaction without a change, to a file that is
// still where it was.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.inPlace(); err != nil {
		return err
	}
	return s.write(ctx, func(*bbolt.Tx) error { return nil })
}

// inPlace refuses a file that was deleted, or that another has taken the place of: it serves
// on while it is open, and everything in it is lost when the program ends.
func (s *Store) inPlace() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if now, err := os.Stat(s.path); err != nil || !os.SameFile(s.file, now) {
		return &Error{Problem: s.path + " was deleted or replaced while it was in use", Remedy: "restart the program, which signs everybody out"}
	}
	return nil
}

// Close implements authn.Store. It waits for the transactions under way.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("boltstore: closing %s: %w", s.path, err)
	}
	return nil
}

// read runs fn in a transaction that sees one state of the file. Bytes that fn
// gets from it are gone afterwards: it copies what it keeps.
func (s *Store) read(ctx context.Context, fn func(tx *bbolt.Tx) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	defer recoverDamage(s.path, &err)
	return s.failure("reading", s.db.View(fn))
}

// write runs fn in a transaction that it may share with other writers, and returns
// when that is on the disk. fn can run several times, each time on a clean
// transaction, so it sets anew whatever it hands out. It can also still run when
// write has given up for ctx: it must not use what belongs to the caller, and the
// caller must read nothing of it then.
//
// One of authn's three answers is an answer, not a failure, which would roll back
// the writes of everybody in the transaction: fn decides on it before it writes.
func (s *Store) write(ctx context.Context, fn func(tx *bbolt.Tx) error) error {
	return within(ctx, func() error { return s.batch(ctx, fn) })
}

// add is write for what makes the file grow.
func (s *Store) add(ctx context.Context, fn func(tx *bbolt.Tx) error) error {
	return within(ctx, func() error {
		if err := s.provide(); err != nil {
			return err
		}
		return s.batch(ctx, fn)
	})
}

// within waits for fn no longer than ctx lasts.
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

func (s *Store) batch(ctx context.Context, fn func(tx *bbolt.Tx) error) (err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	defer recoverDamage(s.path, &err)
	var answer error
	err = s.db.Batch(func(tx *bbolt.Tx) error {
		if answer = ctx.Err(); answer != nil {
			return nil
		}
		err := fn(tx)
		if isAnswer(err) {
			answer, err = err, nil
		}
		return err
	})
	if err != nil {
		return s.failure("writing", err)
	}
	return answer
}

func isAnswer(err error) bool {
	return errors.Is(err, authn.ErrNotFound) || errors.Is(err, authn.ErrConflict) || errors.Is(err, authn.ErrEnded)
}

// failure says which file it was, but leaves an answer alone.
func (s *Store) failure(doing string, err error) error {
	if err == nil || isAnswer(err) {
		return err
	}
	return fmt.Errorf("boltstore: %s %s: %w", doing, s.path, err)
}

// recoverDamage, deferred, turns a panic into an error: bbolt panics where it
// meets a broken page, and one such page must not end the process.
func recoverDamage(path string, err *error) {
	if p := recover(); p != nil {
		*err = damaged(path, fmt.Errorf("%v", p))
	}
}

func damaged(path string, err error) error {
	return &Error{
		Problem: fmt.Sprintf("%s is damaged or not a session store (%v)", path, err),
		Remedy:  "move it away and start again; everybody has to sign in again", Err: err,
	}
}

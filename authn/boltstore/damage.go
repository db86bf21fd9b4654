package boltstore

import (
	"fmt"
	"runtime/debug"

	"go.etcd.io/bbolt"
)

// transact runs fn in a transaction that run begins: (*bbolt.DB).View or (*bbolt.DB).Update. bbolt
// panics on a damaged page, and reading beyond the end of a truncated file faults. Neither must end
// the process.
//
// A panic in fn becomes an error, and the transaction is rolled back. Any other is bbolt's own, at
// the beginning or in the commit. It may leave locks held, and memory that does not agree with the
// file: from then on transact returns the error, and uses the file no more. Some damage remains that
// nobody can recover from; docs/operations.md lists it.
func (s *Store) transact(run func(*bbolt.DB, func(*bbolt.Tx) error) error, fn func(*bbolt.Tx) error) (err error) {
	if broken := s.broken.Load(); broken != nil {
		return broken
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			_ = s.atLeast(s.length.Load()) // which may know a better reason
			s.broken.CompareAndSwap(nil, panicked(s.path, p))
			err = s.broken.Load()
		}
	}()
	return run(s.db, func(tx *bbolt.Tx) (err error) {
		defer s.recoverDamage(&err)
		return fn(tx)
	})
}

// recoverDamage, when deferred, turns a panic of bbolt into an error.
func recoverDamage(path string, err *error) {
	if p := recover(); p != nil {
		*err = panicked(path, p)
	}
}

// recoverDamage is recoverDamage for a file in use, which may have been cut short.
func (s *Store) recoverDamage(err *error) {
	if p := recover(); p != nil {
		*err = panicked(s.path, p)
		if short := s.atLeast(s.length.Load()); short != nil {
			*err = short
		}
	}
}

func panicked(path string, p any) *Error { return damaged(path, fmt.Errorf("%v", p)) }

func damaged(path string, err error) *Error {
	return &Error{
		Problem: fmt.Sprintf("%s is damaged or not a session store (%v)", path, err),
		Remedy:  "move it away and start again; everyone must sign in again", Err: err,
	}
}

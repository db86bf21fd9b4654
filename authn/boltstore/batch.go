package boltstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"latchkey/authn"
)

// gather is how long a transaction waits for writes that could share it, because each transaction waits for
// the disk twice. With several sign-ins at a time, fewer transactions save CPU time, and nobody waits longer.
// A write that is alone takes this much longer.
const gather = time.Millisecond

// writes are the writes that wait for the transaction before theirs. The first one whose turn it is
// then commits them all. (bbolt's own Batch commits in a goroutine of its own, where nobody recovers
// from a panic.)
type writes struct {
	// committing is held by the one that uses a transaction that writes. It guards changed, the records
	// that the transaction has put or dropped.
	committing sync.Mutex
	changed    []authn.Key

	mu      sync.Mutex
	waiting []*write
}

// write is one of them. Its result may be read while committing is held.
type write struct {
	fn   func(tx *bbolt.Tx) error
	done bool
	err  error
}

func (s *Store) batch(ctx context.Context, fn func(tx *bbolt.Tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var answer error
	err := s.commit(&write{fn: func(tx *bbolt.Tx) error {
		if answer = ctx.Err(); answer != nil {
			return nil
		}
		err := fn(tx)
		if isAnswer(err) {
			answer, err = err, nil
		}
		return err
	}})
	if err != nil {
		return s.failure("writing", err)
	}
	return answer
}

// commit returns when a write is on disk, or has failed.
func (s *Store) commit(w *write) error {
	s.writes.add(w)
	s.writes.committing.Lock()
	defer s.writes.committing.Unlock()
	if !w.done {
		time.Sleep(gather)
		s.commitAll(s.writes.take())
	}
	return w.err
}

func (ws *writes) add(w *write) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.waiting = append(ws.waiting, w)
}

func (ws *writes) take() []*write {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	taken := ws.waiting
	ws.waiting = nil
	return taken
}

// commitAll commits writes in one transaction. If one of them fails, commitAll tries the others
// without it. Whether the transaction succeeds or fails, what it may have changed is loaded from the file
// again.
func (s *Store) commitAll(together []*write) {
	for len(together) > 0 {
		var failed *write
		err := s.checkLength()
		if err == nil {
			err = s.transact((*bbolt.DB).Update, func(tx *bbolt.Tx) error {
				for _, w := range together {
					failed = w // unless it returns
					if err := w.fn(tx); err != nil {
						return err
					}
				}
				failed = nil
				return nil
			})
			s.loaded.Drop(s.writes.changed...)
			s.writes.changed = s.writes.changed[:0]
		}
		if failed != nil {
			failed.done, failed.err = true, err
			together = slices.DeleteFunc(together, func(w *write) bool { return w == failed })
			continue
		}
		for _, w := range together {
			w.done, w.err = true, err
		}
		return
	}
}

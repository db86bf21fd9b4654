package authn

import (
	"context"
	"errors"
	"time"
)

// StoreCall names what was asked of the store. Failed is set where it could not answer;
// that there is no such session is an answer.
type StoreCall struct {
	Operation string
	Failed    bool
}

// measuredStore is a Store whose answers are timed.
type measuredStore struct {
	Store
	calls *Timings[StoreCall]
}

// done notes a call that has ended, and passes its error on.
func (m measuredStore) done(operation string, began time.Time, err error) error {
	answered := err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) || errors.Is(err, ErrEnded)
	m.calls.Add(StoreCall{operation, !answered}, time.Since(began))
	return err
}

func (m measuredStore) Create(ctx context.Context, r Record) error {
	began := time.Now()
	return m.done("create", began, m.Store.Create(ctx, r))
}

func (m measuredStore) Load(ctx context.Context, key Key) (Record, error) {
	began := time.Now()
	r, err := m.Store.Load(ctx, key)
	return r, m.done("load", began, err)
}

func (m measuredStore) Save(ctx context.Context, r Record) error {
	began := time.Now()
	return m.done("save", began, m.Store.Save(ctx, r))
}

func (m measuredStore) Touch(ctx context.Context, key Key, lastSeen, expires time.Time) error {
	began := time.Now()
	return m.done("touch", began, m.Store.Touch(ctx, key, lastSeen, expires))
}

func (m measuredStore) End(ctx context.Context, key Key, cause Cause, until time.Time) error {
	began := time.Now()
	return m.done("end", began, m.Store.End(ctx, key, cause, until))
}

func (m measuredStore) Revoke(ctx context.Context, index Key, notAfter, until time.Time) ([]Key, error) {
	began := time.Now()
	keys, err := m.Store.Revoke(ctx, index, notAfter, until)
	return keys, m.done("revoke", began, err)
}

func (m measuredStore) List(ctx context.Context, index Key) ([]Record, error) {
	began := time.Now()
	records, err := m.Store.List(ctx, index)
	return records, m.done("list", began, err)
}

func (m measuredStore) Once(ctx context.Context, key Key, until time.Time) (bool, error) {
	began := time.Now()
	first, err := m.Store.Once(ctx, key, until)
	return first, m.done("once", began, err)
}

func (m measuredStore) Sweep(ctx context.Context, now time.Time) (int, error) {
	began := time.Now()
	n, err := m.Store.Sweep(ctx, now)
	return n, m.done("sweep", began, err)
}

func (m measuredStore) Ping(ctx context.Context) error {
	began := time.Now()
	return m.done("ping", began, m.Store.Ping(ctx))
}

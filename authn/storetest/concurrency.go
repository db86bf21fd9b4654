package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"latchkey/authn"
)

func contextCases() []testCase {
	return []testCase{
		{"every method returns the error of a context that has ended, and does nothing", contextOver},
		{"Ping answers", func(t *testing.T, s authn.Store) {
			wantErr(t, "Ping", s.Ping(t.Context()), nil)
			create(t, s, record("a"))
			wantErr(t, "Ping", s.Ping(t.Context()), nil)
			wantAlive(t, s, record("a"))
		}},
	}
}

func contextOver(t *testing.T, s authn.Store) {
	r := record("a")
	r.Expires = at(time.Hour)
	create(t, s, r)
	r.Version = 1

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for _, over := range []struct {
		ctx  context.Context
		want error
	}{{cancelled, context.Canceled}, {late, context.DeadlineExceeded}} {
		for method, err := range callEach(over.ctx, s, r) {
			wantErr(t, method, err, over.want)
		}
	}

	wantRecord(t, load(t, s, r), r)
	wantGone(t, s, record("new"))
	create(t, s, record("new"))
	wantOnce(t, s, "a", true)
	for method, err := range callEach(t.Context(), s, record("twin")) {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s with a good context: %v", method, err)
		}
	}
}

// callEach calls every method with ctx: Create with a new record, the others with r.
func callEach(ctx context.Context, s authn.Store, r authn.Record) map[string]error {
	_, loadErr := s.Load(ctx, r.Key)
	_, revokeErr := s.Revoke(ctx, r.Owner, at(0), at(time.Hour))
	_, listErr := s.List(ctx, r.Owner)
	var allErr error
	for _, err := range s.All(ctx) {
		allErr = err
	}
	_, countErr := s.Count(ctx, r.Owner)
	_, onceErr := s.Once(ctx, key("once a"), at(time.Hour))
	_, sweepErr := s.Sweep(ctx, later())
	return map[string]error{
		"Create": s.Create(ctx, record("new")),
		"Load":   loadErr,
		"Save":   s.Save(ctx, r),
		"Touch":  s.Touch(ctx, r.Key, at(0), at(time.Hour)),
		"End":    s.End(ctx, r.Key, authn.CauseSignedOut, at(time.Hour)),
		"Revoke": revokeErr,
		"List":   listErr,
		"All":    allErr,
		"Count":  countErr,
		"Once":   onceErr,
		"Sweep":  sweepErr,
		"Ping":   s.Ping(ctx),
	}
}

func concurrencyCases() []testCase {
	return []testCase{
		{"SE-08 of 20 Saves of one version exactly one wins", oneSaveWins},
		{"SE-08 20 writers that load again after a conflict lose no change", noChangeIsLost},
		{"of 20 Creates of one key exactly one wins", func(t *testing.T, s authn.Store) {
			errs := together(20, func(int) error { return s.Create(t.Context(), record("a")) })
			wantOneWinner(t, errs)
		}},
		{"SE-07 no write concurrent with End brings the session back", endBesideWrites},
		{"LB-12 no Create concurrent with Revoke outlives it", revokeBesideCreates},
		{"LB-11 no Save moves a session past a Revoke of its old index and then its new one", moveBesideRevoke},
		{"Touch concurrent with Save causes no conflict", touchBesideSave},
	}
}

func oneSaveWins(t *testing.T, s authn.Store) {
	r := record("a")
	create(t, s, r)
	for version := uint64(1); version <= 10; version++ {
		errs := together(20, func(worker int) error {
			mine := r
			mine.Version = version
			mine.Sealed = fmt.Append(nil, "worker ", worker)
			return s.Save(t.Context(), mine)
		})
		winner := wantOneWinner(t, errs)
		got := load(t, s, r)
		if want := fmt.Sprint("worker ", winner); got.Version != version+1 || string(got.Sealed) != want {
			t.Fatalf("stored is version %d of %q, want version %d of %q", got.Version, got.Sealed, version+1, want)
		}
	}
}

// wantOneWinner checks that exactly one error is nil and the others are conflicts. It
// returns the index of the nil error.
func wantOneWinner(t *testing.T, errs []error) int {
	t.Helper()
	winner, winners := 0, 0
	for i, err := range errs {
		if err == nil {
			winner = i
			winners++
			continue
		}
		wantErr(t, "the others", err, authn.ErrConflict)
	}
	if winners != 1 {
		t.Fatalf("%d of %d won, want 1", winners, len(errs))
	}
	return winner
}

func noChangeIsLost(t *testing.T, s authn.Store) {
	const workers, changes = 20, 5
	r := record("a")
	r.Sealed = make([]byte, workers)
	create(t, s, r)
	together(workers, func(worker int) bool {
		for done := 0; done < changes && !t.Failed(); {
			mine, err := s.Load(t.Context(), r.Key)
			wantErr(t, "Load", err, nil)
			if err != nil {
				break
			}
			mine.Sealed = bytes.Clone(mine.Sealed)
			mine.Sealed[worker]++
			err = s.Save(t.Context(), mine)
			if err == nil {
				done++
			} else {
				wantErr(t, "Save", err, authn.ErrConflict)
			}
		}
		return true
	})
	got := load(t, s, r)
	if n := count(got.Sealed, changes); n != workers || got.Version != workers*changes+1 {
		t.Errorf("%d of %d workers have all their changes, at version %d", n, workers, got.Version)
	}
}

func endBesideWrites(t *testing.T, s authn.Store) {
	for round := range 20 {
		r := record(fmt.Sprint(round))
		create(t, s, r)
		ended := make(chan struct{})
		together(8, func(worker int) bool {
			if worker == 0 {
				wantErr(t, "End", s.End(t.Context(), r.Key, authn.CauseSignedOut, at(time.Hour)), nil)
				wantGone(t, s, r)
				close(ended)
				return true
			}
			for {
				select {
				case <-ended:
					wantStaysEnded(t, s, r)
					return true
				default:
					writeBesideEnd(t, s, r, worker%2 == 0)
				}
			}
		})
		wantGone(t, s, r)
	}
}

func moveBesideRevoke(t *testing.T, s authn.Store) {
	for round := range 20 {
		r := record(fmt.Sprint(round))
		r.Owner = key(fmt.Sprint("owner ", round))
		create(t, s, r)
		moved := load(t, s, r)
		moved.Owner, moved.ProviderSession = key(fmt.Sprint("new name of owner ", round)), key(fmt.Sprint("new name of provider session ", round))
		together(3, func(worker int) bool {
			switch worker {
			case 0:
				revoke(t, s, r.Owner, at(0))
				revoke(t, s, moved.Owner, at(0))
			case 1:
				if err := s.Save(t.Context(), moved); err != nil && !errors.Is(err, authn.ErrNotFound) && !errors.Is(err, authn.ErrConflict) {
					t.Errorf("Save: %v", err)
				}
			case 2:
				if err := s.Touch(t.Context(), r.Key, at(time.Hour), at(50*time.Hour)); err != nil && !errors.Is(err, authn.ErrNotFound) {
					t.Errorf("Touch: %v", err)
				}
			}
			return true
		})
		wantGone(t, s, r)
	}
}

// writeBesideEnd writes once to a session that may end at any moment.
func writeBesideEnd(t *testing.T, s authn.Store, r authn.Record, touch bool) {
	t.Helper()
	mine, err := s.Load(t.Context(), r.Key)
	switch {
	case err != nil:
		wantErr(t, "Load", err, authn.ErrNotFound)
		wantErr(t, "Create", s.Create(t.Context(), r), authn.ErrEnded)
		return
	case touch:
		err = s.Touch(t.Context(), r.Key, at(time.Hour), at(2*time.Hour))
	default:
		err = s.Save(t.Context(), mine)
	}
	if err != nil && !errors.Is(err, authn.ErrNotFound) && !errors.Is(err, authn.ErrConflict) {
		t.Errorf("a write concurrent with End: %v", err)
	}
}

func revokeBesideCreates(t *testing.T, s authn.Store) {
	const workers = 20
	for round := range 5 {
		owner := key(fmt.Sprint("owner ", round))
		var ended []authn.Key
		errs := together(workers, func(worker int) error {
			if worker == 0 {
				ended = revoke(t, s, owner, at(0))
				wantKeys(t, "List after Revoke", keysOf(list(t, s, owner)))
				return nil
			}
			r := record(fmt.Sprint(round, " ", worker))
			r.Owner = owner
			return s.Create(t.Context(), r)
		})
		created := 0
		for _, err := range errs[1:] {
			if err == nil {
				created++
			} else {
				wantErr(t, "Create", err, authn.ErrEnded)
			}
		}
		if created != len(ended) {
			t.Errorf("%d were created, %d of them ended", created, len(ended))
		}
		wantKeys(t, "List at the end", keysOf(list(t, s, owner)))
	}
}

func touchBesideSave(t *testing.T, s authn.Store) {
	r := record("a")
	create(t, s, r)
	together(4, func(worker int) bool {
		for range 10 {
			if worker > 0 {
				wantErr(t, "Touch", s.Touch(t.Context(), r.Key, at(time.Hour), at(2*time.Hour)), nil)
				continue
			}
			wantErr(t, "Save", s.Save(t.Context(), load(t, s, r)), nil)
		}
		return true
	})
	if got := load(t, s, r).Version; got != 11 {
		t.Errorf("version is %d, want 11", got)
	}
}

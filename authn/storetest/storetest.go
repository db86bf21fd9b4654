// Package storetest is the test suite that every authn.Store must pass. It checks every
// sentence of the contract in authn/store.go.
package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"latchkey/authn"
)

// Run tests the stores that open returns. Each must be new and empty, and Run closes it. An id
// in the name of a test, such as SE-07, names a requirement: see docs/security.md.
//
// The suite's times are in 2040, so that a server that also expires keys by its own clock
// does not interfere.
func Run(t *testing.T, open func(t *testing.T) authn.Store) {
	groups := []struct {
		name  string
		cases []testCase
	}{
		{"Create", createCases()},
		{"Load", loadCases()},
		{"Save", saveCases()},
		{"Touch", touchCases()},
		{"End", endCases()},
		{"Revoke", revokeCases()},
		{"List", listCases()},
		{"All", allCases()},
		{"Once", onceCases()},
		{"Sweep", sweepCases()},
		{"Context", contextCases()},
		{"Concurrency", concurrencyCases()},
	}
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			for _, c := range group.cases {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					s := open(t)
					t.Cleanup(func() { wantErr(t, "Close", s.Close(), nil) })
					c.run(t, s)
				})
			}
		})
	}
}

type testCase struct {
	name string
	run  func(t *testing.T, s authn.Store)
}

// at returns the time d after the suite's noon.
func at(d time.Duration) time.Time {
	return time.Date(2040, time.March, 4, 12, 0, 0, 0, time.UTC).Add(d)
}

// later returns a time when all reminders of a test have expired, but its records have not.
func later() time.Time { return at(24 * time.Hour) }

func key(label string) authn.Key { return authn.NewKey("storetest", label) }

// record returns a session of Ada's, signed in at noon. Each label gives a different
// session.
func record(label string) authn.Record {
	return authn.Record{
		Key:             key("session " + label),
		Owner:           key("owner Ada"),
		ProviderSession: key("provider session " + label),
		Device:          "Firefox on Linux",
		SignedIn:        at(0),
		LastSeen:        at(time.Minute),
		Expires:         at(48 * time.Hour),
		Sealed:          []byte("sealed " + label),
	}
}

// signedIn returns record(label), signed in d after noon.
func signedIn(label string, d time.Duration) authn.Record {
	r := record(label)
	r.SignedIn = at(d)
	return r
}

func create(t *testing.T, s authn.Store, records ...authn.Record) {
	t.Helper()
	for _, r := range records {
		if err := s.Create(t.Context(), r); err != nil {
			t.Fatalf("Create: %v", err)
		}
	}
}

func end(t *testing.T, s authn.Store, r authn.Record) {
	t.Helper()
	if err := s.End(t.Context(), r.Key, authn.CauseSignedOut, at(time.Hour)); err != nil {
		t.Fatalf("End: %v", err)
	}
}

// revoke revokes sign-ins up to notAfter, for an hour.
func revoke(t *testing.T, s authn.Store, index authn.Key, notAfter time.Time) []authn.Key {
	t.Helper()
	ended, err := s.Revoke(t.Context(), index, notAfter, at(time.Hour))
	if err != nil {
		t.Errorf("Revoke: %v", err)
	}
	return ended
}

func sweep(t *testing.T, s authn.Store, now time.Time) int {
	t.Helper()
	n, err := s.Sweep(t.Context(), now)
	if err != nil {
		t.Errorf("Sweep: %v", err)
	}
	return n
}

func list(t *testing.T, s authn.Store, owner authn.Key) []authn.Record {
	t.Helper()
	records, err := s.List(t.Context(), owner)
	if err != nil {
		t.Errorf("List: %v", err)
	}
	return records
}

func load(t *testing.T, s authn.Store, r authn.Record) authn.Record {
	t.Helper()
	loaded, err := s.Load(t.Context(), r.Key)
	if err != nil {
		t.Errorf("Load: %v", err)
	}
	return loaded
}

func wantAlive(t *testing.T, s authn.Store, records ...authn.Record) {
	t.Helper()
	for _, r := range records {
		load(t, s, r)
	}
}

func wantGone(t *testing.T, s authn.Store, records ...authn.Record) {
	t.Helper()
	for _, r := range records {
		_, err := s.Load(t.Context(), r.Key)
		wantErr(t, "Load", err, authn.ErrNotFound)
	}
}

// wantErr checks that got matches want. A nil want means no error.
func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

func wantRecord(t *testing.T, got, want authn.Record) {
	t.Helper()
	same := got.Key == want.Key && got.Owner == want.Owner && got.ProviderSession == want.ProviderSession &&
		got.Device == want.Device && got.SignedIn.Equal(want.SignedIn) && got.LastSeen.Equal(want.LastSeen) &&
		got.Expires.Equal(want.Expires) && got.Version == want.Version && got.Bound == want.Bound && bytes.Equal(got.Sealed, want.Sealed)
	if !same {
		t.Errorf("got record\n%s\nwant\n%s", describe(got), describe(want))
	}
}

// describe formats a record with only the start of its sealed part.
func describe(r authn.Record) string {
	return fmt.Sprintf("{key %x owner %x provider session %x device %q signed in %s last seen %s expires %s version %d bound %t sealed %d bytes %.16x}",
		r.Key[:4], r.Owner[:4], r.ProviderSession[:4], r.Device, r.SignedIn.Format(time.RFC3339Nano),
		r.LastSeen.Format(time.RFC3339Nano), r.Expires.Format(time.RFC3339Nano), r.Version, r.Bound, len(r.Sealed), r.Sealed)
}

func keysOf(records []authn.Record) []authn.Key {
	keys := make([]authn.Key, 0, len(records))
	for _, r := range records {
		keys = append(keys, r.Key)
	}
	return keys
}

// wantKeys compares two sets of keys.
func wantKeys(t *testing.T, what string, got []authn.Key, want ...authn.Key) {
	t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	compare := func(a, b authn.Key) int { return slices.Compare(a[:], b[:]) }
	slices.SortFunc(got, compare)
	slices.SortFunc(want, compare)
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %d keys %.4x, want %d %.4x", what, len(got), got, len(want), want)
	}
}

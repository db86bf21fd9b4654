package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"latchkey/authn"
)

// describe formats a record with only the start of its sealed part.
func describe(r authn.Record) string {
	return fmt.Sprintf("{key %x owner %x provider session %x device %q signed in %s last seen %s expires %s version %d sealed %d bytes %.16x}",
		r.Key[:4], r.Owner[:4], r.ProviderSession[:4], r.Device, r.SignedIn.Format(time.RFC3339Nano),
		r.LastSeen.Format(time.RFC3339Nano), r.Expires.Format(time.RFC3339Nano), r.Version, len(r.Sealed), r.Sealed)
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

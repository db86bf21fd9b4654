package boltstore_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/boltstore"
)

// Every existing file depends on the stored form. A change to it needs a new version byte,
// and this test keeps the old version readable.
func TestFormatVersion1(t *testing.T) {
	t.Parallel()
	r := authn.Record{
		Owner:           authn.Key(bytes.Repeat([]byte{0x0a}, 32)),
		ProviderSession: authn.Key(bytes.Repeat([]byte{0x0b}, 32)),
		Device:          "Firefox",
		SignedIn:        time.UnixMicro(1),
		LastSeen:        time.UnixMicro(2),
		Expires:         time.UnixMicro(3),
		Version:         300,
		Sealed:          []byte("sealed"),
	}
	want := "01" +
		"0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a" +
		"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b" +
		"0000000000000001" + "0000000000000002" + "0000000000000003" +
		"ac02" + "07" + hex.EncodeToString([]byte("Firefox")) + "06" + hex.EncodeToString([]byte("sealed"))
	got := boltstore.EncodeRecord(r)
	if body := hex.EncodeToString(got[:len(got)-4]); body != want {
		t.Errorf("stored form is\n%s, want\n%s", body, want)
	}
	if sum := hex.EncodeToString(got[len(got)-4:]); sum != "9bd6ce35" {
		t.Errorf("checksum is %s", sum)
	}
}

func TestUnreadableRecords(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		edit func(value []byte) []byte
		// alive is whether the record can still be loaded.
		alive bool
	}{
		{"FM-18 untouched", func(v []byte) []byte { return v }, true},
		{"FM-18 empty", func([]byte) []byte { return nil }, false},
		{"FM-18 one byte", func(v []byte) []byte { return v[:1] }, false},
		{"FM-18 cut short", func(v []byte) []byte { return v[:len(v)/2] }, false},
		{"FM-18 cut short, with a valid checksum", func(v []byte) []byte { return boltstore.Sum(v[:len(v)/2]) }, false},
		{"FM-18 only a version, with a valid checksum", func(v []byte) []byte { return boltstore.Sum(v[:1]) }, false},
		{"FM-18 empty, with a valid checksum", func([]byte) []byte { return boltstore.Sum(nil) }, false},
		{"FM-18 a trailing byte", func(v []byte) []byte { return append(v, 0) }, false},
		{"FM-18 a trailing byte, with a valid checksum", func(v []byte) []byte { return boltstore.Sum(append(v[:len(v)-4], 0)) }, false},
		{"FM-18 a length beyond the end, with a valid checksum", func(v []byte) []byte {
			return boltstore.Sum(append(v[:90], 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01))
		}, false},
		{"FM-18 one bit flipped in the owner", flip(5), false},
		{"FM-18 one bit flipped in the expiry", flip(85), false},
		{"FM-18 one bit flipped in the sealed part", flip(150), false},
		{"FM-23 unchanged, with a new checksum", func(v []byte) []byte { return boltstore.Sum(v[:len(v)-4]) }, true},
		{"FM-23 the next version", func(v []byte) []byte { v[0] = 2; return boltstore.Sum(v[:len(v)-4]) }, false},
		{"FM-23 version 0", func(v []byte) []byte { v[0] = 0; return boltstore.Sum(v[:len(v)-4]) }, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := openStore(t, filepath.Join(t.TempDir(), "data", "sessions.db"))
			defer s.Close()
			damaged, whole := newRecord(200), newRecord(200)
			must(t, s.Create(t.Context(), damaged), s.Create(t.Context(), whole), s.Edit(damaged.Key, c.edit))
			want := authn.ErrNotFound
			if c.alive {
				want = nil
			}
			wantAnswers(t, s, damaged, want)
			wantAnswers(t, s, whole, nil)
			wantNeverBack(t, s, damaged, whole)
		})
	}
}

func flip(at int) func([]byte) []byte {
	return func(v []byte) []byte {
		v[at] ^= 0x10
		return v
	}
}

// wantAnswers checks that every method on the record returns want.
func wantAnswers(t *testing.T, s *boltstore.Store, r authn.Record, want error) {
	t.Helper()
	loaded, loadErr := s.Load(t.Context(), r.Key)
	if loadErr == nil && !bytes.Equal(loaded.Sealed, r.Sealed) {
		t.Error("the sealed part differs")
	}
	r.Version = 1
	for method, err := range map[string]error{
		"Load":  loadErr,
		"Touch": s.Touch(t.Context(), r.Key, r.LastSeen, r.Expires),
		"Save":  s.Save(t.Context(), r),
	} {
		if !errors.Is(err, want) {
			t.Errorf("%s: got error %v, want %v", method, err, want)
		}
	}
}

// wantNeverBack checks that the key of a damaged record cannot be reused, that Sweep and
// List skip the record, and that Revoke removes it.
func wantNeverBack(t *testing.T, s *boltstore.Store, damaged, whole authn.Record) {
	t.Helper()
	if err := s.Create(t.Context(), damaged); !errors.Is(err, authn.ErrConflict) {
		t.Errorf("Create of its key: got error %v, want %v", err, authn.ErrConflict)
	}
	if _, err := s.Sweep(t.Context(), whole.Expires.Add(-time.Second)); err != nil {
		t.Errorf("Sweep: %v", err)
	}
	list, err := s.List(t.Context(), whole.Owner)
	if err != nil || len(list) == 0 {
		t.Errorf("List: %d records, error %v", len(list), err)
	}
	ended, err := s.Revoke(t.Context(), whole.Owner, whole.SignedIn, whole.Expires)
	if err != nil || len(ended) != 2 {
		t.Errorf("Revoke: %d ended, error %v", len(ended), err)
	}
	if err := s.Create(t.Context(), damaged); !errors.Is(err, authn.ErrEnded) {
		t.Errorf("Create after Revoke: got error %v, want %v", err, authn.ErrEnded)
	}
}

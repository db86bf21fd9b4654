package storetest

import (
	"bytes"
	"testing"
	"time"

	"latchkey/authn"
)

func createCases() []testCase {
	return []testCase{
		{"starts at version 1, whatever the record says", func(t *testing.T, s authn.Store) {
			r := record("a")
			r.Version = 41
			create(t, s, r)
			if got := load(t, s, r).Version; got != 1 {
				t.Errorf("version is %d, want 1", got)
			}
		}},
		{"refuses a key that exists and leaves its record alone", func(t *testing.T, s authn.Store) {
			r := record("a")
			create(t, s, r)
			other := record("b")
			other.Key = r.Key
			wantErr(t, "Create of the same key", s.Create(t.Context(), other), authn.ErrConflict)
			r.Version = 1
			wantRecord(t, load(t, s, r), r)
			wantKeys(t, "what the refused record's provider session names", revoke(t, s, other.ProviderSession, at(0)))
			create(t, s, record("c"))
		}},
	}
}

func loadCases() []testCase {
	return []testCase{
		{"returns every field as it was created", loadsEveryField},
		{"sees every change of a record that was loaded before", seesChanges},
		{"does not find a session that never existed", func(t *testing.T, s authn.Store) {
			create(t, s, record("a"))
			wantGone(t, s, record("b"))
			wantAlive(t, s, record("a"))
		}},
	}
}

// seesChanges loads a record, so that a store may keep it, before each kind of change. The next Load sees
// the change.
func seesChanges(t *testing.T, s authn.Store) {
	kept := func(label string) authn.Record {
		r := record(label)
		create(t, s, r)
		load(t, s, r)
		r = load(t, s, r)
		if r.Version != 1 {
			t.Errorf("%s is loaded at version %d", label, r.Version)
		}
		return r
	}
	saved := kept("saved")
	saved.Sealed = []byte("saved")
	wantErr(t, "Save", s.Save(t.Context(), saved), nil)
	saved.Version = 2
	wantRecord(t, load(t, s, saved), saved)

	touched := kept("touched")
	touched.LastSeen, touched.Expires = at(time.Hour), at(72*time.Hour)
	wantErr(t, "Touch", s.Touch(t.Context(), touched.Key, touched.LastSeen, touched.Expires), nil)
	wantRecord(t, load(t, s, touched), touched)

	ended := kept("ended")
	end(t, s, ended)
	wantGone(t, s, ended)

	revoked := kept("revoked")
	revoke(t, s, revoked.ProviderSession, at(0))
	wantGone(t, s, revoked)

	swept := record("swept")
	swept.Expires = at(time.Hour)
	create(t, s, swept)
	load(t, s, swept)
	sweep(t, s, later())
	wantGone(t, s, swept)
	wantRecord(t, load(t, s, saved), saved)
	wantRecord(t, load(t, s, touched), touched)
}

func loadsEveryField(t *testing.T, s authn.Store) {
	plain := record("plain")

	fine := record("to the microsecond")
	fine.SignedIn, fine.LastSeen, fine.Expires = at(time.Microsecond), at(2*time.Microsecond), at(999_999*time.Microsecond)

	bare := authn.Record{
		Key: key("session bare"), Owner: key("owner bare"),
		SignedIn: at(0), LastSeen: at(0), Expires: at(time.Hour),
	}

	large := record("64 KiB")
	large.Device = "Ein Gerät, 設備 – \x00\n\xff"
	large.Sealed = bytes.Repeat([]byte{0, 1, '\r', '\n', 0xff, 7, 8, 9}, 64<<10/8)

	for _, r := range []authn.Record{plain, fine, bare, large} {
		create(t, s, r)
	}
	for _, r := range []authn.Record{plain, fine, bare, large} {
		r.Version = 1
		wantRecord(t, load(t, s, r), r)
	}
}

func saveCases() []testCase {
	return []testCase{
		{"SE-08 replaces the loaded record and increments the version", func(t *testing.T, s authn.Store) {
			r := record("a")
			create(t, s, r)
			for version := range uint64(4) {
				r.Version = version + 1
				r.Sealed = append(bytes.Clone(r.Sealed), '+')
				wantErr(t, "Save", s.Save(t.Context(), r), nil)
				r.Version++
				wantRecord(t, load(t, s, r), r)
			}
		}},
		{"takes an empty and a 64 KiB sealed part", func(t *testing.T, s authn.Store) {
			r := record("a")
			create(t, s, r)
			for i, size := range []int{0, 64 << 10, 1} {
				r.Version = uint64(i) + 1
				r.Sealed = bytes.Repeat([]byte{0xa5}, size)
				wantErr(t, "Save", s.Save(t.Context(), r), nil)
				wantSealed(t, s, r, r.Sealed)
			}
		}},
		{"SE-08 refuses every version but the stored one", saveRefusesOtherVersions},
		{"moves the session to its Owner and ProviderSession, and does not change SignedIn", saveMoves},
		{"SE-08 does not undo a Touch since the Load", func(t *testing.T, s authn.Store) {
			r := record("a")
			create(t, s, r)
			loaded := load(t, s, r)
			wantErr(t, "Touch", s.Touch(t.Context(), r.Key, at(5*time.Hour), at(6*time.Hour)), nil)
			loaded.Sealed = []byte("saved")
			wantErr(t, "Save", s.Save(t.Context(), loaded), nil)
			r.Version, r.Sealed, r.LastSeen, r.Expires = 2, loaded.Sealed, at(5*time.Hour), at(6*time.Hour)
			wantRecord(t, load(t, s, r), r)
		}},
		{"sets Bound", func(t *testing.T, s authn.Store) {
			r := record("a")
			create(t, s, r)
			for version, bound := range []bool{true, true, false, true} {
				r.Version, r.Bound = uint64(version)+1, bound
				wantErr(t, "Save", s.Save(t.Context(), r), nil)
				r.Version++
				wantRecord(t, load(t, s, r), r)
				if list, err := s.List(t.Context(), r.Owner); err != nil || len(list) != 1 || list[0].Bound != bound {
					t.Errorf("List after a Save with Bound %t: %v, %v", bound, list, err)
				}
			}
		}},
		{"does not find a session that never existed, and creates nothing", func(t *testing.T, s authn.Store) {
			for _, version := range []uint64{0, 1} {
				r := record("a")
				r.Version = version
				wantErr(t, "Save", s.Save(t.Context(), r), authn.ErrNotFound)
			}
			wantGone(t, s, record("a"))
		}},
	}
}

func saveRefusesOtherVersions(t *testing.T, s authn.Store) {
	r := record("a")
	create(t, s, r)
	r.Version = 1
	wantErr(t, "Save of version 1", s.Save(t.Context(), r), nil)

	late := r
	late.Sealed = []byte("someone else's")
	for _, version := range []uint64{0, 1, 3, 1 << 63} {
		late.Version = version
		wantErr(t, "Save of another version than 2", s.Save(t.Context(), late), authn.ErrConflict)
	}
	r.Version = 2
	wantRecord(t, load(t, s, r), r)
	wantErr(t, "Save of version 2", s.Save(t.Context(), r), nil)
}

func saveMoves(t *testing.T, s authn.Store) {
	r, other := record("a"), record("b")
	create(t, s, r, other)
	moved := r
	moved.Version = 1
	moved.Owner, moved.ProviderSession = key("Ada's new name"), key("the provider session's new name")
	moved.SignedIn, moved.Device = at(time.Hour), "another device"
	for range 2 { // the second moves nothing
		wantErr(t, "Save", s.Save(t.Context(), moved), nil)
		moved.Version++
	}
	late := r
	late.Version = 1
	wantErr(t, "Save of a version from before the move", s.Save(t.Context(), late), authn.ErrConflict)

	want := moved
	want.SignedIn, want.Device = r.SignedIn, r.Device
	wantRecord(t, load(t, s, r), want)
	wantKeys(t, "the list of the new owner", keysOf(list(t, s, moved.Owner)), r.Key)
	wantKeys(t, "the list of the new provider session", keysOf(list(t, s, moved.ProviderSession)), r.Key)
	wantKeys(t, "the list of the old owner", keysOf(list(t, s, r.Owner)), other.Key)
	wantKeys(t, "the list of the old provider session", keysOf(list(t, s, r.ProviderSession)))
	wantErr(t, "Touch", s.Touch(t.Context(), r.Key, at(2*time.Hour), at(50*time.Hour)), nil)
	wantKeys(t, "Revoke of the old provider session", revoke(t, s, r.ProviderSession, at(0)))
	wantKeys(t, "Revoke of the old owner", revoke(t, s, r.Owner, at(0)), other.Key)
	wantKeys(t, "Revoke of the new owner", revoke(t, s, moved.Owner, at(0)), r.Key)
	wantGone(t, s, r)
}

func touchCases() []testCase {
	return []testCase{
		{"moves LastSeen and Expires and nothing else", func(t *testing.T, s authn.Store) {
			r := record("a")
			create(t, s, r)
			r.Version, r.LastSeen, r.Expires = 1, at(5*time.Hour), at(6*time.Hour)
			wantErr(t, "Touch", s.Touch(t.Context(), r.Key, r.LastSeen, r.Expires), nil)
			wantRecord(t, load(t, s, r), r)
		}},
		{"SE-08 does not disturb a Save", func(t *testing.T, s authn.Store) {
			r := record("a")
			create(t, s, r)
			loaded := load(t, s, r)
			wantErr(t, "Touch", s.Touch(t.Context(), r.Key, at(time.Hour), at(2*time.Hour)), nil)
			wantErr(t, "Save of the record loaded before", s.Save(t.Context(), loaded), nil)
			if got := load(t, s, r).Version; got != 2 {
				t.Errorf("version is %d, want 2", got)
			}
		}},
		{"does not find a session that never existed, and creates nothing", func(t *testing.T, s authn.Store) {
			r := record("a")
			wantErr(t, "Touch", s.Touch(t.Context(), r.Key, at(0), at(time.Hour)), authn.ErrNotFound)
			wantGone(t, s, r)
		}},
	}
}

func wantSealed(t *testing.T, s authn.Store, r authn.Record, want []byte) {
	t.Helper()
	if got := load(t, s, r).Sealed; !bytes.Equal(got, want) {
		t.Errorf("sealed part is %d bytes %.24q, want %d bytes %.24q", len(got), got, len(want), want)
	}
}

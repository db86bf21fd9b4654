package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"latchkey/authn"
)

func endCases() []testCase {
	return append(endReach(), endMemory()...)
}

// endReach returns cases about which session an End ends.
func endReach() []testCase {
	return []testCase{
		{"ends one session and no other", func(t *testing.T, s authn.Store) {
			a, b := record("a"), record("b")
			create(t, s, a, b)
			end(t, s, a)
			wantGone(t, s, a)
			wantAlive(t, s, b)
		}},
		{"ends a session that does not exist without an error", func(t *testing.T, s authn.Store) {
			end(t, s, record("never was"))
			a := record("a")
			create(t, s, a)
			end(t, s, a)
			end(t, s, a)
		}},
		{"removes the session from its indexes", func(t *testing.T, s authn.Store) {
			a, b := record("a"), record("b")
			create(t, s, a, b)
			end(t, s, a)
			wantIndexed(t, s, a, b)
		}},
	}
}

// endMemory returns cases about how an ended session stays ended.
func endMemory() []testCase {
	return []testCase{
		{"SE-07 no Save, Touch or Create brings an ended session back", func(t *testing.T, s authn.Store) {
			a, b := record("a"), record("b")
			create(t, s, a, b)
			a, b = load(t, s, a), load(t, s, b)
			end(t, s, a)
			wantStaysEnded(t, s, a)

			wantErr(t, "Save of another", s.Save(t.Context(), b), nil)
			wantErr(t, "Touch of another", s.Touch(t.Context(), b.Key, at(0), at(time.Hour)), nil)
			wantErr(t, "Create of another", s.Create(t.Context(), record("c")), nil)
		}},
		{"SE-07 a session that is ended before its Create cannot be created", func(t *testing.T, s authn.Store) {
			end(t, s, record("a"))
			wantErr(t, "Create", s.Create(t.Context(), record("a")), authn.ErrEnded)
			wantGone(t, s, record("a"))
			create(t, s, record("b"))
		}},
		{"a second End with an earlier until does not shorten the first", func(t *testing.T, s authn.Store) {
			a := record("a")
			wantErr(t, "first End", s.End(t.Context(), a.Key, authn.CauseSignedOut, at(3*time.Hour)), nil)
			wantErr(t, "second End", s.End(t.Context(), a.Key, authn.CauseSignedOut, at(time.Hour)), nil)
			sweep(t, s, at(2*time.Hour))
			wantErr(t, "Create", s.Create(t.Context(), a), authn.ErrEnded)
			sweep(t, s, later())
			create(t, s, a)
		}},
		{"remembers the first cause", func(t *testing.T, s authn.Store) {
			a, b := record("a"), record("b")
			create(t, s, a, b)
			wantErr(t, "End", s.End(t.Context(), a.Key, authn.CauseElsewhere, at(time.Hour)), nil)
			wantErr(t, "second End", s.End(t.Context(), a.Key, authn.CauseSignedOut, at(2*time.Hour)), nil)
			revoke(t, s, a.Owner, at(0))
			for r, want := range map[authn.Key]authn.Cause{a.Key: authn.CauseElsewhere, b.Key: authn.CauseProvider} {
				_, err := s.Load(t.Context(), r)
				if ended, ok := errors.AsType[*authn.EndedError](err); !ok || ended.Cause != want || !errors.Is(err, authn.ErrNotFound) {
					t.Errorf("Load returned %v, want the cause %d", err, want)
				}
			}
			_, err := s.Load(t.Context(), key("never was"))
			if _, ok := errors.AsType[*authn.EndedError](err); ok || !errors.Is(err, authn.ErrNotFound) {
				t.Errorf("Load of a session that never existed returned %v", err)
			}
		}},
	}
}

func revokeCases() []testCase {
	return slices.Concat(revokeReach(), revokeTimes(), revokeMemory())
}

// revokeReach returns cases about which sessions of an index a Revoke ends.
func revokeReach() []testCase {
	return []testCase{
		{"ends every session of an owner and no other", func(t *testing.T, s authn.Store) {
			a, b, bob := record("a"), record("b"), record("Bob's")
			bob.Owner = key("owner Bob")
			create(t, s, a, b, bob)
			wantKeys(t, "Revoke", revoke(t, s, a.Owner, at(0)), a.Key, b.Key)
			wantGone(t, s, a, b)
			wantAlive(t, s, bob)
		}},
		{"ends the sessions of a provider session and no other", func(t *testing.T, s authn.Store) {
			a, b, other := record("a"), record("b"), record("other")
			b.ProviderSession = a.ProviderSession
			create(t, s, a, b, other)
			wantKeys(t, "Revoke", revoke(t, s, a.ProviderSession, at(0)), a.Key, b.Key)
			wantGone(t, s, a, b)
			wantAlive(t, s, other)
		}},
		{"the zero key names no session", func(t *testing.T, s authn.Store) {
			a, b := record("a"), record("b")
			a.ProviderSession, b.ProviderSession = authn.Key{}, authn.Key{}
			create(t, s, a)
			wantKeys(t, "Revoke of the zero key", revoke(t, s, authn.Key{}, at(0)))
			wantAlive(t, s, a)
			create(t, s, b)
			wantKeys(t, "Revoke of the owner", revoke(t, s, a.Owner, at(0)), a.Key, b.Key)
		}},
		{"returns no keys if it ends nothing", func(t *testing.T, s authn.Store) {
			a := record("a")
			create(t, s, a)
			wantKeys(t, "Revoke of an unknown index", revoke(t, s, key("nobody"), at(0)))
			wantKeys(t, "Revoke", revoke(t, s, a.Owner, at(0)), a.Key)
			wantKeys(t, "second Revoke", revoke(t, s, a.Owner, at(0)))
		}},
		{"removes the sessions from their indexes", func(t *testing.T, s authn.Store) {
			a, b := signedIn("a", 0), signedIn("b", time.Hour)
			create(t, s, a, b)
			revoke(t, s, a.Owner, at(0))
			wantIndexed(t, s, a, b)
		}},
	}
}

// revokeTimes returns cases about which sign-ins are too late for a Revoke.
func revokeTimes() []testCase {
	return []testCase{
		{"LB-10 never ends a later sign-in, whether Create runs before or after", func(t *testing.T, s authn.Store) {
			for _, index := range []authn.Key{record("new").Owner, record("new").ProviderSession, record("newer").ProviderSession} {
				revoke(t, s, index, at(0))
			}
			create(t, s, signedIn("new", time.Second))
			wantKeys(t, "the same Revoke again", revoke(t, s, record("new").Owner, at(0)))
			wantKeys(t, "the same Revoke again", revoke(t, s, record("new").ProviderSession, at(0)))
			create(t, s, signedIn("newer", time.Minute))
			wantAlive(t, s, record("new"), record("newer"))
		}},
		{"compares existing sessions in whole seconds", func(t *testing.T, s authn.Store) {
			before, within, after := signedIn("before", -time.Millisecond), signedIn("within", 999*time.Millisecond), signedIn("after", time.Second)
			create(t, s, before, within, after)
			wantKeys(t, "Revoke", revoke(t, s, before.Owner, at(time.Millisecond)), before.Key, within.Key)
			wantGone(t, s, before, within)
			wantAlive(t, s, after)
		}},
		{"compares later sessions in whole seconds", func(t *testing.T, s authn.Store) {
			revoke(t, s, record("within").Owner, at(time.Millisecond))
			wantErr(t, "Create within the second", s.Create(t.Context(), signedIn("within", 999*time.Millisecond)), authn.ErrEnded)
			create(t, s, signedIn("after", time.Second))
		}},
	}
}

// revokeMemory returns cases about how long a Revoke lasts.
func revokeMemory() []testCase {
	return []testCase{
		{"SE-07 LB-11 ended sessions stay ended after a new sign-in", func(t *testing.T, s authn.Store) {
			a := record("a")
			create(t, s, a)
			a = load(t, s, a)
			revoke(t, s, a.Owner, at(0))
			create(t, s, signedIn("new", time.Minute))
			wantStaysEnded(t, s, a)
			wantErr(t, "Create of the ended key with a later sign-in", s.Create(t.Context(), signedIn("a", time.Minute)), authn.ErrEnded)
			wantErr(t, "Create of an older sign-in", s.Create(t.Context(), signedIn("old", -time.Minute)), authn.ErrEnded)
			wantAlive(t, s, record("new"))
		}},
		{"LB-12 a sign-in in progress cannot create a session after its owner was revoked", func(t *testing.T, s authn.Store) {
			revoke(t, s, record("a").Owner, at(0))
			wantErr(t, "Create at the revocation", s.Create(t.Context(), signedIn("a", 0)), authn.ErrEnded)
			wantErr(t, "Create before the revocation", s.Create(t.Context(), signedIn("a", -time.Hour)), authn.ErrEnded)
			wantGone(t, s, record("a"))
			bob := signedIn("Bob's", 0)
			bob.Owner = key("owner Bob")
			create(t, s, bob, signedIn("after", time.Second))
		}},
		{"LB-12 a sign-in in progress cannot create a session after its provider session was revoked", func(t *testing.T, s authn.Store) {
			revoke(t, s, record("a").ProviderSession, at(0))
			wantErr(t, "Create at the revocation", s.Create(t.Context(), signedIn("a", 0)), authn.ErrEnded)
			wantErr(t, "Create before the revocation", s.Create(t.Context(), signedIn("a", -time.Hour)), authn.ErrEnded)
			wantGone(t, s, record("a"))
			create(t, s, signedIn("b", 0), signedIn("a", time.Second))
		}},
		{"an earlier notAfter does not lower the previous one", func(t *testing.T, s authn.Store) {
			revoke(t, s, record("a").Owner, at(time.Minute))
			revoke(t, s, record("a").Owner, at(0))
			wantErr(t, "Create", s.Create(t.Context(), signedIn("a", time.Minute)), authn.ErrEnded)
			create(t, s, signedIn("b", time.Minute+time.Second))
		}},
		{"a later notAfter raises the previous one", func(t *testing.T, s authn.Store) {
			revoke(t, s, record("a").Owner, at(0))
			create(t, s, signedIn("a", time.Minute))
			wantKeys(t, "second Revoke", revoke(t, s, record("a").Owner, at(time.Minute)), record("a").Key)
			wantErr(t, "Create", s.Create(t.Context(), signedIn("b", time.Minute)), authn.ErrEnded)
		}},
		{"an earlier until does not shorten the previous one", func(t *testing.T, s authn.Store) {
			for _, until := range []time.Time{at(3 * time.Hour), at(time.Hour)} {
				_, err := s.Revoke(t.Context(), record("a").Owner, at(0), until)
				wantErr(t, "Revoke", err, nil)
			}
			sweep(t, s, at(2*time.Hour))
			wantErr(t, "Create", s.Create(t.Context(), record("a")), authn.ErrEnded)
			sweep(t, s, later())
			create(t, s, record("a"))
		}},
	}
}

// wantStaysEnded tries every write that could bring r back as it was loaded.
func wantStaysEnded(t *testing.T, s authn.Store, r authn.Record) {
	t.Helper()
	wantErr(t, "Save after the end", s.Save(t.Context(), r), authn.ErrNotFound)
	wantErr(t, "Touch after the end", s.Touch(t.Context(), r.Key, at(time.Hour), at(2*time.Hour)), authn.ErrNotFound)
	wantErr(t, "Create after the end", s.Create(t.Context(), r), authn.ErrEnded)
	wantErr(t, "Save after that", s.Save(t.Context(), r), authn.ErrNotFound)
	wantGone(t, s, r)
}

// wantIndexed checks that gone has left the index of the owner that it shares with left. It
// creates gone's key again as Bob's: a leftover entry would still list it as Ada's.
func wantIndexed(t *testing.T, s authn.Store, gone, left authn.Record) {
	t.Helper()
	wantKeys(t, "List", keysOf(list(t, s, left.Owner)), left.Key)
	sweep(t, s, later())
	bobs := gone
	bobs.Owner, bobs.ProviderSession = key("owner Bob"), key("provider session of Bob")
	create(t, s, bobs)
	wantKeys(t, "List", keysOf(list(t, s, left.Owner)), left.Key)
	wantKeys(t, "Revoke of the old provider session", revoke(t, s, gone.ProviderSession, at(2*time.Hour)))
	wantKeys(t, "Revoke of the owner", revoke(t, s, left.Owner, at(2*time.Hour)), left.Key)
	wantAlive(t, s, bobs)
}

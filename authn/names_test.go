package authn_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
)

// replaced returns the site with the secrets that an operator sets one after the other (CF-10): the
// old one, both, and the new one alone.
func replaced(t *testing.T, s *site) (old, both, current *site) {
	use := func(secrets ...openid.Secret) *site {
		return s.with(t, func(c *settings) { c.Sessions.Keys = newKeys(t, secrets...) })
	}
	return use(oldSecret), use(appSecret, oldSecret), use(appSecret)
}

// TestSessionsAreFoundAfterASecretIsReplaced (CF-10, LB-08, SE-14) starts sessions before and after
// the secret is replaced, and expects a logout token and the list of sessions to find them all: those
// that were visited since, and those that were not.
func TestSessionsAreFoundAfterASecretIsReplaced(t *testing.T) {
	t.Parallel()
	in := signInOf("alice").Identity
	ends := map[string]func(t *testing.T, s *site, visits string){
		"LB-08 by sub": func(t *testing.T, s *site, _ string) {
			endAll(t, s, openid.LogoutToken{Issuer: issuer, Subject: in.Subject})
		},
		"LB-08 by sid": func(t *testing.T, s *site, _ string) { endAll(t, s, openid.LogoutToken{Issuer: issuer, SID: in.SID}) },
		"LB-08 by both": func(t *testing.T, s *site, _ string) {
			endAll(t, s, openid.LogoutToken{Issuer: issuer, Subject: in.Subject, SID: in.SID})
		},
		"by front-channel": func(t *testing.T, s *site, _ string) {
			if _, err := s.EndProviderSession(t.Context(), issuer, in.SID); err != nil {
				t.Error(err)
			}
		},
		"SE-14 in the list": func(t *testing.T, s *site, visits string) {
			current := s.wantPerson(t, visits, "alice")
			if _, err := s.EndOthers(t.Context(), current); err != nil {
				t.Error(err)
			}
			if err := s.End(t.Context(), current, authn.CauseSignedOut); err != nil {
				t.Error(err)
			}
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for store, s := range newSites(t) {
				old, both, current := replaced(t, s)
				visits, staysAway := signedIn(t, old, "alice"), signedIn(t, old, "alice")
				bob := signedIn(t, old, "bob")
				both.Touch(t.Context(), both.wantPerson(t, visits, "alice"))
				both.Touch(t.Context(), both.wantPerson(t, bob, "bob"))
				late := signedIn(t, both, "alice")
				if own, err := both.Own(t.Context(), both.wantPerson(t, late, "alice")); err != nil || len(own) != 3 {
					t.Errorf("%s: the list has %d sessions, want 3 (%v)", store, len(own), err)
				}

				afterwards := both
				if store == "memory" { // and once the old secret has been removed
					current.wantPerson(t, staysAway, "")
					afterwards = current
				}
				end(t, afterwards, late)
				for _, value := range []string{visits, late} {
					afterwards.wantPerson(t, value, "")
				}
				if afterwards == both {
					both.wantPerson(t, staysAway, "")
				}
				afterwards.wantPerson(t, bob, "bob")
			}
		})
	}
}

// TestSessionsOfAnEarlierVersionAreFound ends sessions that have the plain name of earlier versions.
func TestSessionsOfAnEarlierVersionAreFound(t *testing.T) {
	t.Parallel()
	for name, visit := range map[string]bool{"visited since": true, "not visited since": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for store, s := range newSites(t) {
				old := sessionOfFormat1(t, s)
				late := signedIn(t, s, "alice")
				if visit {
					s.Touch(t.Context(), s.wantPerson(t, old, "alice"))
				}
				if own, err := s.Own(t.Context(), s.wantPerson(t, late, "alice")); err != nil || len(own) != 2 {
					t.Errorf("%s: the list has %d sessions, want 2 (%v)", store, len(own), err)
				}
				plain, err := s.config.Sessions.Store.List(t.Context(), plainOwner("alice"))
				if err != nil || (len(plain) == 0) != visit {
					t.Errorf("%s: %d records have the plain name (%v)", store, len(plain), err)
				}
				endAll(t, s, openid.LogoutToken{Issuer: issuer, Subject: "subject|alice"})
				s.wantPerson(t, old, "")
				s.wantPerson(t, late, "")
			}
		})
	}
}

// TestNamesAreKeyed (SL-02, SE-09) looks for a person whose issuer, subject and sid are known.
func TestNamesAreKeyed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	session, value := newVisitor(t).signIn(t, s, signInOf("alice"))
	store := s.config.Sessions.Store
	record, err := store.Load(t.Context(), keyOf(value))
	if err != nil {
		t.Fatal(err)
	}
	plain := []authn.Key{plainOwner("alice"), authn.NewKey("provider session", issuer, "sid-of-alice"), authn.NewKey("person", issuer, "subject|alice")}
	for _, key := range plain {
		if slices.Contains(record.Indexes(), key) || session.PersonID() == hex.EncodeToString(key[:8]) {
			t.Error("the plain hash of the person names them")
		}
	}
	if session.PersonID() == hex.EncodeToString(record.Owner[:8]) {
		t.Error("the log and the store have the same name")
	}

	_, again := newVisitor(t).signIn(t, s, signInOf("alice"))
	if same := s.wantPerson(t, again, "alice"); same.PersonID() != session.PersonID() {
		t.Error("two sessions of one person have two ids")
	}
	_, bob := newVisitor(t).signIn(t, s, signInOf("bob"))
	elsewhere, _ := newVisitor(t).signIn(t, s.with(t, func(c *settings) { c.Sessions.Keys = newKeys(t, oldSecret) }), signInOf("alice"))
	for name, other := range map[string]*authn.Session{"another person": s.wantPerson(t, bob, "bob"), "another secret": elsewhere} {
		if other.PersonID() == session.PersonID() {
			t.Errorf("%s has the same id", name)
		}
	}

	// A logout token of someone who is not signed in leaves no plain name behind either.
	endAll(t, s, openid.LogoutToken{Issuer: issuer, Subject: "subject|alice"})
	late := authn.Record{Key: authn.NewKey("session", "late"), Owner: plainOwner("alice"), SignedIn: noon(), Expires: noon().Add(time.Hour)}
	if err := store.Create(t.Context(), late); err != nil {
		t.Errorf("the plain name has been revoked: %v", err)
	}
}

// TestOwnIDLeadsNowhere takes the id in the path that ends a session. It is logged, and must not be
// the store's key.
func TestOwnIDLeadsNowhere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, other := newVisitor(t).signIn(t, s, signInOf("alice"))
	session, value := newVisitor(t).signIn(t, s, signInOf("alice"))
	own, err := s.Own(t.Context(), session)
	if err != nil || len(own) != 2 || own[0].ID == own[1].ID {
		t.Fatalf("the list is %v (%v)", own, err)
	}
	key := keyOf(other)
	for _, id := range []string{base64.RawURLEncoding.EncodeToString(key[:]), hex.EncodeToString(key[:]), hex.EncodeToString(key[:4]), ""} {
		if own[1].ID == id {
			t.Error("the id is the store's key")
		}
		if n, err := s.EndOwn(t.Context(), session, id); n != 0 || err != nil {
			t.Errorf("the store's key has ended %d sessions (%v)", n, err)
		}
	}
	if n, err := s.EndOwn(t.Context(), session, own[1].ID); n != 1 || err != nil {
		t.Errorf("the id has ended %d sessions (%v)", n, err)
	}
	s.wantPerson(t, other, "")
	s.wantPerson(t, value, "alice")
}

// relabelling is a store in the hands of someone who writes other values beside the sealed part.
type relabelling struct {
	authn.Store
	relabel func(*authn.Record)
}

func (s relabelling) Load(ctx context.Context, key authn.Key) (authn.Record, error) {
	r, err := s.Store.Load(ctx, key)
	s.relabel(&r)
	return r, err
}

// TestRecordIsBoundToItsLabels (FM-18) changes what a revocation goes by. The session must not open,
// even if it was opened before.
func TestRecordIsBoundToItsLabels(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		relabel func(*authn.Record)
		opens   bool
	}{
		"nothing":                     {func(*authn.Record) {}, true},
		"last seen":                   {func(r *authn.Record) { r.LastSeen = r.LastSeen.Add(time.Second) }, true},
		"the owner":                   {func(r *authn.Record) { r.Owner[0] ^= 1 }, false},
		"the owner's plain name":      {func(r *authn.Record) { r.Owner = plainOwner("alice") }, false},
		"the provider session":        {func(r *authn.Record) { r.ProviderSession[31] ^= 1 }, false},
		"no provider session":         {func(r *authn.Record) { r.ProviderSession = authn.Key{} }, false},
		"a later sign-in":             {func(r *authn.Record) { r.SignedIn = r.SignedIn.Add(time.Second) }, false},
		"the sign-in in another zone": {func(r *authn.Record) { r.SignedIn = r.SignedIn.In(time.FixedZone("", 3600)) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			value := signedIn(t, s, "alice")
			active := false
			watched := s.with(t, func(config *settings) {
				config.Sessions.Store = relabelling{config.Sessions.Store, func(r *authn.Record) {
					if active {
						c.relabel(r)
					}
				}}
			})
			for range 2 { // the second time puts it into the cache
				watched.wantPerson(t, value, "alice")
			}
			active = true
			want := ""
			if c.opens {
				want = "alice"
			}
			watched.wantPerson(t, value, want)
			active = false
			watched.wantPerson(t, value, "alice")
		})
	}
}

func plainOwner(name string) authn.Key { return authn.NewKey("owner", issuer, "subject|"+name) }

func signedIn(t *testing.T, s *site, name string) (cookie string) {
	t.Helper()
	_, cookie = newVisitor(t).signIn(t, s, signInOf(name))
	return cookie
}

func endAll(t *testing.T, s *site, token openid.LogoutToken) {
	t.Helper()
	token.IssuedAt = s.clock.Now()
	if _, err := s.EndAll(t.Context(), &token); err != nil {
		t.Errorf("EndAll: %v", err)
	}
}

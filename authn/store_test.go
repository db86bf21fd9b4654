package authn_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authn"
	"latchkey/authn/boltstore"
	"latchkey/authn/openid"
	"latchkey/authn/storetest"
)

func openBolt(t *testing.T, path string) *boltstore.Store {
	t.Helper()
	store, err := boltstore.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// newSites returns a site for each store.
func newSites(t *testing.T) map[string]*site {
	t.Helper()
	return map[string]*site{
		"memory": newSite(t),
		"file":   newSiteOn(t, openBolt(t, filepath.Join(t.TempDir(), "sessions.db"))),
	}
}

// TestStolenFileRevealsNothing (SE-09) searches the store's file for everything that is
// private.
func TestStolenFileRevealsNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sessions.db")
	store := openBolt(t, path)
	s, alice := newSiteOn(t, store), newVisitor(t)
	session, value := alice.signIn(t, s, signInOf("alice"))
	saveValue(t, s, alice, "note", "a private note")
	s.after(time.Hour)
	s.Touch(t.Context(), session)
	key := keyOf(value)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(file, key[:]) {
		t.Fatal("the file does not contain the session, so the rest would prove nothing")
	}
	in := signInOf("alice")
	id, secret, _ := strings.Cut(value, ".")
	for name, text := range map[string]string{
		"id": id, "secret": secret, "cookie": value, "access token": string(in.Tokens.Access), "refresh token": string(in.Tokens.Refresh),
		"ID token": string(in.Tokens.IDToken), "e-mail": in.Identity.Profile.Email, "name": in.Identity.Profile.Name,
		"subject": in.Identity.Subject, "sid": in.Identity.SID, "issuer": issuer, "a value": "private note",
		"the application's secret": string(appSecret),
	} {
		forms := []string{text, hex.EncodeToString([]byte(text)), base64.StdEncoding.EncodeToString([]byte(text))}
		if raw, err := base64.RawURLEncoding.DecodeString(text); err == nil && len(raw) == 32 {
			forms = append(forms, string(raw), hex.EncodeToString(raw))
		}
		for i, form := range forms {
			if bytes.Contains(bytes.ToLower(file), bytes.ToLower([]byte(form))) {
				t.Errorf("the file contains the %s (form %d)", name, i)
			}
		}
	}
}

// TestStoreOutageIsAnError (FM-11) closes the store. Every method reports the outage, and
// the cookie stays.
func TestStoreOutageIsAnError(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sessions.db")
	store := openBolt(t, path)
	s, alice := newSiteOn(t, store), newVisitor(t)
	session, value := alice.signIn(t, s, signInOf("alice"))
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	header := alice.visit(t, func(w http.ResponseWriter, r *http.Request) {
		wantOutage(t, s, session, w, r)
	})
	wantNoCookie(t, header)

	s = s.with(t, func(c *settings) { c.Sessions.Store = openBolt(t, path) })
	s.wantPerson(t, alice.cookie(), "alice")
	if alice.cookie() != value {
		t.Error("the cookie has changed after the outage")
	}
}

// wantOutage checks that every method reports that the store does not answer.
func wantOutage(t *testing.T, s *site, session *authn.Session, w http.ResponseWriter, r *http.Request) {
	t.Helper()
	outage := func(what string, err error) {
		t.Helper()
		wantReason(t, what, err, authn.ReasonStoreUnavailable)
	}
	loaded, err := s.Load(r)
	outage("Load", err)
	if loaded != nil {
		t.Error("Load returned a session")
	}
	started, err := s.Start(w, r, signInOf("alice"))
	outage("Start", err)
	if started != nil {
		t.Error("Start returned a session")
	}
	_, err = s.Update(r.Context(), session, func(*authn.Session) error { return nil })
	outage("Update", err)
	outage("End", s.End(r.Context(), session, authn.CauseSignedOut))
	_, err = s.EndAll(r.Context(), &openid.LogoutToken{Issuer: issuer, Subject: session.Identity.Subject, IssuedAt: noon()})
	outage("EndAll by subject", err)
	_, err = s.EndAll(r.Context(), &openid.LogoutToken{Issuer: issuer, Subject: session.Identity.Subject, SID: session.Identity.SID, IssuedAt: noon()})
	outage("EndAll by both", err)
	outage("Ready", s.Ready(r.Context()))

	values, err := s.Get(r, "session")
	outage("Get", err)
	values.Values["colour"] = "red"
	outage("Save", s.Save(r, w, values))
	known := r.WithContext(authn.NewContext(r.Context(), session))
	outage("Save of a session that was loaded", s.Save(known, w, values))
	values.Options.MaxAge = -1
	outage("Save that ends it", s.Save(known, w, values))
	s.Touch(r.Context(), session)
}

// hangingStore does not answer a Ping in time.
type hangingStore struct {
	authn.Store
	pings atomic.Int32
}

func (s *hangingStore) Ping(ctx context.Context) error {
	s.pings.Add(1)
	<-ctx.Done()
	return ctx.Err()
}

// TestReadyDoesNotQueue (CF-06) asks whether the store is ready, many times at once, while it hangs.
// Everyone gets the answer to one question, after a second.
func TestReadyDoesNotQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &hangingStore{Store: authn.NewMemoryStore()}
		s := newSiteOn(t, store)
		for round := range int32(2) { // an outage is not remembered
			began := time.Now()
			var callers sync.WaitGroup
			for range 50 {
				callers.Go(func() {
					wantReason(t, "Ready", s.Ready(t.Context()), authn.ReasonStoreUnavailable)
					if took := time.Since(began); took != time.Second {
						t.Errorf("it took %v", took)
					}
				})
			}
			callers.Wait()
			if n := store.pings.Load(); n != round+1 {
				t.Errorf("the store was asked %d times", n)
			}
		}
	})
}

// TestCanceledRequest (FM-11) loads and changes a session for a canceled request, which is never an
// anonymous visitor's: Load returns the session all the same, and Update an error.
func TestCanceledRequest(t *testing.T) {
	t.Parallel()
	for store, s := range newSites(t) {
		session, value := newVisitor(t).signIn(t, s, signInOf("alice"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := withCookies(t, "__Host-session="+value).WithContext(ctx)
		if loaded, err := s.Load(r); err != nil || loaded == nil {
			t.Errorf("%s: Load: %v", store, err)
		}
		_, err := s.Update(ctx, session, func(*authn.Session) error { return nil })
		wantReason(t, store+": Update", err, authn.ReasonStoreUnavailable)
		s.wantPerson(t, value, "alice")

		// A sign-in and a sign-out continue after the browser has left.
		if _, err := s.Start(httptest.NewRecorder(), r, signInOf("alice")); err != nil {
			t.Errorf("%s: Start: %v", store, err)
		}
		if err := s.End(ctx, session, authn.CauseSignedOut); err != nil {
			t.Errorf("%s: End: %v", store, err)
		}
		s.wantPerson(t, value, "")
	}
}

// edited is the site with the sealed part of a record changed behind its back.
func edited(t *testing.T, s *site, value string, edit func(sealed []byte) []byte) {
	t.Helper()
	record, err := s.config.Sessions.Store.Load(t.Context(), keyOf(value))
	if err != nil {
		t.Fatal(err)
	}
	record.Sealed = edit(bytes.Clone(record.Sealed))
	if err := s.config.Sessions.Store.Save(t.Context(), record); err != nil {
		t.Fatal(err)
	}
}

// TestRecordOpensUnderItsOwnKeyOnly (FM-15, FM-18) makes the store return one record in
// place of another.
func TestRecordOpensUnderItsOwnKeyOnly(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, alice := newVisitor(t).signIn(t, s, signInOf("alice"))
	_, bob := newVisitor(t).signIn(t, s, signInOf("bob"))
	record, err := s.config.Sessions.Store.Load(t.Context(), keyOf(alice))
	if err != nil {
		t.Fatal(err)
	}
	_, aliceSecret, _ := strings.Cut(alice, ".")
	bobID, _, _ := strings.Cut(bob, ".")
	edited(t, s, bob, func([]byte) []byte { return record.Sealed })
	s.wantPerson(t, bob, "")
	s.wantPerson(t, bobID+"."+aliceSecret, "")

	copied := record
	copied.Key = keyOf(madeUp)
	if err := s.config.Sessions.Store.Create(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	s.wantPerson(t, strings.Repeat("A", 43)+"."+aliceSecret, "")
	s.wantPerson(t, alice, "alice")
}

// TestDamagedRecordIsAnonymous (FM-18) damages a record. Its cookie opens nothing, and
// other sessions are not affected.
func TestDamagedRecordIsAnonymous(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, alice := newVisitor(t).signIn(t, s, signInOf("alice"))
	_, bob := newVisitor(t).signIn(t, s, signInOf("bob"))
	record, err := s.config.Sessions.Store.Load(t.Context(), keyOf(alice))
	if err != nil {
		t.Fatal(err)
	}
	for at := range record.Sealed {
		edited(t, s, alice, func([]byte) []byte {
			flipped := bytes.Clone(record.Sealed)
			flipped[at] ^= 0x20
			return flipped
		})
		s.wantPerson(t, alice, "")
		edited(t, s, alice, func([]byte) []byte { return record.Sealed[:at] })
		s.wantPerson(t, alice, "")
	}
	edited(t, s, alice, func([]byte) []byte { return append(record.Sealed, 0) })
	s.wantPerson(t, alice, "")
	edited(t, s, alice, func([]byte) []byte { return make([]byte, 1<<20) })
	s.wantPerson(t, alice, "")
	s.wantPerson(t, bob, "bob")
	edited(t, s, alice, func([]byte) []byte { return record.Sealed })
	s.wantPerson(t, alice, "alice")
}

// TestRecordOfAnotherFormatIsAnonymous (FM-23) has records in formats that this program
// does not know.
func TestRecordOfAnotherFormatIsAnonymous(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	session, value := newVisitor(t).signIn(t, s, signInOf("alice"))
	format := func(version byte) {
		edited(t, s, value, func(sealed []byte) []byte {
			sealed[0] = version
			return sealed
		})
	}
	for _, version := range []byte{0, 1, 2, 3, 5, 255} {
		format(version)
		s.wantPerson(t, value, "")
		_, err := s.Update(t.Context(), session, func(*authn.Session) error { return nil })
		wantReason(t, "Update", err, authn.ReasonSessionEnded)
	}
	format(4)
	s.wantPerson(t, value, "alice")
}

// TestAnOlderFormatIsRead opens a record in format 1, written by an older program, and
// saves it in the current format.
func TestAnOlderFormatIsRead(t *testing.T) {
	t.Parallel()
	for name, s := range newSites(t) {
		t.Run(name, func(t *testing.T) {
			cookie := sessionOfFormat1(t, s)
			alice := newVisitor(t)
			alice.jar.SetCookies(alice.origin, []*http.Cookie{{Name: "__Host-session", Value: cookie, Path: "/", Secure: true}})
			s.wantPerson(t, cookie, "alice")
			saveValue(t, s, alice, "more", "kept since")
			if got := loadValues(t, s, alice); got["note"] != "kept since format 1" || got["more"] != "kept since" {
				t.Errorf("the values are %v", got)
			}
			saved, err := s.config.Sessions.Store.Load(t.Context(), keyOf(cookie))
			if err != nil || saved.Sealed[0] != 4 {
				t.Errorf("after a save, the record has the format %x (%v)", saved.Sealed[:min(1, len(saved.Sealed))], err)
			}
		})
	}
}

// TestIDTokenIsStoredOnce stores ID tokens whose claims the session has, too. The token comes back as it
// was, and its payload takes no space.
func TestIDTokenIsStoredOnce(t *testing.T) {
	t.Parallel()
	claims := openid.Claims(`{"sub":"subject|alice","about":"` + strings.Repeat("x", 1000) + `"}`)
	other := openid.Claims(strings.Replace(string(claims), "about", "other", 1))
	token := func(payload string) openid.Secret { return openid.Secret("header." + payload + ".signature") }
	const overhead = 600 // of everything else in the record
	for name, tt := range map[string]struct {
		claims openid.Claims
		token  openid.Secret
		size   int
	}{
		"of these claims":         {claims, token(base64.RawURLEncoding.EncodeToString(claims)), len(claims)},
		"of other claims":         {claims, token(base64.RawURLEncoding.EncodeToString(other)), len(claims) + len(other)*4/3},
		"without claims":          {nil, token("payload"), 0},
		"that is no signed token": {claims, "opaque", len(claims)},
		"that is missing":         {claims, "", len(claims)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, in := newSite(t), signInOf("alice")
			in.Identity.IDToken, in.Tokens.IDToken = tt.claims, tt.token
			session, value := newVisitor(t).signIn(t, s, in)
			kept, err := s.Update(t.Context(), session, func(*authn.Session) error { return nil })
			if err != nil || kept.IDToken() != tt.token {
				t.Errorf("the ID token came back as %q, want %q (%v)", string(kept.IDToken()), string(tt.token), err)
			}
			record, err := s.config.Sessions.Store.Load(t.Context(), keyOf(value))
			if err != nil || len(record.Sealed) < tt.size || len(record.Sealed) > tt.size+overhead {
				t.Errorf("the record has %d bytes, want %d to %d (%v)", len(record.Sealed), tt.size, tt.size+overhead, err)
			}
		})
	}
}

// sessionOfFormat1 stores a session of Alice's that an older program wrote, and returns its cookie.
func sessionOfFormat1(t *testing.T, s *site) string {
	t.Helper()
	file, err := os.ReadFile("testdata/session-format-1.json")
	if err != nil {
		t.Fatal(err)
	}
	var old struct{ Cookie, Sealed string }
	if err := json.Unmarshal(file, &old); err != nil {
		t.Fatal(err)
	}
	sealed, err := hex.DecodeString(old.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	record := authn.Record{
		Key: keyOf(old.Cookie), Owner: plainOwner("alice"), Device: "a browser",
		SignedIn: noon(), LastSeen: noon(), Expires: noon().Add(time.Hour), Sealed: sealed,
	}
	if err := s.config.Sessions.Store.Create(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	return old.Cookie
}

func TestMemoryStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) authn.Store { return authn.NewMemoryStore() })
}

// TestPagesLoadNoTokens loads a session for pages, where the first one opens the record and the second one
// finds it open, and for a form, whose handler may need the tokens.
func TestPagesLoadNoTokens(t *testing.T) {
	t.Parallel()
	s, b := newSite(t), newVisitor(t)
	in := signInOf("alice")
	in.Tokens.IDToken = "header." + openid.Secret(base64.RawURLEncoding.EncodeToString(in.Identity.IDToken)) + ".signature"
	b.signIn(t, s, in)
	for i, tt := range []struct {
		method string
		want   openid.Secret
	}{{http.MethodGet, ""}, {http.MethodGet, ""}, {http.MethodHead, ""}, {http.MethodPost, in.Tokens.IDToken}, {http.MethodGet, ""}} {
		r := b.request(t)
		r.Method = tt.method
		session, err := s.Load(r)
		switch {
		case err != nil || session == nil:
			t.Errorf("request %d: no session (%v)", i, err)
		case session.IDToken() != tt.want:
			t.Errorf("request %d, a %s, gets the ID token %q, want %q", i, tt.method, string(session.IDToken()), string(tt.want))
		case !session.Renewable():
			t.Errorf("request %d, a %s: the session seems to have no refresh token", i, tt.method)
		}
	}
}

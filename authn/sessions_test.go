package authn_test

import (
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
)

// madeUp is a cookie's value of the right form that nobody gave out.
const madeUp = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"

func TestSE01EverySignInHasANewID(t *testing.T) {
	t.Parallel()
	s, alice := newSite(t), newVisitor(t)
	_, before := alice.signIn(t, s, signInOf("alice"))
	s.wantPerson(t, before, "alice")
	seen := map[string]bool{}
	for range 50 {
		_, after := alice.signIn(t, s, signInOf("alice"))
		for part := range strings.SplitSeq(after, ".") {
			if random, err := base64.RawURLEncoding.DecodeString(part); err != nil || len(random) != 32 || seen[part] {
				t.Fatalf("a part of the cookie is %d bytes, known before: %t, error %v", len(random), seen[part], err)
			}
			seen[part] = true
		}
		s.wantPerson(t, before, "")
		s.wantPerson(t, after, "alice")
		before = after
	}
	if n := s.records(t); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}

func TestSE01APlantedCookieIsWorthNothingAfterASignIn(t *testing.T) {
	t.Parallel()
	mallory := newVisitor(t)
	s := newSite(t)
	_, planted := mallory.signIn(t, s, signInOf("mallory"))
	for _, planted := range []string{planted, madeUp, "rubbish"} {
		alice := newVisitor(t)
		alice.jar.SetCookies(alice.origin, []*http.Cookie{{Name: "__Host-session", Value: planted, Path: "/", Secure: true}})
		if alice.cookie() != planted {
			t.Fatal("the cookie was not planted")
		}
		_, value := alice.signIn(t, s, signInOf("alice"))
		s.wantPerson(t, value, "alice")
		s.wantPerson(t, planted, "")
	}
}

// TestDV05ASessionOfAnotherIssuerOpensNothing changes the provider and keeps the store and
// the keys.
func TestDV05ASessionOfAnotherIssuerOpensNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, value := newVisitor(t).signIn(t, s, signInOf("alice"))
	for name, other := range map[string]string{
		"another provider": "https://other.example/", "the same without its slash": strings.TrimSuffix(issuer, "/"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.with(t, func(c *authn.Config) { c.Issuer = other }).wantPerson(t, value, "")
			s.with(t, func(*authn.Config) {}).wantPerson(t, value, "alice")
		})
	}
}

func TestSE02WhatTheStoreDoesNotKnowIsNeverAdopted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, expired := newVisitor(t).signIn(t, s, signInOf("alice"))
	s.after(24 * time.Hour)
	ended, value := newVisitor(t).signIn(t, s, signInOf("alice"))
	if err := s.End(t.Context(), ended, authn.CauseSignedOut); err != nil {
		t.Fatal(err)
	}
	_, alive := newVisitor(t).signIn(t, s, signInOf("alice"))

	for name, value := range map[string]string{"ended": value, "expired": expired, "chosen by the client": madeUp} {
		w, r := httptest.NewRecorder(), withCookies(t, "__Host-session="+value)
		values, err := s.Get(r, "session")
		if err != nil || !values.IsNew {
			t.Errorf("%s: Get: IsNew %t, error %v", name, values.IsNew, err)
		}
		values.Values["colour"] = "red"
		if err := values.Save(r, w); !errors.Is(err, authn.ErrAnonymous) {
			t.Errorf("%s: Save: %v", name, err)
		}
		wantNoCookie(t, w.Header())
		s.wantPerson(t, value, "")
	}
	s.wantPerson(t, alive, "alice")
	r := withCookies(t, "__Host-session="+alive)
	values, err := s.Get(r, "session")
	if err != nil || values.IsNew {
		t.Errorf("the twin: IsNew %t, error %v", values.IsNew, err)
	}
	values.Values["colour"] = "red"
	if err := values.Save(r, httptest.NewRecorder()); err != nil {
		t.Errorf("the twin: Save: %v", err)
	}
}

func TestSE03AVisitorHasNoRecord(t *testing.T) {
	t.Parallel()
	s, visitor := newSite(t), newVisitor(t)
	for range 100 {
		header := visitor.visit(t, func(w http.ResponseWriter, r *http.Request) {
			session, err := s.Load(r)
			if session != nil || err != nil || s.Stale(r, session) {
				t.Errorf("Load: %v, %v", session, err)
			}
			values, err := s.Get(r, "session")
			if err != nil {
				t.Errorf("Get: %v", err)
			}
			if err := values.Save(r, w); err != nil {
				t.Errorf("Save: %v", err)
			}
		})
		wantNoCookie(t, header)
	}
	if n := s.records(t); n != 0 {
		t.Errorf("%d records for visitors", n)
	}
	visitor.signIn(t, s, signInOf("alice"))
	if n := s.records(t); n != 1 {
		t.Errorf("the twin: %d records, want 1", n)
	}
}

func TestSE05NoCookieIsAnError(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, good := newVisitor(t).signIn(t, s, signInOf("alice"))
	foreign := s.with(t, func(c *authn.Config) { c.Keys = newKeys(t, oldSecret) })
	_, foreignKey := newVisitor(t).signIn(t, foreign, signInOf("alice"))
	id, secret, _ := strings.Cut(good, ".")
	values := []string{
		"", ".", "..", "a.b", id, secret, id + ".", "." + secret, id + secret, id + "." + secret + ".", id + "." + secret + "=",
		secret + "." + id, id + "." + id, secret + "." + secret, strings.ToUpper(good), good + good, `"` + id + `"`,
		madeUp, foreignKey, strings.Repeat("x", 8000), "%00", "null", "undefined", `{"id":1}`, "../../etc/passwd",
	}
	random := rand.New(rand.NewPCG(1, 2)) // the same cookies every time
	for range 600 {
		values = append(values, mutate(random, good))
	}
	for _, value := range values {
		r := withCookies(t, "__Host-session="+value)
		session, err := s.Load(r)
		if session != nil || err != nil {
			t.Fatalf("Load of %q: %v, %v", value, session, err)
		}
		if dropped := strings.HasPrefix(value, "{"); s.Stale(r, nil) == dropped { // net/http drops it
			t.Errorf("%q: stale is %t", value, dropped)
		}
		if _, err := s.Get(r, "session"); err != nil {
			t.Fatalf("Get of %q: %v", value, err)
		}
	}
	s.wantPerson(t, good, "alice")
}

// mutate changes a text somewhere.
func mutate(random *rand.Rand, text string) string {
	b, at := []byte(text), random.IntN(len(text))
	switch random.IntN(4) {
	case 0:
		return string(b[:at])
	case 1:
		return string(b[:at]) + string(b[at+1:])
	case 2:
		return string(b[:at]) + "-" + string(b[at:])
	default:
		const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!*~"
		for old := b[at]; b[at] == old; {
			b[at] = letters[random.IntN(len(letters))]
		}
		return string(b)
	}
}

func TestSE11ASignInAsAnotherPersonLeavesNothingOfTheFirst(t *testing.T) {
	t.Parallel()
	s, shared := newSite(t), newVisitor(t)
	_, first := shared.signIn(t, s, signInOf("alice"))
	shared.visit(t, func(w http.ResponseWriter, r *http.Request) {
		values, err := s.Get(r, "session")
		if err != nil {
			t.Fatal(err)
		}
		values.Values["basket"] = "of alice"
		if err := values.Save(r, w); err != nil {
			t.Fatal(err)
		}
	})
	_, second := shared.signIn(t, s, signInOf("bob"))
	s.wantPerson(t, first, "")
	session := s.wantPerson(t, second, "bob")
	if claims := string(session.Identity.IDToken) + string(session.Identity.UserInfo); strings.Contains(claims, "alice") {
		t.Errorf("claims of the first person: %s", claims)
	}
	if values, err := s.Get(shared.request(t), "session"); err != nil || len(values.Values) > 0 {
		t.Errorf("values of the first person: %v, error %v", values.Values, err)
	}
	if _, err := s.config.Store.Load(t.Context(), keyOf(first)); !errors.Is(err, authn.ErrNotFound) {
		t.Errorf("the record of the first person: %v", err)
	}
	other, third := newVisitor(t).signIn(t, s, signInOf("alice"))
	if other == nil {
		t.Fatal("no session")
	}
	s.wantPerson(t, third, "alice")
	s.wantPerson(t, second, "bob")
}

func TestSE17OnlyTheCookieHeaderCounts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, value := newVisitor(t).signIn(t, s, signInOf("alice"))
	pair := "__Host-session=" + value
	form := httptest.NewRequestWithContext(t.Context(), http.MethodPost, origin, strings.NewReader(pair))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	bearer := withCookies(t, "")
	bearer.Header.Set("Authorization", "Bearer "+value)
	header := withCookies(t, "")
	header.Header.Set("__Host-session", value)
	for name, r := range map[string]*http.Request{
		"query":               httptest.NewRequestWithContext(t.Context(), http.MethodGet, origin+"?"+pair, nil),
		"form":                form,
		"authorization":       bearer,
		"header":              header,
		"without the prefix":  withCookies(t, "session="+value),
		"in another spelling": withCookies(t, "__host-session="+value),
	} {
		if session, err := s.Load(r); session != nil || err != nil {
			t.Errorf("%s: %v, %v", name, session, err)
		}
	}
	s.wantPerson(t, value, "alice")
}

func FuzzLoad(f *testing.F) {
	for _, seed := range []string{"", ".", madeUp, strings.Repeat("A", 87), `"` + madeUp + `"`, madeUp + "; __Host-session=x", "\x00", "é.é", madeUp + "\t"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		s := newSite(t)
		_, good := newVisitor(t).signIn(t, s, signInOf("alice"))
		for _, cookie := range []string{value, good + value, value + good, good[:len(good)/2] + value + good[len(good)/2:]} {
			r := withCookies(t, "__Host-session="+cookie)
			session, err := s.Load(r)
			if err != nil {
				t.Fatalf("Load of %q: %v", cookie, err)
			}
			if sent := r.CookiesNamed("__Host-session"); session != nil && (len(sent) != 1 || sent[0].Value != good) {
				t.Fatalf("%q opened a session", cookie)
			}
		}
	})
}

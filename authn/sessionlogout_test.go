package authn_test

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"latchkey/authn"
)

// people signs in alice twice, once on a phone, and two others, and returns the
// values of their cookies.
func people(t *testing.T, s *site) map[string]string {
	t.Helper()
	phone := signInOf("alice")
	phone.Identity.SID = "sid-of-alices-phone"
	elsewhere := signInOf("alice")
	elsewhere.Identity.Issuer = "https://other.example/"
	cookies := map[string]string{}
	for who, in := range map[string]*authn.SignIn{
		"alice": signInOf("alice"), "alice's phone": phone, "bob": signInOf("bob"), "alice of another issuer": elsewhere,
	} {
		_, cookies[who] = newVisitor(t).signIn(t, s, in)
	}
	return cookies
}

func TestLB08WhatALogoutTokenEnds(t *testing.T) {
	t.Parallel()
	in := signInOf("alice").Identity
	for _, c := range []struct {
		name   string
		token  authn.LogoutToken
		ended  []string
		reason authn.Reason
	}{
		{name: "LB-08 a sid ends that session", token: authn.LogoutToken{Issuer: issuer, SID: in.SID}, ended: []string{"alice"}},
		{name: "LB-08 a sub ends all of the subject's", token: authn.LogoutToken{Issuer: issuer, Subject: in.Subject}, ended: []string{"alice", "alice's phone"}},
		{name: "LB-08 both end that session", token: authn.LogoutToken{Issuer: issuer, Subject: in.Subject, SID: in.SID}, ended: []string{"alice"}},
		{name: "LB-08 a sid of another subject ends nothing", token: authn.LogoutToken{Issuer: issuer, Subject: "subject|bob", SID: in.SID}, reason: authn.ReasonLogoutTokenInvalid},
		{name: "LB-08 another issuer ends its own", token: authn.LogoutToken{Issuer: "https://other.example/", Subject: in.Subject}, ended: []string{"alice of another issuer"}},
		{name: "LB-14 an unknown sid is no error", token: authn.LogoutToken{Issuer: issuer, SID: "unknown"}},
		{name: "LB-14 an unknown sub is no error", token: authn.LogoutToken{Issuer: issuer, Subject: "unknown"}},
		{name: "LB-08 a sid is no sub", token: authn.LogoutToken{Issuer: issuer, Subject: in.SID}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for store, s := range newSites(t) {
				cookies := people(t, s)
				c.token.IssuedAt = noon()
				n, err := s.EndAll(t.Context(), &c.token)
				wantReason(t, store+": EndAll", err, c.reason)
				if n != len(c.ended) {
					t.Errorf("%s: %d ended, want %d", store, n, len(c.ended))
				}
				for _, who := range c.ended {
					s.wantPerson(t, cookies[who], "")
					delete(cookies, who)
				}
				for who, value := range cookies {
					site, name := s, "alice"
					switch who {
					case "bob":
						name = who
					case "alice of another issuer":
						site = s.with(t, func(c *authn.Config) { c.Issuer = "https://other.example/" })
					}
					site.wantPerson(t, value, name)
				}
			}
		})
	}
}

func TestLogoutAndLaterSignIns(t *testing.T) {
	t.Parallel()
	alice := signInOf("alice").Identity
	for name, token := range map[string]authn.LogoutToken{
		"by sid":  {Issuer: issuer, SID: alice.SID, IssuedAt: noon()},
		"by sub":  {Issuer: issuer, Subject: alice.Subject, IssuedAt: noon()},
		"by both": {Issuer: issuer, Subject: alice.Subject, SID: alice.SID, IssuedAt: noon()},
	} {
		t.Run("LB-10 LB-11 "+name, func(t *testing.T) {
			t.Parallel()
			for store, s := range newSites(t) {
				_, first := newVisitor(t).signIn(t, s, signInOf("alice"))
				wantEnded(t, s, &token, 1)
				later := signInOf("alice")
				later.At = noon().Add(time.Second)
				_, second := newVisitor(t).signIn(t, s, later)
				s.wantPerson(t, first, "")
				wantEnded(t, s, &token, 0)
				s.wantPerson(t, first, "")
				if s.wantPerson(t, second, "alice") == nil {
					t.Errorf("%s: the later sign-in is gone", store)
				}
			}
		})
		t.Run("LB-12 "+name, func(t *testing.T) {
			t.Parallel()
			for store, s := range newSites(t) {
				previous, value := newVisitor(t).signIn(t, s, signInOf("bob"))
				wantEnded(t, s, &token, 0)
				wantRefused(t, store, s, value)
				s.after(15 * time.Minute) // as long as a sign-in may take
				if _, err := s.config.Store.Sweep(t.Context(), s.clock.Now()); err != nil {
					t.Fatal(err)
				}
				wantRefused(t, store, s, value)
				if got := s.wantPerson(t, value, "bob"); got.LogID() != previous.LogID() {
					t.Errorf("%s: another session", store)
				}
				_, twin := newVisitor(t).signIn(t, s, signInOf("carol"))
				s.wantPerson(t, twin, "carol")
			}
		})
	}
}

func wantEnded(t *testing.T, s *site, token *authn.LogoutToken, want int) {
	t.Helper()
	if n, err := s.EndAll(t.Context(), token); n != want || err != nil {
		t.Errorf("EndAll: %d ended, error %v, want %d", n, err, want)
	}
}

// wantRefused completes a sign-in of alice's that began before the logout, in a
// browser that has a session.
func wantRefused(t *testing.T, store string, s *site, value string) {
	t.Helper()
	in := signInOf("alice")
	in.ReturnTo = "/reports"
	w := httptest.NewRecorder()
	session, err := s.Start(w, withCookies(t, "__Host-session="+value), in)
	wantReason(t, store+": Start", err, authn.ReasonSessionEnded)
	refused, ok := errors.AsType[*authn.Error](err)
	if session != nil || !errors.Is(err, authn.ErrEnded) || !ok || refused.ReturnTo != "/reports" {
		t.Errorf("%s: Start: %v, %v", store, session, err)
	}
	wantNoCookie(t, w.Header())
}

// TestLB18NothingIsLeftOfAnEndedSession (LB-18) looks for the tokens of a session that the
// provider has ended: the store has none, and nobody gets to use them. They are dropped and
// not revoked: only the person's cookie opens them, and the provider knows of the end. Where
// the person ends it, they are revoked (LR-05, RT-12).
func TestLB18NothingIsLeftOfAnEndedSession(t *testing.T) {
	t.Parallel()
	for store, s := range newSites(t) {
		session, value := newVisitor(t).signIn(t, s, signInOf("alice"))
		before, err := s.config.Store.Load(t.Context(), keyOf(value))
		if err != nil || len(before.Sealed) == 0 {
			t.Fatalf("%s: Load: %d bytes, %v", store, len(before.Sealed), err)
		}
		wantEnded(t, s, &authn.LogoutToken{Issuer: issuer, SID: session.Identity.SID, IssuedAt: noon()}, 1)
		after, err := s.config.Store.Load(t.Context(), keyOf(value))
		if !errors.Is(err, authn.ErrNotFound) || len(after.Sealed) > 0 {
			t.Errorf("%s: the store still has %d sealed bytes (%v)", store, len(after.Sealed), err)
		}
		_, err = tokenSource(t, s).Token(authn.NewContext(t.Context(), session))
		if err != nil {
			t.Errorf("%s: a request that is under way has lost its access token: %v", store, err)
		}
		_, err = tokenSource(t, s).Lease(t.Context(), session)
		wantReason(t, store+": using the refresh token", err, authn.ReasonSessionEnded)
	}
}

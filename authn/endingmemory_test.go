package authn_test

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
)

// remembered reports whether the store remembers that a session was ended.
func remembered(t *testing.T, s *site, cookie string) bool {
	t.Helper()
	_, err := s.config.Sessions.Store.Load(t.Context(), keyOf(cookie))
	if !errors.Is(err, authn.ErrNotFound) {
		t.Errorf("Load returned %v", err)
	}
	_, ended := errors.AsType[*authn.EndedError](err)
	return ended
}

// TestEndedSessionsAreForgotten (DO-12, SE-07) ends a session in each way. The store remembers the
// end for as long as a sign-in or a request in progress could bring the session back, and no longer:
// one account could otherwise fill it.
func TestEndedSessionsAreForgotten(t *testing.T) {
	t.Parallel()
	const inProgress, forgotten = 25 * time.Minute, 27 * time.Minute
	for name, end := range map[string]func(t *testing.T, s *site, v *visitor, session *authn.Session){
		"signed out": func(t *testing.T, s *site, _ *visitor, session *authn.Session) {
			if err := s.End(t.Context(), session, authn.CauseSignedOut); err != nil {
				t.Error(err)
			}
		},
		"replaced": func(t *testing.T, s *site, v *visitor, _ *authn.Session) { v.signIn(t, s, signInOf("alice")) },
		"ended elsewhere": func(t *testing.T, s *site, _ *visitor, _ *authn.Session) {
			other, _ := newVisitor(t).signIn(t, s, signInOf("alice"))
			if _, err := s.EndOthers(t.Context(), other); err != nil {
				t.Error(err)
			}
		},
		"surplus": func(t *testing.T, s *site, _ *visitor, _ *authn.Session) {
			one := s.with(t, func(c *settings) { c.Sessions.SessionsPerPerson = 1 })
			newVisitor(t).signIn(t, one, signInOf("alice"))
		},
		"ended by the provider": func(t *testing.T, s *site, _ *visitor, _ *authn.Session) {
			endAll(t, s, openid.LogoutToken{Issuer: issuer, Subject: "subject|alice"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for store, s := range newSites(t) {
				alice := newVisitor(t)
				session, cookie := alice.signIn(t, s, signInOf("alice"))
				end(t, s, alice, session)
				for _, after := range []time.Duration{0, inProgress} {
					sweepAt(t, s, after)
					if !remembered(t, s, cookie) {
						t.Errorf("%s: after %v, the end is forgotten", store, after)
					}
				}
				sweepAt(t, s, forgotten)
				if remembered(t, s, cookie) {
					t.Errorf("%s: after %v, the end is still remembered", store, forgotten)
				}
				s.wantPerson(t, cookie, "")
			}
		})
	}
}

// TestUnknownSessionsLeaveNothing signs in with the cookies of sessions that are not there, and ends
// a session twice. The store must not remember what was never in it.
func TestUnknownSessionsLeaveNothing(t *testing.T) {
	t.Parallel()
	for store, s := range newSites(t) {
		bob := signedIn(t, s, "bob")
		for name, cookie := range map[string]string{"made up": madeUp, "with another secret": wrongSecret(bob)} {
			w := httptest.NewRecorder()
			if _, err := s.Start(w, withCookies(t, "__Host-session="+cookie), signInOf("alice")); err != nil {
				t.Fatal(err)
			}
			_, err := s.config.Sessions.Store.Load(t.Context(), keyOf(cookie))
			if _, ended := errors.AsType[*authn.EndedError](err); ended {
				t.Errorf("%s: a sign-in with a cookie %s leaves an ended session", store, name)
			}
		}
		s.wantPerson(t, bob, "bob")

		session := s.wantPerson(t, bob, "bob")
		for range 2 {
			if err := s.End(t.Context(), session, authn.CauseSignedOut); err != nil {
				t.Error(err)
			}
			if !remembered(t, s, bob) {
				t.Errorf("%s: the end is not remembered", store)
			}
		}
		sweepAt(t, s, time.Hour)
		if err := s.End(t.Context(), session, authn.CauseSignedOut); err != nil {
			t.Error(err)
		}
		if remembered(t, s, bob) {
			t.Errorf("%s: the end of a session that is long gone is remembered", store)
		}
	}
}

func wrongSecret(cookie string) string { return cookie[:len(cookie)/2+1] + madeUp[len(madeUp)/2+1:] }

// sweepAt sweeps as of d after noon.
func sweepAt(t *testing.T, s *site, d time.Duration) {
	t.Helper()
	if _, err := s.config.Sessions.Store.Sweep(t.Context(), noon().Add(d)); err != nil {
		t.Error(err)
	}
}

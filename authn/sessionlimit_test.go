package authn_test

import (
	"testing"
	"time"

	"latchkey/authn"
)

// TestSE13APersonHasSoManySessions signs one person in again and again, without ever signing
// out.
func TestSE13APersonHasSoManySessions(t *testing.T) {
	t.Parallel()
	signIns, limit := 10_000, 50
	if testing.Short() || raceDetector {
		signIns = 1_000
	}
	s := newSite(t)
	_, bob := newVisitor(t).signIn(t, s, signInOf("bob"))
	_, first := newVisitor(t).signIn(t, s, signInOf("alice"))
	last, kept := first, ""
	for n := range signIns {
		s.after(time.Duration(n) * time.Second)
		cookie, _ := startCookie(t, s, signInOf("alice"))
		if last = cookie.Value; n == signIns-limit {
			kept = last
		}
	}
	s.wantPerson(t, first, "")
	s.wantPerson(t, kept, "alice")
	s.wantPerson(t, last, "alice")
	s.wantPerson(t, bob, "bob")
	records, err := s.config.Store.List(t.Context(), authn.OwnerKey(issuer, "subject|alice"))
	if err != nil || len(records) != limit {
		t.Errorf("there are %d sessions of one person (%v), want %d", len(records), err, limit)
	}
}

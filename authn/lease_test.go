package authn_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authn"
)

// TestLease takes the lease on one session's tokens on two nodes, whose clocks differ. Time
// is the bubble's.
func TestLease(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{
		"RT-03 one clock": 0, "RT-03 the other a minute ahead": time.Minute, "RT-03 the other four minutes behind": -4 * time.Minute,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t).with(t, func(c *authn.Config) { c.Now = time.Now })
				session, _ := newVisitor(t).signIn(t, s, signInOf("alice"))
				die, err := tokenSource(t, s).Lease(t.Context(), session)
				if err != nil {
					t.Fatal(err)
				}
				defer die()
				other := tokenSource(t, s.with(t, func(c *authn.Config) { c.Now = func() time.Time { return time.Now().Add(ahead) } }))
				wait := func(d time.Duration) bool {
					ctx, cancel := context.WithTimeout(t.Context(), d)
					defer cancel()
					dead, err := other.Lease(ctx, session)
					defer dead()
					if err != nil {
						wantReason(t, "Lease", err, authn.ReasonProviderUnreachable)
					}
					return err == nil
				}
				if wait(time.Minute) {
					t.Fatal("taken from a holder that works")
				}
				die()
				if wait(3 * time.Second) {
					t.Error("taken from a holder that has only just died")
				}
				if !wait(7 * time.Second) {
					t.Error("not taken from a holder that has died")
				}
			})
		})
	}
	t.Run("FM-20 left behind long ago", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t).with(t, func(c *authn.Config) { c.Now = time.Now })
			session, _ := newVisitor(t).signIn(t, s, signInOf("alice"))
			die, err := tokenSource(t, s).Lease(t.Context(), session)
			if err != nil {
				t.Fatal(err)
			}
			die()
			time.Sleep(6 * time.Minute)
			began := time.Now()
			die, err = tokenSource(t, s).Lease(t.Context(), session)
			if took := time.Since(began); err != nil || took > 0 {
				t.Errorf("taken after %s (%v), want at once", took, err)
			}
			die()
		})
	})
}

func tokenSource(t *testing.T, s *site) *authn.TokenSource {
	t.Helper()
	rp, err := authn.NewRelyingParty(s.config)
	if err != nil {
		t.Fatal(err)
	}
	return authn.NewTokenSource(rp, s.Sessions)
}

package authn_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// TestTimeouts (SE-04) checks the idle timeout and the absolute timeout to the microsecond.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	const (
		hour   = time.Hour
		moment = time.Microsecond
	)
	every := func(step time.Duration, n int) (times []time.Duration) {
		for i := range n {
			times = append(times, time.Duration(i+1)*step)
		}
		return times
	}
	for _, c := range []struct {
		name           string
		touched        []time.Duration // since the sign-in
		idle, absolute time.Duration   // as configured at the end; 0 leaves it
		at             time.Duration
		alive          bool
	}{
		{name: "idle, a moment before", at: 24*hour - moment, alive: true},
		{name: "idle", at: 24 * hour},
		{name: "a touch moves the idle end", touched: []time.Duration{20 * hour}, at: 44*hour - moment, alive: true},
		{name: "to where it says", touched: []time.Duration{20 * hour}, at: 44 * hour},
		{name: "a touch comes too late", touched: []time.Duration{24 * hour}, at: 25 * hour},
		{name: "a touch within a minute moves nothing", touched: []time.Duration{time.Minute - moment}, at: 24 * hour},
		{name: "a touch after a minute does", touched: []time.Duration{time.Minute}, at: 24 * hour, alive: true},
		{name: "absolute, a moment before", touched: every(12*hour, 13), at: 168*hour - moment, alive: true},
		{name: "absolute, whatever is touched", touched: every(12*hour, 13), at: 168 * hour},
		{name: "a touch just before the absolute end", touched: append(every(12*hour, 13), 168*hour-moment), at: 168 * hour},
		{name: "a shorter idle lifetime counts for an old session", idle: hour, at: hour},
		{name: "and not before its time", idle: hour, at: hour - moment, alive: true},
		{name: "a shorter absolute lifetime counts for an old session", idle: hour, absolute: 30 * hour, touched: every(hour/2, 60), at: 30 * hour},
		{name: "and not before its time either", idle: hour, absolute: 30 * hour, touched: every(hour/2, 59), at: 30*hour - moment, alive: true},
		{name: "a longer absolute lifetime counts for new sessions only", absolute: 336 * hour, touched: every(12*hour, 13), at: 168 * hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			_, value := newVisitor(t).signIn(t, s, signInOf("alice"))
			for _, at := range c.touched {
				s.after(at)
				if session, err := s.Load(withCookies(t, "__Host-session="+value)); err == nil && session != nil {
					s.Touch(t.Context(), session)
				}
			}
			s.after(c.at)
			now := s.with(t, func(config *settings) {
				if c.idle > 0 {
					config.Sessions.Idle = c.idle
				}
				if c.absolute > 0 {
					config.Sessions.Absolute = c.absolute
				}
			})
			want := ""
			if c.alive {
				want = "alice"
			}
			now.wantPerson(t, value, want)
		})
	}
}

// TestOnlyTouchExtendsTheIdleTimeout (SE-04) changes a session without a request from the
// person.
func TestOnlyTouchExtendsTheIdleTimeout(t *testing.T) {
	t.Parallel()
	s, alice := newSite(t), newVisitor(t)
	_, value := alice.signIn(t, s, signInOf("alice"))
	for at := time.Hour; at < 24*time.Hour; at += time.Hour {
		s.after(at)
		session := s.wantPerson(t, value, "alice")
		if _, err := s.Update(t.Context(), session, func(*authn.Session) error { return nil }); err != nil {
			t.Fatal(err)
		}
		saveValue(t, s, alice, "at", at.String())
	}
	s.after(24 * time.Hour)
	s.wantPerson(t, value, "")
}

// TestTimesOfASession (SE-04) checks the times that a session reports.
func TestTimesOfASession(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	started, value := newVisitor(t).signIn(t, s, signInOf("alice"))
	s.after(20 * time.Hour)
	touched := s.wantPerson(t, value, "alice")
	s.Touch(t.Context(), touched)
	s.after(150 * time.Hour)
	loaded := s.with(t, func(c *settings) { c.Sessions.Idle = c.Sessions.Absolute }).wantPerson(t, value, "alice")
	for _, c := range []struct {
		name      string
		got, want time.Time
	}{
		{"started", started.Started, noon()},
		{"absolute end", started.Expires, noon().Add(168 * time.Hour)},
		{"idle end", started.IdleUntil, noon().Add(24 * time.Hour)},
		{"idle end when touched", touched.IdleUntil, noon().Add(44 * time.Hour)},
		{"last seen when touched", touched.LastSeen, noon().Add(20 * time.Hour)},
		{"last seen when loaded", loaded.LastSeen, noon().Add(20 * time.Hour)},
		{"idle end, never after the absolute one", loaded.IdleUntil, noon().Add(168 * time.Hour)},
	} {
		if !c.got.Equal(c.want) {
			t.Errorf("%s: %s, want %s", c.name, c.got, c.want)
		}
	}
}

// TestEndedSessionStaysEnded (SE-07) writes to a session after its end.
func TestEndedSessionStaysEnded(t *testing.T) {
	t.Parallel()
	ends := map[string]func(t *testing.T, s *site, session *authn.Session){
		"End": func(t *testing.T, s *site, session *authn.Session) {
			if err := s.End(t.Context(), session, authn.CauseSignedOut); err != nil {
				t.Fatal(err)
			}
		},
		"EndAll": func(t *testing.T, s *site, session *authn.Session) {
			if n, err := s.EndAll(t.Context(), &openid.LogoutToken{Issuer: issuer, SID: session.Identity.SID, IssuedAt: noon()}); n != 1 || err != nil {
				t.Fatalf("EndAll: %d, %v", n, err)
			}
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for store, s := range newSites(t) {
				alice := newVisitor(t)
				session, value := alice.signIn(t, s, signInOf("alice"))
				s.after(time.Hour)
				values, err := s.Get(alice.request(t), "session")
				if err != nil {
					t.Fatal(err)
				}
				loaded := s.wantPerson(t, value, "alice")
				r := alice.request(t)
				r = r.WithContext(authn.NewContext(r.Context(), loaded))
				end(t, s, session)

				_, err = s.Update(t.Context(), loaded, func(*authn.Session) error { t.Error("Update ran its function for an ended session"); return nil })
				wantReason(t, store+": Update", err, authn.ReasonSessionEnded)
				s.Touch(t.Context(), loaded)
				values.Values["colour"] = "red"
				alice.visit(t, func(w http.ResponseWriter, _ *http.Request) {
					wantReason(t, store+": Save", values.Save(r, w), authn.ReasonSessionEnded)
				})
				s.wantPerson(t, value, "")
				if _, err := s.config.Sessions.Store.Load(t.Context(), keyOf(value)); !errors.Is(err, authn.ErrNotFound) {
					t.Errorf("%s: the record still exists: %v", store, err)
				}
				if _, err := s.config.Sessions.Store.Sweep(t.Context(), s.clock.Now()); err != nil {
					t.Fatal(err)
				}
				if err := s.config.Sessions.Store.Create(t.Context(), authn.Record{Key: keyOf(value), SignedIn: noon()}); !errors.Is(err, authn.ErrEnded) {
					t.Errorf("%s: Create of an ended session: %v", store, err)
				}
			}
		})
	}
}

// TestSlowUpdateDoesNotReviveASession (SE-07) ends a session while an update is running.
func TestSlowUpdateDoesNotReviveASession(t *testing.T) {
	t.Parallel()
	for store, s := range newSites(t) {
		session, value := newVisitor(t).signIn(t, s, signInOf("alice"))
		_, err := s.Update(t.Context(), session, func(*authn.Session) error { return s.End(t.Context(), session, authn.CauseSignedOut) })
		wantReason(t, store+": Update", err, authn.ReasonSessionEnded)
		s.wantPerson(t, value, "")

		twin, value := newVisitor(t).signIn(t, s, signInOf("alice"))
		if _, err := s.Update(t.Context(), twin, func(fresh *authn.Session) error { fresh.ProfileAt = noon().Add(time.Hour); return nil }); err != nil {
			t.Errorf("%s: control: %v", store, err)
		}
		if got := s.wantPerson(t, value, "alice").ProfileAt; !got.Equal(noon().Add(time.Hour)) {
			t.Errorf("%s: control: the change is lost: %s", store, got)
		}
	}
}

// TestConcurrentUpdatesLoseNothing (SE-08) updates one session from several goroutines.
func TestConcurrentUpdatesLoseNothing(t *testing.T) {
	t.Parallel()
	const workers = 10
	for store, s := range newSites(t) {
		alice := newVisitor(t)
		session, value := alice.signIn(t, s, signInOf("alice"))
		var wg sync.WaitGroup
		for worker := range workers {
			wg.Go(func() {
				if _, err := s.Update(t.Context(), session, func(fresh *authn.Session) error {
					fresh.Changes = append(fresh.Changes, openid.Change{Name: string(rune('a' + worker))})
					return nil
				}); err != nil {
					t.Errorf("%s: Update: %v", store, err)
				}
			})
		}
		wg.Wait()
		seen := map[string]bool{}
		for _, change := range s.wantPerson(t, value, "alice").Changes {
			seen[change.Name] = true
		}
		if len(seen) != workers {
			t.Errorf("%s: %d of %d changes were kept", store, len(seen), workers)
		}
	}
}

func TestSessionEndsWithTheProviders(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		expiry, after time.Duration
		alive         bool
	}{
		"ID-24 a second before":       {5 * time.Second, 4 * time.Second, true},
		"ID-24 when it ends":          {5 * time.Second, 5 * time.Second, false},
		"ID-24 later than our own":    {365 * 24 * time.Hour, 59 * time.Minute, true},
		"ID-24 our own goes on ahead": {365 * 24 * time.Hour, time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.op.EditIDToken(claimOf("session_expiry", a.clock.Now().Add(tt.expiry).Unix()))
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			a.clock.Move(tt.after)
			if got := b.who().Subject != ""; got != tt.alive {
				t.Errorf("the session is valid: %t, want %t", got, tt.alive)
			}
		})
	}
	t.Run("ID-24 a refresh says that it ends earlier", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		end := a.clock.Now().Add(10 * time.Minute)
		a.op.EditIDToken(claimOf("session_expiry", end.Unix()))
		a.op.RevokeAccessTokens()
		if got := b.post(a.URL+"/refresh", nil); got.status != http.StatusOK {
			t.Fatalf("refused: %s", got.text)
		}
		if got := b.who().Expires; !got.Equal(end) {
			t.Errorf("the session ends at %s, want %s", got, end)
		}
	})
	t.Run("ID-23 an ID token without sid is noted", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		a.op.EditIDToken(func(token *scriptedop.JWT) { delete(token.Claims, "sid") })
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		if !strings.Contains(a.log.String(), "has no sid") {
			t.Errorf("the log is:\n%s", a.log.String())
		}
	})
}

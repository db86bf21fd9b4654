package authn_test

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	first, second := scriptedop.NewKey("first", "ES256"), scriptedop.NewKey("second", "ES256")
	sameKid := scriptedop.Key{ID: "first", Algorithm: "ES256", Private: second.Private}
	for name, tt := range map[string]struct {
		rotate   func(op *scriptedop.Provider)
		after    time.Duration
		accepted bool
		fetches  int
	}{
		"FM-05 none": {func(*scriptedop.Provider) {}, 0, true, 1},
		"FM-05 published ahead, the old one signs":           {func(op *scriptedop.Provider) { op.SetKeys(first, second) }, 0, true, 1},
		"FM-05 published in the instant before it signs":     {func(op *scriptedop.Provider) { op.SetKeys(second, first) }, 0, true, 2},
		"FM-05 the old one is gone at once":                  {func(op *scriptedop.Provider) { op.SetKeys(second) }, 0, true, 2},
		"FM-05 a new key of the same kid":                    {func(op *scriptedop.Provider) { op.SetKeys(sameKid) }, 0, true, 2},
		"FM-05 signs before it is published":                 {func(op *scriptedop.Provider) { op.SignWith(second) }, 0, false, 2},
		"DO-10 the withdrawn key, while the set is fresh":    {withdraw(second, first), 15*time.Minute - time.Second, true, 1},
		"DO-10 the withdrawn key, once the set is too old":   {withdraw(second, first), 15 * time.Minute, false, 2},
		"DO-10 a key that stays, once the set is too old":    {func(op *scriptedop.Provider) { op.SetKeys(first, second) }, 15 * time.Minute, true, 2},
		"DO-10 the provider hides its keys, not yet an hour": {hide, time.Hour - time.Second, true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{op: scriptedop.Config{Keys: []scriptedop.Key{first}}})
			earlier, b := a.person(t), a.person(t)
			earlier.wantSignedIn(earlier.signIn(), "alice")
			tt.rotate(a.op)
			a.clock.Move(tt.after)
			got := b.signIn()
			if tt.accepted {
				b.wantSignedIn(got, "alice")
			} else {
				b.wantRefused(got, authn.ReasonIDTokenInvalid, 2, 1)
			}
			if n := a.op.Calls(scriptedop.JWKS); n != tt.fetches {
				t.Errorf("the key set was fetched %d times, want %d", n, tt.fetches)
			}
		})
	}
	t.Run("DO-10 the provider hides its keys for an hour", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		earlier, b := a.person(t), a.person(t)
		earlier.wantSignedIn(earlier.signIn(), "alice")
		hide(a.op)
		a.clock.Move(time.Hour)
		b.wantRefused(b.signIn(), authn.ReasonProviderMisconfigured, 2, 1)
	})
	t.Run("FM-05 a hundred people at a rotation", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{op: scriptedop.Config{Keys: []scriptedop.Key{first}}})
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		a.op.SetKeys(second)
		var callbacks, cookies []string
		for range 100 {
			b := a.person(t)
			callbacks = append(callbacks, b.authorize(b.begin("")))
			cookies = append(cookies, b.cookieHeader())
		}
		var wg sync.WaitGroup
		var signedIn atomic.Int32
		for i, callback := range callbacks {
			wg.Go(func() {
				if status(t, callback, cookies[i]) == http.StatusSeeOther {
					signedIn.Add(1)
				}
			})
		}
		wg.Wait()
		if n := signedIn.Load(); n != 100 {
			t.Errorf("%d of 100 are signed in", n)
		}
		if n := a.op.Calls(scriptedop.JWKS); n < 2 || n > 3 {
			t.Errorf("the key set was fetched %d times, want 2 or 3", n)
		}
	})
}

// withdraw publishes one key and goes on signing with another.
func withdraw(published, signer scriptedop.Key) func(*scriptedop.Provider) {
	return func(op *scriptedop.Provider) {
		op.SetKeys(published)
		op.SignWith(signer)
	}
}

func hide(op *scriptedop.Provider) { op.Answer(scriptedop.JWKS, scriptedop.Status(http.StatusOK)) }

func TestKeySetIsFetchedSeldom(t *testing.T) {
	t.Parallel()
	for name, forge := range map[string]func(i int) scriptedop.Key{
		"DO-08 LB-17 of unknown keys": func(i int) scriptedop.Key {
			return scriptedop.Key{ID: "stranger-" + strconv.Itoa(i), Algorithm: "ES256", Private: scriptedop.NewKey("", "ES256").Private}
		},
		"DO-08 LB-17 of a known kid": func(int) scriptedop.Key { return scriptedop.NewKey("key-1", "ES256") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			for range 3 { // and again, a moment of refetching later
				before := a.op.Calls(scriptedop.JWKS)
				for i := range 300 {
					token := a.op.LogoutToken()
					token.Key = forge(i)
					if got := b.signOutByProvider(token); got.reason != authn.ReasonLogoutTokenInvalid && got.reason != authn.ReasonProviderUnreachable {
						t.Fatalf("answered %d %q", got.status, got.text)
					}
				}
				if n := a.op.Calls(scriptedop.JWKS) - before; n > 1 {
					t.Errorf("fetched %d times within 30 seconds", n)
				}
				b.wantSignedIn(b.signIn(), "alice")
				a.clock.Move(30 * time.Second)
			}
			// After the flood a new key is found.
			a.op.SetKeys(scriptedop.NewKey("key-2", "ES256"))
			b.wantSignedIn(b.signIn(), "alice")
		})
	}
}

func TestKeySetHangs(t *testing.T) {
	t.Parallel()
	t.Run("DO-09 nobody waits whose key is known", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		asked, release := make(chan struct{}), make(chan struct{})
		a.op.Answer(scriptedop.JWKS, func(w http.ResponseWriter, r *http.Request) {
			close(asked)
			scriptedop.After(release, a.op.Correct(scriptedop.JWKS))(w, r)
		})
		newKey := scriptedop.NewKey("key-2", "ES256")
		token := a.op.LogoutToken()
		token.Key = newKey
		waiting := make(chan error)
		go func() {
			_, err := a.rp.VerifyLogoutToken(t.Context(), token.Compact())
			waiting <- err
		}()
		await(t, asked)
		other := a.person(t)
		other.wantSignedIn(other.signIn(), "alice")
		select {
		case err := <-waiting:
			t.Errorf("the other one did not wait: %v", err)
		default:
		}
		close(release)
		if err := <-waiting; authn.ReasonOf(err) != authn.ReasonLogoutTokenInvalid {
			t.Errorf("the other one: %v", err)
		}
	})
	t.Run("DO-09 at the first sign-in", func(t *testing.T) {
		t.Parallel()
		if testing.Short() {
			t.Skip("waits for a time limit")
		}
		a := newApp(t, appOptions{})
		a.op.Answer(scriptedop.JWKS, scriptedop.Hang)
		b := a.person(t)
		b.wantRefused(b.signIn(), authn.ReasonProviderUnreachable, 1, 0)
	})
}

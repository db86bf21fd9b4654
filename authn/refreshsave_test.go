package authn_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

// fullStore is a store whose disk can be full: what it has can be read.
type fullStore struct {
	authn.Store
	full atomic.Bool
	// saved receives when a record has been saved, if somebody waits for it.
	saved chan struct{}
}

func (s *fullStore) Save(ctx context.Context, r authn.Record) error {
	if s.full.Load() {
		return syscall.ENOSPC
	}
	err := s.Store.Save(ctx, r)
	if err == nil {
		select {
		case s.saved <- struct{}{}:
		default:
		}
	}
	return err
}

// TestRefreshedTokensAreNotSaved has a disk that is full just when the provider has given
// out new tokens (RT-05).
func TestRefreshedTokensAreNotSaved(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T) (a *app, b *person, store *fullStore, kept answer) {
		store = &fullStore{Store: authn.NewMemoryStore(), saved: make(chan struct{}, 1)}
		a = newApp(t, appOptions{config: func(c *authn.Config) { c.Store = store }})
		a.store = store
		a.lives(10 * time.Minute)
		b = a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		a.clock.Move(10 * time.Minute)
		a.op.Answer(scriptedop.Token, func(w http.ResponseWriter, r *http.Request) {
			store.full.Store(true)
			a.op.Correct(scriptedop.Token)(w, r)
		})
		kept = b.token()
		b.wantToken(kept)
		a.op.Answer(scriptedop.Token, nil)
		if !strings.Contains(a.log.String(), "refreshed tokens kept in memory") {
			t.Errorf("the log does not say so:\n%s", a.log)
		}
		return a, b, store, kept
	}
	t.Run("RT-05 they are used, and saved later", func(t *testing.T) {
		t.Parallel()
		a, b, store, kept := begin(t)
		for range 5 {
			if got := b.token(); got.text != kept.text || a.op.Calls(scriptedop.Token) != 2 {
				t.Fatalf("%d calls, the token is %q, not %q", a.op.Calls(scriptedop.Token), got.text, kept.text)
			}
		}
		a.clock.Move(10 * time.Minute)
		if got := b.token(); got.reason != authn.ReasonStoreUnavailable || a.op.Calls(scriptedop.Token) != 2 {
			t.Errorf("%d calls, answered %q: %s", a.op.Calls(scriptedop.Token), got.reason, got.text)
		}
		store.full.Store(false)
		b.wantToken(b.token())
		if calls := a.op.Calls(scriptedop.Token); calls != 3 {
			t.Errorf("%d calls, want 3", calls)
		}
	})
	t.Run("RT-05 another node finds them", func(t *testing.T) {
		t.Parallel()
		a, b, store, kept := begin(t)
		store.full.Store(false)
		a.tokens.Wait()
		other := b.at(newApp(t, appOptions{beside: a}))
		if got := other.token(); got.text != kept.text || a.op.Calls(scriptedop.Token) != 2 {
			t.Errorf("%d calls, the token is %q, not %q", a.op.Calls(scriptedop.Token), got.text, kept.text)
		}
	})
	t.Run("RT-05 nobody asks for them", func(t *testing.T) {
		t.Parallel()
		a, b, store, kept := begin(t)
		for len(store.saved) > 0 { // of the sign-in
			<-store.saved
		}
		store.full.Store(false)
		await(t, store.saved)
		if got := b.at(newApp(t, appOptions{beside: a})).token(); got.text != kept.text || a.op.Calls(scriptedop.Token) != 2 {
			t.Errorf("%d calls, the token is %q, not %q", a.op.Calls(scriptedop.Token), got.text, kept.text)
		}
	})
	t.Run("RT-12 the session ends meanwhile", func(t *testing.T) {
		t.Parallel()
		a, b, _, _ := begin(t)
		calls := a.op.Calls(scriptedop.Revoke)
		b.post(a.URL+"/logout", nil)
		a.tokens.Wait()
		if got := a.op.Calls(scriptedop.Revoke) - calls; got != 2 {
			t.Errorf("%d refresh tokens were revoked, want the one in the store and the one in memory", got)
		}
	})
}

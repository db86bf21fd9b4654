package authn_test

import (
	"net/http"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

// TestRefreshTakenOver has a node that is held up for so long while it refreshes that
// another takes it for dead (RT-03, FM-16, FM-20).
func TestRefreshTakenOver(t *testing.T) {
	t.Parallel()
	// takeOver brings the second node to use the refresh token, while the answer to the
	// first, which is out already, is held back.
	takeOver := func(t *testing.T, op scriptedop.Config, first, second func(op *scriptedop.Provider) http.HandlerFunc) (b, other *person, barrier *scriptedop.Barrier, got, gotOther <-chan answer, looksOfLate chan struct{}) {
		t.Helper()
		one, two, b, looksOfLate, looks := watchedNodes(t, op)
		one.clock.Move(10 * time.Minute)
		held, barrier := scriptedop.Hold(first(one.op))
		asked, answer := make(chan struct{}, 1), second(one.op)
		one.op.Answer(scriptedop.Token, scriptedop.InTurn(held, func(w http.ResponseWriter, r *http.Request) {
			select {
			case asked <- struct{}{}:
			default:
			}
			answer(w, r)
		}))
		got = b.asks()
		await(t, barrier.Reached)
		other = b.at(two)
		gotOther = other.asks()
		for {
			select {
			case <-looks: // and finds the first still at work
				one.clock.Move(2 * time.Second)
				continue
			case <-asked:
			case <-time.After(15 * time.Second):
				t.Fatal("the other node does not take over")
			}
			return b, other, barrier, got, gotOther, looksOfLate
		}
	}
	correct := func(op *scriptedop.Provider) http.HandlerFunc { return op.Correct(scriptedop.Token) }
	refuses := func(*scriptedop.Provider) http.HandlerFunc {
		return oauthError(http.StatusBadRequest, "invalid_grant", "")
	}
	t.Run("RT-03 what the other has saved stays", func(t *testing.T) {
		t.Parallel()
		b, other, barrier, got, gotOther, _ := takeOver(t, scriptedop.Config{Overlap: time.Minute}, correct, correct)
		newer := <-gotOther
		barrier.Open()
		if late := <-got; late.text != newer.text {
			t.Errorf("the node that was late answers with %q, and the other with %q", late.text, newer.text)
		}
		b.wantToken(b.token())
		if now := other.token(); now.text != newer.text {
			t.Errorf("then the token is %q, not %q", now.text, newer.text)
		}
	})
	t.Run("RT-06 what the late one has saved is not ended", func(t *testing.T) {
		t.Parallel()
		released := make(chan struct{})
		b, other, barrier, got, gotOther, _ := takeOver(t, scriptedop.Config{}, correct, func(op *scriptedop.Provider) http.HandlerFunc {
			return scriptedop.After(released, refuses(op))
		})
		barrier.Open()
		late := <-got
		b.wantToken(late)
		close(released)
		if answered := <-gotOther; answered.text != late.text {
			t.Errorf("the other node answers %q", answered.text)
		}
		other.wantToken(other.token())
	})
	t.Run("RT-06 what the late one was refused is not the other's", func(t *testing.T) {
		t.Parallel()
		released := make(chan struct{})
		b, other, barrier, got, gotOther, looks := takeOver(t, scriptedop.Config{}, refuses, func(op *scriptedop.Provider) http.HandlerFunc {
			return scriptedop.After(released, op.Correct(scriptedop.Token))
		})
		barrier.Open()
		for range 3 {
			await(t, looks) // it has been refused, and waits for the other
		}
		close(released)
		newer := <-gotOther
		other.wantToken(newer)
		if late := <-got; late.text != newer.text || b.app.op.Calls(scriptedop.Token) != 3 {
			t.Errorf("%d calls, and the late one answers %q", b.app.op.Calls(scriptedop.Token), late.text)
		}
	})
	t.Run("FM-20 without an overlap the session ends, once", func(t *testing.T) {
		t.Parallel()
		b, other, barrier, got, gotOther, _ := takeOver(t, scriptedop.Config{}, correct, correct)
		if ended := <-gotOther; ended.reason != authn.ReasonSessionEnded {
			t.Errorf("answered %q: %s", ended.reason, ended.text)
		}
		for range 3 {
			if who := other.who(); who.Subject != "" {
				t.Errorf("signed in is %q", who.Subject)
			}
			other.token()
		}
		if calls := b.app.op.Calls(scriptedop.Token); calls != 3 {
			t.Errorf("%d calls, want 3", calls)
		}
		barrier.Open()
		<-got
		b.wantSignedIn(b.signIn(), "alice")
	})
}

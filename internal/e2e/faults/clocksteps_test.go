package faults

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestProvidersClockSteps (FM-24) moves the provider's clock forward and back while the
// program runs. A minute is tolerated. With a larger difference nobody can sign in, and the
// log says why. People who are signed in stay signed in at any time, even if their tokens are
// refreshed meanwhile. After each step back everything works again.
func TestProvidersClockSteps(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const noticed = "clock skew noticed: the provider's clock and this one are too far apart for tokens to be accepted"
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	op := scriptedop.New(t, scriptedop.Config{Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}, Now: now})
	for _, e := range []scriptedop.Endpoint{scriptedop.Discovery, scriptedop.JWKS, scriptedop.Token, scriptedop.UserInfo} {
		op.Answer(e, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", now().UTC().Format(http.TimeFormat))
			op.Correct(e)(w, r)
		})
	}
	op.Edit(scriptedop.Token, func(response map[string]any) { response["expires_in"] = 1 })
	p := builds(t)(t.TempDir(), apptest.Env(op)...)
	p.Await("/readyz", http.StatusOK)
	s := &apptest.Scripted{App: p.App, OP: op}
	steps := []time.Duration{50 * time.Second, -50 * time.Second, 3 * time.Minute, 0, -time.Hour, time.Hour, -10 * time.Minute, 0}
	told := 0
	for range either(1, 5) {
		people := make([]*apptest.Visitor, len(steps)) // each refreshes once
		for i := range people {
			people[i] = s.Visitor()
			s.SignIn(people[i])
		}
		for i, step := range steps {
			ahead.Store(int64(step))
			<-time.After(time.Second) // the access token expires
			v, right := s.Visitor(), step.Abs() < time.Minute
			got := v.Callback(v.AuthorizationResponse("/profile"))
			if in := v.SignedIn(); in != right || right != (got.StatusCode == http.StatusSeeOther) {
				t.Errorf("with a clock that is %v ahead, a sign-in is answered with %d, and the person is signed in: %v\n%s", step, got.StatusCode, in, got.Body)
			}
			before := op.Calls(scriptedop.Token)
			if got := people[i].RefreshProfile(); got.StatusCode >= http.StatusInternalServerError {
				t.Errorf("with a clock that is %v ahead, a refresh is answered with %d", step, got.StatusCode)
			}
			if op.Calls(scriptedop.Token) == before {
				t.Errorf("with a clock that is %v ahead, the tokens are not refreshed, so the rest proves nothing", step)
			}
			for _, v := range people {
				if !v.SignedIn() {
					t.Fatalf("with a clock that is %v ahead, a person is signed out\n%s", step, p.Log)
				}
			}
			if lines := len(p.Logged(noticed, "")); right != (lines == told) {
				t.Errorf("with a clock that is %v ahead, the log names the difference %d times more", step, lines-told)
			} else {
				told = lines
			}
		}
	}
}

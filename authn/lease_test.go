package authn_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// TestLease acquires the lease on one session's tokens on two nodes whose clocks differ. It
// runs in a synctest bubble.
func TestLease(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{
		"RT-03 one clock": 0, "RT-03 the other a minute ahead": time.Minute, "RT-03 the other four minutes behind": -4 * time.Minute,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t).with(t, func(c *settings) { c.Now = time.Now })
				session, _ := newVisitor(t).signIn(t, s, signInOf("alice"))
				die, err := tokenSource(t, s).Lease(t.Context(), session)
				if err != nil {
					t.Fatal(err)
				}
				defer die()
				other := tokenSource(t, s.with(t, func(c *settings) { c.Now = func() time.Time { return time.Now().Add(ahead) } }))
				wait := func(d time.Duration) bool {
					ctx, cancel := context.WithTimeout(t.Context(), d)
					defer cancel()
					dead, err := other.Lease(ctx, session)
					defer dead()
					if err != nil {
						wantReason(t, "Lease", err, openid.ReasonProviderUnreachable)
					}
					return err == nil
				}
				if wait(time.Minute) {
					t.Fatal("the lease was taken from a working holder")
				}
				die()
				if wait(3 * time.Second) {
					t.Error("the lease was taken from a holder that died only just now")
				}
				if !wait(7 * time.Second) {
					t.Error("the lease was not taken from a dead holder")
				}
			})
		})
	}
	t.Run("FM-20 left behind long ago", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t).with(t, func(c *settings) { c.Now = time.Now })
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
				t.Errorf("the lease was taken after %s (%v), want immediately", took, err)
			}
			die()
		})
	})
}

func tokenSource(t *testing.T, s *site) *authn.TokenSource {
	t.Helper()
	_, cfg := s.config.build(t)
	rp, err := authn.NewRelyingParties(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return authn.NewTokenSource(rp, s.Sessions)
}

// lives sets the lifetime of access tokens issued from now on, which is shorter than the
// idle timeout.
func (a *app) lives(d time.Duration) {
	a.op.Edit(scriptedop.Token, func(response map[string]any) { response["expires_in"] = int(d.Seconds()) })
}

// hold puts a barrier behind an endpoint.
func (a *app) hold(e scriptedop.Endpoint) *scriptedop.Barrier {
	held, barrier := scriptedop.Hold(a.op.Correct(e))
	a.op.Answer(e, held)
	return barrier
}

// at is the same browser on another node: cookies are shared by all ports of a host.
func (b *person) at(node *app) *person {
	return &person{t: b.t, app: node, client: b.client}
}

// token returns what the app's own handler receives.
func (b *person) token() answer {
	b.t.Helper()
	return b.get(b.app.URL + "/token")
}

// asks requests the token while something else runs.
func (b *person) asks() <-chan answer {
	answered := make(chan answer, 1)
	go func() { answered <- b.token() }()
	return answered
}

// wantToken checks that an answer is an access token that the provider accepts.
func (b *person) wantToken(got answer) {
	b.t.Helper()
	if got.status != http.StatusOK || got.text == "" {
		b.t.Fatalf("no token: %s", got.text)
	}
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.app.op.URL(scriptedop.UserInfo), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+got.text)
	if userInfo := b.do(r, nil); userInfo.status != http.StatusOK {
		b.t.Errorf("the provider answers the token with %d", userInfo.status)
	}
}

// nodes returns two apps with the same store, provider and clock, and a person who is
// signed in.
func nodes(t *testing.T, op scriptedop.Config) (one, two *app, b *person) {
	t.Helper()
	one = newApp(t, appOptions{op: op})
	two = newApp(t, appOptions{beside: one})
	one.lives(10 * time.Minute)
	b = one.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	return one, two, b
}

// watchedStore notifies the test when a node loads a session.
type watchedStore struct {
	authn.Store
	looks chan struct{}
}

func (s watchedStore) Load(ctx context.Context, key authn.Key) (authn.Record, error) {
	r, err := s.Store.Load(ctx, key)
	select {
	case s.looks <- struct{}{}:
	default:
	}
	return r, err
}

// watchedNodes returns nodes that each notify the test when they load a session.
func watchedNodes(t *testing.T, op scriptedop.Config) (one, two *app, b *person, looksOne, looksTwo chan struct{}) {
	t.Helper()
	looksOne, looksTwo = make(chan struct{}), make(chan struct{})
	watched := func(looks chan struct{}) func(*settings) {
		return func(c *settings) { c.Sessions.Store = watchedStore{c.Sessions.Store, looks} }
	}
	one = newApp(t, appOptions{op: op, config: watched(looksOne)})
	two = newApp(t, appOptions{beside: one, config: watched(looksTwo)})
	one.lives(10 * time.Minute)
	b = one.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	return one, two, b, looksOne, looksTwo
}

// TestRefreshOnceOnManyNodes has concurrent requests on two nodes find an expired access
// token, a hundred times. The provider revokes all tokens if a refresh token is used twice
// (RT-01, RT-02, FM-25).
func TestRefreshOnceOnManyNodes(t *testing.T) {
	t.Parallel()
	rounds, requests := 100, 200
	if testing.Short() || raceDetector {
		rounds = 20
	}
	one := newApp(t, appOptions{config: func(c *settings) { c.Sessions.Idle, c.Sessions.Absolute = 48*time.Hour, 48*time.Hour }})
	two := newApp(t, appOptions{beside: one, config: func(c *settings) { c.Sessions.Idle, c.Sessions.Absolute = 48*time.Hour, 48*time.Hour }})
	one.lives(10 * time.Minute)
	b := one.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	transport := &http.Transport{MaxIdleConnsPerHost: requests / 2, MaxConnsPerHost: requests / 2}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Jar: b.client.Jar}
	for round := range rounds {
		one.clock.Move(10 * time.Minute)
		start := make(chan struct{})
		var mu sync.Mutex
		tokens := map[string]int{}
		var wg sync.WaitGroup
		for i := range requests {
			node := &person{t: t, app: []*app{one, two}[i%2], client: client}
			wg.Go(func() {
				<-start
				got := node.token()
				mu.Lock()
				defer mu.Unlock()
				tokens[got.text]++
			})
		}
		close(start)
		wg.Wait()
		if calls := one.op.Calls(scriptedop.Token); len(tokens) != 1 || calls != 2+round {
			t.Fatalf("round %d: %d calls, and the answers are %v\n%s\n%s", round, calls, tokens, one.log, two.log)
		}
	}
	b.wantToken(b.token())
}

// TestSlowRefreshOnTwoNodes (RT-03) uses a slow provider. One node waits for the refresh of
// the other.
func TestSlowRefreshOnTwoNodes(t *testing.T) {
	t.Parallel()
	for name, takes := range map[string]time.Duration{
		"RT-03 2.5 s": 2500 * time.Millisecond, "RT-03 4 s": 4 * time.Second, "RT-03 4.9 s": 4900 * time.Millisecond,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, two, b, _, looks := watchedNodes(t, scriptedop.Config{})
			one.clock.Move(10 * time.Minute)
			barrier := one.hold(scriptedop.Token)
			first := b.asks()
			scriptedop.Await(t, barrier.Reached)
			second := b.at(two).asks()
			for range 5 {
				scriptedop.Await(t, looks) // it finds the first node refreshing
				one.clock.Move(takes / 5)
			}
			scriptedop.Await(t, looks)
			scriptedop.Await(t, looks)
			barrier.Open()
			got, other := <-first, <-second
			b.wantToken(got)
			if got.text != other.text || one.op.Calls(scriptedop.Token) != 2 {
				t.Errorf("%d calls, answers %q and %q", one.op.Calls(scriptedop.Token), got.text, other.text)
			}
		})
	}
}

// TestRoleRemovedDuringARefresh (SE-18) removes a role from userinfo while another node refreshes
// the tokens. The provider sends no new ID token, and what the old one said must not come back.
func TestRoleRemovedDuringARefresh(t *testing.T) {
	t.Parallel()
	one, two, b := nodes(t, scriptedop.Config{})
	roles := func(claims map[string]any) { claims["roles"] = []string{"admin"} }
	one.op.Edit(scriptedop.UserInfo, roles)
	one.op.EditIDToken(func(token *scriptedop.JWT) { roles(token.Claims) })
	one.lives(10 * time.Minute)
	b.wantSignedIn(b.signIn(), "alice")
	has := func() bool { return b.who().Claims["roles"] != nil }
	if !has() {
		t.Fatal("the role is missing from the start")
	}
	one.clock.Move(9*time.Minute + 30*time.Second) // due, and not expired
	one.op.Edit(scriptedop.Token, func(response map[string]any) { delete(response, "id_token") })
	barrier := one.hold(scriptedop.Token)
	refreshed := b.asks()
	scriptedop.Await(t, barrier.Reached)
	one.op.Edit(scriptedop.UserInfo, nil)
	if got := b.at(two).post(two.URL+"/refresh", nil); got.status != http.StatusOK || has() {
		t.Errorf("refreshing the profile answers %d %s; the role is there: %t", got.status, got.text, has())
	}
	barrier.Open()
	b.wantToken(<-refreshed)
	if has() {
		t.Error("the role is back after the token refresh")
	}
}

// TestRefreshTakenOver delays a node during a refresh for so long that another node
// considers it dead (RT-03, FM-16, FM-20).
func TestRefreshTakenOver(t *testing.T) {
	t.Parallel()
	// takeOver makes the second node use the refresh token while the answer to the first
	// node, which has already used it, is held back.
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
		scriptedop.Await(t, barrier.Reached)
		other = b.at(two)
		gotOther = other.asks()
		for {
			select {
			case <-looks: // it finds the first node still refreshing
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
			t.Errorf("the late node answers with %q, and the other with %q", late.text, newer.text)
		}
		b.wantToken(b.token())
		if now := other.token(); now.text != newer.text {
			t.Errorf("afterwards the token is %q, want %q", now.text, newer.text)
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
			scriptedop.Await(t, looks) // it was refused, and waits for the other node
		}
		close(released)
		newer := <-gotOther
		other.wantToken(newer)
		if late := <-got; late.text != newer.text || b.app.op.Calls(scriptedop.Token) != 3 {
			t.Errorf("%d calls, and the late node answers %q", b.app.op.Calls(scriptedop.Token), late.text)
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
				t.Errorf("%q is signed in", who.Subject)
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

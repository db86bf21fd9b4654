package authn_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

// lives says how long the access tokens live that the provider issues from now on: shorter
// than a session may be idle.
func (a *app) lives(d time.Duration) {
	a.op.Edit(scriptedop.Token, func(response map[string]any) { response["expires_in"] = int(d.Seconds()) })
}

// hold puts a barrier behind an endpoint.
func (a *app) hold(e scriptedop.Endpoint) *scriptedop.Barrier {
	held, barrier := scriptedop.Hold(a.op.Correct(e))
	a.op.Answer(e, held)
	return barrier
}

// at is the same browser at another node: a cookie counts for every port of a host.
func (b *person) at(node *app) *person {
	return &person{t: b.t, app: node, client: b.client}
}

// token is what the app's own handler gets.
func (b *person) token() answer {
	b.t.Helper()
	return b.get(b.app.URL + "/token")
}

// asks asks for the token while something else goes on.
func (b *person) asks() <-chan answer {
	answered := make(chan answer, 1)
	go func() { answered <- b.token() }()
	return answered
}

// wantToken checks that an answer is an access token that the provider honours.
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
		b.t.Errorf("the provider answers %d to the token", userInfo.status)
	}
}

// nodes are two apps on one store, with one provider and one clock, and somebody who is
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

// watchedStore tells whoever waits for it that somebody looks at a session.
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

// watchedNodes are nodes of which each tells when it looks at a session.
func watchedNodes(t *testing.T, op scriptedop.Config) (one, two *app, b *person, looksOne, looksTwo chan struct{}) {
	t.Helper()
	looksOne, looksTwo = make(chan struct{}), make(chan struct{})
	watched := func(looks chan struct{}) func(*authn.Config) {
		return func(c *authn.Config) { c.Store = watchedStore{c.Store, looks} }
	}
	one = newApp(t, appOptions{op: op, config: watched(looksOne)})
	two = newApp(t, appOptions{beside: one, config: watched(looksTwo)})
	one.lives(10 * time.Minute)
	b = one.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	return one, two, b, looksOne, looksTwo
}

// TestRefreshOnceOnManyNodes has requests in parallel on two nodes find an access token that
// is over, a hundred times, with a provider that withdraws everything when a refresh token
// is used twice (RT-01, RT-02, FM-25).
func TestRefreshOnceOnManyNodes(t *testing.T) {
	t.Parallel()
	rounds, requests := 100, 200
	if testing.Short() || raceDetector {
		rounds = 20
	}
	one := newApp(t, appOptions{config: func(c *authn.Config) { c.Idle, c.Absolute = 48*time.Hour, 48*time.Hour }})
	two := newApp(t, appOptions{beside: one, config: func(c *authn.Config) { c.Idle, c.Absolute = 48*time.Hour, 48*time.Hour }})
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

// TestSlowRefreshOnTwoNodes (RT-03) has a provider that takes its time; another node waits
// for the one that asks.
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
			await(t, barrier.Reached)
			second := b.at(two).asks()
			for range 5 {
				await(t, looks) // and finds the first at work
				one.clock.Move(takes / 5)
			}
			await(t, looks)
			await(t, looks)
			barrier.Open()
			got, other := <-first, <-second
			b.wantToken(got)
			if got.text != other.text || one.op.Calls(scriptedop.Token) != 2 {
				t.Errorf("%d calls, answers %q and %q", one.op.Calls(scriptedop.Token), got.text, other.text)
			}
		})
	}
}

// TestSignOutDuringRefresh ends the session while the provider has its new tokens ready:
// the sign-out wins, and the new refresh token is revoked.
func TestSignOutDuringRefresh(t *testing.T) {
	t.Parallel()
	for name, signOut := range map[string]func(b *person) answer{
		"RT-12 by the person": func(b *person) answer { return b.post(b.app.URL+"/logout", nil) },
		"LB-13 by the provider": func(b *person) answer {
			return b.signOutByProvider(b.app.op.LogoutToken())
		},
		"LB-13 by the provider, as the subject": func(b *person) answer {
			token := b.app.op.LogoutToken()
			delete(token.Claims, "sid")
			return b.signOutByProvider(token)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, two, b := nodes(t, scriptedop.Config{})
			issued := ""
			one.op.Edit(scriptedop.Token, func(response map[string]any) { issued, _ = response["refresh_token"].(string) })
			one.clock.Move(10 * time.Minute)
			cookies := b.cookieHeader()
			barrier := one.hold(scriptedop.Token)
			token := b.asks()
			await(t, barrier.Reached)
			if got := signOut(b.at(two)); got.status >= 400 {
				t.Fatalf("not signed out: %s", got.text)
			}
			barrier.Open()
			if got := <-token; got.reason != authn.ReasonSessionEnded {
				t.Errorf("the refresh is answered %q: %s", got.reason, got.text)
			}
			one.tokens.Wait()
			if got := one.op.Last(scriptedop.Revoke).Form.Get("token"); got != issued || issued == "" {
				t.Errorf("revoked is %q, not the new refresh token %q", got, issued)
			}
			for _, node := range []*app{one, two} {
				if got := b.at(node).withCookies(cookies, node.URL+"/me"); got.status == http.StatusOK {
					t.Errorf("the cookie opens a session: %s", got.text)
				}
			}
		})
	}
	t.Run("LR-05 RT-12 after a refresh that the sign-out has not seen", func(t *testing.T) {
		t.Parallel()
		one, _, b := nodes(t, scriptedop.Config{})
		session := authn.FromContext(b.sessionOf())
		issued := ""
		one.op.Edit(scriptedop.Token, func(response map[string]any) { issued, _ = response["refresh_token"].(string) })
		one.clock.Move(10 * time.Minute)
		b.wantToken(b.token())
		if err := one.sessions.End(t.Context(), session, authn.CauseSignedOut); err != nil {
			t.Fatal(err)
		}
		one.rp.RevokeTokens(t.Context(), session)
		if got := one.op.Last(scriptedop.Revoke).Form.Get("token"); got != issued || issued == "" {
			t.Errorf("revoked is %q, not the last refresh token %q", got, issued)
		}
	})
}

// TestRefreshGoesOnAlone (RT-04) has a person who leaves while the provider is being asked,
// and a program that ends.
func TestRefreshGoesOnAlone(t *testing.T) {
	t.Parallel()
	one, two, b := nodes(t, scriptedop.Config{})
	one.clock.Move(10 * time.Minute)
	barrier := one.hold(scriptedop.Token)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, one.URL+"/token", nil)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		impatient := &http.Client{Jar: b.client.Jar, Timeout: 200 * time.Millisecond}
		if resp, err := impatient.Do(r); err == nil {
			resp.Body.Close()
			t.Error("answered")
		}
	}()
	await(t, barrier.Reached)
	await(t, gone)
	barrier.Open()
	one.tokens.Wait()
	other := b.at(two)
	other.wantToken(other.token())
	if calls := one.op.Calls(scriptedop.Token); calls != 2 {
		t.Errorf("%d calls, want 2", calls)
	}
	if strings.Contains(one.log.String(), "level=ERROR") {
		t.Errorf("the log is:\n%s", one.log)
	}
}

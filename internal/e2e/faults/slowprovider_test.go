package faults

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestCallbackTakesTenSeconds (CB-23) uses a provider whose answers are late, and whose last
// answer never comes.
func TestCallbackTakesTenSeconds(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for a time limit")
	}
	s := apptest.StartScripted(t)
	s.Await("/readyz", http.StatusOK)
	v := s.Visitor()
	address := v.AuthorizationResponse("/profile")
	late := func(e scriptedop.Endpoint) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			due := make(chan struct{})
			time.AfterFunc(3*time.Second, func() { close(due) })
			scriptedop.After(due, s.OP.Correct(e))(w, r)
		}
	}
	s.OP.SetKeys(scriptedop.NewKey("key-2", "ES256")) // so that the app requests the key set
	s.OP.Answer(scriptedop.Token, late(scriptedop.Token))
	s.OP.Answer(scriptedop.JWKS, late(scriptedop.JWKS))
	s.OP.Answer(scriptedop.UserInfo, scriptedop.Hang)
	started := time.Now()
	got := v.Callback(address)
	if took := time.Since(started); took < 6*time.Second || took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	s.WantSignedIn(v, got, "alice", "/profile") // UI-05: without userinfo
	s.WantCalls(1, 1)
}

// TestManyAtAHangingProvider (CB-23, DO-16, FM-04) has two hundred people return to the
// callback at once while the token endpoint does not answer. Requests that do not need the
// provider do not wait for it.
func TestManyAtAHangingProvider(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for a time limit")
	}
	const people = 200
	s := apptest.StartScripted(t)
	signedIn := s.Visitor()
	home := signedIn.Get("/login")
	asset := apptest.Attribute(apptest.Find(apptest.Parse(t, home.Body), func(n *apptest.Node) bool { return n.Data == "script" }), "src")
	hanging := make(chan struct{}, people)
	s.OP.Answer(scriptedop.Token, func(w http.ResponseWriter, r *http.Request) {
		hanging <- struct{}{}
		scriptedop.Hang(w, r)
	})
	var visitors [people]*apptest.Visitor
	var addresses [people]string
	for i := range people {
		visitors[i] = s.Visitor()
		addresses[i] = visitors[i].AuthorizationResponse("/profile")
	}
	var answers [people]apptest.Answer
	var took [people]time.Duration
	var answered atomic.Int64
	var wg sync.WaitGroup
	for i := range people {
		wg.Go(func() {
			started := time.Now()
			answers[i] = visitors[i].Callback(addresses[i])
			took[i] = time.Since(started)
			answered.Add(1)
		})
	}
	for range 32 {
		<-hanging
	}
	for address, v := range map[string]*apptest.Visitor{"/healthz": s.Visitor(), asset: s.Visitor(), "/": s.Visitor(), "/dashboard": signedIn} {
		wg.Go(func() {
			got := v.Direct(v.Request(http.MethodGet, address, nil))
			if n := answered.Load(); got.StatusCode != http.StatusOK || n == people {
				t.Errorf("%s answers %d after %d callbacks", address, got.StatusCode, n)
			}
		})
	}
	wg.Wait()
	for i, got := range answers {
		if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" || took[i] > 10*time.Second {
			t.Errorf("one callback is answered with %d after %s", got.StatusCode, took[i])
		}
	}
	s.WantRefused(visitors[0], answers[0], http.StatusServiceUnavailable, openid.ReasonProviderUnreachable)
	if n := s.OP.Calls(scriptedop.Token); n > 1+people {
		t.Errorf("the token endpoint was called %d times", n)
	}
	s.OP.Answer(scriptedop.Token, nil)
	if end := visitors[0].Get(apptest.Link(t, answers[0], "Try again")); end.Request.URL.Path != "/profile" || end.StatusCode != http.StatusOK {
		t.Errorf("trying again ends at %s with %d", end.Request.URL.Path, end.StatusCode)
	}
}

// TestPersonGoesAway (CB-23, FM-33) closes the connection while the provider processes the
// code. The sign-in is either complete or did not happen.
func TestPersonGoesAway(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		refuse bool
		want   float64
	}{
		"CB-23 the session is complete": {false, 1},
		"CB-23 there is no session":     {true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apptest.StartScripted(t)
			v := s.Visitor()
			address := v.AuthorizationResponse("/profile")
			asked, release := make(chan struct{}), make(chan struct{})
			s.OP.Answer(scriptedop.Token, func(w http.ResponseWriter, r *http.Request) {
				close(asked)
				answer := s.OP.Correct(scriptedop.Token)
				if tt.refuse {
					answer = scriptedop.Status(http.StatusBadRequest)
				}
				scriptedop.After(release, answer)(w, r)
			})
			ctx, leave := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				if resp, err := v.Client.Do(v.Request(http.MethodGet, address, nil).WithContext(ctx)); err == nil {
					_ = resp.Body.Close()
					t.Errorf("answered %d", resp.StatusCode)
				}
			})
			<-asked
			leave()
			wg.Wait()
			for range 50 { // enough time for the app to notice
				s.Visitor().Get("/healthz")
			}
			close(release)
			apptest.Eventually(t, "the log says how it ended", func() bool {
				return len(s.Logged("signed in", ""))+len(s.Logged("refused", "")) > 0
			})
			token := s.OP.LogoutToken()
			delete(token.Claims, "sub") // ends only this session
			if got := v.Post("/backchannel-logout", url.Values{"logout_token": {token.Compact()}}); got.StatusCode != http.StatusOK {
				t.Fatalf("answered %d", got.StatusCode)
			}
			if lines := s.Logged("signed out by the provider", ""); len(lines) != 1 || lines[0]["sessions"] != tt.want {
				t.Errorf("the log says %v, want %v sessions", lines, tt.want)
			}
			if v.SignedIn() {
				t.Error("the person is signed in without a cookie")
			}
			s.OP.Answer(scriptedop.Token, nil)
			if end := v.Get("/profile"); end.StatusCode != http.StatusOK || end.Request.URL.Path != "/profile" {
				t.Errorf("signing in again ends at %s with %d", end.Request.URL.Path, end.StatusCode)
			}
		})
	}
}

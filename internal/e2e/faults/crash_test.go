package faults

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestKilledUnderLoad (FM-19) kills the program repeatedly while people sign in. Everyone
// who saw their sign-in succeed is still signed in, and nobody sees an internal error.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	op := apptest.NewOP(t)
	env := append(apptest.Env(op), "PORT="+apptest.FreePort(t), "SESSION_LIMIT=1000000")
	start, dataDir := builds(t), t.TempDir()
	var signedIn []*cookiejar.Jar
	checked, crashes := 0, either(12, 200)
	for range crashes {
		p := start(dataDir, env...)
		// Check everyone from the last round, and some from earlier rounds.
		for i := len(signedIn) - 1; i >= max(0, len(signedIn)-60); i-- {
			v := &apptest.Visitor{T: t, App: p.App, Client: &http.Client{Jar: signedIn[i], Timeout: apptest.Patience}}
			got := v.Direct(v.Request(http.MethodGet, "/dashboard", nil))
			if checked++; got.StatusCode != http.StatusOK {
				t.Fatalf("after a crash, the dashboard of a signed-in person answers %d\n%s", got.StatusCode, p.Log)
			}
		}
		signedIn = append(signedIn, signInUntilKilled(t, p, op, 4+rand.IntN(12))...)
	}
	t.Logf("%d sign-ins, %d checks after %d crashes", len(signedIn), checked, crashes)
	if checked == 0 {
		t.Error("nobody was checked")
	}
}

// TestKilledDuringRefresh (FM-20) kills the program when the provider has rotated the
// refresh token and the program may or may not have saved the new one. The person stays
// signed in until the next refresh at least. Then the provider may revoke the grant, which
// ends the session. Nobody sees an internal error, and the person can sign in again.
func TestKilledDuringRefresh(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	op := apptest.NewOP(t)
	op.Edit(scriptedop.Token, func(response map[string]any) { response["expires_in"] = 1 })
	env := append(apptest.Env(op), "PORT="+apptest.FreePort(t))
	start, dataDir := builds(t), t.TempDir()
	p := start(dataDir, env...)
	ended, rounds := 0, either(2, 20) // a round waits for the dead program's lease to end
	for i := range rounds {
		p.Await("/readyz", http.StatusOK)
		v := p.Visitor()
		(&apptest.Scripted{App: p.App, OP: op}).SignIn(v)
		<-time.After(time.Second) // the access token expires
		held, barrier := scriptedop.Hold(op.Correct(scriptedop.Token))
		op.Answer(scriptedop.Token, held)
		var refreshing sync.WaitGroup
		refreshing.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), apptest.Patience)
			defer cancel()
			if resp, err := v.Client.Do(v.Request(http.MethodPost, "/profile/refresh", nil, "Sec-Fetch-Site", "same-origin").WithContext(ctx)); err == nil {
				_ = resp.Body.Close()
			}
		})
		select {
		case <-barrier.Reached:
		case <-time.After(apptest.Patience):
			t.Fatalf("the program does not refresh the tokens\n%s", p.Log)
		}
		if i%2 == 1 {
			barrier.Open()
			<-time.After(rand.N(5 * time.Millisecond))
		}
		p.Kill()
		refreshing.Wait()
		if i%2 == 0 {
			barrier.Open()
		}
		op.Answer(scriptedop.Token, nil)

		p = start(dataDir, env...)
		p.Await("/readyz", http.StatusOK)
		v.App = p.App
		if !v.SignedIn() {
			t.Fatalf("round %d: the crash signs the person out\n%s", i, p.Log)
		}
		before := op.Calls(scriptedop.Token)
		refresh := func() apptest.Answer {
			return v.Direct(v.Request(http.MethodPost, "/profile/refresh", nil, "Sec-Fetch-Site", "same-origin"))
		}
		got := refresh()
		if got.StatusCode == http.StatusServiceUnavailable { // on a busy machine, the wait for the lease leaves too little time
			got = refresh()
		}
		if got.StatusCode >= http.StatusInternalServerError {
			t.Errorf("round %d: the next refresh is answered with %d\n%s", i, got.StatusCode, p.Log)
		}
		if calls := op.Calls(scriptedop.Token) - before; calls > 1 {
			t.Errorf("round %d: the next refresh asks the provider %d times", i, calls)
		}
		if !v.SignedIn() {
			ended++
			if end := v.Get("/profile"); end.StatusCode != http.StatusOK || !v.SignedIn() {
				t.Errorf("round %d: signing in again ends at %s with %d", i, end.Request.URL.Path, end.StatusCode)
			}
		}
	}
	t.Logf("%d of %d crashes ended the session", ended, rounds)
	if ended == 0 {
		t.Error("no crash came between the rotation and the save, so the test proves nothing")
	}
}

// signInUntilKilled signs several people in at a time, and kills the program once enough of
// them are signed in. It returns the cookies of everyone who saw their sign-in succeed.
func signInUntilKilled(t *testing.T, p *apptest.Process, op *scriptedop.Provider, enough int) []*cookiejar.Jar {
	t.Helper()
	var mu sync.Mutex
	var told []*cookiejar.Jar
	var people sync.WaitGroup
	for range 4 {
		people.Go(func() {
			for {
				jar, ok := signInOnce(p.URL, op.Issuer)
				if !ok {
					return
				}
				mu.Lock()
				if told = append(told, jar); len(told) == enough {
					go p.Kill()
				}
				mu.Unlock()
			}
		})
	}
	people.Wait()
	p.Kill()
	return told
}

// signInOnce signs a person in, and reports whether the program confirmed it.
func signInOnce(address, issuer string) (*cookiejar.Jar, bool) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, false
	}
	client := &http.Client{
		Jar: jar, Timeout: apptest.Patience, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for next := address + "/login"; ; {
		resp, err := client.Get(next)
		if err != nil {
			return nil, false
		}
		_ = resp.Body.Close()
		location, err := url.Parse(resp.Header.Get("Location"))
		switch {
		case err != nil || resp.StatusCode != http.StatusSeeOther:
			return nil, false
		case location.Path == "/dashboard":
			return jar, true
		case !strings.HasPrefix(location.String(), issuer) && !strings.HasPrefix(location.String(), address+"/callback"):
			return nil, false
		}
		next = location.String()
	}
}

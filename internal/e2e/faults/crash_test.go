package faults

import (
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// crashes returns how many times to kill the program. More take a few minutes:
//
//	CRASHES=200 go test -run TestKilledUnderLoad ./internal/e2e/faults
func crashes(t *testing.T) int {
	t.Helper()
	text := os.Getenv("CRASHES")
	if text == "" {
		return 12
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("CRASHES: %v", err)
	}
	return n
}

// TestKilledUnderLoad (FM-19) kills the program repeatedly while people sign in. Everyone
// who saw their sign-in succeed is still signed in, and nobody sees an internal error.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	op := apptest.NewOP(t)
	env := append(apptest.Env(op), "PORT="+apptest.FreePort(t), "SESSION_LIMIT=1000000")
	dataDir := t.TempDir()
	var signedIn []*cookiejar.Jar
	checked := 0
	for range crashes(t) {
		p := apptest.StartProcess(t, dataDir, env...)
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
	t.Logf("%d sign-ins, %d checks after %d crashes", len(signedIn), checked, crashes(t))
	if checked == 0 {
		t.Error("nobody was checked")
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

package app

import (
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/scriptedop"
)

// startRedis starts a Redis on a socket of this test's own, and ends it with the test.
func startRedis(t *testing.T) (*os.Process, string) {
	t.Helper()
	dir := redisDir(t)
	return startRedisIn(t, dir), "unix://" + filepath.Join(dir, "s")
}

// redisDir is a directory for a Redis and its socket, whose path must be short.
func redisDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "r")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// startRedisIn starts a Redis whose socket is the file s of a directory.
func startRedisIn(t *testing.T, dir string) *os.Process {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is missing")
		}
		t.Skip("redis-server is missing")
	}
	socket := filepath.Join(dir, "s")
	server := exec.Command(path, "--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	await(t, "Redis listens", func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return server.Process
}

// startNodes runs the program twice, with one provider and one Redis.
func startNodes(t *testing.T) (one, two *scriptedApp, redis *os.Process) {
	t.Helper()
	redis, url := startRedis(t)
	env := []string{"SESSION_STORE=" + url, "APP_SECRET_KEY=0123456789abcdef0123456789abcdef"}
	one = startScripted(t, env...)
	return one, startBeside(t, one.op, env...), redis
}

// at is the same browser at another node: a cookie counts for every port of a host.
func (v *visitor) at(node *scriptedApp) *visitor {
	return &visitor{t: v.t, app: node.app, client: v.client}
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// TestNodesShareSessions (LB-15) signs in at one node and out at the other.
func TestNodesShareSessions(t *testing.T) {
	t.Parallel()
	one, two, _ := startNodes(t)
	v := one.visitor()
	v.get("/login")
	for _, node := range []*scriptedApp{two, one, two} {
		if !v.at(node).signedIn() {
			t.Fatalf("the session does not open at %s\n%s", node.url, node.log)
		}
	}
	if got := v.direct(v.at(two).request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin")); got.StatusCode != http.StatusSeeOther {
		t.Fatalf("logout answers %d", got.StatusCode)
	}
	if v.at(two).signedIn() {
		t.Error("the node that ended the session opens it")
	}
	await(t, "the other node refuses the session", func() bool { return !v.at(one).signedIn() })
}

// TestRedisStopsAnswering (FM-11, FM-12) shows a 503 in bounded time, no cookie touched
// and nobody sent to sign in; and that all goes on afterwards.
func TestRedisStopsAnswering(t *testing.T) {
	t.Parallel()
	one, two, redis := startNodes(t)
	v := one.visitor()
	v.get("/login")
	if err := redis.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/dashboard", "/"} { // node two has no session cached
		start := time.Now()
		got := v.direct(v.at(two).request(http.MethodGet, path, nil))
		if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" || len(got.Cookies()) > 0 {
			t.Errorf("%s answers %d, Retry-After %q, cookies %v", path, got.StatusCode, got.Header.Get("Retry-After"), got.Cookies())
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("%s took %v", path, took)
		}
	}
	if got := v.direct(v.at(two).request(http.MethodGet, "/readyz", nil)); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readyz answers %d", got.StatusCode)
	}
	if err := redis.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	await(t, "the session opens again", func() bool { return v.at(two).signedIn() && v.at(one).signedIn() })
	if strings.Contains(two.log.String(), "0123456789abcdef") {
		t.Error("the log holds the secret")
	}
}

// TestNodesAreOne (LB-15) runs three processes on one Redis: somebody signs in at one, does
// something at the next, and signs out at the third; another is signed out by the provider.
func TestNodesAreOne(t *testing.T) {
	t.Parallel()
	_, store := startRedis(t)
	op := newScriptedOP(t)
	env := append(knows(op), "SESSION_STORE="+store, "APP_SECRET_KEY=0123456789abcdef0123456789abcdef")
	var nodes []*scriptedApp
	for range 3 {
		nodes = append(nodes, &scriptedApp{app: startProcess(t, t.TempDir(), env...).app, op: op})
	}
	v := nodes[0].visitor()
	nodes[0].signInNow(v)
	if got := v.at(nodes[1]).refreshProfile(); got.StatusCode != http.StatusOK {
		t.Errorf("refreshing at the second answers %d\n%s", got.StatusCode, nodes[1].log)
	}
	v.at(nodes[2]).direct(v.at(nodes[2]).request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin"))
	for i, node := range nodes {
		await(t, "node "+strconv.Itoa(i)+" refuses the session", func() bool { return !v.at(node).signedIn() })
	}

	w := nodes[2].visitor()
	nodes[2].signInNow(w)
	for _, node := range nodes {
		if !w.at(node).signedIn() {
			t.Errorf("%s does not know the session", node.url)
		}
	}
	token := op.LogoutToken()
	if got := v.at(nodes[1]).send("/backchannel-logout", "application/x-www-form-urlencoded", url.Values{"logout_token": {token.Compact()}}.Encode()); got.StatusCode != http.StatusOK {
		t.Fatalf("the logout token is answered %d", got.StatusCode)
	}
	start := time.Now()
	for i, node := range nodes {
		await(t, "node "+strconv.Itoa(i)+" refuses the session", func() bool { return !w.at(node).signedIn() })
	}
	t.Logf("all nodes refuse it after %v", time.Since(start))
}

// TestRedisPausedUnderLoad (FM-11) stops Redis for ten seconds while people click. They are
// asked to wait, and nothing else: no cookie is touched, nobody is sent to sign in, and
// afterwards everybody is signed in as before.
func TestRedisPausedUnderLoad(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	one, two, redis := startNodes(t)
	var people []*visitor
	for range 8 {
		v := one.visitor()
		one.signInNow(v)
		people = append(people, v)
	}
	stop := make(chan struct{})
	answers := make(chan answer, 100_000)
	var clicking sync.WaitGroup
	for i, v := range people {
		node := []*scriptedApp{one, two}[i%2]
		clicking.Go(func() {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					answers <- v.direct(v.at(node).request(http.MethodGet, "/dashboard", nil))
				}
			}
		})
	}
	signal := func(s syscall.Signal) {
		if err := redis.Signal(s); err != nil {
			t.Error(err)
		}
	}
	signal(syscall.SIGSTOP)
	<-time.After(10 * time.Second)
	signal(syscall.SIGCONT)
	for i, v := range people {
		await(t, "person "+strconv.Itoa(i)+" is signed in", func() bool { return v.at(one).signedIn() && v.at(two).signedIn() })
	}
	close(stop)
	clicking.Wait()
	close(answers)
	statuses := make(map[int]int)
	for got := range answers {
		statuses[got.StatusCode]++
		if len(got.Cookies()) > 0 || (got.StatusCode != http.StatusOK && got.StatusCode != http.StatusServiceUnavailable) {
			t.Errorf("answered %d to %q with cookies %v", got.StatusCode, got.Header.Get("Location"), got.Cookies())
		}
	}
	t.Logf("answers by status: %v", statuses)
	if statuses[http.StatusServiceUnavailable] == 0 {
		t.Error("nobody noticed that Redis stood still")
	}
}

// TestNodesRefreshOnce (RT-01, FM-25) lets twenty people press Refresh ten times at each of
// two nodes on one Redis, all at once, when their access tokens are over. The provider
// withdraws everything of a person whose refresh token is used twice.
func TestNodesRefreshOnce(t *testing.T) {
	t.Parallel()
	one, two, _ := startNodes(t)
	lifetime := func(seconds int) {
		one.op.Edit(scriptedop.Token, func(response map[string]any) { response["expires_in"] = seconds })
	}
	lifetime(1)
	var people []*visitor
	for range 20 {
		v := one.visitor()
		one.signInNow(v)
		people = append(people, v)
	}
	lifetime(3600)
	<-time.After(time.Second)
	before := one.op.Calls(scriptedop.Token)
	var pressing sync.WaitGroup
	var refreshed atomic.Int64
	for _, v := range people {
		for i := range 20 {
			node := []*scriptedApp{one, two}[i%2]
			pressing.Go(func() {
				switch got := v.at(node).refreshProfile(); got.StatusCode {
				case http.StatusOK:
					refreshed.Add(1)
				case http.StatusServiceUnavailable, http.StatusTooManyRequests:
					// A machine that has too much to do: Redis answers late, or so late that
					// the press counts as one more.
				default:
					t.Errorf("answered %d", got.StatusCode)
				}
			})
		}
	}
	pressing.Wait()
	t.Logf("%d of %d presses showed a fresh profile", refreshed.Load(), 20*len(people))
	if calls := one.op.Calls(scriptedop.Token) - before; calls != len(people) {
		t.Errorf("%d refreshes for %d people", calls, len(people))
	}
	for _, v := range people {
		if !v.at(one).signedIn() || !v.at(two).signedIn() {
			t.Error("somebody was signed out")
		}
	}
}

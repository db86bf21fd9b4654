package session

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

func TestMain(m *testing.M) { apptest.Main(m) }

// TestNodesShareSessions (LB-15) signs in on one node and out on another.
func TestNodesShareSessions(t *testing.T) {
	t.Parallel()
	one, two, _ := apptest.StartNodes(t)
	v := one.Visitor()
	one.SignIn(v)
	for _, node := range []*apptest.Scripted{two, one, two} {
		if !v.At(node.App).SignedIn() {
			t.Fatalf("the session does not open at %s\n%s", node.URL, node.Log)
		}
	}
	if got := v.At(two.App).Direct(v.At(two.App).Request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin")); got.StatusCode != http.StatusOK {
		t.Fatalf("logout answers %d", got.StatusCode)
	}
	if v.At(two.App).SignedIn() {
		t.Error("the node that ended the session opens it")
	}
	apptest.Eventually(t, "the other node refuses the session", func() bool { return !v.At(one.App).SignedIn() })
}

// TestRedisStopsAnswering (FM-11, FM-12) stops Redis. The app answers 503 within a time
// limit, changes no cookie and sends nobody to sign in. It recovers when Redis does.
func TestRedisStopsAnswering(t *testing.T) {
	t.Parallel()
	one, two, redis := apptest.StartNodes(t)
	v := one.Visitor()
	one.SignIn(v)
	redis.Pause(t)
	for _, path := range []string{"/dashboard", "/"} { // node two has no cached session
		start := time.Now()
		got := v.At(two.App).Direct(v.At(two.App).Request(http.MethodGet, path, nil))
		if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" || len(got.Cookies()) > 0 {
			t.Errorf("%s answers %d, Retry-After %q, cookies %v", path, got.StatusCode, got.Header.Get("Retry-After"), got.Cookies())
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s took %v", path, took)
		}
	}
	if got := v.At(two.App).Direct(v.At(two.App).Request(http.MethodGet, "/readyz", nil)); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readyz answers %d", got.StatusCode)
	}
	redis.Resume(t)
	apptest.Eventually(t, "the session opens again", func() bool { return v.At(two.App).SignedIn() && v.At(one.App).SignedIn() })
	if strings.Contains(two.Log.String(), "0123456789abcdef") {
		t.Error("the log contains the secret")
	}
}

// TestNodesAreOne (LB-15) runs three processes on one Redis. One person uses all three, and
// the provider signs out another person.
func TestNodesAreOne(t *testing.T) {
	t.Parallel()
	store := apptest.StartRedis(t).URL
	op := apptest.NewOP(t)
	env := append(apptest.Env(op), "SESSION_STORE="+store, "APP_SECRET_KEY=0123456789abcdef0123456789abcdef")
	var nodes []*apptest.Scripted
	for range 3 {
		nodes = append(nodes, &apptest.Scripted{App: apptest.StartProcess(t, t.TempDir(), env...).App, OP: op})
	}
	v := nodes[0].Visitor()
	nodes[0].SignIn(v)
	if got := v.At(nodes[1].App).RefreshProfile(); got.StatusCode != http.StatusOK {
		t.Errorf("refreshing on the second node answers %d\n%s", got.StatusCode, nodes[1].Log)
	}
	v.At(nodes[2].App).Direct(v.At(nodes[2].App).Request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin"))
	for i, node := range nodes {
		apptest.Eventually(t, "node "+strconv.Itoa(i)+" refuses the session", func() bool { return !v.At(node.App).SignedIn() })
	}

	w := nodes[2].Visitor()
	nodes[2].SignIn(w)
	for _, node := range nodes {
		if !w.At(node.App).SignedIn() {
			t.Errorf("%s does not know the session", node.URL)
		}
	}
	token := op.LogoutToken()
	if got := v.At(nodes[1].App).Send("/backchannel-logout", "application/x-www-form-urlencoded", url.Values{"logout_token": {token.Compact()}}.Encode()); got.StatusCode != http.StatusOK {
		t.Fatalf("the logout token is answered %d", got.StatusCode)
	}
	start := time.Now()
	for i, node := range nodes {
		apptest.Eventually(t, "node "+strconv.Itoa(i)+" refuses the session", func() bool { return !w.At(node.App).SignedIn() })
	}
	t.Logf("all nodes refuse it after %v", time.Since(start))
}

// TestRedisPausedUnderLoad (FM-11) stops Redis for ten seconds under load. People are asked
// to wait, no cookie changes, nobody is sent to sign in, and afterwards everyone is signed
// in.
func TestRedisPausedUnderLoad(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	one, two, redis := apptest.StartNodes(t)
	var people []*apptest.Visitor
	for range 8 {
		v := one.Visitor()
		one.SignIn(v)
		people = append(people, v)
	}
	stop := make(chan struct{})
	answers := make(chan apptest.Answer, 100_000)
	var clicking sync.WaitGroup
	for i, v := range people {
		node := []*apptest.Scripted{one, two}[i%2]
		clicking.Go(func() {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					answers <- v.At(node.App).Direct(v.At(node.App).Request(http.MethodGet, "/dashboard", nil))
				}
			}
		})
	}
	redis.Pause(t)
	<-time.After(10 * time.Second)
	redis.Resume(t)
	for i, v := range people {
		apptest.Eventually(t, "person "+strconv.Itoa(i)+" is signed in", func() bool { return v.At(one.App).SignedIn() && v.At(two.App).SignedIn() })
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
		t.Error("no request was affected by the pause of Redis")
	}
}

// TestNodesRefreshOnce (RT-01, FM-25) has twenty people press Refresh ten times on each of
// two nodes, all at once, after their access tokens have expired. If a refresh token is
// used twice, the provider revokes all tokens of that person.
func TestNodesRefreshOnce(t *testing.T) {
	t.Parallel()
	one, two, _ := apptest.StartNodes(t)
	lifetime := func(seconds int) {
		one.OP.Edit(scriptedop.Token, func(response map[string]any) { response["expires_in"] = seconds })
	}
	lifetime(1)
	var people []*apptest.Visitor
	for range 20 {
		v := one.Visitor()
		one.SignIn(v)
		people = append(people, v)
	}
	lifetime(3600)
	<-time.After(time.Second)
	before := one.OP.Calls(scriptedop.Token)
	var pressing sync.WaitGroup
	var refreshed atomic.Int64
	for _, v := range people {
		for i := range 20 {
			node := []*apptest.Scripted{one, two}[i%2]
			pressing.Go(func() {
				switch got := v.At(node.App).RefreshProfile(); got.StatusCode {
				case http.StatusOK:
					refreshed.Add(1)
				case http.StatusServiceUnavailable, http.StatusTooManyRequests:
					// The machine is busy: Redis answers late, or so late that the press
					// counts as a new one.
				default:
					t.Errorf("answered %d", got.StatusCode)
				}
			})
		}
	}
	pressing.Wait()
	t.Logf("%d of %d presses showed a fresh profile", refreshed.Load(), 20*len(people))
	if calls := one.OP.Calls(scriptedop.Token) - before; calls != len(people) {
		t.Errorf("%d refreshes for %d people", calls, len(people))
	}
	for _, v := range people {
		if !v.At(one.App).SignedIn() || !v.At(two.App).SignedIn() {
			t.Error("a person was signed out")
		}
	}
}

// TestRedisHoldsNothingReadable (SE-09) searches the data that Redis writes to disk for
// anything about a person.
func TestRedisHoldsNothingReadable(t *testing.T) {
	t.Parallel()
	store := apptest.StartRedis(t).URL
	s := apptest.StartScripted(t, "SESSION_STORE="+store, "APP_SECRET_KEY=0123456789abcdef0123456789abcdef")
	v := s.Visitor()
	s.SignIn(v)
	if got := v.RefreshProfile(); got.StatusCode != 200 {
		t.Fatalf("refreshing answers %d", got.StatusCode)
	}
	socket := strings.TrimPrefix(store, "unix://")
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	replies := bufio.NewReader(conn)
	for _, command := range []string{"CONFIG SET rdbcompression no", "SAVE"} {
		fmt.Fprintf(conn, "%s\r\n", command)
		if reply, err := replies.ReadString('\n'); err != nil || reply != "+OK\r\n" {
			t.Fatalf("%s: %q, %v", command, reply, err)
		}
	}
	written, err := os.ReadFile(filepath.Join(filepath.Dir(socket), "dump.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(written, []byte("latchkey:session:")) {
		t.Fatal("there is no session, so the rest would prove nothing")
	}
	id, secret, _ := strings.Cut(strings.TrimPrefix(v.CookieHeader(), s.CookieName("session")+"="), ".")
	plain := authn.NewKey("owner", s.OP.Issuer, "alice") // which anyone who knows her subject can compute
	for _, private := range append(s.OP.Secrets(), id, secret, "alice", "example.com", s.OP.Issuer, "0123456789abcdef",
		string(plain[:]), base64.RawURLEncoding.EncodeToString(plain[:])) {
		if private == "" || bytes.Contains(written, []byte(private)) {
			t.Errorf("Redis stores %q", private)
		}
	}
}

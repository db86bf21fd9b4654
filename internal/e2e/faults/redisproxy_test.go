package faults

import (
	"net/http"
	"testing"
	"time"

	"latchkey/internal/apptest"
)

// TestRedisBehindABadNetwork (FM-11, FM-12, FM-14) breaks the network between two nodes and
// their Redis while people use them. People are asked to wait. No cookie changes, nobody is
// sent to sign in or sees another person's data, and open pages keep their event streams.
// What a node has confirmed is true afterwards: who signed in is signed in, and who signed
// out is signed out.
func TestRedisBehindABadNetwork(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	op := apptest.NewOP(t)
	proxy := apptest.StartRedisProxy(t, apptest.StartRedis(t))
	env := append(apptest.Env(op), "SESSION_STORE="+proxy.URL, "APP_SECRET_KEY="+secretKey)
	start := builds(t)
	var nodes []*apptest.App
	for range 2 {
		p := start(t.TempDir(), env...)
		p.Await("/readyz", http.StatusOK)
		nodes = append(nodes, p.App)
	}
	c := gather(t, op, nodes, either(8, 32), 1)
	stopListening := c.listen(1)
	for range either(1, 3) {
		for _, f := range []struct {
			name    string
			network apptest.Network
			outage  bool // also for pages whose session a node has in memory
		}{
			{"FM-12 paused", apptest.Network{Paused: true}, true},
			{"FM-12 200 milliseconds late", apptest.Network{Delay: 200 * time.Millisecond}, false},
			{"FM-12 5 seconds late", apptest.Network{Delay: 5 * time.Second}, true},
			{"FM-11 cut in the middle of each reply", apptest.Network{Cut: true}, true},
			{"FM-14 a restart that loads its data", apptest.Network{Break: true, Error: "LOADING Redis is loading the dataset in memory"}, true},
			{"FM-14 another password", apptest.Network{Break: true, Error: "NOAUTH Authentication required."}, true},
			{"FM-14 busy", apptest.Network{Error: "BUSY Redis is busy running a script."}, false},
			{"FM-14 read-only", apptest.Network{Error: "READONLY You can't write against a read only replica."}, false},
		} {
			t.Run(f.name, func(t *testing.T) { c.meet(t, proxy, f.network, f.outage) })
		}
	}
	stopListening()
	for _, node := range nodes {
		if lines := node.Logged("handler panicked", ""); len(lines) > 0 {
			t.Errorf("the log says %v", lines)
		}
	}
}

// meet has the crowd use its nodes while their network to Redis is bad.
func (c *crowd) meet(t *testing.T, proxy *apptest.RedisProxy, network apptest.Network, outage bool) {
	leaving, entering := c.join(), c.join()
	c.people = c.people[:len(c.people)-2]
	leaves, enters := c.mustSignIn(leaving), c.device()
	stop := c.wander(50 * time.Millisecond)
	proxy.Set(network)
	healed := time.After(either(2*time.Second, 10*time.Second))
	entered := c.signIn(entering, enters)
	left := signOut(leaves)
	<-healed
	proxy.Set(apptest.Network{})
	if p99 := stop(); p99 > 10*time.Second {
		t.Errorf("99 %% of the pages take up to %v", p99)
	}
	if outage && c.statuses[http.StatusServiceUnavailable] == 0 {
		t.Error("no page was affected")
	}
	for _, p := range c.people {
		apptest.Eventually(t, p.name+" is signed in", func() bool { return c.signedInEverywhere(p.devices[0]) })
	}
	switch entered.StatusCode {
	case http.StatusSeeOther:
		if !c.signedInEverywhere(enters) {
			t.Error("a person whose sign-in was confirmed is not signed in")
		}
	case http.StatusServiceUnavailable:
		if c.signedInAnywhere(enters) {
			t.Error("a sign-in that failed has set a cookie")
		}
	default:
		t.Errorf("a sign-in is answered with %d to %q", entered.StatusCode, entered.Header.Get("Location"))
	}
	again := left
	if left.StatusCode == http.StatusServiceUnavailable {
		again = signOut(leaves) // the first time may have ended the session all the same
	}
	if again.StatusCode >= http.StatusBadRequest || c.signedInAnywhere(leaves) {
		t.Errorf("a person who signs out, answered with %d and %d, is still signed in", left.StatusCode, again.StatusCode)
	}
}

package faults

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// crowd is people who use the nodes of an app at the same time. Every page that any of them
// gets is checked.
type crowd struct {
	t         *testing.T
	op        *scriptedop.Provider
	nodes     []*apptest.App
	people    []*person
	transport *http.Transport

	signingIn sync.Mutex // the provider knows one person at a time

	mu       sync.Mutex
	statuses map[int]int
	took     []time.Duration
}

// person is one of a crowd. Nobody else's page may have the name.
type person struct {
	name    string
	devices []*apptest.Visitor
	streams []*apptest.Stream
}

var anyName = regexp.MustCompile(`(?i)person-\d{3}`)

// gather signs people in, on several devices each.
func gather(t *testing.T, op *scriptedop.Provider, nodes []*apptest.App, people, devices int) *crowd {
	t.Helper()
	c := &crowd{
		t: t, op: op, nodes: nodes, statuses: make(map[int]int),
		transport: &http.Transport{MaxIdleConnsPerHost: 2000}, // which keeps idle connections for ever
	}
	t.Cleanup(c.transport.CloseIdleConnections)
	for range people {
		p := c.join()
		for range devices {
			c.mustSignIn(p)
		}
	}
	return c
}

// join adds a person, who is not signed in.
func (c *crowd) join() *person {
	p := &person{name: fmt.Sprintf("person-%03d", len(c.people))}
	c.people = append(c.people, p)
	return p
}

// device returns a new browser.
func (c *crowd) device() *apptest.Visitor {
	v := c.nodes[0].Visitor()
	v.Client.Transport = c.transport
	return v
}

// signIn signs a person in, and returns the answer to the callback.
func (c *crowd) signIn(p *person, v *apptest.Visitor) apptest.Answer {
	c.t.Helper()
	c.signingIn.Lock()
	c.op.SignInAs(p.name)
	address := v.AuthorizationResponse("/profile")
	c.signingIn.Unlock()
	return v.Callback(address)
}

func (c *crowd) mustSignIn(p *person) *apptest.Visitor {
	c.t.Helper()
	v := c.device()
	if got := c.signIn(p, v); got.StatusCode != http.StatusSeeOther {
		c.t.Fatalf("%s is not signed in: %d", p.name, got.StatusCode)
	}
	p.devices = append(p.devices, v)
	return v
}

// somewhere returns a browser at any node.
func (c *crowd) somewhere(v *apptest.Visitor) *apptest.Visitor {
	return v.At(c.nodes[rand.N(len(c.nodes))])
}

func (c *crowd) signedInEverywhere(v *apptest.Visitor) bool {
	return !slices.ContainsFunc(c.nodes, func(node *apptest.App) bool { return !v.At(node).SignedIn() })
}

func (c *crowd) signedInAnywhere(v *apptest.Visitor) bool {
	return slices.ContainsFunc(c.nodes, func(node *apptest.App) bool { return v.At(node).SignedIn() })
}

// signOut signs a browser out, and returns the answer: 200, a page that leads to the provider.
func signOut(v *apptest.Visitor) apptest.Answer {
	v.T.Helper()
	return v.Direct(v.Request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin"))
}

// look opens any page of a person and checks it: it is theirs alone, changes no cookie, and
// sends nobody to sign in.
func (c *crowd) look(p *person) {
	v := c.somewhere(p.devices[rand.N(len(p.devices))])
	request := v.Request(http.MethodPost, "/profile/refresh", nil, "HX-Request", "true", "Sec-Fetch-Site", "same-origin")
	pages := []string{"/dashboard", "/profile", "/sessions", "/api/me"}
	if i := rand.N(10); i > 0 {
		request = v.Request(http.MethodGet, pages[i%len(pages)], nil)
	}
	start := time.Now()
	got := v.Direct(request)
	took := time.Since(start)
	what := request.Method + " " + request.URL.Path
	allowed := []int{http.StatusOK, http.StatusServiceUnavailable}
	if request.Method == http.MethodPost {
		allowed = append(allowed, http.StatusTooManyRequests)
	}
	if !slices.Contains(allowed, got.StatusCode) || len(got.Cookies()) > 0 {
		c.t.Errorf("%s of %s is answered with %d to %q and cookies %v", what, p.name, got.StatusCode, got.Header.Get("Location"), got.Cookies())
	}
	names := anyName.FindAllString(got.Body, -1)
	for _, name := range names {
		if !strings.EqualFold(name, p.name) {
			c.t.Errorf("SE-10: %s of %s shows %s", what, p.name, name)
		}
	}
	if got.StatusCode == http.StatusOK && len(names) == 0 && request.URL.Path != "/sessions" {
		c.t.Errorf("%s does not show whose page it is, so the other checks prove nothing", what)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statuses[got.StatusCode]++
	c.took = append(c.took, took)
}

// wander has everyone look at pages until stop is called, which logs how it went. It returns
// the time that all but 1 % of the pages took at most.
func (c *crowd) wander(pause time.Duration) (stop func() (p99 time.Duration)) {
	c.mu.Lock()
	clear(c.statuses)
	c.took = nil
	c.mu.Unlock()
	stopped := make(chan struct{})
	var wandering sync.WaitGroup
	for _, p := range c.people {
		wandering.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for {
				select {
				case <-stopped:
					return
				case <-tick.C:
					c.look(p)
				}
			}
		})
	}
	return func() time.Duration {
		close(stopped)
		wandering.Wait()
		slices.Sort(c.took)
		if len(c.took) == 0 {
			c.t.Error("nobody has looked at anything")
			return 0
		}
		p99 := c.took[len(c.took)*99/100]
		c.t.Logf("%d pages, by status %v; half took %v, 99 %% at most %v, all at most %v", len(c.took), c.statuses,
			c.took[len(c.took)/2].Round(time.Millisecond), p99.Round(time.Millisecond), c.took[len(c.took)-1].Round(time.Millisecond))
		return p99
	}
}

// listen opens a number of event streams for each person. All of them must last, and tell
// about nobody else, until stop is called.
func (c *crowd) listen(each int) (stop func()) {
	c.t.Helper()
	ids := make(map[any]string)
	leaving := make(chan struct{})
	var listening sync.WaitGroup
	for _, p := range c.people {
		for i := range each {
			s := c.somewhere(p.devices[i%len(p.devices)]).Listen()
			p.streams = append(p.streams, s)
			id := s.Want("alive")["person"]
			if owner, known := ids[id]; known != (i > 0) || known && owner != p.name {
				c.t.Errorf("SE-10: a stream of %s tells about %v, which is %q", p.name, id, owner)
			}
			ids[id] = p.name
			listening.Go(func() {
				for e := range s.Events {
					if e.Data != nil && e.Data["person"] != id {
						c.t.Errorf("a stream of %s receives %q %v", p.name, e.Name, e.Data)
					}
				}
				select {
				case <-leaving:
				default:
					c.t.Errorf("a stream of %s ends by itself", p.name)
				}
			})
		}
	}
	return func() {
		close(leaving)
		for _, p := range c.people {
			for _, s := range p.streams {
				s.Close()
			}
			p.streams = nil
		}
		listening.Wait()
	}
}

// churn has others sign in and out, one after the other, until stop is called. Each time, the
// page is theirs, and the session ends. On an overloaded machine some answers are 503.
func (c *crowd) churn(pause time.Duration) (stop func()) {
	stopped := make(chan struct{})
	var churning sync.WaitGroup
	churning.Go(func() {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for rounds, busy := 0, 0; ; rounds++ {
			select {
			case <-stopped:
				if c.t.Logf("%d sign-ins and sign-outs, %d answers are 503", rounds, busy); busy > rounds/2 {
					c.t.Error("these are too many")
				}
				return
			case <-tick.C:
			}
			p, v := &person{name: fmt.Sprintf("person-9%02d", rounds%100)}, c.device()
			if got := c.signIn(p, v); got.StatusCode == http.StatusServiceUnavailable {
				busy++
				continue
			} else if got.StatusCode != http.StatusSeeOther {
				c.t.Errorf("%s is not signed in: %d", p.name, got.StatusCode)
				continue
			}
			for _, name := range anyName.FindAllString(c.somewhere(v).Get("/dashboard").Body, -1) {
				if !strings.EqualFold(name, p.name) {
					c.t.Errorf("SE-10: the dashboard of %s shows %s", p.name, name)
				}
			}
			if got := signOut(v); got.StatusCode == http.StatusServiceUnavailable {
				busy++
			} else if got.StatusCode != http.StatusOK || v.SignedIn() {
				c.t.Errorf("%s is not signed out: %d", p.name, got.StatusCode)
			}
		}
	})
	return func() {
		close(stopped)
		churning.Wait()
	}
}

// resources is what a process uses.
type resources struct{ Memory, Heap, Goroutines, Descriptors float64 }

func (r resources) String() string {
	return fmt.Sprintf("%.1f MB of memory, %.1f MB of heap, %.0f goroutines, %.0f descriptors", r.Memory/1e6, r.Heap/1e6, r.Goroutines, r.Descriptors)
}

// used returns what the process uses whose operators' address a visitor is at.
func used(operators *apptest.Visitor) resources {
	operators.T.Helper()
	m := operators.Metrics()
	r := resources{m["process_resident_memory_bytes"], m["go_memstats_heap_inuse_bytes"], m["go_goroutines"], m["process_open_fds"]}
	if r.Memory == 0 || r.Heap == 0 || r.Goroutines == 0 || r.Descriptors == 0 {
		operators.T.Fatalf("the metrics lack what the process uses: %+v", r)
	}
	return r
}

// TestCrowd (SE-10, DO-13) has many people use two nodes, with many event streams. Nobody
// sees another person's data. Afterwards the nodes use as much as before: connections that
// their clients leave open are closed in time, and nothing is held for a stream that is gone.
func TestCrowd(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	op := apptest.NewOP(t)
	env := append(apptest.Env(op), "SESSION_STORE="+apptest.StartRedis(t).URL, "APP_SECRET_KEY="+secretKey, "OPS_ADDR=127.0.0.1:0")
	start := builds(t)
	var nodes []*apptest.App
	var operators []*apptest.Visitor
	for range 2 {
		p := start(t.TempDir(), env...)
		p.Await("/readyz", http.StatusOK)
		nodes, operators = append(nodes, p.App), append(operators, p.Operators())
	}
	c := gather(t, op, nodes, either(16, 64), 3)
	// Everyone has been everywhere, and nobody is connected.
	for _, p := range c.people {
		for _, v := range p.devices {
			c.signedInEverywhere(v)
		}
	}
	c.transport.CloseIdleConnections()
	settled := func(i int) bool { // no client is connected: only the operators, Redis and the provider
		return operators[i].Metrics()["latchkey_open_streams"] == 0 && used(operators[i]).Descriptors < 25
	}
	base := make([]resources, len(nodes))
	for i := range nodes {
		apptest.Eventually(t, "nobody is connected", func() bool { return settled(i) })
		base[i] = used(operators[i])
	}

	// A person can have 30 streams, and a browser 6 per node.
	stopListening := c.listen(either(4, 16))
	stopChurning := c.churn(50 * time.Millisecond)
	stopWandering := c.wander(100 * time.Millisecond)
	<-time.After(either(2*time.Second, time.Minute))
	streams := 0.0
	for i := range nodes {
		streams += operators[i].Metrics()["latchkey_open_streams"]
		t.Logf("node %d with everyone: %v", i, used(operators[i]))
	}
	if want := float64(len(c.people) * either(4, 16)); streams != want {
		t.Errorf("%v streams are open, want %v", streams, want)
	}
	p99 := stopWandering()
	stopChurning()
	stopListening()
	// In the short form, one second without Redis is half of the time.
	if share := float64(c.statuses[http.StatusServiceUnavailable]) / float64(len(c.took)); share > either(0.25, 0.05) || p99 > either(apptest.Patience, 5*time.Second) {
		t.Errorf("%.0f %% of the pages are answered with 503, and p99 is %v", 100*share, p99)
	}

	// In the long form the clients keep their connections, which the server closes after 90
	// seconds. Opened sessions that ended on the other node stay in memory for ten minutes,
	// and then the runtime collects garbage at least every two minutes.
	if !long() {
		c.transport.CloseIdleConnections()
	}
	left := time.Now()
	returns := func(what string, within time.Duration, back func(now, before resources) bool) {
		t.Helper()
		for i, before := range base {
			now := used(operators[i])
			for ; !back(now, before) && time.Since(left) < within; now = used(operators[i]) {
				<-time.After(100 * time.Millisecond)
			}
			t.Logf("node %d %v after everyone has left: %v; and before: %v", i, time.Since(left).Round(time.Second), now, before)
			if !back(now, before) {
				t.Errorf("node %d does not give back its %s", i, what)
			}
		}
	}
	returns("goroutines and descriptors", either(apptest.Patience, 2*time.Minute), func(now, before resources) bool {
		return now.Goroutines <= before.Goroutines+10 && now.Descriptors <= before.Descriptors+5
	})
	if long() {
		returns("memory", 13*time.Minute, func(now, before resources) bool { return now.Heap <= before.Heap+8e6 })
	}
	for _, node := range nodes {
		if lines := node.Logged("handler panicked", ""); len(lines) > 0 {
			t.Errorf("the log says %v", lines)
		}
	}
}

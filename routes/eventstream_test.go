package routes_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestStreamsOutliveDeadlines (SS-03) keeps a silent stream open for longer than the server's deadlines for
// pages, and than the time that writing an event may take.
func TestStreamsOutliveDeadlines(t *testing.T) {
	t.Parallel()
	const deadline = 3 * time.Second // which a handshake on a busy machine must meet
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := apptest.NewTwoDevices(t)
			strict := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Host = strings.TrimPrefix(p.URL, "http://")
				p.Assembled.Handler.ServeHTTP(w, r)
			}))
			strict.Config.ReadTimeout, strict.Config.WriteTimeout = deadline, deadline
			if strict.EnableHTTP2 = http2; http2 {
				strict.StartTLS()
			} else {
				strict.Start()
			}
			t.Cleanup(strict.Close)
			client := *p.There.Client
			client.Transport = &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
			v := &apptest.Visitor{T: t, App: &apptest.App{T: t, URL: strings.Replace(strict.URL, "127.0.0.1", "localhost", 1), Log: p.Log}, Client: &client}
			open := v.Listen()
			open.Want("alive")
			select {
			case e := <-open.Events:
				t.Fatalf("the page is told %v", e)
			case <-time.After(7 * time.Second):
			}
			p.EndOthers()
			open.Want("signed-out")
			open.WantEnd()
			if got := open.Response.Proto; got != strings.Replace(name, "/2", "/2.0", 1) {
				t.Errorf("this was %s", got)
			}
		})
	}
}

// TestStreamLimits (SS-05) opens streams up to the limits for a session, for a person, and
// for the app.
func TestStreamLimits(t *testing.T) {
	t.Parallel()
	const perSession, perPerson, all = 6, 30, 40
	s, _ := apptest.AssembleWith(t, func(c *apptest.Settings) { c.Authn.Watchers = all })
	refused := func(v *apptest.Visitor) *http.Response {
		resp := v.Connect()
		if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
			t.Fatalf("one too many is answered %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
		}
		return resp
	}
	alice := s.Visitor()
	s.SignIn(alice)
	var open []*apptest.Stream
	for range perSession {
		open = append(open, alice.Listen())
	}
	for range 1000 - perSession {
		_ = refused(alice).Body.Close()
	}
	open[0].Close()
	s.WantStreams(perSession - 1)
	open[0] = alice.Listen()

	for len(open) < perPerson {
		device := s.Visitor()
		s.SignIn(device)
		for range perSession {
			open = append(open, device.Listen())
		}
	}
	device := s.Visitor()
	s.SignIn(device)
	refused(device)

	s.OP.SignInAs("mallory")
	for len(open) < all {
		device = s.Visitor()
		s.SignIn(device)
		for range min(perSession, all-len(open)) {
			open = append(open, device.Listen())
		}
	}
	s.OP.SignInAs("carol")
	carol := s.Visitor()
	s.SignIn(carol)
	refused(carol)
	if page := carol.Get("/dashboard"); page.StatusCode != http.StatusOK {
		t.Errorf("without a stream the dashboard is %d", page.StatusCode)
	}
	for _, l := range open {
		l.Close()
	}
	s.WantStreams(0)
	carol.Listen().Want("alive")
}

// TestStreamHeaders (SS-06) checks the header that keeps proxies from caching, compressing
// and buffering a stream.
func TestStreamHeaders(t *testing.T) {
	t.Parallel()
	s, _ := apptest.Assemble(t)
	v := s.Visitor()
	s.SignIn(v)
	open := v.Listen("Accept-Encoding", "gzip")
	for header, want := range map[string]string{
		"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no",
		"Content-Encoding": "", "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin", "Set-Cookie": "",
	} {
		if got := open.Response.Header.Get(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}
}

// TestStreamsSayNothingOfAnybody (SS-08, HB-17, HB-18) has a person whose claims look like events, and
// a browser that sends a Last-Event-Id.
func TestStreamsSayNothingOfAnybody(t *testing.T) {
	t.Parallel()
	const evil = "x\n\nevent: signed-out\ndata: {\"because\":\"<script>alert(1)</script>\"}\n\n"
	s, clock := apptest.Assemble(t)
	s.OP.Edit(scriptedop.UserInfo, func(document map[string]any) {
		for _, claim := range []string{"name", "email", "picture", "locale", "groups"} {
			document[claim] = evil
		}
	})
	v := s.Visitor()
	s.SignIn(v)
	for _, last := range []string{"", "1", strings.Repeat("9", 8<<10), "../../x", "x\tevent: alive"} {
		open := v.Listen("Last-Event-Id", last)
		got := open.Want("alive") // the listener refuses unknown lines
		if len(got) != 3 || got["person"] == "" || strings.ContainsAny(fmt.Sprint(got), "<@\n") {
			t.Errorf("the event holds %v", got)
		}
		open.Close()
	}
	open := v.Listen()
	open.Want("alive")
	clock.Move(24 * time.Hour)
	if got := open.Want("signed-out"); len(got) != 1 {
		t.Errorf("the event holds %v", got)
	}
}

// TestStreamsEndAtShutdown (SS-07) stops the program while a hundred streams are open.
func TestStreamsEndAtShutdown(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t, "LOG_LEVEL=debug")
	page := apptest.Parse(t, a.Visitor().Get("/login").Body)
	var people []string
	for n := range page.Descendants() {
		if subject, ok := strings.CutPrefix(apptest.Attribute(n, "id"), "person-"); ok && n.Data == "button" {
			people = append(people, subject)
		}
	}
	var open []*apptest.Stream
	var retries []string
	for len(open) < 100 {
		v := a.Visitor()
		v.SignIn("/login", people[len(open)/24%len(people)])
		for range 6 {
			open = append(open, v.Listen())
		}
	}
	for _, l := range open {
		first := <-l.Events
		retries = append(retries, first.Retry)
		if ms, err := strconv.Atoi(first.Retry); err != nil || ms < 1000 || ms > 5000 {
			t.Errorf("a stream begins with %v", first)
		}
		l.Want("alive")
	}
	slices.Sort(retries)
	if len(slices.Compact(retries)) < 50 {
		t.Error("too many browsers reconnect at the same time")
	}
	if err := a.Stop(); err != nil { // such as that a stream did not end in time
		t.Errorf("the program ends with %v", err)
	}
	for _, l := range open {
		l.WantEnd()
	}
	wantQuietLog(a)
	if got := a.Log.Count(`"path":"/events"`); got != len(open) {
		t.Errorf("%d streams are logged", got)
	}
}

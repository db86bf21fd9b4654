package faults

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"latchkey/authn"
	"latchkey/internal/app"
	"latchkey/internal/apptest"
)

const secretKey = "0123456789abcdef0123456789abcdef"

// redisCommand sends a command to a store's Redis, as an operator would. It returns the
// first line of the reply, or the text that the line announces.
func redisCommand(t *testing.T, store string, words ...string) string {
	t.Helper()
	conn, err := net.Dial("unix", strings.TrimPrefix(store, "unix://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(conn, "$%d\r\n%s\r\n", len(word), word)
	}
	replies := bufio.NewReader(conn)
	line, err := replies.ReadString('\n')
	if err != nil || strings.HasPrefix(line, "-") {
		t.Fatalf("%v: %q, %v", words, line, err)
	}
	if length, ok := strings.CutPrefix(line, "$"); ok {
		n, _ := strconv.Atoi(strings.TrimSpace(length))
		bulk := make([]byte, n)
		if _, err := io.ReadFull(replies, bulk); err != nil {
			t.Fatal(err)
		}
		return string(bulk)
	}
	return strings.TrimSpace(line)
}

// refuseAll listens in place of a Redis server, and answers every command with an error.
func refuseAll(t *testing.T, dir, answer string) (stop func()) {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			go func() {
				for commands := bufio.NewScanner(conn); commands.Scan(); {
					if strings.HasPrefix(commands.Text(), "*") {
						fmt.Fprintf(conn, "-%s\r\n", answer)
					}
				}
			}()
		}
	}()
	return func() { listener.Close() }
}

// wantNoStore checks an app whose store is down. Pages that need no store work, nobody can
// sign in, and nobody is redirected in a loop.
func wantNoStore(s *apptest.Scripted) {
	s.T.Helper()
	v := s.Visitor()
	for path, want := range map[string]int{"/": 200, "/healthz": 200, "/robots.txt": 200, "/readyz": 503} {
		if got := v.Get(path); got.StatusCode != want {
			s.T.Errorf("%s answers %d, want %d", path, got.StatusCode, want)
		}
	}
	got := v.Callback(v.AuthorizationResponse("/profile"))
	if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
		s.T.Errorf("a sign-in is answered with %d, Retry-After %q", got.StatusCode, got.Header.Get("Retry-After"))
	}
	for _, cookie := range got.Cookies() {
		if cookie.Name == s.CookieName("session") {
			s.T.Errorf("a failed sign-in sets the cookie %v", cookie)
		}
	}
	madeUp := strings.Repeat("A", 43)
	known := v.Direct(v.Request(http.MethodGet, "/dashboard", nil, "Cookie", s.CookieName("session")+"="+madeUp+"."+madeUp))
	if known.StatusCode != http.StatusServiceUnavailable || len(known.Cookies()) > 0 {
		s.T.Errorf("FM-11: a visitor with a session cookie is answered with %d and cookies %v", known.StatusCode, known.Cookies())
	}
}

// TestRedisComesLater (FM-10, FM-14) starts the app before its Redis, or with one that
// refuses every command for a temporary reason. A permanent reason makes the app fail to
// start.
func TestRedisComesLater(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"FM-10 nothing listens":           "",
		"FM-14 loading its data":          "LOADING Redis is loading the dataset in memory",
		"FM-14 without its primary":       "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
		"FM-14 an incomplete cluster":     "CLUSTERDOWN The cluster is down",
		"FM-14 a redirect to a dead node": "MOVED 3999 127.0.0.1:1",
		"FM-14 a missing database":        "ERR DB index is out of range",
		"FM-14 busy with a script":        "BUSY Redis is busy running a script.",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, stop := apptest.RedisDir(t), func() {}
			if answer != "" {
				stop = refuseAll(t, dir, answer)
			}
			s := apptest.StartScripted(t, "SESSION_STORE=unix://"+filepath.Join(dir, "s"), "APP_SECRET_KEY="+secretKey)
			wantNoStore(s)
			stop()
			apptest.StartRedisIn(t, dir)
			s.Await("/readyz", http.StatusOK)
			v := s.Visitor()
			s.SignIn(v)
			if !v.SignedIn() {
				t.Error("nobody stays signed in")
			}
		})
	}
	for _, answer := range []string{"WRONGPASS invalid username-password pair or user is disabled.", "NOAUTH Authentication required.", "NOPERM User default has no permissions"} {
		code, _, _ := strings.Cut(answer, " ")
		t.Run("FM-10 FM-14 "+code+" fails the start", func(t *testing.T) {
			t.Parallel()
			dir := apptest.RedisDir(t)
			refuseAll(t, dir, answer)
			op := apptest.NewOP(t)
			log := apptest.NewLog()
			env := append(apptest.Env(op), "PORT=0", "LOG_FORMAT=json", "SESSION_STORE=unix://"+filepath.Join(dir, "s"), "APP_SECRET_KEY="+secretKey)
			ctx, cancel := context.WithTimeout(t.Context(), apptest.Patience)
			defer cancel()
			err := app.Run(ctx, nil, env, log)
			if err == nil || !strings.Contains(err.Error(), code) || !strings.Contains(err.Error(), "SESSION_STORE") {
				t.Errorf("the program ends with %v", err)
			}
		})
	}
}

// TestRedisRefusesWrites (FM-14) uses a Redis that is full, has become a replica, or does
// not let the app write. Nobody can sign in. Everyone who is signed in stays signed in,
// even on a node that has to ask Redis. A full Redis lets people sign out. Once Redis
// accepts writes again, everything works as before.
func TestRedisRefusesWrites(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		begin, end [][]string
		signsOut   bool
	}{
		"FM-14 OOM":      {[][]string{{"CONFIG", "SET", "maxmemory", "1"}}, [][]string{{"CONFIG", "SET", "maxmemory", "0"}}, true},
		"FM-14 READONLY": {[][]string{{"REPLICAOF", "127.0.0.1", "1"}}, [][]string{{"REPLICAOF", "NO", "ONE"}}, false},
		"FM-14 NOPERM":   {[][]string{{"ACL", "SETUSER", "default", "-@write"}}, [][]string{{"ACL", "SETUSER", "default", "+@all"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := apptest.StartRedis(t).URL
			env := []string{"SESSION_STORE=" + store, "APP_SECRET_KEY=" + secretKey}
			one := apptest.StartScripted(t, env...)
			two := apptest.StartBeside(t, one.OP, env...)
			stays, leaves, next := one.Visitor(), one.Visitor(), one.Visitor()
			one.SignIn(stays)
			one.SignIn(leaves)
			response := next.AuthorizationResponse("/profile")
			for _, words := range c.begin {
				redisCommand(t, store, words...)
			}
			got := next.Callback(response)
			if got.StatusCode != http.StatusServiceUnavailable || next.SignedIn() {
				t.Errorf("a sign-in is answered with %d", got.StatusCode)
			}
			one.WantNoSession(next, got)
			if !stays.At(two.App).SignedIn() {
				t.Errorf("the person is no longer signed in\n%s", two.Log)
			}
			out := leaves.Direct(leaves.Request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin"))
			if c.signsOut && (out.StatusCode != http.StatusOK || leaves.At(two.App).SignedIn()) {
				t.Errorf("signing out is answered with %d", out.StatusCode)
			}
			if !c.signsOut && out.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("signing out is answered with %d, as if it had succeeded", out.StatusCode)
			}
			for _, words := range c.end {
				redisCommand(t, store, words...)
			}
			apptest.Eventually(t, "people can sign in again", func() bool { return next.Get("/login").StatusCode == http.StatusOK && next.SignedIn() })
			if !stays.At(two.App).SignedIn() {
				t.Error("the person who was signed in before is signed out")
			}
		})
	}
}

// TestRedisMixesUp (FM-15) swaps the records of two people, as a Redis server or client
// that mixes up replies would. Neither person sees the other's page. With the right
// records, both see their own.
func TestRedisMixesUp(t *testing.T) {
	t.Parallel()
	store := apptest.StartRedis(t).URL
	env := []string{"SESSION_STORE=" + store, "APP_SECRET_KEY=" + secretKey}
	one := apptest.StartScripted(t, env...)
	people := map[string]*apptest.Visitor{"alice": one.Visitor(), "bob": one.Visitor()}
	names := make(map[string]string)
	for name, v := range people {
		one.OP.SignInAs(name)
		one.SignIn(v)
		id, _, _ := strings.Cut(strings.TrimPrefix(v.CookieHeader(), one.CookieName("session")+"="), ".")
		key := authn.NewKey("session", id)
		names[name] = "latchkey:session:" + base64.RawURLEncoding.EncodeToString(key[:])
	}
	swap := func() {
		for _, words := range [][]string{{"RENAME", names["alice"], "aside"}, {"RENAME", names["bob"], names["alice"]}, {"RENAME", "aside", names["bob"]}} {
			if reply := redisCommand(t, store, words...); reply != "+OK" {
				t.Fatalf("%v: %s", words, reply)
			}
		}
	}
	swap()
	wrong := apptest.StartBeside(t, one.OP, env...) // this node has no cached session
	for name, v := range people {
		for _, path := range []string{"/dashboard", "/profile", "/api/me", "/sessions"} {
			got := v.At(wrong.App).Direct(v.At(wrong.App).Request(http.MethodGet, path, nil, "Sec-Fetch-Dest", "empty"))
			if got.StatusCode == http.StatusOK || strings.Contains(got.Body, "alice") || strings.Contains(got.Body, "bob") {
				t.Errorf("%s gets %s: %d\n%s", name, path, got.StatusCode, got.Body)
			}
		}
	}
	swap()
	right := apptest.StartBeside(t, one.OP, env...)
	for name, v := range people {
		v = v.At(right.App)
		if got := v.WhenAvailable(v.Request(http.MethodGet, "/dashboard", nil)); got.StatusCode != http.StatusOK || !strings.Contains(got.Body, name+"@example.com") {
			t.Errorf("with the right records %s gets %d", name, got.StatusCode)
		}
	}
}

// TestRedisLosesASession (FM-13) loses the last writes, as a failover to a lagging replica
// does. The person who has just signed in is a visitor again, and can sign in without an
// error or a loop. The tests of redisstore, such as TestSentinel, show that the app finds
// the new primary and that an ended session stays ended. A sign-out that the replica has
// not received is lost, as the documentation says.
func TestRedisLosesASession(t *testing.T) {
	t.Parallel()
	dir := apptest.RedisDir(t)
	redis := apptest.StartRedisIn(t, dir)
	s := apptest.StartScripted(t, "SESSION_STORE=unix://"+filepath.Join(dir, "s"), "APP_SECRET_KEY="+secretKey)
	v := s.Visitor()
	got := v.Callback(v.AuthorizationResponse("/profile"))
	if err := redis.Kill(); err != nil {
		t.Fatal(err)
	}
	if got.StatusCode != http.StatusSeeOther {
		t.Fatalf("signing in is answered with %d", got.StatusCode)
	}
	apptest.Eventually(t, "Redis is gone", func() bool { _, err := net.Dial("unix", filepath.Join(dir, "s")); return err != nil })
	if err := os.Remove(filepath.Join(dir, "s")); err != nil {
		t.Fatal(err)
	}
	apptest.StartRedisIn(t, dir)
	s.Await("/readyz", http.StatusOK)
	lost := v.WhenAvailable(v.Request(http.MethodGet, "/profile", nil))
	if lost.StatusCode != http.StatusSeeOther || !strings.HasPrefix(lost.Header.Get("Location"), "/login") {
		t.Errorf("a person whose session is lost is answered with %d to %q", lost.StatusCode, lost.Header.Get("Location"))
	}
	end := v.Get("/profile")
	if end.StatusCode == http.StatusServiceUnavailable {
		end = v.WhenAvailable(v.Request(http.MethodGet, "/profile", nil))
	}
	if end.StatusCode != http.StatusOK || end.Request.URL.Path != "/profile" || !v.SignedIn() {
		t.Errorf("signing in again ends at %s with %d", end.Request.URL.Path, end.StatusCode)
	}
	if lines := s.Logged("handler panicked", ""); len(lines) > 0 {
		t.Errorf("the log says %v", lines)
	}
}

package redisstore_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"latchkey/authn/redisstore"
	"latchkey/internal/apptest"
)

// soon limits the wait for events in another process.
const soon = 15 * time.Second

// server is a redis-server for one test.
type server struct {
	url     string
	dir     string
	args    []string
	process *exec.Cmd
	admin   rueidis.Client
}

// startServer starts a server on a unix socket in its own directory, and stops it when the
// test ends. Without redis-server the test is skipped, or fails in CI.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	dir := shortDir(t)
	s := &server{dir: dir, url: "unix://" + filepath.Join(dir, "s")}
	s.args = append([]string{"--port", "0", "--unixsocket", filepath.Join(dir, "s")}, args...)
	s.start(t)
	s.admin = connect(t, s.url)
	return s
}

// startServerAt starts a server on a loopback port.
func startServerAt(t testing.TB, port string, args ...string) *server {
	t.Helper()
	s := &server{dir: shortDir(t), url: "redis://127.0.0.1:" + port}
	s.args = append([]string{"--port", port, "--bind", "127.0.0.1"}, args...)
	s.start(t)
	s.admin = connect(t, s.url)
	return s
}

// start starts the server and waits until it listens.
func (s *server) start(t testing.TB) {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is missing")
		}
		t.Skip("redis-server is missing")
	}
	// A first argument that begins with a dash is an option. Any other is a configuration
	// file.
	s.process = exec.Command(path, append(s.args, "--dir", s.dir, "--save", "", "--appendonly", "no", "--loglevel", "warning")...)
	var output bytes.Buffer
	s.process.Stdout, s.process.Stderr = &output, &output
	must(t, s.process.Start())
	process := s.process
	t.Cleanup(func() { end(process) })
	network, address := "unix", strings.TrimPrefix(s.url, "unix://")
	if address == s.url {
		network, address = "tcp", strings.TrimPrefix(s.url, "redis://")
	}
	eventually(t, "the server listens", func() bool {
		conn, err := net.Dial(network, address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// stop kills the server, as a crash would.
func (s *server) stop() { end(s.process) }

func end(process *exec.Cmd) {
	_ = process.Process.Kill()
	_ = process.Wait()
}

// pause stops the server's process until resume, with its connections open.
func (s *server) pause(t testing.TB)  { signal(t, "STOP", s.process.Process) }
func (s *server) resume(t testing.TB) { signal(t, "CONT", s.process.Process) }

// signal sends a signal that package syscall does not have on every system.
func signal(t testing.TB, name string, process *os.Process) {
	t.Helper()
	must(t, exec.Command("sh", "-c", "kill -"+name+" "+strconv.Itoa(process.Pid)).Run())
}

// do runs a command as an operator would.
func (s *server) do(t testing.TB, command ...string) rueidis.RedisResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	return s.admin.Do(ctx, s.admin.B().Arbitrary(command...).Build())
}

// size returns the number of keys.
func (s *server) size(t testing.TB) int64 {
	t.Helper()
	n, err := s.do(t, "DBSIZE").AsInt64()
	must(t, err)
	return n
}

// calls returns how often the server ran a command.
func (s *server) calls(t testing.TB, command string) int {
	t.Helper()
	stats, err := s.do(t, "INFO", "commandstats").ToString()
	must(t, err)
	_, rest, _ := strings.Cut(stats, "cmdstat_"+command+":calls=")
	number, _, _ := strings.Cut(rest, ",")
	n, err := strconv.Atoi(cmp.Or(number, "0"))
	must(t, err)
	return n
}

// connect returns a plain client, which caches nothing and retries.
func connect(t testing.TB, url string) rueidis.Client {
	t.Helper()
	option, err := rueidis.ParseURL(url)
	must(t, err)
	option.DisableCache, option.ForceSingleClient = true, true
	client, err := rueidis.NewClient(option)
	must(t, err)
	t.Cleanup(client.Close)
	return client
}

// open returns the store of one node, which waits for a busy machine.
func open(t testing.TB, url string) *redisstore.Store {
	t.Helper()
	s, err := openLogged(t, url, slog.New(slog.DiscardHandler))
	must(t, err)
	return s
}

func openLogged(t testing.TB, url string, log *slog.Logger) (*redisstore.Store, error) {
	t.Helper()
	options, err := redisstore.ParseURL(url)
	must(t, err)
	options.AllowSilence(soon)
	return openOptions(t, options, log)
}

// openImpatient returns a store that gives up a silent server as soon as in production.
func openImpatient(t testing.TB, url string) *redisstore.Store {
	t.Helper()
	options, err := redisstore.ParseURL(url)
	must(t, err)
	s, err := openOptions(t, options, slog.New(slog.DiscardHandler))
	must(t, err)
	return s
}

func openOptions(t testing.TB, options *redisstore.Options, log *slog.Logger) (*redisstore.Store, error) {
	t.Helper()
	options.AllowCalls(soon) // tests limit calls by their contexts
	s, err := redisstore.Open(t.Context(), options, log)
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
	}
	return s, err
}

// shortDir returns a directory whose path is short enough for a socket.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "r")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// eventually waits for a condition that another process brings about.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	within(t, soon, what, condition)
}

// within is eventually with another limit.
func within(t testing.TB, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(limit); !condition(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// startSentinel starts a sentinel, which rewrites its configuration file.
func startSentinel(t *testing.T, config string) *server {
	t.Helper()
	port := apptest.FreePort(t)
	s := &server{dir: shortDir(t), url: "redis://127.0.0.1:" + port}
	s.args = []string{config, "--sentinel", "--port", port, "--bind", "127.0.0.1"}
	s.start(t)
	s.admin = connect(t, s.url)
	return s
}

package apptest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// Redis is a Redis server on a Unix socket, which nobody else uses.
type Redis struct {
	*os.Process
	// URL is for SESSION_STORE.
	URL string
}

// StartRedis starts a Redis and ends it with the test. Where redis-server is not installed
// the test is skipped, except in CI.
func StartRedis(t testing.TB) *Redis {
	t.Helper()
	return StartRedisIn(t, RedisDir(t))
}

// RedisDir returns an empty directory for a Redis. Its name is short, as a socket's must be.
func RedisDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "r")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// StartRedisIn starts a Redis whose socket is the file s in a directory. It may have a
// configuration file.
func StartRedisIn(t testing.TB, dir string, config ...string) *Redis {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is missing")
		}
		t.Skip("redis-server is missing")
	}
	socket := filepath.Join(dir, "s")
	server := exec.Command(path, append(config, "--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "")...)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	Eventually(t, "Redis listens", func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return &Redis{server.Process, "unix://" + socket}
}

// Pause stops the server's process until Resume, with its connections open.
func (r *Redis) Pause(t *testing.T)  { r.signal(t, "STOP") }
func (r *Redis) Resume(t *testing.T) { r.signal(t, "CONT") }

// signal sends a signal that package syscall does not have on every system.
func (r *Redis) signal(t *testing.T, name string) {
	t.Helper()
	if err := exec.Command("sh", "-c", "kill -"+name+" "+strconv.Itoa(r.Pid)).Run(); err != nil {
		t.Fatal(err)
	}
}

// StartNodes runs the program twice, beside one scripted provider and one Redis.
func StartNodes(t *testing.T) (one, two *Scripted, redis *Redis) {
	t.Helper()
	redis = StartRedis(t)
	env := []string{"SESSION_STORE=" + redis.URL, "APP_SECRET_KEY=0123456789abcdef0123456789abcdef"}
	one = StartScripted(t, env...)
	return one, StartBeside(t, one.OP, env...), redis
}

package app_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

// TestRedisHoldsNothingReadable (SE-09) looks for what is a person's in all that Redis
// writes to its disk.
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
		t.Fatal("no session is there: the rest would show nothing")
	}
	id, secret, _ := strings.Cut(strings.TrimPrefix(v.CookieHeader(), "session="), ".")
	for _, private := range append(s.OP.Secrets(), id, secret, "alice", "example.com", s.OP.Issuer, "0123456789abcdef") {
		if private == "" || bytes.Contains(written, []byte(private)) {
			t.Errorf("Redis holds %q", private)
		}
	}
}

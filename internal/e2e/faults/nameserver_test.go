package faults

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// nameServer is the variable with the address of a process's name server.
const nameServer = "LATCHKEY_TESTS_NAME_SERVER"

func askNameServer(address string) {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", address)
	}}
}

// names is a name server that gives the same answer for every name, or none.
type names struct {
	conn net.PacketConn

	mu    sync.Mutex
	code  dnsmessage.RCode
	at    []netip.Addr
	quiet bool
}

func startNames(t *testing.T) *names {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	n := &names{conn: conn}
	go n.serve()
	return n
}

// are sets the response code and the addresses for every name.
func (n *names) are(code dnsmessage.RCode, at ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.code, n.at, n.quiet = code, nil, false
	for _, address := range at {
		n.at = append(n.at, netip.MustParseAddr(address))
	}
}

// hush stops all answers.
func (n *names) hush() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.quiet = true
}

func (n *names) serve() {
	packet := make([]byte, 1500)
	for {
		size, peer, err := n.conn.ReadFrom(packet)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(packet[:size]) != nil || len(m.Questions) != 1 {
			continue
		}
		if answer, err := n.answer(m); err == nil {
			_, _ = n.conn.WriteTo(answer, peer)
		}
	}
}

func (n *names) answer(m dnsmessage.Message) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.quiet {
		return nil, os.ErrDeadlineExceeded
	}
	asked := m.Questions[0]
	m = dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RCode: n.code}, Questions: m.Questions}
	for _, at := range n.at {
		header := dnsmessage.ResourceHeader{Name: asked.Name, Type: asked.Type, Class: asked.Class}
		switch {
		case asked.Type == dnsmessage.TypeA && at.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: at.As4()}})
		case asked.Type == dnsmessage.TypeAAAA && at.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: at.As16()}})
		}
	}
	return m.Pack()
}

// TestProvidersName (FM-07) makes the provider's name unknown, known again, fail, time out,
// lead to an IPv6 address where nobody listens, and finally lead to another address. Each
// time the provider counts as temporarily unreachable, everyone stays signed in, and no
// restart is needed. Without an IPv6 route the address fails immediately, so the test then
// does not cover waiting for it. Private addresses are allowed, because many providers have
// one.
func TestProvidersName(t *testing.T) {
	t.Parallel()
	dns := startNames(t)
	dns.are(dnsmessage.RCodeNameError)
	op := scriptedop.New(t, scriptedop.Config{Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}, TLS: true, Name: "example.com"})
	op.Server.Config.SetKeepAlivesEnabled(false) // each request needs a connection, and so the name
	trusted := filepath.Join(t.TempDir(), "provider.pem")
	if err := os.WriteFile(trusted, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: op.Server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	p := apptest.StartProcess(t, t.TempDir(), append(apptest.Env(op), nameServer+"="+dns.conn.LocalAddr().String(), "SSL_CERT_FILE="+trusted)...)
	s := &apptest.Scripted{App: p.App, OP: op}
	address := op.Server.Listener.Addr().String()
	// A browser always finds the provider.
	visitor := func() *apptest.Visitor {
		v := s.Visitor()
		v.Client.Transport = &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the test made the certificate
			DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
				if strings.HasPrefix(to, "example.com:") {
					to = address
				}
				return new(net.Dialer).DialContext(ctx, network, to)
			},
		}
		return v
	}
	// Another process's log may be late, so this checks only the responses.
	unreachable := func(name string, got apptest.Answer) {
		t.Helper()
		if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" || !strings.Contains(got.Body, "<h1>The sign-in service cannot be reached</h1>") {
			t.Errorf("%s: answered with %d, Retry-After %q\n%s", name, got.StatusCode, got.Header.Get("Retry-After"), got.Body)
		}
	}
	unreachable("an unknown name at startup", s.Visitor().Get("/login"))
	dns.are(dnsmessage.RCodeSuccess, "127.0.0.1")
	s.Await("/readyz", http.StatusOK)
	person := visitor()
	s.SignIn(person)

	for name, fault := range map[string]func(){
		"an unknown name": func() { dns.are(dnsmessage.RCodeNameError) },
		"a failure":       func() { dns.are(dnsmessage.RCodeServerFailure) },
		"no answer":       dns.hush,
	} {
		v := visitor()
		response := v.AuthorizationResponse("/profile")
		fault()
		calls := op.Calls(scriptedop.Token)
		got := v.Callback(response)
		unreachable(name, got)
		s.WantNoSession(v, got)
		if !person.SignedIn() || op.Calls(scriptedop.Token) != calls {
			t.Errorf("%s: the other person is still signed in: %t; %d token requests", name, person.SignedIn(), op.Calls(scriptedop.Token)-calls)
		}
		dns.are(dnsmessage.RCodeSuccess, "127.0.0.1")
		s.SignIn(v)
	}

	dns.are(dnsmessage.RCodeSuccess, "100::1", "127.0.0.1") // RFC 6666: packets to this address are discarded
	s.SignIn(visitor())

	moved := httptest.NewUnstartedServer(op)
	moved.Listener.Close()
	listener, err := net.Listen("tcp", strings.Replace(address, "127.0.0.1:", "127.0.0.2:", 1))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("this machine has only one loopback address, so the provider cannot move: %v", err)
	}
	moved.Listener = listener
	moved.StartTLS()
	t.Cleanup(func() { moved.CloseClientConnections(); moved.Close() })
	dns.are(dnsmessage.RCodeSuccess, "127.0.0.2")
	address = listener.Addr().String()
	op.Server.Listener.Close()
	v := visitor()
	s.SignIn(v)
	if !v.SignedIn() || !person.SignedIn() {
		t.Error("nobody can sign in after the provider has moved")
	}
}

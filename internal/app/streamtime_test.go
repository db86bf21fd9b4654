package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
)

// pipes is a listener for connections in memory without buffers: a write waits for a read.
// Time in a bubble passes when everything waits.
type pipes struct {
	connections chan net.Conn
	closed      chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.connections:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// streaming is an app without a provider, and a person who is signed in.
type streaming struct {
	*App
	another func() *App // of the same store
	servers *servers
	store   *failingStore
	cookie  string
}

func newStreaming(t testing.TB, cfg *Config, keys *authn.Keys) *streaming {
	t.Helper()
	log, providers := newLogger(cfg, io.Discard, nil), realProviders(cfg)
	store := &failingStore{Store: authn.NewMemoryStore()}
	another := func() *App {
		p, err := assemble(cfg, cfg.Port, cfg.settings(cfg.Port, providers, keys, store, log), "")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	s := &streaming{App: another(), another: another, servers: newServers(log), store: store}
	s.cookie = s.signIn(t, "alice")
	return s
}

// signIn returns the session cookie of a person who has signed in.
func (s *streaming) signIn(t testing.TB, subject string) string {
	t.Helper()
	w := httptest.NewRecorder()
	if _, err := s.Sessions.Start(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), &authn.SignIn{SignIn: openid.SignIn{
		Identity: openid.Identity{Issuer: "http://127.0.0.1:1/", Subject: subject}, IDToken: openid.IDToken{IssuedAt: time.Now()},
	}}); err != nil {
		t.Fatal(err)
	}
	return w.Result().Cookies()[0].String()
}

// ask sends a request for the stream.
func ask(conn net.Conn, cookie string) net.Conn {
	cookie, _, _ = strings.Cut(cookie, ";")
	fmt.Fprintf(conn, "GET /events HTTP/1.1\r\nHost: localhost:3000\r\nCookie: %s\r\n\r\n", cookie)
	return conn
}

// streamingConfig returns a configuration. It must be read outside of a bubble, in which
// nothing may wait for a disk.
func streamingConfig(t testing.TB) (*Config, *authn.Keys) {
	t.Helper()
	cfg, err := LoadConfig([]string{
		"PORT=3000", "OIDC_ISSUER=http://127.0.0.1:1/", "AUTH0_CLIENT_ID=app", "AUTH0_CLIENT_SECRET=secret of the app",
		"SESSION_STORE=memory", "DATA_DIR=" + t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := cfg.keys()
	if err != nil {
		t.Fatal(err)
	}
	return cfg, keys
}

// inBubble serves the app with the deadlines of the program in a bubble. open requests a
// stream and returns the connection that answers.
func inBubble(t *testing.T, test func(t *testing.T, s *streaming, open func() net.Conn)) {
	t.Helper()
	cfg, keys := streamingConfig(t)
	synctest.Test(t, func(t *testing.T) {
		s := newStreaming(t, cfg, keys)
		listener := &pipes{make(chan net.Conn), make(chan struct{})}
		s.servers.serve([]net.Listener{listener}, s.Handler, nil)
		test(t, s, func() net.Conn {
			client, server := net.Pipe()
			listener.connections <- server
			return ask(client, s.cookie)
		})
		s.Handler.Drain()
		if err := s.servers.drain(); err != nil {
			t.Error(err)
		}
	})
}

// TestStreamBeats (SS-05, SS-06) reads a stream to its end: something arrives at least
// every 15 seconds, and after a quarter of an hour it ends.
func TestStreamBeats(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, _ *streaming, open func() net.Conn) {
		began := time.Now()
		resp, err := http.ReadResponse(bufio.NewReader(open()), nil)
		if err != nil {
			t.Fatal(err)
		}
		last, beats := time.Now(), 0
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if silence := time.Since(last); silence > 16*time.Second {
				t.Errorf("nothing comes for %s", silence)
			}
			last = time.Now()
			if lines.Text() == ":" {
				beats++
			}
		}
		if age := time.Since(began); age < 15*time.Minute || age > 15*time.Minute+2*time.Second {
			t.Errorf("the stream ends after %s", age)
		}
		if beats < 55 {
			t.Errorf("%d heartbeats", beats)
		}
	})
}

// TestStreamIsWoken (SS-02, LR-06) ends a session in the process of its stream: the page is told
// at once. If another process ends it, the page is told at the next look. A store that does not
// answer in the meantime ends nothing.
func TestStreamIsWoken(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ended  func(s *streaming) *App
		within time.Duration
	}{
		"by its process":     {func(s *streaming) *App { return s.App }, 0},
		"by another process": {func(s *streaming) *App { return s.another() }, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, s *streaming, open func() net.Conn) {
				by := tt.ended(s)
				r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
				r.Header.Set("Cookie", s.cookie)
				session, err := by.Sessions.Load(r)
				if err != nil || session == nil {
					t.Fatalf("the session is not there: %v", err)
				}
				resp, err := http.ReadResponse(bufio.NewReader(open()), nil)
				if err != nil {
					t.Fatal(err)
				}
				var said []byte
				read := make(chan error)
				go func() {
					var err error
					said, err = io.ReadAll(resp.Body)
					read <- err
				}()
				time.Sleep(500 * time.Millisecond) // between two looks
				s.store.down.Store(true)
				time.Sleep(5 * time.Second)
				s.store.down.Store(false)
				ended := time.Now()
				if err := by.Sessions.End(t.Context(), session, authn.CauseElsewhere); err != nil {
					t.Fatal(err)
				}
				if err := <-read; err != nil || !strings.HasSuffix(string(said), "event: signed-out\ndata: {\"because\":\"elsewhere\"}\n\n") {
					t.Errorf("the page is told %q, %v", said, err)
				}
				if took := time.Since(ended); took > tt.within {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// failingStore does not answer while it is down.
type failingStore struct {
	authn.Store
	down atomic.Bool
}

func (s *failingStore) Load(ctx context.Context, key authn.Key) (authn.Record, error) {
	if s.down.Load() {
		return authn.Record{}, errors.New("the store is down")
	}
	return s.Store.Load(ctx, key)
}

// TestSlowReaders (SS-04, DO-13) has clients that never read. The app gives up each of them
// within seconds, and nothing of it is left: a bubble fails if anything still runs in it.
func TestSlowReaders(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *streaming, open func() net.Conn) {
		for range 100 {
			var clients []net.Conn
			for range 6 {
				clients = append(clients, open())
			}
			synctest.Wait()
			if got := s.Sessions.Watching(); got != 6 {
				t.Fatalf("%d streams are open", got)
			}
			time.Sleep(8 * time.Second) // in the bubble, where it takes no time
			synctest.Wait()
			if got := s.Sessions.Watching(); got != 0 {
				t.Fatalf("%d readers that do not read are waited for", got)
			}
			for _, client := range clients {
				_ = client.Close()
			}
		}
	})
}

// TestNoStreamWhileStopping (SS-07) requests a stream from a program that is about to end.
func TestNoStreamWhileStopping(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *streaming, open func() net.Conn) {
		s.Handler.Drain()
		resp, err := http.ReadResponse(bufio.NewReader(open()), nil)
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("it answers %v, %v", resp, err)
		}
	})
}

// TestStopAfterAFailureDrains lets a server fail while another one answers a request: before the program
// ends, the answer is complete.
func TestStopAfterAFailureDrains(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, s *streaming, _ func() net.Conn) {
		listener := &pipes{make(chan net.Conn), make(chan struct{})}
		s.servers.serve([]net.Listener{listener}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(3 * time.Second) }), nil)
		client, server := net.Pipe()
		listener.connections <- server
		answer := make(chan *http.Response, 1)
		go func() {
			fmt.Fprintf(client, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			resp, _ := http.ReadResponse(bufio.NewReader(client), nil)
			answer <- resp
		}()
		synctest.Wait()
		failure := errors.New("serving fails")
		s.servers.failed <- failure
		began := time.Now()
		if err := s.stop(s.servers, time.Hour, slog.New(slog.DiscardHandler)); !errors.Is(err, failure) {
			t.Errorf("stop returns %v", err)
		}
		if took := time.Since(began); took > drainTimeout {
			t.Errorf("stop takes %s", took)
		}
		select {
		case resp := <-answer:
			if resp == nil || resp.StatusCode != http.StatusOK {
				t.Errorf("the request under way is answered with %v", resp)
			}
		default:
			t.Error("the request under way is not answered")
		}
	})
}

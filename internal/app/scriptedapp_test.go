package app

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

// scriptedApp is an app beside a provider that does what its test tells it to, and that
// signs everybody in at once.
type scriptedApp struct {
	*app
	op *scriptedop.Provider
	// parts and server are what it was assembled from, if it was.
	parts  *App
	server *httptest.Server
}

// startScripted runs the program with a scripted provider of its own. The provider
// signs with ES256: making an RSA key takes a test longer than all the rest.
func startScripted(t *testing.T, env ...string) *scriptedApp {
	t.Helper()
	s := startBeside(t, newScriptedOP(t), env...)
	// What a test changes at the provider comes after discovery.
	await(t, "the provider is discovered", func() bool { return s.log.count("provider discovered") > 0 })
	return s
}

// newScriptedOP is a provider for a program that has yet to be started: what it publishes
// can be changed before anybody asks.
func newScriptedOP(t *testing.T) *scriptedop.Provider {
	t.Helper()
	return scriptedop.New(t, scriptedop.Config{Path: "/tenant/", Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}})
}

// startBeside runs the program with a provider that is there already.
func startBeside(t *testing.T, op *scriptedop.Provider, env ...string) *scriptedApp {
	t.Helper()
	return &scriptedApp{app: startApp(t, append(knows(op), env...)...), op: op}
}

// knows is the configuration of an app that has a provider.
func knows(op *scriptedop.Provider) []string {
	return []string{
		"OIDC_ISSUER=" + op.Issuer, "AUTH0_CLIENT_ID=" + op.ClientID, "AUTH0_CLIENT_SECRET=" + op.ClientSecret, "ID_TOKEN_ALG=ES256",
	}
}

// assembleScripted puts the app together as run does, but with a clock that stands
// still until it is moved, and the provider's with it.
func assembleScripted(t *testing.T, env ...string) (*scriptedApp, *clock) {
	t.Helper()
	return assembleWith(t, func(*authn.Config) {}, env...)
}

// assembleWith does so with settings that no configuration can have here.
func assembleWith(t *testing.T, change func(*authn.Config), env ...string) (*scriptedApp, *clock) {
	t.Helper()
	c := &clock{now: time.Date(2026, time.November, 2, 12, 0, 0, 0, time.UTC)}
	op := scriptedop.New(t, scriptedop.Config{Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}, Now: c.Now})
	a := &app{t: t, log: newLogBuffer(), dataDir: t.TempDir(), issuer: op.Issuer}
	server := httptest.NewUnstartedServer(nil)
	_, port, _ := strings.Cut(server.Listener.Addr().String(), ":")
	cfg, err := LoadConfig(append(append(knows(op), "PORT="+port, "LOG_FORMAT=json", "DATA_DIR="+a.dataDir, "SESSION_STORE=memory"), env...))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := cfg.keys()
	if err != nil {
		t.Fatal(err)
	}
	log := newLogger(cfg, a.log)
	store, err := cfg.openStore(t.Context(), log)
	if err != nil {
		t.Fatal(err)
	}
	provider := realProvider(cfg)
	settings := cfg.authn(cfg.Port, provider, keys, store, log)
	settings.Now = c.Now
	change(&settings)
	p, err := assemble(cfg, cfg.Port, provider, settings)
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = p.Handler
	server.Start()
	t.Cleanup(server.Close)
	a.url = cfg.BaseURL(cfg.Port).String()
	return &scriptedApp{a, op, p, server}, c
}

// clock stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// authorizationRequest goes to a page that needs a sign-in, and returns the address at
// the provider that it ends up with.
func (v *visitor) authorizationRequest(from string) string {
	v.t.Helper()
	for range 3 {
		got := v.direct(v.request(http.MethodGet, from, nil))
		if from = got.Header.Get("Location"); strings.HasPrefix(from, v.app.issuer) {
			return from
		}
	}
	v.t.Fatalf("it leads to %q, not to the provider", from)
	return ""
}

// authorizationResponse is the address that the provider sends the browser back to.
func (v *visitor) authorizationResponse(from string) string {
	v.t.Helper()
	got := v.direct(v.request(http.MethodGet, v.authorizationRequest(from), nil))
	if got.StatusCode != http.StatusSeeOther {
		v.t.Fatalf("the provider answers %d %s", got.StatusCode, got.body)
	}
	return got.Header.Get("Location")
}

// callback brings the authorization response to the app.
func (v *visitor) callback(address string) answer {
	v.t.Helper()
	return v.direct(v.request(http.MethodGet, address, nil))
}

// raw makes a request with a body as it is.
func (v *visitor) raw(method, address, contentType, body string) *http.Request {
	v.t.Helper()
	req := v.request(method, address, nil, "Content-Type", contentType)
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	return req
}

// send posts a body from a page of another site.
func (v *visitor) send(address, contentType, body string) answer {
	v.t.Helper()
	req := v.raw(http.MethodPost, address, contentType, body)
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	req.Header.Set("Origin", "https://op.example")
	return v.direct(req)
}

// signInNow signs in as whoever the provider says, and returns the page that it ends on.
func (s *scriptedApp) signInNow(v *visitor) answer {
	s.t.Helper()
	end := v.get("/login")
	if end.StatusCode != http.StatusOK || end.Request.URL.Path != "/dashboard" {
		s.t.Fatalf("signing in ends at %s with %d\n%s", end.Request.URL.Path, end.StatusCode, s.log)
	}
	return end
}

// wantSignedIn checks that a callback signed a person in and leads to a page of theirs.
func (s *scriptedApp) wantSignedIn(v *visitor, got answer, subject, page string) {
	s.t.Helper()
	if got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != page {
		s.t.Fatalf("answered %d to %q, want the way to %s\n%s", got.StatusCode, got.Header.Get("Location"), page, s.log)
	}
	if dashboard := v.direct(v.request(http.MethodGet, "/dashboard", nil)); !strings.Contains(dashboard.body, `&#34;sub&#34;: &#34;`+subject+`&#34;`) {
		s.t.Errorf("%s is not signed in: the dashboard is %d\n%s", subject, dashboard.StatusCode, dashboard.body)
	}
	s.wantNoSecrets(got)
}

// wantRefused checks a refusal: the page, the log line and what neither may hold; that
// nobody is signed in by it; and how often the token and the userinfo endpoint have
// been called until now.
func (s *scriptedApp) wantRefused(v *visitor, got answer, status int, reason authn.Reason, calls ...int) {
	s.t.Helper()
	if got.StatusCode != status {
		s.t.Fatalf("answered %d to %q, want %d\n%s", got.StatusCode, got.Header.Get("Location"), status, s.log)
	}
	root := parse(s.t, got.body)
	again := find(root, func(n *node) bool { return n.Data == "a" && strings.HasPrefix(attribute(n, "href"), "/login") })
	if again == nil || text(again) != "Try again" {
		s.t.Errorf("the page does not offer to try again:\n%s", got.body)
	}
	if lines := s.logged("refused", got.Header.Get("X-Request-Id")); len(lines) != 1 || lines[0]["reason"] != string(reason) {
		s.t.Errorf("the log says %v, want one refusal for %q", lines, reason)
	}
	s.wantNoSession(v, got)
	s.wantCalls(calls...)
	s.wantNoSecrets(got)
}

// wantNoSession checks that an answer made no session.
func (s *scriptedApp) wantNoSession(v *visitor, got answer) {
	s.t.Helper()
	for _, cookie := range got.Cookies() {
		if strings.TrimPrefix(cookie.Name, "__Host-") == "session" && cookie.Value != "" {
			s.t.Error("the answer sets a session cookie")
		}
	}
	if v.signedIn() {
		s.t.Error("the dashboard opens")
	}
}

// wantCalls checks how often the token and the userinfo endpoint were called.
func (s *scriptedApp) wantCalls(calls ...int) {
	s.t.Helper()
	if got := []int{s.op.Calls(scriptedop.Token), s.op.Calls(scriptedop.UserInfo)}; !slices.Equal(got, calls) {
		s.t.Errorf("token and userinfo endpoint were called %v times, want %v", got, calls)
	}
	if n := s.op.Calls(scriptedop.Other); n > 0 {
		s.t.Errorf("the provider was asked %d times for what it does not offer", n)
	}
}

// wantNoSecrets checks that neither answer nor log quotes what the provider issued.
func (s *scriptedApp) wantNoSecrets(got answer) {
	s.t.Helper()
	said := got.body + got.Header.Get("Location") + s.log.String()
	for _, secret := range s.op.Secrets() {
		if strings.Contains(said, secret) {
			s.t.Errorf("%q is in the answer or the log:\n%s\n%s", secret, got.body, s.log)
		}
	}
}

// logged returns the lines of the log with a message, of one request if it is not "".
func (a *app) logged(message, request string) (lines []map[string]any) {
	a.t.Helper()
	for decoder := json.NewDecoder(strings.NewReader(a.log.String())); ; {
		var line map[string]any
		err := decoder.Decode(&line)
		if err == io.EOF {
			return lines
		}
		if err != nil {
			a.t.Fatalf("the log is not a line of JSON per event: %v", err)
		}
		if line["msg"] == message && (request == "" || line["request"] == request) {
			lines = append(lines, line)
		}
	}
}

// query returns the query of an address.
func query(t testing.TB, address string) url.Values {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// withQuery returns an address with its query changed.
func withQuery(t testing.TB, address string, change func(url.Values)) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	values := u.Query()
	change(values)
	u.RawQuery = values.Encode()
	return u.String()
}

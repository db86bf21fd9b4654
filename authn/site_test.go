package authn_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

const (
	appSecret = openid.Secret("the application's secret of tests, 32 bytes or more")
	oldSecret = openid.Secret("the application's secret before that, as long again")
	issuer    = "https://provider.example/"
	origin    = "https://app.example/"
)

// noon is when every test begins.
func noon() time.Time { return time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC) }

// sessionsConfig returns a valid configuration for sessions without a provider.
func sessionsConfig(t *testing.T, store authn.Store, c *scriptedop.Clock) settings {
	t.Helper()
	return settings{openid.Config{
		Issuer: issuer, ClientID: "client", ClientSecret: "the client's secret",
		ClientAuth:  openid.ClientSecretBasic,
		RedirectURL: origin + "callback", PostLogoutRedirectURL: strings.TrimSuffix(origin, "/"),
		Scopes: []string{"openid"}, IDTokenAlgorithms: []string{"RS256"},
		ResponseMode: "query", PushedAuthorizationRequests: "auto",
		Now: c.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}, authn.Config{
		Keys: newKeys(t, appSecret), Store: store,
		Idle: 24 * time.Hour, Absolute: 168 * time.Hour, SessionsPerPerson: 50,
	}}
}

func newKeys(t *testing.T, secrets ...openid.Secret) *authn.Keys {
	t.Helper()
	keys, err := authn.NewKeys(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// site is an application's sessions and what they are made from.
type site struct {
	*authn.Sessions
	config settings
	clock  *scriptedop.Clock
}

func newSite(t *testing.T) *site { return newSiteOn(t, authn.NewMemoryStore()) }

func newSiteOn(t *testing.T, store authn.Store) *site {
	t.Helper()
	c := scriptedop.NewClock(noon())
	return (&site{config: sessionsConfig(t, store, c), clock: c}).with(t, func(*settings) {})
}

// with returns the same site, restarted with another configuration.
func (s *site) with(t *testing.T, edit func(*settings)) *site {
	t.Helper()
	config := s.config
	edit(&config)
	_, cfg := config.build(t)
	sessions, err := authn.NewSessions(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &site{Sessions: sessions, config: config, clock: s.clock}
}

// after sets the clock to d after noon.
func (s *site) after(d time.Duration) { s.clock.Set(noon().Add(d)) }

// records returns the number of records in the store. It empties the store.
func (s *site) records(t *testing.T) int {
	t.Helper()
	n, err := s.config.Sessions.Store.Sweep(t.Context(), noon().AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// visitor has a browser, which keeps the cookies that it receives and sends them.
type visitor struct {
	jar    *cookiejar.Jar
	origin *url.URL
}

func newVisitor(t *testing.T) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(origin)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{jar, address}
}

// request returns a request from this visitor.
func (b *visitor) request(t *testing.T) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, origin, nil)
	for _, c := range b.jar.Cookies(b.origin) {
		r.AddCookie(c)
	}
	return r
}

// visit sends a request to a handler and returns the header of the response.
func (b *visitor) visit(t *testing.T, handler func(w http.ResponseWriter, r *http.Request)) http.Header {
	t.Helper()
	w := httptest.NewRecorder()
	handler(w, b.request(t))
	resp := w.Result()
	b.jar.SetCookies(b.origin, resp.Cookies())
	return resp.Header
}

// cookie returns the value of the session cookie, or "".
func (b *visitor) cookie() string {
	for _, c := range b.jar.Cookies(b.origin) {
		if c.Name == "__Host-session" {
			return c.Value
		}
	}
	return ""
}

// signIn completes a sign-in and returns the session and the cookie's value.
func (b *visitor) signIn(t *testing.T, s *site, in *authn.SignIn) (*authn.Session, string) {
	t.Helper()
	var session *authn.Session
	b.visit(t, func(w http.ResponseWriter, r *http.Request) {
		var err error
		if session, err = s.Start(w, r, in); err != nil {
			t.Fatalf("Start: %v", err)
		}
	})
	return session, b.cookie()
}

// signInOf returns a completed sign-in of a person, at noon.
func signInOf(name string) *authn.SignIn {
	return &authn.SignIn{SignIn: openid.SignIn{
		Identity: openid.Identity{
			Issuer: issuer, Subject: "subject|" + name, SID: "sid-of-" + name,
			IDToken: openid.Claims(`{"sub":"subject|` + name + `"}`),
			Profile: openid.Profile{Name: name, Email: name + "@mail.example"},
		},
		Tokens: openid.Tokens{
			Access: openid.Secret("access-token-of-" + name), Refresh: openid.Secret("refresh-token-of-" + name),
			IDToken: openid.Secret("id-token-of-" + name),
		},
		IDToken: openid.IDToken{IssuedAt: noon()},
	}}
}

// withCookies returns a request with a Cookie header.
func withCookies(t *testing.T, header string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, origin, nil)
	r.Header.Set("Cookie", header)
	return r
}

// wantPerson checks whose session a cookie's value opens. "" means that it opens none.
func (s *site) wantPerson(t *testing.T, value, want string) *authn.Session {
	t.Helper()
	session, err := s.Load(withCookies(t, "__Host-session="+value))
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	got := ""
	if session != nil {
		got = session.Identity.Profile.Name
	}
	if got != want {
		t.Fatalf("the cookie opens the session of %q, want %q", got, want)
	}
	return session
}

// keyOf returns the key of the record for a cookie's value.
func keyOf(value string) authn.Key {
	id, _, _ := strings.Cut(value, ".")
	return authn.NewKey("session", id)
}

func wantReason(t *testing.T, what string, err error, want openid.Reason) {
	t.Helper()
	if got := openid.ReasonOf(err); got != want {
		t.Errorf("%s: reason %q (%v), want %q", what, got, err, want)
	}
}

func wantNoCookie(t *testing.T, header http.Header) {
	t.Helper()
	if got := header.Values("Set-Cookie"); len(got) > 0 {
		t.Errorf("Set-Cookie: %q", got)
	}
}

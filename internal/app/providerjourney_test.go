package app

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authn/devop"
)

// ownProvider is a development provider that a test holds in its hand, and an app that
// knows it by OIDC_ISSUER alone.
type ownProvider struct {
	*devop.Provider
	app    *app
	server *http.Server
	// ahead is how far its clock is ahead of the app's.
	ahead atomic.Int64
}

const ownSecret = "a client secret: with spaces, + and %"

// startOwnProvider starts an app and, unless down is set, its provider.
func startOwnProvider(t *testing.T, down bool, env ...string) *ownProvider {
	t.Helper()
	port, providerPort := freePort(t), freePort(t)
	issuer := "http://127.0.0.1:" + providerPort + "/realms/test/"
	env = append([]string{
		"PORT=" + port, "OIDC_ISSUER=" + issuer, "AUTH0_CLIENT_ID=app", "AUTH0_CLIENT_SECRET=" + ownSecret,
	}, env...)
	p := &ownProvider{}
	if !down {
		p.start(t, issuer, "http://localhost:"+port)
	}
	p.app = startApp(t, env...)
	return p
}

// start starts the provider.
func (p *ownProvider) start(t *testing.T, issuer, base string) {
	t.Helper()
	u, err := url.Parse(issuer)
	if err != nil {
		t.Fatal(err)
	}
	p.Provider, err = devop.New(devop.Config{
		Issuer: issuer,
		Now:    func() time.Time { return time.Now().Add(time.Duration(p.ahead.Load())) },
		Clients: []devop.Client{{
			ID: "app", Secret: ownSecret, RedirectURIs: []string{base + "/callback"},
			PostLogoutRedirectURIs: []string{base + "/signed-out"}, BackchannelLogoutURI: base + "/backchannel-logout",
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	p.server = &http.Server{Handler: p.Provider}
	go func() { _ = p.server.Serve(listener) }()
	t.Cleanup(func() { _ = p.server.Close(); _ = p.Provider.Close() })
}

// TestProviderDownAtStart (FM-01, CF-06, CF-07) starts the app without its provider,
// and then the provider.
func TestProviderDownAtStart(t *testing.T) {
	t.Parallel()
	p := startOwnProvider(t, true)
	v := p.app.visitor()
	if home := v.get("/"); home.StatusCode != http.StatusOK || !strings.Contains(home.body, "does not answer") {
		t.Errorf("the home page is %d", home.StatusCode)
	}
	login := v.get("/profile")
	if login.StatusCode != http.StatusServiceUnavailable || login.Header.Get("Retry-After") == "" {
		t.Errorf("signing in answers %d, Retry-After %q", login.StatusCode, login.Header.Get("Retry-After"))
	}
	if !strings.Contains(login.body, `href="/login?return_to=%2Fprofile"`) {
		t.Error("the page does not offer to try again")
	}
	if ready := v.get("/readyz"); ready.StatusCode != http.StatusServiceUnavailable || !strings.Contains(ready.body, "provider_unreachable") {
		t.Errorf("/readyz is %d %s", ready.StatusCode, ready.body)
	}
	if health := v.get("/healthz"); health.StatusCode != http.StatusOK {
		t.Errorf("/healthz is %d", health.StatusCode)
	}

	p.start(t, p.app.issuer, p.app.url)
	p.app.await("/readyz", http.StatusOK)
	if end := p.app.visitor().signIn("/profile", ada); end.Request.URL.Path != "/profile" {
		t.Errorf("once the provider is up, signing in ends at %s with %d", end.Request.URL, end.StatusCode)
	}
}

// TestProviderDownLater (FM-03, LR-01) takes the provider away from a person who is
// signed in.
func TestProviderDownLater(t *testing.T) {
	t.Parallel()
	p := startOwnProvider(t, false)
	v := p.app.visitor()
	dashboard := v.signIn("/login", ada)
	if err := p.server.Close(); err != nil {
		t.Fatal(err)
	}
	if again := v.get("/dashboard"); again.StatusCode != http.StatusOK {
		t.Errorf("the dashboard is %d", again.StatusCode)
	}
	card := v.press(dashboard, "profile-refresh-button")
	if card.StatusCode < 500 || !strings.Contains(card.body, "Ada") {
		t.Errorf("SS-10: refreshing answers %d", card.StatusCode)
	}
	out := v.direct(v.submission(dashboard, "qsLogoutBtn"))
	if out.StatusCode != http.StatusSeeOther {
		t.Errorf("signing out answers %d", out.StatusCode)
	}
	if still := v.direct(v.request(http.MethodGet, "/dashboard", nil)); still.StatusCode != http.StatusSeeOther {
		t.Errorf("after signing out the dashboard answers %d", still.StatusCode)
	}
}

// TestRefreshShowsChanges changes what the provider says and presses Refresh.
func TestRefreshShowsChanges(t *testing.T) {
	t.Parallel()
	p := startOwnProvider(t, false)
	v := p.app.visitor()
	v.signIn("/login", ada)
	p.SetPerson(devop.Person{Subject: ada, Name: "Ada King", Email: "ada.king@example.com"})
	card := v.post("/profile/refresh", nil, "HX-Request", "true")
	shown := text(parse(t, card.body))
	for _, want := range []string{"Changed at the last refresh", "Full name", "Ada King", "ada.king@example.com", "E-mail not verified"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the card does not show %q: %s", want, shown)
		}
	}
	if dashboard := v.get("/dashboard"); !strings.Contains(text(parse(t, dashboard.body)), "Welcome, Ada King") {
		t.Error("the dashboard shows the old name")
	}
}

// TestRefreshByAnotherSubject (UI-01) is in authn's own tests: this provider always
// tells the truth.

// TestBackchannelLogout (LB-02, LB-08, LB-11) ends one of two sessions, and then all of
// a person's, from the provider.
func TestBackchannelLogout(t *testing.T) {
	t.Parallel()
	p := startOwnProvider(t, false)
	one, two, other := p.app.visitor(), p.app.visitor(), p.app.visitor()
	sid := sidOf(t, one.signIn("/login", ada))
	two.signIn("/login", ada)
	other.signIn("/login", "dev|"+p.app.otherPerson())

	if err := p.BackchannelLogout(t.Context(), ada, sid); err != nil {
		t.Fatal(err)
	}
	if one.signedIn() || !two.signedIn() || !other.signedIn() {
		t.Fatalf("after ending one session: %t %t %t", one.signedIn(), two.signedIn(), other.signedIn())
	}
	if err := p.BackchannelLogout(t.Context(), ada, ""); err != nil {
		t.Fatal(err)
	}
	if one.signedIn() || two.signedIn() || !other.signedIn() {
		t.Fatalf("after ending all of a person's: %t %t %t", one.signedIn(), two.signedIn(), other.signedIn())
	}
	if err := p.BackchannelLogout(t.Context(), ada, sid); err != nil {
		t.Errorf("LB-14: ending what has ended: %v", err)
	}
}

// TestBackchannelLogoutRefused (LB-01, LB-02) sends what is no logout token.
func TestBackchannelLogoutRefused(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	v := a.visitor()
	for name, form := range map[string]url.Values{
		"nothing":         {},
		"two tokens":      {"logout_token": {"a.b.c", "a.b.c"}},
		"no token":        {"logout_token": {"x"}},
		"an unsigned one": {"logout_token": {"eyJhbGciOiJub25lIn0.e30."}},
	} {
		got := v.direct(v.request(http.MethodPost, "/backchannel-logout", form))
		if got.StatusCode != http.StatusBadRequest || got.Header.Get("Cache-Control") != "no-store" || len(got.Header.Values("Set-Cookie")) > 0 {
			t.Errorf("%s is answered with %d", name, got.StatusCode)
		}
	}
	if got := v.direct(v.request(http.MethodGet, "/backchannel-logout", nil)); got.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET is answered with %d", got.StatusCode)
	}
}

// TestPushedAuthorizationRequest (AR-14) has the request pushed: the browser carries
// two parameters.
func TestPushedAuthorizationRequest(t *testing.T) {
	t.Parallel()
	p := startOwnProvider(t, false, "PUSHED_AUTHORIZATION_REQUESTS=always")
	v := p.app.visitor()
	begun := v.direct(v.request(http.MethodGet, "/login", nil))
	location, err := url.Parse(begun.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	if query := location.Query(); len(query) != 2 || query.Get("client_id") != "app" || query.Get("request_uri") == "" {
		t.Errorf("the browser carries %v", query)
	}
	if end := v.signIn("/profile", ada); end.Request.URL.Path != "/profile" {
		t.Errorf("signing in ends at %s with %d", end.Request.URL, end.StatusCode)
	}
}

// TestClientSecretPost (CB-15) sends the secret in the form.
func TestClientSecretPost(t *testing.T) {
	t.Parallel()
	p := startOwnProvider(t, false, "CLIENT_AUTH=client_secret_post")
	if end := p.app.visitor().signIn("/login", ada); end.Request.URL.Path != "/dashboard" {
		t.Errorf("signing in ends at %s with %d", end.Request.URL, end.StatusCode)
	}
}

// TestKeyRotation (FM-05) rotates the provider's key between two sign-ins.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	p := startOwnProvider(t, false)
	p.app.visitor().signIn("/login", ada)
	if err := p.RotateKey(); err != nil {
		t.Fatal(err)
	}
	if end := p.app.visitor().signIn("/login", ada); end.Request.URL.Path != "/dashboard" {
		t.Errorf("signing in ends at %s with %d", end.Request.URL, end.StatusCode)
	}
}

// signedIn reports whether the dashboard opens.
func (v *visitor) signedIn() bool {
	v.t.Helper()
	return v.direct(v.request(http.MethodGet, "/dashboard", nil)).StatusCode == http.StatusOK
}

// otherPerson is somebody else than Ada among the sample people.
func (a *app) otherPerson() string {
	a.t.Helper()
	page := parse(a.t, a.visitor().get("/login").body)
	for n := range page.Descendants() {
		if name, ok := strings.CutPrefix(attribute(n, "id"), "person-dev|"); ok && "dev|"+name != ada {
			return name
		}
	}
	a.t.Fatal("there is nobody else")
	return ""
}

// sidOf reads the provider's session out of the dashboard.
func sidOf(t *testing.T, dashboard answer) string {
	t.Helper()
	_, rest, ok := strings.Cut(text(parse(t, dashboard.body)), `"sid": "`)
	sid, _, _ := strings.Cut(rest, `"`)
	if !ok || sid == "" {
		t.Fatal("the dashboard shows no sid")
	}
	return sid
}

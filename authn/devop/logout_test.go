package devop_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/authn/devop"
)

// receiver is a client's back-channel logout endpoint.
type receiver struct {
	tokens chan string
	status int
	*httptest.Server
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{tokens: make(chan string, 10), status: http.StatusOK}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.tokens <- req.PostFormValue("logout_token")
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) take(t *testing.T) string {
	t.Helper()
	select {
	case token := <-r.tokens:
		return token
	case <-time.After(20 * time.Second):
		t.Fatal("no logout token arrived")
		return ""
	}
}

func startWithReceiver(t *testing.T) (*idp, *receiver) {
	t.Helper()
	r := newReceiver(t)
	return start(t, func(cfg *devop.Config) { cfg.Clients[0].BackchannelLogoutURI = r.URL }), r
}

func TestEndSession(t *testing.T) {
	t.Parallel()
	p, app := startWithReceiver(t)
	tokens := p.tokens(nil)
	id := p.verify("JWT", tokens["id_token"])
	p.offset.Add(3600) // the hint has expired, but still counts
	r := p.get("/end_session?" + url.Values{
		"id_token_hint": {tokens["id_token"].(string)}, "client_id": {"app"}, "post_logout_redirect_uri": {leaveURI}, "state": {"a b"},
	}.Encode())
	if r.status != http.StatusSeeOther || r.header.Get("Location") != leaveURI+"?state=a+b" {
		t.Errorf("got %d, Location %q", r.status, r.header.Get("Location"))
	}
	claims := p.verify("logout+jwt", app.take(t))
	if claims["iss"] != p.issuer || claims["aud"] != "app" || claims["sub"] != "dev|ada" || claims["sid"] != id["sid"] || claims["jti"] == "" || claims["nonce"] != nil {
		t.Errorf("logout token: %v", claims)
	}
	if claims["exp"].(float64)-claims["iat"].(float64) != 120 {
		t.Errorf("logout token is valid from %v to %v", claims["iat"], claims["exp"])
	}
	if events := claims["events"].(map[string]any); events["http://schemas.openid.net/event/backchannel-logout"] == nil {
		t.Errorf("events: %v", events)
	}
	if v := p.response(p.authorize(url.Values{"prompt": {"none"}})); v.Get("error") != "login_required" {
		t.Errorf("still signed in: %v", v)
	}
	r, _ = p.refresh(tokens["refresh_token"])
	wantError(t, r, http.StatusBadRequest, "invalid_grant")
}

func TestEndSessionByPost(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	hint := p.tokens(nil)["id_token"].(string)
	req := p.request("POST", "/end_session", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {leaveURI}})
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	if r := p.do(p.browser, req); r.header.Get("Location") != leaveURI {
		t.Errorf("got %d, Location %q", r.status, r.header.Get("Location"))
	}
}

func TestEndSessionRefuses(t *testing.T) {
	t.Parallel()
	p, app := startWithReceiver(t)
	tokens := p.tokens(url.Values{"audience": {"https://api.example.test"}})
	hint := tokens["id_token"].(string)
	if err := p.BackchannelLogout(t.Context(), "dev|ada", ""); err != nil {
		t.Fatal(err)
	}
	logoutToken := app.take(t)
	for name, v := range map[string]url.Values{
		"redirect not registered":      {"id_token_hint": {hint}, "post_logout_redirect_uri": {leaveURI + "/"}},
		"redirect with no client":      {"post_logout_redirect_uri": {leaveURI}},
		"redirect of another client":   {"client_id": {"other"}, "post_logout_redirect_uri": {leaveURI}},
		"hint of another client":       {"client_id": {"other"}, "id_token_hint": {hint}},
		"hint with a broken signature": {"id_token_hint": {hint[:len(hint)-6] + "AAAAAA"}},
		"an access token as a hint":    {"id_token_hint": {tokens["access_token"].(string)}},
		"a logout token as a hint":     {"id_token_hint": {logoutToken}},
		"unknown client":               {"client_id": {"nobody"}},
		"a parameter twice":            {"id_token_hint": {hint}, "state": {"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			if r := p.get("/end_session?" + v.Encode()); r.status != http.StatusBadRequest || r.header.Get("Location") != "" {
				t.Errorf("got %d, Location %q", r.status, r.header.Get("Location"))
			}
		})
	}
	if v := p.response(p.authorize(url.Values{"prompt": {"none"}})); v.Get("code") == "" {
		t.Errorf("a refused request signed the person out: %v", v)
	}
}

func TestEndSessionAsksFirst(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	ada := p.tokens(nil)["id_token"].(string)
	p.signIn("dev|rtl", url.Values{"prompt": {"login"}})
	query := url.Values{"client_id": {"app"}, "post_logout_redirect_uri": {leaveURI}, "state": {"s"}}
	for _, path := range []string{"/end_session", "/end_session?" + query.Encode(), "/end_session?id_token_hint=" + ada} {
		if r := p.get(path); r.status != http.StatusOK || !strings.Contains(r.body, `id="confirm-sign-out"`) {
			t.Errorf("%s: %d without asking for confirmation", path, r.status)
		}
	}
	if v := p.response(p.authorize(url.Values{"prompt": {"none"}})); v.Get("code") == "" {
		t.Errorf("asking for confirmation signed the person out: %v", v)
	}
	if r := p.post("/end_session/confirm", query); r.header.Get("Location") != leaveURI+"?state=s" {
		t.Errorf("confirmed: %d, Location %q", r.status, r.header.Get("Location"))
	}
	if v := p.response(p.authorize(url.Values{"prompt": {"none"}})); v.Get("error") != "login_required" {
		t.Errorf("still signed in: %v", v)
	}
}

func TestAuth0Logout(t *testing.T) {
	t.Parallel()
	p, app := startWithReceiver(t)
	for name, c := range map[string]struct{ client, returnTo, location string }{
		"registered":     {"app", leaveURI, leaveURI},
		"not registered": {"app", "http://evil.test/", ""},
		"no client":      {"", leaveURI, ""},
		"nowhere":        {"app", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p.tokens(nil)
			r := p.get("/v2/logout?" + url.Values{"client_id": {c.client}, "returnTo": {c.returnTo}}.Encode())
			if r.header.Get("Location") != c.location || (c.location == "" && r.status != http.StatusOK) {
				t.Errorf("got %d, Location %q", r.status, r.header.Get("Location"))
			}
			p.verify("logout+jwt", app.take(t))
			p.signInPage(nil)
		})
	}
}

func TestBackchannelLogout(t *testing.T) {
	t.Parallel()
	p, app := startWithReceiver(t)
	if err := p.BackchannelLogout(t.Context(), "", "some-sid"); err != nil {
		t.Fatal(err)
	}
	if claims := p.verify("logout+jwt", app.take(t)); claims["sid"] != "some-sid" || claims["sub"] != nil {
		t.Errorf("got %v", claims)
	}
	if err := p.BackchannelLogout(t.Context(), "dev|ada", ""); err != nil {
		t.Fatal(err)
	}
	if claims := p.verify("logout+jwt", app.take(t)); claims["sid"] != nil || claims["sub"] != "dev|ada" {
		t.Errorf("got %v", claims)
	}
	if err := p.BackchannelLogout(t.Context(), "", ""); err == nil {
		t.Error("sent a logout token without a subject and a sid")
	}
}

func TestBackchannelLogoutNotAccepted(t *testing.T) {
	t.Parallel()
	for _, status := range []int{204, 307, 400, 500} {
		p, app := startWithReceiver(t)
		app.status = status
		if err := p.BackchannelLogout(t.Context(), "dev|ada", ""); err == nil || !strings.Contains(err.Error(), `"app"`) {
			t.Errorf("%d: %v", status, err)
		}
		app.take(t)
		if len(app.tokens) != 0 {
			t.Errorf("%d: a redirect was followed", status)
		}
	}
}

func TestOnlyParticipantsAreTold(t *testing.T) {
	t.Parallel()
	app, other := newReceiver(t), newReceiver(t)
	p := start(t, func(cfg *devop.Config) {
		cfg.Clients[0].BackchannelLogoutURI = app.URL
		cfg.Clients[1].BackchannelLogoutURI = other.URL
	})
	p.tokens(nil)
	if r := p.post("/sign-out", url.Values{"tell": {"1"}}); r.status != http.StatusOK || !strings.Contains(r.body, "was told") {
		t.Errorf("got %d", r.status)
	}
	app.take(t)
	if len(other.tokens) != 0 {
		t.Error("a client that took no part was notified")
	}
}

func TestIndexSignsOut(t *testing.T) {
	t.Parallel()
	p, app := startWithReceiver(t)
	p.tokens(nil)
	if r := p.get("/"); !strings.Contains(r.body, "Ada Lovelace") || !strings.Contains(r.body, `id="sign-out"`) || strings.Contains(r.body, "cret+%") {
		t.Errorf("index page: %d", r.status)
	}
	req := p.request("POST", "/sign-out", url.Values{})
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	if r := p.do(p.browser, req); r.status != http.StatusForbidden {
		t.Errorf("cross-site sign-out: %d", r.status)
	}
	if r := p.post("/sign-out", url.Values{}); r.status != http.StatusOK || len(app.tokens) != 0 {
		t.Errorf("got %d, %d logout tokens", r.status, len(app.tokens))
	}
	p.signInPage(nil)
	p.tokens(nil)
	app.status = http.StatusBadRequest
	if r := p.post("/sign-out", url.Values{"tell": {"1"}}); !strings.Contains(r.body, "400 Bad Request") {
		t.Error("the page does not show the application's answer")
	}
}

// The signing key survives a change of issuer in the same directory, but tokens do not.
func TestHintOfAnotherIssuer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, func(cfg *devop.Config) { cfg.DataDir = dir })
	hint := p.tokens(nil)["id_token"].(string)
	next, err := devop.New(devop.Config{
		Issuer: p.issuer + "/moved", DataDir: dir, Clients: []devop.Client{{ID: "app", Secret: "s"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	p.serve(next)
	if r := p.get("/moved/end_session?id_token_hint=" + hint); r.status != http.StatusBadRequest {
		t.Errorf("got %d", r.status)
	}
}

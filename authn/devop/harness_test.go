package devop_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"latchkey/authn/devop"
)

const (
	verifier    = "a-verifier-of-this-test-with-more-than-43-characters"
	redirectURI = "http://127.0.0.1:9/callback"
	leaveURI    = "http://127.0.0.1:9/signed-out"
)

// idp is a provider with its own listener, browser and clock.
type idp struct {
	*devop.Provider
	t       *testing.T
	issuer  string // without a trailing slash
	browser *http.Client
	program *http.Client          // keeps no cookies
	offset  *atomic.Int64         // seconds the clock is ahead
	serve   func(*devop.Provider) // replaces the provider at the same address
}

// start serves a provider with a client named "app". The function change may alter its
// configuration.
func start(t *testing.T, change func(*devop.Config)) *idp {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	issuer := "http://" + srv.Listener.Addr().String()
	offset := new(atomic.Int64)
	cfg := devop.Config{
		Issuer: issuer,
		Clients: []devop.Client{
			{ID: "app", Secret: "app s:cret+%", RedirectURIs: []string{redirectURI, redirectURI + "?tenant=1"}, PostLogoutRedirectURIs: []string{leaveURI}},
			{ID: "other", Secret: "other-secret", RedirectURIs: []string{redirectURI}},
		},
		Now: func() time.Time { return time.Now().Add(time.Duration(offset.Load()) * time.Second) },
	}
	if change != nil {
		change(&cfg)
	}
	p, err := devop.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	served := new(atomic.Pointer[devop.Provider])
	served.Store(p)
	srv.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { served.Load().ServeHTTP(w, r) })
	srv.Start()
	t.Cleanup(func() {
		srv.Close()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return &idp{Provider: p, t: t, issuer: strings.TrimSuffix(cfg.Issuer, "/"), browser: newBrowser(t), program: &http.Client{Transport: newTransport(t)}, offset: offset, serve: served.Store}
}

// newBrowser returns a client that keeps cookies and does not follow redirects.
func newBrowser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, Transport: newTransport(t), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// newTransport returns a transport that servers of other tests do not interrupt, as each does with the
// default transport when it closes.
func newTransport(t *testing.T) *http.Transport {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// reply is a response whose body has been read.
type reply struct {
	status int
	header http.Header
	body   string
}

func (p *idp) do(client *http.Client, req *http.Request) reply {
	p.t.Helper()
	res, err := client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, string(body)}
}

func (p *idp) request(method, path string, body url.Values) *http.Request {
	p.t.Helper()
	var reader io.Reader
	if body != nil {
		reader = strings.NewReader(body.Encode())
	}
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.issuer+path, reader)
	if err != nil {
		p.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req
}

func (p *idp) get(path string) reply { return p.do(p.browser, p.request("GET", path, nil)) }

func (p *idp) post(path string, body url.Values) reply {
	return p.do(p.browser, p.request("POST", path, body))
}

// authorization returns a valid authorization request with changes. An empty value removes
// a parameter.
func authorization(changes url.Values) url.Values {
	sum := sha256.Sum256([]byte(verifier))
	v := url.Values{
		"client_id": {"app"}, "redirect_uri": {redirectURI}, "response_type": {"code"},
		"scope": {"openid profile email offline_access"}, "state": {"the-state"}, "nonce": {"the-nonce"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	maps.Copy(v, changes)
	for name, all := range v {
		if len(all) == 1 && all[0] == "" {
			v.Del(name)
		}
	}
	return v
}

func (p *idp) authorize(changes url.Values) reply {
	return p.get("/authorize?" + authorization(changes).Encode())
}

var hidden = regexp.MustCompile(`name="request" value="([^"]+)"`)

// signInPage requests authorization and returns the request id in the sign-in page.
func (p *idp) signInPage(changes url.Values) string {
	p.t.Helper()
	page := p.authorize(changes)
	found := hidden.FindStringSubmatch(page.body)
	if page.status != http.StatusOK || found == nil {
		p.t.Fatalf("got %d with Location %q, want the sign-in page", page.status, page.header.Get("Location"))
	}
	return html.UnescapeString(found[1])
}

// response returns the parameters of an authorization response, from the redirect to the
// client.
func (p *idp) response(r reply) url.Values {
	p.t.Helper()
	location, err := url.Parse(r.header.Get("Location"))
	if r.status != http.StatusSeeOther || err != nil || !strings.HasPrefix(location.String(), redirectURI+"?") {
		p.t.Fatalf("got %d with Location %q, want a redirect to the client: %s", r.status, r.header.Get("Location"), r.body)
	}
	return location.Query()
}

// signIn signs sub in on the sign-in page and returns the authorization response.
func (p *idp) signIn(sub string, changes url.Values) url.Values {
	p.t.Helper()
	return p.response(p.post("/sign-in", url.Values{"request": {p.signInPage(changes)}, "sub": {sub}}))
}

// call posts to an endpoint as the client "app", with client_secret_basic.
func (p *idp) call(path string, body url.Values) (reply, map[string]any) {
	p.t.Helper()
	req := p.request("POST", path, body)
	req.SetBasicAuth("app", url.QueryEscape("app s:cret+%"))
	r := p.do(p.program, req)
	return r, p.object(r.body)
}

func (p *idp) object(body string) map[string]any {
	p.t.Helper()
	var object map[string]any
	if body != "" {
		if err := json.Unmarshal([]byte(body), &object); err != nil {
			p.t.Fatalf("not JSON: %v: %s", err, body)
		}
	}
	return object
}

func exchange(code string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {verifier}}
}

// tokens signs Ada in and returns the token response.
func (p *idp) tokens(changes url.Values) map[string]any {
	p.t.Helper()
	r, tokens := p.call("/token", exchange(p.signIn("dev|ada", changes).Get("code")))
	if r.status != http.StatusOK {
		p.t.Fatalf("token endpoint: %d %s", r.status, r.body)
	}
	return tokens
}

func (p *idp) refresh(token any) (reply, map[string]any) {
	return p.call("/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.(string)}})
}

func (p *idp) userinfo(token any) reply {
	req := p.request("GET", "/userinfo", nil)
	req.Header.Set("Authorization", "Bearer "+token.(string))
	return p.do(p.program, req)
}

func (p *idp) keySet() jose.JSONWebKeySet {
	p.t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(p.get("/jwks").body), &set); err != nil {
		p.t.Fatal(err)
	}
	return set
}

// verify returns the claims of a JWT of the given type, and checks that a published key
// signed it.
func (p *idp) verify(typ string, token any) map[string]any {
	p.t.Helper()
	parsed, err := jose.ParseSignedCompact(token.(string), []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		p.t.Fatal(err)
	}
	header := parsed.Signatures[0].Protected
	if header.ExtraHeaders[jose.HeaderType] != typ {
		p.t.Errorf("typ is %v, want %s", header.ExtraHeaders[jose.HeaderType], typ)
	}
	set := p.keySet()
	keys := set.Key(header.KeyID)
	if len(keys) != 1 {
		p.t.Fatalf("%d published keys with kid %q", len(keys), header.KeyID)
	}
	payload, err := parsed.Verify(keys[0])
	if err != nil {
		p.t.Fatal(err)
	}
	return p.object(string(payload))
}

// wantError checks the status and the code of an error from the token endpoint.
func wantError(t *testing.T, r reply, status int, code string) {
	t.Helper()
	if r.status != status || !strings.Contains(r.body, `"error":"`+code+`"`) {
		t.Errorf("got %d %s, want %d %s", r.status, r.body, status, code)
	}
	if r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control is %q", r.header.Get("Cache-Control"))
	}
}

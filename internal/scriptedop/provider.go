// Package scriptedop is an OpenID provider for tests, on a loopback port. Left alone
// it behaves as the standards ask and signs everybody in at once, without a page.
// A test makes it misbehave:
//
//   - Edit changes the document with which an endpoint answers,
//   - EditIDToken changes the ID token before, or after, it is signed,
//   - Answer replaces an endpoint's answer altogether,
//   - SetKeys and SignWith say which keys are published and which one signs.
//
// Calls and Last tell what a relying party asked, and Secrets what it must not show.
package scriptedop

import (
	"cmp"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Endpoint is one of the provider's, named by its path below the issuer.
type Endpoint string

// The endpoints.
const (
	Discovery  Endpoint = "/.well-known/openid-configuration"
	JWKS       Endpoint = "/jwks"
	Authorize  Endpoint = "/authorize"
	Token      Endpoint = "/token"
	UserInfo   Endpoint = "/userinfo"
	PAR        Endpoint = "/par"
	Revoke     Endpoint = "/revoke"
	EndSession Endpoint = "/end_session"
	// Other is every path that the discovery document does not name. It answers 404,
	// and a relying party has no reason to ask it.
	Other Endpoint = ""
)

// Config is what a provider is made from. The zero Config works.
type Config struct {
	// Path is what follows the host in the issuer: "", "/", "/tenant", "/tenant/".
	Path string
	// ClientID and ClientSecret are the one client's: "client" and "secret of the
	// client" if they are empty.
	ClientID, ClientSecret string
	// ClientKey, if it has a private half, is the client's: the provider then takes
	// assertions that it signed, and no secret.
	ClientKey Key
	// Keys are published, and the first signs: a new one for RS256 if there are none.
	Keys []Key
	// Overlap is for how long a refresh token that has been redeemed may be redeemed
	// again: not at all if zero.
	Overlap time.Duration
	// TLS serves https, with a certificate that nobody else trusts.
	TLS bool
	// Name is the host in the issuer, for who can resolve it: the loopback address if empty.
	Name string
	// Now is the provider's clock: time.Now if nil.
	Now func() time.Time
}

// Provider is a running provider. All its methods may be called at any time, also
// while it answers.
type Provider struct {
	// Issuer is the issuer identifier, and Server what answers below it.
	Issuer string
	Server *httptest.Server
	// ClientID and ClientSecret are the one client's.
	ClientID, ClientSecret string

	now     func() time.Time
	overlap time.Duration
	base    string // the issuer without a slash at its end

	mu          sync.Mutex
	keys        []Key
	signer      Key
	clientKey   Key
	subject     string
	answers     map[Endpoint]http.HandlerFunc
	edits       map[Endpoint]func(map[string]any)
	editIDToken func(*JWT)
	calls       map[Endpoint]int
	requests    map[Endpoint]Request
	secrets     map[string]bool
	assertions  map[string]bool // the jti of each that was accepted

	pushed  map[string]url.Values
	codes   map[string]*grant
	access  map[string]*grant
	refresh map[string]*grant
	last    *grant
}

// Request is a request that the provider received.
type Request struct {
	Method string
	Header http.Header
	// Query and Form are the parameters of the URL and those of the body.
	Query, Form url.Values
}

// New starts a provider, which stops when the test ends.
func New(t testing.TB, cfg Config) *Provider {
	t.Helper()
	p := &Provider{
		ClientID: "client", ClientSecret: "secret of the client", now: time.Now, overlap: cfg.Overlap, subject: "alice",
		answers: make(map[Endpoint]http.HandlerFunc), edits: make(map[Endpoint]func(map[string]any)),
		calls: make(map[Endpoint]int), requests: make(map[Endpoint]Request), secrets: make(map[string]bool),
		clientKey: cfg.ClientKey, assertions: make(map[string]bool),
		pushed: make(map[string]url.Values), codes: make(map[string]*grant),
		access: make(map[string]*grant), refresh: make(map[string]*grant),
	}
	if cfg.ClientID != "" {
		p.ClientID = cfg.ClientID
	}
	if cfg.ClientSecret != "" {
		p.ClientSecret = cfg.ClientSecret
	}
	if cfg.Now != nil {
		p.now = cfg.Now
	}
	if len(cfg.Keys) == 0 {
		cfg.Keys = []Key{NewKey("key-1", "RS256")}
	}
	p.SetKeys(cfg.Keys...)
	p.secret(p.ClientSecret)

	p.Server = httptest.NewUnstartedServer(p)
	p.Server.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that it disappoints
	// Before it serves: another process may still be asking for whoever had this port.
	scheme := "http://"
	if cfg.TLS {
		scheme = "https://"
	}
	host, port, _ := net.SplitHostPort(p.Server.Listener.Addr().String())
	p.Issuer = scheme + net.JoinHostPort(cmp.Or(cfg.Name, host), port) + cfg.Path
	p.base = strings.TrimSuffix(p.Issuer, "/")
	if cfg.TLS {
		p.Server.StartTLS()
	} else {
		p.Server.Start()
	}
	t.Cleanup(func() {
		p.Server.CloseClientConnections()
		p.Server.Close()
	})
	return p
}

// URL returns the address of an endpoint.
func (p *Provider) URL(e Endpoint) string { return p.base + string(e) }

// Answer lets an endpoint answer otherwise; nil gives it back its own answer.
func (p *Provider) Answer(e Endpoint, answer http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[e] = answer
}

// Edit lets change alter the documents with which an endpoint answers when it has
// nothing to refuse: of Authorize the parameters of the authorization response, of
// the others the JSON. nil leaves them alone again.
func (p *Provider) Edit(e Endpoint, change func(document map[string]any)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.edits[e] = change
}

// EditIDToken lets change alter the ID tokens that are issued from now on; nil leaves
// them alone again.
func (p *Provider) EditIDToken(change func(*JWT)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.editIDToken = change
}

// SetKeys publishes these keys and no others. The first of them signs.
func (p *Provider) SetKeys(keys ...Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys, p.signer = keys, keys[0]
}

// SignWith lets a key sign, whether it is published or not.
func (p *Provider) SignWith(key Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signer = key
}

// SetClientKey makes a key the client's, as Config.ClientKey does.
func (p *Provider) SetClientKey(key Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clientKey = key
}

// SignInAs says who signs in from now on. The first to do so is "alice".
func (p *Provider) SignInAs(subject string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.subject = subject
}

// Calls counts the requests that an endpoint received.
func (p *Provider) Calls(e Endpoint) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[e]
}

// Last returns the last request that an endpoint received.
func (p *Provider) Last(e Endpoint) Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[e]
}

// Secrets returns what was issued or received so far and is nobody else's business:
// the client secret, codes, states, nonces, verifiers, tokens.
func (p *Provider) Secrets() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for secret := range maps.Keys(p.secrets) {
		list = append(list, secret)
	}
	return list
}

// secret remembers what Secrets returns.
func (p *Provider) secret(values ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, value := range values {
		if value != "" {
			p.secrets[value] = true
		}
	}
}

// ServeHTTP implements http.Handler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := p.endpoint(r)
	w.Header().Set("Date", p.now().UTC().Format(http.TimeFormat))
	// What cannot be parsed is for the endpoint to refuse.
	_ = r.ParseForm()
	p.secret(r.Form.Get("state"), r.Form.Get("nonce"), r.Form.Get("code_verifier"), r.Form.Get("client_assertion"))

	p.mu.Lock()
	p.calls[e]++
	p.requests[e] = Request{Method: r.Method, Header: r.Header.Clone(), Query: r.URL.Query(), Form: maps.Clone(r.PostForm)}
	answer := p.answers[e]
	p.mu.Unlock()
	if answer == nil {
		answer = p.Correct(e)
	}
	answer(w, r)
}

// endpoint finds the endpoint that a request is for.
func (p *Provider) endpoint(r *http.Request) Endpoint {
	for _, e := range []Endpoint{Discovery, JWKS, Authorize, Token, UserInfo, PAR, Revoke, EndSession} {
		if "http://"+r.Host+r.URL.Path == p.URL(e) || "https://"+r.Host+r.URL.Path == p.URL(e) {
			return e
		}
	}
	return Other
}

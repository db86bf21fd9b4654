// Package scriptedop is an OpenID provider for tests, on a loopback port. By default it
// follows the standards, and signs everyone in immediately, without a page. A test makes it
// misbehave:
//
//   - Edit changes the document with which an endpoint answers,
//   - EditIDToken changes the ID token before, or after, it is signed,
//   - Answer replaces an endpoint's answer altogether,
//   - SetKeys and SignWith say which keys are published and which one signs.
//
// Calls and Last report what a relying party requested, and Secrets what it must not
// reveal.
package scriptedop

import (
	"cmp"
	"crypto/x509"
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

// Endpoint is one of the provider's endpoints, named by its path below the issuer.
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
	// Other stands for every path that the discovery document does not name. It answers
	// 404, and a relying party has no reason to request it.
	Other Endpoint = ""
)

// Config configures a provider. The zero Config works.
type Config struct {
	// Path follows the host in the issuer: "", "/", "/tenant", "/tenant/".
	Path string
	// ClientID and ClientSecret belong to the only client. They default to "client" and
	// "secret of the client".
	ClientID, ClientSecret string
	// ClientKey, if it has a private half, belongs to the client. The provider then accepts
	// assertions signed with it, and no secret.
	ClientKey Key
	// RequestKey, if it has a private half, belongs to the client. The provider then accepts
	// authorization requests in request objects signed with it, and no others (RFC 9101).
	RequestKey Key
	// Keys are published, and the first one signs. If there are none, New makes an RS256
	// key.
	Keys []Key
	// Overlap is how long a redeemed refresh token can be redeemed again.
	Overlap time.Duration
	// DPoP requires a proof, with a nonce, of every token request and at userinfo (RFC 9449). With
	// Bearer, a token request without a proof gets bearer tokens.
	DPoP, Bearer bool
	// TLS serves https, with a certificate that only the test trusts.
	TLS bool
	// Name is the host in the issuer, for clients that can resolve it. It defaults to the
	// loopback address.
	Name string
	// Origin is the origin in the issuer, if browsers reach the provider elsewhere than at
	// Server.URL.
	Origin string
	// Now is the provider's clock. It defaults to time.Now.
	Now func() time.Time
}

// Provider is a running provider. All its methods are safe for concurrent use, even while
// it answers.
type Provider struct {
	// Issuer is the issuer identifier, and Server serves what is below it.
	Issuer string
	Server *httptest.Server
	// ClientID and ClientSecret belong to the only client.
	ClientID, ClientSecret string

	now     func() time.Time
	overlap time.Duration
	base    string // the issuer without a trailing slash
	path    string // of base
	dpop    bool
	mixed   bool // a token request without a proof gets bearer tokens

	mu         sync.Mutex
	keys       []Key
	signer     Key
	clientKey  Key
	requestKey Key
	mtls       *httptest.Server // nil without StartMTLS
	// clientCertificate authenticates the client, unless it is nil.
	clientCertificate *x509.Certificate
	// bound has the thumbprint of the certificate that an access token is bound to.
	bound       map[string]string
	subject     string
	answers     map[Endpoint]http.HandlerFunc
	edits       map[Endpoint]func(map[string]any)
	editIDToken func(*JWT)
	// editResponse changes signed authorization responses.
	editResponse func(*JWT)
	calls        map[Endpoint]int
	requests     map[Endpoint]Request
	secrets      map[string]bool
	assertions   map[string]bool // by the jti of the assertions, request objects and proofs that were accepted
	nonces       map[Endpoint]string
	proofs       map[Endpoint][]Proof

	pushed  map[string]url.Values
	codes   map[string]*grant
	access  map[string]*grant
	refresh map[string]*grant
	last    *grant
}

// Request is a request that the provider received.
type Request struct {
	Method, Host string
	Header       http.Header
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
		clientKey: cfg.ClientKey, requestKey: cfg.RequestKey, assertions: make(map[string]bool), bound: make(map[string]string),
		dpop: cfg.DPoP, mixed: cfg.Bearer,
		nonces: make(map[Endpoint]string), proofs: make(map[Endpoint][]Proof),
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
	if cfg.DPoP {
		p.nonces[Token], p.nonces[UserInfo] = "the-first-nonce-of-token", "the-first-nonce-of-userinfo"
	}
	p.SetKeys(cfg.Keys...)
	p.secret(p.ClientSecret)

	p.Server = httptest.NewUnstartedServer(p)
	p.Server.Config.ErrorLog = log.New(io.Discard, "", 0) // its clients often break connections
	// Set the issuer before serving: another process may still call the port's previous
	// owner.
	scheme := "http://"
	if cfg.TLS {
		scheme = "https://"
	}
	host, port, _ := net.SplitHostPort(p.Server.Listener.Addr().String())
	p.Issuer = cmp.Or(cfg.Origin, scheme+net.JoinHostPort(cmp.Or(cfg.Name, host), port)) + cfg.Path
	p.base, p.path = strings.TrimSuffix(p.Issuer, "/"), strings.TrimSuffix(cfg.Path, "/")
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

// Answer replaces an endpoint's answer. A nil answer restores the endpoint's own.
func (p *Provider) Answer(e Endpoint, answer http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[e] = answer
}

// Edit lets change alter an endpoint's successful answers. The document is the parameters
// of the authorization response for Authorize, and the JSON for all others. A nil change
// restores the endpoint's own answers.
func (p *Provider) Edit(e Endpoint, change func(document map[string]any)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.edits[e] = change
}

// EditIDToken lets change alter the ID tokens issued from now on. A nil change restores
// them.
func (p *Provider) EditIDToken(change func(*JWT)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.editIDToken = change
}

// EditResponse lets change alter the signed authorization responses issued from now on. A nil
// change restores them.
func (p *Provider) EditResponse(change func(*JWT)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.editResponse = change
}

// SetKeys publishes exactly these keys. The first one signs.
func (p *Provider) SetKeys(keys ...Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys, p.signer = keys, keys[0]
}

// SignWith signs with a key, whether or not it is published.
func (p *Provider) SignWith(key Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signer = key
}

// SetClientKey sets the client's key, as Config.ClientKey does.
func (p *Provider) SetClientKey(key Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clientKey = key
}

// SignInAs sets who signs in from now on. It is "alice" at first.
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

// Secrets returns the secret values issued or received so far: the client secret, codes,
// states, nonces, verifiers and tokens.
func (p *Provider) Secrets() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for secret := range maps.Keys(p.secrets) {
		list = append(list, secret)
	}
	return list
}

// secret adds values to what Secrets returns.
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
	// Each endpoint refuses what cannot be parsed.
	_ = r.ParseForm()
	p.secret(r.Form.Get("state"), r.Form.Get("nonce"), r.Form.Get("code_verifier"), r.Form.Get("client_assertion"))

	p.mu.Lock()
	p.calls[e]++
	p.requests[e] = Request{Method: r.Method, Host: r.Host, Header: r.Header.Clone(), Query: r.URL.Query(), Form: maps.Clone(r.PostForm)}
	answer := p.answers[e]
	p.mu.Unlock()
	if answer == nil {
		answer = p.Correct(e)
	}
	answer(w, r)
}

// endpoint finds the endpoint that a request is for.
func (p *Provider) endpoint(r *http.Request) Endpoint {
	own := p.Server.Listener.Addr().String() // an endpoint that a test has moved there
	p.mu.Lock()
	if p.mtls != nil && r.TLS != nil && r.Host == p.mtls.Listener.Addr().String() {
		own = r.Host
	}
	p.mu.Unlock()
	for _, e := range []Endpoint{Discovery, JWKS, Authorize, Token, UserInfo, PAR, Revoke, EndSession} {
		u, err := url.Parse(p.URL(e))
		if err == nil && r.URL.Path == u.Path && (r.Host == u.Host || r.Host == own) {
			return e
		}
	}
	return Other
}

// Package devop is the development OpenID provider. It signs in sample people without a
// password, for an application under development and for its tests. It follows the
// standards as strictly as a production provider, so that it does not hide an application's
// mistakes.
//
// It serves http on loopback addresses only and must never be part of a release.
package devop

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"
)

// Config configures a Provider.
type Config struct {
	// Issuer is the issuer identifier, used exactly as given, such as
	// "http://127.0.0.1:3001". It may have a path and end in a slash.
	Issuer string
	// DataDir is the directory of the file that holds the signing keys, sessions, grants
	// and added people. If DataDir is empty, they are kept in memory.
	DataDir string
	// MutualTLSOrigin is where clients with a certificate reach the provider (RFC 8705), such as
	// "https://127.0.0.1:3443". A server there has the settings that Provider.TLS returns. "" means
	// nowhere.
	MutualTLSOrigin string
	// Clients are the applications that people can sign in to.
	Clients []Client
	// People are listed on the sign-in page. Nil means the sample people.
	People []Person
	// SigningAlgorithm signs all tokens: RS256 or PS256. "" means RS256.
	SigningAlgorithm string
	// Initials returns the letters that stand for a person without a picture, and that their picture
	// shows. Nil means the first letter of the name.
	Initials func(name string) string
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Log receives log records, which never contain tokens. Nil discards them.
	Log *slog.Logger
}

// Client is an application registered with the provider. Its URIs are compared as exact
// strings (RFC 9700 section 2.1).
type Client struct {
	ID, Secret string
	// Key verifies what the client signs: request objects, and client assertions. A client may have a
	// key without a secret. It may be nil.
	Key crypto.PublicKey
	// Certificate returns the certificate that authenticates the client if it gives no other proof. It
	// is called for each request, because certificates are renewed. Such a client gets access tokens
	// only if it presents a certificate to bind them to. It may be nil.
	Certificate func() (*x509.Certificate, error)
	// RedirectURIs are where sign-ins may return to. A client without any is a program that
	// requests access tokens for itself.
	RedirectURIs, PostLogoutRedirectURIs []string
	// BackchannelLogoutURI receives logout tokens. It may be empty.
	BackchannelLogoutURI string
	// InitiateLoginURI starts a sign-in (OpenID Connect Core 1.0 section 4). It may be
	// empty.
	InitiateLoginURI string
}

const (
	tokenTTL    = 10 * time.Minute
	codeTTL     = time.Minute
	refreshTTL  = 30 * 24 * time.Hour
	sessionTTL  = 7 * 24 * time.Hour
	pushedTTL   = 90 * time.Second
	signInTTL   = time.Hour // how long a sign-in page can stay open
	logoutTTL   = 2 * time.Minute
	maxBody     = 64 << 10
	maxRequest  = 8 << 10         // of an authorization request, which is stored while the person signs in
	callTimeout = 5 * time.Second // for back-channel logout
)

// Provider is an OpenID provider and an http.Handler. It is safe for concurrent use.
type Provider struct {
	cfg       Config
	origin    string // scheme and host of the issuer
	base      string // path of the issuer, without a slash at its end
	cookie    string // name of the session cookie
	csp       string // without script-src
	records   *records
	workbench *workbench
	used      *usedIDs
	proofs    *proofs
	assets    *assets
	handler   http.Handler
	// certificate is that of MutualTLSOrigin; nil without it.
	certificate *tls.Certificate
	calls       *http.Client
	pending     sync.WaitGroup // back-channel calls in flight
}

// New checks cfg, loads the state that an earlier provider left in cfg.DataDir, and makes a
// signing key if there is none. It returns an error if the issuer is not an http URL on a
// loopback host, MutualTLSOrigin is not an https one, a client is incomplete, or the state file
// cannot be used.
func New(cfg Config) (*Provider, error) {
	issuer, err := parseIssuer(cfg.Issuer)
	if err != nil {
		return nil, err
	}
	for _, c := range cfg.Clients {
		if err := c.check(); err != nil {
			return nil, err
		}
	}
	if cfg.SigningAlgorithm == "" {
		cfg.SigningAlgorithm = "RS256"
	}
	if cfg.Initials == nil {
		cfg.Initials = firstLetter
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	p := &Provider{
		cfg:       cfg,
		origin:    issuer.Scheme + "://" + issuer.Host,
		base:      strings.TrimSuffix(issuer.Path, "/"),
		cookie:    cookieName(issuer),
		workbench: &workbench{now: cfg.Now, on: make(map[string]time.Time)},
		used:      &usedIDs{until: make(map[string]time.Time)},
		proofs:    newProofs(cfg.Now),
		assets:    newAssets(),
		calls: &http.Client{
			Transport:     &http.Transport{Proxy: nil, DisableKeepAlives: true},
			Timeout:       callTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	p.csp = p.contentSecurityPolicy()
	if cfg.People == nil {
		cfg.People = samplePeople(p.url("/picture/"))
	}
	if p.records, err = openRecords(cfg); err != nil {
		return nil, err
	}
	if p.certificate, err = newCertificate(cfg.MutualTLSOrigin); err != nil {
		return nil, err
	}
	p.handler = p.routes()
	return p, nil
}

// Close waits at most 5 seconds for back-channel calls in flight, and saves any unsaved
// state.
func (p *Provider) Close() error {
	p.pending.Wait()
	return p.records.close()
}

// routes is the whole route table. The forms of the provider's own pages are protected from
// cross-origin requests. Endpoints that other parties call, or send a browser to with POST,
// cannot be: they rely on the client's secret, the access token or the registered URIs.
func (p *Provider) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(method, path string, h http.HandlerFunc) { mux.Handle(method+" "+p.base+path, h) }
	called := func(method, path string, h http.HandlerFunc) { handle(method, path, p.unlessDown(h)) }
	protection := http.NewCrossOriginProtection()
	form := func(path string, h http.HandlerFunc) { mux.Handle("POST "+p.base+path, protection.Handler(h)) }

	called("GET", "/.well-known/openid-configuration", p.metadata)
	called("GET", "/jwks", p.jwks)
	handle("GET", "/authorize", p.authorize)
	handle("POST", "/authorize", p.authorize)
	form("/sign-in", p.signIn)
	called("POST", "/par", p.pushRequest)
	called("POST", "/token", p.token)
	called("GET", "/userinfo", p.userinfo)
	called("POST", "/userinfo", p.userinfo)
	called("POST", "/revoke", p.revoke)
	handle("GET", "/end_session", p.endSession)
	handle("POST", "/end_session", p.endSession)
	form("/end_session/confirm", p.confirmEndSession)
	handle("GET", "/v2/logout", p.auth0Logout)
	handle("GET", "/{$}", p.index)
	form("/sign-out", p.signOut)
	form("/trouble", p.injectFault)
	handle("GET", "/picture/{sub}", p.picture)
	for name := range p.assets.files {
		handle("GET", "/"+name, p.asset)
	}
	return mux
}

// ServeHTTP answers requests to the issuer's own host, or with TLS to that of MutualTLSOrigin, and
// refuses all others with 421, which defeats DNS rebinding.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Dev-IdP", "1")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", p.csp)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.workbench.is(faultClock) {
		h.Set("Date", p.now().UTC().Format(http.TimeFormat))
	}
	if _, host, _ := strings.Cut(p.reached(r), "://"); !strings.EqualFold(bareHost(r.Host), bareHost(host)) {
		http.Error(w, "This development OpenID provider answers only at "+p.origin+".", http.StatusMisdirectedRequest)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	p.handler.ServeHTTP(w, r)
}

// url returns the absolute URL of a path below the issuer.
func (p *Provider) url(path string) string { return p.origin + p.base + path }

// client returns the client with the given id.
func (p *Provider) client(id string) (Client, bool) {
	for _, c := range p.cfg.Clients {
		if c.ID == id {
			return c, true
		}
	}
	return Client{}, false
}

// contentSecurityPolicy lists the clients' origins as form actions, because Chromium also
// applies form-action to every redirect that follows a form.
func (p *Provider) contentSecurityPolicy() string {
	actions := []string{"'self'"}
	seen := map[string]bool{p.origin: true}
	for _, c := range p.cfg.Clients {
		for _, uris := range [][]string{c.RedirectURIs, c.PostLogoutRedirectURIs} {
			for _, uri := range uris {
				u, _ := url.Parse(uri) // checked by New
				if origin := u.Scheme + "://" + u.Host; !seen[origin] {
					seen[origin] = true
					actions = append(actions, origin)
				}
			}
		}
	}
	return "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action " +
		strings.Join(actions, " ")
}

// check returns an error if the client is incomplete or has an invalid URI.
func (c Client) check() error {
	if c.ID == "" || c.Secret == "" && c.Key == nil && c.Certificate == nil {
		return errors.New("devop: a client needs an id and a secret, a key or a certificate")
	}
	uris := append(append([]string{}, c.RedirectURIs...), c.PostLogoutRedirectURIs...)
	for _, uri := range []string{c.BackchannelLogoutURI, c.InitiateLoginURI} {
		if uri != "" {
			uris = append(uris, uri)
		}
	}
	for _, uri := range uris {
		u, err := url.Parse(uri)
		// RFC 6749 section 3.1.2: absolute, and without a fragment.
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.ContainsAny(uri, "#; ,") {
			return fmt.Errorf("devop: client %q: %q must be an absolute http or https URL without a fragment", c.ID, uri)
		}
	}
	return nil
}

// parseIssuer returns an error unless raw is an http URL on a loopback host. This provider
// signs in anyone who asks, so no other machine may reach it.
func parseIssuer(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("devop: issuer %q: %w", raw, err)
	}
	if u.Scheme != "http" || u.Host == "" || u.User != nil || strings.ContainsAny(raw, "?#") {
		return nil, fmt.Errorf("devop: issuer %q must be an http URL with no user, query or fragment", raw)
	}
	if !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("devop: issuer %q must be on a loopback host", raw)
	}
	if trimmed := strings.TrimSuffix(u.Path, "/"); trimmed != "" && path.Clean(trimmed) != trimmed ||
		u.EscapedPath() != u.Path || strings.ContainsAny(u.Path, "{} ") {
		return nil, fmt.Errorf("devop: issuer %q must have a plain path", raw)
	}
	return u, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.IsLoopback()
}

// bareHost drops port 80, which browsers omit.
func bareHost(host string) string { return strings.TrimSuffix(host, ":80") }

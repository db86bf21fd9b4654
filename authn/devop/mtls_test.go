package devop_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/authn/devop"
)

// startMutualTLS serves a provider at a second origin, for clients with a certificate. It returns a client
// for each certificate, which trusts the provider's; nil is none.
func startMutualTLS(t *testing.T, change func(*devop.Config)) (p *idp, origin string, with func(*tls.Certificate) *http.Client) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	origin = "https://" + listener.Addr().String()
	p = start(t, func(cfg *devop.Config) {
		cfg.MutualTLSOrigin = origin
		change(cfg)
	})
	server := &http.Server{Handler: p.Provider, TLSConfig: p.TLS()}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
	roots := x509.NewCertPool()
	roots.AddCert(p.TLS().Certificates[0].Leaf)
	return p, origin, func(certificate *tls.Certificate) *http.Client {
		settings := &tls.Config{RootCAs: roots}
		if certificate != nil {
			settings.Certificates = []tls.Certificate{*certificate}
		}
		transport := &http.Transport{TLSClientConfig: settings}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
}

func newClientCertificate(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}
}

// TestMutualTLS binds access tokens to the client's certificate, which also authenticates the client.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	own, other := newClientCertificate(t), newClientCertificate(t)
	registered := func() (*x509.Certificate, error) { return own.Leaf, nil }
	p, origin, with := startMutualTLS(t, func(cfg *devop.Config) {
		cfg.Clients = []devop.Client{
			{ID: "app", Certificate: registered, RedirectURIs: []string{redirectURI}},
			{ID: "both", Secret: "secret", Certificate: registered, RedirectURIs: []string{redirectURI}},
		}
	})
	call := func(client *http.Client, origin string, changes url.Values) reply {
		p.browser = newBrowser(t)
		form := exchange(p.signIn("dev|ada", url.Values{"client_id": changes["client_id"], "audience": {"https://api.example.com"}}).Get("code"))
		maps.Copy(form, changes)
		req := p.request("POST", "/token", form)
		req.Host = ""
		req.URL.Scheme, req.URL.Host, _ = strings.Cut(origin, "://")
		return p.do(client, req)
	}
	app, both := url.Values{"client_id": {"app"}}, url.Values{"client_id": {"both"}, "client_secret": {"secret"}}
	for name, tt := range map[string]struct {
		client *http.Client
		origin string
		form   url.Values
		code   string // of the error; "" is none
	}{
		"the client's certificate":               {with(own), origin, app, ""},
		"another's certificate":                  {with(other), origin, app, "invalid_client"},
		"no certificate":                         {with(nil), origin, app, "invalid_client"},
		"no TLS":                                 {p.program, p.issuer, app, "invalid_client"},
		"a secret, and a certificate":            {with(own), origin, both, ""},
		"a secret, and a certificate to bind to": {with(other), origin, both, ""},
		"a secret, and no certificate":           {with(nil), origin, both, "invalid_request"},
		"a secret, and no TLS":                   {p.program, p.issuer, both, "invalid_request"},
		"an empty secret, and the certificate":   {with(own), origin, url.Values{"client_id": {"app"}, "client_secret": {""}}, "invalid_client"},
	} {
		r := call(tt.client, tt.origin, tt.form)
		if tt.code == "" && r.status != http.StatusOK || tt.code != "" && !strings.Contains(r.body, `"error":"`+tt.code+`"`) {
			t.Errorf("%s: got %d %s", name, r.status, r.body)
		}
	}

	answer := p.object(call(with(own), origin, app).body)
	sum := sha256.Sum256(own.Leaf.Raw)
	if bound, _ := p.verify("at+jwt", answer["access_token"])["cnf"].(map[string]any); len(bound) != 1 || bound["x5t#S256"] != base64.RawURLEncoding.EncodeToString(sum[:]) {
		t.Errorf("the token is bound to %v", bound)
	}
	if answer["token_type"] != "Bearer" { // RFC 8705 section 3
		t.Errorf("the type of the token is %v", answer["token_type"])
	}
	for name, tt := range map[string]struct {
		client *http.Client
		origin string
		status int
	}{
		"the client's certificate": {with(own), origin, http.StatusOK},
		"another's certificate":    {with(other), origin, http.StatusUnauthorized},
		"no certificate":           {with(nil), origin, http.StatusUnauthorized},
		"no TLS":                   {p.program, p.issuer, http.StatusUnauthorized},
	} {
		req := p.request("GET", "/userinfo", nil)
		req.Host = ""
		req.URL.Scheme, req.URL.Host, _ = strings.Cut(tt.origin, "://")
		req.Header.Set("Authorization", "Bearer "+answer["access_token"].(string))
		if r := p.do(tt.client, req); r.status != tt.status {
			t.Errorf("userinfo with %s: got %d %s", name, r.status, r.body)
		}
	}
}

// TestMutualTLSOrigin reaches a provider by TLS at another host than its own, and makes providers with
// origins that could be reached from elsewhere.
func TestMutualTLSOrigin(t *testing.T) {
	t.Parallel()
	p, origin, with := startMutualTLS(t, func(*devop.Config) {})
	for host, status := range map[string]int{
		strings.TrimPrefix(origin, "https://"):  http.StatusOK,
		strings.TrimPrefix(p.issuer, "http://"): http.StatusMisdirectedRequest,
		"evil.example":                          http.StatusMisdirectedRequest,
	} {
		req := p.request("GET", "/jwks", nil)
		req.URL.Scheme, req.URL.Host, _ = strings.Cut(origin, "://")
		req.Host = host
		if r := p.do(with(nil), req); r.status != status {
			t.Errorf("with the host %s: got %d, want %d", host, r.status, status)
		}
	}
	for origin, accepted := range map[string]bool{
		"https://127.0.0.1:3443": true, "https://localhost:3443": true, "": true,
		"http://127.0.0.1:3443": false, "https://id.example.com": false, "https://127.0.0.1:3443/": false, "127.0.0.1:3443": false,
	} {
		made, err := devop.New(devop.Config{Issuer: "http://127.0.0.1:1", MutualTLSOrigin: origin})
		if (err == nil) != accepted {
			t.Errorf("the origin %q: %v", origin, err)
		}
		if err == nil && (made.TLS() != nil) != (origin != "") {
			t.Errorf("the origin %q has the settings %v", origin, made.TLS())
		}
	}
}

package openid

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// The ways to authenticate by a certificate (RFC 8705 section 2): one of an authority, which the
// provider knows by its subject, and one that is registered itself.
const (
	TLSClientAuth           = "tls_client_auth"
	SelfSignedTLSClientAuth = "self_signed_tls_client_auth"
)

// authenticatesByCertificate reports whether the client's certificate says who it is.
func (c Config) authenticatesByCertificate() bool {
	return c.ClientAuth == TLSClientAuth || c.ClientAuth == SelfSignedTLSClientAuth
}

// addCertificateFaults adds the faults of the client's certificate. Where it cannot be presented,
// access tokens would not be bound to it, and nothing would say so.
func (c Config) addCertificateFaults(f *Faults) {
	switch {
	case c.authenticatesByCertificate() && c.ClientCertificate == nil:
		f.Add("ClientCertificate", "is missing", c.ClientAuth+" needs a certificate and its key")
	case c.ClientCertificate != nil && strings.HasPrefix(c.BackchannelOrigin, "http://"):
		f.Add("BackchannelOrigin", "is plain http, where the client's certificate cannot be presented", "write an https origin, or remove the certificate")
	}
}

// useAliases replaces endpoints with their aliases for clients with a certificate (RFC 8705 section 5):
// those that issue or accept bound access tokens, and, if the certificate authenticates the client, all
// that authenticate it.
func (m *Metadata) useAliases(c Config) {
	if c.ClientCertificate == nil {
		return
	}
	use := func(endpoint *string, name string) {
		if alias := m.mtlsAliases[name]; alias != "" {
			*endpoint = alias
		}
	}
	use(&m.TokenEndpoint, "token_endpoint")
	use(&m.UserInfoEndpoint, "userinfo_endpoint")
	if c.authenticatesByCertificate() {
		use(&m.RevocationEndpoint, "revocation_endpoint")
		use(&m.PushedAuthorizationRequestEndpoint, "pushed_authorization_request_endpoint")
	}
}

// Transport returns a transport for calls to an API: base itself, or if the client has a certificate,
// one with the settings of base that presents it to every server that asks for one (RFC 8705 section 3).
func (p *Provider) Transport(base *http.Transport) http.RoundTripper { return p.cfg.transport(base) }

func (c Config) transport(base *http.Transport) http.RoundTripper {
	if c.ClientCertificate == nil {
		return base
	}
	base = base.Clone()
	if base.TLSClientConfig == nil {
		base.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if base.TLSClientConfig.RootCAs == nil {
		base.TLSClientConfig.RootCAs = c.RootCAs
	}
	return &certifiedTransport{base: base, certificate: c.ClientCertificate}
}

// certifiedTransport presents the client's certificate. Each version of the certificate has
// connections of its own: a token that is issued on one with the old certificate is of no use on one
// with the new.
type certifiedTransport struct {
	base        *http.Transport // a pattern, without connections
	certificate func() (*tls.Certificate, error)

	mu        sync.Mutex
	presented *tls.Certificate
	current   *http.Transport
}

func (t *certifiedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	transport, err := t.transport()
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, fmt.Errorf("openid: the client certificate: %w", err)
	}
	return transport.RoundTrip(req)
}

// transport returns the transport of the certificate as it is now.
func (t *certifiedTransport) transport() (*http.Transport, error) {
	certificate, err := t.certificate()
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if certificate != t.presented {
		if t.current != nil {
			t.current.CloseIdleConnections()
		}
		t.presented, t.current = certificate, t.base.Clone()
		// tls.Config.Certificates would omit the certificate if the server lists authorities and its issuer is
		// not among them.
		t.current.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	return t.current, nil
}

// Certificate describes the client's certificate, for its registration at the provider.
type Certificate struct {
	// Subject is the distinguished name (RFC 4514), and Thumbprint the one of RFC 8705 section 3.1.
	Subject, Thumbprint string
	// JWK is the key with the certificate in JSON (RFC 8705 section 2.2.2).
	JWK string
}

// Certificate returns the client's certificate, or false if it has none that can be read.
func (p *Provider) Certificate() (Certificate, bool) {
	if p.cfg.ClientCertificate == nil {
		return Certificate{}, false
	}
	certificate, err := p.cfg.ClientCertificate()
	if err != nil || certificate.Leaf == nil {
		return Certificate{}, false
	}
	leaf := certificate.Leaf
	jwk, err := json.Marshal(jose.JSONWebKey{Key: leaf.PublicKey, Use: "sig", Certificates: []*x509.Certificate{leaf}})
	return Certificate{Subject: leaf.Subject.String(), Thumbprint: hashOf(leaf.Raw), JWK: string(jwk)}, err == nil
}

// secret returns the client secret, or "" if the client authenticates in another way (RFC 6749 section
// 2.3).
func (c Config) secret() string {
	if slices.Contains([]string{ClientSecretBasic, ClientSecretPost}, c.ClientAuth) {
		return string(c.ClientSecret)
	}
	return ""
}

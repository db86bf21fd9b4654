package scriptedop

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// StartMTLS serves the endpoints that clients call a second time, for clients with a certificate, and
// publishes them as mtls_endpoint_aliases (RFC 8705 section 5). The token endpoint then needs a
// certificate, and access tokens are bound to it. If client is not nil, it is the certificate by which
// the client authenticates from now on, and in no other way.
func (p *Provider) StartMTLS(t testing.TB, client *x509.Certificate) {
	t.Helper()
	server := httptest.NewUnstartedServer(p)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mtls, p.clientCertificate = server, client
}

// NewCertificate makes a client's certificate, which nobody has signed but itself.
func NewCertificate(name string) *tls.Certificate {
	key := NewKey("", "ES256").Private.(*ecdsa.PrivateKey)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), // by the clock of crypto/tls
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic("scriptedop: " + err.Error())
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		panic("scriptedop: " + err.Error())
	}
	return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}
}

// Roots returns the authorities of the provider's own certificates.
func Roots() *x509.CertPool {
	// Every server of this kind has the same certificate.
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return roots
}

// aliases returns mtls_endpoint_aliases, or nil without StartMTLS.
func (p *Provider) aliases() map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mtls == nil {
		return nil
	}
	_, port, _ := net.SplitHostPort(p.mtls.Listener.Addr().String())
	base := "https://127.0.0.1:" + port + p.path
	return map[string]any{
		"token_endpoint": base + string(Token), "userinfo_endpoint": base + string(UserInfo),
		"revocation_endpoint": base + string(Revoke), "pushed_authorization_request_endpoint": base + string(PAR),
	}
}

// presented returns the thumbprint of the certificate that a client presents (RFC 8705 section 3.1), or
// "".
func presented(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// authenticateByCertificate checks that a client presents the certificate of the only client (RFC 8705
// section 2), and no other proof of who it is.
func (p *Provider) authenticateByCertificate(r *http.Request, want *x509.Certificate) *fault {
	form := r.PostForm
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 || !r.TLS.PeerCertificates[0].Equal(want) || form.Get("client_id") != p.ClientID ||
		form.Has("client_secret") || form.Has("client_assertion") || r.Header.Get("Authorization") != "" {
		return &fault{http.StatusUnauthorized, "invalid_client"}
	}
	return nil
}

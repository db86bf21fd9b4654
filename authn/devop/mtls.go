package devop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"time"
)

// confirmation is what an access token is bound to, as its claim cnf says (RFC 7800 section 3.1). The
// zero value is that of a bearer token.
type confirmation struct {
	Key         string `json:"jkt,omitempty"`      // the thumbprint of a DPoP key (RFC 9449 section 6.1)
	Certificate string `json:"x5t#S256,omitempty"` // and of the client's certificate (RFC 8705 section 3.1)
}

// TLS returns the settings of the listener at Config.MutualTLSOrigin, or nil if there is none. Its only
// certificate is new in each process. It asks clients for theirs and accepts any: the registration, or
// the access token, says which one it has to be.
func (p *Provider) TLS() *tls.Config {
	if p.certificate == nil {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*p.certificate}, ClientAuth: tls.RequestClientCert,
	}
}

// newCertificate makes a certificate for an origin, or none for "".
func newCertificate(origin string) (*tls.Certificate, error) {
	if origin == "" {
		return nil, nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "https" || u.Scheme+"://"+u.Host != origin || !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("devop: the origin %q for mutual TLS must be https on a loopback host", origin)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "development provider"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // never (RFC 5280 section 4.1.2.5)
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(u.Hostname()); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{u.Hostname()}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("devop: generating a key for TLS: %w", err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("devop: making a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, fmt.Errorf("devop: making a certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}, nil
}

// reached returns the origin at which a request has reached the provider.
func (p *Provider) reached(r *http.Request) string {
	if r.TLS != nil {
		return p.cfg.MutualTLSOrigin
	}
	return p.origin
}

// presented returns the thumbprint of the certificate that a client presents (RFC 8705 section 3.1), or
// "". TLS has shown that the client has its key.
func presented(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return ""
	}
	return hash(string(r.TLS.PeerCertificates[0].Raw))
}

// checkCertificate authenticates a client by the certificate that is registered for it (RFC 8705 section
// 2.2). This also holds for tls_client_auth (section 2.1): comparing the subject would be enough only if
// an authority gave that subject to nobody else.
func (p *Provider) checkCertificate(r *http.Request, id string) (Client, error) {
	client, ok := p.client(id)
	if !ok || client.Certificate == nil {
		return Client{}, fail("invalid_client", "unknown client, or one that has no certificate")
	}
	registered, err := client.Certificate()
	if err != nil {
		return Client{}, errors.Join(errServer, err)
	}
	if !registered.Equal(r.TLS.PeerCertificates[0]) {
		return Client{}, fail("invalid_client", "the certificate is not that of the client")
	}
	return client, nil
}

// confirm returns what an access token is to be bound to: the key of the proof, and the certificate, that
// come with a token request. A client that has a certificate gets no token without it, as with
// tls_client_certificate_bound_access_tokens in its registration (RFC 8705 section 3.4).
func (p *Provider) confirm(w http.ResponseWriter, r *http.Request, client Client) (bound confirmation, err error) {
	bound.Certificate = presented(r)
	switch {
	case client.Certificate != nil && bound.Certificate == "":
		return bound, fail("invalid_request", "the client presents no certificate to bind the access token to")
	case bound.Certificate != "" && p.workbench.happens(faultCertificate):
		return bound, fail("invalid_client", "the certificate is refused because of an injected fault")
	}
	bound.Key, err = p.checkProof(w, r, nonceOfToken, "/token", "")
	return bound, err
}

package app

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateAge is how long a certificate is served before its files are looked at again.
const certificateAge = time.Second

// certificate is a TLS certificate: the app's own, or the one that it presents as a client. New
// connections make it read its files again, so a renewed certificate is used without a restart.
type certificate struct {
	certFile, keyFile string
	// What the log says when the certificate is read, and when its files are faulty.
	name, faultyFiles string
	now               func() time.Time
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	// contents are the files that current was made from, and checked is when they were last
	// read. faulty reports that they could not be used then.
	contents [2][]byte
	checked  time.Time
	faulty   bool
}

// tlsConfig returns the settings of HTTPS, or nil if the app serves plain http. It accepts TLS
// 1.3, and TLS 1.2 with forward secrecy and an authenticated cipher (RFC 9325 section 4.2).
func (c *Config) tlsConfig(log *slog.Logger) *tls.Config {
	if c.TLSCertFile == "" {
		return nil
	}
	own := &certificate{
		certFile: c.TLSCertFile, keyFile: c.TLSKeyFile, name: "certificate",
		faultyFiles: "the certificate cannot be read again; the last good one is served", now: time.Now, log: log,
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own.get() },
	}
}

// clientCertificate returns a function that reads the certificate that the app presents as a client, or nil
// if there is none.
func (p *provider) clientCertificate(log *slog.Logger) func() (*tls.Certificate, error) {
	if p.ClientCertFile == "" {
		return nil
	}
	return (&certificate{
		certFile: p.ClientCertFile, keyFile: p.ClientKeyFile, name: "client certificate",
		faultyFiles: "the client certificate cannot be read again; the last good one is presented", now: time.Now, log: log,
	}).get
}

// askingForCertificates returns the settings with which a listener also asks its clients for a
// certificate. It accepts any: what counts is that the client has the key and that an access token is
// bound to the certificate, no matter who signed it (RFC 8705 section 3).
func askingForCertificates(https *tls.Config) *tls.Config {
	asking := https.Clone()
	asking.ClientAuth = tls.RequestClientCert
	return asking
}

// get returns the certificate. While its files cannot be used, as when only one of the two
// has been renewed, it returns the last good one.
func (c *certificate) get() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil && c.now().Sub(c.checked).Abs() < certificateAge {
		return c.current, nil
	}
	c.checked = c.now()
	err := c.read()
	switch {
	case err == nil:
		c.faulty = false
	case c.current == nil:
		return nil, err
	case !c.faulty:
		c.faulty = true
		c.log.Error(c.faultyFiles, "error", err)
	}
	return c.current, nil
}

// read loads the certificate if its files have changed.
func (c *certificate) read() error {
	var contents [2][]byte
	for i, name := range []string{c.certFile, c.keyFile} {
		var err error
		if contents[i], err = os.ReadFile(name); err != nil {
			return err
		}
	}
	if c.current != nil && bytes.Equal(contents[0], c.contents[0]) && bytes.Equal(contents[1], c.contents[1]) {
		return nil
	}
	pair, err := tls.X509KeyPair(contents[0], contents[1])
	if err != nil {
		return fmt.Errorf("%s with %s: %w", c.certFile, c.keyFile, err)
	}
	c.current, c.contents = &pair, contents
	c.log.Info(c.name, "names", pair.Leaf.DNSNames, "subject", pair.Leaf.Subject.String(), "not_after", pair.Leaf.NotAfter)
	return nil
}

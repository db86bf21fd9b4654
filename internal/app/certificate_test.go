package app

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// startHTTPS runs the program so that it serves HTTPS itself.
func startHTTPS(t *testing.T, certFile, keyFile string, env ...string) *app {
	t.Helper()
	port := freePort(t)
	return startApp(t, append([]string{
		"PORT=" + port, "AUTH0_CALLBACK_URL=https://localhost:" + port + "/callback",
		"TLS_CERT_FILE=" + certFile, "TLS_KEY_FILE=" + keyFile, "DEV_PROVIDER_ADDR=127.0.0.1:0",
	}, env...)...)
}

// handshake connects with an offer of versions and cipher suites.
func (a *app) handshake(offer *tls.Config) (tls.ConnectionState, error) {
	offer.InsecureSkipVerify = true // the certificate is the test's own
	conn, err := tls.Dial("tcp", strings.TrimPrefix(a.url, "https://"), offer)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	return conn.ConnectionState(), conn.Close()
}

func TestTLSVersionsAndCiphers(t *testing.T) {
	t.Parallel()
	certFile, keyFile := writeCertificate(t)
	a := startHTTPS(t, certFile, keyFile)
	only := func(version uint16, suites ...uint16) *tls.Config {
		return &tls.Config{MinVersion: version, MaxVersion: version, CipherSuites: suites}
	}
	for name, tt := range map[string]struct {
		offer *tls.Config
		taken bool
	}{
		"CF-14 TLS 1.0":                                  {only(tls.VersionTLS10), false},
		"CF-14 TLS 1.1":                                  {only(tls.VersionTLS11), false},
		"CF-14 TLS 1.2":                                  {only(tls.VersionTLS12), true},
		"CF-14 TLS 1.3":                                  {only(tls.VersionTLS13), true},
		"CF-14 TLS 1.2 with AES-GCM":                     {only(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256), true},
		"CF-14 TLS 1.2 with ChaCha20":                    {only(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256), true},
		"CF-14 TLS 1.2 with AES-CBC":                     {only(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA), false},
		"CF-14 TLS 1.2 with AES-CBC and SHA-256":         {only(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256), false},
		"CF-14 TLS 1.2 with RC4":                         {only(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA), false},
		"CF-14 TLS 1.2 without forward secrecy":          {only(tls.VersionTLS12, tls.TLS_RSA_WITH_AES_128_GCM_SHA256), false},
		"CF-14 TLS 1.2, whatever Go would take of a set": {only(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state, err := a.handshake(tt.offer)
			if taken := err == nil; taken != tt.taken {
				t.Errorf("taken: %t (%v), want %t", taken, err, tt.taken)
			}
			if err == nil && state.Version == tls.VersionTLS12 && strings.Contains(tls.CipherSuiteName(state.CipherSuite), "CBC") {
				t.Errorf("it chose %s", tls.CipherSuiteName(state.CipherSuite))
			}
		})
	}
}

// TestCertificateIsReadAgain (CF-14) renews the certificate of a running app, one file after
// the other.
func TestCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	certFile, keyFile := writeCertificate(t)
	newCert, newKey := writeCertificate(t)
	a := startHTTPS(t, certFile, keyFile)
	old := a.leaf()
	open := a.visitor()
	open.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	open.get("/healthz")

	replace(t, newCert, certFile)
	const between = "the last good one is served"
	a.handshakeUntil("the app has seen that the files do not fit", func() bool { return a.log.count(between) > 0 })
	if !bytes.Equal(a.leaf(), old) {
		t.Error("between the writing of the two files another certificate is served")
	}

	replace(t, newKey, keyFile)
	a.handshakeUntil("the new certificate is served", func() bool { return !bytes.Equal(a.leaf(), old) })
	if got := open.get("/healthz"); got.StatusCode != http.StatusOK || !bytes.Equal(got.TLS.PeerCertificates[0].Raw, old) {
		t.Errorf("a connection from before answers %d, or was opened anew", got.StatusCode)
	}
}

// TestCertificateIsGone (CF-14) takes the files away for an hour, and says so once.
func TestCertificateIsGone(t *testing.T) {
	t.Parallel()
	certFile, keyFile := writeCertificate(t)
	log, now := newLogBuffer(), &clock{now: time.Now()}
	c := certificate{certFile: certFile, keyFile: keyFile, now: now.Now, log: slog.New(slog.NewJSONHandler(log, nil))}
	first, err := c.get()
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		if err := os.Remove(keyFile); err != nil {
			t.Fatal(err)
		}
		for range 60 {
			now.Move(time.Minute)
			if got, err := c.get(); err != nil || got != first {
				t.Fatalf("got %v, %v, want the certificate of before", got, err)
			}
		}
		if n := log.count("the last good one is served"); n != round+1 {
			t.Errorf("round %d: the log says %d times that a file is gone, want once a round", round, n)
		}
		if err := os.WriteFile(keyFile, key, 0o600); err != nil {
			t.Fatal(err)
		}
		now.Move(time.Minute)
		if got, err := c.get(); err != nil || got != first {
			t.Fatalf("got %v, %v, want the certificate of before", got, err)
		}
	}
}

// leaf is the certificate that the app shows now.
func (a *app) leaf() []byte {
	a.t.Helper()
	state, err := a.handshake(new(tls.Config))
	if err != nil {
		a.t.Fatal(err)
	}
	return state.PeerCertificates[0].Raw
}

// handshakeUntil connects until a condition holds.
func (a *app) handshakeUntil(what string, holds func() bool) {
	a.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for a.leaf(); !holds(); a.leaf() {
		if time.Now().After(deadline) {
			a.t.Fatalf("it does not happen that %s", what)
		}
		<-tick.C
	}
}

// replace puts a file in another's place, as what renews certificates does.
func replace(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(to+".new", to); err != nil {
		t.Fatal(err)
	}
}

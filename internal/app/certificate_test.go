package app_test

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"latchkey/internal/app"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// handshake connects with an offer of versions and cipher suites.
func handshake(a *apptest.App, offer *tls.Config) (tls.ConnectionState, error) {
	offer.InsecureSkipVerify = true // the certificate is the test's own
	conn, err := tls.Dial("tcp", strings.TrimPrefix(a.URL, "https://"), offer)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	return conn.ConnectionState(), conn.Close()
}

func TestTLSVersionsAndCiphers(t *testing.T) {
	t.Parallel()
	certFile, keyFile := apptest.WriteCertificate(t)
	a := apptest.StartHTTPS(t, certFile, keyFile)
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
			state, err := handshake(a, tt.offer)
			if taken := err == nil; taken != tt.taken {
				t.Errorf("taken: %t (%v), want %t", taken, err, tt.taken)
			}
			if err == nil && state.Version == tls.VersionTLS12 && strings.Contains(tls.CipherSuiteName(state.CipherSuite), "CBC") {
				t.Errorf("it chose %s", tls.CipherSuiteName(state.CipherSuite))
			}
		})
	}
}

// TestCertificateIsReadAgain (CF-14) renews the certificate of a running app, one file
// after the other.
func TestCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	certFile, keyFile := apptest.WriteCertificate(t)
	newCert, newKey := apptest.WriteCertificate(t)
	a := apptest.StartHTTPS(t, certFile, keyFile)
	old := leaf(a)
	open := a.Visitor()
	open.Client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	open.Get("/healthz")

	replace(t, newCert, certFile)
	const between = "the last good one is served"
	handshakeUntil(a, "the app has seen that the files do not fit", func() bool { return a.Log.Count(between) > 0 })
	if !bytes.Equal(leaf(a), old) {
		t.Error("between the writing of the two files another certificate is served")
	}

	replace(t, newKey, keyFile)
	handshakeUntil(a, "the new certificate is served", func() bool { return !bytes.Equal(leaf(a), old) })
	if got := open.Get("/healthz"); got.StatusCode != http.StatusOK || !bytes.Equal(got.TLS.PeerCertificates[0].Raw, old) {
		t.Errorf("a connection from before answers %d, or was opened again", got.StatusCode)
	}
}

// TestCertificateIsGone (CF-14) removes the key for an hour. The log says so once.
func TestCertificateIsGone(t *testing.T) {
	t.Parallel()
	certFile, keyFile := apptest.WriteCertificate(t)
	log, now := apptest.NewLog(), scriptedop.NewClock(time.Now())
	c := app.NewCertificate(certFile, keyFile, now.Now, slog.New(slog.NewJSONHandler(log, nil)))
	first, err := c.Get()
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
			if got, err := c.Get(); err != nil || got != first {
				t.Fatalf("got %v, %v, want the certificate of before", got, err)
			}
		}
		if n := log.Count("the last good one is served"); n != round+1 {
			t.Errorf("round %d: the log says %d times that a file is gone, want once a round", round, n)
		}
		if err := os.WriteFile(keyFile, key, 0o600); err != nil {
			t.Fatal(err)
		}
		now.Move(time.Minute)
		if got, err := c.Get(); err != nil || got != first {
			t.Fatalf("got %v, %v, want the certificate of before", got, err)
		}
	}
}

// leaf returns the certificate that the app serves now.
func leaf(a *apptest.App) []byte {
	a.T.Helper()
	state, err := handshake(a, new(tls.Config))
	if err != nil {
		a.T.Fatal(err)
	}
	return state.PeerCertificates[0].Raw
}

// handshakeUntil connects until a condition holds.
func handshakeUntil(a *apptest.App, what string, holds func() bool) {
	a.T.Helper()
	apptest.Eventually(a.T, what, func() bool {
		leaf(a)
		return holds()
	})
}

// replace replaces a file, as a program that renews certificates does.
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

package redisstore_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/authn/redisstore"
	"latchkey/internal/apptest"
)

func TestUserPasswordDatabaseAndPrefix(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	must(t, srv.do(t, "ACL", "SETUSER", "ada", "on", ">right-marked", "~app:*", "+@all").Error())
	s := open(t, strings.Replace(srv.url, "unix://", "unix://ada:right-marked@", 1)+"?db=3&prefix=app:")
	must(t, s.Create(t.Context(), newRecord(10)))
	if n := srv.size(t); n != 0 {
		t.Errorf("%d keys in database 0", n)
	}
	must(t, srv.do(t, "SELECT", "3").Error())
	names, err := srv.do(t, "KEYS", "*").AsStrSlice()
	must(t, err)
	for _, name := range names {
		if !strings.HasPrefix(name, "app:") {
			t.Errorf("a key is named %q", name)
		}
	}
	// Client-side caching also works in a database other than the first.
	r := newRecord(10)
	must(t, s.Create(t.Context(), r))
	_, err = s.Load(t.Context(), r.Key)
	must(t, err, srv.do(t, "FLUSHDB").Error())
	eventually(t, "the record is gone", func() bool {
		_, err := s.Load(t.Context(), r.Key)
		return err != nil
	})
}

// TestOpenRefusesMisconfiguration (FM-10) opens stores with faults that only a new
// configuration can fix. Open fails, and nothing shows the password.
func TestOpenRefusesMisconfiguration(t *testing.T) {
	t.Parallel()
	srv := startServer(t)
	must(t, srv.do(t, "ACL", "SETUSER", "ada", "on", ">right-marked", "~other:*", "+@all").Error())
	must(t, srv.do(t, "ACL", "SETUSER", "eve", "on", ">right-marked", "~*", "+@all", "-@scripting").Error())
	must(t, srv.do(t, "ACL", "SETUSER", "default", "resetpass", ">admin-marked").Error())
	for _, c := range []struct{ name, login, want string }{
		{"a wrong password", "ada:wrong-marked@", "WRONGPASS"},
		{"a wrong password of the default user", ":wrong-marked@", "WRONGPASS"},
		{"no password", "", "NOAUTH"},
		{"a user without rights", "ada:right-marked@", "NOPERM"},
		{"a user who may not run scripts", "eve:right-marked@", "NOPERM"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			_, err := openLogged(t, strings.Replace(srv.url, "unix://", "unix://"+c.login, 1), slog.New(slog.NewTextHandler(&log, nil)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got error %v, want one with %s", err, c.want)
			}
			if strings.Contains(err.Error()+log.String(), "marked") {
				t.Errorf("SL-01: the password shows: %v, log %q", err, &log)
			}
		})
	}
	must(t, open(t, strings.Replace(srv.url, "unix://", "unix://:admin-marked@", 1)).Ping(t.Context()))
}

func TestTLS(t *testing.T) {
	t.Parallel()
	dir, port := shortDir(t), apptest.FreePort(t)
	pool := certificate(t, dir)
	startServer(t, "--tls-port", port, "--tls-cert-file", filepath.Join(dir, "cert.pem"), "--tls-key-file", filepath.Join(dir, "key.pem"),
		"--tls-ca-cert-file", filepath.Join(dir, "cert.pem"), "--tls-auth-clients", "no", "--bind", "127.0.0.1")
	for _, c := range []struct {
		name, host string
		pool       *x509.CertPool
		want       string
	}{
		{"a trusted certificate", "localhost", pool, ""},
		{"a certificate of an unknown authority", "localhost", x509.NewCertPool(), "unknown authority"},
		{"a certificate for another host", "127.0.0.1", pool, "127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			options, err := redisstore.ParseURL("rediss://" + c.host + ":" + port)
			must(t, err)
			options.AllowCalls(soon)
			options.AllowSilence(soon)
			options.Trust(c.pool)
			s, err := redisstore.Open(t.Context(), options, slog.New(slog.DiscardHandler))
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got error %v, want one with %q", err, c.want)
				}
				return
			}
			must(t, err)
			must(t, s.Create(t.Context(), newRecord(10)), s.Close())
		})
	}
}

// certificate writes a certificate for localhost and its key, and returns a pool that
// trusts it.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv6loopback},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

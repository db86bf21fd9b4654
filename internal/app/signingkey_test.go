package app

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// newKey makes a private key of a kind.
func newKey(t *testing.T, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "RSA":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "short RSA":
		key, err = rsa.GenerateKey(rand.Reader, 1024)
	case "P-256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "P-384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "Ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		t.Fatalf("there is no key of the kind %q", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// writePKCS8 writes a private key as most tools do, and returns the file.
func writePKCS8(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func writePEM(t *testing.T, blocks ...*pem.Block) string {
	t.Helper()
	var text []byte
	for _, block := range blocks {
		text = append(text, pem.EncodeToMemory(block)...)
	}
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// thumbprint is a key's id where nobody named it (RFC 7638).
func thumbprint(t *testing.T, key crypto.Signer) string {
	t.Helper()
	sum, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

// TestSigningKeyForms reads the forms in which tools write private keys.
func TestSigningKeyForms(t *testing.T) {
	t.Parallel()
	rsaKey, ecKey, edKey := newKey(t, "RSA").(*rsa.PrivateKey), newKey(t, "P-256").(*ecdsa.PrivateKey), newKey(t, "Ed25519")
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PrivateKey(rsaKey)
	prime256v1 := []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}
	for name, tt := range map[string]struct {
		file string
		want interface{ Equal(crypto.PrivateKey) bool }
	}{
		"PKCS #8 RSA":       {writePKCS8(t, rsaKey), rsaKey},
		"PKCS #8 EC":        {writePKCS8(t, ecKey), ecKey},
		"PKCS #8 Ed25519":   {writePKCS8(t, edKey), edKey.(ed25519.PrivateKey)},
		"PKCS #1":           {writePEM(t, &pem.Block{Type: "RSA PRIVATE KEY", Bytes: pkcs1}), rsaKey},
		"SEC 1":             {writePEM(t, &pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}), ecKey},
		"openssl ecparam's": {writePEM(t, &pem.Block{Type: "EC PARAMETERS", Bytes: prime256v1}, &pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}), ecKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := LoadConfig(tenant("CLIENT_AUTH=private_key_jwt", "CLIENT_SIGNING_KEY="+tt.file))
			if err != nil {
				t.Fatal(err)
			}
			if !tt.want.Equal(cfg.parsedSigningKey) {
				t.Error("another key was read")
			}
		})
	}
}

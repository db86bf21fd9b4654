package app_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"latchkey/internal/app"
	"latchkey/internal/apptest"
)

// TestSigningKeyForms reads the forms in which tools write private keys.
func TestSigningKeyForms(t *testing.T) {
	t.Parallel()
	rsaKey, ecKey, edKey := apptest.NewKey(t, "RSA").(*rsa.PrivateKey), apptest.NewKey(t, "P-256").(*ecdsa.PrivateKey), apptest.NewKey(t, "Ed25519")
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
		"PKCS #8 RSA":       {apptest.WritePKCS8(t, rsaKey), rsaKey},
		"PKCS #8 EC":        {apptest.WritePKCS8(t, ecKey), ecKey},
		"PKCS #8 Ed25519":   {apptest.WritePKCS8(t, edKey), edKey.(ed25519.PrivateKey)},
		"PKCS #1":           {apptest.WritePEM(t, &pem.Block{Type: "RSA PRIVATE KEY", Bytes: pkcs1}), rsaKey},
		"SEC 1":             {apptest.WritePEM(t, &pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}), ecKey},
		"openssl ecparam's": {apptest.WritePEM(t, &pem.Block{Type: "EC PARAMETERS", Bytes: prime256v1}, &pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}), ecKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := app.LoadConfig(tenant("CLIENT_AUTH=private_key_jwt", "CLIENT_SIGNING_KEY="+tt.file))
			if err != nil {
				t.Fatal(err)
			}
			if !tt.want.Equal(cfg.ParsedSigningKey()) {
				t.Error("another key was read")
			}
		})
	}
}

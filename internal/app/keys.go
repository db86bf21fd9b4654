package app

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"latchkey/authn"
	"latchkey/authn/openid"
)

// secrets returns the keys of APP_SECRET_KEY, the current one first.
func (c *Config) secrets() []openid.Secret {
	var list []openid.Secret
	for part := range strings.SplitSeq(string(c.AppSecretKey), ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, openid.Secret(part))
		}
	}
	return list
}

// secretPath returns the path of the stored secret.
func (c *Config) secretPath() string { return filepath.Join(c.DataDir, "app-secret-key") }

// keys returns the configured secrets. On loopback, where none is needed, it creates one
// and stores it, so that a restart signs nobody out.
func (c *Config) keys() (*authn.Keys, error) {
	secrets := c.secrets()
	if len(secrets) == 0 {
		secret, err := readSecret(c.secretPath())
		if errors.Is(err, fs.ErrNotExist) {
			secret, err = createSecret(c.secretPath())
		}
		if err != nil {
			return nil, fmt.Errorf("%w: DATA_DIR: %w", ErrConfiguration, err)
		}
		secrets = []openid.Secret{secret}
	}
	return authn.NewKeys(secrets...)
}

// readSecret reads a stored secret.
func readSecret(path string) (openid.Secret, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	secret := openid.Secret(strings.TrimSpace(string(raw)))
	if len(secret) < authn.MinSecretBytes {
		return "", fmt.Errorf("%s holds no key; remove it (everyone must then sign in again)", path)
	}
	return secret, nil
}

// createSecret writes a new secret under another name first, so that the file is complete or
// absent.
func createSecret(path string) (openid.Secret, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	secret := hex.EncodeToString(random)
	if err := os.WriteFile(path+".new", []byte(secret+"\n"), 0o600); err != nil {
		return "", err
	}
	return openid.Secret(secret), os.Rename(path+".new", path)
}

// readSigningKey reads a private key from a PEM file, in PKCS #8, PKCS #1 or SEC 1 form.
// OpenSSL writes the parameters of a curve before its key.
func readSigningKey(path string) (crypto.Signer, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(raw)
	if block == nil {
		return nil, errors.New("is not a PEM file")
	}
	for ; block != nil; block, rest = pem.Decode(rest) {
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			if signer, ok := key.(crypto.Signer); ok {
				return signer, nil
			}
		}
		if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
			return key, nil
		}
		if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
			return key, nil
		}
	}
	return nil, errors.New("holds no private key that can be read")
}

// warnOfOpenFiles logs which files with secrets users other than their owner can read. It
// says nothing on loopback, because that is a developer's own machine.
func (c *Config) warnOfOpenFiles(log *slog.Logger) {
	if c.onLoopback() {
		return
	}
	paths := []string{".env", c.TLSKeyFile, c.secretPath()}
	for _, p := range c.providers {
		paths = append(paths, p.SigningKey, p.ClientKeyFile)
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm()&0o044 != 0 {
			log.Warn("file with secrets can be read by others", "file", path, "mode", info.Mode().Perm().String())
		}
	}
}

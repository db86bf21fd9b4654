package app

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"latchkey/authn"
	"latchkey/authn/openid"
)

// keys returns the configured secrets. On loopback, where none is needed, it creates one
// and stores it, so that a restart signs nobody out.
func (c *Config) keys() (*authn.Keys, error) {
	if secrets := c.secrets(); len(secrets) > 0 {
		return authn.NewKeys(secrets...)
	}
	secret, err := keptSecret(c.DataDir, secretFile)
	if err != nil {
		return nil, fmt.Errorf("%w: DATA_DIR: %w", ErrConfiguration, err)
	}
	return authn.NewKeys(secret)
}

// secretFile is the name of the stored secret in DATA_DIR.
const secretFile = "app-secret-key"

// keptSecret reads a secret from a file, or creates it.
func keptSecret(dir, name string) (openid.Secret, error) {
	path := filepath.Join(dir, name)
	secret, err := readSecret(path)
	if errors.Is(err, os.ErrNotExist) {
		return makeSecret(dir, path)
	}
	return secret, err
}

// readSecret reads a stored secret.
func readSecret(path string) (openid.Secret, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	secret := openid.Secret(strings.TrimSpace(string(raw)))
	if len(secret) < authn.MinSecretBytes {
		return "", fmt.Errorf("%s holds no key; remove it, and everybody signs in anew", path)
	}
	return secret, nil
}

// makeSecret writes a new secret under another name first, so that the file is complete or
// absent.
func makeSecret(dir, path string) (openid.Secret, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
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

// warnOfOpenFiles logs which files with secrets users other than their owner can read. It
// says nothing on loopback, because that is a developer's own machine.
func (c *Config) warnOfOpenFiles(log *slog.Logger) {
	if openid.IsLoopback(c.BaseURL(c.Port).Hostname()) {
		return
	}
	for _, path := range []string{".env", c.ClientSigningKey, c.TLSKeyFile, filepath.Join(c.DataDir, secretFile)} {
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm()&0o044 != 0 {
			log.Warn("file with secrets can be read by others", "file", path, "mode", info.Mode().Perm().String())
		}
	}
}

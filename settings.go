package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"latchkey/authn"
	"latchkey/authn/boltstore"
)

// providerSettings is what the app needs to know of its provider.
type providerSettings struct {
	issuer       string
	clientID     string
	clientSecret authn.Secret
	// address is where people find the development provider; "" with a real one.
	address string
	close   func()
}

// realProvider is the one that the configuration names.
func realProvider(cfg *Config) *providerSettings {
	return &providerSettings{
		issuer: cfg.issuer(), clientID: cfg.ClientID, clientSecret: cfg.ClientSecret, close: func() {},
	}
}

// authn translates the configuration for package authn.
func (c *Config) authn(port int, provider *providerSettings, keys *authn.Keys, store authn.Store, log *slog.Logger) authn.Config {
	base := c.baseURL(port)
	return authn.Config{
		Issuer: provider.issuer, Auth0: c.Auth0Domain != "",
		ClientID: provider.clientID, ClientSecret: provider.clientSecret,
		ClientAuth: c.ClientAuth, SigningKey: c.parsedSigningKey,
		RedirectURL: c.callbackURL(port), PostLogoutRedirectURL: base.String() + "/signed-out",
		Scopes: strings.Fields(c.Scopes), Audience: c.Audience,
		IDTokenAlgorithms: c.IDTokenAlgorithms, ResponseMode: c.ResponseMode,
		PushedAuthorizationRequests: c.PushedRequests, StrictLogoutTokenType: c.LogoutTokenType == "strict",
		Keys: keys, Store: store, Secure: base.Scheme == "https",
		Idle: c.SessionIdle, Absolute: c.SessionAbsolute, Now: time.Now, Log: log,
	}
}

// openStore opens the session store.
func (c *Config) openStore() (authn.Store, error) {
	if c.SessionStore == "memory" {
		return authn.NewMemoryStore(), nil
	}
	store, err := boltstore.Open(filepath.Join(c.DataDir, "sessions.db"))
	if err != nil {
		return nil, fmt.Errorf("%w: DATA_DIR: %w", errConfiguration, err)
	}
	return store, nil
}

// keys are the application's secrets: the configured ones, or on loopback one that
// is made once and kept, so that a restart signs nobody out.
func (c *Config) keys() (*authn.Keys, error) {
	if secrets := c.secrets(); len(secrets) > 0 {
		return authn.NewKeys(secrets...)
	}
	secret, err := keptSecret(c.DataDir, "app-secret-key")
	if err != nil {
		return nil, fmt.Errorf("%w: DATA_DIR: %w", errConfiguration, err)
	}
	return authn.NewKeys(secret)
}

// keptSecret reads a secret from a file, and makes it first where there is none.
func keptSecret(dir, name string) (authn.Secret, error) {
	path := filepath.Join(dir, name)
	raw, err := os.ReadFile(path)
	if err == nil {
		return authn.Secret(strings.TrimSpace(string(raw))), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	secret := hex.EncodeToString(random)
	return authn.Secret(secret), os.WriteFile(path, []byte(secret+"\n"), 0o600)
}

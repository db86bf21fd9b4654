//go:build !release

package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"

	"latchkey/authn/devop"
	"latchkey/authn/openid"
	"latchkey/routes"
)

// developmentProviderIncluded reports that this build has a development provider.
const developmentProviderIncluded = true

// startProvider starts the development provider if no other is configured.
func startProvider(ctx context.Context, cfg *Config, port int, servers *servers, log *slog.Logger) (*providerSettings, error) {
	if !cfg.development() {
		return realProvider(cfg), nil
	}
	listeners, err := servers.listen(ctx, cfg.devProviderAddr(), "DEV_PROVIDER_ADDR")
	if err != nil {
		return nil, err
	}
	base := cfg.BaseURL(port).String()
	settings := &providerSettings{
		issuer: "http://" + listeners[0].Addr().String(), clientID: "latchkey-development",
		// Both ends of this secret are in this process.
		clientSecret: openid.Secret(rand.Text()),
	}
	clients := []devop.Client{{
		ID: settings.clientID, Secret: string(settings.clientSecret),
		RedirectURIs:           []string{cfg.callbackURL(port)},
		PostLogoutRedirectURIs: []string{cfg.logoutURL(port)},
		BackchannelLogoutURI:   base + "/backchannel-logout",
		InitiateLoginURI:       base + "/login",
	}}
	if cfg.Audience != "" {
		// A client for trying the API from a terminal, as in docs/guide.md. It gets access
		// tokens for itself only, from a provider that serves this machine only.
		clients = append(clients, devop.Client{ID: "latchkey-terminal", Secret: "development"})
	}
	if cfg.parsedSigningKey != nil {
		clients[0].Key = cfg.parsedSigningKey.Public()
	}
	algorithm := "RS256"
	if !slices.Contains(cfg.IDTokenAlgorithms, algorithm) {
		algorithm = "PS256" // the other one of its key
	}
	provider, err := devop.New(devop.Config{
		Issuer: settings.issuer, SigningAlgorithm: algorithm, DataDir: cfg.DataDir, Log: log, Clients: clients, Initials: routes.Initials,
	})
	if err != nil {
		return nil, fmt.Errorf("development provider: %w", err)
	}
	settings.address = settings.issuer
	settings.close = func() { _ = provider.Close() }
	servers.serve(listeners, provider, nil)
	return settings, nil
}

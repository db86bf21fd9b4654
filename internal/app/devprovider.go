//go:build !release

package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"latchkey/authn/devop"
	"latchkey/authn/openid"
	"latchkey/routes"
)

// developmentProviderIncluded reports that this build has a development provider.
const developmentProviderIncluded = true

// startProviders starts development providers if no others are configured: one, or one for each name.
func startProviders(ctx context.Context, cfg *Config, port int, servers *servers, log *slog.Logger) (list []*providerSettings, err error) {
	if !cfg.development() {
		return realProviders(cfg), nil
	}
	for n, p := range cfg.providers {
		provider, err := startProvider(ctx, cfg, p, cfg.devProviderAddr(n), port, servers, log)
		if err != nil {
			closeProviders(list)
			return nil, err
		}
		list = append(list, provider)
	}
	return list, nil
}

func startProvider(ctx context.Context, cfg *Config, p *provider, address string, port int, servers *servers, log *slog.Logger) (*providerSettings, error) {
	listeners, err := servers.listen(ctx, address, "DEV_PROVIDER_ADDR")
	if err != nil {
		return nil, err
	}
	base := cfg.BaseURL(port).String()
	settings := &providerSettings{
		config: p, issuer: "http://" + listeners[0].Addr().String(), clientID: "latchkey-development",
		// Both ends of this secret are in this process.
		clientSecret: openid.Secret(rand.Text()),
	}
	clients := []devop.Client{{
		ID: settings.clientID, Secret: string(settings.clientSecret),
		RedirectURIs:           []string{p.callbackURL(cfg, port)},
		PostLogoutRedirectURIs: []string{cfg.logoutURL(port)},
		BackchannelLogoutURI:   base + "/backchannel-logout",
		InitiateLoginURI:       base + "/login",
	}}
	if p.Audience != "" {
		// A client for trying the API from a terminal, as in docs/guide.md. It gets access
		// tokens for itself only, from a provider that serves this machine only.
		clients = append(clients, devop.Client{ID: "latchkey-terminal", Secret: "development"})
	}
	if p.parsedSigningKey != nil {
		clients[0].Key = p.parsedSigningKey.Public()
	}
	algorithm := "RS256"
	if !slices.Contains(p.IDTokenAlgorithms, algorithm) {
		algorithm = "PS256" // the other one of its key
	}
	dir := cfg.DataDir
	if dir != "" {
		dir = filepath.Join(dir, p.name)
	}
	provider, err := devop.New(devop.Config{
		Issuer: settings.issuer, SigningAlgorithm: algorithm, DataDir: dir, Log: log, Clients: clients, Initials: routes.Initials,
	})
	if err != nil {
		return nil, fmt.Errorf("development provider: %w", err)
	}
	settings.address = settings.issuer
	settings.close = func() { _ = provider.Close() }
	servers.serve(listeners, provider, nil)
	return settings, nil
}

//go:build !release

package app

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
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
	settings := &providerSettings{
		config: p, issuer: "http://" + listeners[0].Addr().String(), clientID: "latchkey-development",
		// Both ends of this secret are in this process.
		clientSecret: openid.Secret(rand.Text()), certificate: p.clientCertificate(log),
	}
	// Browsers stay on plain http: only what the app itself calls is served with TLS, too.
	var mutualTLS []net.Listener // nil without a certificate
	mutualTLSOrigin := ""
	if settings.certificate != nil {
		if mutualTLS, err = servers.listen(ctx, "127.0.0.1:0", "CLIENT_TLS_CERT_FILE"); err != nil {
			return nil, err
		}
		mutualTLSOrigin = "https://" + mutualTLS[0].Addr().String()
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
		Issuer: settings.issuer, MutualTLSOrigin: mutualTLSOrigin, SigningAlgorithm: algorithm, DataDir: dir, Log: log,
		Clients: settings.developmentClients(cfg, port), Initials: routes.Initials,
	})
	if err != nil {
		return nil, fmt.Errorf("development provider: %w", err)
	}
	settings.address = settings.issuer
	settings.close = func() { _ = provider.Close() }
	servers.serve(listeners, provider, nil)
	if https := provider.TLS(); https != nil {
		settings.roots = rootsWith(https.Certificates[0].Leaf)
		servers.serve(mutualTLS, provider, https)
	}
	return settings, nil
}

// developmentClients returns the clients that are registered with a development provider.
func (s *providerSettings) developmentClients(cfg *Config, port int) []devop.Client {
	p, base := s.config, cfg.BaseURL(port).String()
	app := devop.Client{
		ID: s.clientID, Secret: string(s.clientSecret),
		RedirectURIs:           []string{p.callbackURL(cfg, port)},
		PostLogoutRedirectURIs: []string{cfg.logoutURL(port)},
		BackchannelLogoutURI:   base + "/backchannel-logout",
		InitiateLoginURI:       base + "/login",
	}
	if p.parsedSigningKey != nil {
		app.Key = p.parsedSigningKey.Public()
	}
	if s.certificate != nil {
		// The same function as the app's, so that a renewed certificate is registered when it is presented.
		app.Certificate = func() (*x509.Certificate, error) {
			current, err := s.certificate()
			if err != nil {
				return nil, err
			}
			return current.Leaf, nil
		}
	}
	if p.Audience == "" {
		return []devop.Client{app}
	}
	// A client for trying the API from a terminal, as in docs/guide.md. It gets access
	// tokens for itself only, from a provider that serves this machine only.
	return []devop.Client{app, {ID: "latchkey-terminal", Secret: "development"}}
}

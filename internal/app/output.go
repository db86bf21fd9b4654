package app

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// announce says where the app is and whom it trusts with signing people in.
func announce(stdout io.Writer, log *slog.Logger, cfg *Config, port int, provider *providerSettings, operations *operations) {
	base := cfg.baseURL(port).String()
	if !cfg.readable(stdout) {
		log.Info("listening", "url", base, "metrics", operations.url(), "issuer", provider.issuer, "development_provider", provider.address != "",
			"session_store", cfg.storeKind(), "secret_keys", max(1, len(cfg.secrets())), "client_auth", cfg.ClientAuth, "response_mode", cfg.ResponseMode)
		if provider.address != "" {
			log.Warn("development provider in use: anybody on this machine signs in as anybody", "issuer", provider.issuer)
		}
		return
	}
	fmt.Fprintf(stdout, "\n  Latchkey is at      %s\n", base)
	if address := operations.url(); address != "" {
		fmt.Fprintf(stdout, "  Metrics are at      %s\n", address)
	}
	if provider.address == "" {
		fmt.Fprintf(stdout, "  People sign in at   %s\n\n", provider.issuer)
		return
	}
	fmt.Fprintf(stdout, `  People sign in at   %s   (the built-in development provider: sample people, no account needed)

  To use an Auth0 tenant instead, put these into .env and start again:
    AUTH0_DOMAIN=tenant.eu.auth0.com
    AUTH0_CLIENT_ID=...
    AUTH0_CLIENT_SECRET=...
    APP_SECRET_KEY=...            made with: openssl rand -hex 32
  and register at the tenant
    %s     as Allowed Callback URL
    %s   as Allowed Logout URL
  Any other OpenID provider: OIDC_ISSUER in place of AUTH0_DOMAIN. Stop with Ctrl-C.

`, provider.address, cfg.callbackURL(port), base+"/signed-out")
}

// indented sets each fault on a line of its own.
func indented(err error) string {
	return "  " + strings.ReplaceAll(err.Error(), "\n", "\n  ")
}

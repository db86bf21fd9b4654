package app

import "latchkey/authn"

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

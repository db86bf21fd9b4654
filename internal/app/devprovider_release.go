//go:build release

package app

import (
	"context"
	"log/slog"
)

// developmentProviderIncluded reports that this build has no development provider.
const developmentProviderIncluded = false

// startProviders returns the providers that are configured: there is nothing to start.
func startProviders(_ context.Context, cfg *Config, _ int, _ *servers, _ *slog.Logger) ([]*providerSettings, error) {
	return realProviders(cfg), nil
}

//go:build release

package app

import (
	"context"
	"log/slog"
)

// developmentProviderIncluded reports that this build has no development provider.
const developmentProviderIncluded = false

// startProvider returns the provider that is configured: there is nothing to start.
func startProvider(_ context.Context, cfg *Config, _ int, _ *servers, _ *slog.Logger) (*providerSettings, error) {
	return realProvider(cfg), nil
}

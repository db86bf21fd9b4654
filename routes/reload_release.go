//go:build release

package routes

// reload is not part of a release.
func (a *App) reload() {}

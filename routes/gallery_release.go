//go:build release

package routes

// gallery is not part of a release.
func (a *App) gallery() {}

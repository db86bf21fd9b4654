//go:build release

package routes

// A release has neither the gallery nor the reload of open pages.

func (a *App) gallery() {}

func (a *App) reload() {}

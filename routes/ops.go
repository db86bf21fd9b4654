package routes

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
)

// healthz says that the process is alive and can answer.
func (a *App) healthz(c echo.Context) error {
	return c.JSON(http.StatusOK, map[string]string{"status": "ok"})
}

// readyz says whether people can sign in here: the store answers and the provider
// has been discovered. It names reasons and no details; those are in the log.
func (a *App) readyz(c echo.Context) error {
	checks := map[string]string{"store": "ok", "provider": "ok"}
	status, overall := http.StatusOK, "ready"
	fail := func(check, reason string) {
		checks[check], status, overall = reason, http.StatusServiceUnavailable, "not ready"
	}
	if err := a.Sessions.Ready(c.Request().Context()); err != nil {
		fail("store", string(authn.ReasonOf(err)))
	}
	if err := a.RelyingParty.Ready(); err != nil {
		fail("provider", string(authn.ReasonOf(err)))
	}
	if a.draining.Load() {
		status, overall = http.StatusServiceUnavailable, "draining"
	}
	return c.JSON(status, map[string]any{"status": overall, "checks": checks})
}

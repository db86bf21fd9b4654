package routes

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/views"
)

// sessions lists a person's sessions.
func (a *App) sessions(c echo.Context) error {
	props, err := a.sessionsProps(c)
	if err != nil {
		return err
	}
	if isHTMX(c.Request()) {
		return a.render(c, http.StatusOK, views.SessionList(props))
	}
	return a.render(c, http.StatusOK, views.Sessions(a.shell(c, "Devices"), props))
}

// unlessCurrent applies a demand to requests that end another session. To end the current one is to
// sign out, which demands nothing.
func (a *App) unlessCurrent(demand echo.MiddlewareFunc) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		next = demand(next)
		return func(c echo.Context) error {
			if a.Sessions.IsCurrent(current(c), c.Param("id")) {
				return a.signOut(c)
			}
			return next(c)
		}
	}
}

// endSession ends another of a person's sessions. It is not an error if the session has already ended,
// does not exist or belongs to another person: the list no longer shows it.
func (a *App) endSession(c echo.Context) error {
	r := c.Request()
	ended, err := a.Sessions.EndOwn(r.Context(), current(c), c.Param("id"))
	if err != nil {
		return err
	}
	return a.sessionsEnded(c, ended)
}

// endOtherSessions ends all of a person's sessions except this one.
func (a *App) endOtherSessions(c echo.Context) error {
	ended, err := a.Sessions.EndOthers(c.Request().Context(), current(c))
	if err != nil {
		return err
	}
	return a.sessionsEnded(c, ended)
}

func (a *App) sessionsEnded(c echo.Context, ended int) error {
	r := c.Request()
	a.Log.InfoContext(r.Context(), "signed out from another session", "session", current(c).LogID(), "ended", ended)
	if !isHTMX(r) {
		return c.Redirect(http.StatusSeeOther, "/sessions")
	}
	props, err := a.sessionsProps(c)
	if err != nil {
		return err
	}
	props.Ended = &ended
	return a.render(c, http.StatusOK, views.SessionList(props))
}

func (a *App) sessionsProps(c echo.Context) (views.SessionsProps, error) {
	list, err := a.Sessions.Own(c.Request().Context(), current(c))
	if err != nil {
		return views.SessionsProps{}, err
	}
	var props views.SessionsProps
	for _, s := range list {
		props.Sessions = append(props.Sessions, views.OwnSession{
			Device: s.Device, SignedIn: s.SignedIn, LastSeen: s.LastSeen, Current: s.Current,
			EndURL: endURL(s),
		})
	}
	return props, nil
}

// endURL returns the address that ends a session.
func endURL(s authn.OwnSession) string { return "/sessions/" + s.ID + "/end" }

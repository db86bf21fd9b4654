package routes

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/views"
	"latchkey/views/messages"
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
	return a.render(c, http.StatusOK, views.Sessions(a.shell(c, texts(c).Title.Devices), props))
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
	if ended == 0 {
		return a.sessionsEnded(c, ended, texts(c).Devices.EndedBefore)
	}
	return a.sessionsEnded(c, ended, texts(c).Devices.Ended)
}

// confirmEndOthers asks before all other sessions end. With JavaScript, a dialog of the list asks the
// same.
func (a *App) confirmEndOthers(c echo.Context) error {
	return a.render(c, http.StatusOK, views.ConfirmEndOthers(a.shell(c, texts(c).Devices.EndOthers)))
}

// endOtherSessions ends all of a person's sessions except this one.
func (a *App) endOtherSessions(c echo.Context) error {
	ended, err := a.Sessions.EndOthers(c.Request().Context(), current(c))
	if err != nil {
		return err
	}
	if ended == 0 {
		return a.sessionsEnded(c, ended, texts(c).Devices.NoOthers)
	}
	return a.sessionsEnded(c, ended, texts(c).Count(texts(c).Devices.OthersEnded, ended))
}

// sessionsEnded says what has happened, above the list as it is now.
func (a *App) sessionsEnded(c echo.Context, ended int, said string) error {
	r := c.Request()
	a.Log.InfoContext(r.Context(), "signed out from another session", "session", current(c).LogID(), "ended", ended)
	if !isHTMX(r) {
		a.flash(c, said)
		return c.Redirect(http.StatusSeeOther, "/sessions")
	}
	props, err := a.sessionsProps(c)
	if err != nil {
		return err
	}
	return a.render(c, http.StatusOK, views.EndedSession(props, said))
}

func (a *App) sessionsProps(c echo.Context) (views.SessionsProps, error) {
	list, err := a.Sessions.Own(c.Request().Context(), current(c))
	return a.listProps(texts(c), list), err
}

// listProps returns what the list shows. Times are to the minute, like LastSeen, so that the list stays
// the same in between.
func (a *App) listProps(t *messages.Catalogue, list []authn.OwnSession) views.SessionsProps {
	var props views.SessionsProps
	for _, s := range list {
		props.Sessions = append(props.Sessions, views.OwnSession{
			ID: s.ID, Device: deviceName(t, s.Device), Kind: string(s.Device.Kind()), Current: s.Current, Bound: s.Bound,
			SignedIn: s.SignedIn, LastSeen: s.LastSeen, Idle: a.Now().Sub(s.LastSeen).Truncate(time.Minute),
			EndURL: endURL(s),
		})
	}
	return props
}

// deviceName returns what pages call a device.
func deviceName(t *messages.Catalogue, d authn.Device) string {
	if d.System == authn.AndroidTablet {
		d.System = t.Devices.AndroidTablet
	}
	switch {
	case d == authn.Device{}:
		return t.Devices.Unknown
	case d.System == "":
		return d.Browser
	default:
		return fmt.Sprintf(t.Devices.Name, cmp.Or(d.Browser, t.Devices.UnknownBrowser), d.System)
	}
}

// endURL returns the address that ends a session.
func endURL(s authn.OwnSession) string { return "/sessions/" + s.ID + "/end" }

package routes

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/views"
	"latchkey/views/messages"
)

const (
	// lookInterval is how often a stream checks for what another process has done.
	lookInterval = time.Second
	// maxStream bounds the life of a stream, and so of everything that it holds. Its page then
	// opens another one.
	maxStream = 15 * time.Minute
)

// sessionState is the data of the events "alive" and "expiring".
type sessionState struct {
	// Person is the id of the person whose session it is. A page of another person is out of date.
	Person string `json:"person"`
	// Left is how many seconds the session has left. It is not a time, because the browser's
	// clock may be wrong.
	Left int `json:"left"`
	// Extendable reports whether POST /session/extend moves the end. Otherwise only a new
	// sign-in does.
	Extendable bool `json:"extendable"`
}

// events reports the state of a session to its open pages, as server-sent events, until the
// session ends. Events have no id: every stream begins with the current state, so it does not
// matter what a page has missed. With the parameter "devices" they also report the list of the
// person's sessions, for a page that shows it.
//
// The request does not restart the idle timeout, because a page sends it without its person.
// Without a cookie the response is 204, which tells a browser not to reconnect.
func (a *App) events(c echo.Context) error {
	r := c.Request()
	if !a.fromOurPage(r) {
		return errCrossOrigin
	}
	if a.draining.Load() {
		c.Response().Header().Set(echo.HeaderRetryAfter, strconv.Itoa(int(lastReturn.Seconds())))
		return c.NoContent(http.StatusServiceUnavailable)
	}
	// The middleware is not used, because it keeps the session in the request's context. A long
	// stream would hold all of the person's data without using it.
	s, err := a.Sessions.Load(r)
	switch {
	case err != nil:
		return err
	case s == nil && !a.Sessions.SentCookie(r):
		return c.NoContent(http.StatusNoContent)
	case r.Method == http.MethodHead:
		return c.NoContent(http.StatusOK)
	case s == nil:
		stream := openStream(c, laterReturn())
		if cause := a.Sessions.EndCause(r); cause != authn.CauseReplaced { // else the new cookie is on its way
			stream.sendSignedOut(cause)
		}
		return nil
	}
	watcher, err := a.Sessions.Watch(s)
	if err != nil {
		return err
	}
	defer watcher.Close()
	life := maxStream
	if until := s.ProvenUntil(); !until.IsZero() {
		life = min(life, until.Sub(a.Now())) // then the page has to prove the session's key again
	}
	return a.follow(c, watcher, life, s.PersonID(), c.QueryParams().Has("devices"))
}

// follow reports the state of a session until the session ends, the page is gone, the stream is
// too old or the program stops. It always returns nil: once a stream has begun, it can only end.
//
// With devices, it also reads the list of sessions each time, because another process may have changed
// it. That costs the store more than one session does, but few pages show the list.
func (a *App) follow(c echo.Context, watcher *authn.Watcher, life time.Duration, person string, devices bool) error {
	ctx := c.Request().Context()
	stream := openStream(c, laterReturn())
	opened := time.Now()
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	var told authn.Expiry
	var shown deviceList
	for time.Since(opened) < life && !stream.broken() {
		expiry, err := watcher.Check(ctx)
		if ended, ok := errors.AsType[*authn.EndedError](err); ok {
			// If a new session in the same browser has replaced this one, the page says
			// nothing: it reconnects with the new cookie.
			if ended.Cause != authn.CauseReplaced {
				stream.sendSignedOut(ended.Cause)
			}
			return nil
		}
		// A store that does not respond has not ended the session. The next look tells more.
		if err == nil && !expiry.Equal(told) {
			stream.send(a.sessionState(person, expiry))
			told = expiry
		}
		if devices && err == nil {
			if list, err := a.deviceList(ctx, watcher, person); err == nil && list != shown {
				stream.send("devices", list)
				shown = list
			}
		}
		stream.beat()
		select {
		case <-look.C:
		case <-watcher.Wake():
		case <-ctx.Done():
			return nil
		case <-a.stopping:
			return nil
		}
	}
	return nil
}

// sessionState returns the event that reports the state of a session.
func (a *App) sessionState(person string, expiry authn.Expiry) (event string, data sessionState) {
	event = "alive"
	if expiry.Near {
		event = "expiring"
	}
	return event, sessionState{Person: person, Left: int(expiry.Ends.Sub(a.Now()).Seconds()), Extendable: expiry.Extendable}
}

// deviceList is the data of the event "devices": the list of a person's sessions, as the page of their
// devices shows it. It changes when another session starts, ends or is used, and with the time that
// has passed since.
type deviceList struct {
	Person string `json:"person"`
	HTML   string `json:"html"`
}

func (a *App) deviceList(ctx context.Context, watcher *authn.Watcher, person string) (deviceList, error) {
	list, err := watcher.Own(ctx)
	if err != nil {
		return deviceList{}, err
	}
	var html strings.Builder
	err = views.SessionList(a.listProps(messages.FromContext(ctx), list)).Render(ctx, &html)
	return deviceList{person, html.String()}, err
}

// fromOurPage reports whether a request comes from a page of this app or from no page at all. A
// browser without Sec-Fetch-Site still sends no cookie from another site's page (SameSite).
func (a *App) fromOurPage(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	return fromOurOrigin(r) && (origin == "" || origin == a.BaseURL.String())
}

// extend handles "Stay signed in". It restarts the idle timeout at once, while requests for pages
// restart it at most once a minute.
func (a *App) extend(c echo.Context) error {
	r := c.Request()
	if err := a.Sessions.Extend(r.Context(), current(c)); err != nil {
		if openid.ReasonOf(err) == authn.ReasonSessionEnded {
			return a.noSession(c)
		}
		return err
	}
	if isHTMX(r) || wantsJSON(r) {
		return c.NoContent(http.StatusNoContent)
	}
	return c.Redirect(http.StatusSeeOther, a.referrer(r))
}

// referrer returns the page that submitted a form.
func (a *App) referrer(r *http.Request) string {
	page, ok := strings.CutPrefix(r.Referer(), a.BaseURL.String())
	if !ok {
		return afterSignIn
	}
	return destination(parseReturnPath(page))
}

// sessionEndedByNow handles the request that a page sends without JavaScript when its session
// should have ended. It redirects to the page that says so. If the person has been active in
// another tab, the session is alive, and status 204 makes the browser keep the page. The request
// does not restart the idle timeout, because the person did nothing.
func (a *App) sessionEndedByNow(c echo.Context) error {
	if current(c) != nil {
		return c.NoContent(http.StatusNoContent)
	}
	return c.Redirect(http.StatusSeeOther, signedOutURL(endReason(a.Sessions.EndCause(c.Request())), parseReturnPath(c.QueryParam("return_to"))))
}

package routes

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
)

const (
	// lookInterval is how soon an open page learns what another process did.
	lookInterval = time.Second
	// maxStream is how long a stream lasts. Its page then asks for another one, so that nothing
	// that a stream holds is held for ever.
	maxStream = 15 * time.Minute
)

// standing is the data of the events "alive" and "expiring".
type standing struct {
	// Person is whose session it is; a page of somebody else's is out of date.
	Person string `json:"person"`
	// Left is for how many seconds more the session lives: the clock of a browser may be
	// wrong.
	Left int `json:"left"`
	// Extendable says that POST /session/extend moves the end; otherwise only a new
	// sign-in does.
	Extendable bool `json:"extendable"`
}

// events tells the open pages of a session how it stands, as server-sent events, until it
// ends. No event has an id: every stream begins with how things are, and so what a page
// has missed does not matter.
//
// A page that asks moves no idle end: it asks by itself. Without a cookie the answer is
// 204, after which a browser does not ask again.
func (a *App) events(c echo.Context) error {
	r := c.Request()
	if !a.fromOurPage(r) {
		return errCrossOrigin
	}
	if a.draining.Load() {
		c.Response().Header().Set(echo.HeaderRetryAfter, strconv.Itoa(int(lastReturn.Seconds())))
		return c.NoContent(http.StatusServiceUnavailable)
	}
	// Not by the middleware, which leaves the session in the request: a stream lasts, and
	// has no use for all that is known of the person.
	s, err := a.Sessions.Load(r)
	switch {
	case err != nil:
		return err
	case s == nil && !a.Sessions.Stale(r, s):
		return c.NoContent(http.StatusNoContent)
	case r.Method == http.MethodHead:
		return c.NoContent(http.StatusOK)
	case s == nil:
		openStream(c, laterReturn()).part(a.Sessions.EndCause(r))
		return nil
	}
	watcher, err := a.Sessions.Watch(s)
	if err != nil {
		return err
	}
	defer watcher.Close()
	return a.follow(c, watcher, s.PersonID())
}

// follow tells a page how its session stands until it has ended, the page has gone, the
// stream is old or the program stops. All of them are answered with nil: a stream that has
// begun has no other way to fail than to end.
func (a *App) follow(c echo.Context, watcher *authn.Watcher, person string) error {
	ctx := c.Request().Context()
	stream := openStream(c, laterReturn())
	opened := time.Now()
	look := time.NewTicker(lookInterval)
	defer look.Stop()
	var told authn.Outlook
	for time.Since(opened) < maxStream && !stream.broken() {
		outlook, err := watcher.Look(ctx)
		if ended, ok := errors.AsType[*authn.EndedError](err); ok {
			// Where a new session has taken its place in the same browser there is nothing
			// to say: the page comes back with the other's cookie.
			if ended.Cause != authn.CauseReplaced {
				stream.part(ended.Cause)
			}
			return nil
		}
		// A store that does not answer has ended nothing: the page hears more when it does.
		if err == nil && !outlook.Equal(told) {
			stream.send(a.standing(person, outlook))
			told = outlook
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

// standing is the event that says how a session stands.
func (a *App) standing(person string, outlook authn.Outlook) (event string, data standing) {
	event = "alive"
	if outlook.Near {
		event = "expiring"
	}
	return event, standing{Person: person, Left: int(outlook.Ends.Sub(a.Now()).Seconds()), Extendable: outlook.Extendable}
}

// fromOurPage reports whether a page of this app asks, or no page at all. A browser that
// says nothing of it sends no cookie for another site's page either (SameSite).
func (a *App) fromOurPage(r *http.Request) bool {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	return slices.Contains([]string{"", "same-origin", "none"}, site) && (origin == "" || origin == a.BaseURL.String())
}

// extend is "stay signed in": it moves the idle end at once, where a page that is looked at
// moves it once a minute.
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

// referrer returns the page that a form was sent from.
func (a *App) referrer(r *http.Request) string {
	page, ok := strings.CutPrefix(r.Referer(), a.BaseURL.String())
	if !ok {
		return afterSignIn
	}
	return destination(parseReturnPath(page))
}

// sessionEndedByNow is where a page goes by itself without JavaScript once its session must
// have ended: on to the page that says so. If its person went on elsewhere in the browser
// the session has not ended; 204 then leaves the page as it is. It moves no idle end, since
// nobody has done anything.
func (a *App) sessionEndedByNow(c echo.Context) error {
	if current(c) != nil {
		return c.NoContent(http.StatusNoContent)
	}
	return c.Redirect(http.StatusSeeOther, signedOutURL(partingWord(a.Sessions.EndCause(c.Request())), parseReturnPath(c.QueryParam("return_to"))))
}

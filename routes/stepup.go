package routes

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/views"
)

// sensitiveAge is how long ago a person may have signed in to do what would help a thief
// most who found their browser open.
const sensitiveAge = 10 * time.Minute

// stepUpNeeded says that a page asks more of the sign-in than there is. What was asked for
// is kept in the session, and done from resume.
type stepUpNeeded struct {
	resume string // "" where a program asked, which can only be told
	demand authn.Demand
}

func (e *stepUpNeeded) Error() string { return "routes: the sign-in is too old or too weak for this" }

// demand lets nobody past whose sign-in does not meet a demand: with authn.Demand{MaxAge:
// sensitiveAge}, whose last one is older than that. They sign in anew and come back to what
// they were doing, a submitted form included. It stands behind requireSession.
func (a *App) demand(d authn.Demand) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			s := current(c)
			if d.Met(s.Identity, a.Now()) {
				return next(c)
			}
			if wantsJSON(c.Request()) {
				return &stepUpNeeded{demand: d}
			}
			held, err := heldRequest(c, d)
			if err != nil {
				return err
			}
			id, err := a.Sessions.Hold(c.Request().Context(), s, held)
			if err != nil {
				return err
			}
			return &stepUpNeeded{resume: "/resume/" + id, demand: d}
		}
	}
}

// heldRequest is what the person asked for, to be done when they are back: a form as it
// was sent, or else the page that they were going to.
func heldRequest(c echo.Context, d authn.Demand) (authn.Held, error) {
	r := c.Request()
	if slices.Contains(reading, r.Method) {
		return authn.Held{Method: http.MethodGet, URL: returnPath(r), Demand: d}, nil
	}
	held := authn.Held{Method: r.Method, URL: authn.LocalPath(r.URL.RequestURI()), Demand: d}
	if r.ContentLength == 0 {
		return held, nil
	}
	form, err := formValues(c)
	if err != nil {
		return authn.Held{}, err
	}
	held.Form = form.Encode()
	return held, nil
}

// resume goes on with what demand interrupted: with the sign-in, if that is still to be
// done, and then with the request. A form is shown as a button and not sent by itself:
// what it does was decided before the sign-in, and it is for the person to say that it
// still holds.
func (a *App) resume(c echo.Context) error {
	s := current(c)
	held, ok := a.Sessions.Held(s, c.Param("id"))
	switch {
	case !ok:
		return errNothingHeld
	case !held.Demand.Met(s.Identity, a.Now()):
		return a.begin(c, authn.AuthorizationRequest{ReturnTo: c.Request().URL.Path, Demand: held.Demand})
	case held.Method == http.MethodGet:
		return c.Redirect(http.StatusSeeOther, held.URL)
	}
	form, err := url.ParseQuery(held.Form)
	if err != nil {
		return err
	}
	return a.render(c, http.StatusOK, views.Resume(a.shell(c, "Go on"), views.ResumeProps{Action: held.URL, Form: form}))
}

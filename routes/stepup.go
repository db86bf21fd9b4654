package routes

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/views"
)

// sensitiveAge is how recently a person must have signed in for the actions that would help a thief
// most who finds their browser open.
const sensitiveAge = 10 * time.Minute

// stepUpNeeded says that a page needs a more recent or a stronger sign-in. The request is saved in the
// session, and resume continues it.
type stepUpNeeded struct {
	resume string // where the request continues; "" for a program, which can only be told
	demand openid.Demand
}

func (e *stepUpNeeded) Error() string { return "routes: the sign-in is too old or too weak for this" }

// demand refuses a person whose sign-in does not meet a demand: with openid.Demand{MaxAge:
// sensitiveAge}, one that is older than that. They sign in again and come back to what they were
// doing, a submitted form included. It comes after requireSession.
func (a *App) demand(d openid.Demand) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			s := current(c)
			if d.Met(s.Identity, a.Now()) {
				return next(c)
			}
			if wantsJSON(c.Request()) {
				return &stepUpNeeded{demand: d}
			}
			saved, err := requestToSave(c, d)
			if err != nil {
				return err
			}
			id, err := a.Sessions.SaveRequest(c.Request().Context(), s, saved)
			if err != nil {
				return err
			}
			return &stepUpNeeded{resume: "/resume/" + id, demand: d}
		}
	}
}

// requestToSave returns the request to continue when the person is back: a form as it was sent, or
// the page that they were going to.
func requestToSave(c echo.Context, d openid.Demand) (authn.SavedRequest, error) {
	r := c.Request()
	if slices.Contains(reading, r.Method) {
		return authn.SavedRequest{Method: http.MethodGet, Path: returnPath(r), Demand: d}, nil
	}
	path, _ := authn.ParseReturnPath(r.URL.RequestURI())
	saved := authn.SavedRequest{Method: r.Method, Path: path, Demand: d}
	if r.ContentLength == 0 {
		return saved, nil
	}
	form, err := formValues(c)
	if err != nil {
		return authn.SavedRequest{}, err
	}
	saved.Form = form.Encode()
	return saved, nil
}

// resume continues what demand interrupted: first the sign-in, if that is still needed, and then the
// request. A form is shown as a button and not sent by itself: the person decided on it before the
// sign-in, and has to confirm it.
func (a *App) resume(c echo.Context) error {
	s := current(c)
	saved, ok := a.Sessions.SavedRequest(s, c.Param("id"))
	switch {
	case !ok:
		return errNoSavedRequest
	case !saved.Demand.Met(s.Identity, a.Now()):
		here, _ := authn.ParseReturnPath(c.Request().URL.Path)
		return a.begin(c, authn.SignInRequest{ReturnTo: here, Demand: saved.Demand})
	case saved.Method == http.MethodGet:
		return c.Redirect(http.StatusSeeOther, destination(saved.Path))
	}
	form, err := url.ParseQuery(saved.Form)
	if err != nil {
		return err
	}
	return a.render(c, http.StatusOK, views.Resume(a.shell(c, "Go on"), views.ResumeProps{Action: saved.Path.String(), Form: form}))
}

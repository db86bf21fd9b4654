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

// sensitiveAge is how recent the sign-in must be for actions that would be most useful to someone who
// finds the person's browser open.
const sensitiveAge = 10 * time.Minute

// pendingAction returns what a saved form does, for the question whether to continue, or "" if it is
// not listed. List a form here if its route demands a recent sign-in.
func pendingAction(path string) string {
	return map[string]string{
		"/sessions/end-others": "Sign out all other devices",
		// Your product: add its forms after this line.
	}[path]
}

// stepUpNeeded says that a page needs a more recent or a stronger sign-in. The request is saved in the
// session, and resume continues it.
type stepUpNeeded struct {
	resume string // the address that continues the request; "" for a program, which gets an error
	demand openid.Demand
}

func (e *stepUpNeeded) Error() string { return "routes: the sign-in is too old or too weak for this" }

// demand refuses a person whose sign-in does not meet a demand. For example, openid.Demand{MaxAge:
// sensitiveAge} refuses a sign-in that is older. The person signs in again and then continues, even
// with a form that they have submitted. It comes after requireSession.
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

// requestToSave returns the request to continue after the sign-in: the submitted form, or the page
// that was requested.
func requestToSave(c echo.Context, d openid.Demand) (authn.SavedRequest, error) {
	r := c.Request()
	if slices.Contains(reading, r.Method) {
		return authn.SavedRequest{Method: http.MethodGet, Path: returnPath(r), Demand: d}, nil
	}
	path, ok := authn.ParseReturnPath(r.URL.RequestURI())
	if !ok {
		return authn.SavedRequest{}, authn.ErrRequestTooLarge
	}
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
// request. It does not submit a form by itself. It asks, because the person decided before the
// sign-in.
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
	action := saved.Path.String()
	props := views.ResumeProps{Pending: pendingAction(action), Action: action, Form: form}
	return a.render(c, http.StatusOK, views.Resume(a.shell(c, props.Heading()), props))
}

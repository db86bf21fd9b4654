package routes

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	pathpkg "path"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/views"
	"latchkey/views/messages"
)

// sensitiveAge is how recent the sign-in must be for actions that would be most useful to someone who
// finds the person's browser open.
const sensitiveAge = 10 * time.Minute

// pendingAction returns what a saved form does, for the question whether to continue, or "" if it is
// not listed. List a form here if its route demands a recent sign-in.
func pendingAction(t *messages.Catalogue, path string) string {
	return map[string]string{
		"/sessions/end-others": t.Devices.EndOthers,
	}[path]
}

// stepUpNeeded says that a page needs a more recent or a stronger sign-in. The request is saved in the
// session, and resume continues it.
type stepUpNeeded struct {
	resume string // the address that continues the request; "" if its sender gets an error
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
			saved, ok, err := requestToSave(c, d)
			if err != nil {
				return err
			}
			if !ok {
				return &stepUpNeeded{demand: d}
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
// that was requested. It returns false for a program, which has to send its request again.
//
// Of the methods that change something, only POST can be continued: a form has no other. After
// another method, which only a script sends, the person goes back to the page that the script is in.
func requestToSave(c echo.Context, d openid.Demand) (saved authn.SavedRequest, ok bool, err error) {
	r := c.Request()
	switch {
	case wantsJSON(r):
		return authn.SavedRequest{}, false, nil
	case r.Method != http.MethodPost:
		page := authn.SavedRequest{Method: http.MethodGet, Path: returnPath(r), Demand: d}
		return page, isHTMX(r) || slices.Contains(reading, r.Method), nil
	}
	path, ok := authn.ParseReturnPath(r.URL.RequestURI())
	if !ok {
		return authn.SavedRequest{}, false, authn.ErrRequestTooLarge
	}
	saved = authn.SavedRequest{Method: http.MethodPost, Path: path, Demand: d}
	if r.ContentLength == 0 {
		return saved, true, nil
	}
	if strings.HasPrefix(r.Header.Get(echo.HeaderContentType), echo.MIMEMultipartForm) {
		return authn.SavedRequest{}, false, authn.ErrRequestTooLarge // files are not kept
	}
	form, err := formValues(c)
	if err != nil {
		return authn.SavedRequest{}, false, err
	}
	saved.Form = form.Encode()
	return saved, true, nil
}

// resume continues what demand interrupted: first the sign-in, if that is still needed, and then the
// page. It does not send a form. It asks, because the person decided before the sign-in.
func (a *App) resume(c echo.Context) error {
	s := current(c)
	saved, ok := a.Sessions.SavedRequest(s, c.Param("id"))
	switch {
	case !ok:
		return errNoSavedRequest
	case !saved.Demand.Met(s.Identity, a.Now()):
		here, _ := authn.ParseReturnPath(c.Request().URL.Path)
		return a.begin(c, a.RelyingParties.Of(s.Identity.Issuer), authn.SignInRequest{ReturnTo: here, Demand: saved.Demand})
	case saved.Method == http.MethodGet:
		return c.Redirect(http.StatusSeeOther, destination(saved.Path))
	}
	path, _, _ := strings.Cut(saved.Path.String(), "?")
	pending, err := a.pendingSignOut(c, path)
	if err != nil {
		return err
	}
	props := views.ResumeProps{Pending: cmp.Or(pending, pendingAction(texts(c), path), a.action(c.Request().Context(), path)), Path: path, URL: c.Request().URL.Path}
	return a.render(c, http.StatusOK, views.Resume(a.shell(c, props.Heading(texts(c))), props))
}

// pendingSignOut returns what a form that ends one session does, or "" for another form.
func (a *App) pendingSignOut(c echo.Context, path string) (string, error) {
	if ok, _ := pathpkg.Match("/sessions/*/end", path); !ok {
		return "", nil
	}
	list, err := a.Sessions.Own(c.Request().Context(), current(c))
	if err != nil {
		return "", err
	}
	n := slices.IndexFunc(list, func(s authn.OwnSession) bool { return endURL(s) == path })
	if n < 0 {
		return texts(c).Resume.EndGone, nil // which is signed out by now
	}
	return fmt.Sprintf(texts(c).Resume.EndDevice, deviceName(texts(c), list[n].Device)), nil
}

// sendSaved sends the form that demand has saved, once: whichever request takes it from the session
// sends it.
func (a *App) sendSaved(c echo.Context) error {
	s, id := current(c), c.Param("id")
	saved, ok := a.Sessions.SavedRequest(s, id)
	switch {
	case !ok || saved.Method != http.MethodPost:
		return errNoSavedRequest
	case !saved.Demand.Met(s.Identity, a.Now()):
		return &stepUpNeeded{resume: "/resume/" + id, demand: saved.Demand}
	}
	// A second click cancels the first request. What was taken must be sent all the same, because
	// the second request no longer finds it.
	ctx := context.WithoutCancel(c.Request().Context())
	saved, ok, err := a.Sessions.TakeRequest(ctx, s, id)
	switch {
	case err != nil:
		return err
	case !ok:
		return errNoSavedRequest
	}
	address, err := url.ParseRequestURI(saved.Path.String())
	if err != nil {
		return err
	}
	r := c.Request().Clone(ctx)
	r.URL, r.RequestURI, r.Form, r.PostForm = address, saved.Path.String(), nil, nil
	r.Header.Set(echo.HeaderContentType, echo.MIMEApplicationForm)
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(saved.Form)), int64(len(saved.Form))
	// The route's own middleware runs as for any request, and checks the session and the demand.
	c.SetRequest(r)
	a.echo.Router().Find(r.Method, echo.GetPath(r), c)
	return c.Handler()(c)
}

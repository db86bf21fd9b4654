package routes

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/views"
)

// writeFailure answers in the format that the client reads.
func (a *App) writeFailure(c echo.Context, f failure, err error) error {
	f.retryAfter(c)
	if _, ok := errors.AsType[*logoutRefused](err); ok {
		return writeLogoutRefused(c, err)
	}
	if _, ok := errors.AsType[*apiError](err); ok {
		return a.writeAPIError(c, f, err)
	}
	if f.write != nil {
		return f.write(a, c, f, err)
	}
	return a.writePage(c, f, err)
}

// writePage answers with a page, a fragment for htmx, or problem+json for programs.
func (a *App) writePage(c echo.Context, f failure, err error) error {
	switch {
	case wantsJSON(c.Request()):
		return a.writeProblem(c, f)
	case isHTMX(c.Request()):
		return a.render(c, f.status, views.FailureNotice(a.failureProps(c, f, err)))
	default:
		a.identifyVisitor(c, err)
		return a.render(c, f.status, views.Failure(a.shell(c, f.heading), a.failureProps(c, f, err)))
	}
}

// writeProblem answers with problem+json (RFC 9457).
func (a *App) writeProblem(c echo.Context, f failure) error {
	c.Response().Header().Set(echo.HeaderContentType, "application/problem+json")
	return c.JSON(f.status, map[string]any{
		"type": "about:blank", "status": f.status, "title": f.heading, "detail": f.text,
		"instance": RequestOf(c.Request().Context()).ID,
	})
}

func (a *App) writeSignInNeeded(c echo.Context, f failure, _ error) error {
	return a.sendTo(c, f, loginURL(returnPath(c.Request())))
}

func (a *App) writeSessionEnded(c echo.Context, f failure, err error) error {
	e, _ := errors.AsType[*sessionEnded](err)
	return a.sendTo(c, f, signedOutURL(e.because, returnPath(c.Request())))
}

func (a *App) writeStepUpNeeded(c echo.Context, f failure, err error) error {
	e, _ := errors.AsType[*stepUpNeeded](err)
	return a.sendTo(c, f, e.resume)
}

// writeNotNavigation makes htmx leave the page, because a sign-in needs a page of its own.
func (a *App) writeNotNavigation(c echo.Context, f failure, err error) error {
	if isHTMX(c.Request()) {
		return a.writeSignInNeeded(c, f, err)
	}
	return a.writePage(c, f, err)
}

// sendTo sends a person to target, where they sign in and then come back. htmx gets a header that
// makes it leave the page: it would follow a redirect inside fetch, where the provider cannot be
// reached, and it ignores its own headers on a 3xx.
func (a *App) sendTo(c echo.Context, f failure, target string) error {
	r := c.Request()
	switch {
	case isHTMX(r):
		c.Response().Header().Set("HX-Redirect", target)
		return c.NoContent(http.StatusUnauthorized)
	case wantsJSON(r):
		return a.writeProblem(c, f)
	default:
		return c.Redirect(http.StatusSeeOther, target)
	}
}

// identifyVisitor loads the session, for the header of the page, if the router refused the request
// before the session was loaded. It skips paths that look like a file: a cache may store such a
// response, whatever its headers say.
func (a *App) identifyVisitor(c echo.Context, err error) {
	r := c.Request()
	if _, ok := errors.AsType[*echo.HTTPError](err); !ok || current(c) != nil || strings.Contains(r.URL.Path, ".") {
		return
	}
	c.Response().Header()["Vary"] = []string{"Cookie", "HX-Request"}
	if s, err := a.Sessions.Load(r); err == nil && s != nil {
		setSession(c, s)
	}
}

func (a *App) failureProps(c echo.Context, f failure, err error) views.FailureProps {
	props := views.FailureProps{
		Status: f.status, Heading: f.heading, Text: f.text, Reference: RequestOf(c.Request().Context()).ID,
	}
	if action, ok := f.action(c.Request(), err); ok {
		props.Actions = append(props.Actions, action)
	}
	props.Actions = append(props.Actions, views.Action{Label: "Go to the home page", URL: "/"})
	return props
}

// action returns the button that is most likely to help, or false if there is none.
func (f failure) action(r *http.Request, err error) (views.Action, bool) {
	switch {
	case f.remedy == startOver:
		return views.Action{Label: "Try again", URL: startOverURL(err), Primary: true}, true
	case f.remedy == signIn:
		return views.Action{Label: "Sign in", URL: loginURL(returnPath(r)), Primary: true}, true
	case f.remedy == reload && slices.Contains(reading, r.Method):
		return views.Action{Label: "Try again", URL: destination(returnPath(r)), Primary: true}, true
	default:
		return views.Action{}, false
	}
}

// startOverURL returns the address that starts the failed sign-in again, with its demands.
func startOverURL(err error) string {
	e, ok := errors.AsType[*authn.SignInError](err)
	switch {
	case !ok:
		return loginURL(authn.ReturnPath{})
	case openid.ReasonOf(err) == openid.ReasonStepUpFailed:
		return destination(e.ReturnTo) // the page that demands the step-up
	default:
		return loginURL(e.ReturnTo)
	}
}

package routes

import (
	"cmp"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/views"
)

func (a *App) logFailure(c echo.Context, f failure, err error) {
	ctx := c.Request().Context()
	if _, stepUp := errors.AsType[*stepUpNeeded](err); stepUp || errors.Is(err, authn.ErrAnonymous) {
		return // the request line says it all
	}
	reason := cmp.Or(string(authn.ReasonOf(err)), f.reason)
	if f.status == clientGone {
		f.level = slog.LevelDebug
	} else {
		a.counts.refused.Add(reason)
	}
	attributes := []slog.Attr{slog.String("reason", reason), slog.Int("status", f.status), slog.String("route", c.Path())}
	if e, ok := errors.AsType[*authn.Error](err); ok {
		for _, a := range []slog.Attr{slog.String("code", e.Code), slog.String("sign_in", e.SignIn)} {
			if a.Value.String() != "" {
				attributes = append(attributes, a)
			}
		}
	}
	if s := current(c); s != nil {
		attributes = append(attributes, slog.String("session", s.LogID()))
	}
	attributes = append(attributes, slog.String("issuer", a.RelyingParty.Issuer()), slog.String("error", err.Error()))
	a.Log.LogAttrs(ctx, f.level, "refused", attributes...)
}

// writeFailure answers in the form that the client reads: a page, a fragment for
// htmx, problem+json for programs (RFC 9457).
func (a *App) writeFailure(c echo.Context, f failure, err error) error {
	r := c.Request()
	f.retryAfter(c)
	if refused, ok := errors.AsType[*logoutRefused](err); ok {
		// 400 exactly, whatever the cause (OpenID Connect Back-Channel Logout 1.0
		// section 2.8).
		return c.JSON(http.StatusBadRequest, map[string]string{"error": "invalid_request", "reason": string(authn.ReasonOf(refused))})
	}
	if _, ok := errors.AsType[*apiError](err); ok {
		if refused, ok := errors.AsType[*bearerError](err); ok {
			c.Response().Header().Set(echo.HeaderWWWAuthenticate, refused.challenge(a.BaseURL.String()))
		}
		return a.problem(c, f)
	}
	if errors.Is(err, authn.ErrAnonymous) || (isHTMX(r) && authn.ReasonOf(err) == authn.ReasonNotNavigation) {
		return a.sendTo(c, f, loginURL(returnPath(r)))
	}
	if e, ok := errors.AsType[*stepUpNeeded](err); ok {
		return a.sendTo(c, f, e.resume)
	}
	if e, ok := errors.AsType[*sessionEnded](err); ok {
		return a.sendTo(c, f, signedOutURL(e.because, returnPath(r)))
	}
	e, ok := errors.AsType[*claimNeeded](err)
	switch {
	case wantsJSON(r):
		return a.problem(c, f)
	case ok:
		return a.forbidden(c, f, e)
	case isHTMX(r):
		return a.render(c, f.status, views.FailureNotice(a.failureProps(c, f, err)))
	default:
		a.whoAsks(c, err)
		return a.render(c, f.status, views.Failure(a.shell(c, f.heading), a.failureProps(c, f, err)))
	}
}

// whoAsks finds out in whose frame to say that there is no such page: the router has
// refused it before anybody looked at the session. Nobody's frame is around what looks
// like a file: a cache in between may keep that, whatever the answer says.
func (a *App) whoAsks(c echo.Context, err error) {
	r := c.Request()
	if _, ok := errors.AsType[*echo.HTTPError](err); !ok || current(c) != nil || strings.Contains(r.URL.Path, ".") {
		return
	}
	c.Response().Header()["Vary"] = []string{"Cookie", "HX-Request"}
	if s, err := a.Sessions.Load(r); err == nil && s != nil {
		c.SetRequest(r.WithContext(authn.NewContext(r.Context(), s)))
	}
}

// retryAfter says when to come back, where that is known.
func (f failure) retryAfter(c echo.Context) {
	if f.after > 0 {
		c.Response().Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.after.Seconds()))))
	}
}

// sendTo takes a person to where they sign in, and from there back. htmx must be told to
// leave the page: it would follow a redirect inside fetch, where the provider cannot be
// reached, and it ignores its own headers on a 3xx.
func (a *App) sendTo(c echo.Context, f failure, target string) error {
	r := c.Request()
	switch {
	case isHTMX(r):
		c.Response().Header().Set("HX-Redirect", target)
		return c.NoContent(http.StatusUnauthorized)
	case wantsJSON(r):
		return a.problem(c, f)
	default:
		return c.Redirect(http.StatusSeeOther, target)
	}
}

func (a *App) problem(c echo.Context, f failure) error {
	c.Response().Header().Set(echo.HeaderContentType, "application/problem+json")
	return c.JSON(f.status, map[string]any{
		"type": "about:blank", "status": f.status, "title": f.heading, "detail": f.text,
		"instance": RequestOf(c.Request().Context()).ID,
	})
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

// action is the button that most likely helps, or false where none does.
func (f failure) action(r *http.Request, err error) (views.Action, bool) {
	switch {
	case f.remedy == startOver:
		return views.Action{Label: "Try again", URL: startOverURL(err), Primary: true}, true
	case f.remedy == signIn:
		return views.Action{Label: "Sign in", URL: loginURL(returnPath(r)), Primary: true}, true
	case f.remedy == reload && slices.Contains(reading, r.Method):
		return views.Action{Label: "Try again", URL: returnPath(r), Primary: true}, true
	default:
		return views.Action{}, false
	}
}

// startOverURL starts the sign-in again that an error ended, with what was demanded of it.
func startOverURL(err error) string {
	e, ok := errors.AsType[*authn.Error](err)
	switch {
	case !ok || e.ReturnTo == "":
		return loginURL(afterSignIn)
	case e.Reason == authn.ReasonStepUpFailed:
		return e.ReturnTo // the page that demands it
	default:
		return loginURL(e.ReturnTo)
	}
}

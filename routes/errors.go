package routes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/views"
	"latchkey/views/messages"
)

// reasonOf returns the reason of an error, in logs and metrics.
func reasonOf(err error) string {
	if reason := openid.ReasonOf(err); reason != "" {
		return string(reason)
	}
	if e, ok := errors.AsType[*tokenError](err); ok {
		return e.reason()
	}
	if e, ok := errors.AsType[*reasonError](err); ok {
		return e.reason
	}
	if e, ok := errors.AsType[*echo.HTTPError](err); ok {
		return statusReason(e.Code)
	}
	switch {
	case is[*authn.TooSoonError](err):
		return "too_soon"
	case is[*stepUpNeeded](err):
		return "step_up_needed"
	case is[*claimNeeded](err):
		return "claim_missing"
	case is[*sessionEnded](err):
		return "session_ended"
	case is[*logoutRefused](err):
		return "logout_request_malformed"
	case is[*authn.Refusal](err):
		return string(authn.ReasonRefused)
	case is[*authn.ProofError](err):
		return "device_proof_refused"
	case errors.Is(err, authn.ErrRenewalNeeded):
		return "renewal_needed"
	case errors.Is(err, authn.ErrAnonymous):
		return "sign_in_needed"
	case errors.Is(err, authn.ErrTooManyWatchers):
		return "too_many_streams"
	case errors.Is(err, authn.ErrRequestTooLarge):
		return "form_too_large"
	default:
		return "internal_error"
	}
}

// is reports whether an error of a type is in err's chain.
func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// statusReason returns the reason for a status that the router or the server chose: its text as one
// word.
func statusReason(status int) string {
	if status < 400 || status > 499 {
		return "internal_error"
	}
	return strings.ReplaceAll(strings.ToLower(http.StatusText(status)), " ", "_")
}

// describe returns the failure for an error, with its texts in the language of t.
func (a *App) describe(t *messages.Catalogue, err error) failure {
	reason := reasonOf(err)
	f, ok := lookup(reason, err)
	if !ok { // a status that is not in failures
		status := http.StatusInternalServerError
		if e, ok := errors.AsType[*echo.HTTPError](err); ok {
			status = e.Code
		}
		f = failure{status: status, level: slog.LevelInfo, name: "refused"}
	}
	f.reason = reason
	f.heading, f.text = t.Failures[f.name].Heading, t.Failures[f.name].Text
	if e, ok := errors.AsType[*openid.Error](err); ok && e.RetryAfter > 0 && !is[*logoutRefused](err) {
		f.after = e.RetryAfter
	}
	if e, ok := errors.AsType[*authn.TooSoonError](err); ok {
		f.after, f.text = e.Wait, fmt.Sprintf(f.text, t.Count(t.In.Seconds, int(math.Ceil(e.Wait.Seconds()))))
	}
	if e, ok := errors.AsType[*reasonError](err); ok && e.wait > 0 {
		f.after = e.wait
	}
	if e, ok := errors.AsType[*tokenError](err); ok && e.scope != "" {
		f.text = fmt.Sprintf(f.text, e.scope)
	}
	if e, ok := errors.AsType[*sessionEnded](err); ok {
		f.text, f.remedy, f.write = t.Ended[e.because], 0, (*App).writeSessionEnded
	}
	if e, ok := errors.AsType[*authn.Refusal](err); ok && reason == string(authn.ReasonRefused) {
		f = f.refused(e, is[*authn.SignInError](err))
	}
	if e, ok := errors.AsType[*claimNeeded](err); ok {
		f.text = fmt.Sprintf(f.text, inWords(t, e.rule.Needs()))
	}
	if errors.Is(err, errWrongHost) {
		f.text = fmt.Sprintf(f.text, a.BaseURL)
	}
	if is[*logoutRefused](err) && reason == string(authn.ReasonStoreUnavailable) {
		f.level = slog.LevelError // the person is still signed in
	}
	return f
}

// handleError turns an error into a response and a log line. It is the only place that does so.
// observe and Echo call it.
//
// It always writes the status, because a client may still be waiting even if the context has ended:
// net/http also cancels the context when the client closes only its sending side, and such a client
// still reads.
func (a *App) handleError(err error, c echo.Context) {
	f := a.describe(texts(c), err)
	if cancelledByClient(c, err) {
		f.status, f.level = clientGone, slog.LevelDebug
	}
	a.logFailure(c, f, err)
	if c.Response().Committed {
		return
	}
	if writeErr := a.writeFailure(c, f, err); writeErr != nil {
		ctx, level := c.Request().Context(), slog.LevelWarn
		if ctx.Err() != nil {
			level = slog.LevelDebug // nobody was waiting after all
		}
		a.Log.Log(ctx, level, "error page not written", "error", writeErr)
	}
}

// cancelledByClient reports whether err would not have occurred if the client had not cancelled the
// request. After the first byte of a response only writing it can fail, which also ends the
// context.
func cancelledByClient(c echo.Context, err error) bool {
	return c.Request().Context().Err() != nil && (errors.Is(err, context.Canceled) || c.Response().Committed)
}

// logFailure logs and counts a failure, unless the log line of the request says everything.
func (a *App) logFailure(c echo.Context, f failure, err error) {
	if errors.Is(err, authn.ErrAnonymous) {
		return
	}
	if is[*stepUpNeeded](err) {
		s := current(c)
		a.Log.InfoContext(c.Request().Context(), "a new sign-in demanded", "event", authn.EventStepUp, "session", s.LogID(), "person", s.PersonID(), "route", c.Path())
		return
	}
	if f.status != clientGone {
		a.Metrics.GetOrCreateCounter(requestsRefused(f.reason)).Inc()
	}
	attributes := []slog.Attr{slog.Any("event", event(c, err)), slog.String("reason", f.reason), slog.Int("status", f.status), slog.String("route", c.Path())}
	if e, ok := errors.AsType[*openid.Error](err); ok && e.Code != "" {
		attributes = append(attributes, slog.String("code", e.Code))
	}
	if e, ok := errors.AsType[*authn.SignInError](err); ok {
		attributes = append(attributes, slog.String("sign_in", e.ID))
	}
	if s := current(c); s != nil {
		attributes = append(attributes, slog.String("session", s.LogID()), slog.String("person", s.PersonID()))
	}
	if e, ok := errors.AsType[*authn.ProofError](err); ok && e.Session != "" {
		attributes = append(attributes, slog.String("session", e.Session), slog.String("person", e.Person))
	}
	if issuer := a.issuer(c); issuer != "" {
		attributes = append(attributes, slog.String("issuer", issuer))
	}
	attributes = append(attributes, slog.String("error", err.Error()))
	a.Log.LogAttrs(c.Request().Context(), f.level, "refused", attributes...)
}

// event returns which security event a failure is.
func event(c echo.Context, err error) authn.Event {
	refused, isToken := errors.AsType[*tokenError](err)
	signingIn := c.Path() == "/login" || isCallback(c.Path())
	switch {
	// A client asks for a nonce by sending a token without one.
	case is[*logoutRefused](err), isToken && refused.code != "" && refused.code != string(authn.ReasonNonceNeeded):
		return authn.EventTokenRefused
	case is[*authn.ProofError](err):
		return authn.EventProofRefused
	case is[*authn.SignInError](err), signingIn && is[*openid.Error](err):
		return authn.EventSignInFailed
	default:
		return authn.EventRefused
	}
}

// retryAfter sets the Retry-After header, if the failure has a time.
func (f failure) retryAfter(c echo.Context) {
	if f.after > 0 {
		c.Response().Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.after.Seconds()))))
	}
}

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
		shell := a.shell(c, f.heading)
		if shell.LoginURL != "" {
			shell.LoginURL = loginURL(authn.ReturnPath{}) // the address may hold what must not be in a page
		}
		return a.render(c, f.status, views.Failure(shell, a.failureProps(c, f, err)))
	}
}

// writeProblem answers with problem+json (RFC 9457), in the language that the client accepts: the
// texts are for the person, and a program without one asks for no language, which gets English.
func (a *App) writeProblem(c echo.Context, f failure) error {
	inLanguage(c)
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
	if e.resume == "" {
		return a.writePage(c, f, err)
	}
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
// reached, and it ignores its own headers on a 3xx. A form gets a page that moves on; see moveOn.
func (a *App) sendTo(c echo.Context, f failure, target string) error {
	r := c.Request()
	switch {
	case isHTMX(r):
		c.Response().Header().Set("HX-Redirect", target)
		return c.NoContent(http.StatusUnauthorized)
	case wantsJSON(r):
		return a.writeProblem(c, f)
	case !slices.Contains(reading, r.Method):
		return a.moveOn(c, f.status, views.MovingOnProps{Heading: f.heading, Text: f.text, URL: target})
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
	c.Response().Header()["Vary"] = pageVary()
	if s, err := a.Sessions.Load(r); err == nil && s != nil {
		setSession(c, s)
	}
}

func (a *App) failureProps(c echo.Context, f failure, err error) views.FailureProps {
	props := views.FailureProps{
		Status: f.status, Heading: f.heading, Text: f.text, Reference: RequestOf(c.Request().Context()).ID,
	}
	if action, ok := f.action(c, err); ok {
		props.Actions = append(props.Actions, action)
	}
	props.Actions = append(props.Actions, views.Action{Label: texts(c).Action.GoHome, URL: "/"})
	return props
}

// action returns the button that is most likely to help, or false if there is none.
func (f failure) action(c echo.Context, err error) (views.Action, bool) {
	r, t := c.Request(), texts(c)
	switch {
	case f.remedy == startOver, f.remedy == reload && is[*authn.SignInError](err):
		return views.Action{Label: t.Action.TryAgain, URL: startOverURL(r, err), Primary: true}, true
	case f.remedy == switchAccount:
		return views.Action{Label: t.Action.TryAgain, URL: switchURL(failedSignIn(r, err)), Primary: true}, true
	case f.remedy == signIn:
		return views.Action{Label: t.Action.SignIn, URL: loginURL(returnPath(r)), Primary: true}, true
	case f.remedy == reload && slices.Contains(reading, r.Method):
		return views.Action{Label: t.Action.TryAgain, URL: destination(returnPath(r)), Primary: true}, true
	default:
		return views.Action{}, false
	}
}

// startOverURL returns the address that starts the failed sign-in again, with its demands.
func startOverURL(r *http.Request, err error) string {
	page := failedSignIn(r, err)
	if openid.ReasonOf(err) == openid.ReasonStepUpFailed {
		return destination(page) // the page that demands the step-up
	}
	return loginURL(page)
}

// failedSignIn returns the page that a failed sign-in was for.
func failedSignIn(r *http.Request, err error) authn.ReturnPath {
	if e, ok := errors.AsType[*authn.SignInError](err); ok {
		return e.ReturnTo
	}
	return returnPath(r)
}

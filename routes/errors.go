package routes

import (
	"cmp"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
)

var (
	errWrongHost   = errors.New("routes: the request is for another host")
	errCrossOrigin = errors.New("routes: another site sent the request")
	errPanic       = errors.New("routes: a handler panicked")
	errNoCookies   = errors.New("routes: the browser keeps no cookies")
	errOtherIssuer = errors.New("routes: a sign-in was started for another provider")
	errOtherTarget = errors.New("routes: a sign-in was started for a page of another site")
	errNothingHeld = errors.New("routes: nothing waits to be gone on with")
)

// logoutRefused is a failed back-channel logout. It is answered as its standard says.
type logoutRefused struct{ err error }

func (e *logoutRefused) Error() string { return "routes: back-channel logout: " + e.err.Error() }
func (e *logoutRefused) Unwrap() error { return e.err }

// sessionEnded says that the session was ended that a request's cookie names, and why.
type sessionEnded struct{ because string }

func (e *sessionEnded) Error() string { return "routes: the session was ended: " + e.because }

// failure is what becomes of an error: what the person is told and what the operator
// is. The person's text names what happened and what to do; it quotes no error.
type failure struct {
	status int
	// reason is the failure's word in logs and metrics, where authn gives none.
	reason        string
	heading, text string
	// remedy is the first button of the page; the zero one is none.
	remedy remedy
	// after is when to come back, for the Retry-After header.
	after time.Duration
	// level is slog's: what is our fault, or needs an operator, is an error.
	level slog.Level
}

// remedy is what the first button of a failure's page does about it.
type remedy int

const (
	startOver remedy = iota + 1 // begins the sign-in anew that failed, with what was demanded of it
	signIn                      // replaces a session that is missing or has ended
	reload                      // asks for the page again, if it was only to be read
)

// clientGone is what proxies log where nobody waits for the answer any more.
const clientGone = 499

// handleError, which answers for observe and for Echo, is the one place where an error becomes
// a status, a page and a log line.
func (a *App) handleError(err error, c echo.Context) {
	f := a.describe(err)
	if c.Request().Context().Err() != nil {
		f.status = clientGone // and whatever failed may be only that
	}
	a.logFailure(c, f, err)
	if c.Response().Committed {
		return
	}
	if f.status == clientGone {
		c.Response().Status = clientGone
		return
	}
	if writeErr := a.writeFailure(c, f, err); writeErr != nil {
		a.Log.WarnContext(c.Request().Context(), "error page not written", "error", writeErr)
	}
}

// describe decides what an error means.
func (a *App) describe(err error) failure {
	if refused, ok := errors.AsType[*logoutRefused](err); ok {
		f := failure{reason: "logout_request_malformed", status: http.StatusBadRequest, level: slog.LevelWarn, heading: "Sign-out refused", text: string(authn.ReasonOf(refused))}
		if authn.ReasonOf(refused) == authn.ReasonStoreUnavailable {
			f.level = slog.LevelError // somebody who was to be signed out is not
		}
		return f
	}
	if e, ok := errors.AsType[*bearerError](err); ok {
		return describeBearer(e)
	}
	if e, ok := errors.AsType[*authn.Error](err); ok {
		return describeAuthn(e)
	}
	if e, ok := errors.AsType[*authn.TooSoonError](err); ok {
		return failure{
			reason: "too_soon", status: http.StatusTooManyRequests, level: slog.LevelInfo, after: e.Wait,
			heading: "Refreshed a moment ago",
			text:    "The sign-in service limits how often it can be asked. Try again in " + strconv.Itoa(int(math.Ceil(e.Wait.Seconds()))) + " seconds.",
		}
	}
	if e, ok := errors.AsType[*tooManyError](err); ok {
		return failure{
			reason: "rate_limited", status: http.StatusTooManyRequests, level: slog.LevelWarn, after: e.wait, remedy: reload,
			heading: "Too many sign-ins from your network",
			text:    "So many were begun in a short time that this one has to wait. Try again in a moment.",
		}
	}
	if _, ok := errors.AsType[*stepUpNeeded](err); ok {
		return failure{
			reason: "step_up_needed", status: http.StatusUnauthorized, level: slog.LevelInfo, heading: "Sign in again",
			text: "This asks for a sign-in that is more recent, or stronger, than yours.",
		}
	}
	if _, ok := errors.AsType[*claimNeeded](err); ok {
		return failure{
			reason: "claim_missing", status: http.StatusForbidden, level: slog.LevelInfo, heading: "This is not for your account",
			text: "You are signed in, but what the sign-in service says about you does not open this.",
		}
	}
	if e, ok := errors.AsType[*sessionEnded](err); ok {
		return failure{reason: "session_ended", status: http.StatusUnauthorized, level: slog.LevelInfo, heading: "You have been signed out", text: explanation(e.because)}
	}
	if e, ok := errors.AsType[*echo.HTTPError](err); ok {
		return describeStatus(e.Code)
	}
	return a.describeOwn(err)
}

// describeOwn says what this package's own errors mean.
func (a *App) describeOwn(err error) failure {
	for _, known := range []struct {
		err error
		failure
	}{
		{authn.ErrAnonymous, failure{
			reason: "sign_in_needed", status: http.StatusUnauthorized, level: slog.LevelInfo, remedy: signIn, heading: "Sign in first",
			text: "This is for people who are signed in. Sign in and try again.",
		}},
		{errWrongHost, failure{
			reason: "wrong_host", status: http.StatusMisdirectedRequest, level: slog.LevelWarn, heading: "This address is not served here",
			text: "This app answers at " + a.BaseURL.String() + ". If a proxy stands in front of it, it must pass the Host header on.",
		}},
		{errPanic, panicked()},
		{errNoCookies, failure{
			reason: "no_cookies", status: http.StatusBadRequest, level: slog.LevelWarn, remedy: startOver, heading: "Your browser keeps no cookies",
			text: "Signing in needs cookies of this site. Allow them, or leave the private window, and try again.",
		}},
		{errOtherIssuer, foreignLink()},
		{errOtherTarget, foreignLink()},
		{errCrossOrigin, failure{
			reason: "cross_origin", status: http.StatusForbidden, level: slog.LevelWarn, heading: "That came from another site",
			text: "The request was sent by a page of another site, so nothing was done. Go to the app's own page and do it there.",
		}},
		{authn.ErrTooManyWatchers, failure{
			reason: "too_many_streams", status: http.StatusTooManyRequests, level: slog.LevelInfo, after: time.Minute, heading: "Too many pages are open",
			text: "You have this app open so often that this page is not told when you are signed out elsewhere. Close some of the others.",
		}},
		{errNothingHeld, failure{
			reason: "nothing_held", status: http.StatusNotFound, level: slog.LevelInfo, heading: "Nothing is waiting here",
			text: "What you were about to do is no longer kept: it was too long ago, or somebody else has signed in since. Do it again.",
		}},
		{authn.ErrHeldTooLarge, failure{
			reason: "form_too_large", status: http.StatusForbidden, level: slog.LevelWarn, heading: "Sign in again first",
			text: "This needs a recent sign-in, and the form is too large to keep meanwhile. Sign out, sign in, and send it then.",
		}},
	} {
		if errors.Is(err, known.err) {
			return known.failure
		}
	}
	return describeStatus(http.StatusInternalServerError)
}

// word makes a reason of a status text.
func word(statusText string) string { return strings.ReplaceAll(strings.ToLower(statusText), " ", "_") }

func panicked() failure {
	f := describeStatus(http.StatusInternalServerError)
	f.reason = "panic"
	return f
}

func foreignLink() failure {
	return failure{
		reason: "foreign_link", status: http.StatusBadRequest, level: slog.LevelWarn, remedy: startOver, heading: "That link does not lead here",
		text: "The site that sent you here named another sign-in service, or a page that is not this app's. Nothing was done.",
	}
}

// describeBearer says why an API refuses a request. What exactly is wrong with a token is
// in the log.
func describeBearer(e *bearerError) failure {
	f := failure{reason: cmp.Or(e.code, "no_credentials"), status: e.status, level: slog.LevelInfo}
	switch e.code {
	case "":
		f.heading, f.text = "Sign in first", "This needs an access token in the Authorization header, or a session."
	case "invalid_token":
		f.heading, f.text = "The access token is not accepted", "It is malformed, expired or not for this API. Ask the sign-in service for another."
	case "insufficient_scope":
		f.heading, f.text = "The access token does not allow this", "It lacks the scope "+e.scope+"."
	default:
		f.heading, f.text = "That was not understood", "Send one access token, as: Authorization: Bearer TOKEN. It belongs into no other place."
	}
	return f
}

// describeStatus covers what the router and the server refuse.
func describeStatus(status int) failure {
	f := failure{reason: word(http.StatusText(status)), status: status, level: slog.LevelInfo}
	switch status {
	case http.StatusNotFound:
		f.heading, f.text = "There is no such page", "The address may be misspelt, or the page may have moved."
	case http.StatusMethodNotAllowed:
		f.heading, f.text = "That does not work here", "This address exists, but not for this kind of request. Go to the home page and begin there."
	case http.StatusRequestEntityTooLarge:
		f.heading, f.text = "That was too much", "The request is larger than anything that this app takes. Go back and send less."
	case http.StatusRequestURITooLong:
		f.heading, f.text = "That address is too long", "It is longer than any address of this app. Go back and try again."
	case http.StatusUnsupportedMediaType:
		f.heading, f.text = "That was not a form", "This address takes forms of this app's own pages only. Go back and send the form again."
	case http.StatusBadRequest:
		f.heading, f.text = "That was not understood", "The request is malformed. Go back and try again."
	default:
		if status >= 400 && status < 500 {
			f.heading, f.text = http.StatusText(status), "The request was refused. Go back and try again."
			return f
		}
		f.status, f.level, f.reason, f.remedy = http.StatusInternalServerError, slog.LevelError, "internal_error", reload
		f.heading, f.text = "Something went wrong on our side", "It has been logged under the reference below. Try again in a moment."
	}
	return f
}

// describeAuthn says each reason of authn's in a person's words.
func describeAuthn(e *authn.Error) failure {
	bad := func(heading, text string) failure {
		return failure{status: http.StatusBadRequest, level: slog.LevelWarn, heading: heading, text: text, remedy: startOver}
	}
	switch e.Reason {
	case authn.ReasonResponseMalformed:
		return bad("That sign-in could not be read", "The answer of the sign-in service arrived damaged. Nothing was done; try again.")
	case authn.ReasonTransactionMissing:
		return bad("This sign-in was not started here", "It was begun in another browser, or its cookie is gone: a bookmark, a private window or blocked cookies do that. Try again.")
	case authn.ReasonTransactionExpired:
		return bad("That took too long", "A sign-in must be finished within 15 minutes. Try again.")
	case authn.ReasonTransactionUsed:
		return bad("This sign-in was used already", "Each sign-in works once. If you are not signed in, try again.")
	case authn.ReasonConfigurationChanged:
		return bad("The sign-in service has changed", "The app was set up anew while you were signing in. Try again.")
	case authn.ReasonNotNavigation:
		return failure{status: http.StatusBadRequest, level: slog.LevelInfo, heading: "Signing in needs a page of its own", text: "A sign-in starts when you open it yourself, not as a part of another page.", remedy: startOver}
	case authn.ReasonDeclined:
		return describeDeclined(e.Code)
	case authn.ReasonStepUpFailed:
		return failure{status: http.StatusForbidden, level: slog.LevelWarn, heading: "That sign-in was not enough", text: "What you were doing asks for a sign-in that is recent, or of a certain kind, and the sign-in service did not say that yours was. Nothing was done, and you are signed in as before.", remedy: startOver}
	case authn.ReasonSessionEnded:
		return failure{status: http.StatusUnauthorized, level: slog.LevelInfo, heading: "You have been signed out", text: "The session was ended in the meantime. Sign in again to go on.", remedy: signIn}
	case authn.ReasonTooLarge:
		return failure{status: http.StatusBadGateway, level: slog.LevelError, heading: "Your profile is too large", text: "The sign-in service sent more about you than this app takes. Tell this app's operator the reference below; a shorter list of groups or roles would help.", remedy: startOver}
	case authn.ReasonRefreshRefused:
		return failure{status: http.StatusConflict, level: slog.LevelInfo, heading: "The profile cannot be refreshed", text: "The sign-in service only answers after a new sign-in. Sign in again for the newest data.", remedy: signIn}
	default:
		reason := e.Reason
		if reason == authn.ReasonTokenRequestFailed && (e.Code == "invalid_client" || e.Code == "unauthorized_client") {
			// The client's secret has been replaced, or the client switched off.
			reason = authn.ReasonProviderMisconfigured
		}
		f := describeProvider(reason)
		if e.RetryAfter > 0 {
			f.after = e.RetryAfter
		}
		return f
	}
}

package routes

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
)

// The errors of this package that say no more than that they occurred.
var (
	errWrongHost      = errors.New("routes: the request is for another host")
	errCrossOrigin    = errors.New("routes: another site sent the request")
	errPanic          = errors.New("routes: a handler panicked")
	errNoCookies      = errors.New("routes: the browser keeps no cookies")
	errOtherIssuer    = errors.New("routes: a sign-in was started for another provider")
	errOtherTarget    = errors.New("routes: a sign-in was started for a page of another site")
	errNoSavedRequest = errors.New("routes: no request is saved under this id")
)

// failure is what becomes of an error: what the person is told and what the operator is. The
// person's text says what happened and what to do; it quotes no error.
type failure struct {
	status int
	// level is the log's: an error is our fault, or needs an operator.
	level         slog.Level
	heading, text string
	// remedy is the first button of the page, if there is one.
	remedy remedy
	// after is when to come back, for the Retry-After header.
	after time.Duration
	// write writes the answer; nil writes a page, a fragment or problem+json.
	write func(*App, echo.Context, failure, error) error
	// reason is the failure's word in logs and metrics.
	reason string
}

// remedy is what the first button of a failure's page does about it.
type remedy int

const (
	startOver remedy = iota + 1 // starts the failed sign-in again, with its demands
	signIn                      // replaces a session that is missing or has ended
	reload                      // asks for the page again, if that only reads
)

// clientGone is the status that proxies log for a client that no longer waits for the answer.
const clientGone = 499

// failures says what becomes of each error, by its reason.
var failures = map[string]failure{
	// The sign-in.
	"response_malformed":    {status: 400, level: slog.LevelWarn, remedy: startOver, heading: "That sign-in could not be read", text: "The answer of the sign-in service arrived damaged. Nothing was done; try again."},
	"transaction_missing":   {status: 400, level: slog.LevelWarn, remedy: startOver, heading: "This sign-in was not started here", text: "It was begun in another browser, or its cookie is gone: a bookmark, a private window or blocked cookies do that. Try again."},
	"transaction_expired":   {status: 400, level: slog.LevelWarn, remedy: startOver, heading: "That took too long", text: "A sign-in must be finished within 15 minutes. Try again."},
	"transaction_used":      {status: 400, level: slog.LevelWarn, remedy: startOver, heading: "This sign-in was used already", text: "Each sign-in works once. If you are not signed in, try again."},
	"configuration_changed": {status: 400, level: slog.LevelWarn, remedy: startOver, heading: "The sign-in service has changed", text: "The app was set up anew while you were signing in. Try again."},
	"not_a_navigation":      {status: 400, level: slog.LevelInfo, remedy: startOver, heading: "Signing in needs a page of its own", text: "A sign-in starts when you open it yourself, not as a part of another page.", write: (*App).writeNotNavigation},
	"no_cookies":            {status: 400, level: slog.LevelWarn, remedy: startOver, heading: "Your browser keeps no cookies", text: "Signing in needs cookies of this site. Allow them, or leave the private window, and try again."},
	"foreign_link":          {status: 400, level: slog.LevelWarn, remedy: startOver, heading: "That link does not lead here", text: "The site that sent you here named another sign-in service, or a page that is not this app's. Nothing was done."},
	"rate_limited":          {status: 429, level: slog.LevelWarn, remedy: reload, heading: "Too many sign-ins from your network", text: "So many were begun in a short time that this one has to wait. Try again in a moment."},
	"step_up_failed":        {status: 403, level: slog.LevelWarn, remedy: startOver, heading: "That sign-in was not enough", text: "What you were doing asks for a sign-in that is recent, or of a certain kind, and the sign-in service did not say that yours was. Nothing was done, and you are signed in as before."},
	"userinfo_required":     {status: 502, level: slog.LevelWarn, remedy: startOver, heading: "Your profile did not arrive", text: "The sign-in service confirmed who you are and then gave no profile, which this app needs. You are not signed in; try again in a moment."},
	"claims_too_large":      {status: 502, level: slog.LevelError, remedy: startOver, heading: "Your profile is too large", text: "The sign-in service sent more about you than this app takes. Tell this app's operator the reference below; a shorter list of groups or roles would help."},
	// Whatever was wrong with a token or a response, the person can do nothing about it,
	// and an attacker must learn nothing from it.
	"issuer_mismatch":           unverified,
	"token_request_failed":      unverified,
	"token_response_invalid":    unverified,
	"id_token_invalid":          unverified,
	"userinfo_subject_mismatch": unverified,
	"logout_token_invalid":      unverified,
	"access_token_invalid":      unverified,

	// The provider: it declined, in most cases with a code that declined knows, or it cannot be used.
	"provider_declined":      {status: 502, level: slog.LevelError, remedy: startOver, heading: "The sign-in service refused", text: "It did not accept this app's request. Tell this app's operator the reference below: the cause is in the log."},
	"provider_unreachable":   {status: 503, level: slog.LevelWarn, remedy: startOver, after: 10 * time.Second, heading: "The sign-in service cannot be reached", text: "It does not answer at the moment. Wait a little and try again."},
	"provider_misconfigured": {status: 503, level: slog.LevelError, remedy: startOver, heading: "Signing in is not set up right", text: "The sign-in service and this app do not fit together. Tell this app's operator the reference below: the cause is in the log."},

	// The profile.
	"userinfo_failed": notRefreshed,
	"refresh_failed":  notRefreshed,
	"refresh_refused": {status: 409, level: slog.LevelInfo, remedy: signIn, heading: "The profile cannot be refreshed", text: "The sign-in service only answers after a new sign-in. Sign in again for the newest data."},
	"too_soon":        {status: 429, level: slog.LevelInfo, heading: "Refreshed a moment ago", text: "The sign-in service limits how often it can be asked. Try again in %d seconds."},

	// The session.
	"sign_in_needed":    {status: 401, level: slog.LevelInfo, remedy: signIn, heading: "Sign in first", text: "This is for people who are signed in. Sign in and try again.", write: (*App).writeSignInNeeded},
	"session_ended":     {status: 401, level: slog.LevelInfo, remedy: signIn, heading: "You have been signed out", text: "The session was ended in the meantime. Sign in again to go on."},
	"store_unavailable": {status: 503, level: slog.LevelError, remedy: reload, after: 5 * time.Second, heading: "This app cannot look up sessions just now", text: "You are not signed out. Wait a little and try again."},
	"step_up_needed":    {status: 401, level: slog.LevelInfo, heading: "Sign in again", text: "This asks for a sign-in that is more recent, or stronger, than yours.", write: (*App).writeStepUpNeeded},
	"nothing_held":      {status: 404, level: slog.LevelInfo, heading: "Nothing is waiting here", text: "What you were about to do is no longer kept: it was too long ago, or somebody else has signed in since. Do it again."},
	"form_too_large":    {status: 403, level: slog.LevelWarn, heading: "Sign in again first", text: "This needs a recent sign-in, and the form is too large to keep meanwhile. Sign out, sign in, and send it then."},
	"claim_missing":     {status: 403, level: slog.LevelInfo, heading: "This is not for your account", text: "You are signed in, but what the sign-in service says about you does not open this.", write: (*App).writeForbidden},
	"too_many_streams":  {status: 429, level: slog.LevelInfo, after: time.Minute, heading: "Too many pages are open", text: "You have this app open so often that this page is not told when you are signed out elsewhere. Close some of the others."},

	// The API (RFC 6750 section 3.1). What exactly is wrong with a token is in the log.
	"no_credentials":     {status: 401, level: slog.LevelInfo, heading: "Sign in first", text: "This needs an access token in the Authorization header, or a session."},
	"invalid_token":      {status: 401, level: slog.LevelInfo, heading: "The access token is not accepted", text: "It is malformed, expired or not for this API. Ask the sign-in service for another."},
	"insufficient_scope": {status: 403, level: slog.LevelInfo, heading: "The access token does not allow this", text: "It lacks the scope %s."},
	"invalid_request":    {status: 400, level: slog.LevelInfo, heading: "That was not understood", text: "Send one access token, as: Authorization: Bearer TOKEN. It belongs into no other place."},

	// Back-channel logout.
	"logout_request_malformed": {status: 400, level: slog.LevelWarn, heading: "Sign-out refused", text: "There must be one logout token."},

	// The request.
	"wrong_host":               {status: 421, level: slog.LevelWarn, heading: "This address is not served here", text: "This app answers at %s. If a proxy stands in front of it, it must pass the Host header on."},
	"cross_origin":             {status: 403, level: slog.LevelWarn, heading: "That came from another site", text: "The request was sent by a page of another site, so nothing was done. Go to the app's own page and do it there."},
	"not_found":                {status: 404, level: slog.LevelInfo, heading: "There is no such page", text: "The address may be misspelt, or the page may have moved."},
	"method_not_allowed":       {status: 405, level: slog.LevelInfo, heading: "That does not work here", text: "This address exists, but not for this kind of request. Go to the home page and begin there."},
	"request_entity_too_large": {status: 413, level: slog.LevelInfo, heading: "That was too much", text: "The request is larger than anything that this app takes. Go back and send less."},
	"request_uri_too_long":     {status: 414, level: slog.LevelInfo, heading: "That address is too long", text: "It is longer than any address of this app. Go back and try again."},
	"unsupported_media_type":   {status: 415, level: slog.LevelInfo, heading: "That was not a form", text: "This address takes forms of this app's own pages only. Go back and send the form again."},
	"bad_request":              {status: 400, level: slog.LevelInfo, heading: "That was not understood", text: "The request is malformed. Go back and try again."},

	// This app.
	"internal_error": ourFault,
	"panic":          ourFault,
}

// declined says what becomes of the provider's error codes (RFC 6749 section 4.1.2.1, OpenID
// Connect Core 1.0 section 3.1.2.6).
var declined = map[string]failure{
	"access_denied":              {status: 403, level: slog.LevelInfo, remedy: startOver, heading: "You were not signed in", text: "The sign-in was cancelled or not allowed. You can try again, with another account if you have one."},
	"login_required":             needsPerson,
	"interaction_required":       needsPerson,
	"account_selection_required": needsPerson,
	"consent_required":           needsPerson,
	"temporarily_unavailable":    providerTrouble,
	"server_error":               providerTrouble,
}

// The failures of several reasons.
var (
	unverified      = failure{status: 502, level: slog.LevelError, remedy: startOver, heading: "The sign-in could not be verified", text: "The sign-in service's answer did not pass our checks, so you were not signed in. Try again; if it happens again, tell this app's operator the reference below."}
	needsPerson     = failure{status: 400, level: slog.LevelInfo, remedy: startOver, heading: "The sign-in service needs you", text: "It could not sign you in without asking something. Try again."}
	providerTrouble = failure{status: 503, level: slog.LevelWarn, remedy: startOver, after: 10 * time.Second, heading: "The sign-in service has a problem", text: "It answered that it cannot sign anybody in right now. Wait a little and try again."}
	notRefreshed    = failure{status: 502, level: slog.LevelWarn, remedy: startOver, heading: "The profile could not be refreshed", text: "The sign-in service did not give an answer. What you see is what was known before."}
	ourFault        = failure{status: 500, level: slog.LevelError, remedy: reload, heading: "Something went wrong on our side", text: "It has been logged under the reference below. Try again in a moment."}
)

// reasonOf returns the reason of an error, in logs and metrics.
func reasonOf(err error) string {
	if reason := openid.ReasonOf(err); reason != "" {
		return string(reason)
	}
	if e, ok := errors.AsType[*bearerError](err); ok {
		return e.reason()
	}
	if e, ok := errors.AsType[*echo.HTTPError](err); ok {
		return statusReason(e.Code)
	}
	for _, known := range []struct {
		is     bool
		reason string
	}{
		{is[*authn.TooSoonError](err), "too_soon"}, {is[*tooManyError](err), "rate_limited"}, {is[*stepUpNeeded](err), "step_up_needed"},
		{is[*claimNeeded](err), "claim_missing"}, {is[*sessionEnded](err), "session_ended"}, {is[*logoutRefused](err), "logout_request_malformed"},
		{errors.Is(err, authn.ErrAnonymous), "sign_in_needed"}, {errors.Is(err, authn.ErrTooManyWatchers), "too_many_streams"},
		{errors.Is(err, authn.ErrRequestTooLarge), "form_too_large"}, {errors.Is(err, errNoSavedRequest), "nothing_held"},
		{errors.Is(err, errWrongHost), "wrong_host"}, {errors.Is(err, errCrossOrigin), "cross_origin"}, {errors.Is(err, errPanic), "panic"},
		{errors.Is(err, errNoCookies), "no_cookies"}, {errors.Is(err, errOtherIssuer) || errors.Is(err, errOtherTarget), "foreign_link"},
	} {
		if known.is {
			return known.reason
		}
	}
	return "internal_error"
}

// is reports whether an error of a type is in err's chain.
func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// statusReason returns the reason of a status that the router or the server chose: its text as
// one word.
func statusReason(status int) string {
	if status < 400 || status > 499 {
		return "internal_error"
	}
	return strings.ReplaceAll(strings.ToLower(http.StatusText(status)), " ", "_")
}

// describe returns what becomes of an error.
func (a *App) describe(err error) failure {
	reason := reasonOf(err)
	f, ok := lookup(reason, err)
	if !ok { // a status that has no row
		status := http.StatusInternalServerError
		if e, ok := errors.AsType[*echo.HTTPError](err); ok {
			status = e.Code
		}
		f = failure{status: status, level: slog.LevelInfo, heading: http.StatusText(status), text: "The request was refused. Go back and try again."}
	}
	f.reason = reason
	if e, ok := errors.AsType[*openid.Error](err); ok && e.RetryAfter > 0 && !is[*logoutRefused](err) {
		f.after = e.RetryAfter
	}
	if e, ok := errors.AsType[*authn.TooSoonError](err); ok {
		f.after, f.text = e.Wait, fmt.Sprintf(f.text, int(math.Ceil(e.Wait.Seconds())))
	}
	if e, ok := errors.AsType[*tooManyError](err); ok {
		f.after = e.wait
	}
	if e, ok := errors.AsType[*bearerError](err); ok && e.scope != "" {
		f.text = fmt.Sprintf(f.text, e.scope)
	}
	if e, ok := errors.AsType[*sessionEnded](err); ok {
		f.text, f.remedy, f.write = explanation(e.because), 0, (*App).writeSessionEnded
	}
	if errors.Is(err, errWrongHost) {
		f.text = fmt.Sprintf(f.text, a.BaseURL)
	}
	if is[*logoutRefused](err) && reason == string(authn.ReasonStoreUnavailable) {
		f.level = slog.LevelError // the person stays signed in
	}
	return f
}

// lookup returns the row for an error with a reason.
func lookup(reason string, err error) (f failure, ok bool) {
	e, _ := errors.AsType[*openid.Error](err)
	bearer, isBearer := errors.AsType[*bearerError](err)
	switch {
	case is[*logoutRefused](err):
		reason = "logout_request_malformed"
	case isBearer:
		reason = bearer.reason()
	case e != nil && e.Reason == openid.ReasonTokenRequestFailed && (e.Code == "invalid_client" || e.Code == "unauthorized_client"):
		// The client's secret was replaced, or the client was switched off.
		reason = string(openid.ReasonProviderMisconfigured)
	case e != nil && e.Reason == openid.ReasonDeclined:
		if f, ok = declined[e.Code]; ok {
			return f, true
		}
	}
	f, ok = failures[reason]
	return f, ok
}

// handleError is the one place where an error becomes a status, a page and a log line. observe
// and Echo call it.
func (a *App) handleError(err error, c echo.Context) {
	f := a.describe(err)
	if c.Request().Context().Err() != nil {
		f.status = clientGone // and perhaps that is all that failed
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

// logFailure logs and counts an error, unless the request's own line says everything.
func (a *App) logFailure(c echo.Context, f failure, err error) {
	if is[*stepUpNeeded](err) || errors.Is(err, authn.ErrAnonymous) {
		return
	}
	if f.status == clientGone {
		f.level = slog.LevelDebug
	} else {
		a.Metrics.GetOrCreateCounter(requestsRefused(f.reason)).Inc()
	}
	attributes := []slog.Attr{slog.String("reason", f.reason), slog.Int("status", f.status), slog.String("route", c.Path())}
	if e, ok := errors.AsType[*openid.Error](err); ok && e.Code != "" {
		attributes = append(attributes, slog.String("code", e.Code))
	}
	if e, ok := errors.AsType[*authn.SignInError](err); ok {
		attributes = append(attributes, slog.String("sign_in", e.ID))
	}
	if s := current(c); s != nil {
		attributes = append(attributes, slog.String("session", s.LogID()))
	}
	attributes = append(attributes, slog.String("issuer", a.Provider.Issuer()), slog.String("error", err.Error()))
	a.Log.LogAttrs(c.Request().Context(), f.level, "refused", attributes...)
}

// retryAfter says when to come back, if that is known.
func (f failure) retryAfter(c echo.Context) {
	if f.after > 0 {
		c.Response().Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.after.Seconds()))))
	}
}

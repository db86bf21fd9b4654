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
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/views"
)

// These errors carry no details.
var (
	errWrongHost      = errors.New("routes: the request is for another host")
	errCrossOrigin    = errors.New("routes: another site sent the request")
	errPanic          = errors.New("routes: a handler panicked")
	errNoCookies      = errors.New("routes: the browser did not return our cookie")
	errOtherIssuer    = errors.New("routes: a sign-in was started for another provider")
	errOtherTarget    = errors.New("routes: a sign-in was started for a page of another site")
	errNoSavedRequest = errors.New("routes: no request is saved under this id")
)

// failure is how an error is answered and logged. Its text for the person says what happened and what
// to do, and never quotes the error.
type failure struct {
	status int
	// level is the level of the log line. LevelError means that the fault is ours, or that an
	// operator has to act.
	level         slog.Level
	heading, text string
	// remedy is what the first button of the page does; 0 shows no button.
	remedy remedy
	// after is the value of the Retry-After header; 0 sends none.
	after time.Duration
	// write writes the response; nil means writePage.
	write func(*App, echo.Context, failure, error) error
	// reason names the failure in logs and metrics.
	reason string
}

// remedy is what the first button of a failure page does.
type remedy int

const (
	startOver     remedy = iota + 1 // starts the failed sign-in again, with its demands
	switchAccount                   // starts it again, and lets the person choose another account
	signIn                          // starts a sign-in, because the session is missing or has ended
	reload                          // requests the page again, if the method was GET or HEAD
)

// clientGone is the status, known from nginx, of a request that failed because the client cancelled
// it. A client that still reads gets it, too.
const clientGone = 499

// failures has the failure for each reason.
var failures = map[string]failure{
	// The sign-in.
	"response_malformed":    {status: 400, level: slog.LevelWarn, remedy: startOver, heading: "The sign-in could not be read", text: "The sign-in service's response was damaged. Nothing has changed. Try again."},
	"transaction_missing":   {status: 400, level: slog.LevelWarn, remedy: startOver, heading: "This sign-in was not started here", text: "It was started in another browser, or its cookie is gone. A bookmark, a private window or blocked cookies can cause this. Try again."},
	"transaction_expired":   {status: 400, level: slog.LevelWarn, remedy: startOver, heading: "This sign-in expired", text: "A sign-in has to be finished within 15 minutes. Try again."},
	"transaction_used":      {status: 400, level: slog.LevelWarn, remedy: startOver, heading: "This sign-in was already used", text: "Each sign-in works only once. If you are not signed in, try again."},
	"configuration_changed": {status: 400, level: slog.LevelWarn, remedy: startOver, heading: "The sign-in service has changed", text: "This app was reconfigured while you were signing in. Try again."},
	"not_a_navigation":      {status: 400, level: slog.LevelInfo, remedy: startOver, heading: "Sign-in needs its own page", text: "You can't sign in inside another page. Use the button below to sign in on a page of its own.", write: (*App).writeNotNavigation},
	"no_cookies":            {status: 400, level: slog.LevelWarn, remedy: startOver, heading: "Cookies are blocked", text: "You need cookies to sign in. Allow them for this site, or leave private browsing, and try again."},
	"foreign_link":          {status: 400, level: slog.LevelWarn, remedy: startOver, heading: "This link isn't valid here", text: "It names another sign-in service, or a page outside this app. Nothing has changed. To sign in without the link, try again."},
	"rate_limited":          {status: 429, level: slog.LevelWarn, remedy: reload, heading: "Too many sign-ins from your network", text: "Wait a moment and try again."},
	"person_rate_limited":   {status: 429, level: slog.LevelWarn, remedy: startOver, heading: "Too many sign-ins", text: "You have signed in very often in the last hour. Wait a minute and try again."},
	"too_many_sign_ins":     {status: 503, level: slog.LevelWarn, remedy: startOver, after: time.Second, heading: "Too many sign-ins at once", text: "Many people are signing in at the moment. Nothing has changed. Wait a moment and try again."},
	"step_up_failed":        {status: 403, level: slog.LevelWarn, remedy: startOver, heading: "That sign-in was not enough", text: "This needs a more recent or stronger sign-in, and the sign-in service did not confirm one. Nothing has changed, and you are still signed in. Try again."},
	"userinfo_required":     {status: 502, level: slog.LevelWarn, remedy: startOver, heading: "Your profile did not arrive", text: "The sign-in service confirmed who you are, but did not send your profile, which this app needs. You are not signed in. Try again in a moment."},
	"claims_too_large":      {status: 502, level: slog.LevelError, remedy: startOver, heading: "Your profile is too large", text: "The sign-in service sent more data about you than this app accepts. Ask this app's operator for help, and give them the reference below. Fewer groups or roles may solve it."},
	// The person cannot fix a bad token or response, and an attacker must not learn what was
	// wrong with it.
	"issuer_mismatch":           unverified,
	"token_request_failed":      unverified,
	"token_response_invalid":    unverified,
	"id_token_invalid":          unverified,
	"userinfo_subject_mismatch": unverified,
	"logout_token_invalid":      unverified,
	"access_token_invalid":      unverified,

	// What is built on this app refused the person, with texts of its own, or failed.
	"product_refused":     {status: 403, level: slog.LevelInfo, remedy: switchAccount},
	"sign_in_hook_failed": {status: 503, level: slog.LevelError, remedy: startOver, after: 10 * time.Second, heading: "Your sign-in could not be finished", text: "The sign-in service confirmed who you are, but this app has a problem at the moment. Wait a moment and try again. If that does not help, ask this app's operator, and give them the reference below."},

	// The provider declined with a code that is not in declined, or cannot be used.
	"provider_declined":      {status: 403, level: slog.LevelWarn, remedy: switchAccount, heading: "You were not signed in", text: "The sign-in service refused. Try again, or use another account. If that does not help, ask this app's operator, and give them the reference below."},
	"provider_unreachable":   {status: 503, level: slog.LevelWarn, remedy: startOver, after: 10 * time.Second, heading: "The sign-in service cannot be reached", text: "It is not responding at the moment. Wait a moment and try again."},
	"provider_misconfigured": {status: 503, level: slog.LevelError, remedy: startOver, heading: "Sign-in isn't configured correctly", text: "The settings of this app and of the sign-in service do not match. Ask this app's operator for help, and give them the reference below."},

	// The profile.
	"userinfo_failed": notRefreshed,
	"refresh_failed":  notRefreshed,
	"refresh_refused": {status: 409, level: slog.LevelInfo, remedy: signIn, heading: "The profile cannot be refreshed", text: "The sign-in service needs you to sign in first. Sign in again to see the latest data."},
	"too_soon":        {status: 429, level: slog.LevelInfo, heading: "You refreshed a moment ago", text: "The sign-in service limits how often you can do this. Try again in %s."},

	// The session.
	"sign_in_needed":    {status: 401, level: slog.LevelInfo, remedy: signIn, heading: "Sign in first", text: "You have to be signed in for this. Sign in and try again.", write: (*App).writeSignInNeeded},
	"session_ended":     {status: 401, level: slog.LevelInfo, remedy: signIn, heading: "You have been signed out", text: "Your session has ended. Sign in again to continue."},
	"store_unavailable": {status: 503, level: slog.LevelError, remedy: reload, after: 5 * time.Second, heading: "We can't check your session right now", text: "You have not been signed out. Wait a moment and try again."},
	"step_up_needed":    {status: 401, level: slog.LevelInfo, heading: "Sign in again", text: "This needs a more recent or stronger sign-in. Nothing has been done.", write: (*App).writeStepUpNeeded},
	"nothing_held":      {status: 404, level: slog.LevelInfo, heading: "There is nothing to continue", text: "The action is no longer saved: it was continued already or too long ago, or another person has signed in since. If it has not been done, start it again."},
	"form_too_large":    {status: 403, level: slog.LevelWarn, heading: "Sign in again first", text: "This needs a recent sign-in, and the form is too large to keep while you sign in. Sign out, sign in again, and then send the form."},
	"claim_missing":     {status: 403, level: slog.LevelInfo, heading: "You don't have access", text: "This page needs %s.", write: (*App).writeForbidden},
	"too_many_streams":  {status: 429, level: slog.LevelInfo, after: time.Minute, heading: "Too many pages are open", text: "This page can't notice when you are signed out elsewhere. Close some of this app's other pages."},

	// A proxied API. The log says what it did.
	"api_token_refused":       {status: 502, level: slog.LevelError, heading: "This isn't set up correctly", text: "The sign-in service does not give this app access to it. Ask this app's operator for help, and give them the reference below."},
	"upstream_unreachable":    {status: 502, level: slog.LevelWarn, after: 5 * time.Second, heading: "A part of this app is not responding", text: "You are still signed in. It may or may not have done what you asked. Wait a moment, check, and try again."},
	"upstream_timeout":        {status: 504, level: slog.LevelWarn, after: 5 * time.Second, heading: "A part of this app is too slow", text: "You are still signed in. It may or may not have done what you asked. Wait a moment, check, and try again."},
	"upstream_answer_refused": {status: 502, level: slog.LevelError, heading: "A part of this app sent a wrong answer", text: "You are still signed in. Ask this app's operator for help, and give them the reference below."},
	"upstream_token_refused":  {status: 502, level: slog.LevelError, heading: "A part of this app refused", text: "You are still signed in, but it does not accept that. Ask this app's operator for help, and give them the reference below."},
	"upstream_token_renewed":  {status: 503, level: slog.LevelInfo, after: time.Second, heading: "Send that again", text: "Nothing has been done. You are still signed in, and it will work now."},
	"not_data":                {status: 403, level: slog.LevelWarn, heading: "That is not a part of a page", text: "This address answers scripts. It has no pages, pictures or frames."},

	// The API (RFC 6750 section 3.1). The log has the exact fault of a token.
	"no_credentials":     {status: 401, level: slog.LevelInfo, heading: "Sign in first", text: "Send an access token in the Authorization header, or sign in."},
	"invalid_token":      {status: 401, level: slog.LevelInfo, heading: "The access token was refused", text: "It is malformed, expired or not for this API. Get a new one from the sign-in service."},
	"insufficient_scope": {status: 403, level: slog.LevelInfo, heading: "The access token does not allow this", text: "This needs the scope %s."},
	"invalid_request":    {status: 400, level: slog.LevelInfo, heading: "The request is malformed", text: "Send exactly one access token, and only in the header: Authorization: Bearer TOKEN."},

	// Back-channel logout.
	"logout_request_malformed": {status: 400, level: slog.LevelWarn, heading: "Sign-out refused", text: "Send exactly one logout token."},

	// The request.
	"wrong_host":               {status: 421, level: slog.LevelWarn, heading: "This address is not served here", text: "Go to %s instead. If this app is behind a proxy, the proxy has to pass on the Host header."},
	"cross_origin":             {status: 403, level: slog.LevelWarn, heading: "That request came from another site", text: "A page of another site sent it, so nothing has changed. Go to this app's own page and try again there."},
	"not_found":                {status: 404, level: slog.LevelInfo, heading: "Page not found", text: "Check the address, or go to the home page."},
	"method_not_allowed":       {status: 405, level: slog.LevelInfo, heading: "That does not work here", text: "This address does not accept this kind of request. Go to the home page and start there."},
	"request_entity_too_large": {status: 413, level: slog.LevelInfo, heading: "The request is too large", text: "This app does not accept that much data. Go back and send less."},
	"request_uri_too_long":     {status: 414, level: slog.LevelInfo, heading: "That address is too long", text: "No page of this app has such a long address. Go back and try again."},
	"unsupported_media_type":   {status: 415, level: slog.LevelInfo, heading: "That was not a form", text: "This address only accepts forms from this app's own pages. Go back and send the form again."},
	"bad_request":              {status: 400, level: slog.LevelInfo, heading: "The request is malformed", text: "Go back and try again."},

	// This app.
	"internal_error": ourFault,
	"panic":          ourFault,
}

// declined has the failures for the provider's error codes.
var declined = map[string]failure{
	"access_denied": notAllowed,
	"unauthorized":  notAllowed, // Auth0: the account is blocked
	// OpenID Connect Core 1.0 section 3.1.2.6.
	"login_required":             needsPerson,
	"interaction_required":       needsPerson,
	"account_selection_required": needsPerson,
	"consent_required":           needsPerson,
	// RFC 6749 section 4.1.2.1. The faults of a request also come from RFC 6749 section 5.2, OpenID
	// Connect Core 1.0 section 3.1.2.6, RFC 8707 section 2 and RFC 9396 section 5.
	"temporarily_unavailable":       providerTrouble,
	"server_error":                  providerTrouble,
	"invalid_request":               requestRefused,
	"unauthorized_client":           requestRefused,
	"unsupported_response_type":     requestRefused,
	"invalid_scope":                 requestRefused,
	"invalid_client":                requestRefused,
	"invalid_grant":                 requestRefused,
	"invalid_request_uri":           requestRefused,
	"invalid_request_object":        requestRefused,
	"request_not_supported":         requestRefused,
	"request_uri_not_supported":     requestRefused,
	"registration_not_supported":    requestRefused,
	"invalid_target":                requestRefused,
	"invalid_authorization_details": requestRefused,
	"invalid_resource":              requestRefused, // Microsoft Entra ID
}

// These failures are shared by several reasons.
var (
	unverified      = failure{status: 502, level: slog.LevelError, remedy: startOver, heading: "The sign-in could not be verified", text: "The sign-in service's response did not pass our checks, so you were not signed in. Try again. If that does not help, ask this app's operator, and give them the reference below."}
	notAllowed      = failure{status: 403, level: slog.LevelInfo, remedy: switchAccount, heading: "You were not signed in", text: "The sign-in was cancelled or not allowed. You can try again, or use another account."}
	cancelled       = failure{status: 403, level: slog.LevelInfo, remedy: switchAccount, heading: "You were not signed in", text: "You cancelled the sign-in. You can try again, or use another account."}
	requestRefused  = failure{status: 502, level: slog.LevelError, remedy: startOver, heading: "The sign-in service refused", text: "It did not accept this app's request. Ask this app's operator for help, and give them the reference below."}
	needsPerson     = failure{status: 400, level: slog.LevelInfo, remedy: startOver, heading: "The sign-in service needs your input", text: "It could not sign you in without asking you something. Try again."}
	providerTrouble = failure{status: 503, level: slog.LevelWarn, remedy: startOver, after: 10 * time.Second, heading: "The sign-in service has a problem", text: "It cannot sign you in right now. Wait a moment and try again."}
	notRefreshed    = failure{status: 502, level: slog.LevelWarn, remedy: startOver, heading: "The profile could not be refreshed", text: "The sign-in service did not send it. Try again. What you see is from the last refresh."}
	ourFault        = failure{status: 500, level: slog.LevelError, remedy: reload, heading: "Something went wrong on our side", text: "We have logged the error under the reference below. Try again in a moment."}
)

// reasonOf returns the reason of an error, in logs and metrics.
func reasonOf(err error) string {
	if reason := openid.ReasonOf(err); reason != "" {
		return string(reason)
	}
	if e, ok := errors.AsType[*bearerError](err); ok {
		return e.reason()
	}
	if e, ok := errors.AsType[*upstreamError](err); ok {
		return e.reason
	}
	if e, ok := errors.AsType[*echo.HTTPError](err); ok {
		return statusReason(e.Code)
	}
	for _, known := range []struct {
		is     bool
		reason string
	}{
		{is[*authn.TooSoonError](err), "too_soon"},
		{is[*tooManyError](err), "rate_limited"},
		{is[*personTooOftenError](err), "person_rate_limited"},
		{is[*stepUpNeeded](err), "step_up_needed"},
		{is[*claimNeeded](err), "claim_missing"},
		{is[*sessionEnded](err), "session_ended"},
		{is[*logoutRefused](err), "logout_request_malformed"},
		{is[*authn.Refusal](err), string(authn.ReasonRefused)},
		{errors.Is(err, authn.ErrAnonymous), "sign_in_needed"},
		{errors.Is(err, authn.ErrTooManyWatchers), "too_many_streams"},
		{errors.Is(err, authn.ErrRequestTooLarge), "form_too_large"},
		{errors.Is(err, errNoSavedRequest), "nothing_held"},
		{errors.Is(err, errWrongHost), "wrong_host"},
		{errors.Is(err, errCrossOrigin), "cross_origin"},
		{errors.Is(err, errPanic), "panic"},
		{errors.Is(err, errNoCookies), "no_cookies"},
		{errors.Is(err, errNotData), "not_data"},
		{errors.Is(err, errOtherIssuer) || errors.Is(err, errOtherTarget), "foreign_link"},
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

// statusReason returns the reason for a status that the router or the server chose: its text as one
// word.
func statusReason(status int) string {
	if status < 400 || status > 499 {
		return "internal_error"
	}
	return strings.ReplaceAll(strings.ToLower(http.StatusText(status)), " ", "_")
}

// describe returns the failure for an error.
func (a *App) describe(err error) failure {
	reason := reasonOf(err)
	f, ok := lookup(reason, err)
	if !ok { // a status that is not in failures
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
		f.after, f.text = e.Wait, fmt.Sprintf(f.text, inSeconds(e.Wait))
	}
	if e, ok := errors.AsType[*tooManyError](err); ok {
		f.after = e.wait
	}
	if e, ok := errors.AsType[*personTooOftenError](err); ok {
		f.after = e.wait
	}
	if e, ok := errors.AsType[*bearerError](err); ok && e.scope != "" {
		f.text = fmt.Sprintf(f.text, e.scope)
	}
	if e, ok := errors.AsType[*sessionEnded](err); ok {
		f.text, f.remedy, f.write = explanation(e.because), 0, (*App).writeSessionEnded
	}
	if e, ok := errors.AsType[*authn.Refusal](err); ok && reason == string(authn.ReasonRefused) {
		f = f.refused(e, is[*authn.SignInError](err))
	}
	if e, ok := errors.AsType[*claimNeeded](err); ok {
		f.text = fmt.Sprintf(f.text, inWords(e.rule.Needs()))
	}
	if errors.Is(err, errWrongHost) {
		f.text = fmt.Sprintf(f.text, a.BaseURL)
	}
	if is[*logoutRefused](err) && reason == string(authn.ReasonStoreUnavailable) {
		f.level = slog.LevelError // the person is still signed in
	}
	return f
}

// inSeconds returns a duration in words, rounded up to seconds.
func inSeconds(d time.Duration) string {
	if n := int(math.Ceil(d.Seconds())); n != 1 {
		return strconv.Itoa(n) + " seconds"
	}
	return "1 second"
}

// lookup returns the entry for an error, or false if there is none.
func lookup(reason string, err error) (f failure, ok bool) {
	e, _ := errors.AsType[*openid.Error](err)
	bearer, isBearer := errors.AsType[*bearerError](err)
	switch {
	case is[*logoutRefused](err):
		reason = "logout_request_malformed"
	case isBearer:
		reason = bearer.reason()
	case e != nil && e.Reason == openid.ReasonTokenRequestFailed && (e.Code == "invalid_client" || e.Code == "unauthorized_client"):
		// The client's secret was replaced, or the client was disabled.
		reason = string(openid.ReasonProviderMisconfigured)
	case e != nil && e.Reason == openid.ReasonDeclined:
		if f, ok = declined[e.Code]; ok {
			return f, true
		}
		// The standards have no code for this: Apple says user_cancelled_authorize, LinkedIn
		// user_cancelled_login, and others spell it in other ways.
		if strings.Contains(strings.ToLower(e.Code), "cancel") {
			return cancelled, true
		}
	}
	f, ok = failures[reason]
	return f, ok
}

// handleError turns an error into a response and a log line. It is the only place that does so.
// observe and Echo call it.
//
// It always writes the status. That the context has ended does not mean that nobody is waiting:
// net/http also cancels it when the client closes only its sending side, and such a client still
// reads.
func (a *App) handleError(err error, c echo.Context) {
	f := a.describe(err)
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
	attributes = append(attributes, slog.String("issuer", a.Provider.Issuer()), slog.String("error", err.Error()))
	a.Log.LogAttrs(c.Request().Context(), f.level, "refused", attributes...)
}

// event returns which security event a failure is.
func event(c echo.Context, err error) authn.Event {
	bearer, isBearer := errors.AsType[*bearerError](err)
	signingIn := c.Path() == "/login" || c.Path() == "/callback"
	switch {
	case is[*logoutRefused](err), isBearer && bearer.code != "":
		return authn.EventTokenRefused
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
		return views.Action{Label: "Try again", URL: startOverURL(r, err), Primary: true}, true
	case f.remedy == switchAccount:
		return views.Action{Label: "Try again", URL: switchURL(failedSignIn(r, err)), Primary: true}, true
	case f.remedy == signIn:
		return views.Action{Label: "Sign in", URL: loginURL(returnPath(r)), Primary: true}, true
	case f.remedy == reload && slices.Contains(reading, r.Method):
		return views.Action{Label: "Try again", URL: destination(returnPath(r)), Primary: true}, true
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

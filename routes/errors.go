package routes

import (
	"cmp"
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
	"latchkey/views/messages"
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
// to do, and never quotes the error. The texts are in views/messages, under the reason or the text's
// own name.
type failure struct {
	status int
	// level is the level of the log line. LevelError means that the fault is ours, or that an
	// operator has to act.
	level slog.Level
	// name is the name of the texts in messages.Catalogue.Failures; "" means that it is the reason.
	// describe fills in heading and text.
	name, heading, text string
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
	"response_malformed":    {status: 400, level: slog.LevelWarn, remedy: startOver},
	"transaction_missing":   {status: 400, level: slog.LevelWarn, remedy: startOver},
	"transaction_expired":   {status: 400, level: slog.LevelWarn, remedy: startOver},
	"transaction_used":      {status: 400, level: slog.LevelWarn, remedy: startOver},
	"configuration_changed": {status: 400, level: slog.LevelWarn, remedy: startOver},
	"not_a_navigation":      {status: 400, level: slog.LevelInfo, remedy: startOver, write: (*App).writeNotNavigation},
	"no_cookies":            {status: 400, level: slog.LevelWarn, remedy: startOver},
	"foreign_link":          {status: 400, level: slog.LevelWarn, remedy: startOver},
	"rate_limited":          {status: 429, level: slog.LevelWarn, remedy: reload},
	"person_rate_limited":   {status: 429, level: slog.LevelWarn, remedy: startOver},
	"too_many_sign_ins":     {status: 503, level: slog.LevelWarn, remedy: startOver, after: time.Second},
	"step_up_failed":        {status: 403, level: slog.LevelWarn, remedy: startOver},
	"tenant_not_listed":     {status: 403, level: slog.LevelWarn, remedy: switchAccount},
	"userinfo_required":     {status: 502, level: slog.LevelWarn, remedy: startOver},
	"claims_too_large":      {status: 502, level: slog.LevelError, remedy: startOver},
	// The person cannot fix a bad token or response, and an attacker must not learn what was
	// wrong with it.
	"response_invalid":          unverified,
	"issuer_mismatch":           unverified,
	"token_request_failed":      unverified,
	"token_response_invalid":    unverified,
	"id_token_invalid":          unverified,
	"userinfo_subject_mismatch": unverified,
	"logout_token_invalid":      unverified,
	"access_token_invalid":      unverified,

	// What is built on this app refused the person, with texts of its own, or failed.
	"product_refused":     {status: 403, level: slog.LevelInfo, remedy: switchAccount},
	"sign_in_hook_failed": {status: 503, level: slog.LevelError, remedy: startOver, after: 10 * time.Second},

	// The provider declined with a code that is not in declined, or cannot be used.
	"provider_declined":      {status: 403, level: slog.LevelWarn, remedy: switchAccount},
	"provider_unreachable":   {status: 503, level: slog.LevelWarn, remedy: startOver, after: 10 * time.Second},
	"provider_misconfigured": {status: 503, level: slog.LevelError, remedy: startOver},

	// The profile.
	"userinfo_failed": notRefreshed,
	"refresh_failed":  notRefreshed,
	"refresh_refused": {status: 409, level: slog.LevelInfo, remedy: signIn},
	"too_soon":        {status: 429, level: slog.LevelInfo},

	// The session.
	"sign_in_needed":    {status: 401, level: slog.LevelInfo, remedy: signIn, write: (*App).writeSignInNeeded},
	"renewal_needed":    {status: 401, level: slog.LevelInfo, remedy: signIn, write: (*App).writeRenewalNeeded},
	"session_ended":     {status: 401, level: slog.LevelInfo, remedy: signIn},
	"store_unavailable": {status: 503, level: slog.LevelError, remedy: reload, after: 5 * time.Second},
	"step_up_needed":    {status: 401, level: slog.LevelInfo, write: (*App).writeStepUpNeeded},
	"nothing_held":      {status: 404, level: slog.LevelInfo},
	"form_too_large":    {status: 403, level: slog.LevelWarn},
	"claim_missing":     {status: 403, level: slog.LevelInfo, write: (*App).writeForbidden},
	"too_many_streams":  {status: 429, level: slog.LevelInfo, after: time.Minute},

	// The browser proves the key of its session.
	"device_proof_refused": {name: "refused", status: 403, level: slog.LevelWarn, write: (*App).writeProofRefused},

	// A proxied API. The log says what it did.
	"api_token_refused":       {status: 502, level: slog.LevelError},
	"upstream_unreachable":    {status: 502, level: slog.LevelWarn, after: 5 * time.Second},
	"upstream_timeout":        {status: 504, level: slog.LevelWarn, after: 5 * time.Second},
	"upstream_answer_refused": {status: 502, level: slog.LevelError},
	"upstream_token_refused":  {status: 502, level: slog.LevelError},
	"upstream_token_renewed":  {status: 503, level: slog.LevelInfo, after: time.Second},
	"not_data":                {status: 403, level: slog.LevelWarn},

	// The API (RFC 6750 section 3.1, RFC 9449 section 7.1). The log has the exact fault of a token.
	"no_credentials":     {status: 401, level: slog.LevelInfo},
	"invalid_token":      {status: 401, level: slog.LevelInfo},
	"insufficient_scope": {status: 403, level: slog.LevelInfo},
	"invalid_request":    {status: 400, level: slog.LevelInfo},
	"invalid_dpop_proof": {status: 401, level: slog.LevelInfo},
	"use_dpop_nonce":     {status: 401, level: slog.LevelInfo},
	"too_many_calls":     {status: 429, level: slog.LevelWarn},

	// Back-channel logout.
	"logout_request_malformed": {status: 400, level: slog.LevelWarn},

	// The request.
	"wrong_host":               {status: 421, level: slog.LevelWarn},
	"cross_origin":             {status: 403, level: slog.LevelWarn},
	"not_found":                {status: 404, level: slog.LevelInfo},
	"method_not_allowed":       {status: 405, level: slog.LevelInfo},
	"request_entity_too_large": {status: 413, level: slog.LevelInfo},
	"request_uri_too_long":     {status: 414, level: slog.LevelInfo},
	"unsupported_media_type":   {status: 415, level: slog.LevelInfo},
	"bad_request":              {status: 400, level: slog.LevelInfo},

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
	unverified      = failure{name: "unverified", status: 502, level: slog.LevelError, remedy: startOver}
	notAllowed      = failure{name: "not_allowed", status: 403, level: slog.LevelInfo, remedy: switchAccount}
	cancelled       = failure{name: "cancelled", status: 403, level: slog.LevelInfo, remedy: switchAccount}
	requestRefused  = failure{name: "request_refused", status: 502, level: slog.LevelError, remedy: startOver}
	needsPerson     = failure{name: "needs_person", status: 400, level: slog.LevelInfo, remedy: startOver}
	providerTrouble = failure{name: "provider_trouble", status: 503, level: slog.LevelWarn, remedy: startOver, after: 10 * time.Second}
	notRefreshed    = failure{name: "not_refreshed", status: 502, level: slog.LevelWarn, remedy: startOver}
	ourFault        = failure{name: "our_fault", status: 500, level: slog.LevelError, remedy: reload}
)

// reasonOf returns the reason of an error, in logs and metrics.
func reasonOf(err error) string {
	if reason := openid.ReasonOf(err); reason != "" {
		return string(reason)
	}
	if e, ok := errors.AsType[*tokenError](err); ok {
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
		{is[*authn.ProofError](err), "device_proof_refused"},
		{errors.Is(err, authn.ErrRenewalNeeded), "renewal_needed"},
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
	if e, ok := errors.AsType[*tooManyError](err); ok {
		f.after = e.wait
	}
	if e, ok := errors.AsType[*personTooOftenError](err); ok {
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

// lookup returns the entry for an error and the name of its texts, or false if there is none.
func lookup(reason string, err error) (f failure, ok bool) {
	e, _ := errors.AsType[*openid.Error](err)
	refused, isToken := errors.AsType[*tokenError](err)
	switch {
	case is[*logoutRefused](err):
		reason = "logout_request_malformed"
	case isToken:
		reason = refused.reason()
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
	f.name = cmp.Or(f.name, reason)
	return f, ok
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
	case f.remedy == startOver:
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

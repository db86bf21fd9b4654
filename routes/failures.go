package routes

import (
	"cmp"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn/openid"
)

// reasonError is an error with the reason that logs and metrics have for it.
type reasonError struct {
	reason string
	err    error
	// wait is the time until the request may be sent again; 0 if waiting does not help.
	wait time.Duration
}

func (e *reasonError) Error() string { return "routes: " + e.err.Error() }
func (e *reasonError) Unwrap() error { return e.err }

func newReason(reason, text string) *reasonError {
	return &reasonError{reason: reason, err: errors.New(text)}
}

// These errors carry no details.
var (
	errWrongHost      = newReason("wrong_host", "the request is for another host")
	errCrossOrigin    = newReason("cross_origin", "another site sent the request")
	errPanic          = newReason("panic", "a handler panicked")
	errNoCookies      = newReason("no_cookies", "the browser did not return our cookie")
	errOtherIssuer    = newReason("foreign_link", "a sign-in was started for another provider")
	errOtherTarget    = newReason("foreign_link", "a sign-in was started for a page of another site")
	errNoSavedRequest = newReason("nothing_held", "no request is saved under this id")
	errNotData        = newReason("not_data", "a proxied address is requested as a part of a page")
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
	"logout_request_malformed": {name: "refused", status: 400, level: slog.LevelWarn},

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
	operatorToken   = failure{name: "operator_token", status: 401, level: slog.LevelInfo}
	ourFault        = failure{name: "our_fault", status: 500, level: slog.LevelError, remedy: reload}
)

// lookup returns the entry for an error and the name of its texts, or false if there is none.
func lookup(reason string, err error) (f failure, ok bool) {
	e, _ := errors.AsType[*openid.Error](err)
	refused, isToken := errors.AsType[*tokenError](err)
	switch {
	case errors.Is(err, errOperatorToken):
		return operatorToken, true
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

package openid

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Reason says why something was refused. The log and the metrics have the same
// word, and a page chooses its text by it.
type Reason string

// The reasons of this package. Package authn adds those of sign-ins and sessions.
const (
	// The authorization response is not one that this client can use.
	ReasonResponseMalformed Reason = "response_malformed"
	ReasonResponseInvalid   Reason = "response_invalid"
	ReasonIssuerMismatch    Reason = "issuer_mismatch"

	// The provider declined; Error.Code says how.
	ReasonDeclined Reason = "provider_declined"

	// The provider cannot be used: it is out of reach, or not what it should be.
	ReasonProviderUnreachable   Reason = "provider_unreachable"
	ReasonProviderMisconfigured Reason = "provider_misconfigured"

	// What the provider sent was refused.
	ReasonTokenRequestFailed Reason = "token_request_failed"
	ReasonTokenInvalid       Reason = "token_response_invalid"
	ReasonIDTokenInvalid     Reason = "id_token_invalid"
	ReasonOtherTenant        Reason = "tenant_not_listed"
	ReasonStepUpFailed       Reason = "step_up_failed"
	ReasonUserInfoFailed     Reason = "userinfo_failed"
	ReasonUserInfoMismatch   Reason = "userinfo_subject_mismatch"
	ReasonUserInfoRequired   Reason = "userinfo_required"
	ReasonTooLarge           Reason = "claims_too_large"
	ReasonLogoutTokenInvalid Reason = "logout_token_invalid"
	ReasonAccessTokenInvalid Reason = "access_token_invalid"
	ReasonProofInvalid       Reason = "invalid_dpop_proof" // the error code of RFC 9449 section 7.1
	ReasonAPIRefused         Reason = "api_token_refused"
)

// Error is a refusal with its reason. Its text is for operators. It holds no secret: no token, code,
// state or nonce. Text that the provider or a caller sent appears only in Code and Description, as short
// names of issuers, tenants, algorithms, keys, media types and members of a token, and as the address that
// the discovery document has moved to.
type Error struct {
	Reason Reason
	// Code is the provider's OAuth error code, and Description what it says about it (RFC
	// 6749 sections 4.1.2.1 and 5.2). Both are cut and escaped, and "" if there is none. The
	// description may name the person.
	Code, Description string
	// RetryAfter is how long to wait before the next attempt; 0 if that is not known.
	RetryAfter time.Duration
	// Err is the cause; it may be nil.
	Err error
}

func (e *Error) Error() string {
	text := string(e.Reason)
	switch {
	case e.Description != "":
		text += " (" + e.Code + ": " + e.Description + ")"
	case e.Code != "":
		text += " (" + e.Code + ")"
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// refuse returns an Error with an operator's text.
func refuse(reason Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Err: fmt.Errorf(format, args...)}
}

// withReason returns err as an *Error: the one in its chain, or else err under a reason.
func withReason(reason Reason, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Reason: reason, Err: err}
}

// ReasonOf returns the reason of the first Error in err's chain, or "".
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ""
}

// StatusError says that the provider answered with an unexpected HTTP status.
type StatusError struct {
	Status int
	// Location is where a redirect of the discovery document leads, without its query; "" if it
	// is none.
	Location string
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("the provider answered %d %s", e.Status, http.StatusText(e.Status))
	if e.Location != "" {
		text += fmt.Sprintf(" and redirects to %.200q", e.Location)
	}
	return text
}

// describe adds an error code and its description to e. It hides the values of the request that
// the provider may have repeated in them.
func (e *Error) describe(code, description string, secrets ...string) *Error {
	e.Code, e.Description = Quote(code, 64, secrets...), Quote(description, 512, secrets...)
	return e
}

// Quote returns text that a provider sent, or that anyone may have put into a URL, so that it
// is safe to log: without the secrets, cut after limit bytes, and with control characters,
// those that change the direction of text and what is not UTF-8 escaped as in a Go string.
func Quote(text string, limit int, secrets ...string) string {
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, hidden)
		}
	}
	if len(text) > limit {
		for limit > 0 && !utf8.RuneStart(text[limit]) {
			limit--
		}
		text = text[:limit] + "…"
	}
	quoted := strconv.QuoteToGraphic(text)
	return quoted[1 : len(quoted)-1]
}

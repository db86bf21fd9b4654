package authn

import (
	"errors"
	"fmt"
	"time"
)

// Reason says in a word why something was refused. The same word stands in the
// log, and whoever shows a page chooses its text by it.
type Reason string

// The reasons.
const (
	// The authorization response does not belong to a sign-in that this browser
	// started, or no longer.
	ReasonResponseMalformed    Reason = "response_malformed"
	ReasonTransactionMissing   Reason = "transaction_missing"
	ReasonTransactionExpired   Reason = "transaction_expired"
	ReasonTransactionUsed      Reason = "transaction_used"
	ReasonConfigurationChanged Reason = "configuration_changed"
	ReasonIssuerMismatch       Reason = "issuer_mismatch"

	// The provider declined; Error.Code says how.
	ReasonDeclined Reason = "provider_declined"

	// The provider cannot be used: not reached, or not what it should be.
	ReasonProviderUnreachable   Reason = "provider_unreachable"
	ReasonProviderMisconfigured Reason = "provider_misconfigured"

	// What the provider sent was refused.
	ReasonTokenRequestFailed Reason = "token_request_failed"
	ReasonTokenInvalid       Reason = "token_response_invalid"
	ReasonIDTokenInvalid     Reason = "id_token_invalid"
	ReasonStepUpFailed       Reason = "step_up_failed"
	ReasonUserInfoFailed     Reason = "userinfo_failed"
	ReasonUserInfoMismatch   Reason = "userinfo_subject_mismatch"
	ReasonUserInfoRequired   Reason = "userinfo_required"
	ReasonTooLarge           Reason = "claims_too_large"
	ReasonLogoutTokenInvalid Reason = "logout_token_invalid"
	ReasonAccessTokenInvalid Reason = "access_token_invalid"

	// The session is over, or its tokens are.
	ReasonSessionEnded   Reason = "session_ended"
	ReasonRefreshRefused Reason = "refresh_refused"
	ReasonRefreshFailed  Reason = "refresh_failed"

	// Our own store did not answer.
	ReasonStoreUnavailable Reason = "store_unavailable"

	// The request is not one that may start a sign-in: a prefetch, an image.
	ReasonNotNavigation Reason = "not_a_navigation"
)

// Error is a refusal with its reason. Its text is the operator's and names no
// secret: no token, code, state or nonce, and no text that the provider sent,
// except for the error codes that the standards register.
type Error struct {
	Reason Reason
	// Code is the provider's OAuth error code, of the registered ones only.
	Code string
	// ReturnTo is where the person was going, so that they can try again.
	ReturnTo string
	// SignIn names the sign-in in logs, where there is one.
	SignIn string
	// RetryAfter is when to try again, where that is known.
	RetryAfter time.Duration
	// Err is what happened underneath.
	Err error
}

func (e *Error) Error() string {
	text := "authn: " + string(e.Reason)
	if e.Code != "" {
		text += " (" + e.Code + ")"
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// refuse makes an Error with an operator's text.
func refuse(reason Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Err: fmt.Errorf(format, args...)}
}

// ReasonOf returns the reason of the first Error in err's chain, or "".
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ""
}

// registeredCode returns an error code if it is one of RFC 6749 (sections 4.1.2.1 and
// 5.2), OpenID Connect Core 1.0 (section 3.1.2.6) or what extends them, and "other" if
// not: that is text that anyone can put into a URL.
func registeredCode(code string) string {
	switch code {
	case "access_denied", "invalid_request", "unauthorized_client", "unsupported_response_type",
		"invalid_scope", "server_error", "temporarily_unavailable", "invalid_client",
		"invalid_grant", "unsupported_grant_type", "interaction_required", "login_required",
		"account_selection_required", "consent_required", "invalid_request_uri", "invalid_target":
		return code
	default:
		return "other"
	}
}

package authn

import (
	"errors"

	"latchkey/authn/openid"
)

// The reasons of this package, beside those of package openid.
const (
	// The authorization response does not belong to a sign-in that this browser started, or
	// no longer does.
	ReasonTransactionMissing   openid.Reason = "transaction_missing"
	ReasonTransactionExpired   openid.Reason = "transaction_expired"
	ReasonTransactionUsed      openid.Reason = "transaction_used"
	ReasonConfigurationChanged openid.Reason = "configuration_changed"

	// This process already has as many sign-ins at the provider as it allows.
	ReasonTooManySignIns openid.Reason = "too_many_sign_ins"

	// The request may not start a sign-in: it is a prefetch, or a part of a page.
	ReasonNotNavigation openid.Reason = "not_a_navigation"

	// The sign-in hook has refused the person with a *Refusal, or has failed.
	ReasonRefused    openid.Reason = "product_refused"
	ReasonHookFailed openid.Reason = "sign_in_hook_failed"

	// The session is over, or its tokens are.
	ReasonSessionEnded   openid.Reason = "session_ended"
	ReasonRefreshRefused openid.Reason = "refresh_refused"
	ReasonRefreshFailed  openid.Reason = "refresh_failed"

	// A call to the API needs a DPoP proof with the nonce in the response. The value is the error code
	// of RFC 9449 section 9.
	ReasonNonceNeeded openid.Reason = "use_dpop_nonce"
	// One caller of the API sends more DPoP proofs than are remembered.
	ReasonTooManyCalls openid.Reason = "too_many_calls"

	// The session store does not answer.
	ReasonStoreUnavailable openid.Reason = "store_unavailable"
)

// SignInError is an error that ended a sign-in, whose transaction is known.
type SignInError struct {
	// ID names the sign-in in logs.
	ID string
	// ReturnTo is where the person was going, so that they can try again.
	ReturnTo ReturnPath
	// Err is the error, an *openid.Error in most cases.
	Err error
}

func (e *SignInError) Error() string { return e.Err.Error() }

// Unwrap returns the error that ended the sign-in.
func (e *SignInError) Unwrap() error { return e.Err }

// ErrAnonymous says that a visitor who has not signed in has no session: there is nothing to
// keep values in, and there are no tokens.
var ErrAnonymous = errors.New("authn: not signed in")

func unavailable(err error) error {
	return &openid.Error{Reason: ReasonStoreUnavailable, Err: err}
}

func sessionEnded(err error) error {
	return &openid.Error{Reason: ReasonSessionEnded, Err: err}
}

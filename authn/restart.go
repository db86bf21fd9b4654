package authn

import (
	"net/http"
	"time"
)

const (
	restartCookie   = "restarted"
	restartLifetime = 2 * time.Minute
)

// MayRestart reports whether a sign-in whose transaction is lost may be started again
// without asking the person: once in two minutes in a browser, so that a browser that
// keeps no cookies, or a provider that answers at once, makes no loop. Only a response
// that brings a code qualifies; what the provider declined is for the person to see.
func (rp *RelyingParty) MayRestart(w http.ResponseWriter, r *http.Request, err error, response Callback) bool {
	switch ReasonOf(err) {
	case ReasonTransactionMissing, ReasonTransactionExpired, ReasonTransactionUsed, ReasonConfigurationChanged:
	default:
		return false
	}
	if response.Get("code") == "" || rp.cookies.sent(r, restartCookie) {
		return false
	}
	rp.cookies.set(w, restartCookie, "1", restartLifetime, http.SameSiteLaxMode)
	return true
}

package authn

import (
	"net/http"
	"net/url"
	"time"
)

const (
	restartCookie   = "restarted"
	restartLifetime = 2 * time.Minute
)

// MayRestart reports whether a sign-in whose transaction is lost may be started again
// without asking the person: once in two minutes in a browser, so that a provider that
// answers at once makes no loop. Only a response that brings a code qualifies; what the
// provider declined is for the person to see.
//
// The restart has to prove that the browser keeps cookies: see Restarted.
func (rp *RelyingParty) MayRestart(w http.ResponseWriter, r *http.Request, err error, response url.Values) bool {
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

// Restarted reports whether the browser has kept the cookie of MayRestart. Without
// cookies a sign-in can never be finished, and would be restarted for ever.
func (rp *RelyingParty) Restarted(r *http.Request) bool { return rp.cookies.sent(r, restartCookie) }

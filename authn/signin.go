package authn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"latchkey/authn/openid"
)

// callbackTimeout bounds everything that a callback asks of the provider.
const callbackTimeout = 10 * time.Second

// RelyingParty takes browsers through sign-in and sign-out at the provider (OpenID Connect Core
// 1.0 section 1.2).
type RelyingParty struct {
	cfg      Config
	provider *openid.Provider
	all      *RelyingParties
	cookies  cookies
	// binding is that of the transactions of this configuration.
	binding Key
	// beginnings limits the authorization requests, and exchanges the code exchanges.
	beginnings, exchanges *throttle
}

// newRelyingParty returns the relying party of a provider, one of all.
func newRelyingParty(cfg Config, p *openid.Provider, all *RelyingParties) *RelyingParty {
	countSignIns(cfg.Metrics, p)
	return &RelyingParty{
		cfg: cfg, provider: p, all: all, cookies: cfg.cookies(),
		binding:    NewKey("transaction binding", p.Issuer(), p.ClientID(), p.RedirectURL()),
		beginnings: newThrottle(cfg, p), exchanges: newThrottle(cfg, p),
	}
}

// Provider returns the provider where people sign in.
func (rp *RelyingParty) Provider() *openid.Provider { return rp.provider }

// Format implements fmt.Formatter for every verb: fmt would print the secrets in unexported
// fields without calling their methods.
func (rp RelyingParty) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "relying party at "+rp.provider.Issuer())
}

// SignInRequest is what a sign-in is for. The zero value is an ordinary one.
type SignInRequest struct {
	// ReturnTo is where the person is going.
	ReturnTo ReturnPath
	// Link is the query of the link that starts the sign-in. The hints that a link may give
	// are passed on, and nothing else.
	Link url.Values
	// Demand is what the page that the person is going to asks of the sign-in.
	Demand openid.Demand
	// SwitchAccount asks the provider to let the person choose who signs in, even if it
	// knows who they are.
	SwitchAccount bool
	// Again says that the sign-in was started again after its response could not be used.
	Again bool
}

// Begin starts a sign-in. It keeps the transaction in a cookie and returns the authorization
// request, to which the browser is to be redirected. The errors, in a *SignInError, are those of
// openid.Provider.AuthorizationURL, and an *openid.Error with ReasonTooManySignIns.
func (rp *RelyingParty) Begin(w http.ResponseWriter, r *http.Request, request SignInRequest) (string, error) {
	ctx, cancel := context.WithTimeout(r.Context(), callbackTimeout)
	defer cancel()
	t := rp.newTransaction(request, FromContext(ctx))
	location, err := rp.begin(ctx, w, r, request, t)
	if err != nil {
		countFailedSignIn(rp.cfg.Metrics, rp.provider, err)
		return "", t.failed(err)
	}
	rp.cfg.Metrics.GetOrCreateCounter(rp.provider.Metric(signInsBegun)).Inc()
	rp.cfg.Log.InfoContext(ctx, "sign-in begun", "sign_in", t.logID(), "issuer", rp.provider.Issuer())
	return location, nil
}

func (rp *RelyingParty) begin(ctx context.Context, w http.ResponseWriter, r *http.Request, request SignInRequest, t *transaction) (string, error) {
	leave, err := rp.beginnings.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	state, err := rp.stateOf(t)
	if err != nil {
		return "", err
	}
	location, err := rp.provider.AuthorizationURL(ctx, openid.AuthorizationRequest{
		State: state, Nonce: t.nonce, Verifier: t.verifier,
		Demand: request.Demand, Link: request.Link, SwitchAccount: request.SwitchAccount,
	})
	if err != nil {
		return "", err
	}
	return location, rp.storeTransaction(w, r, t)
}

// SignIn is a completed sign-in.
type SignIn struct {
	openid.SignIn
	// ReturnTo is where the person was going.
	ReturnTo ReturnPath
	// StepUp says that the page there demanded this sign-in.
	StepUp bool

	nonce    string
	previous previousSession
	logID    string
}

// LogID names the sign-in in logs, from its beginning to its end.
func (in *SignIn) LogID() string { return in.logID }

// Complete finishes a sign-in. It takes the transaction that the authorization response
// belongs to and redeems the code. The error is an *openid.Error with one of the reasons of
// openid.Provider.AuthorizationResponse, Code and Redeem, or ReasonTransactionMissing, ReasonTransactionExpired,
// ReasonTransactionUsed, ReasonConfigurationChanged, ReasonTooManySignIns or
// ReasonStoreUnavailable; it is in a *SignInError if the state is one of this application's.
func (rp *RelyingParty) Complete(w http.ResponseWriter, r *http.Request, response url.Values) (*SignIn, error) {
	// A browser that goes away must not stop a sign-in half-way: the code is used up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), callbackTimeout)
	defer cancel()
	in, err := rp.complete(ctx, w, r, response)
	if err != nil {
		countFailedSignIn(rp.cfg.Metrics, rp.provider, err)
		return nil, err
	}
	rp.cfg.Metrics.GetOrCreateCounter(rp.provider.Metric(signInsCompleted)).Inc()
	rp.remember(w)
	return in, nil
}

func (rp *RelyingParty) complete(ctx context.Context, w http.ResponseWriter, r *http.Request, parameters url.Values) (*SignIn, error) {
	response, err := rp.provider.AuthorizationResponse(ctx, parameters)
	if err != nil {
		return nil, err
	}
	t, err := rp.takeTransaction(w, r, response.State)
	if err != nil {
		return nil, err
	}
	signIn, err := rp.redeem(ctx, t, response)
	if err != nil {
		return nil, t.failed(err)
	}
	return &SignIn{SignIn: *signIn, ReturnTo: t.returnTo, StepUp: t.demand.MaxAge > 0 || len(t.demand.ACR) > 0, nonce: t.nonce, previous: t.previous, logID: t.logID()}, nil
}

// redeem redeems the code of a response that belongs to a transaction of this browser.
func (rp *RelyingParty) redeem(ctx context.Context, t *transaction, response openid.AuthorizationResponse) (*openid.SignIn, error) {
	code, err := rp.provider.Code(ctx, response)
	if err != nil {
		return nil, err
	}
	// A response is used once (RFC 9700 section 4.2.4). The answer clears the cookie, but a
	// second request may be on its way already.
	first, err := rp.cfg.Store.Once(ctx, NewKey("transaction", t.state), t.started.Add(transactionLifetime+openid.Leeway))
	if err != nil {
		return nil, unavailable(err)
	}
	if !first {
		return nil, &openid.Error{Reason: ReasonTransactionUsed}
	}
	// Enter only now: a response that never reaches the provider must not use up the limit.
	leave, err := rp.exchanges.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return rp.provider.Redeem(ctx, code, openid.Expected{
		Verifier: t.verifier, Nonce: t.nonce, Demand: t.demand, Organization: t.organization,
	})
}

const (
	restartCookie   = "restarted"
	restartValue    = "1"
	restartLifetime = 2 * time.Minute
)

// Stale reports whether a response failed because its sign-in is over, here or at the provider: a
// person who has signed in meanwhile can go on to the page.
func (rp *RelyingParty) Stale(r *http.Request, err error, response url.Values) bool {
	switch openid.ReasonOf(err) {
	case ReasonTransactionMissing, ReasonTransactionExpired, ReasonTransactionUsed:
		return true
	case openid.ReasonDeclined:
		return rp.response(r, response).StartsOver()
	default:
		return false
	}
}

// response reads a response again for which Complete has returned an error. It returns the zero
// response if that cannot be verified.
func (rp *RelyingParty) response(r *http.Request, parameters url.Values) openid.AuthorizationResponse {
	response, err := rp.provider.AuthorizationResponse(r.Context(), parameters)
	if err != nil {
		return openid.AuthorizationResponse{}
	}
	return response
}

// MayRestart reports whether a sign-in that is stale, or began under another configuration, may be
// started again without asking the person. A browser may do so once in two minutes, so that a provider
// that answers at once does not cause a loop. The response must have a code or ask for a restart: if
// the provider declined the sign-in, the person has to see that.
//
// A response without a transaction may come from an attacker or have been tampered with. It restarts
// nothing while this browser has other transactions, which can still be completed. With a profile
// (FAPI 2.0) it never restarts anything.
//
// MayRestart sets a cookie, so that Restarted can check that the browser keeps cookies.
func (rp *RelyingParty) MayRestart(w http.ResponseWriter, r *http.Request, err error, response url.Values) bool {
	if !rp.Stale(r, err, response) && openid.ReasonOf(err) != ReasonConfigurationChanged {
		return false
	}
	read := rp.response(r, response)
	if !read.HasCode() && !read.StartsOver() || rp.Restarted(r) {
		return false
	}
	if begun := rp.parseState(read.State); begun != nil && begun.again {
		return false // a cookie does not say so where the response is another site's form
	}
	if openid.ReasonOf(err) == ReasonTransactionMissing && (rp.provider.Profile() != "" || rp.signingIn(r)) {
		return false
	}
	rp.MarkRestarted(w)
	return true
}

// MarkRestarted sets the cookie of MayRestart.
func (rp *RelyingParty) MarkRestarted(w http.ResponseWriter) {
	rp.cookies.set(w, restartCookie, restartValue, restartLifetime, http.SameSiteLaxMode)
}

// Restarted reports whether the browser has kept the cookie of MayRestart. Without cookies a
// sign-in can never be finished, and would be restarted for ever.
func (rp *RelyingParty) Restarted(r *http.Request) bool {
	return rp.cookies.sent(r, restartCookie, func(value string) bool { return value == restartValue })
}

// IsNavigation reports whether a request is a person going to a page: not a part of a page, a
// frame, a script's fetch or a prefetch, none of which may start a sign-in. A browser too old
// to say what it is doing passes.
func IsNavigation(r *http.Request) bool {
	h := r.Header
	if IsPrefetch(r) || h.Get("HX-Request") != "" {
		return false
	}
	switch dest, mode := h.Get("Sec-Fetch-Dest"), h.Get("Sec-Fetch-Mode"); dest {
	case "", "document":
		return mode == "" || mode == "navigate"
	case "empty":
		// A service worker of this application passes a navigation on. No other script can make
		// a request of this mode (Fetch Standard, the constructor of Request).
		return mode == "navigate"
	default:
		return false
	}
}

// IsPrefetch reports whether a browser requests what the person may want next.
func IsPrefetch(r *http.Request) bool {
	h := r.Header
	purpose := strings.ToLower(h.Get("Sec-Purpose") + h.Get("Purpose") + h.Get("X-Moz"))
	return strings.Contains(purpose, "prefetch")
}

// failed returns the error that ended a sign-in.
func (in *SignIn) failed(err error) error { return signInFailed(err, in.logID, in.ReturnTo) }

func (t *transaction) failed(err error) error { return signInFailed(err, t.logID(), t.returnTo) }

func signInFailed(err error, id string, returnTo ReturnPath) error {
	if _, ok := errors.AsType[*SignInError](err); ok {
		return err
	}
	return &SignInError{ID: id, ReturnTo: returnTo, Err: err}
}

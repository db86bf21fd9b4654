package authn

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"
)

const (
	// callbackTimeout bounds all that a callback asks of the provider.
	callbackTimeout = 10 * time.Second
	// maxClaimsBytes bounds what a sign-in may bring along.
	maxClaimsBytes = 64 << 10
)

// SignIn is a completed sign-in.
type SignIn struct {
	Identity Identity
	Tokens   Tokens
	// At is when the provider issued the ID token, by its clock.
	At time.Time
	// Expires is when the provider's session ends and this one with it at the latest;
	// zero where the provider does not say.
	Expires time.Time
	// ReturnTo is where the person was going: a path of this application.
	ReturnTo string

	nonce    string
	previous previousSession
	logID    string
}

// LogID names the sign-in in logs, from its beginning to its end.
func (in *SignIn) LogID() string { return in.logID }

// Complete finishes a sign-in: it takes the transaction that the response belongs
// to, trades the code for tokens, verifies the ID token and asks userinfo (OpenID
// Connect Core 1.0 section 3.1.2.5 and on). Every error is an *Error; where the
// transaction was found it says where the person was going.
func (rp *RelyingParty) Complete(w http.ResponseWriter, r *http.Request, response url.Values) (*SignIn, error) {
	// A browser that goes away must not stop a sign-in half-way: the code is used up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), callbackTimeout)
	defer cancel()

	signIn, err := rp.complete(ctx, w, r, response)
	if err != nil {
		rp.cfg.Statistics.SignInsFailed.Add(ReasonOf(err))
		return nil, err
	}
	rp.cfg.Statistics.SignInsCompleted.Add(1)
	return signIn, nil
}

func (rp *RelyingParty) complete(ctx context.Context, w http.ResponseWriter, r *http.Request, response url.Values) (*SignIn, error) {
	if err := checkSingle(response); err != nil {
		return nil, err
	}
	t, err := rp.take(w, r, response.Get("state"))
	if err != nil {
		return nil, err
	}
	signIn, err := rp.redeem(ctx, t, response)
	if err != nil {
		return nil, withTransaction(err, t)
	}
	return signIn, nil
}

// checkSingle refuses a response in which a parameter comes twice (RFC 6749 section
// 3.1), and one without a state: nothing of it can be trusted.
func checkSingle(response url.Values) error {
	for _, name := range []string{"state", "code", "iss", "error"} {
		if len(response[name]) > 1 {
			return refuse(ReasonResponseMalformed, "%s appears more than once", name)
		}
	}
	if response.Get("state") == "" {
		return refuse(ReasonResponseMalformed, "there is no state")
	}
	return nil
}

// redeem is what follows once the response is known to be ours.
func (rp *RelyingParty) redeem(ctx context.Context, t *transaction, response url.Values) (*SignIn, error) {
	m, err := rp.provider.wait(ctx)
	if err != nil {
		return nil, err
	}
	// RFC 9207 section 2.4: the response must come from the provider that was
	// asked, and a provider that says that it says so must say so.
	if iss, ok := response["iss"]; (ok && iss[0] != rp.cfg.Issuer) || (!ok && m.ResponseIssuerSupported) {
		return nil, refuse(ReasonIssuerMismatch, "iss of the response is missing or of another issuer")
	}
	code, failure := response.Get("code"), response.Get("error")
	switch {
	case (code == "") == (failure == ""):
		return nil, refuse(ReasonResponseMalformed, "there must be one of code and error")
	case failure != "":
		return nil, &Error{Reason: ReasonDeclined, Code: registeredCode(failure)}
	}
	// A response is used once (RFC 9700 section 4.2.4): the cookie is cleared in
	// this answer, but a second request may be on its way already.
	first, err := rp.cfg.Store.Once(ctx, NewKey("transaction", t.state), t.started.Add(transactionLifetime+leeway))
	if err != nil {
		return nil, &Error{Reason: ReasonStoreUnavailable, Err: err}
	}
	if !first {
		return nil, &Error{Reason: ReasonTransactionUsed}
	}
	tokens, err := rp.exchange(ctx, m, code, t.verifier)
	if err != nil {
		return nil, err
	}
	return rp.identify(ctx, m, t, tokens)
}

// identify finds out who signed in.
func (rp *RelyingParty) identify(ctx context.Context, m *Metadata, t *transaction, tokens Tokens) (*SignIn, error) {
	verified, err := rp.verifyIDToken(ctx, string(tokens.IDToken), idTokenCheck{
		nonce: t.nonce, accessToken: string(tokens.Access), demand: t.demand, organization: t.organization,
	})
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			return nil, e
		}
		return nil, &Error{Reason: ReasonIDTokenInvalid, Err: err}
	}
	if m.BackchannelLogoutSessionSupported && verified.sid == "" {
		rp.cfg.Log.WarnContext(ctx, "the ID token has no sid: a sign-out at the provider ends either all of a person's sessions or none")
	}
	userInfo, err := rp.userInfo(ctx, m, tokens.Access, verified.subject)
	switch {
	case ReasonOf(err) == ReasonUserInfoMismatch:
		return nil, err
	case err != nil && rp.cfg.UserInfoRequired:
		return nil, &Error{Reason: ReasonUserInfoRequired, Err: err}
	case err != nil:
		// The ID token alone says who this is. Refusing people because a second
		// endpoint is down would lock everybody out; Refresh asks again.
		rp.cfg.Log.WarnContext(ctx, "signed in without userinfo", "reason", ReasonOf(err), "error", err)
	}
	if len(verified.claims)+len(userInfo) > maxClaimsBytes {
		return nil, refuse(ReasonTooLarge, "%d bytes of claims, more than %d", len(verified.claims)+len(userInfo), maxClaimsBytes)
	}
	return &SignIn{
		Identity: newIdentity(rp.cfg.Issuer, verified, userInfo),
		Tokens:   tokens,
		At:       verified.issuedAt,
		Expires:  verified.sessionExpiry,
		ReturnTo: LocalPath(t.returnTo),
		nonce:    t.nonce,
		previous: t.previous,
		logID:    t.logID(),
	}, nil
}

// withTransaction adds to an Error which sign-in it ended, and where the person was going.
func withTransaction(err error, t *transaction) error {
	return ofSignIn(err, t.logID(), t.returnTo)
}

func ofSignIn(err error, logID, returnTo string) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	copied := *e
	copied.SignIn, copied.ReturnTo = logID, returnTo
	return &copied
}

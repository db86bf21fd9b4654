package authn

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"
)

const (
	// callbackTimeout bounds all that a callback asks of the provider.
	callbackTimeout = 10 * time.Second
	// maxClaimsBytes bounds what a sign-in may bring along.
	maxClaimsBytes = 64 << 10
)

// RelyingParty is this application as the provider knows it (OpenID Connect Core
// 1.0 section 1.2).
type RelyingParty struct {
	cfg         Config
	client      *http.Client
	tokenClient *http.Client
	provider    *provider
	keySet      *keySet
	verifier    *oidc.IDTokenVerifier // of ID tokens, which come from the provider
	logout      *oidc.IDTokenVerifier // of logout tokens, which anybody can send
	signer      jose.Signer           // of client assertions; nil with a client secret
	cookies     cookies
	binding     Key
}

// NewRelyingParty returns a relying party that has not talked to its provider yet.
func NewRelyingParty(cfg Config) (*RelyingParty, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	rp := &RelyingParty{
		cfg:     cfg,
		client:  newClient(),
		cookies: cookies{secure: cfg.Secure},
		binding: NewKey("transaction binding", cfg.Issuer, cfg.ClientID, cfg.RedirectURL),
	}
	rp.tokenClient = &http.Client{
		Timeout: callTimeout, Transport: tokenTransport{rp}, CheckRedirect: rp.client.CheckRedirect,
	}
	rp.provider = newProvider(cfg, rp.client)
	rp.keySet = &keySet{provider: rp.provider, client: rp.client, now: cfg.Now, log: cfg.Log}
	rp.verifier, rp.logout = rp.newVerifier(refetchBurst), rp.newVerifier(logoutBurst)
	if cfg.ClientAuth == PrivateKeyJWT {
		signer, err := newSigner(cfg.SigningKey)
		if err != nil {
			return nil, err
		}
		rp.signer = signer
	}
	return rp, nil
}

// newVerifier returns go-oidc's verifier over the key set, with an allowance of its own.
func (rp *RelyingParty) newVerifier(burst int) *oidc.IDTokenVerifier {
	keys := &keySetVerifier{set: rp.keySet, allowance: bucket{burst: burst}}
	return oidc.NewVerifier(rp.cfg.Issuer, keys, &oidc.Config{
		ClientID:             rp.cfg.ClientID,
		SupportedSigningAlgs: rp.cfg.IDTokenAlgorithms,
		// go-oidc knows no leeway; expiry is the only thing that it asks the clock
		// for without one of its own.
		Now: func() time.Time { return rp.cfg.Now().Add(-leeway) },
	})
}

// Run discovers the provider in the background, and keeps its metadata and its keys
// fresh, until ctx ends. Nothing waits for it: a sign-in that comes first asks for
// itself.
func (rp *RelyingParty) Run(ctx context.Context) {
	go rp.keySet.run(ctx)
	rp.provider.run(ctx)
}

// Ready reports whether the provider has been discovered, and if not, why.
func (rp *RelyingParty) Ready() error {
	_, err := rp.provider.ready()
	return err
}

// IsIssuer reports whether an issuer identifier is that of the provider.
func (rp *RelyingParty) IsIssuer(issuer string) bool { return issuer == rp.cfg.Issuer }

// Origins returns the origins that a browser is sent to at sign-in and sign-out.
// A page whose form ends in such a redirect must allow them as form-action.
func (rp *RelyingParty) Origins() []string {
	addresses := []string{rp.cfg.Issuer}
	if m, err := rp.provider.ready(); err == nil {
		addresses = append(addresses, m.AuthorizationEndpoint, m.EndSessionEndpoint)
	}
	var origins []string
	for _, address := range addresses {
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			origins = append(origins, u.Scheme+"://"+u.Host)
		}
	}
	slices.Sort(origins)
	return slices.Compact(origins)
}

// hints are the parameters that a link to the sign-in page may pass on to the
// provider. Everything else in an authorization request is ours to say: a link must
// not be able to ask for another scope or redirect URI.
var hints = []string{"screen_hint", "login_hint", "connection", "organization", "invitation", "ui_locales"}

// maxHintBytes bounds a hint.
const maxHintBytes = 512

// Begin starts a sign-in that will come back to returnTo: it keeps the transaction
// in a cookie and returns the authorization request (OpenID Connect Core 1.0 section
// 3.1.2.1), to which the browser is to be redirected. Of query it passes on the
// hints that a link may give.
//
// The errors are of the reasons ReasonProviderUnreachable and
// ReasonProviderMisconfigured.
func (rp *RelyingParty) Begin(w http.ResponseWriter, r *http.Request, returnTo string, query url.Values) (string, error) {
	ctx, cancel := context.WithTimeout(r.Context(), callbackTimeout)
	defer cancel()
	m, err := rp.provider.wait(ctx)
	if err != nil {
		return "", withReturn(err, LocalPath(returnTo))
	}
	t := rp.newTransaction(returnTo, FromContext(ctx))
	request, err := url.Parse(rp.oauth2Config(m).AuthCodeURL(t.state, rp.requestParameters(t, query)...))
	if err != nil {
		return "", refuse(ReasonProviderMisconfigured, "authorization endpoint: %w", err)
	}
	location := request.String()
	if rp.pushes(m) {
		if location, err = rp.push(ctx, m, request.Query()); err != nil {
			return "", withReturn(err, t.returnTo)
		}
	}
	if err := rp.keep(w, r, t); err != nil {
		return "", err
	}
	return location, nil
}

func (rp *RelyingParty) requestParameters(t *transaction, query url.Values) []oauth2.AuthCodeOption {
	parameters := []oauth2.AuthCodeOption{oidc.Nonce(t.nonce), oauth2.S256ChallengeOption(t.verifier)}
	set := func(name, value string) { parameters = append(parameters, oauth2.SetAuthURLParam(name, value)) }
	if rp.cfg.Audience != "" {
		set("audience", rp.cfg.Audience)
	}
	if rp.cfg.ResponseMode == "form_post" {
		set("response_mode", "form_post")
	}
	for _, name := range hints {
		if value := query.Get(name); value != "" && len(value) <= maxHintBytes {
			set(name, value)
		}
	}
	return parameters
}

// scopes are the configured ones. offline_access is left out where the provider
// does not offer it: some refuse the whole request for it.
func (rp *RelyingParty) scopes(m *Metadata) []string {
	return slices.DeleteFunc(slices.Clone(rp.cfg.Scopes), func(scope string) bool {
		return scope == "offline_access" && !slices.Contains(m.ScopesSupported, scope)
	})
}

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
	previous Key // the session that the browser had when the sign-in began
}

// Complete finishes a sign-in: it takes the transaction that the response belongs
// to, trades the code for tokens, verifies the ID token and asks userinfo (OpenID
// Connect Core 1.0 section 3.1.2.5 and on). Every error is an *Error; where the
// transaction was found it says where the person was going.
func (rp *RelyingParty) Complete(w http.ResponseWriter, r *http.Request, response url.Values) (*SignIn, error) {
	// A browser that goes away must not stop a sign-in half-way: the code is used up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), callbackTimeout)
	defer cancel()

	if err := checkSingle(response); err != nil {
		return nil, err
	}
	t, err := rp.take(w, r, response.Get("state"))
	if err != nil {
		return nil, err
	}
	signIn, err := rp.redeem(ctx, t, response)
	if err != nil {
		return nil, withReturn(err, t.returnTo)
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
	verified, err := rp.verifyIDToken(ctx, string(tokens.IDToken), idTokenCheck{nonce: t.nonce, accessToken: string(tokens.Access)})
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
	if ReasonOf(err) == ReasonUserInfoMismatch {
		return nil, err
	}
	if err != nil {
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
	}, nil
}

// withReturn adds to an Error where the person was going.
func withReturn(err error, returnTo string) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	copied := *e
	copied.ReturnTo = returnTo
	return &copied
}

// IsNavigation reports whether a request is a person going to a page: not a part of
// a page, a frame, a script's fetch or a prefetch. Such a request must not start a
// sign-in. A browser too old to say what it is doing is believed.
func IsNavigation(r *http.Request) bool {
	h := r.Header
	purpose := strings.ToLower(h.Get("Sec-Purpose") + h.Get("Purpose") + h.Get("X-Moz"))
	if strings.Contains(purpose, "prefetch") || h.Get("HX-Request") != "" {
		return false
	}
	dest, mode := h.Get("Sec-Fetch-Dest"), h.Get("Sec-Fetch-Mode")
	return (dest == "" || dest == "document") && (mode == "" || mode == "navigate")
}

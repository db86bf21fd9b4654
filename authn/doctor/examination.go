// Package doctor examines a provider the way the relying party meets it: is it there, does it
// know this client and its addresses, do the two agree on what a sign-in needs. It uses nobody's
// account: it makes no more than the first steps of sign-ins and sign-outs that nobody finishes.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"latchkey/authn/openid"
)

// Verdict is the outcome of a check.
type Verdict string

// The verdicts.
const (
	OK      Verdict = "ok"
	Warning Verdict = "warning" // it works, or nobody can tell; an operator should know
	Failed  Verdict = "failed"
	Skipped Verdict = "skipped" // an earlier check stands in the way
)

// Side is where the cause of a warning or a failure is.
type Side string

// The sides.
const (
	Configuration Side = "configuration" // here, or where the app is registered
	Provider      Side = "provider"
	Network       Side = "network" // names, connections, certificates
	Machine       Side = "machine" // this one: its clock, files and ports
)

// Finding is what a check found. Its texts are for operators. They hold no secret, and nothing
// that the provider sent except what an *openid.Error may hold.
type Finding struct {
	Verdict Verdict
	// Side is "" if nothing is wrong.
	Side  Side
	Found string
	// Remedy is what to do, or "".
	Remedy string
}

// Check is one check of a set-up.
type Check struct {
	// Name is the same in every release.
	Name string
	Run  func(context.Context) Finding
}

// Examination checks a provider. Its checks build on each other, so they run in order.
type Examination struct {
	provider *openid.Provider
	urls     RegisteredURLs

	// fetched is the discovery document; metadata is the same once it may be relied on.
	fetched, metadata *openid.Metadata
	// obstacle is why there is no metadata.
	obstacle string
	// clientKnown says that the token endpoint accepted the client's authentication.
	clientKnown bool
	// response is the error of the authorization response, or "none"; "" if there was none.
	response string
}

// RegisteredURLs are the addresses of the app that the provider has to know.
type RegisteredURLs struct {
	// Callback is the redirect URI, and SignedOut where the browser comes back to after
	// sign-out. BackchannelLogout receives logout tokens.
	Callback, SignedOut, BackchannelLogout string
}

// New returns an examination of a provider that has not been contacted yet.
func New(p *openid.Provider, registered RegisteredURLs) *Examination {
	return &Examination{provider: p, urls: registered, obstacle: "the provider has not been asked yet"}
}

// Checks returns the checks in the order in which to run them.
func (e *Examination) Checks() []Check {
	checks := []Check{
		{"discovery", e.checkDiscovery},
		{"issuer", e.checkIssuer},
		{"endpoints", e.checkEndpoints},
		{"algorithms", e.withMetadata(e.checkAlgorithms)},
		{"key_set", e.withMetadata(e.checkKeySet)},
		{"pkce", e.withMetadata(e.checkPKCE)},
		{"client", e.withMetadata(e.checkClient)},
		{"clock", e.checkClock},
		{"pushed_requests", e.withMetadata(e.checkPushedRequests)},
		{"callback", e.withMetadata(e.checkCallback)},
		{"authorization_request", e.withMetadata(e.checkAuthorizationRequest)},
		{"sign_out", e.withMetadata(e.checkSignOut)},
		{"backchannel_logout", e.withMetadata(e.checkBackchannelLogout)},
	}
	if e.provider.Profile() != "" {
		checks = append(checks, Check{"profile", e.withMetadata(e.checkProfile)})
	}
	return checks
}

// withMetadata skips a check if there is no metadata. Without it no endpoint is asked: the
// client secret is for the configured provider, and for no other.
func (e *Examination) withMetadata(check func(context.Context, *openid.Metadata) Finding) func(context.Context) Finding {
	return func(ctx context.Context) Finding {
		if e.metadata == nil {
			return skipped(e.obstacle)
		}
		return check(ctx, e.metadata)
	}
}

func ok(format string, args ...any) Finding {
	return Finding{Verdict: OK, Found: fmt.Sprintf(format, args...)}
}

func skipped(why string) Finding { return Finding{Verdict: Skipped, Found: why} }

func warning(side Side, found, remedy string) Finding {
	return Finding{Warning, side, found, remedy}
}

func failed(side Side, found, remedy string) Finding {
	return Finding{Failed, side, found, remedy}
}

func (e *Examination) checkDiscovery(ctx context.Context) Finding {
	m, err := e.provider.FetchMetadata(ctx)
	if err != nil {
		e.obstacle = "there is no discovery document to go by"
		return e.explainDiscovery(e.provider.DiscoveryURL(), err)
	}
	e.fetched = m
	if origin := e.provider.BackchannelOrigin(); origin != "" {
		return ok("%s is there, by way of %s", e.provider.DiscoveryURL(), origin)
	}
	return ok("%s is there", e.provider.DiscoveryURL())
}

func (e *Examination) checkIssuer(context.Context) Finding {
	if e.fetched == nil {
		return skipped(e.obstacle)
	}
	if mismatch, ok := errors.AsType[*openid.IssuerError](e.provider.CheckIssuer(e.fetched)); ok {
		e.obstacle = "this is not the configured provider, so nothing more is sent to it"
		return failed(Configuration, fmt.Sprintf("the provider calls itself %q, the configuration says %q", mismatch.Provider, mismatch.Configured),
			joined(mismatch.Remedy(), "write the issuer as the provider does, to the letter"))
	}
	return ok("the provider calls itself %s, to the letter", e.fetched.Issuer)
}

// checkEndpoints makes the metadata available to the checks that follow. It does not compare
// algorithms: checkAlgorithms does so, and its failure stops no other check.
func (e *Examination) checkEndpoints(context.Context) Finding {
	if e.fetched == nil || e.provider.CheckIssuer(e.fetched) != nil {
		return skipped(e.obstacle)
	}
	if err := e.provider.CheckEndpoints(e.fetched); err != nil {
		e.obstacle = "an endpoint cannot be used, so no endpoint is called"
		return failed(Provider, strings.ReplaceAll(err.Error(), "\n", ", "), "correct the discovery document at the provider")
	}
	e.metadata = e.fetched
	e.provider.UseMetadata(e.fetched)
	return ok("all that are needed, each over https or on this machine")
}

func (e *Examination) checkAlgorithms(_ context.Context, m *openid.Metadata) Finding {
	algorithms, err := e.provider.Algorithms(m)
	if err != nil {
		return failed(Configuration, err.Error(), "set ID_TOKEN_ALG to one of the provider's, or have it sign with another for this client")
	}
	if proofs, err := e.provider.ProofAlgorithm(m); err != nil {
		return failed(Configuration, err.Error(), "have the provider accept one of these, or turn DPOP off")
	} else if proofs != "" && len(m.DPoPAlgorithms) == 0 {
		return warning(Provider, "DPOP is on, and the provider does not say that it issues bound tokens (dpop_signing_alg_values_supported)",
			"have it issue them: bearer tokens are refused; or turn DPOP off")
	}
	if len(m.IDTokenAlgorithms) == 0 {
		return ok("ID_TOKEN_ALG allows %s; the provider does not say what it uses", strings.Join(algorithms, ", "))
	}
	return ok("ID tokens may be signed with %s", strings.Join(algorithms, ", "))
}

func (e *Examination) checkKeySet(ctx context.Context, m *openid.Metadata) Finding {
	algorithms, _ := e.provider.Algorithms(m) // checkAlgorithms reports that there is none
	all, fitting, err := e.provider.CountKeys(ctx, algorithms)
	if err != nil {
		return e.explain("the key set", err, "correct the key set at the provider: without it, no ID token can be verified")
	}
	if fitting == 0 {
		return failed(Configuration, fmt.Sprintf("none of %d signature keys fits an algorithm of ID_TOKEN_ALG", all),
			"set ID_TOKEN_ALG to what the provider signs this client's ID tokens with")
	}
	return ok("%d of %d signature keys fit", fitting, all)
}

// checkPKCE (RFC 8414 section 2): a provider that lists nothing may ignore it.
func (e *Examination) checkPKCE(_ context.Context, m *openid.Metadata) Finding {
	switch {
	case len(m.ChallengeMethods) == 0:
		return ok("the provider does not say whether it checks PKCE; every sign-in uses it")
	case !slices.Contains(m.ChallengeMethods, "S256"):
		return failed(Provider, "the provider offers PKCE without S256, the method of every sign-in here", "have S256 enabled at the provider")
	}
	return ok("S256")
}

// noticeableSkew is a difference that the precision of a second, and a slow response, do not
// explain.
const noticeableSkew = 10 * time.Second

func (e *Examination) checkClock(context.Context) Finding {
	ahead, known := e.provider.ClockSkew()
	if !known {
		return skipped("no response of the provider had a date")
	}
	const remedy = "synchronize this machine's clock with a time server; if it is already right, the provider's is wrong"
	found := fmt.Sprintf("this machine's clock is %s behind the provider's", ahead)
	if ahead < 0 {
		found = fmt.Sprintf("this machine's clock is %s ahead of the provider's", -ahead)
	}
	switch {
	case ahead.Abs() > openid.Leeway:
		return failed(Machine, fmt.Sprintf("%s; beyond %s, ID tokens are refused", found, openid.Leeway), remedy)
	case ahead.Abs() > noticeableSkew:
		return warning(Machine, fmt.Sprintf("%s; up to %s is tolerated", found, openid.Leeway), remedy)
	}
	return ok("this machine's and the provider's agree within %s", noticeableSkew)
}

func (e *Examination) checkPushedRequests(_ context.Context, m *openid.Metadata) Finding {
	const variable = "PUSHED_AUTHORIZATION_REQUESTS"
	offered, required, pushes := m.PushedAuthorizationRequestEndpoint != "", m.RequirePushedAuthorizationRequests, e.provider.Pushes(m)
	switch {
	case !offered && pushes:
		return failed(Configuration, variable+" is always, and the provider does not support them", "set it to auto")
	case required && !pushes:
		return failed(Configuration, variable+" is never, and the provider requires them", "set it to auto")
	case pushes:
		return ok("every authorization request is pushed")
	case offered:
		return ok("offered and not required; %s=always would use them", variable)
	}
	return ok("not offered, not needed")
}

// checkProfile compares the provider with what FAPI 2.0 demands of it. The configuration has been compared
// at the start.
func (e *Examination) checkProfile(_ context.Context, m *openid.Metadata) Finding {
	if gaps := e.provider.ProfileGaps(m); len(gaps) > 0 {
		return failed(Provider, "the provider does not offer, for "+e.provider.Profile()+": "+strings.Join(gaps, "; "),
			"have it enabled at the provider for this application, or remove PROFILE")
	}
	return ok("the provider says nothing against %s", e.provider.Profile())
}

func (e *Examination) checkBackchannelLogout(_ context.Context, m *openid.Metadata) Finding {
	if !m.BackchannelLogoutSupported && !m.BackchannelLogoutSessionSupported {
		return warning(Provider, "not offered: people who sign out elsewhere stay signed in here until the session expires",
			"shorten SESSION_IDLE or SESSION_ABSOLUTE if that is too long")
	}
	if e.outOfReach() {
		return ok("offered; it works once the app has an address that the provider reaches")
	}
	return ok("offered; it works if the provider has been given the app's address for it")
}

// outOfReach reports whether the provider cannot call this application: the application is on
// loopback, and the provider is not.
func (e *Examination) outOfReach() bool {
	own, err := url.Parse(e.urls.Callback)
	issuer, issuerErr := url.Parse(e.provider.Issuer())
	return err == nil && issuerErr == nil && openid.IsLoopback(own.Hostname()) && !openid.IsLoopback(issuer.Hostname())
}

// Registration is something that the provider has to know of this application.
type Registration struct {
	// Name is what the provider calls it; in general its name in OpenID Connect Dynamic
	// Client Registration 1.0 section 2.
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Registrations lists what has to be registered at the provider, in its own words.
func (e *Examination) Registrations() []Registration {
	preset := e.provider.Preset()
	list := []Registration{{preset.CallbackName(), e.urls.Callback}}
	if preset.RegistersSignOut() {
		list = append(list, Registration{preset.SignOutName(), e.urls.SignedOut})
	}
	if m := e.metadata; m != nil && (m.BackchannelLogoutSupported || m.BackchannelLogoutSessionSupported) && !e.outOfReach() {
		list = append(list, Registration{"backchannel_logout_uri", e.urls.BackchannelLogout})
	}
	if key, ok := e.provider.PublicKey(); ok {
		list = append(list, Registration{"key id (kid)", key.ID})
		if e.provider.ClientAuth() == openid.PrivateKeyJWT {
			list = append(list, Registration{"token_endpoint_auth_signing_alg", key.Algorithm})
		}
		if e.provider.SignsRequests() {
			list = append(list, Registration{"request_object_signing_alg", key.Algorithm})
		}
		list = append(list, Registration{"public key (jwk)", key.JWK})
	}
	if certificate, ok := e.provider.Certificate(); ok {
		switch e.provider.ClientAuth() {
		case openid.TLSClientAuth:
			list = append(list, Registration{"tls_client_auth_subject_dn", certificate.Subject})
		case openid.SelfSignedTLSClientAuth:
			list = append(list, Registration{"certificate (jwk)", certificate.JWK})
		}
		list = append(list, Registration{"tls_client_certificate_bound_access_tokens", "true"},
			Registration{"certificate (x5t#S256)", certificate.Thumbprint})
	}
	return list
}

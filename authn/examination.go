package authn

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Verdict is how a check ended.
type Verdict string

// The verdicts.
const (
	VerdictOK      Verdict = "ok"
	VerdictWarning Verdict = "warning" // it works, or cannot be told; somebody should know
	VerdictFailed  Verdict = "failed"
	VerdictSkipped Verdict = "skipped" // an earlier check stands in the way
)

// Side is whose matter a warning or a failure is.
type Side string

// The sides.
const (
	SideConfiguration Side = "configuration" // here, or where the app is registered
	SideProvider      Side = "provider"
	SideNetwork       Side = "network" // the way there: names, connections, certificates
	SideMachine       Side = "machine" // this one: its clock, files and ports
)

// Finding is what a check found. Its texts are the operator's and hold no secret, and
// nothing that the provider sent but what an *Error may hold.
type Finding struct {
	Verdict Verdict
	// Side is "" where nothing is wrong.
	Side  Side
	Found string
	// Remedy is what to do, "" where there is nothing to do.
	Remedy string
}

// Question is one about a set-up.
type Question struct {
	// Name is the same in every release.
	Name string
	Run  func(context.Context) Finding
}

// Examination asks the provider what it makes of a configuration, as the relying party
// itself would ask, without anybody's account: no more than the first steps of sign-ins
// and sign-outs that nobody finishes.
type Examination struct {
	rp    *RelyingParty
	clock *clockReader

	// fetched is the discovery document; metadata the same once it may be relied on.
	fetched, metadata *Metadata
	// obstacle is why there is no metadata.
	obstacle string
	// client says that the token endpoint took the client for who it is.
	client bool
	// response is the error of the authorization response, or "none"; "" where none came.
	response string
}

// NewExamination prepares an examination. It uses neither the store nor the keys of the
// configuration.
func NewExamination(cfg Config) (*Examination, error) {
	rp, err := NewRelyingParty(cfg)
	if err != nil {
		return nil, err
	}
	e := &Examination{rp: rp, obstacle: "the provider has not been asked yet"}
	e.clock = &clockReader{next: rp.client.Transport, now: cfg.Now}
	rp.client.Transport = e.clock
	return e, nil
}

// Questions are to be asked in their order: one rests on another.
func (e *Examination) Questions() []Question {
	return []Question{
		{"discovery", e.checkDiscovery},
		{"issuer", e.checkIssuer},
		{"endpoints", e.checkEndpoints},
		{"algorithms", e.with(e.checkAlgorithms)},
		{"key_set", e.with(e.checkKeySet)},
		{"pkce", e.with(e.checkPKCE)},
		{"client", e.with(e.checkClient)},
		{"clock", e.checkClock},
		{"pushed_requests", e.with(e.checkPushedRequests)},
		{"callback", e.with(e.checkCallback)},
		{"authorization_request", e.with(e.checkAuthorizationRequest)},
		{"sign_out", e.with(e.checkSignOut)},
		{"backchannel_logout", e.with(e.checkBackchannelLogout)},
	}
}

// with makes a check of one that needs metadata. Without it no endpoint is asked: the
// client secret is for the provider that is configured, and for no other.
func (e *Examination) with(check func(context.Context, *Metadata) Finding) func(context.Context) Finding {
	return func(ctx context.Context) Finding {
		if e.metadata == nil {
			return skipped(e.obstacle)
		}
		return check(ctx, e.metadata)
	}
}

func ok(format string, args ...any) Finding {
	return Finding{Verdict: VerdictOK, Found: fmt.Sprintf(format, args...)}
}

func skipped(why string) Finding { return Finding{Verdict: VerdictSkipped, Found: why} }

func warning(side Side, found, remedy string) Finding {
	return Finding{VerdictWarning, side, found, remedy}
}

func failed(side Side, found, remedy string) Finding {
	return Finding{VerdictFailed, side, found, remedy}
}

func (e *Examination) checkDiscovery(ctx context.Context) Finding {
	address := strings.TrimSuffix(e.rp.cfg.Issuer, "/") + "/.well-known/openid-configuration"
	m, err := e.rp.provider.fetch(ctx)
	if err != nil {
		e.obstacle = "there is no discovery document to go by"
		return e.explainDiscovery(address, err)
	}
	e.fetched = m
	return ok("%s is there", address)
}

func (e *Examination) checkIssuer(context.Context) Finding {
	if e.fetched == nil {
		return skipped(e.obstacle)
	}
	if err := e.fetched.checkIssuer(e.rp.cfg, e.rp.preset); err != nil {
		e.obstacle = "this is not the provider that is configured, so it is asked nothing more"
		found, remedy, _ := strings.Cut(err.Error(), "; ")
		return failed(SideConfiguration, found, joined(remedy, "write the issuer as the provider does, to the letter"))
	}
	return ok("the provider calls itself %s, to the letter", e.rp.cfg.Issuer)
}

// checkEndpoints releases the metadata to the other checks. That no algorithm is shared is
// another check's to say, and keeps nobody from asking on.
func (e *Examination) checkEndpoints(context.Context) Finding {
	if e.fetched == nil || e.fetched.Issuer != e.rp.cfg.Issuer {
		return skipped(e.obstacle)
	}
	if err := e.fetched.checkEndpoints(e.rp.cfg); err != nil {
		e.obstacle = "an endpoint cannot be used, so none is"
		return failed(SideProvider, strings.ReplaceAll(err.Error(), "\n", ", "), "the discovery document is the provider's to mend")
	}
	e.metadata = e.fetched
	e.rp.provider.adopt(e.fetched)
	return ok("all that are needed, each over https or on this machine")
}

func (e *Examination) checkAlgorithms(_ context.Context, m *Metadata) Finding {
	allowed := e.rp.cfg.IDTokenAlgorithms
	if err := m.checkAlgorithms(allowed); err != nil {
		return failed(SideConfiguration, err.Error(), "set ID_TOKEN_ALG to one of the provider's, or have it sign with another for this client")
	}
	if len(m.IDTokenAlgorithms) == 0 {
		return ok("ID_TOKEN_ALG allows %s; the provider does not say what it uses", strings.Join(allowed, ", "))
	}
	return ok("ID tokens may be signed with %s", strings.Join(m.algorithms(allowed), ", "))
}

func (e *Examination) checkKeySet(ctx context.Context, m *Metadata) Finding {
	keys, err := e.rp.keySet.fetch(ctx)
	if err != nil {
		return e.explain("the key set", err, "the key set is the provider's to mend: without it no ID token can be verified")
	}
	fitting := 0
	for _, key := range keys {
		for _, alg := range m.algorithms(e.rp.cfg.IDTokenAlgorithms) {
			if fits(key, alg) {
				fitting++
				break
			}
		}
	}
	if fitting == 0 {
		return failed(SideConfiguration, fmt.Sprintf("none of %d signature keys fits an algorithm of ID_TOKEN_ALG", len(keys)),
			"set ID_TOKEN_ALG to what the provider signs this client's ID tokens with")
	}
	return ok("%d of %d signature keys fit", fitting, len(keys))
}

// checkPKCE (RFC 8414 section 2): a provider that lists nothing may ignore it.
func (e *Examination) checkPKCE(_ context.Context, m *Metadata) Finding {
	switch {
	case len(m.ChallengeMethods) == 0:
		return ok("the provider does not say whether it checks PKCE; every sign-in brings it along")
	case !slices.Contains(m.ChallengeMethods, "S256"):
		return failed(SideProvider, "the provider offers PKCE without S256, the method of every sign-in here", "have S256 enabled at the provider")
	}
	return ok("S256")
}

func (e *Examination) checkPushedRequests(_ context.Context, m *Metadata) Finding {
	const variable = "PUSHED_AUTHORIZATION_REQUESTS"
	offered, required := m.PushedAuthorizationRequestEndpoint != "", m.RequirePushedAuthorizationRequests
	switch {
	case !offered && e.rp.pushes(m):
		return failed(SideConfiguration, variable+" is always, and the provider takes none", "set it to auto")
	case required && !e.rp.pushes(m):
		return failed(SideConfiguration, variable+" is never, and the provider requires them", "set it to auto")
	case e.rp.pushes(m):
		return ok("every authorization request is pushed")
	case offered:
		return ok("offered and not required; %s=always would use them", variable)
	}
	return ok("not offered, not needed")
}

func (e *Examination) checkBackchannelLogout(_ context.Context, m *Metadata) Finding {
	if !m.BackchannelLogoutSupported && !m.BackchannelLogoutSessionSupported {
		return warning(SideProvider, "not offered: who signs out elsewhere stays signed in here until the session's time is up",
			"shorten SESSION_IDLE or SESSION_ABSOLUTE if that is too long")
	}
	if e.outOfReach() {
		return ok("offered; it works once the app has an address that the provider reaches")
	}
	return ok("offered; it works where the provider has been given the app's address for it")
}

// adopt takes metadata that was fetched and checked elsewhere.
func (p *provider) adopt(m *Metadata) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.metadata, p.attempted, p.lastErr = m, p.cfg.Now(), nil
}

package authn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"latchkey/authn/openid"
)

const (
	// lastCookie keeps the name of the provider that a person has signed in with on this device, for
	// half a year.
	lastCookie   = "provider"
	lastLifetime = 183 * 24 * time.Hour
)

// RelyingParties are the relying parties of an application, one for each provider, in the order of the
// configuration. Their methods find the one for a request, a session or a token; that one does
// everything else.
type RelyingParties struct {
	list    []*RelyingParty
	cookies cookies
}

// NewRelyingParties returns the relying parties of a configuration.
func NewRelyingParties(cfg Config) (*RelyingParties, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg = cfg.measured()
	rps := &RelyingParties{cookies: cfg.cookies()}
	for _, p := range cfg.Providers {
		rps.list = append(rps.list, newRelyingParty(cfg, p, rps))
	}
	return rps, nil
}

// checkProviders checks that each provider can be told from the others: by its name, by the issuer of
// a session, and by the redirect URI that a response arrives at (RFC 9700 section 4.4.2.2), without
// which a response of one provider could be taken for one of another.
func (c Config) checkProviders() error {
	if len(c.Providers) == 0 {
		return errors.New("authn: no provider")
	}
	seen := make(map[string]bool)
	for _, p := range c.Providers {
		for _, distinct := range append([]string{"the name " + p.Name(), "the redirect URL " + p.RedirectURL()}, p.Issuers()...) {
			if seen[distinct] {
				return fmt.Errorf("authn: two providers have %s", distinct)
			}
			seen[distinct] = true
		}
	}
	return nil
}

// All returns all relying parties. The caller must not change the slice.
func (rps *RelyingParties) All() []*RelyingParty { return rps.list }

// First returns the relying party of the provider that is configured first. Restarted, Returned and
// SignedOutHere may be called on it for any provider, because all relying parties share their cookies.
func (rps *RelyingParties) First() *RelyingParty { return rps.list[0] }

// Only returns the relying party if there is only one; nil if there are several to choose from.
func (rps *RelyingParties) Only() *RelyingParty {
	if len(rps.list) > 1 {
		return nil
	}
	return rps.list[0]
}

// Named returns the relying party of a provider, or nil.
func (rps *RelyingParties) Named(name string) *RelyingParty {
	return rps.find(func(rp *RelyingParty) bool { return rp.Provider().Name() == name })
}

// Of returns the relying party of an issuer, such as that of a session, or nil. A session that
// Sessions has opened has one.
func (rps *RelyingParties) Of(issuer string) *RelyingParty {
	return rps.find(func(rp *RelyingParty) bool { return rp.Provider().HasIssuer(issuer) })
}

// StartedBy returns the relying party of the provider that starts a sign-in with this iss, or nil.
func (rps *RelyingParties) StartedBy(iss string) *RelyingParty {
	if rp := rps.Of(iss); rp != nil {
		return rp
	}
	return rps.find(func(rp *RelyingParty) bool { return rp.Provider().Starts(iss) })
}

// OfToken returns the relying party that can verify a token: the one of the issuer that the unverified
// token names. If that issuer is not configured, it returns the first one, which refuses the token.
func (rps *RelyingParties) OfToken(token string) *RelyingParty {
	if only := rps.Only(); only != nil {
		return only
	}
	if rp := rps.Of(openid.UnverifiedIssuer(token)); rp != nil {
		return rp
	}
	return rps.First()
}

// Transports are the transports of calls to an API in the name of people. Each client may have a
// certificate of its own.
type Transports struct {
	rps   *RelyingParties
	each  map[*RelyingParty]http.RoundTripper
	other http.RoundTripper // in place of them
}

// Transports returns base for each client, with the certificate of those that have one; see
// openid.Provider.Transport.
func (rps *RelyingParties) Transports(base *http.Transport) Transports {
	t := Transports{rps: rps, each: make(map[*RelyingParty]http.RoundTripper)}
	for _, rp := range rps.list {
		t.each[rp] = rp.Provider().Transport(base)
	}
	return t
}

// For returns the transport of the session that the context carries.
func (t Transports) For(ctx context.Context) http.RoundTripper {
	if t.other != nil {
		return t.other
	}
	rp := t.rps.First()
	if s := FromContext(ctx); s != nil {
		rp = t.rps.Of(s.Identity.Issuer)
	}
	return t.each[rp]
}

// Last returns the relying party that a person signed in with last on this device, or nil.
func (rps *RelyingParties) Last(r *http.Request) *RelyingParty {
	name, ok := rps.cookies.get(r, lastCookie)
	if !ok || name == "" {
		return nil
	}
	return rps.Named(name)
}

// Ready returns nil if at least one provider can be used, and otherwise why the first one cannot: a
// provider that is down must not keep out the people who sign in with another.
func (rps *RelyingParties) Ready() error {
	first := rps.First().Provider().Ready()
	if rps.find(func(rp *RelyingParty) bool { return rp.Provider().Ready() == nil }) != nil {
		return nil
	}
	return first
}

func (rps *RelyingParties) find(wanted func(*RelyingParty) bool) *RelyingParty {
	if i := slices.IndexFunc(rps.list, wanted); i >= 0 {
		return rps.list[i]
	}
	return nil
}

// remember keeps the provider that a person has chosen, if there are several.
func (rp *RelyingParty) remember(w http.ResponseWriter) {
	if rp.all.Only() == nil {
		rp.cookies.set(w, lastCookie, rp.Provider().Name(), lastLifetime, http.SameSiteLaxMode)
	}
}

// ofAnother reports whether a transaction is one of another provider's.
func (rp *RelyingParty) ofAnother(t *transaction) bool {
	return rp.all.find(func(other *RelyingParty) bool { return other != rp && other.binding == t.binding }) != nil
}

// Format implements fmt.Formatter for every verb, as that of a RelyingParty does.
func (rps RelyingParties) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "%d relying parties", len(rps.list))
}

package authn

import (
	"context"
	"encoding/json"
	"time"
)

// Seal and Open are what transactions and sessions are sealed with.

func (k *Keys) Seal(purpose string, salt, plaintext, additional []byte) ([]byte, error) {
	return k.seal(purpose, salt, plaintext, additional)
}

func (k *Keys) Open(purpose string, salt, sealed, additional []byte) (plaintext []byte, current bool, err error) {
	return k.open(purpose, salt, sealed, additional)
}

// StrictClaims are the claims of a token that is being judged.
type StrictClaims struct{ claims strictClaims }

// ParseStrict reads the claims of a token.
func ParseStrict(document []byte) (StrictClaims, error) {
	c, err := parseStrict(document)
	return StrictClaims{c}, err
}

// CheckOrganization checks an organization that was asked for.
func (c StrictClaims) CheckOrganization(asked string) error {
	return checkOrganization(c.claims, asked)
}

func (c StrictClaims) Raw() map[string]json.RawMessage     { return c.claims }
func (c StrictClaims) String(name string) (string, error)  { return c.claims.string(name) }
func (c StrictClaims) Time(name string) (time.Time, error) { return c.claims.time(name) }
func (c StrictClaims) Audience() ([]string, error)         { return c.claims.audience() }

// ActAs takes the provider for the one of another issuer, which no test can be.
func (rp *RelyingParty) ActAs(issuer string) { rp.preset = presetOf(issuer) }

// Presets returns the names of the known providers.
func Presets() []string {
	names := make([]string, len(presets))
	for i, p := range presets {
		names[i] = p.name
	}
	return names
}

// Mismatch is what an operator reads when an issuer's provider calls itself otherwise.
func Mismatch(provider, configured string) string {
	return presetOf(configured).mismatch(provider, configured)
}

// PresetName is the name of an issuer's provider, if it is a known one.
func PresetName(issuer string) string { return presetOf(issuer).name }

// Lease takes the lease on a session's tokens, as a node that refreshes them does, and
// keeps it until die is called, as a node does that dies.
func (ts *TokenSource) Lease(ctx context.Context, session *Session) (die context.CancelFunc, err error) {
	leased, holder, err := ts.acquire(ctx, session)
	kept, die := context.WithCancel(context.WithoutCancel(ctx))
	if err == nil {
		ts.underway.Go(func() { ts.keep(kept, leased, holder) })
	}
	return die, err
}

// Scope is what the session's access token is taken to be good for.
func (s *Session) Scope() string { return s.tokens.Scope }

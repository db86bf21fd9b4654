package openid

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// StrictClaims exports the claims of a token during verification.
type StrictClaims struct{ claims strictClaims }

// ParseStrict parses the claims of a token.
func ParseStrict(document []byte) (StrictClaims, error) {
	c, err := parseClaims(document)
	return StrictClaims{c}, err
}

// CheckOrganization checks the organization that a sign-in requested.
func (c StrictClaims) CheckOrganization(requested string) error {
	return checkOrganization(c.claims, requested)
}

func (c StrictClaims) Raw() map[string]json.RawMessage     { return c.claims }
func (c StrictClaims) String(name string) (string, error)  { return c.claims.string(name) }
func (c StrictClaims) Time(name string) (time.Time, error) { return c.claims.time(name) }
func (c StrictClaims) Audience() ([]string, error)         { return c.claims.audience() }

// ActAs makes the provider behave as the provider of another issuer, which a test cannot
// use.
func (p *Provider) ActAs(issuer string) {
	p.preset = presetOf(issuer)
	p.discovery.preset = p.preset
}

// Starts reports whether the provider of an issuer starts sign-ins with this iss.
func Starts(issuer, iss string) bool {
	p := &Provider{cfg: Config{Issuer: issuer}, issuers: []string{issuer}, preset: presetOf(issuer)}
	return p.Starts(iss)
}

// PresetName returns the name of an issuer's provider, or "" if it has no preset.
func PresetName(issuer string) string { return presetOf(issuer).Name }

// IsAuth0 reports whether an issuer is that of an Auth0 tenant under its own domain.
func IsAuth0(issuer string) bool { return presetOf(issuer).Name == auth0 }

// Misspelt returns the remedy for an issuer that can never work.
func Misspelt(issuer string) string { return misspelt(issuer) }

// Mismatch returns the remedy for an issuer whose provider reports another one.
func Mismatch(provider, configured string) string {
	var e *IssuerError
	_ = errors.As((&Metadata{Issuer: provider}).checkIssuer(Config{Issuer: configured}), &e)
	return e.Remedy()
}

// VerifyIDToken returns the subject of an accepted ID token. It lets the fuzz target reach
// the verifier without a network.
func (p *Provider) VerifyIDToken(ctx context.Context, raw, nonce string) (string, error) {
	t, _, err := p.verifyIDToken(ctx, Tokens{IDToken: Secret(raw), Access: "access"}, Expected{Nonce: nonce})
	if err != nil {
		return "", err
	}
	return t.Subject, nil
}

// ParseKeys returns how many keys of a key set are usable.
func ParseKeys(document []byte) (int, error) {
	keys, _, err := parseKeys(document)
	return len(keys), err
}

// ParseMetadata parses a discovery document.
func ParseMetadata(document []byte, issuer string) (*Metadata, error) {
	m := new(Metadata)
	if err := json.Unmarshal(document, m); err != nil {
		return nil, err
	}
	return m, m.validate(Config{Issuer: issuer, IDTokenAlgorithms: []string{"RS256", "ES256"}})
}

// MaxNonces is how many servers' nonces are kept, and Nonces counts them.
const MaxNonces = maxNonces

func (p *Provider) Nonces() int {
	p.nonces.mu.Lock()
	defer p.nonces.mu.Unlock()
	return len(p.nonces.byServer)
}

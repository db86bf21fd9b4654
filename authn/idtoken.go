package authn

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	// An ID token that comes straight from the token endpoint is seconds old, and
	// nobody needs one that is valid for longer than a day.
	maxIDTokenAge      = 10 * time.Minute
	maxIDTokenLifetime = 24 * time.Hour
	maxSubjectBytes    = 255
)

// idTokenCheck is what an ID token is compared with.
type idTokenCheck struct {
	nonce        string // of the transaction; "" for a refreshed token
	refreshed    bool   // a refreshed ID token may lack a nonce
	accessToken  string // that came with it, for at_hash
	demand       Demand
	organization string // that was asked for
}

// idToken is what an accepted ID token says.
type idToken struct {
	subject  string
	sid      string
	nonce    string
	issuedAt time.Time
	authTime time.Time
	// sessionExpiry is when the provider's own session ends, whatever is done until
	// then (IPSIE SL1's session_expiry); zero where it does not say.
	sessionExpiry time.Time
	claims        Claims
}

// verifyIDToken does the checks of OpenID Connect Core 1.0 section 3.1.3.7: those
// that go-oidc does, and those that it leaves to its caller.
func (rp *RelyingParty) verifyIDToken(ctx context.Context, raw string, check idTokenCheck) (*idToken, error) {
	if len(raw) > maxJWTBytes {
		return nil, refuse(ReasonTooLarge, "an ID token of %d bytes, more than %d", len(raw), maxJWTBytes)
	}
	if err := checkForm(raw, true); err != nil {
		return nil, err
	}
	if _, err := rp.parseSigned(raw); err != nil {
		return nil, err
	}
	// go-oidc: signature by a pinned algorithm (6, 7), issuer (2), audience (3) and
	// expiry (9), with our leeway.
	verified, err := rp.verifier.Verify(ctx, raw)
	if err != nil {
		return nil, describeVerifyError(err)
	}
	payload := claimsOf(verified)
	c, err := parseStrict(payload)
	if err != nil {
		return nil, fmt.Errorf("the claims: %w", err)
	}
	t := &idToken{claims: payload}
	checks := []func(strictClaims, *idToken) error{
		rp.checkParties, rp.checkTimes, checkSubject, checkNotLogout,
	}
	for _, one := range checks {
		if err := one(c, t); err != nil {
			return nil, err
		}
	}
	// Section 3.1.3.7 (11), and section 12.2 for a refreshed token.
	if t.nonce, err = c.string("nonce"); err != nil {
		return nil, err
	}
	if required := !check.refreshed || c.has("nonce"); required && !equalSecret(t.nonce, check.nonce) {
		return nil, errors.New("the nonce is missing or of another sign-in")
	}
	// Section 3.1.3.8: optional in the code flow, binding where it is present.
	if c.has("at_hash") {
		if err := verified.VerifyAccessToken(check.accessToken); err != nil {
			return nil, errors.New("at_hash is not that of the access token")
		}
	}
	if err := checkOrganization(c, check.organization); err != nil {
		return nil, err
	}
	if err := rp.checkDemand(c, t, check.demand); err != nil {
		return nil, err
	}
	return t, nil
}

// equalSecret takes the same time whatever the difference, and equals nothing to "".
func equalSecret(got, want string) bool {
	return want != "" && subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

// checkParties checks issuer, audience and authorized party (section 3.1.3.7, 2 to
// 5). go-oidc accepts a second spelling of Google's issuer, any further audience
// and any azp; a token that was made for several parties is accepted here only if
// it says that we are the one it was given to.
func (rp *RelyingParty) checkParties(c strictClaims, _ *idToken) error {
	iss, err := c.string("iss")
	if err != nil || iss != rp.cfg.Issuer {
		return errors.New("iss is not the configured issuer")
	}
	aud, err := c.audience()
	if err != nil {
		return err
	}
	if !slices.Contains(aud, rp.cfg.ClientID) {
		return errors.New("aud does not name this client")
	}
	azp, err := c.string("azp")
	if err != nil {
		return err
	}
	if c.has("azp") && azp != rp.cfg.ClientID {
		return errors.New("azp names another client")
	}
	if len(aud) > 1 && azp != rp.cfg.ClientID {
		return errors.New("aud names others and azp does not name this client")
	}
	return nil
}

// checkTimes checks exp, iat and nbf (section 3.1.3.7, 9 and 10; RFC 7519 section
// 4.1.5).
func (rp *RelyingParty) checkTimes(c strictClaims, t *idToken) error {
	now := rp.cfg.Now()
	exp, err := c.time("exp")
	if err != nil || exp.IsZero() {
		return errors.New("exp is missing or not a time")
	}
	iat, err := c.time("iat")
	if err != nil || iat.IsZero() {
		return errors.New("iat is missing or not a time")
	}
	nbf, err := c.time("nbf")
	if err != nil {
		return err
	}
	if t.authTime, err = c.time("auth_time"); err != nil {
		return err
	}
	if t.sessionExpiry, err = c.time("session_expiry"); err != nil {
		return err
	}
	t.issuedAt = iat
	switch skew := iat.Sub(now); {
	case skew > leeway:
		return fmt.Errorf("issued %s in the future: compare this clock with the provider's", skew.Round(time.Second))
	case skew < -maxIDTokenAge:
		return fmt.Errorf("issued %s ago: compare this clock with the provider's", (-skew).Round(time.Second))
	case now.After(exp.Add(leeway)):
		return errors.New("expired")
	case exp.Sub(now) > maxIDTokenLifetime+leeway:
		return errors.New("valid for more than a day: shorten the lifetime of ID tokens at the provider")
	case nbf.Sub(now) > leeway:
		return errors.New("not valid yet")
	case !t.sessionExpiry.IsZero() && !now.Before(t.sessionExpiry):
		return errors.New("the provider's session is over")
	}
	return nil
}

// checkSubject checks sub (section 2) and reads sid (OpenID Connect Back-Channel
// Logout 1.0 section 2.1).
func checkSubject(c strictClaims, t *idToken) (err error) {
	if t.subject, err = c.string("sub"); err != nil {
		return err
	}
	if !validSubject(t.subject) {
		return errors.New("sub is missing, too long or has unprintable characters")
	}
	t.sid, err = c.string("sid")
	return err
}

func validSubject(sub string) bool {
	unprintable := func(r rune) bool {
		// RuneError stands for every byte that is not UTF-8: two such subjects would
		// be one person.
		return unicode.IsControl(r) || r == utf8.RuneError
	}
	return strings.TrimSpace(sub) != "" && len(sub) <= maxSubjectBytes && !strings.ContainsFunc(sub, unprintable)
}

// checkNotLogout refuses a logout token that is passed off as an ID token (OpenID
// Connect Back-Channel Logout 1.0 section 4).
func checkNotLogout(c strictClaims, _ *idToken) error {
	if c.has("events") {
		return errors.New("has events, as a logout token has")
	}
	return nil
}

// describeVerifyError keeps what an operator can use of go-oidc's error, which
// quotes claims of the token.
func describeVerifyError(err error) error {
	if e, ok := errors.AsType[*oidc.TokenExpiredError](err); ok {
		return fmt.Errorf("expired at %s: compare this clock with the provider's", e.Expiry.UTC().Format(time.RFC3339))
	}
	text := err.Error()
	// go-oidc does not wrap what a KeySet returns.
	for _, reason := range []Reason{ReasonProviderUnreachable, ReasonProviderMisconfigured} {
		if strings.Contains(text, string(reason)) {
			return refuse(reason, "the key set cannot be fetched")
		}
	}
	for _, known := range []struct{ part, text string }{
		{"different provider", "iss is not the configured issuer"},
		{"expected audience", "aud does not name this client"},
		{"nbf", "not valid yet"},
		{errNoKey.Error(), "no key of the provider's verifies the signature"},
		{"malformed jwt", errAlgorithm.Error()},
	} {
		if strings.Contains(text, known.part) {
			return errors.New(known.text)
		}
	}
	return errors.New("not a valid token")
}

// claimsOf returns the payload that go-oidc verified.
func claimsOf(t *oidc.IDToken) Claims {
	var raw json.RawMessage
	if err := t.Claims(&raw); err != nil {
		return nil // parseStrict refuses it
	}
	return Claims(raw)
}

package authn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// AccessToken is what an accepted access token says.
type AccessToken struct {
	Issuer, Subject string
	// ClientID is the client that it was issued to: this application, or another one.
	ClientID string
	// Scopes are what its holder may do.
	Scopes []string
	// Expires is when it ends, by the provider's clock.
	Expires time.Time
	// Claims are all that it says.
	Claims Claims
}

// VerifyAccessToken does the checks of RFC 9068 section 4: the token is a JWT of the
// provider's, for Config.Audience and valid now. It is not asked for at the provider, so
// that one that was revoked is good until it expires.
//
// RFC 9068 has typ at+jwt. Auth0's own profile, Keycloak and others have JWT, or no typ
// at all, and a token of another kind must not pass for one of these. So such a token needs
// what an ID token and a logout token never have: a scope, or Auth0's gty (auth0.com/docs,
// "Access Token Profiles"), which is there where a program was granted no scope. It may not
// be for this client itself; and whatever its typ, a token is refused that has what belongs
// to these two (see notAccess).
//
// The *Error is of ReasonAccessTokenInvalid, ReasonProviderUnreachable or
// ReasonProviderMisconfigured.
func (rp *RelyingParty) VerifyAccessToken(ctx context.Context, raw string) (*AccessToken, error) {
	t, err := rp.checkAccessToken(ctx, raw)
	if err == nil {
		return t, nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return nil, e
	}
	return nil, &Error{Reason: ReasonAccessTokenInvalid, Err: err}
}

func (rp *RelyingParty) checkAccessToken(ctx context.Context, raw string) (*AccessToken, error) {
	if rp.cfg.Audience == "" {
		return nil, errors.New("no audience is configured, so no access token is for this application")
	}
	if err := checkForm(raw, true, "at+jwt"); err != nil {
		return nil, err
	}
	// The algorithms are those of the configuration, not of metadata: that speaks of ID
	// tokens. "none" and HS256 are never among them.
	jws, err := jose.ParseSignedCompact(raw, rp.algorithms())
	if err != nil {
		return nil, errAlgorithm
	}
	// Judged before the signature is, so that no key is fetched for what would be refused
	// anyway.
	payload := jws.UnsafePayloadWithoutVerification()
	t, err := rp.readAccessToken(jws, payload)
	if err != nil {
		return nil, err
	}
	if _, err := rp.accessKeys.VerifySignature(ctx, raw); err != nil {
		return nil, err
	}
	return t, nil
}

// readAccessToken does all checks but that of the signature.
func (rp *RelyingParty) readAccessToken(jws *jose.JSONWebSignature, payload []byte) (*AccessToken, error) {
	c, err := parseStrict(payload)
	if err != nil {
		return nil, fmt.Errorf("the claims: %w", err)
	}
	t := &AccessToken{Claims: Claims(payload)}
	if t.Issuer, err = c.string("iss"); err != nil || t.Issuer != rp.cfg.Issuer {
		return nil, errors.New("iss is not the configured issuer")
	}
	typ, _ := jws.Signatures[0].Header.ExtraHeaders[jose.HeaderType].(string)
	if err := rp.checkAccessAudience(c, checkType(typ, false, []string{"at+jwt"}) == nil); err != nil {
		return nil, err
	}
	for _, name := range notAccess {
		if c.has(name) {
			return nil, fmt.Errorf("has %s, as another kind of token has", name)
		}
	}
	if t.Subject, err = c.string("sub"); err != nil || !validSubject(t.Subject) {
		return nil, errors.New("sub is missing or not a subject")
	}
	if t.ClientID, err = clientOf(c); err != nil {
		return nil, err
	}
	scope, err := c.string("scope") // RFC 9068 section 2.2.3
	if err != nil {
		return nil, err
	}
	t.Scopes = strings.Fields(scope)
	t.Expires, err = rp.checkAccessTimes(c)
	return t, err
}

// notAccess are claims of an ID token (OpenID Connect Core 1.0 sections 2 and 3.3.2.11)
// and of a logout token (Back-Channel Logout 1.0 section 2.4). cnf binds a token to a key
// that its holder has to prove (RFC 7800 section 3): who sends it as a bearer token does not.
var notAccess = []string{"nonce", "at_hash", "c_hash", "s_hash", "events", "cnf"}

// checkAccessAudience checks aud (RFC 9068 section 4), and what has to be there instead of
// the type of a token that names none.
func (rp *RelyingParty) checkAccessAudience(c strictClaims, typed bool) error {
	aud, err := c.audience()
	if err != nil {
		return err
	}
	switch {
	case !slices.Contains(aud, rp.cfg.Audience):
		return errors.New("aud does not name the configured audience")
	case typed:
		return nil
	case slices.Contains(aud, rp.cfg.ClientID):
		return errors.New("aud names this client, as an ID token does, and typ is not at+jwt")
	case !c.has("scope") && !c.has("gty"):
		return errors.New("has neither scope nor gty, and typ is not at+jwt")
	}
	return nil
}

// clientOf returns the client that a token was issued to: client_id (RFC 9068 section
// 2.2), which some call azp. Where a token has both they are the same.
func clientOf(c strictClaims) (string, error) {
	id, err := c.string("client_id")
	if err != nil {
		return "", err
	}
	azp, err := c.string("azp")
	switch {
	case err != nil:
		return "", err
	case c.has("client_id") && c.has("azp") && id != azp:
		return "", errors.New("client_id and azp are two clients")
	case id+azp == "":
		return "", errors.New("says no client_id and no azp")
	case id == "":
		return azp, nil
	}
	return id, nil
}

// checkAccessTimes checks exp, iat and nbf. How long a token may live is for the provider
// to say.
func (rp *RelyingParty) checkAccessTimes(c strictClaims) (expires time.Time, err error) {
	now := rp.cfg.Now()
	if expires, err = c.time("exp"); err != nil || expires.IsZero() {
		return time.Time{}, errors.New("exp is missing or not a time")
	}
	issued, err := c.time("iat")
	if err != nil || issued.IsZero() {
		return time.Time{}, errors.New("iat is missing or not a time")
	}
	notBefore, err := c.time("nbf")
	switch {
	case err != nil:
		return time.Time{}, err
	case now.After(expires.Add(leeway)):
		return time.Time{}, errors.New("expired")
	case issued.Sub(now) > leeway:
		return time.Time{}, errors.New("issued in the future: compare this clock with the provider's")
	case notBefore.Sub(now) > leeway:
		return time.Time{}, errors.New("not valid yet")
	}
	return expires, nil
}

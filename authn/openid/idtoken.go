package openid

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxSubjectBytes = 255
	// MaxClaimsBytes bounds the claims of a person: those of the ID token and of userinfo
	// together.
	MaxClaimsBytes = 64 << 10
)

// Expected is what the ID token of a sign-in is compared with.
type Expected struct {
	// Verifier and Nonce are those of the authorization request.
	Verifier, Nonce string
	// Demand and Organization are what it asked for.
	Demand       Demand
	Organization string
}

// IDToken is what an accepted ID token says.
type IDToken struct {
	Issuer, Subject string
	// SID is the provider's id of its session with the person, or "".
	SID string
	// IssuedAt is by the provider's clock.
	IssuedAt time.Time
	// AuthTime is when the person authenticated; zero if the provider does not say.
	AuthTime time.Time
	// SessionExpiry is when the provider's own session ends, whatever happens until then
	// (session_expiry of IPSIE SL1); zero if the provider does not say.
	SessionExpiry time.Time
	Claims        Claims
}

// SignIn is the outcome of a sign-in at the provider.
type SignIn struct {
	Identity Identity
	Tokens   Tokens
	IDToken  IDToken
}

// Redeem exchanges a code for tokens, once, verifies the ID token and asks userinfo (OpenID
// Connect Core 1.0 section 3.1.3). The error is an *Error with ReasonTokenRequestFailed,
// ReasonTokenInvalid, ReasonIDTokenInvalid, ReasonStepUpFailed, ReasonUserInfoMismatch,
// ReasonUserInfoRequired or ReasonTooLarge, or a reason of Metadata.
func (p *Provider) Redeem(ctx context.Context, code string, want Expected) (*SignIn, error) {
	m, err := p.discovery.wait(ctx)
	if err != nil {
		return nil, err
	}
	tokens, err := p.exchange(ctx, m, code, want.Verifier)
	if err != nil {
		return nil, err
	}
	idToken, claims, err := p.verifyIDToken(ctx, tokens, want)
	if err != nil {
		return nil, err
	}
	if m.BackchannelLogoutSessionSupported && idToken.SID == "" {
		p.cfg.Log.WarnContext(ctx, "the ID token has no sid: a sign-out at the provider ends either all of a person's sessions or none")
	}
	info, err := p.userInfo(ctx, tokens, idToken.Subject)
	switch {
	case ReasonOf(err) == ReasonUserInfoMismatch:
		return nil, err
	case err != nil && p.cfg.UserInfoRequired:
		return nil, &Error{Reason: ReasonUserInfoRequired, Err: err}
	case err != nil:
		// The ID token alone says who this is. Refusing people because a second endpoint is
		// down would lock everyone out, and a refresh of the profile asks again.
		p.cfg.Log.WarnContext(ctx, "signed in without userinfo", "reason", ReasonOf(err), "error", err)
	}
	if n := len(idToken.Claims) + len(info.document); n > MaxClaimsBytes {
		return nil, refuse(ReasonTooLarge, "%d bytes of claims, more than %d", n, MaxClaimsBytes)
	}
	return &SignIn{Identity: newIdentity(idToken, claims, info), Tokens: tokens, IDToken: *idToken}, nil
}

// verifyIDToken does the checks of OpenID Connect Core 1.0 section 3.1.3.7.
func (p *Provider) verifyIDToken(ctx context.Context, tokens Tokens, want Expected) (*IDToken, strictClaims, error) {
	t, c, err := p.readIDToken(ctx, tokens)
	if err != nil {
		return nil, nil, err
	}
	nonce, err := c.string("nonce") // section 3.1.3.7 (11)
	if err != nil || !EqualSecret(nonce, want.Nonce) {
		return nil, nil, refuse(ReasonIDTokenInvalid, "the nonce is missing or belongs to another sign-in")
	}
	if err := checkOrganization(c, want.Organization); err != nil {
		return nil, nil, withReason(ReasonIDTokenInvalid, err)
	}
	if err := p.checkDemand(c, t, want.Demand); err != nil {
		return nil, nil, withReason(ReasonIDTokenInvalid, err)
	}
	return t, c, nil
}

// ErrIDTokenUnusable says that a refreshed ID token cannot be used, although nothing suggests that it
// belongs to another person.
var ErrIDTokenUnusable = errors.New("the refreshed ID token cannot be used")

// VerifyRefreshedIDToken verifies an ID token that came with refreshed tokens: it must be of
// the same issuer and subject, for the same client, and of the same sign-in (OpenID Connect
// Core 1.0 section 12.2). nonce is that of the sign-in, which a refreshed ID token need not
// repeat. auth_time may be later: some providers (Amazon Cognito, Azure AD B2C) count a refresh
// as a sign-in.
//
// The error is an *Error with ReasonIDTokenInvalid, which wraps ErrIDTokenUnusable for a fault that is no
// reason to distrust the tokens, such as a clock that is wrong; or ReasonProviderUnreachable or
// ReasonProviderMisconfigured if there are no keys to verify it with.
func (p *Provider) VerifyRefreshedIDToken(ctx context.Context, tokens Tokens, signedIn Identity, nonce string) (*IDToken, error) {
	signed, err := parseToken(string(tokens.IDToken))
	if err != nil {
		return nil, unusable(err)
	}
	// Check first whose token it is: a wrong clock must not hide that it is another person's.
	if signed.by, err = p.checkSameSignIn(signed.claims, signedIn, nonce); err != nil {
		return nil, withReason(ReasonIDTokenInvalid, err)
	}
	if err := signed.checkSigned(); err != nil {
		return nil, unusable(err)
	}
	err = p.checkSignature(ctx, signed, p.idTokens)
	if errors.Is(err, errNoKey) {
		return nil, withReason(ReasonIDTokenInvalid, err)
	}
	if err == nil {
		err = p.check(signed, p.idTokens)
	}
	if err != nil {
		return nil, unusable(err)
	}
	t, err := p.readIDTokenClaims(ctx, signed, tokens.Access)
	if err != nil {
		return nil, unusable(err)
	}
	return t, nil
}

// unusable returns err as an *Error: the one in its chain, or else one that wraps
// ErrIDTokenUnusable.
func unusable(err error) *Error {
	return withReason(ReasonIDTokenInvalid, fmt.Errorf("%w: %w", ErrIDTokenUnusable, err))
}

// checkSameSignIn checks that a refreshed ID token, whose signature may not have been verified, is of
// the same issuer, client, subject and nonce.
func (p *Provider) checkSameSignIn(c strictClaims, signedIn Identity, nonce string) (issued, error) {
	by, err := p.checkParties(c, p.cfg.ClientID)
	if err != nil {
		return issued{}, err
	}
	if by.issuer != signedIn.Issuer {
		return issued{}, errors.New("the refreshed ID token is of another tenant")
	}
	if err := p.checkAuthorizedParty(c); err != nil {
		return issued{}, err
	}
	if sub, err := c.string("sub"); err != nil || sub != signedIn.Subject {
		return issued{}, errors.New("the refreshed ID token is of another subject")
	}
	if repeated, err := c.string("nonce"); err != nil || (c.has("nonce") && !EqualSecret(repeated, nonce)) {
		return issued{}, errors.New("the nonce is of another sign-in")
	}
	return by, nil
}

// readIDToken does the checks that every ID token needs.
func (p *Provider) readIDToken(ctx context.Context, tokens Tokens) (*IDToken, strictClaims, error) {
	raw := string(tokens.IDToken)
	if len(raw) > maxJWTBytes {
		return nil, nil, refuse(ReasonTooLarge, "an ID token of %d bytes, more than %d", len(raw), maxJWTBytes)
	}
	signed, err := p.verify(ctx, raw, p.idTokens)
	if err != nil {
		return nil, nil, err
	}
	t, err := p.readIDTokenClaims(ctx, signed, tokens.Access)
	if err != nil {
		return nil, nil, withReason(ReasonIDTokenInvalid, err)
	}
	return t, signed.claims, nil
}

func (p *Provider) readIDTokenClaims(ctx context.Context, signed *signedToken, access Secret) (*IDToken, error) {
	c, t := signed.claims, &IDToken{Issuer: signed.by.issuer, IssuedAt: signed.issued, Claims: signed.payload}
	if err := p.checkAuthorizedParty(c); err != nil {
		return nil, err
	}
	// An auth_time that makes no sense counts as none. If max_age was requested, checkDemand
	// refuses the token then.
	var err error
	t.AuthTime, _ = c.time("auth_time")
	if t.SessionExpiry, err = c.time("session_expiry"); err != nil {
		return nil, err
	}
	if !t.SessionExpiry.IsZero() && !p.cfg.Now().Before(t.SessionExpiry) {
		return nil, refuse(ReasonIDTokenInvalid, "the provider's session is over")
	}
	if t.Subject, err = c.string("sub"); err != nil {
		return nil, err
	}
	if !validSubject(t.Subject) { // section 2
		return nil, errors.New("sub is missing, too long or has unprintable characters")
	}
	if t.SID, err = c.string("sid"); err != nil { // OpenID Connect Back-Channel Logout 1.0 section 2.1
		return nil, err
	}
	verified, err := p.verifier(signed).Verify(ctx, signed.raw)
	if err != nil {
		return nil, errSecondOpinion
	}
	// Section 3.1.3.8: optional in the code flow, binding if it is present.
	if c.has("at_hash") && verified.VerifyAccessToken(string(access)) != nil {
		return nil, errors.New("at_hash is not that of the access token")
	}
	return t, nil
}

// checkAuthorizedParty checks azp (section 3.1.3.7, 4 and 5). A token for several parties is
// accepted only if it says that it was issued to this client.
func (p *Provider) checkAuthorizedParty(c strictClaims) error {
	aud, err := c.audience()
	if err != nil {
		return err
	}
	azp, err := c.string("azp")
	if err != nil {
		return err
	}
	if c.has("azp") && azp != p.cfg.ClientID {
		return errors.New("azp names another client")
	}
	if len(aud) > 1 && azp != p.cfg.ClientID {
		return errors.New("aud names others and azp does not name this client")
	}
	return nil
}

func validSubject(sub string) bool {
	unprintable := func(r rune) bool {
		// RuneError stands for every byte that is not UTF-8: two such subjects would be one
		// person.
		return unicode.IsControl(r) || r == utf8.RuneError
	}
	return strings.TrimSpace(sub) != "" && len(sub) <= maxSubjectBytes && !strings.ContainsFunc(sub, unprintable)
}

// checkDemand checks that the provider did what was asked of it. max_age and acr_values are
// requests that a browser carries, where anyone can take them out, and that a provider may
// overlook (OpenID Connect Core 1.0 section 3.1.3.7, 12 and 13).
func (p *Provider) checkDemand(c strictClaims, t *IDToken, d Demand) error {
	acr, err := c.string("acr")
	if err != nil && len(d.ACR) > 0 {
		return err
	}
	switch {
	case d.MaxAge > 0 && t.AuthTime.IsZero():
		return refuse(ReasonStepUpFailed, "max_age was requested, and the ID token has no auth_time")
	case !d.recent(t.AuthTime, p.cfg.Now()):
		return refuse(ReasonStepUpFailed, "auth_time is not within the max_age of %s", d.MaxAge)
	case !d.strong(acr):
		return refuse(ReasonStepUpFailed, "acr is none of the requested acr_values")
	}
	return nil
}

// checkOrganization checks that a person signed in through the organization that was
// requested, by its id or by its name ("Work with Tokens and Organizations", Validate tokens).
// Without the check, a link that names one customer's organization would sign in the people of
// another; every provider has to confirm it. Auth0's names are lower case, whatever was
// requested ("Use Organization Names in Authentication API"); ids are compared exactly.
func checkOrganization(c strictClaims, requested string) error {
	if requested == "" {
		return nil
	}
	claim := "org_name"
	if strings.HasPrefix(requested, "org_") {
		claim = "org_id"
	}
	got, err := c.string(claim)
	if err != nil {
		return err
	}
	if got != requested && (claim == "org_id" || !strings.EqualFold(got, requested)) {
		return fmt.Errorf("%s is missing or not that of the requested organization", claim)
	}
	return nil
}

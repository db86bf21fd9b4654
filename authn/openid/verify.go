package openid

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/time/rate"
)

const (
	maxJWTBytes        = 32 << 10
	maxIDTokenLifetime = 31 * 24 * time.Hour
)

// tokenKind is a kind of signed token, and what tells it from the others (RFC 8725 sections
// 3.11 and 3.12). A token of one kind must never pass for another.
type tokenKind struct {
	// reason is that of a token that is refused.
	reason Reason
	// types are the media types that the header's typ may name. If lax is set, a header
	// without typ, and "JWT", which say nothing, are accepted too.
	types []string
	lax   bool
	// signedWith are the algorithms that the configuration allows. metadata says that those in
	// metadata, which speak of ID tokens, narrow them.
	signedWith []string
	metadata   bool
	// audience must be in aud.
	audience string
	// foreign are claims that only other kinds have. Even one without a value counts: a provider
	// that writes claims without a value does so only for claims of the token's own kind.
	foreign []string
	// undated says that exp and iat may be missing, unissued that iat may be, and endless that
	// exp may be: such a token expires maxAge after iat.
	undated, unissued, endless bool
	// maxAge bounds the time since iat, and maxLifetime the time until exp; 0 means no limit.
	maxAge, maxLifetime time.Duration
	// refetches limits how often a token with an unknown key fetches the key set.
	refetches *rate.Limiter
}

// defineTokenKinds fills the table of the kinds. Each has a limit of its own for fetching the
// key set: a stranger can send logout and access tokens without end, and must not use up what
// a sign-in needs when the provider has changed its keys.
func (p *Provider) defineTokenKinds() {
	limit := func(burst int) *rate.Limiter { return rate.NewLimiter(rate.Every(refetchInterval), burst) }
	fromProvider := limit(2)
	// OpenID Connect Core 1.0 section 3.1.3.7. An ID token comes straight from the token
	// endpoint, so it is seconds old. How long it stays valid means little: the nonce ties it
	// to one sign-in, it is accepted once, and the session has an end of its own. Azure AD B2C
	// and Casdoor issue them for days; beyond maxIDTokenLifetime exp is no lifetime but a
	// mistake. A logout token has events (Back-Channel Logout 1.0 section 4).
	p.idTokens = tokenKind{
		reason: ReasonIDTokenInvalid, lax: true, metadata: true, audience: p.cfg.ClientID, foreign: []string{"events"},
		maxAge: 10 * time.Minute, maxLifetime: maxIDTokenLifetime, refetches: fromProvider,
	}
	// OpenID Connect Back-Channel Logout 1.0 section 2.6. A logout token is made for one
	// call: an old one could end a session that has begun since (section 4). Section 2.4
	// requires exp, and Ory Hydra's tokens have none: iat bounds those.
	strict := p.cfg.StrictLogoutTokens
	p.logoutTokens = tokenKind{
		reason: ReasonLogoutTokenInvalid, types: []string{"logout+jwt"}, lax: !strict, endless: !strict, metadata: true,
		audience: p.cfg.ClientID, foreign: []string{"nonce"}, maxAge: 5*time.Minute + Leeway, refetches: limit(1),
	}
	// RFC 9068 section 4. The foreign claims are those of an ID token (Core sections 2 and
	// 3.3.2.11) and of a logout token. How long an access token lives is for the provider to say.
	p.accessTokens = tokenKind{
		reason: ReasonAccessTokenInvalid, types: []string{"at+jwt"}, lax: true, audience: p.cfg.Audience,
		foreign: []string{"nonce", "at_hash", "c_hash", "s_hash", "events"}, refetches: limit(1),
	}
	// JARM section 2.1 asks for iss, aud and exp, and section 2.4 for their checks. The foreign
	// claims are those of tokens, for the same reason as above. A stranger can send responses, too.
	p.responses = tokenKind{
		reason: ReasonResponseInvalid, lax: true, unissued: true, audience: p.cfg.ClientID, signedWith: p.cfg.ResponseAlgorithms,
		foreign: []string{"sub", "nonce", "at_hash", "c_hash", "s_hash", "events", "cnf"}, refetches: limit(2),
	}
	// Core section 5.3.2: a signed userinfo response need not expire.
	p.userInfos = tokenKind{
		reason: ReasonUserInfoFailed, types: []string{"userinfo+jwt"}, lax: true, audience: p.cfg.ClientID,
		foreign: []string{"nonce", "events"}, undated: true, refetches: fromProvider,
	}
}

// signedToken is a token that verify checks.
type signedToken struct {
	raw    string
	header strictClaims
	// typ is that of the header, in lower case and without "application/"; typed says that it
	// names the kind.
	typ   string
	typed bool
	alg   string
	// signature is the length of the signature in bytes.
	signature int
	payload   Claims
	claims    strictClaims
	// by says who issued it, once check has passed.
	by issued
	// issued and expires are zero if the token does not say.
	issued, expires time.Time
}

// verify checks a signed token of one kind: its form, its claims, and last its signature, so that
// no key is fetched for a token that would be refused anyway. The error is an *Error with the kind's reason,
// or ReasonProviderUnreachable or ReasonProviderMisconfigured if there is no key set.
func (p *Provider) verify(ctx context.Context, raw string, kind tokenKind) (*signedToken, error) {
	t, err := parseToken(raw)
	if err == nil {
		err = t.checkSigned()
	}
	if err == nil {
		err = p.check(t, kind)
	}
	if err == nil {
		err = p.checkSignature(ctx, t, kind)
	}
	if err != nil {
		return nil, withReason(kind.reason, err)
	}
	return t, nil
}

// parseToken parses a JWT in the compact serialization (RFC 7519 section 1). It checks the form
// alone.
func parseToken(raw string) (*signedToken, error) {
	if len(raw) > maxJWTBytes {
		return nil, errors.New("the token is too long")
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, errors.New("the token is not a compact JWS")
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		decoded[i], err = base64.RawURLEncoding.Strict().DecodeString(part)
		// The decoder skips line breaks, which no token has.
		if err != nil || strings.ContainsAny(part, "\r\n") {
			return nil, errors.New("the token is not base64url")
		}
	}
	header, err := parseStrict(decoded[0])
	if err != nil {
		return nil, fmt.Errorf("the token's header: %w", err)
	}
	if header.mentions("crit") {
		return nil, errors.New("the token has critical header parameters") // RFC 7515 section 4.1.11: none is understood here
	}
	typ, err := header.string("typ")
	if err != nil {
		return nil, err
	}
	alg, err := header.string("alg")
	if err != nil {
		return nil, err
	}
	t := &signedToken{raw: raw, header: header, alg: alg, signature: len(decoded[2]), typ: strings.TrimPrefix(strings.ToLower(typ), "application/"), payload: decoded[1]}
	if t.claims, err = parseClaims(t.payload); err != nil {
		return nil, fmt.Errorf("the claims: %w", err)
	}
	return t, nil
}

// UnverifiedIssuer returns the issuer that a token names, or "" if it cannot be read. Nothing of the
// token has been verified: the issuer only says which provider can do so.
func UnverifiedIssuer(token string) string {
	t, err := parseToken(token)
	if err != nil {
		return ""
	}
	issuer, _ := t.claims.string("iss")
	return issuer
}

// checkSigned checks that there is a signature. RFC 7515 section 4.1.1 requires alg; "none" has an
// empty signature (RFC 7518 section 3.6).
func (t *signedToken) checkSigned() error {
	if t.alg == "" || strings.EqualFold(t.alg, "none") || t.signature == 0 {
		return fmt.Errorf("the token is not signed: its alg is %.20q, and its signature has %d bytes", t.alg, t.signature)
	}
	return nil
}

// check does all checks of verify that need no key, once there is a signature.
func (p *Provider) check(t *signedToken, kind tokenKind) error {
	t.typed = slices.Contains(kind.types, t.typ)
	if !t.typed && (!kind.lax || (t.typ != "" && t.typ != "jwt")) {
		return errors.New("the token's typ is that of another kind of token")
	}
	var err error
	if t.by, err = p.checkParties(t.claims, kind.audience); err != nil {
		return err
	}
	for _, name := range kind.foreign {
		if t.claims.mentions(name) {
			return fmt.Errorf("has %s, as another kind of token has", name)
		}
	}
	return p.checkTimes(t, kind)
}

// checkParties checks who issued a token, and for whom (RFC 7519 sections 4.1.1 and 4.1.3).
func (p *Provider) checkParties(c strictClaims, audience string) (issued, error) {
	by, err := p.checkIssuer(c)
	if err != nil {
		return issued{}, err
	}
	if aud, err := c.audience(); err != nil {
		return issued{}, err
	} else if audience == "" || !slices.Contains(aud, audience) {
		return issued{}, fmt.Errorf("aud does not name %q", audience)
	}
	return by, nil
}

// checkSignature checks the algorithm and the signature. The error is errNoKey if the signature is
// not the provider's.
func (p *Provider) checkSignature(ctx context.Context, t *signedToken, kind tokenKind) error {
	allowed := p.algorithms(kind)
	if !slices.Contains(allowed, jose.SignatureAlgorithm(t.alg)) {
		return fmt.Errorf("not signed with an allowed algorithm: its alg is %.20q, which is not one of %q", t.alg, allowed)
	}
	jws, err := jose.ParseSignedCompact(t.raw, allowed)
	if err != nil {
		return errors.New("the token's header is malformed")
	}
	_, err = p.keySet.verify(ctx, jws, t.by, kind.refetches)
	return err
}

// checkTimes checks exp, iat and nbf (RFC 7519 sections 4.1.4 to 4.1.6).
func (p *Provider) checkTimes(t *signedToken, kind tokenKind) (err error) {
	now := p.cfg.Now()
	if t.issued, err = t.claims.time("iat"); err != nil {
		return err
	}
	if t.expires, err = t.claims.time("exp"); err != nil {
		return err
	}
	switch {
	case t.issued.IsZero() && !kind.undated && !kind.unissued:
		return errors.New("iat is missing")
	case t.expires.IsZero() && !kind.undated && !kind.endless:
		return errors.New("exp is missing")
	}
	if t.expires.IsZero() && kind.endless {
		t.expires = t.issued.Add(kind.maxAge)
	}
	notBefore, err := t.claims.time("nbf")
	if err != nil {
		return err
	}
	const compare = ": compare this clock with the provider's"
	switch {
	case !t.expires.IsZero() && now.After(t.expires.Add(Leeway)):
		return fmt.Errorf("expired at %s"+compare, t.expires.Format(time.RFC3339))
	case kind.maxLifetime > 0 && t.expires.Sub(now) > kind.maxLifetime+Leeway:
		return fmt.Errorf("valid for more than %d days: shorten its lifetime at the provider", kind.maxLifetime/(24*time.Hour))
	case t.issued.Sub(now) > Leeway:
		return fmt.Errorf("issued %s in the future"+compare, t.issued.Sub(now).Round(time.Second))
	case kind.maxAge > 0 && now.Sub(t.issued) > kind.maxAge:
		return fmt.Errorf("issued %s ago"+compare, now.Sub(t.issued).Round(time.Second))
	case notBefore.Sub(now) > Leeway:
		return fmt.Errorf("not valid before %s"+compare, notBefore.Format(time.RFC3339))
	}
	return nil
}

// algorithms returns the algorithms that a kind of token may be signed with: those of the
// configuration, which metadata may narrow (RFC 8725 section 3.1). "none" and HS256 are never
// among them.
func (p *Provider) algorithms(kind tokenKind) []jose.SignatureAlgorithm {
	allowed := kind.signedWith
	if len(allowed) == 0 {
		allowed = p.cfg.IDTokenAlgorithms
	}
	if kind.metadata {
		if m, err := p.discovery.ready(); err == nil {
			allowed = m.algorithms(allowed)
		}
	}
	list := make([]jose.SignatureAlgorithm, len(allowed))
	for i, name := range allowed {
		list[i] = jose.SignatureAlgorithm(name)
	}
	return list
}

// verifier returns go-oidc's verifier for an ID token or a logout token that verify has
// accepted. Its checks are a second opinion: verify is stricter, and says what is wrong with a
// token without quoting it, unlike go-oidc.
func (p *Provider) verifier(t *signedToken) *oidc.IDTokenVerifier {
	return oidc.NewVerifier(t.by.issuer, verified{t.raw, t.secondReading()}, &oidc.Config{
		ClientID:             p.cfg.ClientID,
		SupportedSigningAlgs: p.cfg.IDTokenAlgorithms,
		// go-oidc has no leeway; it asks the clock for expiry alone.
		Now: func() time.Time { return p.cfg.Now().Add(-Leeway) },
	})
}

// secondReading returns only the claims that go-oidc checks. go-oidc ignores the case of names, so it
// would take SID for sid, and it refuses a token for claims that nobody needs, such as _claim_names.
func (t *signedToken) secondReading() []byte {
	claims := map[string]any{"exp": t.expires.Unix()}
	for _, name := range []string{"iss", "sub", "aud", "iat", "nbf", "nonce", "at_hash", "sid", "jti", "events"} {
		if t.claims.has(name) {
			claims[name] = t.claims[name]
		}
	}
	encoded, _ := json.Marshal(claims) // each value is valid JSON
	return encoded
}

// errSecondOpinion says that go-oidc refuses a token.
var errSecondOpinion = errors.New("go-oidc refuses the token")

// verified is the oidc.KeySet for one token, whose signature has been verified.
type verified struct {
	token   string
	payload []byte
}

// VerifySignature implements oidc.KeySet.
func (v verified) VerifySignature(_ context.Context, token string) ([]byte, error) {
	if token != v.token {
		return nil, errNoKey
	}
	return v.payload, nil
}

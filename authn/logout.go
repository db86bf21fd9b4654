package authn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

const (
	// revokeTimeout bounds what a person waits for at sign-out.
	revokeTimeout = 2 * time.Second
	// maxEndSessionURL bounds the URL that sign-out redirects to; a provider may
	// refuse a longer one. Without the hint it asks the person.
	maxEndSessionURL = 8 << 10

	logoutCookie   = "logout"
	withoutState   = "none" // in place of a state, for a sign-out that sends none back
	logoutLifetime = 10 * time.Minute

	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
	// A logout token is made for one call.
	maxLogoutTokenAge = 5 * time.Minute
	// revocationMemory outlives any sign-in that was under way.
	revocationMemory = transactionLifetime + maxIDTokenAge + leeway
)

// EndSessionURL returns where the browser is to be sent so that the provider's
// session ends too (OpenID Connect RP-Initiated Logout 1.0 section 2), and "" where
// there is no such place or the provider has not been reached. It keeps the state in
// a cookie, for Returned.
func (rp *RelyingParty) EndSessionURL(w http.ResponseWriter, session *Session) string {
	m, err := rp.provider.ready()
	if err != nil {
		return ""
	}
	var hint Secret
	if session != nil {
		hint = session.tokens.IDToken
	}
	address, state := rp.logoutRequest(m, hint, rp.cfg.PostLogoutRedirectURL)
	if address == "" {
		return ""
	}
	rp.cookies.set(w, logoutCookie, state, logoutLifetime, http.SameSiteLaxMode)
	return rp.federate(address)
}

// logoutRequest returns the logout request after which the browser comes back to
// returnTo, and the state that it brings along then. The request is "" where the provider
// takes none.
func (rp *RelyingParty) logoutRequest(m *Metadata, hint Secret, returnTo string) (address, state string) {
	if address := rp.preset.signOut.address(m, rp.cfg.ClientID, returnTo); address != "" {
		return address, withoutState
	}
	endpoint, err := url.Parse(m.EndSessionEndpoint)
	if err != nil || m.EndSessionEndpoint == "" {
		return "", ""
	}
	state = randomToken()
	query := endpoint.Query()
	query.Set("client_id", rp.cfg.ClientID)
	query.Set("post_logout_redirect_uri", returnTo)
	query.Set("state", state)
	if hint != "" {
		query.Set("id_token_hint", string(hint))
	}
	endpoint.RawQuery = query.Encode()
	if len(endpoint.String()) > maxEndSessionURL {
		query.Del("id_token_hint")
		endpoint.RawQuery = query.Encode()
	}
	return endpoint.String(), state
}

// federate asks the provider to end its session with whoever it asked who the person is,
// where that is configured.
func (rp *RelyingParty) federate(address string) string {
	u, err := url.Parse(address)
	if err != nil || !rp.cfg.FederatedLogout || rp.preset.federated == "" {
		return address
	}
	query := u.Query()
	query.Set(rp.preset.federated, "")
	u.RawQuery = query.Encode()
	return u.String()
}

// Returned reports whether the browser comes back from the sign-out that
// EndSessionURL began: the provider has then ended its session too. The state counts
// once. Where the provider sends none back, that the browser comes is all there is.
func (rp *RelyingParty) Returned(w http.ResponseWriter, r *http.Request) bool {
	want, ok := rp.cookies.get(r, logoutCookie)
	if !ok {
		return false
	}
	rp.cookies.clear(w, logoutCookie, http.SameSiteLaxMode)
	if want == withoutState {
		return true
	}
	states := r.URL.Query()["state"]
	return len(states) == 1 && equalSecret(states[0], want)
}

// RevokeTokens withdraws a session's refresh token at the provider (RFC 7009), which
// withdraws what it gave out for it. It waits two seconds at most; a failure is
// logged, and changes nothing for the person, whose session has ended already.
func (rp *RelyingParty) RevokeTokens(ctx context.Context, session *Session) {
	m, err := rp.provider.ready()
	if err != nil || m.RevocationEndpoint == "" || session.tokens.Refresh == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
	defer cancel()
	if err := rp.revoke(ctx, m, session.tokens.Refresh); err != nil {
		rp.cfg.Log.WarnContext(ctx, "refresh token not revoked", "session", session.LogID(), "error", err)
	}
}

// LogoutToken is what an accepted logout token says: which sessions are over.
type LogoutToken struct {
	Issuer, Subject, SID string
	IssuedAt             time.Time
}

// VerifyLogoutToken does the checks of OpenID Connect Back-Channel Logout 1.0 section
// 2.6. Its *Error is of ReasonLogoutTokenInvalid or ReasonProviderUnreachable.
//
// A token that was sent before is no error (8): it ends no session that was begun after
// it was issued, and a provider whose first call failed may send it again.
func (rp *RelyingParty) VerifyLogoutToken(ctx context.Context, raw string) (*LogoutToken, error) {
	t, err := rp.checkLogoutToken(ctx, raw)
	if err == nil {
		rp.cfg.Statistics.LogoutTokensAccepted.Add(1)
		return t, nil
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Reason: ReasonLogoutTokenInvalid, Err: err}
	}
	rp.cfg.Statistics.LogoutTokensRefused.Add(e.Reason)
	return nil, e
}

func (rp *RelyingParty) checkLogoutToken(ctx context.Context, raw string) (*LogoutToken, error) {
	if err := checkForm(raw, !rp.cfg.StrictLogoutTokenType, "logout+jwt"); err != nil {
		return nil, err
	}
	if err := rp.peek(raw); err != nil {
		return nil, err
	}
	// go-oidc: signature, algorithm, issuer, audience, expiry, jti, the event, no
	// nonce, sub or sid. What follows is what it leaves open.
	verified, err := rp.logout.VerifyLogout(ctx, raw)
	if err != nil {
		return nil, describeVerifyError(err)
	}
	var payload json.RawMessage
	if err := verified.Claims(&payload); err != nil {
		return nil, errors.New("the claims cannot be read")
	}
	c, err := parseStrict(payload)
	if err != nil {
		return nil, fmt.Errorf("the claims: %w", err)
	}
	t := &LogoutToken{Issuer: verified.Issuer}
	if t.Subject, err = c.string("sub"); err != nil {
		return nil, err
	}
	if t.SID, err = c.string("sid"); err != nil {
		return nil, err
	}
	if (c.has("sub") && t.Subject == "") || (c.has("sid") && t.SID == "") || (t.Subject == "" && t.SID == "") {
		return nil, errors.New("sub or sid is needed, and neither may be empty")
	}
	if err := checkLogoutEvent(c); err != nil {
		return nil, err
	}
	if t.IssuedAt, err = rp.checkLogoutTimes(c); err != nil {
		return nil, err
	}
	return t, nil
}

// peek looks into a token that is not verified yet, and stops one that is not for us
// before a key is fetched for it: anybody can send us tokens.
func (rp *RelyingParty) peek(raw string) error {
	jws, err := rp.parseSigned(raw)
	if err != nil {
		return err
	}
	c, err := parseStrict(jws.UnsafePayloadWithoutVerification())
	if err != nil {
		return fmt.Errorf("the claims: %w", err)
	}
	if iss, err := c.string("iss"); err != nil || iss != rp.cfg.Issuer {
		return errors.New("iss is not the configured issuer")
	}
	if aud, err := c.audience(); err != nil || !slices.Contains(aud, rp.cfg.ClientID) {
		return errors.New("aud does not name this client")
	}
	if c.has("nonce") {
		return errors.New("has a nonce, as an ID token has") // section 2.4
	}
	_, err = rp.checkLogoutTimes(c)
	return err
}

// checkLogoutEvent checks that events has the member for back-channel logout and
// that its value is an object (section 2.4); go-oidc takes null and strings too.
func checkLogoutEvent(c strictClaims) error {
	var events map[string]json.RawMessage
	if err := json.Unmarshal(c["events"], &events); err != nil {
		return errors.New("events is not an object")
	}
	if event := bytes.TrimSpace(events[logoutEvent]); len(event) == 0 || event[0] != '{' {
		return errors.New("events has no back-channel logout event")
	}
	return nil
}

// checkLogoutTimes checks that the token is fresh and short-lived (section 4): an
// old one could end a session that was begun since.
func (rp *RelyingParty) checkLogoutTimes(c strictClaims) (issuedAt time.Time, err error) {
	now := rp.cfg.Now()
	exp, err := c.time("exp")
	if err != nil || exp.IsZero() {
		return time.Time{}, errors.New("exp is missing or not a time")
	}
	iat, err := c.time("iat")
	if err != nil || iat.IsZero() {
		return time.Time{}, errors.New("iat is missing or not a time")
	}
	switch {
	case now.After(exp.Add(leeway)):
		return time.Time{}, errors.New("expired")
	case iat.Sub(now) > leeway:
		return time.Time{}, errors.New("issued in the future: compare this clock with the provider's")
	case now.Sub(iat) > maxLogoutTokenAge+leeway:
		return time.Time{}, errors.New("issued too long ago: compare this clock with the provider's")
	}
	return iat, nil
}

// EndAll ends the sessions that a logout token is about: with a sid those of that
// provider session, else all of the subject's (section 2.7). A sign-in that is under
// way at the time is refused when it completes; one that comes later is not touched.
// That there is none to end is no error. An *Error of ReasonLogoutTokenInvalid says
// that the sid is of another subject.
func (s *Sessions) EndAll(ctx context.Context, t *LogoutToken) (int, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	index := OwnerKey(t.Issuer, t.Subject)
	if t.SID != "" {
		index = ProviderSessionKey(t.Issuer, t.SID)
		if t.Subject != "" {
			if err := s.checkOwner(ctx, index, OwnerKey(t.Issuer, t.Subject)); err != nil {
				return 0, err
			}
		}
	}
	ended, err := s.store.Revoke(ctx, index, t.IssuedAt, s.now().Add(revocationMemory))
	s.ended(ctx, CauseProvider, ended...) // also where it fails half-way
	if err != nil {
		return 0, &Error{Reason: ReasonStoreUnavailable, Err: err}
	}
	return len(ended), nil
}

// EndProviderSession ends the sessions of one session at the provider. It leaves nothing
// behind where there is none: anybody can ask for it.
func (s *Sessions) EndProviderSession(ctx context.Context, issuer, sid string) (int, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	records, err := s.store.List(ctx, ProviderSessionKey(issuer, sid))
	if err != nil {
		return 0, &Error{Reason: ReasonStoreUnavailable, Err: err}
	}
	return s.endRecords(ctx, records, CauseProvider)
}

func (s *Sessions) checkOwner(ctx context.Context, providerSession, owner Key) error {
	records, err := s.store.List(ctx, providerSession)
	if err != nil {
		return &Error{Reason: ReasonStoreUnavailable, Err: err}
	}
	for _, record := range records {
		if record.Owner != owner {
			return refuse(ReasonLogoutTokenInvalid, "the sid is of another subject")
		}
	}
	return nil
}

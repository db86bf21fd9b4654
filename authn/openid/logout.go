package openid

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// maxEndSessionURL bounds the URL that sign-out redirects to; a provider may refuse a longer
// one. Without the hint it asks the person.
const maxEndSessionURL = 8 << 10

// EndSessionRequest is a request to end the provider's session (OpenID Connect RP-Initiated
// Logout 1.0 section 2).
type EndSessionRequest struct {
	// IDTokenHint is the session's ID token, or "".
	IDTokenHint Secret
	// LoginHint is the claim login_hint of the ID token, or "". Microsoft Entra ID, which makes that claim,
	// would otherwise ask which account to sign out.
	LoginHint string
	// ReturnTo is where the browser comes back to; "" if it does not.
	ReturnTo string
	// Federated also ends the session at the identity provider that the provider asked, if
	// the configuration says so.
	Federated bool
}

// EndSessionURL returns where the browser is to be sent so that the provider's session ends,
// and the state that it brings back; "" if the provider sends none back. The address is "" if
// the provider takes no such request, or has not been discovered.
func (p *Provider) EndSessionURL(request EndSessionRequest) (address, state string) {
	m, err := p.discovery.ready()
	if err != nil {
		return "", ""
	}
	if address = p.preset.signOut.address(m, p.cfg.ClientID, request.ReturnTo); address == "" {
		address, state = p.standardEndSessionURL(m, request)
	}
	if request.Federated && p.cfg.FederatedLogout && p.preset.federated != "" && address != "" {
		address = withParameter(address, p.preset.federated)
	}
	return address, state
}

func (p *Provider) standardEndSessionURL(m *Metadata, request EndSessionRequest) (address, state string) {
	endpoint, err := url.Parse(m.EndSessionEndpoint)
	if err != nil || m.EndSessionEndpoint == "" {
		return "", ""
	}
	query := endpoint.Query()
	query.Set("client_id", p.cfg.ClientID)
	if request.ReturnTo != "" {
		state = RandomToken()
		query.Set("post_logout_redirect_uri", request.ReturnTo)
		query.Set("state", state)
	}
	if request.LoginHint != "" {
		query.Set("logout_hint", request.LoginHint)
	}
	if request.IDTokenHint != "" {
		query.Set("id_token_hint", string(request.IDTokenHint))
	}
	endpoint.RawQuery = query.Encode()
	if len(endpoint.String()) > cmp.Or(p.preset.maxEndSessionURL, maxEndSessionURL) {
		query.Del("id_token_hint")
		endpoint.RawQuery = query.Encode()
	}
	return endpoint.String(), state
}

// withParameter adds an empty parameter to an address.
func withParameter(address, name string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	query := u.Query()
	query.Set(name, "")
	u.RawQuery = query.Encode()
	return u.String()
}

// Revoke revokes a refresh token (RFC 7009), and with it the access tokens that it gave. It
// does nothing if there is no token, or if the provider has no endpoint for it.
func (p *Provider) Revoke(ctx context.Context, refreshToken Secret) error {
	m, err := p.discovery.ready()
	if err != nil || m.RevocationEndpoint == "" || refreshToken == "" {
		return nil
	}
	resp, err := p.Post(calling(ctx, "revocation"), m.RevocationEndpoint, url.Values{"token": {string(refreshToken)}, "token_type_hint": {"refresh_token"}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return &StatusError{Status: resp.StatusCode}
	}
	return nil
}

// logoutEvent is the member of events that makes a token a logout token.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

func (p *Provider) logoutTokensAccepted() string {
	return p.Metric("latchkey_logout_tokens_accepted_total")
}

func (p *Provider) logoutTokensRefused(reason Reason) string {
	return p.Metric("latchkey_logout_tokens_refused_total", "reason", string(reason))
}

// LogoutToken is what an accepted logout token says: which sessions are over.
type LogoutToken struct {
	Issuer, Subject, SID string
	// IssuedAt is by the provider's clock.
	IssuedAt time.Time
}

// VerifyLogoutToken does the checks of OpenID Connect Back-Channel Logout 1.0 section 2.6. The
// *Error has ReasonLogoutTokenInvalid, ReasonProviderUnreachable or
// ReasonProviderMisconfigured.
//
// A replayed token is not an error (8): it ends no session that began after it was issued (see
// SignedInAfter in package authn), and a provider whose first call failed may send it again.
func (p *Provider) VerifyLogoutToken(ctx context.Context, raw string) (*LogoutToken, error) {
	t, err := p.verifyLogoutToken(ctx, raw)
	if err != nil {
		refusal := withReason(ReasonLogoutTokenInvalid, err)
		p.cfg.Metrics.GetOrCreateCounter(p.logoutTokensRefused(refusal.Reason)).Inc()
		return nil, refusal
	}
	p.cfg.Metrics.GetOrCreateCounter(p.logoutTokensAccepted()).Inc()
	return t, nil
}

func (p *Provider) verifyLogoutToken(ctx context.Context, raw string) (*LogoutToken, error) {
	signed, err := p.verify(ctx, raw, p.logoutTokens)
	if err != nil {
		return nil, err
	}
	c, t := signed.claims, &LogoutToken{Issuer: signed.by.issuer, IssuedAt: signed.issued}
	if t.Subject, err = c.string("sub"); err != nil {
		return nil, err
	}
	if t.SID, err = c.string("sid"); err != nil {
		return nil, err
	}
	// Section 2.4. null says that the other one counts; "" more likely stands for an id that got
	// lost, and without a sid all of the person's sessions would end.
	if string(c["sub"]) == `""` || string(c["sid"]) == `""` || (t.Subject == "" && t.SID == "") {
		return nil, errors.New("sub or sid is needed, and neither may be empty")
	}
	if err := checkLogoutEvent(c); err != nil {
		return nil, err
	}
	if jti, err := c.string("jti"); err != nil {
		return nil, err
	} else if jti == "" { // section 2.4
		return nil, errors.New("jti is missing")
	}
	if _, err := p.verifier(signed).VerifyLogout(ctx, raw); err != nil {
		return nil, errSecondOpinion
	}
	return t, nil
}

// checkLogoutEvent checks that events has the member for back-channel logout and that its
// value is an object (section 2.4); go-oidc accepts null and strings too.
func checkLogoutEvent(c strictClaims) error {
	if !c.has("events") {
		return errors.New("events is missing: this is no logout token")
	}
	var events map[string]json.RawMessage
	if err := json.Unmarshal(c["events"], &events); err != nil {
		return errors.New("events is not an object")
	}
	if event := bytes.TrimSpace(events[logoutEvent]); len(event) == 0 || event[0] != '{' {
		return errors.New("events has no back-channel logout event")
	}
	return nil
}

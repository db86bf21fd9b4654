package authn

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// errUnauthorized says that the userinfo endpoint does not take the access token.
var errUnauthorized = errors.New("authn: the provider no longer takes the access token")

// userInfo asks the provider what it says of a person now (OpenID Connect Core 1.0
// section 5.3). An answer about anybody else than subject is refused whole (section
// 5.3.2): go-oidc leaves that to its caller. It returns no claims where the
// provider has no such endpoint.
func (rp *RelyingParty) userInfo(ctx context.Context, m *Metadata, access Secret, subject string) (Claims, error) {
	if m.UserInfoEndpoint == "" {
		return nil, nil
	}
	req, err := http.NewRequestWithContext(calling(ctx, "userinfo"), http.MethodGet, m.UserInfoEndpoint, nil)
	if err != nil {
		return nil, refuse(ReasonUserInfoFailed, "request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+string(access)) // RFC 6750 section 2.1
	req.Header.Set("Accept", "application/json, application/jwt")
	resp, err := rp.client.Do(req)
	if err != nil {
		return nil, refuse(ReasonUserInfoFailed, "request: %w", withoutQuery(err))
	}
	body, mediaType, err := readBody(resp, "application/json", "application/jwt")
	if status, ok := errors.AsType[*statusError](err); ok && status.status == http.StatusUnauthorized {
		return nil, &Error{Reason: ReasonUserInfoFailed, Err: errUnauthorized}
	}
	if err != nil {
		return nil, &Error{Reason: ReasonUserInfoFailed, Err: err}
	}
	if mediaType == "application/jwt" {
		if body, err = rp.verifyUserInfo(ctx, string(body)); err != nil {
			return nil, err
		}
	}
	c, err := parseStrict(body)
	if err != nil {
		return nil, refuse(ReasonUserInfoFailed, "the response: %w", err)
	}
	if sub, err := c.string("sub"); err != nil || sub != subject {
		return nil, refuse(ReasonUserInfoMismatch, "the response is about another subject")
	}
	return Claims(body), nil
}

// verifyUserInfo returns the claims of a signed userinfo response (section 5.3.2): signed
// by a pinned algorithm with a key of the provider's, by the issuer and for this client.
// It has no nonce and need not expire, so it is not an ID token, and must not pass for
// one of any other kind.
func (rp *RelyingParty) verifyUserInfo(ctx context.Context, raw string) ([]byte, error) {
	payload, err := rp.verifySigned(ctx, raw)
	if ReasonOf(err) != "" {
		return nil, err
	}
	if err != nil {
		return nil, refuse(ReasonUserInfoFailed, "the signed response: %w", err)
	}
	c, err := parseStrict(payload)
	if err != nil {
		return nil, refuse(ReasonUserInfoFailed, "the signed response: %w", err)
	}
	if err := rp.checkUserInfo(c); err != nil {
		return nil, refuse(ReasonUserInfoFailed, "the signed response: %w", err)
	}
	return payload, nil
}

func (rp *RelyingParty) verifySigned(ctx context.Context, raw string) ([]byte, error) {
	if err := checkForm(raw, true, "userinfo+jwt"); err != nil {
		return nil, err
	}
	if _, err := jose.ParseSignedCompact(raw, rp.algorithms()); err != nil {
		return nil, errors.New("not signed with an allowed algorithm")
	}
	return rp.keys.VerifySignature(ctx, raw)
}

func (rp *RelyingParty) checkUserInfo(c strictClaims) error {
	if iss, err := c.string("iss"); err != nil || iss != rp.cfg.Issuer {
		return errors.New("iss is not the configured issuer")
	}
	if aud, err := c.audience(); err != nil || !slices.Contains(aud, rp.cfg.ClientID) {
		return errors.New("aud does not name this client")
	}
	exp, err := c.time("exp")
	if err != nil {
		return err
	}
	if !exp.IsZero() && rp.cfg.Now().After(exp.Add(leeway)) {
		return errors.New("expired")
	}
	if c.has("events") || c.has("nonce") {
		return errors.New("a token of another kind") // a logout token, an ID token
	}
	return nil
}

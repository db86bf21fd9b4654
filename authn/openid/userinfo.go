package openid

import (
	"context"
	"errors"
	"net/http"
)

// ErrUnauthorized says that the userinfo endpoint does not accept the access token.
var ErrUnauthorized = errors.New("the provider no longer accepts the access token")

// UserInfo asks the provider for a person's current claims (OpenID Connect Core 1.0 section
// 5.3). A response about any other subject is refused whole (section 5.3.2), which go-oidc
// leaves to its caller. It returns no claims if the provider has no such endpoint. The *Error
// is of ReasonUserInfoFailed, which wraps ErrUnauthorized if the token is not accepted, of
// ReasonUserInfoMismatch, or a reason of Metadata.
func (p *Provider) UserInfo(ctx context.Context, tokens Tokens, subject string) (Claims, error) {
	m, err := p.discovery.wait(ctx)
	if err != nil || m.UserInfoEndpoint == "" {
		return nil, err
	}
	req, err := http.NewRequestWithContext(calling(ctx, "userinfo"), http.MethodGet, m.UserInfoEndpoint, nil)
	if err != nil {
		return nil, refuse(ReasonUserInfoFailed, "request: %w", err)
	}
	req.Header.Set("Accept", "application/json, application/jwt")
	resp, err := p.Send(req, tokens, p.client.Do)
	if err != nil {
		return nil, refuse(ReasonUserInfoFailed, "request: %w", withoutQuery(err))
	}
	if tokens.ProofKey != "" && WantsNonce(resp) { // which says nothing about the token
		_ = resp.Body.Close()
		return nil, refuse(ReasonUserInfoFailed, "the endpoint does not accept its own DPoP nonce")
	}
	body, mediaType, err := readBody(resp, "application/json", "application/jwt")
	if status, ok := errors.AsType[*StatusError](err); ok && status.Status == http.StatusUnauthorized {
		return nil, &Error{Reason: ReasonUserInfoFailed, Err: ErrUnauthorized}
	}
	if err != nil {
		return nil, &Error{Reason: ReasonUserInfoFailed, Err: err}
	}
	return p.readUserInfo(ctx, body, mediaType, subject)
}

// readUserInfo returns the claims of a response, which the provider may have signed (section
// 5.3.2).
func (p *Provider) readUserInfo(ctx context.Context, body []byte, mediaType, subject string) (Claims, error) {
	var c strictClaims
	if mediaType == "application/jwt" {
		signed, err := p.verify(ctx, string(body), p.userInfos)
		if err != nil {
			return nil, err
		}
		body, c = signed.payload, signed.claims
	} else {
		var err error
		if c, err = parseClaims(body); err != nil {
			return nil, refuse(ReasonUserInfoFailed, "the response: %w", err)
		}
	}
	if sub, err := c.string("sub"); err != nil || sub != subject {
		return nil, refuse(ReasonUserInfoMismatch, "the response is about another subject")
	}
	return Claims(body), nil
}

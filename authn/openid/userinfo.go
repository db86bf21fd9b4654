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
	info, err := p.userInfo(ctx, tokens, subject)
	return info.document, err
}

// received is a document that the provider has sent, and the claims that were parsed from it.
type received struct {
	document Claims
	claims   strictClaims
}

func (p *Provider) userInfo(ctx context.Context, tokens Tokens, subject string) (info received, err error) {
	m, err := p.discovery.wait(ctx)
	if err != nil || m.UserInfoEndpoint == "" {
		return info, err
	}
	req, err := http.NewRequestWithContext(calling(ctx, "userinfo"), http.MethodGet, m.UserInfoEndpoint, nil)
	if err != nil {
		return info, refuse(ReasonUserInfoFailed, "request: %w", err)
	}
	req.Header.Set("Accept", "application/json, application/jwt")
	resp, err := p.Send(req, tokens, p.client.Do)
	if err != nil {
		return info, refuse(ReasonUserInfoFailed, "request: %w", withoutQuery(err))
	}
	if tokens.ProofKey != "" && WantsNonce(resp) { // which says nothing about the token
		_ = resp.Body.Close()
		return info, refuse(ReasonUserInfoFailed, "the endpoint does not accept its own DPoP nonce")
	}
	body, mediaType, err := readBody(resp, "application/json", "application/jwt")
	if status, ok := errors.AsType[*StatusError](err); ok && status.Status == http.StatusUnauthorized {
		return info, &Error{Reason: ReasonUserInfoFailed, Err: ErrUnauthorized}
	}
	if err != nil {
		return info, &Error{Reason: ReasonUserInfoFailed, Err: err}
	}
	return p.readUserInfo(ctx, body, mediaType, subject)
}

// readUserInfo reads a response, which the provider may have signed (section 5.3.2).
func (p *Provider) readUserInfo(ctx context.Context, body []byte, mediaType, subject string) (received, error) {
	info := received{document: body}
	if mediaType == "application/jwt" {
		signed, err := p.verify(ctx, string(body), p.userInfos)
		if err != nil {
			return received{}, err
		}
		info = received{signed.payload, signed.claims}
	} else {
		var err error
		if info.claims, err = parseClaims(body); err != nil {
			return received{}, refuse(ReasonUserInfoFailed, "the response: %w", err)
		}
	}
	if sub, err := info.claims.string("sub"); err != nil || sub != subject {
		return received{}, refuse(ReasonUserInfoMismatch, "the response is about another subject")
	}
	return info, nil
}

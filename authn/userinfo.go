package authn

import (
	"context"
	"errors"
	"net/http"
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
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.UserInfoEndpoint, nil)
	if err != nil {
		return nil, refuse(ReasonUserInfoFailed, "request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+string(access)) // RFC 6750 section 2.1
	req.Header.Set("Accept", "application/json")
	resp, err := rp.client.Do(req)
	if err != nil {
		return nil, refuse(ReasonUserInfoFailed, "request: %w", withoutQuery(err))
	}
	body, err := readJSON(resp)
	if status, ok := errors.AsType[*statusError](err); ok && status.status == http.StatusUnauthorized {
		return nil, &Error{Reason: ReasonUserInfoFailed, Err: errUnauthorized}
	}
	if err != nil {
		return nil, &Error{Reason: ReasonUserInfoFailed, Err: err}
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

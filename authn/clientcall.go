package authn

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// post sends a form to an endpoint that authenticates the client as the token
// endpoint does: pushed authorization and revocation.
func (rp *RelyingParty) post(ctx context.Context, endpoint string, form url.Values) (*http.Response, error) {
	switch rp.cfg.ClientAuth {
	case PrivateKeyJWT:
		if err := rp.addAssertion(form); err != nil {
			return nil, err
		}
	case ClientSecretPost:
		form.Set("client_id", rp.cfg.ClientID)
		form.Set("client_secret", string(rp.cfg.ClientSecret))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("authn: request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if rp.cfg.ClientAuth == ClientSecretBasic {
		// Both are form-encoded first (RFC 6749 section 2.3.1).
		req.SetBasicAuth(url.QueryEscape(rp.cfg.ClientID), url.QueryEscape(string(rp.cfg.ClientSecret)))
	}
	resp, err := rp.client.Do(req)
	if err != nil {
		return nil, withoutQuery(err)
	}
	return resp, nil
}

// revoke withdraws a refresh token (RFC 7009).
func (rp *RelyingParty) revoke(ctx context.Context, m *Metadata, token Secret) error {
	resp, err := rp.post(calling(ctx, "revocation"), m.RevocationEndpoint, url.Values{"token": {string(token)}, "token_type_hint": {"refresh_token"}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return &statusError{resp.StatusCode}
	}
	return nil
}

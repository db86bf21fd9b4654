package authn

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// pushes reports whether authorization requests are pushed to this provider.
func (rp *RelyingParty) pushes(m *Metadata) bool {
	switch rp.cfg.PushedAuthorizationRequests {
	case "always":
		return true
	case "never":
		return false
	default:
		return m.RequirePushedAuthorizationRequests
	}
}

// push hands the authorization request to the provider directly and returns the
// short request that the browser carries in its place (RFC 9126). If that fails
// there is no second way: falling back to the plain request would let anybody who
// can disturb one call take the protection away.
func (rp *RelyingParty) push(ctx context.Context, m *Metadata, request url.Values) (string, error) {
	if m.PushedAuthorizationRequestEndpoint == "" {
		return "", refuse(ReasonProviderMisconfigured, "the provider has no pushed authorization request endpoint")
	}
	resp, err := rp.post(calling(ctx, "pushed_authorization"), m.PushedAuthorizationRequestEndpoint, request)
	if err != nil {
		return "", refuse(ReasonProviderUnreachable, "pushed authorization request: %w", err)
	}
	if resp.StatusCode == http.StatusCreated { // RFC 9126 section 2.2
		resp.StatusCode = http.StatusOK
	}
	body, err := readJSON(resp)
	if err != nil {
		return "", refuse(ReasonProviderUnreachable, "pushed authorization request: %w", err)
	}
	var pushed struct {
		RequestURI string `json:"request_uri"`
	}
	if err := json.Unmarshal(body, &pushed); err != nil || pushed.RequestURI == "" {
		return "", refuse(ReasonProviderUnreachable, "pushed authorization request: no request_uri in the response")
	}
	location, err := url.Parse(m.AuthorizationEndpoint)
	if err != nil {
		return "", refuse(ReasonProviderMisconfigured, "authorization endpoint: %w", err)
	}
	query := location.Query()
	query.Set("client_id", rp.cfg.ClientID)
	query.Set("request_uri", pushed.RequestURI)
	location.RawQuery = query.Encode()
	return location.String(), nil
}

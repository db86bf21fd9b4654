package openid

import (
	"context"
	"fmt"
	"net/url"
	"slices"
)

// API says which access token to request with a refresh token. The zero API stands for the token of the
// sign-in.
type API struct {
	// Audience is the API's identifier. It is sent as audience to Auth0 (multi-resource refresh tokens),
	// and as resource to every other provider (RFC 8707 section 2.2), which may require Config.Resources
	// to name it. "" sends neither, for a provider that knows the API by its scopes, as Microsoft Entra
	// ID does.
	Audience string
	// Scope lists the scopes to request, separated by spaces; "" leaves them to the provider.
	Scope string
}

// maxAPIToken bounds the access token for another API, in bytes: a session keeps several, and many servers
// accept no larger header.
const maxAPIToken = 16 << 10

// parameters returns what a refresh for the API sends in addition.
func (a API) parameters(p *Provider) url.Values {
	form := make(url.Values)
	switch {
	case a.Audience == "":
	case p.preset.Name == auth0:
		form.Set("audience", a.Audience)
	default:
		form.Set("resource", a.Audience)
	}
	if a.Scope != "" {
		form.Set("scope", a.Scope)
	}
	return form
}

// RefreshFor exchanges the refresh token for an access token for an API. The result has that token, and
// the refresh token as Refresh returns it; an ID token is ignored. If the provider cannot issue such a
// token, the *Error has ReasonAPIRefused. The other errors, and a refresh token that comes with an error,
// are those of Refresh.
func (p *Provider) RefreshFor(ctx context.Context, old Tokens, api API) (Tokens, error) {
	if len(p.cfg.Resources) > 0 && api.Audience != "" && !slices.Contains(p.cfg.Resources, api.Audience) {
		// The provider would refuse it, and some, such as oidc-provider, have used up the refresh
		// token by then.
		return Tokens{}, refuse(ReasonAPIRefused, "the sign-in does not name the API %q: add it to the resources", api.Audience)
	}
	tokens, err := p.refresh(context.WithValue(ctx, extraParameters{}, api.parameters(p)), old)
	switch e := withReason(ReasonTokenRequestFailed, err); {
	case err == nil:
	case e.Reason == ReasonTokenRequestFailed && !slices.Contains([]string{"invalid_grant", "invalid_client", "unauthorized_client", "invalid_dpop_proof", useNonce}, e.Code):
		return tokens, &Error{Reason: ReasonAPIRefused, Code: e.Code, Description: e.Description, Err: e.Err}
	default:
		return tokens, err
	}
	rotated := Tokens{Refresh: tokens.Refresh}
	if len(tokens.Access) > maxAPIToken {
		return rotated, refuse(ReasonAPIRefused, "the access token has %d bytes", len(tokens.Access))
	}
	if audience, ok := audienceOf(tokens.Access); ok && p.preset.Name == auth0 && api.Audience != "" && !slices.Contains(audience, api.Audience) {
		// Auth0 ignores an audience that the application's refresh token policies do not list, and
		// issues a token for another API, which must not be sent to this one.
		return rotated, refuse(ReasonAPIRefused, "the provider has issued a token for another API than %q: add it to the application's refresh token policies", api.Audience)
	}
	tokens.IDToken, tokens.Scope = "", refreshedScope(api.Scope, tokens.Scope)
	return tokens, nil
}

// extraParameters is the context key of a token request's url.Values that x/oauth2 has no place for.
type extraParameters struct{}

// audienceOf returns aud of an access token that is a JWT. It verifies nothing: the token is about to be
// sent to the API that it should be for.
func audienceOf(token Secret) ([]string, bool) {
	t, err := parseToken(string(token))
	if err != nil {
		return nil, false
	}
	audience, err := t.claims.audience()
	return audience, err == nil
}

// String names the API in logs.
func (a API) String() string {
	if a.Audience == "" {
		return fmt.Sprintf("scope %q", a.Scope)
	}
	return a.Audience
}

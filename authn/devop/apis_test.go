package devop_test

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"
)

const everyScope = "openid offline_access orders:read stock:read"

// TestScopesOfAnAPI signs in with scopes that the provider does not know. They are granted for the API
// that the request names, and without one they are ignored.
func TestScopesOfAnAPI(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		api  url.Values
		want string
		aud  []any
	}{
		"an audience":   {url.Values{"audience": {"https://orders.example"}}, everyScope, []any{"https://orders.example"}},
		"two resources": {url.Values{"resource": {"https://orders.example", "https://stock.example"}}, everyScope, []any{"https://orders.example"}},
		"a resource":    {url.Values{"resource": {"https://orders.example"}}, everyScope, []any{"https://orders.example"}},
		"no API":        {nil, "openid offline_access", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, nil)
			changes := url.Values{"scope": {everyScope}}
			maps.Copy(changes, tt.api)
			tokens := p.tokens(changes)
			if tokens["scope"] != tt.want {
				t.Errorf("the scope is %q, want %q", tokens["scope"], tt.want)
			}
			if tt.aud == nil {
				return
			}
			claims := p.verify("at+jwt", tokens["access_token"])
			if want := append(tt.aud, p.issuer+"/userinfo"); claims["scope"] != tt.want || !slices.Equal(claims["aud"].([]any), want) {
				t.Errorf("the access token has the claims %v", claims)
			}
		})
	}
}

// TestTokensForSeveralAPIs refreshes for other APIs than that of the sign-in. Each access token is for
// one API alone, and has no scope that the sign-in did not grant.
func TestTokensForSeveralAPIs(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	tokens := p.tokens(url.Values{"scope": {everyScope}, "audience": {"https://orders.example"}})
	refresh := func(form url.Values) (reply, map[string]any) {
		all := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens["refresh_token"].(string)}}
		maps.Copy(all, form)
		r, answer := p.call("/token", all)
		if r.status == http.StatusOK {
			tokens = answer
		}
		return r, answer
	}
	for name, form := range map[string]url.Values{
		"by audience": {"audience": {"https://stock.example"}, "scope": {"stock:read"}},
		"by resource": {"resource": {"https://stock.example"}, "scope": {"stock:read"}},
	} {
		r, answer := refresh(form)
		if r.status != http.StatusOK || answer["scope"] != "stock:read" || answer["id_token"] != nil {
			t.Fatalf("%s: %d %v", name, r.status, answer)
		}
		claims := p.verify("at+jwt", answer["access_token"])
		if !slices.Equal(claims["aud"].([]any), []any{"https://stock.example"}) || claims["scope"] != "stock:read" || claims["sub"] != "dev|ada" {
			t.Errorf("%s: the access token has the claims %v", name, claims)
		}
		if got := p.userinfo(answer["access_token"]); got.status != http.StatusForbidden {
			t.Errorf("%s: userinfo accepts the token: %d", name, got.status)
		}
	}
	_, answer := refresh(nil)
	if claims := p.verify("at+jwt", answer["access_token"]); claims["aud"].([]any)[0] != "https://orders.example" || answer["scope"] != everyScope {
		t.Errorf("a refresh that names no API gives %v", claims)
	}
	for name, tt := range map[string]struct {
		form url.Values
		want string
	}{
		"a scope that was not granted": {url.Values{"audience": {"https://stock.example"}, "scope": {"stock:write"}}, "invalid_scope"},
		"a resource without a scheme":  {url.Values{"resource": {"stock"}}, "invalid_target"},
		"a second one with a fragment": {url.Values{"resource": {"https://orders.example", "https://stock.example#a"}}, "invalid_target"},
		"a resource with a fragment":   {url.Values{"resource": {"https://stock.example#a"}}, "invalid_target"},
		"an audience and a resource":   {url.Values{"resource": {"https://stock.example"}, "audience": {"a"}}, "invalid_request"},
	} {
		r, _ := refresh(tt.form)
		wantError(t, r, http.StatusBadRequest, tt.want)
		if r, _ := refresh(nil); r.status != http.StatusOK {
			t.Fatalf("%s: the refresh token is spent: %s", name, r.body)
		}
	}
}

package openid_test

import (
	"slices"
	"testing"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

func TestPushedAuthorizationRequest(t *testing.T) {
	t.Parallel()
	require := func(m map[string]any) { m["require_pushed_authorization_requests"] = true }
	for name, tt := range map[string]struct {
		setting  string
		metadata func(map[string]any)
		pushed   bool
	}{
		"AR-14 the provider requires it":      {"auto", require, true},
		"AR-14 the provider leaves it open":   {"auto", nil, false},
		"AR-14 the configuration asks for it": {"always", nil, true},
		"AR-14 the configuration forbids it":  {"never", require, false},
		"AR-14 the endpoints have queries of their own": {"auto", func(m map[string]any) {
			require(m)
			for _, endpoint := range []string{"authorization_endpoint", "pushed_authorization_request_endpoint"} {
				m[endpoint] = m[endpoint].(string) + "?tenant=a"
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{config: func(c *openid.Config) { c.PushedAuthorizationRequests = tt.setting }})
			p.op.Edit(scriptedop.Discovery, tt.metadata)
			a := p.begin(openid.AuthorizationRequest{})
			parameters := scriptedop.Query(t, a.request)
			parameters.Del("tenant")
			if got := len(parameters) == 2 && parameters.Has("client_id") && parameters.Has("request_uri"); got != tt.pushed {
				t.Fatalf("the browser carries %v", parameters)
			}
			if tt.pushed {
				form := p.op.Last(scriptedop.PAR).Form
				for _, name := range []string{"client_id", "redirect_uri", "response_type", "scope", "state", "nonce", "code_challenge", "code_challenge_method"} {
					if len(form[name]) != 1 {
						t.Errorf("%s was pushed as %q", name, form[name])
					}
				}
			}
			p.wantSignedIn(p.finish(t.Context(), p.authorize(a)), "alice")
		})
	}
}

func TestPushedAuthorizationRequestAuthenticates(t *testing.T) {
	t.Parallel()
	for _, method := range []string{openid.ClientSecretBasic, openid.ClientSecretPost} {
		t.Run("AR-14 CB-15 "+method, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{
				op:     scriptedop.Config{ClientSecret: awkwardSecret},
				config: func(c *openid.Config) { c.PushedAuthorizationRequests, c.ClientAuth = "always", method },
			})
			a := p.begin(openid.AuthorizationRequest{})
			last := p.op.Last(scriptedop.PAR)
			if got := []bool{last.Header.Get("Authorization") != "", last.Form.Has("client_secret")}; slices.Equal(got, []bool{true, true}) || slices.Equal(got, []bool{false, false}) {
				t.Errorf("the client authenticates in the header and in the body: %v", got)
			}
			p.wantSignedIn(p.finish(t.Context(), p.authorize(a)), "alice")
		})
	}
}

// awkwardSecret reveals whether the secret was encoded correctly (RFC 6749 section 2.3.1).
const awkwardSecret = "a:b c+/%&é=?#%2B"

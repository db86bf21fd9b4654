package devop_test

import (
	"maps"
	"net/http"
	"net/url"
	"testing"

	"latchkey/authn/devop"
)

// TestClientCredentials gets an access token for a program, without a person.
func TestClientCredentials(t *testing.T) {
	t.Parallel()
	p := start(t, func(cfg *devop.Config) {
		cfg.Clients = append(cfg.Clients, devop.Client{ID: "program", Secret: "s"})
	})
	ask := func(id, secret string, changes url.Values) (reply, map[string]any) {
		form := url.Values{"grant_type": {"client_credentials"}, "audience": {"https://api.example"}, "scope": {"a b"}}
		maps.Copy(form, changes)
		req := p.request(http.MethodPost, "/token", form)
		req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
		r := p.do(p.program, req)
		return r, p.object(r.body)
	}
	r, tokens := ask("program", "s", nil)
	if r.status != http.StatusOK || tokens["token_type"] != "Bearer" || tokens["refresh_token"] != nil || tokens["id_token"] != nil {
		t.Fatalf("got %d %v", r.status, tokens)
	}
	claims := p.verify("at+jwt", tokens["access_token"])
	if claims["sub"] != "program@clients" || claims["client_id"] != "program" || claims["scope"] != "a b" || claims["auth_time"] != nil {
		t.Errorf("the access token has the claims %v", claims)
	}
	if got := p.userinfo(tokens["access_token"]); got.status != http.StatusUnauthorized {
		t.Errorf("userinfo: got %d", got.status)
	}
	for name, tt := range map[string]struct {
		id, secret string
		changes    url.Values
		want       string
	}{
		"a client for sign-ins": {"app", "app s:cret+%", nil, "unauthorized_client"},
		"wrong secret":          {"program", "x", nil, "invalid_client"},
		"no secret":             {"program", "", nil, "invalid_client"},
		"no API":                {"program", "s", url.Values{"audience": {""}}, "invalid_request"},
		"two APIs":              {"program", "s", url.Values{"audience": {"a", "b"}}, "invalid_request"},
	} {
		if r, got := ask(tt.id, tt.secret, tt.changes); r.status < 400 || got["error"] != tt.want {
			t.Errorf("%s: got %d %v", name, r.status, got)
		}
	}
}

package openid_test

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// signedRequests makes a party that signs its authorization requests with a key that the provider
// knows. change may make the two differ.
func signedRequests(key scriptedop.Key, change func(*openid.Config)) options {
	return options{op: scriptedop.Config{RequestKey: key}, config: func(c *openid.Config) {
		c.RequestObject, c.SigningKey, c.SigningKeyID, c.SigningAlgorithm = true, key.Private.(crypto.Signer), key.ID, key.Algorithm
		change(c)
	}}
}

// TestRequestObject (AR-19) signs in with signed authorization requests. The provider verifies each
// one, accepts no jti twice, and no parameter outside that it would have to believe.
func TestRequestObject(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"PS256", "ES256", "EdDSA", "RS256"} {
		key := scriptedop.NewKey("request-key", algorithm)
		for name, pushed := range map[string]string{algorithm + " pushed": "always", algorithm + " by value": "never"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := newParty(t, signedRequests(key, func(c *openid.Config) { c.PushedAuthorizationRequests = pushed }))
				demand := openid.Demand{MaxAge: time.Hour}
				a := p.begin(openid.AuthorizationRequest{Demand: demand, Link: url.Values{"login_hint": {"ada@example.com"}}})
				sent, want := scriptedop.Query(t, a.request), []string{"client_id", "request", "response_type", "scope"}
				if pushed == "always" {
					sent, want = p.op.Last(scriptedop.PAR).Form, []string{"client_id", "request"}
				}
				if names := slices.Sorted(maps.Keys(sent)); !slices.Equal(names, want) {
					t.Errorf("the parameters are %q, want %q", names, want)
				}
				p.wantSignedIn(p.finish(t.Context(), p.authorize(a)), "alice")
				p.wantSignedIn(p.signIn(), "alice") // whose request object has another jti
			})
		}
	}
	t.Run("with private_key_jwt, by the same key", func(t *testing.T) {
		t.Parallel()
		key := scriptedop.NewKey("client-key", "ES256")
		o := signedRequests(key, func(c *openid.Config) {
			c.ClientAuth, c.PushedAuthorizationRequests = openid.PrivateKeyJWT, "always"
		})
		o.op.ClientKey = key
		p := newParty(t, o)
		p.wantSignedIn(p.signIn(), "alice")
		names := slices.Sorted(maps.Keys(p.op.Last(scriptedop.PAR).Form))
		if want := []string{"client_assertion", "client_assertion_type", "client_id", "request"}; !slices.Equal(names, want) {
			t.Errorf("the parameters are %q, want %q", names, want)
		}
	})
	t.Run("with several APIs", func(t *testing.T) {
		t.Parallel()
		apis := []string{"https://orders.example.com", "https://files.example.com"}
		p := newParty(t, signedRequests(scriptedop.NewKey("request-key", "ES256"), func(c *openid.Config) { c.Resources = apis }))
		a := p.begin(openid.AuthorizationRequest{})
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(scriptedop.Query(t, a.request).Get("request"), ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		var claims struct{ Resource []string }
		if err := json.Unmarshal(payload, &claims); err != nil || !slices.Equal(claims.Resource, apis) {
			t.Errorf("the resources are %q (%v), want %q", claims.Resource, err, apis)
		}
		p.wantSignedIn(p.finish(t.Context(), p.authorize(a)), "alice")
	})
	t.Run("at an endpoint with a query of its own", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, signedRequests(scriptedop.NewKey("request-key", "ES256"), func(*openid.Config) {}))
		p.op.Edit(scriptedop.Discovery, func(m map[string]any) { m["authorization_endpoint"] = p.op.URL(scriptedop.Authorize) + "?tenant=a" })
		if got := scriptedop.Query(t, p.begin(openid.AuthorizationRequest{}).request); got.Get("tenant") != "a" || !got.Has("request") {
			t.Errorf("the request is %v", got)
		}
	})
}

// TestRequestObjectRefused (AR-19) makes the client differ from what the provider knows. The cases of
// TestRequestObject are the control.
func TestRequestObjectRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*openid.Config){
		"another key":         func(c *openid.Config) { c.SigningKey = scriptedop.NewKey("", "ES256").Private.(crypto.Signer) },
		"another kid":         func(c *openid.Config) { c.SigningKeyID = "" },
		"a clock that lags":   func(c *openid.Config) { c.Now = behind(c.Now) },
		"an unsigned request": func(c *openid.Config) { c.RequestObject = false },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, signedRequests(scriptedop.NewKey("request-key", "ES256"), func(c *openid.Config) {
				c.PushedAuthorizationRequests = "always"
				change(c)
			}))
			p.wantRefused(p.signIn(), openid.ReasonProviderUnreachable, 0, 0)
		})
		t.Run(name+", by value", func(t *testing.T) {
			t.Parallel()
			p := newParty(t, signedRequests(scriptedop.NewKey("request-key", "ES256"), change))
			resp, err := http.Get(p.begin(openid.AuthorizationRequest{}).request)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusBadRequest {
				t.Errorf("answered %d", resp.StatusCode)
			}
		})
	}
}

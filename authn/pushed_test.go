package authn_test

import (
	"net/http"
	"slices"
	"testing"

	"latchkey/authn"
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
			a := newApp(t, appOptions{config: func(c *authn.Config) { c.PushedAuthorizationRequests = tt.setting }})
			a.op.Edit(scriptedop.Discovery, tt.metadata)
			b := a.person(t)
			request := b.begin("")
			parameters := query(t, request)
			parameters.Del("tenant")
			if got := len(parameters) == 2 && parameters.Has("client_id") && parameters.Has("request_uri"); got != tt.pushed {
				t.Fatalf("the browser carries %v", parameters)
			}
			if tt.pushed {
				form := a.op.Last(scriptedop.PAR).Form
				for _, name := range []string{"client_id", "redirect_uri", "response_type", "scope", "state", "nonce", "code_challenge", "code_challenge_method"} {
					if len(form[name]) != 1 {
						t.Errorf("%s was pushed as %q", name, form[name])
					}
				}
			}
			b.wantSignedIn(b.get(b.authorize(request)), "alice")
		})
	}
}

func TestPushedAuthorizationRequestFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   authn.Reason
		slow   bool
	}{
		"AR-14 500":              {answer: scriptedop.Status(http.StatusInternalServerError)},
		"AR-14 400":              {answer: scriptedop.JSON(http.StatusBadRequest, map[string]any{"error": "invalid_request"})},
		"AR-14 no request_uri":   {answer: scriptedop.JSON(http.StatusCreated, map[string]any{"expires_in": 60})},
		"AR-14 not JSON":         {answer: scriptedop.Body(http.StatusCreated, "application/json", "request_uri=urn:x")},
		"AR-14 a page":           {answer: scriptedop.Body(http.StatusCreated, "text/html", "<html>")},
		"AR-14 a number":         {answer: scriptedop.Body(http.StatusCreated, "application/json", `{"request_uri":1}`)},
		"AR-14 a broken line":    {answer: scriptedop.Reset},
		"AR-14 half an answer":   {answer: scriptedop.Cut},
		"DO-07 no end":           {answer: scriptedop.Endless},
		"DO-07 a bomb":           {answer: scriptedop.GzipBomb(64)},
		"AR-14 no answer at all": {answer: scriptedop.Hang, slow: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.slow && testing.Short() {
				t.Skip("waits for a time limit")
			}
			a := newApp(t, appOptions{config: func(c *authn.Config) { c.PushedAuthorizationRequests = "always" }})
			a.op.Answer(scriptedop.PAR, tt.answer)
			b := a.person(t)
			got := b.get(a.URL + "/login?return_to=/orders")
			b.wantRefused(got, authn.ReasonProviderUnreachable, 0, 0)
			if got.location != "" || len(got.header["Set-Cookie"]) > 0 || got.header.Get("Return-To") != "/orders" {
				t.Errorf("sent to %q with cookies %q, to come back to %q", got.location, got.header["Set-Cookie"], got.header.Get("Return-To"))
			}
			if n := a.op.Calls(scriptedop.PAR); n != 1 {
				t.Errorf("pushed %d times", n)
			}
		})
	}
}

func TestPushedAuthorizationRequestAuthenticates(t *testing.T) {
	t.Parallel()
	for _, method := range []string{authn.ClientSecretBasic, authn.ClientSecretPost} {
		t.Run("AR-14 CB-15 "+method, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{
				op:     scriptedop.Config{ClientSecret: awkwardSecret},
				config: func(c *authn.Config) { c.PushedAuthorizationRequests, c.ClientAuth = "always", method },
			})
			b := a.person(t)
			request := b.begin("")
			last := a.op.Last(scriptedop.PAR)
			if got := []bool{last.Header.Get("Authorization") != "", last.Form.Has("client_secret")}; slices.Equal(got, []bool{true, true}) || slices.Equal(got, []bool{false, false}) {
				t.Errorf("in the header and in the body: %v", got)
			}
			b.wantSignedIn(b.get(b.authorize(request)), "alice")
		})
	}
}

// awkwardSecret shows whether it was encoded on its way (RFC 6749 section 2.3.1).
const awkwardSecret = "a:b c+/%&é=?#%2B"

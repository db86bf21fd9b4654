package login

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// signInCase is a sign-in through the whole app that differs from the usual one.
type signInCase struct {
	// provider changes the provider, and response changes the authorization response.
	provider func(*scriptedop.Provider)
	response func(url.Values)
	// status is the status of the refusal, or 0 if the sign-in succeeds.
	status int
	reason openid.Reason
	// calls are the expected numbers of calls to the token and the userinfo endpoint.
	calls []int
}

func runSignInCases(t *testing.T, cases map[string]signInCase) {
	t.Helper()
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apptest.StartScripted(t)
			if tt.provider != nil {
				tt.provider(s.OP)
			}
			v := s.Visitor()
			address := v.AuthorizationResponse("/profile?tab=1")
			if tt.response != nil {
				address = apptest.WithQuery(t, address, tt.response)
			}
			got := v.Callback(address)
			apptest.CheckHeaders(t, "the callback", got)
			if tt.status == 0 {
				s.WantSignedIn(v, got, "alice", "/profile?tab=1")
				s.WantCalls(1, 1)
				return
			}
			s.WantRefused(v, got, tt.status, tt.reason, tt.calls...)
			readable := tt.reason != openid.ReasonResponseMalformed && tt.reason != authn.ReasonTransactionMissing
			if readable && !strings.Contains(got.Body, `href="/login?return_to=%2Fprofile%3Ftab%3D1"`) {
				t.Errorf("the return path is lost:\n%s", got.Body)
			}
		})
	}
}

// TestResponseRefused sends invalid authorization responses and token responses.
func TestResponseRefused(t *testing.T) {
	t.Parallel()
	set := func(name string, values ...string) func(url.Values) {
		return func(v url.Values) { v[name] = values }
	}
	answer := func(e scriptedop.Endpoint, answer http.HandlerFunc) func(*scriptedop.Provider) {
		return func(op *scriptedop.Provider) { op.Answer(e, answer) }
	}
	tokens := func(change func(map[string]any)) func(*scriptedop.Provider) {
		return func(op *scriptedop.Provider) { op.Edit(scriptedop.Token, change) }
	}
	const malformed = http.StatusBadRequest
	runSignInCases(t, map[string]signInCase{
		"the usual one":                     {},
		"CB-01 no state":                    {response: func(v url.Values) { v.Del("state") }, status: malformed, reason: authn.ReasonTransactionMissing, calls: []int{0, 0}},
		"CB-07 another issuer":              {response: set("iss", "https://evil.example"), status: 502, reason: openid.ReasonIssuerMismatch, calls: []int{0, 0}},
		"CB-07 no issuer":                   {response: func(v url.Values) { v.Del("iss") }, status: 502, reason: openid.ReasonIssuerMismatch, calls: []int{0, 0}},
		"CB-10 two states":                  {response: func(v url.Values) { v.Add("state", "bad") }, status: malformed, reason: openid.ReasonResponseMalformed, calls: []int{0, 0}},
		"CB-10 two codes":                   {response: func(v url.Values) { v.Add("code", "bad") }, status: malformed, reason: openid.ReasonResponseMalformed, calls: []int{0, 0}},
		"CB-10 an unknown parameter, twice": {response: set("x", "1", "2")},
		"CB-11 both code and error":         {response: set("error", "access_denied"), status: malformed, reason: openid.ReasonResponseMalformed, calls: []int{0, 0}},
		"CB-11 neither":                     {response: func(v url.Values) { v.Del("code") }, status: malformed, reason: openid.ReasonResponseMalformed, calls: []int{0, 0}},
		"CB-14 invalid_grant":               {provider: answer(scriptedop.Token, scriptedop.JSON(400, map[string]any{"error": "invalid_grant"})), status: 502, reason: openid.ReasonTokenRequestFailed, calls: []int{1, 0}},
		"CB-14 500":                         {provider: answer(scriptedop.Token, scriptedop.Status(500)), status: 503, reason: openid.ReasonProviderUnreachable, calls: []int{1, 0}},
		"CB-14 a broken connection":         {provider: answer(scriptedop.Token, scriptedop.Reset), status: 503, reason: openid.ReasonProviderUnreachable, calls: []int{1, 0}},
		"CB-16 a redirect":                  {provider: answer(scriptedop.Token, scriptedop.Redirect(307, "http://127.0.0.1:1/")), status: 502, reason: openid.ReasonTokenRequestFailed, calls: []int{1, 0}},
		"CB-17 another type of token":       {provider: tokens(func(m map[string]any) { m["token_type"] = "DPoP" }), status: 502, reason: openid.ReasonTokenInvalid, calls: []int{1, 0}},
		"CB-17 lower case":                  {provider: tokens(func(m map[string]any) { m["token_type"] = "bearer" })},
		"CB-17 no ID token":                 {provider: tokens(func(m map[string]any) { delete(m, "id_token") }), status: 502, reason: openid.ReasonTokenInvalid, calls: []int{1, 0}},
		"CB-18 no expires_in":               {provider: tokens(func(m map[string]any) { delete(m, "expires_in") })},
		"UI-01 userinfo of another person":  {provider: userInfo("sub", "mallory"), status: 502, reason: openid.ReasonUserInfoMismatch, calls: []int{1, 1}},
		"UI-01 userinfo without a subject":  {provider: userInfo("sub", ""), status: 502, reason: openid.ReasonUserInfoMismatch, calls: []int{1, 1}},
		"UI-02 userinfo with an issuer":     {provider: userInfo("iss", "https://evil.example")},
		"UI-04 userinfo as an HTML page":    {provider: answer(scriptedop.UserInfo, scriptedop.Body(200, "text/html", `{"sub":"alice"}`))},
		"UI-05 userinfo is down":            {provider: answer(scriptedop.UserInfo, scriptedop.Status(500))},
	})
}

func userInfo(name string, value any) func(*scriptedop.Provider) {
	return func(op *scriptedop.Provider) {
		op.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims[name] = value })
	}
}

// TestIDTokenRefused sends ID tokens that are invalid in one way of each kind, and valid
// tokens that are unusual. The tests of authn/openid cover all variants.
func TestIDTokenRefused(t *testing.T) {
	t.Parallel()
	evil := scriptedop.NewKey("key-1", "ES256")
	edited := func(change func(*scriptedop.JWT)) func(*scriptedop.Provider) {
		return func(op *scriptedop.Provider) { op.EditIDToken(change) }
	}
	claims := func(changed map[string]any) func(*scriptedop.Provider) {
		return edited(func(token *scriptedop.JWT) { maps.Copy(token.Claims, changed) })
	}
	without := func(name string) func(*scriptedop.Provider) {
		return edited(func(token *scriptedop.JWT) { delete(token.Claims, name) })
	}
	header := func(name string, value any) func(*scriptedop.Provider) {
		return edited(func(token *scriptedop.JWT) { token.Header[name] = value })
	}
	// at sets a claim to a time relative to the token's time of issue.
	at := func(name string, d time.Duration) func(*scriptedop.Provider) {
		return edited(func(token *scriptedop.JWT) { token.Claims[name] = time.Now().Add(d).Unix() })
	}
	cases := make(map[string]signInCase)
	for name, provider := range map[string]func(*scriptedop.Provider){
		"ID-01 signed by another key":            edited(func(token *scriptedop.JWT) { token.Key = evil }),
		"ID-02 an algorithm that is not allowed": func(op *scriptedop.Provider) { op.SetKeys(scriptedop.NewKey("key-2", "ES512")) },
		"ID-03 not signed":                       edited(func(token *scriptedop.JWT) { token.Key = scriptedop.Key{Algorithm: "none"} }),
		"ID-04 with a line break":                edited(func(token *scriptedop.JWT) { token.Raw = token.Compact() + "\n" }),
		"ID-05 with its own key":                 edited(func(token *scriptedop.JWT) { token.Key = evil; token.Header["jwk"] = evil.JWK() }),
		"ID-06 no kid, two keys": func(op *scriptedop.Provider) {
			op.SetKeys(scriptedop.NewKey("", "ES256"), scriptedop.NewKey("", "ES256"))
		},
		"ID-08 another issuer":           claims(map[string]any{"iss": "https://evil.example/"}),
		"ID-09 another audience":         claims(map[string]any{"aud": []string{"client", "evil"}}),
		"ID-10 expired":                  at("exp", -70*time.Second),
		"ID-11 no iat":                   without("iat"),
		"ID-12 not valid yet":            at("nbf", 10*time.Minute),
		"ID-13 no nonce":                 without("nonce"),
		"ID-14 no subject":               without("sub"),
		"ID-16 another access token":     claims(map[string]any{"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}),
		"ID-18 a logout token":           header("typ", "logout+jwt"),
		"ID-19 a claim in two cases":     claims(map[string]any{"Sub": "mallory"}),
		"ID-24 a session that has ended": at("session_expiry", -time.Hour),
	} {
		cases[name] = signInCase{provider: provider, status: 502, reason: openid.ReasonIDTokenInvalid, calls: []int{1, 0}}
	}
	cases["ID-20 33 KiB"] = signInCase{
		provider: claims(map[string]any{"x": strings.Repeat("x", 33<<10)}), status: 502, reason: openid.ReasonTooLarge, calls: []int{1, 0},
	}
	for name, provider := range map[string]func(*scriptedop.Provider){
		"ID-06 no kid, one key":              func(op *scriptedop.Provider) { op.SetKeys(scriptedop.NewKey("", "ES256")) },
		"ID-07 a good key among broken ones": brokenKeys,
		"ID-09 a list of one":                claims(map[string]any{"aud": []string{"client"}}),
		"ID-09 two, and azp":                 claims(map[string]any{"aud": []string{"client", "api"}, "azp": "client"}),
		"ID-10 30 seconds ago":               at("exp", -30*time.Second),
		"ID-11 in 30 seconds":                at("iat", 30*time.Second),
		"ID-12 in 30 seconds":                at("nbf", 30*time.Second),
		"ID-16 no at_hash":                   without("at_hash"),
		"ID-18 no typ":                       edited(func(token *scriptedop.JWT) { token.Header = nil }),
		"ID-19 an unknown claim":             claims(map[string]any{"https://example.com/Roles": []string{"a"}}),
		"ID-20 20 KiB":                       claims(map[string]any{"x": strings.Repeat("x", 20<<10)}),
		"ID-21 of the wrong type":            claims(map[string]any{"name": 7, "email_verified": 1, "picture": map[string]any{}}),
		"ID-23 no sid":                       without("sid"),
	} {
		cases[name] = signInCase{provider: provider}
	}
	runSignInCases(t, cases)
}

// brokenKeys publishes keys that no library can parse, next to the good one.
func brokenKeys(op *scriptedop.Provider) {
	op.Edit(scriptedop.JWKS, func(set map[string]any) {
		set["keys"] = append(set["keys"].([]any),
			map[string]any{"kty": "RSA", "n": "!!", "e": "AQAB"}, map[string]any{"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
			map[string]any{"kty": "OKP", "crv": "Ed448", "x": "AA"}, map[string]any{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}, "x", nil)
	})
}

package interop

import (
	"crypto"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"latchkey/authn/openid"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestInteroperation signs in, refreshes and signs out with a certified OpenID provider,
// which shares no code with this module. Each case has a provider and an app of its own.
func TestInteroperation(t *testing.T) {
	t.Parallel()
	providers := startCertifiedProviders(t)
	for name, test := range map[string]func(*testing.T, *certifiedProviders){
		"code and PKCE":                 testCodeAndPKCE,
		"pushed authorization requests": testPushedRequests,
		"form_post":                     testFormPost,
		"client secrets":                testClientSecrets,
		"private_key_jwt":               testPrivateKeyJWT,
		"ID token algorithms":           testIDTokenAlgorithms,
		"issuer of the response":        testResponseIssuer,
		"signed userinfo":               testSignedUserInfo,
		"refresh with rotation":         testRefreshWithRotation,
		"tokens for other APIs":         testTokensForAPIs,
		"mutual TLS":                    testMutualTLS,
		"request objects":               testRequestObjects,
		"signed responses":              testSignedResponses,
		"FAPI 2.0":                      testProfile,
		"DPoP":                          testDPoP,
		"DPoP on two nodes":             testDPoPOnTwoNodes,
		"step-up":                       testStepUp,
		"sign-out here":                 testRPInitiatedLogout,
		"sign-out at the provider":      testBackchannelLogout,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, providers)
		})
	}
}

// interopCase says how an app and its provider differ from the usual ones.
type interopCase struct {
	wanted wantedProvider
	env    []string
	// refused is the reason for which the sign-in must fail, or "".
	refused openid.Reason
	// call is a call that the provider must have answered exactly once.
	call string
}

// signInEach runs one sign-in for each case, to the dashboard or to a refusal.
func (p *certifiedProviders) signInEach(t *testing.T, cases map[string]interopCase) {
	t.Helper()
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := p.startInterop(t, tt.wanted, tt.env...)
			page := i.Get("/login")
			if strings.HasPrefix(page.Request.URL.String(), i.issuer) {
				page = i.Press(page, "person-ada")
			}
			if tt.refused != "" {
				i.wantRefused(page, tt.refused)
				return
			}
			i.wantDashboard(page)
			if tt.call != "" {
				i.wantCalls(tt.call, 1)
			}
		})
	}
}

func testCodeAndPKCE(t *testing.T, providers *certifiedProviders) {
	i := providers.startInterop(t, wantedProvider{})
	begun := i.Direct(i.Request(http.MethodGet, "/login", nil))
	request, err := begun.Location()
	if err != nil {
		t.Fatal(err)
	}
	// This provider refuses a request without a code challenge.
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		if request.Query().Get(name) == "" {
			t.Errorf("the authorization request has no %s", name)
		}
	}
	dashboard := i.SignIn("/login", "ada")
	i.wantDashboard(dashboard)
	// These two come from userinfo, because the provider's ID token has only the subject.
	for _, want := range []string{"ada@example.com", `"nickname": "asked 1"`} {
		if !strings.Contains(apptest.Text(apptest.Parse(t, dashboard.Body)), want) {
			t.Errorf("the dashboard does not show %q", want)
		}
	}
	i.wantCalls("token authorization_code 200", 1)
	i.wantCalls("userinfo 200", 1)
}

func testPushedRequests(t *testing.T, providers *certifiedProviders) {
	const setting, pushed = "PUSHED_AUTHORIZATION_REQUESTS=", "pushed_authorization_request 201"
	required := wantedProvider{RequirePushed: true}
	providers.signInEach(t, map[string]interopCase{
		"always":                                  {env: []string{setting + "always"}, call: pushed},
		"auto, with a provider that requires it":  {env: []string{setting + "auto"}, wanted: required, call: pushed},
		"never, with a provider that requires it": {env: []string{setting + "never"}, wanted: required, refused: openid.ReasonDeclined},
	})
}

func testFormPost(t *testing.T, providers *certifiedProviders) {
	certificate, key := apptest.WriteCertificate(t)
	i := providers.startInterop(t, wantedProvider{}, "RESPONSE_MODE=form_post", "TLS_CERT_FILE="+certificate, "TLS_KEY_FILE="+key)
	page := i.SignIn("/login", "ada")
	if !strings.HasPrefix(page.Request.URL.String(), i.issuer) || page.Request.URL.RawQuery != "" {
		t.Fatalf("the provider sends the response through %s", page.Request.URL)
	}
	i.wantDashboard(i.SubmitForm(page))
}

func testClientSecrets(t *testing.T, providers *certifiedProviders) {
	cases := make(map[string]interopCase)
	for _, method := range []string{openid.ClientSecretBasic, openid.ClientSecretPost} {
		wanted := wantedProvider{Client: map[string]any{"token_endpoint_auth_method": method}}
		env := []string{"CLIENT_AUTH=" + method, "PUSHED_AUTHORIZATION_REQUESTS=always"}
		cases[method] = interopCase{wanted: wanted, env: env, call: "token authorization_code 200"}
		cases[method+", another secret"] = interopCase{
			wanted: wanted, env: []string{env[0], "AUTH0_CLIENT_SECRET=" + url.QueryEscape(apptest.ClientSecret)}, refused: openid.ReasonTokenRequestFailed,
		}
	}
	providers.signInEach(t, cases)
}

// testPrivateKeyJWT authenticates with assertions at every endpoint that requires it.
func testPrivateKeyJWT(t *testing.T, providers *certifiedProviders) {
	rsaKey := apptest.NewKey(t, "RSA")
	for name, tt := range map[string]struct {
		key scriptedop.Key // as the provider knows it
		env []string
	}{
		"RS256": {key: scriptedop.Key{Algorithm: "RS256", Private: rsaKey}},
		"PS256": {key: scriptedop.Key{Algorithm: "PS256", Private: rsaKey}, env: []string{"CLIENT_SIGNING_ALG=PS256"}},
		"ES256": {key: scriptedop.Key{Algorithm: "ES256", Private: apptest.NewKey(t, "P-256")}},
		"EdDSA": {key: scriptedop.Key{Algorithm: "EdDSA", Private: apptest.NewKey(t, "Ed25519")}},
		"a key with an id from the provider": {
			key: scriptedop.Key{Algorithm: "ES256", Private: apptest.NewKey(t, "P-256"), ID: "first of two"},
			env: []string{"CLIENT_SIGNING_KID=first of two"},
		},
	} {
		if tt.key.ID == "" {
			tt.key.ID = thumbprint(t, tt.key.Private.(crypto.Signer))
		}
		wanted := wantedProvider{AccessTokensOnce: true, Client: map[string]any{
			"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": tt.key.Algorithm,
			"client_secret": nil, "jwks": map[string]any{"keys": []any{tt.key.JWK()}},
		}}
		env := func(key any) []string {
			return append([]string{
				"CLIENT_AUTH=private_key_jwt", "CLIENT_SIGNING_KEY=" + apptest.WritePKCS8(t, key.(crypto.Signer)),
				"PUSHED_AUTHORIZATION_REQUESTS=always",
			}, tt.env...)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := providers.startInterop(t, wanted, env(tt.key.Private)...)
			dashboard := i.SignIn("/login", "ada")
			i.wantDashboard(dashboard)
			i.wantDashboard(i.Press(dashboard, "profile-refresh-button"))
			i.Press(dashboard, "qsLogoutBtn")
			i.wantCalls("pushed_authorization_request 201", 1)
			i.wantCalls("token authorization_code 200", 1)
			i.wantCalls("token refresh_token 200", 1)
			i.wantCalls("revocation 200", 1)
		})
		t.Run(name+", another key", func(t *testing.T) {
			t.Parallel()
			other := scriptedop.NewKey("", tt.key.Algorithm).Private
			i := providers.startInterop(t, wanted, env(other)...)
			i.wantRefused(i.Get("/login"), openid.ReasonProviderUnreachable)
			i.wantCalls("pushed_authorization_request 401", 1)
		})
	}
}

func testIDTokenAlgorithms(t *testing.T, providers *certifiedProviders) {
	cases := make(map[string]interopCase)
	for _, algorithm := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		wanted := wantedProvider{Client: map[string]any{"id_token_signed_response_alg": algorithm}}
		cases[algorithm] = interopCase{wanted: wanted, env: []string{"ID_TOKEN_ALG=" + algorithm}}
		others := slices.DeleteFunc([]string{"RS256", "PS256", "ES256", "EdDSA"}, func(a string) bool { return a == algorithm })
		cases[algorithm+" is not allowed"] = interopCase{
			wanted: wanted, env: []string{"ID_TOKEN_ALG=" + strings.Join(others, ",")}, refused: openid.ReasonIDTokenInvalid,
		}
	}
	providers.signInEach(t, cases)
}

// testResponseIssuer (RFC 9207) changes the issuer that the response names.
func testResponseIssuer(t *testing.T, providers *certifiedProviders) {
	for name, change := range map[string]func(query url.Values){
		"unchanged": nil,
		"another":   func(query url.Values) { query.Set("iss", "https://id.example.com") },
		"none":      func(query url.Values) { query.Del("iss") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := providers.startInterop(t, wantedProvider{})
			i.Client.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
				if req.URL.Path == "/callback" {
					return http.ErrUseLastResponse
				}
				return nil
			}
			callback, err := i.SignIn("/login", "ada").Location()
			if err != nil {
				t.Fatal(err)
			}
			i.Client.CheckRedirect = nil
			query := callback.Query()
			if query.Get("iss") != i.issuer {
				t.Errorf("the response has the issuer %q", query.Get("iss"))
			}
			if change == nil {
				i.wantDashboard(i.Get(callback.String()))
				return
			}
			change(query)
			callback.RawQuery = query.Encode()
			i.wantRefused(i.Get(callback.String()), openid.ReasonIssuerMismatch)
			i.wantCalls("token authorization_code 200", 0)
		})
	}
}

// thumbprint returns the id of a key without a configured id (RFC 7638).
func thumbprint(t *testing.T, key crypto.Signer) string {
	t.Helper()
	sum, err := (&jose.JSONWebKey{Key: key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}

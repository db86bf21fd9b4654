package interop

import (
	"crypto"
	"maps"
	"net/http"
	"testing"

	"latchkey/authn/openid"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// testDPoP gets bound tokens from a provider that issues no others to this client, asks for a nonce in
// each proof and accepts each proof and each client assertion once.
func testDPoP(t *testing.T, providers *certifiedProviders) {
	bound := func(client map[string]any) wantedProvider {
		metadata := map[string]any{"dpop_bound_access_tokens": true}
		maps.Copy(metadata, client)
		return wantedProvider{AccessTokensOnce: true, Client: metadata}
	}
	key := scriptedop.Key{Algorithm: "ES256", Private: apptest.NewKey(t, "P-256")}
	key.ID = thumbprint(t, key.Private.(crypto.Signer))
	for name, tt := range map[string]struct {
		wanted wantedProvider
		env    []string
	}{
		"with a secret": {wanted: bound(nil)},
		"with private_key_jwt": {
			wanted: bound(map[string]any{
				"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES256",
				"client_secret": nil, "jwks": map[string]any{"keys": []any{key.JWK()}},
			}),
			env: []string{"CLIENT_AUTH=private_key_jwt", "CLIENT_SIGNING_KEY=" + apptest.WritePKCS8(t, key.Private.(crypto.Signer))},
		},
		"with pushed requests": {wanted: bound(nil), env: []string{"PUSHED_AUTHORIZATION_REQUESTS=always"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := providers.startInterop(t, tt.wanted, append(tt.env, "DPOP=on")...)
			dashboard := i.SignIn("/login", "ada")
			i.wantDashboard(dashboard)
			i.wantCalls("token authorization_code 400", 1) // without a nonce, which does not use up the code
			i.wantCalls("token authorization_code 200", 1)
			i.wantCalls("userinfo 401", 1)
			i.wantCalls("userinfo 200", 1)
			i.wantDashboard(i.Press(dashboard, "profile-refresh-button"))
			i.wantCalls("token refresh_token 200", 1)
			i.wantCalls("userinfo 200", 2)
			i.Press(dashboard, "qsLogoutBtn")
			i.wantCalls("revocation 200", 1)
		})
	}
	t.Run("a provider that demands it, and DPOP is off", func(t *testing.T) {
		t.Parallel()
		i := providers.startInterop(t, bound(nil))
		i.wantRefused(i.SignIn("/login", "ada"), openid.ReasonTokenRequestFailed)
	})
}

// testDPoPOnTwoNodes refreshes on a node that did not sign the person in, and after a restart.
func testDPoPOnTwoNodes(t *testing.T, providers *certifiedProviders) {
	redis := apptest.StartRedis(t)
	env := []string{"DPOP=on", "SESSION_STORE=" + redis.URL, "APP_SECRET_KEY=0123456789abcdef0123456789abcdef"}
	i := providers.startInterop(t, wantedProvider{AccessTokensOnce: true, Client: map[string]any{"dpop_bound_access_tokens": true}}, env...)
	i.wantDashboard(i.SignIn("/login", "ada"))
	node := func() *apptest.App {
		return apptest.Start(t, append([]string{
			"PORT=" + apptest.FreePort(t), "OIDC_ISSUER=" + i.issuer, "AUTH0_CLIENT_ID=app", "AUTH0_CLIENT_SECRET=" + apptest.ClientSecret,
		}, env...)...)
	}
	two := node()
	refresh := func(at *apptest.Visitor, refreshes int) {
		t.Helper()
		if got := at.RefreshProfile(); got.StatusCode != http.StatusOK {
			t.Errorf("a refresh ends with %d\n%s", got.StatusCode, at.App.Log)
		}
		i.wantCalls("token refresh_token 200", refreshes)
	}
	refresh(i.At(two), 1)
	refresh(i.Visitor, 2)
	if err := two.Stop(); err != nil {
		t.Error(err)
	}
	refresh(i.At(node()), 3)
}

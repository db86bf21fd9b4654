package interop

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"latchkey/authn/devop"
	"latchkey/internal/apptest"
)

// providerCase is what the provider has registered for the app that the doctor examines.
type providerCase struct {
	secret              string
	callback, signedOut string
	env                 []string
	problems            map[string]string
}

func providerCases() map[string]providerCase {
	return map[string]providerCase{
		"all correct":            {apptest.ClientSecret, apptest.CallbackURL, apptest.SignedOutURL, nil, nil},
		"pushed":                 {apptest.ClientSecret, apptest.CallbackURL, apptest.SignedOutURL, []string{"PUSHED_AUTHORIZATION_REQUESTS=always"}, nil},
		"the secret in the form": {apptest.ClientSecret, apptest.CallbackURL, apptest.SignedOutURL, []string{"CLIENT_AUTH=client_secret_post"}, nil},
		"another secret": {"of another client's " + apptest.ClientSecret, apptest.CallbackURL, apptest.SignedOutURL, nil, map[string]string{
			"client": "failed configuration",
		}},
		"another client": {apptest.ClientSecret, apptest.CallbackURL, apptest.SignedOutURL, []string{"AUTH0_CLIENT_ID=another"}, map[string]string{
			"client": "failed configuration", "callback": "failed configuration", "authorization_request": "skipped", "sign_out": "warning configuration",
		}},
		"another callback": {apptest.ClientSecret, apptest.CallbackURL + "/", apptest.SignedOutURL, nil, map[string]string{
			"callback": "failed configuration", "authorization_request": "skipped",
		}},
		"another callback, pushed": {apptest.ClientSecret, apptest.CallbackURL + "/", apptest.SignedOutURL, []string{"PUSHED_AUTHORIZATION_REQUESTS=always"}, map[string]string{
			"callback": "failed configuration", "authorization_request": "skipped",
		}},
		"another address after sign-out": {apptest.ClientSecret, apptest.CallbackURL, apptest.SignedOutURL + "/", nil, map[string]string{"sign_out": "failed configuration"}},
	}
}

// TestDoctorBesideDevop examines apps that a development provider has registered correctly,
// or with one difference.
func TestDoctorBesideDevop(t *testing.T) {
	t.Parallel()
	for name, tt := range providerCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewUnstartedServer(nil)
			issuer := "http://" + server.Listener.Addr().String()
			provider, err := devop.New(devop.Config{Issuer: issuer, Clients: []devop.Client{{
				ID: "app", Secret: tt.secret, RedirectURIs: []string{tt.callback}, PostLogoutRedirectURIs: []string{tt.signedOut},
			}}})
			if err != nil {
				t.Fatal(err)
			}
			server.Config.Handler = provider
			server.Start()
			t.Cleanup(func() {
				server.Close()
				if err := provider.Close(); err != nil {
					t.Error(err)
				}
			})
			env := append([]string{"OIDC_ISSUER=" + issuer, "AUTH0_CLIENT_ID=app", "AUTH0_CLIENT_SECRET=" + apptest.ClientSecret}, tt.env...)
			apptest.Diagnose(t, env...).WantProblems(t, tt.problems)
		})
	}
}

// TestDoctorBesideCertified does the same with the certified provider, and also with keys
// instead of secrets.
func TestDoctorBesideCertified(t *testing.T) {
	t.Parallel()
	providers := startCertifiedProviders(t)
	client := func(tt providerCase) map[string]any {
		method := "client_secret_basic"
		for _, variable := range tt.env {
			if value, ok := strings.CutPrefix(variable, "CLIENT_AUTH="); ok {
				method = value
			}
		}
		return map[string]any{
			"client_id": "app", "client_secret": tt.secret, "token_endpoint_auth_method": method,
			"redirect_uris": []string{tt.callback}, "post_logout_redirect_uris": []string{tt.signedOut},
			"grant_types": []string{"authorization_code", "refresh_token"},
		}
	}
	for name, tt := range providerCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			issuer := providers.start(t, wantedProvider{Client: client(tt)})
			env := append([]string{"OIDC_ISSUER=" + issuer, "AUTH0_CLIENT_ID=app", "AUTH0_CLIENT_SECRET=" + apptest.ClientSecret}, tt.env...)
			apptest.Diagnose(t, env...).WantProblems(t, tt.problems)
		})
	}
	// The report names exactly what must be registered.
	env := []string{"AUTH0_CLIENT_ID=app", "CLIENT_AUTH=private_key_jwt", "CLIENT_SIGNING_KEY=" + apptest.WritePKCS8(t, apptest.NewKey(t, "P-256"))}
	registered := publicKey(t, apptest.Diagnose(t, append(env, "OIDC_ISSUER=http://127.0.0.1:1")...))
	for name, tt := range map[string]struct {
		key      string
		problems map[string]string
	}{
		"a key":       {env[2], nil},
		"another key": {"CLIENT_SIGNING_KEY=" + apptest.WritePKCS8(t, apptest.NewKey(t, "P-256")), map[string]string{"client": "failed configuration"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			metadata := client(providerCase{callback: apptest.CallbackURL, signedOut: apptest.SignedOutURL, env: env})
			delete(metadata, "client_secret")
			metadata["jwks"] = map[string]any{"keys": []any{registered}}
			issuer := providers.start(t, wantedProvider{Client: metadata})
			apptest.Diagnose(t, append(env[:2:2], tt.key, "OIDC_ISSUER="+issuer)...).WantProblems(t, tt.problems)
		})
	}
}

// publicKey returns the key to register, and checks that the report shows nothing private.
func publicKey(t *testing.T, d *apptest.Diagnosis) (jwk map[string]any) {
	t.Helper()
	values := make(map[string]string)
	for _, registration := range d.Register {
		values[registration.Name] = registration.Value
	}
	if err := json.Unmarshal([]byte(values["public key (jwk)"]), &jwk); err != nil {
		t.Fatalf("%v: %v", err, values)
	}
	if jwk["d"] != nil || jwk["kid"] != values["key id (kid)"] || jwk["alg"] != "ES256" || values["token_endpoint_auth_signing_alg"] != "ES256" {
		t.Errorf("the report says to register %v", values)
	}
	return jwk
}

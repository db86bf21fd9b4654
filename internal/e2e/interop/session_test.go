package interop

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"latchkey/authn/openid"
	"latchkey/internal/apptest"
	"latchkey/routes"
)

// These tests cover what follows a sign-in. interop_test.go runs them.

// testSignedUserInfo has the provider sign userinfo. If the app does not allow the
// algorithm, the person is signed in without userinfo.
func testSignedUserInfo(t *testing.T, providers *certifiedProviders) {
	for algorithms, accepted := range map[string]bool{"RS256,ES256": true, "RS256": false} {
		t.Run("ES256 for "+algorithms, func(t *testing.T) {
			t.Parallel()
			wanted := wantedProvider{Client: map[string]any{"userinfo_signed_response_alg": "ES256"}}
			i := providers.startInterop(t, wanted, "ID_TOKEN_ALG="+algorithms)
			dashboard := i.SignIn("/login", "ada")
			if accepted {
				i.wantDashboard(dashboard)
				i.wantDashboard(i.Press(dashboard, "profile-refresh-button"))
				return
			}
			if shown := apptest.Text(apptest.Parse(t, dashboard.Body)); !i.SignedIn() || strings.Contains(shown, "certified") {
				t.Errorf("the sign-in ends at %s:\n%s", dashboard.Request.URL, shown)
			}
		})
	}
}

// testRefreshWithRotation refreshes with an access token that is no longer valid. Each
// time, the provider issues a new refresh token and revokes the old one. If the old one is
// used again, the provider revokes all tokens that descend from it.
func testRefreshWithRotation(t *testing.T, providers *certifiedProviders) {
	i := providers.startInterop(t, wantedProvider{AccessTokensOnce: true})
	page := i.SignIn("/login", "ada")
	i.wantDashboard(page)
	for n, want := range []string{"asked 2", "asked 3", "asked 4"} {
		page = i.Press(page, "profile-refresh-button")
		i.wantDashboard(page)
		if !strings.Contains(page.Body, want) {
			t.Errorf("after refresh %d the dashboard does not show %q", n+1, want)
		}
		i.wantCalls("token refresh_token 200", n+1)
	}
}

// testTokensForAPIs calls two APIs, with a token for each, and a third one that the sign-in has not named.
func testTokensForAPIs(t *testing.T, providers *certifiedProviders) {
	const named, other, unnamed = "https://orders.example.com", "https://stock.example.com", "https://parts.example.com"
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, token, _ := strings.Cut(r.Header.Get("Authorization"), ".")
		payload, _, _ := strings.Cut(token, ".")
		claims, _ := base64.RawURLEncoding.DecodeString(payload)
		_, _ = w.Write(claims)
	}))
	t.Cleanup(api.Close)
	for name, tt := range map[string]struct {
		resources string
		issued    map[string]string
	}{
		"two named": {"RESOURCES=" + named + "," + other, map[string]string{"/api/orders": named, "/api/stock": other, "/api/unnamed": ""}},
		"one named": {"RESOURCES=" + named, map[string]string{"/api/orders": named, "/api/stock": "", "/api/unnamed": ""}},
		"none":      {"RESOURCES=", map[string]string{"/api/orders": ""}},
	} {
		for _, pushed := range []string{"never", "always"} {
			t.Run(name+", pushed "+pushed, func(t *testing.T) {
				t.Parallel()
				var app *routes.App
				product := routes.Product{
					Open: func(_ context.Context, a *routes.App) error { app = a; return nil },
					Routes: func(routes.Router) {
						for path, audience := range map[string]string{"/api/orders": named, "/api/stock": other, "/api/unnamed": unnamed} {
							app.Proxy(path, routes.Upstream{URL: api.URL, API: openid.API{Audience: audience}})
						}
					},
				}
				i := providers.startProduct(t, product, wantedProvider{APIs: true}, tt.resources, "PUSHED_AUTHORIZATION_REQUESTS="+pushed,
					"AUTH0_SCOPES=openid profile email offline_access orders:read")
				i.wantDashboard(i.SignIn("/login", "ada"))
				i.wantCalls("userinfo 200", 1)
				for path, audience := range tt.issued {
					switch got := i.Get(path); {
					case audience != "" && (got.StatusCode != http.StatusOK || !strings.Contains(got.Body, `"aud":"`+audience+`"`)):
						t.Errorf("%s: %s %s, want a token for %s", path, got.Status, got.Body, audience)
					case audience == "" && got.StatusCode != http.StatusBadGateway:
						t.Errorf("%s: %s, want 502: the sign-in has not named this API", path, got.Status)
					}
				}
			})
		}
	}
}

// testStepUp requires a recent sign-in. This provider reports the time of the sign-in only
// if max_age asks for it. Its session is recent enough to show no page.
func testStepUp(t *testing.T, providers *certifiedProviders) {
	i := providers.startInterop(t, wantedProvider{})
	i.wantDashboard(i.SignIn("/login", "ada"))
	other := i.otherBrowser()
	other.wantDashboard(other.SignIn("/login", "ada"))

	held := i.Press(i.Press(i.Get("/sessions"), "end-others"), "end-others-confirm")
	i.wantCalls("token authorization_code 200", 3)
	if !other.SignedIn() {
		t.Error("the other session ended before the person confirmed it")
	}
	if done := i.Press(held, "resume-button"); done.StatusCode != http.StatusOK || !i.SignedIn() || other.SignedIn() {
		t.Errorf("confirming ends at %s with %d; signed in here: %t, there: %t", done.Request.URL, done.StatusCode, i.SignedIn(), other.SignedIn())
	}
}

// testRPInitiatedLogout signs out in the app, which ends the provider's session too.
func testRPInitiatedLogout(t *testing.T, providers *certifiedProviders) {
	i := providers.startInterop(t, wantedProvider{})
	dashboard := i.SignIn("/login", "ada")
	i.wantDashboard(dashboard)

	// While the provider has a session, it signs the person in without a page.
	i.Get("/login")
	if !i.SignedIn() {
		t.Error("the provider's session does not sign in again")
	}

	asked := i.Press(i.Get("/dashboard"), "qsLogoutBtn")
	if hint := asked.Request.URL.Query(); hint.Get("id_token_hint") == "" || hint.Get("state") == "" {
		t.Errorf("the logout request has %d parameters", len(hint))
	}
	if i.SignedIn() {
		t.Error("the person was signed out at the provider first")
	}
	signedOut := i.Press(asked, "sign-out")
	if strings.TrimSuffix(signedOut.Request.URL.Path, "/") != "" || !strings.Contains(signedOut.Body, "here and at the sign-in service") {
		t.Errorf("signing out ends at %s:\n%s", signedOut.Request.URL, apptest.Text(apptest.Parse(t, signedOut.Body)))
	}
	i.wantCalls("revocation 200", 1)
	if again := i.Get("/login"); apptest.ByID(apptest.Parse(t, again.Body), "person-ada") == nil {
		t.Errorf("the provider's session has not ended: signing in leads to %s", again.Request.URL)
	}
}

// testBackchannelLogout signs out at the provider, which notifies the app.
func testBackchannelLogout(t *testing.T, providers *certifiedProviders) {
	i := providers.startInterop(t, wantedProvider{}, "LOGOUT_TOKEN_TYP=strict")
	i.wantDashboard(i.SignIn("/login", "ada"))
	other := i.otherBrowser()
	other.wantDashboard(other.SignIn("/login", "ada"))
	i.Press(i.Get(i.issuer+"/session/end"), "sign-out")
	if i.SignedIn() {
		t.Errorf("the app's session continues:\n%s", i.App.Log)
	}
	if !other.SignedIn() {
		t.Error("the same person was signed out in another browser")
	}
	if i.App.Log.Count("signed out by the provider") != 1 {
		t.Errorf("the log does not report the sign-out:\n%s", i.App.Log)
	}
}

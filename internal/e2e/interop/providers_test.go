package interop

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestSeveralProviders (CB-24) signs in at a certified provider that is one of three, refreshes, and signs out
// here and at the provider. The second one is a scripted provider, and the third is a hostile one, which
// answers everything with what it knows of the first.
func TestSeveralProviders(t *testing.T) {
	t.Parallel()
	providers := startCertifiedProviders(t)
	port := apptest.FreePort(t)
	base := "http://localhost:" + port
	issuer := providers.start(t, wantedProvider{Client: map[string]any{
		"client_id": "app", "client_secret": apptest.ClientSecret, "redirect_uris": []string{base + "/callback/certified"},
		"post_logout_redirect_uris": []string{base}, "grant_types": []string{"authorization_code", "refresh_token"},
		"backchannel_logout_uri": base + "/backchannel-logout", "backchannel_logout_session_required": true,
	}})
	ops := map[string]*scriptedop.Provider{"evil": apptest.NewOP(t), "work": apptest.NewOP(t)}
	ops["evil"].Edit(scriptedop.Authorize, func(response map[string]any) { response["iss"] = issuer })
	ops["evil"].EditIDToken(func(token *scriptedop.JWT) { token.Claims["iss"] = issuer })
	env := append(apptest.EnvOf(ops), "SESSION_STORE=memory", "PORT="+port, "PROVIDERS=certified,"+strings.Join(slices.Sorted(maps.Keys(ops)), ","),
		"CERTIFIED_OIDC_ISSUER="+issuer, "CERTIFIED_CLIENT_ID=app", "CERTIFIED_CLIENT_SECRET="+apptest.ClientSecret, "CERTIFIED_ID_TOKEN_ALG=RS256")
	a := apptest.Start(t, env...)
	s := &apptest.Several{App: a, OPs: ops}
	apptest.Eventually(t, "all are discovered", func() bool { return a.Log.Count("provider discovered") == 3 })

	signIn := func() *interop {
		i := &interop{Visitor: a.Visitor(), issuer: issuer}
		page := i.Get("/login?provider=certified")
		if strings.HasPrefix(page.Request.URL.String(), issuer) {
			page = i.Press(page, "person-ada")
		}
		i.wantDashboard(page)
		return i
	}
	here, there := signIn(), signIn()
	other := a.Visitor()
	s.SignIn(other, "work")
	evil := a.Visitor()
	s.WantRefused(evil, evil.Callback(s.AuthorizationResponse(evil, "evil")), "issuer_mismatch")
	ops["evil"].Edit(scriptedop.Authorize, nil)
	s.WantRefused(evil, evil.Callback(s.AuthorizationResponse(evil, "evil")), "id_token_invalid")

	if card := here.RefreshProfile(); card.StatusCode != http.StatusOK {
		t.Errorf("the profile is refreshed with %d\n%s", card.StatusCode, a.Log)
	}
	out := here.Direct(here.Submission(here.Get("/dashboard"), "qsLogoutBtn"))
	if !strings.HasPrefix(out.Next(), issuer) {
		t.Errorf("the sign-out leads to %q", out.Next())
	}
	if here.SignedIn() || !there.SignedIn() || !other.SignedIn() {
		t.Errorf("signed in after one sign-out: %t, and the others %t, %t", here.SignedIn(), there.SignedIn(), other.SignedIn())
	}
}

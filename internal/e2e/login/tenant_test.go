package login

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// startTenant serves the app with a provider that the app treats as an Auth0 tenant. A real
// tenant has https and a trusted certificate, so no test can run the program with
// AUTH0_DOMAIN.
func startTenant(t *testing.T, federated bool) *apptest.Scripted {
	t.Helper()
	a, _ := apptest.AssembleWith(t, func(c *apptest.Settings) { c.OpenID.Auth0, c.OpenID.FederatedLogout = true, federated })
	return a
}

// TestTenantSignOut (LR-01, LR-03) signs out of an Auth0 tenant that has no RP-initiated
// logout.
func TestTenantSignOut(t *testing.T) {
	t.Parallel()
	a := startTenant(t, false)
	a.OP.Edit(scriptedop.Discovery, func(m map[string]any) { delete(m, "end_session_endpoint") })
	v := a.Visitor()
	dashboard := v.Get("/login")
	out := v.Direct(v.Submission(dashboard, "qsLogoutBtn"))
	want := a.OP.Issuer + "/v2/logout?" + url.Values{"client_id": {a.OP.ClientID}, "returnTo": {a.URL}}.Encode()
	if got := out.Next(); out.StatusCode != http.StatusOK || got != want {
		t.Errorf("signing out is answered %d, %s, want %s", out.StatusCode, got, want)
	}
	if v.SignedIn() {
		t.Error("the session is still valid")
	}
	// Auth0 returns no state. The return to the app is the only sign of the sign-out, and
	// it counts once.
	if page := v.Get("/", "Sec-Fetch-Site", "cross-site"); !strings.Contains(page.Body, "ended here and at the sign-in service") {
		t.Error("the page does not say that the provider's session has ended")
	}
	if page := v.Get("/signed-out"); !strings.Contains(page.Body, "You may still be signed in at the sign-in service") {
		t.Error("the page promises more than it knows")
	}
}

// TestUserInfoPolicy (UI-05) signs in while the userinfo endpoint fails.
func TestUserInfoPolicy(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"500": scriptedop.Status(http.StatusInternalServerError), "garbage": scriptedop.Body(200, "application/json", "MARK"),
		"no answer": scriptedop.Hang,
	} {
		t.Run("UI-05 required, "+name, func(t *testing.T) {
			t.Parallel()
			if name == "no answer" && testing.Short() {
				t.Skip("waits for a time limit")
			}
			a := apptest.StartScripted(t, "USERINFO=required")
			a.OP.Answer(scriptedop.UserInfo, answer)
			v := a.Visitor()
			page := v.Get("/profile")
			if page.StatusCode != http.StatusBadGateway || !strings.Contains(page.Body, "Your profile did not arrive") || strings.Contains(page.Body, "MARK") {
				t.Errorf("the sign-in ends with %d: %s", page.StatusCode, apptest.Text(apptest.Parse(t, page.Body)))
			}
			if !strings.Contains(page.Body, `href="/login?return_to=%2Fprofile"`) || v.SignedIn() {
				t.Errorf("the page does not offer to try again, or someone is signed in")
			}
			if a.Log.Count(`"reason":"userinfo_required"`) != 1 {
				t.Errorf("the log is:\n%s", a.Log)
			}
			a.OP.Answer(scriptedop.UserInfo, nil)
			if page := v.Get("/profile"); page.StatusCode != http.StatusOK {
				t.Errorf("the next sign-in ends with %d", page.StatusCode)
			}
		})
		t.Run("UI-05 optional, "+name, func(t *testing.T) {
			t.Parallel()
			if name == "no answer" && testing.Short() {
				t.Skip("waits for a time limit")
			}
			a := apptest.StartScripted(t)
			a.OP.Answer(scriptedop.UserInfo, answer)
			if page := a.Visitor().Get("/dashboard"); page.StatusCode != http.StatusOK || page.Request.URL.Path != "/dashboard" {
				t.Errorf("the sign-in ends at %s with %d", page.Request.URL, page.StatusCode)
			}
		})
	}
}

// TestTenantClaims (ID-21, ID-24) shows claims whose names are URLs, as Auth0 requires, and
// ends the session when the tenant says so.
func TestTenantClaims(t *testing.T) {
	t.Parallel()
	a, clock := apptest.Assemble(t)
	a.OP.EditIDToken(func(token *scriptedop.JWT) {
		token.Claims["https://example.com/roles"] = []string{"gardener"}
		token.Claims["session_expiry"] = clock.Now().Add(10 * time.Minute).Unix()
	})
	v := a.Visitor()
	shown := apptest.Text(apptest.Parse(t, v.Get("/login").Body))
	if !strings.Contains(shown, "https://example.com/roles") || !strings.Contains(shown, "gardener") {
		t.Errorf("the dashboard shows: %s", shown)
	}
	clock.Move(10*time.Minute - time.Second)
	if !v.SignedIn() {
		t.Error("the session ended too early")
	}
	clock.Move(time.Second)
	if v.SignedIn() {
		t.Error("the session did not end")
	}
}

// TestDevelopmentOrganization follows a link to an organization. The development provider
// confirms any organization.
func TestDevelopmentOrganization(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	for asked, want := range map[string]string{"org_AbC": `"org_id": "org_AbC"`, "Acme": `"org_name": "acme"`} {
		end := a.Visitor().SignIn("/login?organization="+asked, apptest.Ada)
		if end.Request.URL.Path != "/dashboard" || !strings.Contains(apptest.Text(apptest.Parse(t, end.Body)), want) {
			t.Errorf("organization %s: the sign-in ends at %s with %d, without %s", asked, end.Request.URL, end.StatusCode, want)
		}
	}
}

package app

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

// startTenant serves the app with a provider that it takes for an Auth0 tenant. A real one
// needs https and a certificate that is trusted, so that the program itself cannot be run
// with AUTH0_DOMAIN here.
func startTenant(t *testing.T, federated bool) *scriptedApp {
	t.Helper()
	a, _ := assembleWith(t, func(c *authn.Config) { c.Auth0, c.FederatedLogout = true, federated })
	return a
}

// TestTenantSignOut (LR-01, LR-03) signs out of an Auth0 tenant without RP-initiated
// logout.
func TestTenantSignOut(t *testing.T) {
	t.Parallel()
	a := startTenant(t, false)
	a.op.Edit(scriptedop.Discovery, func(m map[string]any) { delete(m, "end_session_endpoint") })
	v := a.visitor()
	dashboard := v.get("/login")
	out := v.direct(v.submission(dashboard, "qsLogoutBtn"))
	want := a.op.Issuer + "/v2/logout?" + url.Values{"client_id": {a.op.ClientID}, "returnTo": {a.url + "/signed-out"}}.Encode()
	if got := out.Header.Get("Location"); out.StatusCode != http.StatusSeeOther || got != want {
		t.Errorf("signing out is answered %d, %s, want %s", out.StatusCode, got, want)
	}
	if v.signedIn() {
		t.Error("the session is alive")
	}
	// Auth0 sends no state back: that the browser comes back is all there is, and it counts
	// once.
	if page := v.get("/signed-out"); !strings.Contains(page.body, "ended here and at the sign-in service") {
		t.Error("the page does not say that the provider's session has ended")
	}
	if page := v.get("/signed-out"); !strings.Contains(page.body, "You may still be signed in at the sign-in service") {
		t.Error("the page promises more than it knows")
	}
}

// TestBrowserFederatedSignOut (LR-03, HB-03) follows a sign-out that goes on from the
// provider to another site, which the page's form-action does not name.
func TestBrowserFederatedSignOut(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]bool{"with JavaScript": true, "without JavaScript": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := startTenant(t, true)
			upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, r.URL.Query().Get("then"), http.StatusFound)
			}))
			t.Cleanup(upstream.Close)
			a.op.Answer(scriptedop.EndSession, func(w http.ResponseWriter, r *http.Request) {
				if !r.Form.Has("federated") {
					http.Error(w, "not federated", http.StatusBadRequest)
					return
				}
				then := r.Form.Get("post_logout_redirect_uri") + "?" + url.Values{"state": {r.Form.Get("state")}}.Encode()
				http.Redirect(w, r, upstream.URL+"/?"+url.Values{"then": {then}}.Encode(), http.StatusFound)
			})
			b := openBrowser(t, a.app)
			b.expect(upstream.URL)
			if !script {
				b.withoutJavaScript()
			}
			b.open("/login")
			b.click("#qsLogoutBtn")
			b.wait("#qsLoginBtn")
			if got := b.path(); !strings.HasPrefix(got, "/signed-out") {
				t.Errorf("signing out ends at %s", got)
			}
			if got := b.text("main"); !strings.Contains(got, "here and at the sign-in service") {
				t.Errorf("the page says: %s", got)
			}
		})
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
			a := startScripted(t, "USERINFO=required")
			a.op.Answer(scriptedop.UserInfo, answer)
			v := a.visitor()
			page := v.get("/profile")
			if page.StatusCode != http.StatusBadGateway || !strings.Contains(page.body, "Your profile did not arrive") || strings.Contains(page.body, "MARK") {
				t.Errorf("the sign-in ends with %d: %s", page.StatusCode, text(parse(t, page.body)))
			}
			if !strings.Contains(page.body, `href="/login?return_to=%2Fprofile"`) || v.signedIn() {
				t.Errorf("there is no way to try again, or somebody is signed in")
			}
			if a.log.count(`"reason":"userinfo_required"`) != 1 {
				t.Errorf("the log is:\n%s", a.log)
			}
			a.op.Answer(scriptedop.UserInfo, nil)
			if page := v.get("/profile"); page.StatusCode != http.StatusOK {
				t.Errorf("the next sign-in ends with %d", page.StatusCode)
			}
		})
		t.Run("UI-05 optional, "+name, func(t *testing.T) {
			t.Parallel()
			if name == "no answer" && testing.Short() {
				t.Skip("waits for a time limit")
			}
			a := startScripted(t)
			a.op.Answer(scriptedop.UserInfo, answer)
			if page := a.visitor().get("/dashboard"); page.StatusCode != http.StatusOK || page.Request.URL.Path != "/dashboard" {
				t.Errorf("the sign-in ends at %s with %d", page.Request.URL, page.StatusCode)
			}
		})
	}
}

// TestTenantClaims (ID-21, ID-24) shows claims under the URL that Auth0 asks for, and ends
// the session when the tenant says.
func TestTenantClaims(t *testing.T) {
	t.Parallel()
	a, clock := assembleScripted(t)
	a.op.EditIDToken(func(token *scriptedop.JWT) {
		token.Claims["https://example.com/roles"] = []string{"gardener"}
		token.Claims["session_expiry"] = clock.Now().Add(10 * time.Minute).Unix()
	})
	v := a.visitor()
	shown := text(parse(t, v.get("/login").body))
	if !strings.Contains(shown, "https://example.com/roles") || !strings.Contains(shown, "gardener") {
		t.Errorf("the dashboard shows: %s", shown)
	}
	clock.Move(10*time.Minute - time.Second)
	if !v.signedIn() {
		t.Error("the session has ended before its end")
	}
	clock.Move(time.Second)
	if v.signedIn() {
		t.Error("the session goes on after its end")
	}
}

// TestDevelopmentOrganization: a link to an organization works with the development
// provider too, which confirms whatever was asked for.
func TestDevelopmentOrganization(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	for asked, want := range map[string]string{"org_AbC": `"org_id": "org_AbC"`, "Acme": `"org_name": "acme"`} {
		end := a.visitor().signIn("/login?organization="+asked, ada)
		if end.Request.URL.Path != "/dashboard" || !strings.Contains(text(parse(t, end.body)), want) {
			t.Errorf("organization %s: the sign-in ends at %s with %d, without %s", asked, end.Request.URL, end.StatusCode, want)
		}
	}
}

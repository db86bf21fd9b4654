package login

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"latchkey/authn/devop"
	"latchkey/internal/apptest"
)

// TestProviderDownAtStart (FM-01, CF-06, CF-07) starts the app before its provider.
func TestProviderDownAtStart(t *testing.T) {
	t.Parallel()
	p := apptest.StartDevProvider(t, true)
	v := p.App.Visitor()
	if home := v.Get("/"); home.StatusCode != http.StatusOK || !strings.Contains(home.Body, "is not responding") {
		t.Errorf("the home page is %d", home.StatusCode)
	}
	login := v.Get("/profile")
	if login.StatusCode != http.StatusServiceUnavailable || login.Header.Get("Retry-After") == "" {
		t.Errorf("signing in answers %d, Retry-After %q", login.StatusCode, login.Header.Get("Retry-After"))
	}
	if !strings.Contains(login.Body, `href="/login?return_to=%2Fprofile"`) {
		t.Error("the page does not offer to try again")
	}
	if ready := v.Get("/readyz"); ready.StatusCode != http.StatusServiceUnavailable || !strings.Contains(ready.Body, "provider_unreachable") {
		t.Errorf("/readyz is %d %s", ready.StatusCode, ready.Body)
	}
	if health := v.Get("/healthz"); health.StatusCode != http.StatusOK {
		t.Errorf("/healthz is %d", health.StatusCode)
	}

	p.Start(t, p.App.Issuer, p.App.URL)
	p.App.Await("/readyz", http.StatusOK)
	if end := p.App.Visitor().SignIn("/profile", apptest.Ada); end.Request.URL.Path != "/profile" {
		t.Errorf("once the provider is up, signing in ends at %s with %d", end.Request.URL, end.StatusCode)
	}
}

// TestProviderDownLater (FM-03, LR-01) stops the provider while a person is signed in.
func TestProviderDownLater(t *testing.T) {
	t.Parallel()
	p := apptest.StartDevProvider(t, false)
	v := p.App.Visitor()
	dashboard := v.SignIn("/login", apptest.Ada)
	if err := p.Server.Close(); err != nil {
		t.Fatal(err)
	}
	if again := v.Get("/dashboard"); again.StatusCode != http.StatusOK {
		t.Errorf("the dashboard is %d", again.StatusCode)
	}
	card := v.Press(dashboard, "profile-refresh-button")
	if card.StatusCode < 500 || !strings.Contains(card.Body, "Ada") {
		t.Errorf("SS-10: refreshing answers %d", card.StatusCode)
	}
	out := v.Direct(v.Submission(dashboard, "qsLogoutBtn"))
	if out.StatusCode != http.StatusOK {
		t.Errorf("signing out answers %d", out.StatusCode)
	}
	if still := v.Direct(v.Request(http.MethodGet, "/dashboard", nil)); still.StatusCode != http.StatusSeeOther {
		t.Errorf("after signing out the dashboard answers %d", still.StatusCode)
	}
}

// TestRefreshShowsChanges changes a person at the provider and refreshes the profile. The
// tests of authn cover a refresh that returns another subject (UI-01), which the
// development provider never does.
func TestRefreshShowsChanges(t *testing.T) {
	t.Parallel()
	p := apptest.StartDevProvider(t, false)
	v := p.App.Visitor()
	v.SignIn("/login", apptest.Ada)
	p.SetPerson(devop.Person{Subject: apptest.Ada, Name: "Ada King", Email: "ada.king@example.com"})
	card := v.Post("/profile/refresh", nil, "HX-Request", "true")
	shown := apptest.Text(apptest.Parse(t, card.Body))
	for _, want := range []string{"Changed at the last refresh", "Full name", "Ada King", "ada.king@example.com", "E-mail not verified"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the card does not show %q: %s", want, shown)
		}
	}
	if dashboard := v.Get("/dashboard"); !strings.Contains(apptest.Text(apptest.Parse(t, dashboard.Body)), "Welcome, Ada King") {
		t.Error("the dashboard shows the old name")
	}
}

// TestPushedAuthorizationRequest (AR-14) pushes the authorization request, so the browser
// carries only two parameters.
func TestPushedAuthorizationRequest(t *testing.T) {
	t.Parallel()
	p := apptest.StartDevProvider(t, false, "PUSHED_AUTHORIZATION_REQUESTS=always")
	v := p.App.Visitor()
	begun := v.Direct(v.Request(http.MethodGet, "/login", nil))
	location, err := url.Parse(begun.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	if query := location.Query(); len(query) != 2 || query.Get("client_id") != "app" || query.Get("request_uri") == "" {
		t.Errorf("the browser carries %v", query)
	}
	if end := v.SignIn("/profile", apptest.Ada); end.Request.URL.Path != "/profile" {
		t.Errorf("signing in ends at %s with %d", end.Request.URL, end.StatusCode)
	}
}

// TestClientSecretPost (CB-15) sends the secret in the form.
func TestClientSecretPost(t *testing.T) {
	t.Parallel()
	p := apptest.StartDevProvider(t, false, "CLIENT_AUTH=client_secret_post")
	if end := p.App.Visitor().SignIn("/login", apptest.Ada); end.Request.URL.Path != "/dashboard" {
		t.Errorf("signing in ends at %s with %d", end.Request.URL, end.StatusCode)
	}
}

// TestKeyRotation (FM-05) rotates the provider's key between two sign-ins.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	p := apptest.StartDevProvider(t, false)
	p.App.Visitor().SignIn("/login", apptest.Ada)
	if err := p.RotateKey(); err != nil {
		t.Fatal(err)
	}
	if end := p.App.Visitor().SignIn("/login", apptest.Ada); end.Request.URL.Path != "/dashboard" {
		t.Errorf("signing in ends at %s with %d", end.Request.URL, end.StatusCode)
	}
}

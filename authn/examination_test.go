package authn_test

import (
	"slices"
	"strings"
	"testing"

	"latchkey/authn"
)

// TestRegistrations shows what is to be registered at known providers, in their words, and
// at any other in the standard's. What the doctor makes of an examination is tested with
// the whole program.
func TestRegistrations(t *testing.T) {
	t.Parallel()
	const callback, signedOut = "https://app.example.com/callback", "https://app.example.com/signed-out"
	for _, tt := range []struct {
		issuer, name string
		auth0        bool
		want         []authn.Registration
	}{
		{"https://tenant.eu.auth0.com/", "Auth0", false, []authn.Registration{{"Allowed Callback URLs", callback}, {"Allowed Logout URLs", signedOut}}},
		{"https://login.example.com/", "Auth0", true, []authn.Registration{{"Allowed Callback URLs", callback}, {"Allowed Logout URLs", signedOut}}},
		{"https://accounts.google.com", "Google", false, []authn.Registration{{"Authorized redirect URIs", callback}}},
		{"https://id.example.com/realms/acme", "Keycloak", false, []authn.Registration{{"Valid redirect URIs", callback}, {"Valid post logout redirect URIs", signedOut}}},
		{"https://id.example.com", "", false, []authn.Registration{{"redirect_uris", callback}, {"post_logout_redirect_uris", signedOut}}},
	} {
		a := newApp(t, appOptions{})
		cfg := a.configuration(t, "https")
		cfg.Issuer, cfg.Auth0, cfg.RedirectURL, cfg.PostLogoutRedirectURL = tt.issuer, tt.auth0, callback, signedOut
		e, err := authn.NewExamination(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Registrations("https://app.example.com/backchannel-logout"); !slices.Equal(got, tt.want) || e.ProviderName() != tt.name {
			t.Errorf("%s, %q: %v, want %v", tt.issuer, e.ProviderName(), got, tt.want)
		}
	}
}

// TestExaminationNamesItsChecks shows that no two checks share a name, and that a faulty
// configuration is not examined.
func TestExaminationNamesItsChecks(t *testing.T) {
	t.Parallel()
	a := newApp(t, appOptions{})
	cfg := a.configuration(t, "http")
	e, err := authn.NewExamination(cfg)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, check := range e.Questions() {
		if seen[check.Name] || check.Name != strings.ToLower(check.Name) {
			t.Errorf("the check %q", check.Name)
		}
		seen[check.Name] = true
		if f := check.Run(t.Context()); f.Verdict != authn.VerdictOK && check.Name != "callback" && check.Name != "sign_out" {
			t.Errorf("%s: %+v", check.Name, f) // the scripted provider goes to any address
		}
	}
	cfg.ClientID = ""
	if _, err := authn.NewExamination(cfg); err == nil {
		t.Error("a configuration without a client is examined")
	}
}

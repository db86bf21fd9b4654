package doctor_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authn/doctor"
	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

const (
	callback  = "https://app.example.com/callback"
	signedOut = "https://app.example.com"
)

// configuration returns one that is accepted, for a scripted provider.
func configuration(t *testing.T) openid.Config {
	t.Helper()
	op := scriptedop.New(t, scriptedop.Config{Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}})
	return openid.Config{
		Issuer: op.Issuer, ClientID: op.ClientID, ClientSecret: openid.Secret(op.ClientSecret),
		ClientAuth: openid.ClientSecretBasic, RedirectURL: callback, PostLogoutRedirectURL: signedOut,
		Scopes: []string{"openid", "profile", "email", "offline_access"}, IDTokenAlgorithms: []string{"RS256", "ES256"},
		ResponseMode: "query", PushedAuthorizationRequests: "auto",
		Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}
}

func examine(t *testing.T, cfg openid.Config) *doctor.Examination {
	t.Helper()
	provider, err := openid.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return doctor.New(provider, doctor.RegisteredURLs{
		Callback: callback, SignedOut: signedOut, BackchannelLogout: "https://app.example.com/backchannel-logout",
	})
}

// TestRegistrations shows what is to be registered at well-known providers, in their words, and
// at any other in the standard's. What the doctor makes of an examination is tested with
// the whole program.
func TestRegistrations(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		issuer, name string
		auth0        bool
		want         []doctor.Registration
	}{
		{"https://tenant.eu.auth0.com/", "Auth0", false, []doctor.Registration{{"Allowed Callback URLs", callback}, {"Allowed Logout URLs", signedOut}}},
		{"https://login.example.com/", "Auth0", true, []doctor.Registration{{"Allowed Callback URLs", callback}, {"Allowed Logout URLs", signedOut}}},
		{"https://accounts.google.com", "Google", false, []doctor.Registration{{"Authorized redirect URIs", callback}}},
		{"https://id.example.com/realms/acme", "Keycloak", false, []doctor.Registration{{"Valid redirect URIs", callback}, {"Valid post logout redirect URIs", signedOut}}},
		{"https://id.example.com", "", false, []doctor.Registration{{"redirect_uris", callback}, {"post_logout_redirect_uris", signedOut}}},
	} {
		cfg := configuration(t)
		cfg.Issuer, cfg.Auth0 = tt.issuer, tt.auth0
		provider, err := openid.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		name := provider.Preset().Name
		if got := examine(t, cfg).Registrations(); !slices.Equal(got, tt.want) || name != tt.name {
			t.Errorf("%s, %q: %v, want %v", tt.issuer, name, got, tt.want)
		}
	}
}

// TestExaminationNamesItsChecks shows that no two checks share a name, and that a faulty
// configuration is not examined.
func TestExaminationNamesItsChecks(t *testing.T) {
	t.Parallel()
	cfg := configuration(t)
	seen := make(map[string]bool)
	for _, check := range examine(t, cfg).Checks() {
		if seen[check.Name] || check.Name != strings.ToLower(check.Name) {
			t.Errorf("the check %q", check.Name)
		}
		seen[check.Name] = true
		if f := check.Run(t.Context()); f.Verdict != doctor.OK && check.Name != "callback" && check.Name != "sign_out" {
			t.Errorf("%s: %+v", check.Name, f) // the scripted provider goes to any address
		}
	}
	cfg.ClientID = ""
	if _, err := openid.New(cfg); err == nil {
		t.Error("a configuration without a client is examined")
	}
}

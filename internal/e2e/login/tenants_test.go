package login

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestTenants (CB-25) signs in people of listed directories and of others.
func TestTenants(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		tenant string
		change func(*apptest.Entra, *scriptedop.JWT)
		keys   string // the issuer that the keys are for, instead of the template
		reason string
	}{
		"of the first directory":    {tenant: apptest.Acme},
		"of the second directory":   {tenant: apptest.Globex},
		"of another directory":      {tenant: apptest.Elsewhere, reason: "tenant_not_listed"},
		"no tid":                    {tenant: apptest.Acme, change: func(_ *apptest.Entra, t *scriptedop.JWT) { delete(t.Claims, "tid") }, reason: "id_token_invalid"},
		"tid of another directory":  {tenant: apptest.Acme, change: func(_ *apptest.Entra, t *scriptedop.JWT) { t.Claims["tid"] = apptest.Globex }, reason: "id_token_invalid"},
		"iss of another directory":  {tenant: apptest.Elsewhere, change: func(_ *apptest.Entra, t *scriptedop.JWT) { t.Claims["tid"] = apptest.Acme }, reason: "id_token_invalid"},
		"the template as iss":       {tenant: apptest.Acme, change: func(e *apptest.Entra, t *scriptedop.JWT) { t.Claims["iss"] = e.Template }, reason: "id_token_invalid"},
		"the configured issuer":     {tenant: apptest.Acme, change: func(e *apptest.Entra, t *scriptedop.JWT) { t.Claims["iss"] = e.Issuer }, reason: "id_token_invalid"},
		"tid that is no id":         {tenant: "organizations", reason: "id_token_invalid"},
		"tid in capitals":           {tenant: strings.ToUpper(apptest.Globex), reason: "id_token_invalid"},
		"keys of the directory":     {tenant: apptest.Acme, keys: apptest.Acme},
		"keys of another directory": {tenant: apptest.Acme, keys: apptest.Globex, reason: "id_token_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := apptest.NewEntra(t)
			e.IssueFor(tt.tenant, func(token *scriptedop.JWT) {
				if tt.change != nil {
					tt.change(e, token)
				}
			})
			if tt.keys != "" {
				e.Edit(scriptedop.JWKS, func(set map[string]any) {
					for _, key := range set["keys"].([]any) {
						key.(map[string]any)["issuer"] = e.IssuerOf(tt.keys)
					}
				})
			}
			s := apptest.StartBeside(t, e.Provider, "OIDC_TENANTS="+apptest.Acme+","+apptest.Globex, "SESSION_STORE=memory")
			apptest.Eventually(t, "the provider is discovered", func() bool { return s.Log.Count("provider discovered") > 0 })
			v := s.Visitor()
			got := v.Callback(v.AuthorizationResponse("/login"))
			if tt.reason == "" {
				if dashboard := v.Get("/dashboard"); got.StatusCode != http.StatusSeeOther || !strings.Contains(dashboard.Body, e.IssuerOf(tt.tenant)) {
					t.Fatalf("answered %d\n%s", got.StatusCode, s.Log)
				}
				if card := v.RefreshProfile(); card.StatusCode != http.StatusOK {
					t.Errorf("the profile is refreshed with %d\n%s", card.StatusCode, s.Log)
				}
				return
			}
			if lines := s.Logged("refused", got.Header.Get("X-Request-Id")); len(lines) != 1 || lines[0]["reason"] != tt.reason || v.SignedIn() {
				t.Errorf("answered %d, and the log says %v, want %s", got.StatusCode, lines, tt.reason)
			}
			if tt.reason == "tenant_not_listed" && (got.StatusCode != http.StatusForbidden || !strings.Contains(got.Body, "This account belongs to another organization") || !strings.Contains(got.Body, "switch=1")) {
				t.Errorf("the page, %d, does not say which account to use:\n%s", got.StatusCode, got.Body)
			}
		})
	}
}

// TestTenantsAreDistinct (CB-25) signs in two people with one subject, of two directories, and refreshes the
// tokens of one as the other's.
func TestTenantsAreDistinct(t *testing.T) {
	t.Parallel()
	e := apptest.NewEntra(t)
	s := apptest.StartBeside(t, e.Provider, "OIDC_TENANTS="+apptest.Acme+","+apptest.Globex, "SESSION_STORE=memory")
	first, second := s.Visitor(), s.Visitor()
	first.Get("/login")
	e.IssueFor(apptest.Globex)
	second.Get("/login")
	var people []string
	for _, line := range s.Logged("signed in", "") {
		people = append(people, line["person"].(string))
	}
	if slices.Sort(people); len(slices.Compact(people)) != 2 {
		t.Errorf("the log has the people %q, want two", people)
	}
	// The token of the first person expires, and the refreshed ID token is one of the second directory.
	e.RevokeAccessTokens()
	if card := first.RefreshProfile(); card.StatusCode == http.StatusOK || first.SignedIn() {
		t.Errorf("the first person's session goes on as one of another directory: %d\n%s", card.StatusCode, s.Log)
	}
	if card := second.RefreshProfile(); card.StatusCode != http.StatusOK || !second.SignedIn() {
		t.Errorf("the second person's session has ended: %d\n%s", card.StatusCode, s.Log)
	}
}

// TestTokensOfTenants calls the API with access tokens of listed directories and of others.
func TestTokensOfTenants(t *testing.T) {
	t.Parallel()
	const audience = "https://api.example"
	e := apptest.NewEntra(t)
	s := apptest.StartBeside(t, e.Provider, "OIDC_TENANTS="+apptest.Acme+","+apptest.Globex, "AUTH0_AUDIENCE="+audience, "SESSION_STORE=memory")
	apptest.Eventually(t, "the provider is discovered", func() bool { return s.Log.Count("provider discovered") > 0 })
	s.SignIn(s.Visitor()) // names the person of the tokens
	for tenant, status := range map[string]int{apptest.Acme: http.StatusOK, apptest.Globex: http.StatusOK, apptest.Elsewhere: http.StatusUnauthorized} {
		token := e.AccessToken(audience)
		token.Claims["iss"], token.Claims["tid"] = e.IssuerOf(tenant), tenant
		v := s.Visitor()
		got := v.Direct(v.Request(http.MethodGet, "/api/me", nil, "Authorization", "Bearer "+token.Compact()))
		if got.StatusCode != status || status != http.StatusOK && !strings.Contains(got.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
			t.Errorf("a token of %s is answered %d, %v\n%s\n%s", tenant, got.StatusCode, got.Header, got.Body, s.Log)
		}
	}
}

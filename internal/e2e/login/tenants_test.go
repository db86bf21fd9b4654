package login

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// The ids of directories. The first two are in the list of the app.
const (
	acme      = "11111111-2222-4333-8444-555555555555"
	globex    = "66666666-7777-4888-8999-aaaaaaaaaaaa"
	elsewhere = "bbbbbbbb-cccc-4ddd-8eee-ffffffffffff"
)

// entra is a provider that signs in the people of many directories, as Microsoft Entra ID does: its
// metadata have a template in place of the issuer, and each token has the issuer of its directory.
type entra struct {
	*scriptedop.Provider
	template string
}

func newEntra(t *testing.T, keys ...scriptedop.Key) *entra {
	t.Helper()
	if keys == nil {
		keys = []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}
	}
	e := &entra{Provider: scriptedop.New(t, scriptedop.Config{Path: "/organizations/v2.0", Keys: keys})}
	e.template = strings.Replace(e.Issuer, "organizations", "{tenantid}", 1)
	e.Edit(scriptedop.Discovery, func(m map[string]any) {
		m["issuer"] = e.template
		delete(m, "authorization_response_iss_parameter_supported")
	})
	e.Edit(scriptedop.Authorize, func(response map[string]any) { delete(response, "iss") })
	e.Edit(scriptedop.JWKS, func(set map[string]any) {
		for _, key := range set["keys"].([]any) {
			key.(map[string]any)["issuer"] = e.template
		}
	})
	e.issueFor(acme)
	return e
}

func (e *entra) issuerOf(tenant string) string {
	return strings.Replace(e.template, "{tenantid}", tenant, 1)
}

func (e *entra) issueFor(tenant string, changes ...func(*scriptedop.JWT)) {
	e.EditIDToken(func(token *scriptedop.JWT) {
		token.Claims["iss"], token.Claims["tid"] = e.issuerOf(tenant), tenant
		for _, change := range changes {
			change(token)
		}
	})
}

// TestTenants (CB-25) signs in people of listed directories and of others.
func TestTenants(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		tenant string
		change func(*entra, *scriptedop.JWT)
		keys   string // the issuer that the keys are for, instead of the template
		reason string
	}{
		"of the first directory":    {tenant: acme},
		"of the second directory":   {tenant: globex},
		"of another directory":      {tenant: elsewhere, reason: "tenant_not_listed"},
		"no tid":                    {tenant: acme, change: func(_ *entra, t *scriptedop.JWT) { delete(t.Claims, "tid") }, reason: "id_token_invalid"},
		"tid of another directory":  {tenant: acme, change: func(_ *entra, t *scriptedop.JWT) { t.Claims["tid"] = globex }, reason: "id_token_invalid"},
		"iss of another directory":  {tenant: elsewhere, change: func(_ *entra, t *scriptedop.JWT) { t.Claims["tid"] = acme }, reason: "id_token_invalid"},
		"the template as iss":       {tenant: acme, change: func(e *entra, t *scriptedop.JWT) { t.Claims["iss"] = e.template }, reason: "id_token_invalid"},
		"the configured issuer":     {tenant: acme, change: func(e *entra, t *scriptedop.JWT) { t.Claims["iss"] = e.Issuer }, reason: "id_token_invalid"},
		"tid that is no id":         {tenant: "organizations", reason: "id_token_invalid"},
		"tid in capitals":           {tenant: strings.ToUpper(globex), reason: "id_token_invalid"},
		"keys of the directory":     {tenant: acme, keys: acme},
		"keys of another directory": {tenant: acme, keys: globex, reason: "id_token_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEntra(t)
			e.issueFor(tt.tenant, func(token *scriptedop.JWT) {
				if tt.change != nil {
					tt.change(e, token)
				}
			})
			if tt.keys != "" {
				e.Edit(scriptedop.JWKS, func(set map[string]any) {
					for _, key := range set["keys"].([]any) {
						key.(map[string]any)["issuer"] = e.issuerOf(tt.keys)
					}
				})
			}
			s := apptest.StartBeside(t, e.Provider, "OIDC_TENANTS="+acme+","+globex, "SESSION_STORE=memory")
			apptest.Eventually(t, "the provider is discovered", func() bool { return s.Log.Count("provider discovered") > 0 })
			v := s.Visitor()
			got := v.Callback(v.AuthorizationResponse("/login"))
			if tt.reason == "" {
				if dashboard := v.Get("/dashboard"); got.StatusCode != http.StatusSeeOther || !strings.Contains(dashboard.Body, e.issuerOf(tt.tenant)) {
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
			if tt.reason == "tenant_not_listed" && (got.StatusCode != http.StatusForbidden || !strings.Contains(got.Body, "This account is of another organization") || !strings.Contains(got.Body, "switch=1")) {
				t.Errorf("the page, %d, does not say which account to use:\n%s", got.StatusCode, got.Body)
			}
		})
	}
}

// TestTenantsAreDistinct (CB-25) signs in two people with one subject, of two directories, and refreshes the
// tokens of one as the other's.
func TestTenantsAreDistinct(t *testing.T) {
	t.Parallel()
	e := newEntra(t)
	s := apptest.StartBeside(t, e.Provider, "OIDC_TENANTS="+acme+","+globex, "SESSION_STORE=memory")
	first, second := s.Visitor(), s.Visitor()
	first.Get("/login")
	e.issueFor(globex)
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

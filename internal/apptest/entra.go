package apptest

import (
	"strings"
	"testing"

	"latchkey/internal/scriptedop"
)

// Acme, Globex and Elsewhere are ids of directories.
const (
	Acme      = "11111111-2222-4333-8444-555555555555"
	Globex    = "66666666-7777-4888-8999-aaaaaaaaaaaa"
	Elsewhere = "bbbbbbbb-cccc-4ddd-8eee-ffffffffffff"
)

// Entra is a provider that signs in the people of many directories, as Microsoft Entra ID does: its
// metadata have a template in place of the issuer, and each token has the issuer of its directory.
type Entra struct {
	*scriptedop.Provider
	// Template is what the metadata have as the issuer.
	Template string
}

// NewEntra returns a provider that signs in the people of Acme.
func NewEntra(t *testing.T) *Entra {
	t.Helper()
	e := &Entra{Provider: scriptedop.New(t, scriptedop.Config{Path: "/organizations/v2.0", Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}})}
	e.Template = strings.Replace(e.Issuer, "organizations", "{tenantid}", 1)
	e.Edit(scriptedop.Discovery, func(m map[string]any) {
		m["issuer"] = e.Template
		delete(m, "authorization_response_iss_parameter_supported")
	})
	e.Edit(scriptedop.Authorize, func(response map[string]any) { delete(response, "iss") })
	e.Edit(scriptedop.JWKS, func(set map[string]any) {
		for _, key := range set["keys"].([]any) {
			key.(map[string]any)["issuer"] = e.Template
		}
	})
	e.IssueFor(Acme)
	return e
}

// IssuerOf returns the issuer of a directory.
func (e *Entra) IssuerOf(tenant string) string {
	return strings.Replace(e.Template, "{tenantid}", tenant, 1)
}

// IssueFor signs in people of a directory from now on. The test may change the ID token.
func (e *Entra) IssueFor(tenant string, changes ...func(*scriptedop.JWT)) {
	e.EditIDToken(func(token *scriptedop.JWT) {
		token.Claims["iss"], token.Claims["tid"] = e.IssuerOf(tenant), tenant
		for _, change := range changes {
			change(token)
		}
	})
}

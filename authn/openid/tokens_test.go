package openid_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// TestTokenResponse changes one member of a valid token response.
func TestTokenResponse(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		member   string
		value    any // nil removes the member
		accepted bool
	}{
		"CB-17 type bearer":            {"token_type", "bearer", true},
		"CB-17 type BEARER":            {"token_type", "BEARER", true},
		"CB-17 an unknown member":      {"session_state", "x", true},
		"CB-17 no refresh token":       {"refresh_token", nil, true},
		"CB-17 no scope":               {"scope", nil, true},
		"CB-17 type DPoP":              {"token_type", "DPoP", false},
		"CB-17 type mac":               {"token_type", "mac", false},
		"CB-17 no type":                {"token_type", nil, false},
		"CB-17 type of another type":   {"token_type", 1, false},
		"CB-17 no access token":        {"access_token", nil, false},
		"CB-17 an empty access token":  {"access_token", "", false},
		"CB-17 the access token null":  {"access_token", null{}, false},
		"CB-17 the access token 1":     {"access_token", 1, false},
		"CB-17 no ID token":            {"id_token", nil, false},
		"CB-17 an empty ID token":      {"id_token", "", false},
		"CB-17 the ID token null":      {"id_token", null{}, false},
		"CB-17 the ID token 1":         {"id_token", 1, false},
		"CB-17 the ID token a list":    {"id_token", []string{"x"}, false},
		"CB-17 the ID token an object": {"id_token", map[string]any{}, false},
		// What a sign-in can do without does not refuse it.
		"CB-17 the refresh token 1":        {"refresh_token", 1, true},
		"CB-17 the refresh token null":     {"refresh_token", null{}, true},
		"CB-17 the refresh token empty":    {"refresh_token", "", true},
		"CB-17 the refresh token false":    {"refresh_token", false, true},
		"CB-17 the scope null":             {"scope", null{}, true},
		"CB-17 the scope empty":            {"scope", "", true},
		"CB-17 the scope a list":           {"scope", []string{"openid", "email"}, true},
		"CB-17 the scope an empty list":    {"scope", []string{}, true},
		"CB-17 the scope 1":                {"scope", 1, true},
		"CB-17 expires_in null":            {"expires_in", null{}, true},
		"CB-17 expires_in a text":          {"expires_in", "3600", true},
		"CB-17 expires_in a list":          {"expires_in", []int{3600}, true},
		"CB-17 an error of null":           {"error", null{}, true},
		"CB-17 a member of a claim's name": {"Sub", "x", true},
		"CB-17 a list of types":            {"token_type", []string{"Bearer"}, false},
		"CB-17 the access token a list":    {"access_token", []string{"x"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{})
			p.op.Edit(scriptedop.Token, func(response map[string]any) {
				if response[tt.member] = tt.value; tt.value == nil {
					delete(response, tt.member)
				}
			})
			got := p.signIn()
			if tt.accepted {
				p.wantSignedIn(got, "alice")
				if want := "openid email"; name == "CB-17 the scope a list" && got.Tokens.Scope != want {
					t.Errorf("the scope is %q, want %q", got.Tokens.Scope, want)
				}
				return
			}
			p.wantRefused(got, openid.ReasonTokenInvalid, 1, 0)
		})
	}
	for name, tt := range map[string]struct {
		status      int
		contentType string
		accepted    bool
	}{
		"CB-17 with a character set": {200, "application/json;charset=UTF-8", true},
		"CB-17 in capitals":          {200, "Application/JSON", true},
		"CB-17 201":                  {201, "application/json", false},
		"CB-17 206":                  {206, "application/json", false},
		"CB-17 as a page":            {200, "text/html", false},
		"CB-17 as text":              {200, "text/plain", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{})
			p.op.Answer(scriptedop.Token, func(w http.ResponseWriter, r *http.Request) {
				recorded := httptest.NewRecorder()
				p.op.Correct(scriptedop.Token)(recorded, r)
				scriptedop.Body(tt.status, tt.contentType, recorded.Body.String())(w, r)
			})
			got := p.signIn()
			if tt.accepted {
				p.wantSignedIn(got, "alice")
				return
			}
			p.wantRefused(got, openid.ReasonTokenInvalid, 1, 0)
		})
	}
}

func TestTokenRequestNamesWhatItNeeds(t *testing.T) {
	t.Parallel()
	t.Run("CB-14 and nothing else", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, options{})
		p.wantSignedIn(p.signIn(), "alice")
		var names []string
		for name, values := range p.op.Last(scriptedop.Token).Form {
			names = append(names, name)
			if len(values) != 1 {
				t.Errorf("%s is sent %d times", name, len(values))
			}
		}
		slices.Sort(names)
		if want := []string{"code", "code_verifier", "grant_type", "redirect_uri"}; !slices.Equal(names, want) {
			t.Errorf("the form has %v, want %v", names, want)
		}
	})
}

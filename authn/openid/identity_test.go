package openid_test

import (
	"maps"
	"testing"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// TestClaimsOfTheWrongType checks that claims of the wrong type are left out, and do not
// refuse the person.
func TestClaimsOfTheWrongType(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		claims map[string]any
		want   openid.Profile
	}{
		"ID-21 as they should be": {
			map[string]any{"name": "N", "email": "e@example.com", "email_verified": true}, openid.Profile{Name: "N", Email: "e@example.com", EmailVerified: true},
		},
		"ID-21 true as a text":   {map[string]any{"email": "e", "email_verified": "true"}, openid.Profile{Email: "e", EmailVerified: true}},
		"ID-21 false as a text":  {map[string]any{"email": "e", "email_verified": "false"}, openid.Profile{Email: "e"}},
		"ID-21 verified 1":       {map[string]any{"email": "e", "email_verified": 1}, openid.Profile{Email: "e"}},
		"ID-21 verified null":    {map[string]any{"email": "e", "email_verified": nil}, openid.Profile{Email: "e"}},
		"ID-21 verified TRUE":    {map[string]any{"email": "e", "email_verified": "TRUE"}, openid.Profile{Email: "e"}},
		"ID-21 an address alone": {map[string]any{"email": "e"}, openid.Profile{Email: "e"}},
		"ID-21 an object":        {map[string]any{"email": map[string]any{}, "email_verified": true, "name": 7, "picture": []string{"x"}}, openid.Profile{EmailVerified: true}},
		"ID-21 null":             {map[string]any{"email": nil, "name": nil, "preferred_username": "p"}, openid.Profile{Name: "p"}},
		"ID-21 parts of a name":  {map[string]any{"given_name": "G", "family_name": 5}, openid.Profile{Name: "G"}},
	} {
		for source, edit := range map[string]func(*party){
			"in userinfo": func(p *party) {
				p.op.Edit(scriptedop.UserInfo, func(claims map[string]any) {
					clear(claims)
					claims["sub"] = "alice"
					maps.Copy(claims, tt.claims)
				})
			},
			"in the ID token": func(p *party) {
				p.op.Edit(scriptedop.Discovery, func(m map[string]any) { delete(m, "userinfo_endpoint") })
				p.op.EditIDToken(func(token *scriptedop.JWT) {
					maps.Copy(token.Claims, tt.claims)
				})
			},
		} {
			t.Run(name+", "+source, func(t *testing.T) {
				t.Parallel()
				p := newParty(t, options{})
				edit(p)
				in := p.signIn()
				p.wantSignedIn(in, "alice")
				got := in.Identity.Profile
				if tt.want.Email == "" {
					got.EmailVerified = tt.want.EmailVerified // meaningless without an address
				}
				if got != tt.want {
					t.Errorf("the profile is %+v, want %+v", got, tt.want)
				}
			})
		}
	}
}

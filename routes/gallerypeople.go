//go:build !release

package routes

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
)

// samplePerson is a made-up person with a session that no sign-in started.
type samplePerson struct {
	name    string
	session *authn.Session
}

func (p *samplePerson) admin() bool { return administrator().Met(p.session.Identity.Claims()) }

// samplePerson returns the sample person with a name.
func (a *App) samplePerson(name string) samplePerson {
	for _, p := range a.samplePeople() {
		if p.name == name {
			return p
		}
	}
	return samplePerson{}
}

// samplePeople returns one ordinary person, and others whose data tend to break pages. Those of
// the development provider are similar, and can sign in.
func (a *App) samplePeople() []samplePerson {
	long := "Maximiliana Wolfeschlegelsteinhausenbergerdorff-Featherstonehaugh of the Outer Northern Isles"
	var roles []string
	for i := range 60 {
		roles = append(roles, fmt.Sprintf("team-%02d:editor-of-shared-documents", i))
	}
	ada := a.sampleOf("ada", map[string]any{
		"name": "Ada Lovelace", "given_name": "Ada", "family_name": "Lovelace", "email": "ada@example.test", "email_verified": true,
		"nickname": "countess", "locale": "en-GB", "website": "https://ada.example.test/notes", "updated_at": a.Now().Add(-48 * time.Hour).Unix(),
		"address": map[string]any{"locality": "London", "country": "GB"}, "interests": []string{"engines", "poetry"}, "birthdate": "",
	})
	ada.session.Changes = []openid.Change{
		{Name: "nickname", Before: []byte(`"ada"`), After: []byte(`"countess"`)},
		{Name: "website", After: []byte(`"https://ada.example.test/notes"`)},
		{Name: "phone_number", Before: []byte(`"+44 20 7946 0000"`)},
	}
	many := map[string]any{"name": "Mika Many", "email": "mika@example.test", "email_verified": true}
	for i := range 40 {
		many[fmt.Sprintf("https://latchkey.example/setting-%02d", i)] = fmt.Sprintf("value %d", i)
	}
	return []samplePerson{
		ada,
		a.sampleOf("full", map[string]any{ // all that the scopes profile and email ask for
			"name": "Grace Brewster Hopper", "given_name": "Grace", "middle_name": "Brewster", "family_name": "Hopper", "nickname": "amazing",
			"preferred_username": "grace", "profile": "https://people.example.test/grace", "picture": "https://people.example.test/grace.png",
			"website": "https://grace.example.test/", "email": "grace@example.test", "email_verified": true, "gender": "female",
			"birthdate": "1906-12-09", "zoneinfo": "America/New_York", "locale": "en-US", "updated_at": a.Now().Add(-48 * time.Hour).Unix(),
			"https://latchkey.example/roles": []string{"editor"},
		}),
		a.sampleOf("many", many),
		a.sampleOf("long", map[string]any{
			"name": long, "email": strings.Repeat("a-very-long-name", 4) + "@" + strings.Repeat("subdomain.", 8) + "example.test",
			"email_verified": true, "motto": strings.Repeat("All work is done before it is begun. ", 30),
		}),
		a.sampleOf("bare", nil),
		a.sampleOf("unverified", map[string]any{"name": "Uma Verified-Later", "email": "uma@example.test", "email_verified": false}),
		a.sampleOf("rtl", map[string]any{"name": "ليلى عبد الرحمن", "email": "layla@example.test", "email_verified": true, "locale": "ar"}),
		a.sampleOf("markup", map[string]any{"name": `Robert "Bob" <script>alert(1)</script> O'Neil & Sons`, "email": "bob+markup@example.test"}),
		a.sampleOf("roles", map[string]any{
			"name": "Rosa Ruiz", "email": "rosa@example.test", "email_verified": true,
			"https://latchkey.example/roles": append([]string{"admin"}, roles...),
		}),
	}
}

// sampleOf returns a person with these userinfo claims.
func (a *App) sampleOf(name string, userInfo map[string]any) samplePerson {
	now := a.Now()
	subject := "dev|" + name
	claims := func(values map[string]any) openid.Claims {
		raw, err := json.Marshal(values)
		if err != nil {
			return nil // the values in this file always marshal
		}
		return raw
	}
	text := func(claim string) string { s, _ := userInfo[claim].(string); return s }
	verified, _ := userInfo["email_verified"].(bool)
	picture := ""
	if name != "bare" {
		picture = a.DevelopmentProvider + "/picture/" + url.PathEscape(subject)
	}
	return samplePerson{name, &authn.Session{
		Identity: openid.Identity{
			Issuer: a.DevelopmentProvider, Subject: subject,
			IDToken: claims(map[string]any{
				"iss": a.DevelopmentProvider, "sub": subject, "aud": "latchkey-development", "amr": []string{"pwd", "otp"},
				"auth_time": now.Add(-time.Hour).Unix(), "iat": now.Add(-time.Hour).Unix(), "exp": now.Unix(), "sid": "sample-" + strconv.Itoa(len(name)),
			}),
			UserInfo: claims(userInfo),
			Profile:  openid.Profile{Name: text("name"), Email: text("email"), EmailVerified: verified, Picture: picture},
		},
		Started: now.Add(-time.Hour), LastSeen: now, ProfileAt: now.Add(-5 * time.Minute),
		IdleUntil: now.Add(23*time.Hour + 15*time.Minute), Expires: now.Add(167 * time.Hour),
	}}
}

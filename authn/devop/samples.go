package devop

import (
	"fmt"
	"strings"
)

// samplePeople returns one ordinary person, and others whose data tends to break pages.
// Their pictures are below the given URL.
func samplePeople(pictures string) []Person {
	people := []Person{
		{
			Subject: "dev|ada", Name: "Ada Lovelace", Email: "ada@example.test", EmailVerified: true,
			Claims: map[string]any{"nickname": "ada", "given_name": "Ada", "family_name": "Lovelace", "locale": "en-GB"},
			Note:   "An ordinary account",
		},
		{
			Subject: "dev|long", EmailVerified: true,
			Name:  "Maximiliana Wolfeschlegelsteinhausenbergerdorff-Featherstonehaugh of the Outer Northern Isles",
			Email: strings.Repeat("a-very-long-name", 4) + "@" + strings.Repeat("subdomain.", 8) + "example.test",
			Note:  "Very long name and e-mail",
		},
		{
			Subject: "dev|bare", Email: "bare@example.test", EmailVerified: true,
			Note: "No name, no picture",
		},
		{
			Subject: "dev|unverified", Name: "Uma Verified-Later", Email: "uma@example.test",
			Note: "E-mail not verified",
		},
		{
			Subject: "dev|rtl", Name: "ليلى عبد الرحمن", Email: "layla@example.test", EmailVerified: true,
			Claims: map[string]any{"locale": "ar"},
			Note:   "Right-to-left name",
		},
		{
			Subject: "dev|markup", Name: `Robert "Bob" <script>alert(1)</script> O'Neil & Sons`,
			Email: "bob+markup@example.test", EmailVerified: true,
			Note: "Markup and quotes in the name",
		},
		{
			Subject: "dev|roles", Name: "Rosa Ruiz", Email: "rosa@example.test", EmailVerified: true,
			Claims: map[string]any{"https://latchkey.example/roles": sampleRoles()},
			Note:   "Sixty roles, so large tokens",
		},
	}
	for i, person := range people {
		if person.Subject != "dev|bare" {
			people[i].Picture = pictureURL(pictures, person.Subject)
		}
	}
	return people
}

func sampleRoles() []string {
	var roles []string
	for i := range 60 {
		roles = append(roles, fmt.Sprintf("team-%02d:editor-of-shared-documents", i+1))
	}
	return append([]string{"admin"}, roles[:59]...)
}

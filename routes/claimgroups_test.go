package routes_test

import (
	"net/http"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

// TestClaimsOfTheDashboard reads the claims of a person with a full profile: each is in its group and
// has its labels, and the groups say where they come from.
func TestClaimsOfTheDashboard(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	for person, want := range map[string][]string{
		"ada": {
			"Profile From userinfo Full name name Ada Lovelace",
			"Address address London, GB", "Last changed updated_at",
			"Removed at the last refresh: +44 20 7946 0000 Custom claims From userinfo interests engines poetry",
			"Protocol claims From the ID token Subject sub dev|ada",
			`Raw JSON Copy { "name": "Ada Lovelace", "given_name": "Ada",`, `"address": { "country": "GB", "locality": "London" }`,
		},
		"bare": {"Protocol claims From the ID token Subject sub dev|bare"},
	} {
		got := a.Visitor().Get("/dev/gallery/dashboard/" + person)
		if got.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d", person, got.StatusCode)
		}
		shown := apptest.Text(apptest.ByID(apptest.Parse(t, got.Body), "claims-card"))
		for _, text := range want {
			if !strings.Contains(shown, text) {
				t.Errorf("%s: the claims lack %q:\n%s", person, text, shown)
			}
		}
	}
}

package routes_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

const german = "de-DE,de;q=0.9,en;q=0.5"

// TestPagesSpeakTheLanguageOfTheReader requests an error in each format and in several languages.
func TestPagesSpeakTheLanguageOfTheReader(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	for name, tt := range map[string]struct{ accept, language, heading, action string }{
		"German":              {german, "de", "Seite nicht gefunden", "Zur Startseite"},
		"English":             {"en-GB,en;q=0.9,de;q=0.5", "en", "Page not found", "Go to the home page"},
		"no language":         {"", "en", "Page not found", "Go to the home page"},
		"no catalogue":        {"fr", "en", "Page not found", "Go to the home page"},
		"the second language": {"fr,de;q=0.5", "de", "Seite nicht gefunden", "Zur Startseite"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for format, headers := range map[string][]string{"page": {"Accept", "text/html"}, "fragment": {"HX-Request", "true"}} {
				got := v.Get("/nothing", append(headers, "Accept-Language", tt.accept)...)
				if !strings.Contains(got.Body, tt.heading) || !strings.Contains(got.Body, tt.action) {
					t.Errorf("the %s does not say %q and %q:\n%s", format, tt.heading, tt.action, got.Body)
				}
				checkLanguage(t, format, got, tt.language)
			}
			problem := v.Get("/nothing", "Accept", "application/json", "Accept-Language", tt.accept)
			var details struct{ Title string }
			if err := json.Unmarshal([]byte(problem.Body), &details); err != nil || details.Title != tt.heading {
				t.Errorf("a program gets %q, want %q (%v)", details.Title, tt.heading, err)
			}
			checkLanguage(t, "problem", problem, tt.language)
		})
	}
}

// checkLanguage checks that a response names its language, and that a cache may not give it to a
// reader of another one.
func checkLanguage(t *testing.T, name string, got apptest.Answer, want string) {
	t.Helper()
	if language := got.Header.Get("Content-Language"); language != want {
		t.Errorf("%s: Content-Language is %q, want %q", name, language, want)
	}
	if !slices.Contains(got.Header.Values("Vary"), "Accept-Language") {
		t.Errorf("%s: Vary is %q", name, got.Header.Values("Vary"))
	}
	if strings.Contains(got.Body, "<html") && !strings.Contains(got.Body, `<html lang="`+want+`" dir="ltr">`) {
		t.Errorf("%s: the page is not marked as %s", name, want)
	}
}

// TestRefusalInGerman checks what package routes puts into the texts.
func TestRefusalInGerman(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	v.SignIn("/login", apptest.Ada)
	if got := v.Get("/admin", "Accept-Language", german); got.StatusCode != http.StatusForbidden || !strings.Contains(got.Body, "Diese Seite erfordert die Rolle admin.") || !strings.Contains(got.Body, "eine Liste mit admin") {
		t.Errorf("%d\n%s", got.StatusCode, got.Body)
	}
	if got := v.Get("/signed-out?because=elsewhere", "Accept-Language", german); got.Request.URL.Path != "/dashboard" {
		t.Errorf("a person who is signed in gets %s", got.Request.URL)
	}
	if got := a.Visitor().Get("/signed-out?because=elsewhere", "Accept-Language", german); !strings.Contains(got.Body, "Sie haben diese Sitzung von einem anderen Gerät oder Browser aus beendet.") {
		t.Errorf("the page does not say why:\n%s", got.Body)
	}
}

// TestCachedPageChangesItsLanguage requests one person's dashboard in one language after the other:
// a page that is kept for the session is kept for its language.
func TestCachedPageChangesItsLanguage(t *testing.T) {
	t.Parallel()
	v := apptest.Start(t).Visitor()
	v.SignIn("/login", apptest.Ada)
	for _, accept := range []string{"en", "en", german, german, "en"} {
		language, far := "en", ">in 7 days<"
		if accept == german {
			language, far = "de", ">in 7 Tagen<"
		}
		got := v.Get("/dashboard", "Accept-Language", accept)
		checkLanguage(t, "the dashboard", got, language)
		if !strings.Contains(got.Body, far) {
			t.Errorf("in %s, no time is %q", language, far)
		}
	}
}

// TestAssetsHaveNoLanguage checks that a cache keeps an asset for the readers of all languages.
func TestAssetsHaveNoLanguage(t *testing.T) {
	t.Parallel()
	v := apptest.Start(t).Visitor()
	page := apptest.Parse(t, v.Get("/", "Accept-Language", german).Body)
	style := apptest.Find(page, func(n *apptest.Node) bool { return apptest.Attribute(n, "rel") == "stylesheet" })
	for _, address := range []string{apptest.Attribute(style, "href"), "/favicon.ico", "/healthz"} {
		got := v.Get(address, "Accept-Language", german)
		if got.StatusCode != http.StatusOK || got.Header.Get("Content-Language") != "" || strings.Contains(strings.Join(got.Header.Values("Vary"), ","), "Language") {
			t.Errorf("%s: %d, Content-Language %q, Vary %q", address, got.StatusCode, got.Header.Get("Content-Language"), got.Header.Values("Vary"))
		}
	}
}

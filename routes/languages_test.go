package routes_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"latchkey/authn/devop"
	"latchkey/internal/apptest"
)

const german = "de-DE,de;q=0.9,en;q=0.5"

// TestPagesSpeakTheLanguageOfTheReader requests an error in each format and in several languages.
func TestPagesSpeakTheLanguageOfTheReader(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	for name, tt := range map[string]struct{ accept, language, heading, action, fact string }{
		"German":              {german, "de", "Seite nicht gefunden", "Zur Startseite", "Wir sehen nie Ihr Passwort"},
		"English":             {"en-GB,en;q=0.9,de;q=0.5", "en", "Page not found", "Go to the home page", "We never see your password"},
		"no language":         {"", "en", "Page not found", "Go to the home page", "We never see your password"},
		"no catalogue":        {"fr", "en", "Page not found", "Go to the home page", "We never see your password"},
		"the second language": {"fr,de;q=0.5", "de", "Seite nicht gefunden", "Zur Startseite", "Wir sehen nie Ihr Passwort"},
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
			// The home page is rendered once for each language.
			if got := v.Get("/", "Accept-Language", tt.accept); !strings.Contains(got.Body, tt.fact) {
				t.Errorf("the home page does not say %q:\n%s", tt.fact, got.Body)
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

// TestPagesInGerman opens every page as a visitor and as a person who is signed in.
func TestPagesInGerman(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	anonymous, ada := a.Visitor(), a.Visitor()
	ada.SignIn("/login", apptest.Ada)
	for _, tt := range []struct {
		v    *apptest.Visitor
		path string
		want []string
	}{
		{anonymous, "/", []string{"<title>Willkommen · ", ">Zum Inhalt springen<", ">Anbieter öffnen<", ">Anmelden<", "<h1>Anmeldung? Erledigt.</h1>", "Latchkey meldet Personen", ">Wir sehen nie Ihr Passwort<"}},
		{anonymous, "/signed-out?because=expired", []string{"<title>Abgemeldet · ", "<h1>Sie sind abgemeldet</h1>", "Melden Sie sich erneut an", ">Erneut anmelden<", ">Startseite<"}},
		{anonymous, "/nothing", []string{"Fehler 404", "Referenz <code>"}},
		{ada, "/dashboard", []string{"<title>Übersicht · ", `aria-label="Hauptnavigation"`, ">Übersicht</a>", ">Geräte</a>", ">Kontomenü<", "Profil</a>", "Abmelden</button>"}},
		{ada, "/profile", []string{"<title>Profil · "}},
		{ada, "/sessions", []string{
			"<title>Geräte · ", "<h1>Ihre Geräte</h1>", "sind bei Latchkey angemeldet", "Unbekanntes Gerät", ">Dieses Gerät<", ">Jetzt aktiv<", "Angemeldet am <time",
			"Das konnten wir nicht bestätigen", `data-now="Die Liste zeigt den aktuellen Stand."`, "Alle anderen Geräte abmelden?",
		}},
		{ada, "/sessions/end-others", []string{"<title>Alle anderen Geräte abmelden · ", "<h1>Alle anderen Geräte abmelden?</h1>", ">Alle anderen abmelden<", ">Abbrechen<"}},
		{ada, "/logout", []string{"<title>Abmelden · ", "<h1>Abmelden?</h1>", "Ihre Sitzung endet hier", ">Abmelden<", ">Abbrechen<"}},
		{ada, "/admin", []string{"Angemeldet als", "Erforderlich", "Ihr Wert", ">nicht vorhanden<", ">Anderes Konto verwenden<", "Fehler 403"}},
		{ada, "/sessions", []string{ // the warnings that session.js shows
			"Sie werden in <span data-left></span> abgemeldet", `data-done="Sie sind weiterhin angemeldet."`, ">Angemeldet bleiben<", "Prüfen Sie Ihre Verbindung", "kann nicht verlängert werden", ">in einem neuen Tab<",
		}},
		{anonymous, "/dev/gallery/admin/not%20responding", []string{"<h1>Admin</h1>", ">Aussteller<", ">Sitzungsspeicher<", "Antwortet nicht"}},
		{anonymous, "/dev/gallery/admin/operational", []string{"In Betrieb"}},
		{anonymous, "/dev/gallery/session/resume", []string{"<title>Alle anderen Geräte abmelden? · ", "<h1>Alle anderen Geräte abmelden?</h1>", "Das wollten Sie tun", ">Fortfahren<"}},
		{anonymous, "/dev/gallery/session/resume,%20one%20device", []string{"<h1>Firefox auf Linux abmelden?</h1>"}},
		{anonymous, "/dev/gallery/session/resume,%20without%20a%20name", []string{"<h1>Fortfahren?</h1>", "Sie haben ein Formular gesendet"}},
		{anonymous, "/dev/gallery/devices/several", []string{"Zuletzt aktiv vor 3 Stunden", "Zuletzt aktiv vor 4 Tagen", "Chrome auf Android-Tablet"}},
		{anonymous, "/dev/gallery/home/sign-in%20down", []string{"Der Anmeldedienst antwortet nicht."}},
	} {
		got := tt.v.Get(tt.path, "Accept-Language", german)
		checkLanguage(t, tt.path, got, "de")
		for _, want := range tt.want {
			if !strings.Contains(strings.Join(strings.Fields(got.Body), " "), want) {
				t.Errorf("%s does not say %q", tt.path, want)
			}
		}
		if t.Failed() {
			t.Log(got.Body)
			break
		}
	}
	end := ada.Direct(ada.Request(http.MethodPost, "/logout", nil, "Sec-Fetch-Site", "same-origin", "Accept-Language", german))
	if !strings.Contains(end.Body, "<h1>Sie werden abgemeldet</h1>") || !strings.Contains(end.Body, "Als Nächstes endet sie beim Anmeldedienst.") {
		t.Errorf("after the sign-out: %s\n%s", end.Status, end.Body)
	}
	if left := ada.Get("/signed-out", "Accept-Language", german); !strings.Contains(left.Body, "Ihre Sitzung ist hier") {
		t.Errorf("signed out: %s", left.Body)
	}
}

// TestNoticesInGerman signs out devices. A notice is in the language of the form, wherever it is shown,
// and an open list of devices stays in its own.
func TestNoticesInGerman(t *testing.T) {
	t.Parallel()
	p := apptest.NewTwoDevices(t)
	open := p.Here.ListenToDevices("Accept-Language", german)
	open.Want("alive")
	if html, _ := open.Want("devices")["html"].(string); !strings.Contains(html, ">Dieses Gerät<") {
		t.Errorf("the list in the stream is %s", html)
	}
	for path, want := range map[string]string{
		"/sessions/unknown/end": "Das Gerät war bereits abgemeldet.",
		"/sessions/end-others":  "1 anderes Gerät ist abgemeldet.",
	} {
		if got := p.Here.Post(path, nil, "Accept-Language", german); !strings.Contains(got.Body, want) || !strings.Contains(got.Body, "<h1>Ihre Geräte</h1>") {
			t.Errorf("%s: %s does not say %q", path, got.Body, want)
		}
	}
	if got := p.Here.Post("/sessions/end-others", nil, "Accept-Language", german, "HX-Request", "true"); !strings.Contains(got.Body, "Kein anderes Gerät war angemeldet.") {
		t.Errorf("htmx gets %s", got.Body)
	}
	p.Here.Post("/sessions/unknown/end", nil, "Accept-Language", german) // which its page has shown
	if got := p.Here.Get("/sessions", "Accept-Language", german); strings.Contains(got.Body, "abgemeldet.</p>") {
		t.Errorf("the notice is shown twice: %s", got.Body)
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

// TestDashboardInGerman reads the dashboard and the profile page of a person, before and after a refresh.
func TestDashboardInGerman(t *testing.T) {
	t.Parallel()
	p := apptest.StartDevProvider(t, false)
	v := p.App.Visitor()
	v.SignIn("/login", apptest.Ada)
	read := func(path string, want ...string) {
		t.Helper()
		shown := apptest.Text(apptest.ByID(apptest.Parse(t, v.Get(path, "Accept-Language", german).Body), "main"))
		for _, text := range want {
			if !strings.Contains(shown, text) {
				t.Errorf("%s lacks %q:\n%s", path, text, shown)
			}
		}
	}
	read("/dashboard",
		"Willkommen, Ada Lovelace", "Profil Aktualisieren", "E-Mail bestätigt Zuletzt aktualisiert: ",
		"Sitzung Angemeldet seit", "Zeitlimit bei Inaktivität", "Läuft ab", "in 7 Tagen Anmeldedienst "+p.App.Issuer,
		"Zugriffstoken Es verlässt den Server nie. Empfänger Der Anmeldedienst selbst Scopes", "Wird automatisch erneuert Ja",
		"Angaben Was der Anmeldedienst uns über Sie mitteilt Profil Aus Userinfo Name name Ada Lovelace", "E-Mail bestätigt email_verified Ja",
		"Claims des Protokolls Aus dem ID-Token Subjekt sub", "Als JSON Kopieren {")
	p.SetPerson(devop.Person{Subject: apptest.Ada, Name: "Ada King", Email: "ada@example.test", EmailVerified: false})
	if got := v.Post("/profile/refresh", nil, "HX-Request", "true", "Accept-Language", german); !strings.Contains(got.Body, "Profil aktualisiert. ") || !strings.Contains(got.Body, "Geändert</strong> bei der letzten Aktualisierung, vorher") {
		t.Errorf("%d\n%s", got.StatusCode, got.Body)
	}
	read("/dashboard?refreshed", "E-Mail nicht bestätigt", "Die letzte Aktualisierung hat ", "E-Mail bestätigt email_verified Nein Geändert bei der letzten Aktualisierung, vorher true")
	read("/profile", "Ihr Profil Profil Aktualisieren", "Was der Anmeldedienst gesendet hat ID-Token Kopieren Vom Anmeldedienst signiert", "Userinfo Kopieren Bei der Anmeldung und bei jeder Aktualisierung",
		"Bei der letzten Aktualisierung geändert", "Name war Ada Lovelace , ist jetzt Ada King")
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

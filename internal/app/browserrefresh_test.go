package app

import (
	"net/http"
	"strings"
	"testing"

	"latchkey/authn/devop"
)

// TestBrowserRefreshChanges changes what the provider says under an open dashboard: the card
// and the claims say so in place, and what has been opened for reading is there still.
func TestBrowserRefreshChanges(t *testing.T) {
	t.Parallel()
	p := startOwnProvider(t, false)
	b := openBrowser(t, p.app)
	b.signIn("/login", ada)
	p.SetPerson(devop.Person{Subject: ada, Name: "Ada King", Email: "ada@example.test", EmailVerified: true, Claims: map[string]any{"locale": "fr"}})
	// Two presses are one request.
	evaluate[bool](b, `(button => { button.click(); button.click(); return true })(document.getElementById("profile-refresh-button"))`)
	b.wait("#claims-card .claim-change")
	claims := b.text("#claims-card")
	for _, want := range []string{"Changed at the last refresh from Ada Lovelace", "Changed at the last refresh from en-GB", "Gone at the last refresh", "Ada King"} {
		if !strings.Contains(claims, want) {
			t.Errorf("the claims do not say %q:\n%s", want, claims)
		}
	}
	b.until(`document.getElementById("announcer").textContent.includes("changes")`)
	b.until(`!document.querySelector("time:not([data-local])")`)
	if n := p.app.log.count(`"path":"/profile/refresh"`); n != 1 {
		t.Errorf("%d requests", n)
	}
	if evaluate[bool](b, `document.querySelector("[data-copy]").hidden`) {
		t.Error("the new claims cannot be copied")
	}
	// Neither is a sign-out sent twice.
	evaluate[bool](b, `(form => { form.requestSubmit(); form.requestSubmit(); return true })(document.querySelector(".account form"))`)
	b.wait("#qsLoginBtn")
	if n := len(p.app.logged("signed out", "")); n != 1 {
		t.Errorf("%d sign-outs", n)
	}
}

// TestBrowserNoAnswer stops the app under an open page: the card keeps what it shows, says
// so, and offers to try again.
func TestBrowserNoAnswer(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	b := openBrowser(t, a)
	b.signIn("/profile", ada)
	b.expect("ERR_")
	b.expect("console.error") // htmx says so too
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	b.click("#profile-refresh-button")
	b.wait("#profile-message .notice")
	if got := b.text("#profile-card"); !strings.Contains(got, "No answer came") || !strings.Contains(got, "Ada Lovelace") || !strings.Contains(got, "Try again") {
		t.Errorf("the card says: %s", got)
	}
	if evaluate[bool](b, `document.querySelector("#profile-refresh").ariaBusy === "true"`) {
		t.Error("the form is busy still")
	}
}

// TestTokensAreNotShown (SL-01) looks at the card of the access token: what it is for, and
// nothing of it.
func TestTokensAreNotShown(t *testing.T) {
	t.Parallel()
	s := startScripted(t, "AUTH0_AUDIENCE=https://api.example.test/")
	v := s.visitor()
	s.signInNow(v)
	dashboard := v.get("/dashboard")
	if dashboard.StatusCode != http.StatusOK {
		t.Fatalf("the dashboard is %d", dashboard.StatusCode)
	}
	shown := text(parse(t, dashboard.body))
	for _, want := range []string{"For https://api.example.test/ Allows", "Expires", "Renewed by itself Yes"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the dashboard does not say %q:\n%s", want, shown)
		}
	}
	s.wantNoSecrets(dashboard)
}

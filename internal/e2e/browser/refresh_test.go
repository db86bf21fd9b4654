package browser

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"latchkey/authn/devop"
	"latchkey/internal/apptest"
)

// TestBrowserRefreshChanges changes a person at the provider while the dashboard is open.
// The card and the claims show the change in place, and open sections stay open.
func TestBrowserRefreshChanges(t *testing.T) {
	t.Parallel()
	p := apptest.StartDevProvider(t, false)
	b := apptest.OpenBrowser(t, p.App)
	b.SignIn("/login", apptest.Ada)
	p.SetPerson(devop.Person{Subject: apptest.Ada, Name: "Ada King", Email: "ada@example.test", EmailVerified: true, Claims: map[string]any{"locale": "fr"}})
	// Two presses send one request.
	apptest.Evaluate[bool](b, `(button => { button.click(); button.click(); return true })(document.getElementById("profile-refresh-button"))`)
	b.Wait("#claims-card .claim-change")
	claims := b.Text("#claims-card")
	for _, want := range []string{"Changed at the last refresh, previously Ada Lovelace", "Changed at the last refresh, previously en-GB", "Removed at the last refresh", "Ada King"} {
		if !strings.Contains(claims, want) {
			t.Errorf("the claims do not say %q:\n%s", want, claims)
		}
	}
	b.Until(`document.getElementById("announcer").textContent.includes("changes")`)
	b.Until(`!document.querySelector("time:not([data-local])")`)
	if n := p.App.Log.Count(`"path":"/profile/refresh"`); n != 1 {
		t.Errorf("%d requests", n)
	}
	if apptest.Evaluate[bool](b, `document.querySelector("[data-copy]").hidden`) {
		t.Error("the new claims cannot be copied")
	}
	// A sign-out is also sent only once.
	apptest.Evaluate[bool](b, `(form => { form.requestSubmit(); form.requestSubmit(); return true })(document.querySelector(".account form"))`)
	b.Wait("#qsLoginBtn")
	if n := len(p.App.Logged("signed out", "")); n != 1 {
		t.Errorf("%d sign-outs", n)
	}
}

// TestBrowserNoAnswer stops the app while a page is open. The card keeps its content, and says that
// nobody knows whether the profile was refreshed.
func TestBrowserNoAnswer(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	b := apptest.OpenBrowser(t, a)
	b.SignIn("/profile", apptest.Ada)
	b.AllowComplaint("ERR_")
	b.AllowComplaint("console.error") // htmx reports it too
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	b.Click("#profile-refresh-button")
	b.Wait("#profile-message .notice")
	if got := b.Text("#profile-card"); !strings.Contains(got, "We couldn't confirm that") || !strings.Contains(got, "Ada Lovelace") || strings.Contains(got, "could not be refreshed") {
		t.Errorf("the card says: %s", got)
	}
	if apptest.Evaluate[bool](b, `document.querySelector("#profile-refresh").ariaBusy === "true"`) {
		t.Error("the form is still busy")
	}
	// A card that has no message of its own, such as a product's, leaves it to the page.
	apptest.Evaluate[bool](b, `document.querySelector("#profile-card [data-message]").remove(), true`)
	b.Click("#profile-refresh-button")
	b.Wait("#notices .notice")
	if got := b.Text("#notices"); !strings.Contains(got, "We couldn't confirm that") || !strings.Contains(got, "Reload") {
		t.Errorf("the page says: %s", got)
	}
}

// TestBrowserReloadsAfterALostReply loses the reply to a refresh that has changed the profile. The page
// does not say that it has failed, and Reload shows the change, on each page that has the card.
func TestBrowserReloadsAfterALostReply(t *testing.T) {
	t.Parallel()
	p := apptest.StartDevProvider(t, false)
	b := apptest.OpenBrowser(t, p.App)
	b.SignIn("/login", apptest.Ada)
	b.AllowComplaint("ERR_")
	b.AllowComplaint("console.error") // htmx reports it too
	intercept(b, fetch.RequestStageResponse, []string{"*/profile/refresh"}, func(ctx context.Context, id fetch.RequestID) error {
		_, err := chromedp.Call(ctx, fetch.FailRequest, fetch.FailRequestParams{RequestID: id, ErrorReason: network.ErrorReasonConnectionReset})
		return err
	})
	for path, name := range map[string]string{"/dashboard": "Ada King", "/profile": "Ada Byron"} {
		p.SetPerson(devop.Person{Subject: apptest.Ada, Name: name, Email: "ada@example.test", EmailVerified: true})
		b.Open(path)
		b.Click("#profile-refresh-button")
		b.Wait("#profile-message .notice")
		if got := b.Text("#profile-card"); !strings.Contains(got, "We couldn't confirm that") || strings.Contains(got, "could not be refreshed") || strings.Contains(got, name) {
			t.Errorf("%s: the card says: %s", path, got)
		}
		b.Click("#profile-message a")
		b.Until(`document.querySelector("#profile-message dialog") === null && document.querySelector(".person-name")?.textContent === "` + name + `"`)
		if got, _, _ := strings.Cut(b.Path(), "?"); got != path {
			t.Errorf("%s: Reload leads to %s", path, got)
		}
	}
}

// TestTokensAreNotShown (SL-01) checks that the access token's card says what the token is
// for, and shows no part of it.
func TestTokensAreNotShown(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t, "AUTH0_AUDIENCE=https://api.example.test/")
	v := s.Visitor()
	s.SignIn(v)
	dashboard := v.Get("/dashboard")
	if dashboard.StatusCode != http.StatusOK {
		t.Fatalf("the dashboard is %d", dashboard.StatusCode)
	}
	shown := apptest.Text(apptest.Parse(t, dashboard.Body))
	for _, want := range []string{"Audience https://api.example.test/ Scopes", "Expires", "Renews automatically Yes"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the dashboard does not say %q:\n%s", want, shown)
		}
	}
	s.WantNoSecrets(dashboard)
}

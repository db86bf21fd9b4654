package login

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
)

// TestJourney does what people come to do, without JavaScript: sign in, see the dashboard,
// refresh the profile, sign out.
func TestJourney(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()

	home := v.Get("/")
	if home.StatusCode != http.StatusOK || apptest.ByID(apptest.Parse(t, home.Body), "qsLoginBtn") == nil {
		t.Fatalf("the home page is %d and has no button to sign in:\n%s", home.StatusCode, home.Body)
	}

	dashboard := v.SignIn("/login", apptest.Ada)
	if got := dashboard.Request.URL.String(); got != a.URL+"/dashboard" {
		t.Fatalf("signing in ends at %s", got)
	}
	shown := apptest.Text(apptest.Parse(t, dashboard.Body))
	for _, want := range []string{"Welcome", "Ada", "ada@", "E-mail verified", "Signed in", "Idle timeout", "Expires", "Raw JSON", `"sub": "dev|ada"`} {
		if !strings.Contains(shown, want) {
			t.Errorf("the dashboard does not show %q", want)
		}
	}

	refreshed := v.Press(dashboard, "profile-refresh-button")
	if refreshed.StatusCode != http.StatusOK || refreshed.Request.URL.Path != "/dashboard" {
		t.Errorf("refreshing ends at %s with %d", refreshed.Request.URL, refreshed.StatusCode)
	}

	signedOut := v.Press(refreshed, "qsLogoutBtn")
	if signedOut.Request.URL.Path != "" || !strings.Contains(signedOut.Body, "You are signed out") || !strings.Contains(signedOut.Body, "here and at the sign-in service") {
		t.Errorf("signing out ends at %s:\n%s", signedOut.Request.URL, apptest.Text(apptest.Parse(t, signedOut.Body)))
	}
	if back := v.Get("/dashboard"); !strings.HasPrefix(back.Request.URL.String(), a.Issuer) {
		t.Errorf("after signing out, the dashboard leads to %s", back.Request.URL)
	} else if apptest.ByID(apptest.Parse(t, back.Body), "person-"+apptest.Ada) == nil {
		t.Error("the provider signs the person in again without asking")
	}
}

// TestSignInComesBack checks that a deep link and its query survive the sign-in.
func TestSignInComesBack(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	for from, want := range map[string]string{
		"/profile":                                    "/profile",
		"/dashboard?tab=claims&q=a%20b":               "/dashboard?tab=claims&q=a%20b",
		"/login?return_to=%2Fprofile":                 "/profile",
		"/login?return_to=https%3A%2F%2Fevil.example": "/dashboard",
		"/login?return_to=%2F%2Fevil.example":         "/dashboard",
		"/login?return_to=%2Flogout":                  "/dashboard",
	} {
		if end := a.Visitor().SignIn(from, apptest.Ada); end.Request.URL.String() != a.URL+want {
			t.Errorf("%s ends at %s, want %s", from, end.Request.URL, want)
		}
	}
}

// TestTwoTabs (AR-13) starts two sign-ins in one browser, and completes the second one
// first.
func TestTwoTabs(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	first, second := v.Get("/profile"), v.Get("/login")
	if end := v.Press(second, "person-"+apptest.Ada); end.Request.URL.Path != "/dashboard" {
		t.Errorf("the second tab ends at %s", end.Request.URL)
	}
	if end := v.Press(first, "person-"+apptest.Ada); end.Request.URL.Path != "/profile" || end.StatusCode != http.StatusOK {
		t.Errorf("the first tab ends at %s with %d", end.Request.URL, end.StatusCode)
	}
}

// TestSamplePeople signs in as every sample person. Each one is difficult in a different
// way.
func TestSamplePeople(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	page := apptest.Parse(t, a.Visitor().Get("/login").Body)
	people := 0
	for n := range page.Descendants() {
		id := apptest.Attribute(n, "id")
		subject, ok := strings.CutPrefix(id, "person-")
		if !ok || n.Data != "button" {
			continue
		}
		people++
		v := a.Visitor()
		dashboard := v.SignIn("/login", subject)
		root := apptest.Parse(t, dashboard.Body)
		if dashboard.StatusCode != http.StatusOK || dashboard.Request.URL.Path != "/dashboard" {
			t.Errorf("%s ends at %s with %d", subject, dashboard.Request.URL, dashboard.StatusCode)
		}
		if !strings.Contains(apptest.Text(root), subject) {
			t.Errorf("the dashboard of %s does not name the subject", subject)
		}
		// HB-17: a name is text, even if it looks like HTML.
		for script := range root.Descendants() {
			if script.Data == "script" && apptest.Attribute(script, "src") == "" {
				t.Errorf("the dashboard of %s has an inline script", subject)
			}
		}
	}
	if people < 6 {
		t.Errorf("%d sample people", people)
	}
}

// TestDenied denies a sign-in at the provider. The page leads back to the page that the
// person wanted, and lets them choose another account.
func TestDenied(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	denied := v.Press(v.Get("/profile"), "deny")
	if denied.StatusCode != http.StatusForbidden || !strings.Contains(denied.Body, "You were not signed in") {
		t.Fatalf("%d:\n%s", denied.StatusCode, denied.Body)
	}
	if strings.Contains(denied.Body, "access_denied") {
		t.Error("CB-09: the page quotes the provider's error")
	}
	again := apptest.Link(t, denied, "Try again")
	if prompt := apptest.Query(t, v.AuthorizationRequest(again)).Get("prompt"); prompt != "select_account" {
		t.Errorf("the prompt is %q", prompt)
	}
	if end := v.SignIn(again, apptest.Ada); end.Request.URL.Path != "/profile" {
		t.Errorf("trying again ends at %s", end.Request.URL)
	}
}

// TestHTMX checks what htmx receives: only the card, and, after the session has ended, a
// redirect to the sign-in. It never receives a sign-in page inside a card.
func TestHTMX(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	v.SignIn("/login", apptest.Ada)
	htmx := []string{"HX-Request", "true", "HX-Request-Type", "partial", "HX-Current-URL", a.URL + "/dashboard?tab=claims"}

	card := v.Post("/profile/refresh", nil, htmx...)
	if card.StatusCode != http.StatusOK || !strings.HasPrefix(strings.TrimSpace(card.Body), `<section id="profile-card"`) {
		t.Fatalf("HB-10: %d:\n%s", card.StatusCode, card.Body)
	}
	if got := card.Header.Values("Vary"); !strings.Contains(strings.Join(got, ","), "HX-Request") {
		t.Errorf("HB-10: Vary is %q", got)
	}
	if page := v.Get("/profile"); !strings.Contains(page.Body, "<!doctype html>") || !strings.Contains(page.Body, `id="profile-card"`) {
		t.Error("HB-10: navigating to /profile does not show a whole page")
	}

	a.Visitor().Get("/")
	v.Post("/logout", nil)
	gone := v.Direct(v.Request(http.MethodPost, "/profile/refresh", url.Values{}, append(htmx, "Sec-Fetch-Site", "same-origin")...))
	want := "/login?return_to=%2Fdashboard%3Ftab%3Dclaims"
	if gone.StatusCode != http.StatusUnauthorized || gone.Header.Get("HX-Redirect") != want || gone.Body != "" {
		t.Errorf("HB-21: %d, HX-Redirect %q, body %q", gone.StatusCode, gone.Header.Get("HX-Redirect"), gone.Body)
	}
	if len(gone.Cookies()) > 0 && strings.Contains(gone.Header.Get("Set-Cookie"), "txn_") {
		t.Error("HB-21: htmx started a sign-in")
	}
}

// TestRateLimitedRefresh (UI-07) presses Refresh until the app limits its calls to the
// provider. The card then says so, and keeps its content.
func TestRateLimitedRefresh(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t)
	v := s.Visitor()
	s.SignIn(v)
	dashboard := v.Get("/dashboard")
	for range 3 {
		clock.Move(2 * time.Second) // concurrent refreshes would share an answer
		if again := v.Press(dashboard, "profile-refresh-button"); again.StatusCode != http.StatusOK {
			t.Fatalf("refreshing answers %d", again.StatusCode)
		}
	}
	clock.Move(2 * time.Second)
	limited := v.Press(dashboard, "profile-refresh-button")
	if limited.StatusCode != http.StatusTooManyRequests || limited.Header.Get("Retry-After") == "" || !strings.Contains(limited.Body, `id="profile-card"`) {
		t.Errorf("%d, Retry-After %q:\n%s", limited.StatusCode, limited.Header.Get("Retry-After"), limited.Body)
	}
	fragment := v.Post("/profile/refresh", nil, "HX-Request", "true")
	if fragment.StatusCode != http.StatusTooManyRequests || strings.Contains(fragment.Body, "<html") || !strings.Contains(fragment.Body, `role="alert"`) {
		t.Errorf("SS-10: %d:\n%s", fragment.StatusCode, fragment.Body)
	}
}

// TestSignOutAsks (LR-02) checks that only the app's own form signs people out.
func TestSignOutAsks(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	v.SignIn("/login", apptest.Ada)
	if page := v.Get("/logout"); page.StatusCode != http.StatusOK || apptest.ByID(apptest.Parse(t, page.Body), "qsLogoutBtn") == nil {
		t.Errorf("GET /logout is %d:\n%s", page.StatusCode, page.Body)
	}
	for name, headers := range map[string][]string{
		"another site's form":            {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
		"a sibling's form":               {"Sec-Fetch-Site", "same-site", "Origin", "https://sibling.localhost"},
		"an old browser on another site": {"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
		"a sandboxed frame":              {"Sec-Fetch-Site", "cross-site", "Origin", "null"},
	} {
		req := v.Request(http.MethodPost, "/logout", url.Values{}, headers...)
		if headers[1] == "" {
			req.Header.Del("Sec-Fetch-Site")
		}
		if got := v.Direct(req); got.StatusCode != http.StatusForbidden {
			t.Errorf("HB-12: %s is answered with %d", name, got.StatusCode)
		}
	}
	if page := v.Get("/dashboard"); page.Request.URL.Path != "/dashboard" {
		t.Fatal("the person was signed out")
	}
	if page := v.Press(v.Get("/logout"), "qsLogoutBtn"); !strings.Contains(page.Body, "You are signed out") {
		t.Errorf("confirming ends at %s", page.Request.URL)
	}
}

// TestRestart (FM-21) restarts the program while one person is signed in and another is
// signing in.
func TestRestart(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	signedIn, signingIn := a.Visitor(), a.Visitor()
	signedIn.SignIn("/login", apptest.Ada)
	page := signingIn.Get("/profile")
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(a.URL)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := url.Parse(a.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	b := apptest.Start(t, "PORT="+base.Port(), "DEV_PROVIDER_ADDR="+issuer.Host, "DATA_DIR="+a.DataDir)
	if b.URL != a.URL || b.Issuer != a.Issuer {
		t.Fatalf("the app now listens at %s and %s", b.URL, b.Issuer)
	}
	if dashboard := signedIn.Get("/dashboard"); dashboard.Request.URL.Path != "/dashboard" {
		t.Errorf("the person was signed out: %s", dashboard.Request.URL)
	}
	if card := signedIn.Post("/profile/refresh", nil); card.StatusCode != http.StatusOK || card.Request.URL.Path != "/dashboard" {
		t.Errorf("refreshing ends at %s with %d", card.Request.URL, card.StatusCode)
	}
	if end := signingIn.Press(page, "person-"+apptest.Ada); end.Request.URL.Path != "/profile" {
		t.Errorf("the sign-in in progress ends at %s with %d", end.Request.URL, end.StatusCode)
	}
}

// TestNothingLeaks (SL-01, SE-09, RT-15) signs in, refreshes and signs out, and then
// searches the log, the pages and the store for every code, state, cookie and token.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	var secrets []string
	v.Client.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		for _, name := range []string{"code", "state", "nonce", "code_challenge", "id_token_hint"} {
			if value := req.URL.Query().Get(name); value != "" {
				secrets = append(secrets, value)
			}
		}
		return nil
	}
	dashboard := v.SignIn("/login", apptest.Ada)
	pages := dashboard.Body + v.Press(dashboard, "profile-refresh-button").Body
	base, err := url.Parse(a.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range v.Client.Jar.Cookies(base) {
		secrets = append(secrets, strings.Split(cookie.Value, ".")...)
	}
	stored, err := os.ReadFile(filepath.Join(a.DataDir, "sessions.db"))
	if err != nil {
		t.Fatal(err)
	}
	v.Press(dashboard, "qsLogoutBtn")
	if len(secrets) < 6 {
		t.Fatalf("only %d secrets were seen", len(secrets))
	}
	for _, secret := range secrets {
		for place, bytes := range map[string]string{"the log": a.Log.String(), "a page": pages, "the store": string(stored)} {
			if strings.Contains(bytes, secret) {
				t.Errorf("%s holds %.8s…", place, secret)
			}
		}
	}
	for _, personal := range []string{"ada@", "Ada "} {
		if strings.Contains(string(stored), personal) {
			t.Errorf("SE-09: the store holds %q", personal)
		}
	}
}

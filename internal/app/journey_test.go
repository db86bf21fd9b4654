package app

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const ada = "dev|ada"

// TestJourney is the main job as a person without JavaScript does it: sign in, see
// the dashboard, refresh the profile, sign out.
func TestJourney(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	v := a.visitor()

	home := v.get("/")
	if home.StatusCode != http.StatusOK || byID(parse(t, home.body), "qsLoginBtn") == nil {
		t.Fatalf("the home page is %d and has no button to sign in:\n%s", home.StatusCode, home.body)
	}

	dashboard := v.signIn("/login", ada)
	if got := dashboard.Request.URL.String(); got != a.url+"/dashboard" {
		t.Fatalf("signing in ends at %s", got)
	}
	shown := text(parse(t, dashboard.body))
	for _, want := range []string{"Welcome", "Ada", "ada@", "E-mail verified", "Signed in", "Ends at the latest", "Raw JSON", `"sub": "dev|ada"`} {
		if !strings.Contains(shown, want) {
			t.Errorf("the dashboard does not show %q", want)
		}
	}

	refreshed := v.press(dashboard, "profile-refresh-button")
	if refreshed.StatusCode != http.StatusOK || refreshed.Request.URL.Path != "/dashboard" {
		t.Errorf("refreshing ends at %s with %d", refreshed.Request.URL, refreshed.StatusCode)
	}

	signedOut := v.press(refreshed, "qsLogoutBtn")
	if signedOut.Request.URL.Path != "/signed-out" || !strings.Contains(signedOut.body, "here and at the sign-in service") {
		t.Errorf("signing out ends at %s:\n%s", signedOut.Request.URL, text(parse(t, signedOut.body)))
	}
	if back := v.get("/dashboard"); !strings.HasPrefix(back.Request.URL.String(), a.issuer) {
		t.Errorf("after signing out, the dashboard leads to %s", back.Request.URL)
	} else if byID(parse(t, back.body), "person-"+ada) == nil {
		t.Error("the provider signs the person in again without asking")
	}
}

// TestSignInComesBack shows that a deep link survives the sign-in, its query too.
func TestSignInComesBack(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	for from, want := range map[string]string{
		"/profile":                                    "/profile",
		"/dashboard?tab=claims&q=a%20b":               "/dashboard?tab=claims&q=a%20b",
		"/login?return_to=%2Fprofile":                 "/profile",
		"/login?return_to=https%3A%2F%2Fevil.example": "/dashboard",
		"/login?return_to=%2F%2Fevil.example":         "/dashboard",
		"/login?return_to=%2Flogout":                  "/dashboard",
	} {
		if end := a.visitor().signIn(from, ada); end.Request.URL.String() != a.url+want {
			t.Errorf("%s ends at %s, want %s", from, end.Request.URL, want)
		}
	}
}

// TestTwoTabs (AR-13) signs in twice at once in one browser, in the other order.
func TestTwoTabs(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	v := a.visitor()
	first, second := v.get("/profile"), v.get("/login")
	if end := v.press(second, "person-"+ada); end.Request.URL.Path != "/dashboard" {
		t.Errorf("the second tab ends at %s", end.Request.URL)
	}
	if end := v.press(first, "person-"+ada); end.Request.URL.Path != "/profile" || end.StatusCode != http.StatusOK {
		t.Errorf("the first tab ends at %s with %d", end.Request.URL, end.StatusCode)
	}
}

// TestSamplePeople signs in as everybody that the provider offers: each of them
// breaks pages in another way.
func TestSamplePeople(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	page := parse(t, a.visitor().get("/login").body)
	people := 0
	for n := range page.Descendants() {
		id := attribute(n, "id")
		subject, ok := strings.CutPrefix(id, "person-")
		if !ok || n.Data != "button" {
			continue
		}
		people++
		v := a.visitor()
		dashboard := v.signIn("/login", subject)
		root := parse(t, dashboard.body)
		if dashboard.StatusCode != http.StatusOK || dashboard.Request.URL.Path != "/dashboard" {
			t.Errorf("%s ends at %s with %d", subject, dashboard.Request.URL, dashboard.StatusCode)
		}
		if !strings.Contains(text(root), subject) {
			t.Errorf("the dashboard of %s does not name the subject", subject)
		}
		// HB-17: a name is text, whatever it looks like.
		for script := range root.Descendants() {
			if script.Data == "script" && attribute(script, "src") == "" {
				t.Errorf("the dashboard of %s has an inline script", subject)
			}
		}
	}
	if people < 6 {
		t.Errorf("%d sample people", people)
	}
}

// TestDenied shows that a refusal is a page that leads on, to where the person was
// going.
func TestDenied(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	v := a.visitor()
	denied := v.press(v.get("/profile"), "deny")
	if denied.StatusCode != http.StatusForbidden || !strings.Contains(denied.body, "You were not signed in") {
		t.Fatalf("%d:\n%s", denied.StatusCode, denied.body)
	}
	if strings.Contains(denied.body, "access_denied") {
		t.Error("CB-09: the page quotes the provider's error")
	}
	if !strings.Contains(denied.body, `href="/login?return_to=%2Fprofile"`) {
		t.Errorf("the page does not offer to try again:\n%s", denied.body)
	}
	if end := v.signIn("/login?return_to=%2Fprofile", ada); end.Request.URL.Path != "/profile" {
		t.Errorf("trying again ends at %s", end.Request.URL)
	}
}

// TestHTMX shows what htmx gets: the card alone, and with an ended session the way to
// the sign-in and back to the page, never a sign-in page inside a card.
func TestHTMX(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	v := a.visitor()
	v.signIn("/login", ada)
	htmx := []string{"HX-Request", "true", "HX-Request-Type", "partial", "HX-Current-URL", a.url + "/dashboard?tab=claims"}

	card := v.post("/profile/refresh", nil, htmx...)
	if card.StatusCode != http.StatusOK || !strings.HasPrefix(strings.TrimSpace(card.body), `<section id="profile-card"`) {
		t.Fatalf("HB-10: %d:\n%s", card.StatusCode, card.body)
	}
	if got := card.Header.Values("Vary"); !strings.Contains(strings.Join(got, ","), "HX-Request") {
		t.Errorf("HB-10: Vary is %q", got)
	}
	if page := v.get("/profile"); !strings.Contains(page.body, "<!doctype html>") || !strings.Contains(page.body, `id="profile-card"`) {
		t.Error("HB-10: going to /profile does not show a page")
	}

	a.visitor().get("/")
	v.post("/logout", nil)
	gone := v.direct(v.request(http.MethodPost, "/profile/refresh", url.Values{}, append(htmx, "Sec-Fetch-Site", "same-origin")...))
	want := "/login?return_to=%2Fdashboard%3Ftab%3Dclaims"
	if gone.StatusCode != http.StatusUnauthorized || gone.Header.Get("HX-Redirect") != want || gone.body != "" {
		t.Errorf("HB-21: %d, HX-Redirect %q, body %q", gone.StatusCode, gone.Header.Get("HX-Redirect"), gone.body)
	}
	if len(gone.Cookies()) > 0 && strings.Contains(gone.Header.Get("Set-Cookie"), "txn_") {
		t.Error("HB-21: htmx has started a sign-in")
	}
}

// TestRateLimitedRefresh (UI-07) presses Refresh until the provider must be spared:
// the card then says so and keeps what it shows.
func TestRateLimitedRefresh(t *testing.T) {
	t.Parallel()
	s, clock := assembleScripted(t)
	v := s.visitor()
	s.signInNow(v)
	dashboard := v.get("/dashboard")
	for range 3 {
		clock.Move(2 * time.Second) // together they would share one answer
		if again := v.press(dashboard, "profile-refresh-button"); again.StatusCode != http.StatusOK {
			t.Fatalf("refreshing answers %d", again.StatusCode)
		}
	}
	clock.Move(2 * time.Second)
	limited := v.press(dashboard, "profile-refresh-button")
	if limited.StatusCode != http.StatusTooManyRequests || limited.Header.Get("Retry-After") == "" || !strings.Contains(limited.body, `id="profile-card"`) {
		t.Errorf("%d, Retry-After %q:\n%s", limited.StatusCode, limited.Header.Get("Retry-After"), limited.body)
	}
	fragment := v.post("/profile/refresh", nil, "HX-Request", "true")
	if fragment.StatusCode != http.StatusTooManyRequests || strings.Contains(fragment.body, "<html") || !strings.Contains(fragment.body, `role="alert"`) {
		t.Errorf("SS-10: %d:\n%s", fragment.StatusCode, fragment.body)
	}
}

// TestSignOutAsks (LR-02) shows that nothing but the app's own form signs anybody out.
func TestSignOutAsks(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	v := a.visitor()
	v.signIn("/login", ada)
	if page := v.get("/logout"); page.StatusCode != http.StatusOK || byID(parse(t, page.body), "qsLogoutBtn") == nil {
		t.Errorf("GET /logout is %d:\n%s", page.StatusCode, page.body)
	}
	for name, headers := range map[string][]string{
		"another site's form":            {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
		"a sibling's form":               {"Sec-Fetch-Site", "same-site", "Origin", "https://sibling.localhost"},
		"an old browser on another site": {"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
		"a sandboxed frame":              {"Sec-Fetch-Site", "cross-site", "Origin", "null"},
	} {
		req := v.request(http.MethodPost, "/logout", url.Values{}, headers...)
		if headers[1] == "" {
			req.Header.Del("Sec-Fetch-Site")
		}
		if got := v.direct(req); got.StatusCode != http.StatusForbidden {
			t.Errorf("HB-12: %s is answered with %d", name, got.StatusCode)
		}
	}
	if page := v.get("/dashboard"); page.Request.URL.Path != "/dashboard" {
		t.Fatal("the person was signed out")
	}
	if page := v.press(v.get("/logout"), "qsLogoutBtn"); page.Request.URL.Path != "/signed-out" {
		t.Errorf("confirming ends at %s", page.Request.URL)
	}
}

// TestRestart (FM-21) restarts the program under a person who is signed in and one who
// is signing in.
func TestRestart(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	signedIn, signingIn := a.visitor(), a.visitor()
	signedIn.signIn("/login", ada)
	page := signingIn.get("/profile")
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(a.url)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := url.Parse(a.issuer)
	if err != nil {
		t.Fatal(err)
	}
	b := startApp(t, "PORT="+base.Port(), "DEV_PROVIDER_ADDR="+issuer.Host, "DATA_DIR="+a.dataDir)
	if b.url != a.url || b.issuer != a.issuer {
		t.Fatalf("it now listens at %s and %s", b.url, b.issuer)
	}
	if dashboard := signedIn.get("/dashboard"); dashboard.Request.URL.Path != "/dashboard" {
		t.Errorf("the person was signed out: %s", dashboard.Request.URL)
	}
	if card := signedIn.post("/profile/refresh", nil); card.StatusCode != http.StatusOK || card.Request.URL.Path != "/dashboard" {
		t.Errorf("refreshing ends at %s with %d", card.Request.URL, card.StatusCode)
	}
	if end := signingIn.press(page, "person-"+ada); end.Request.URL.Path != "/profile" {
		t.Errorf("the sign-in that was under way ends at %s with %d", end.Request.URL, end.StatusCode)
	}
}

// TestNothingLeaks (SL-01, SE-09, RT-15) signs in, refreshes and signs out, and then
// looks for every code, state, cookie and token in the log, the pages and the store.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	v := a.visitor()
	var secrets []string
	v.client.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		for _, name := range []string{"code", "state", "nonce", "code_challenge", "id_token_hint"} {
			if value := req.URL.Query().Get(name); value != "" {
				secrets = append(secrets, value)
			}
		}
		return nil
	}
	dashboard := v.signIn("/login", ada)
	pages := dashboard.body + v.press(dashboard, "profile-refresh-button").body
	base, err := url.Parse(a.url)
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range v.client.Jar.Cookies(base) {
		secrets = append(secrets, strings.Split(cookie.Value, ".")...)
	}
	stored, err := os.ReadFile(filepath.Join(a.dataDir, "sessions.db"))
	if err != nil {
		t.Fatal(err)
	}
	v.press(dashboard, "qsLogoutBtn")
	if len(secrets) < 6 {
		t.Fatalf("only %d secrets were seen", len(secrets))
	}
	for _, secret := range secrets {
		for place, bytes := range map[string]string{"the log": a.log.String(), "a page": pages, "the store": string(stored)} {
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

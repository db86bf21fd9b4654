package app

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// TestTrouble presses each button of the development provider's workbench, and finds in
// the app what the button says. A good sign-in comes after each.
func TestTrouble(t *testing.T) {
	t.Parallel()
	signIn := func(v *visitor) answer { return v.signIn("/login", ada) }
	denied := func(v *visitor) answer { return v.get("/login") } // the provider asks nobody
	refresh := func(v *visitor) answer { return v.post("/profile/refresh", nil) }
	const (
		unverified  = "The sign-in could not be verified"
		unreachable = "The sign-in service cannot be reached"
		notVouched  = "The sign-in service no longer vouches for this session"
	)
	for button, tt := range map[string]struct {
		signedIn bool // when the button is pressed
		do       func(*visitor) answer
		status   int
		said     string
		lasting  bool // until somebody stops it
		atOnce   bool // and over
		slow     bool
	}{
		"make-deny":     {do: denied, status: http.StatusForbidden, said: "You were not signed in"},
		"make-busy":     {do: denied, status: http.StatusServiceUnavailable, said: "The sign-in service has a problem"},
		"make-slow":     {do: signIn, status: http.StatusServiceUnavailable, said: unreachable, slow: true},
		"make-nonce":    {do: signIn, status: http.StatusBadGateway, said: unverified},
		"make-expired":  {do: signIn, status: http.StatusBadGateway, said: unverified},
		"make-clock":    {do: signIn, status: http.StatusBadGateway, said: unverified, lasting: true},
		"make-down":     {do: signIn, status: http.StatusServiceUnavailable, said: unreachable, lasting: true},
		"make-userinfo": {signedIn: true, do: refresh, status: http.StatusBadGateway, said: "The profile could not be refreshed"},
		"make-refresh":  {signedIn: true, do: refresh, status: http.StatusOK, said: notVouched},
		"sign-out":      {signedIn: true, do: refresh, status: http.StatusOK, said: notVouched, atOnce: true},
		"sign-out-tell": {signedIn: true, do: refresh, status: http.StatusOK, said: "The sign-in service ended your session", atOnce: true},
	} {
		t.Run(button, func(t *testing.T) {
			t.Parallel()
			if tt.slow && testing.Short() {
				t.Skip("waits for a time limit")
			}
			a := startApp(t)
			await(t, "the provider is discovered", func() bool { return a.log.count("provider discovered") > 0 })
			v := a.visitor()
			if tt.signedIn {
				signIn(v)
			}
			bench := v.get(a.issuer + "/")
			if effect := effectOf(t, bench, button); !strings.Contains(effect, "“"+tt.said+"”") {
				t.Errorf("the button does not say %q: %s", tt.said, effect)
			}
			after := v.press(bench, button)
			if shown := trouble(t, after) != ""; shown == tt.atOnce {
				t.Errorf("the workbench shows the trouble %q", trouble(t, after))
			}
			got := tt.do(v)
			if got.StatusCode != tt.status || !strings.Contains(text(parse(t, got.body)), tt.said) {
				t.Errorf("the app answers %d, want %d and %q:\n%s", got.StatusCode, tt.status, tt.said, text(parse(t, got.body)))
			}
			bench = v.get(a.issuer + "/")
			if shown := trouble(t, bench) != ""; shown != tt.lasting {
				t.Errorf("the workbench shows the trouble %q afterwards", trouble(t, bench))
			}
			if tt.lasting {
				if stopped := v.press(bench, "stop-trouble"); trouble(t, stopped) != "" {
					t.Errorf("it does not stop: %s", trouble(t, stopped))
				}
			}
			someone := a.visitor()
			if good := signIn(someone); good.StatusCode != http.StatusOK || good.Request.URL.Path != "/dashboard" {
				t.Errorf("the next sign-in ends at %s with %d", good.Request.URL.Path, good.StatusCode)
			}
			if good := refresh(someone); good.StatusCode != http.StatusOK {
				t.Errorf("and the next refresh with %d", good.StatusCode)
			}
		})
	}
}

// TestTroubleThatNobodyNotices rotates the keys, and has userinfo fail during a sign-in.
func TestTroubleThatNobodyNotices(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	v := a.visitor()
	v.signIn("/login", ada)
	bench := v.get(a.issuer + "/")
	before := text(byID(parse(t, bench.body), "key-id"))
	for _, button := range []string{"make-keys", "make-userinfo"} {
		bench = v.press(bench, button)
		if got := a.visitor().signIn("/login", ada); got.Request.URL.Path != "/dashboard" {
			t.Errorf("after %s a sign-in ends at %s with %d", button, got.Request.URL.Path, got.StatusCode)
		}
	}
	if after := text(byID(parse(t, bench.body), "key-id")); after == before {
		t.Error("the keys have not been rotated")
	}
	if got := v.get("/dashboard"); got.StatusCode != http.StatusOK {
		t.Errorf("who was signed in gets %d", got.StatusCode)
	}
	if shown := trouble(t, v.get(a.issuer+"/")); shown != "" {
		t.Errorf("the workbench still shows %q", shown)
	}
}

// TestTroubleStopped makes all the trouble there is, sees it on each page of the provider,
// and stops it before anybody meets it.
func TestTroubleStopped(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	v := a.visitor()
	bench := v.get(a.issuer + "/")
	for n := range parse(t, bench.body).Descendants() {
		if n.Type == html.ElementNode && strings.HasPrefix(attribute(n, "id"), "make-") && attribute(n, "id") != "make-keys" {
			v.press(bench, attribute(n, "id"))
		}
	}
	shown := 0
	for n := range byID(parse(t, v.get(a.issuer+"/").body), "trouble").Descendants() {
		if n.Data == "li" {
			shown++
		}
	}
	if shown != 9 {
		t.Errorf("%d of 9 kinds of trouble are shown", shown)
	}
	if page := v.get(a.issuer + "/end_session"); trouble(t, page) == "" {
		t.Error("the other pages show no trouble")
	}
	v.press(v.get(a.issuer+"/"), "stop-trouble")
	if got := v.signIn("/login", ada); got.Request.URL.Path != "/dashboard" {
		t.Errorf("a sign-in ends at %s with %d", got.Request.URL.Path, got.StatusCode)
	}
}

// TestTroubleOfAnotherSite has a page of another site press the buttons.
func TestTroubleOfAnotherSite(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	v := a.visitor()
	for name, headers := range map[string][]string{
		"by Sec-Fetch-Site": {"Sec-Fetch-Site", "cross-site"},
		"by Origin":         {"Origin", "https://evil.example"},
		"the app's own":     {"Sec-Fetch-Site", "same-site", "Origin", a.url},
	} {
		for _, values := range []url.Values{{"make": {"deny"}}, {"stop": {"1"}}} {
			if got := v.direct(v.request(http.MethodPost, a.issuer+"/trouble", values, headers...)); got.StatusCode != http.StatusForbidden {
				t.Errorf("%s: %v is answered with %d", name, values, got.StatusCode)
			}
		}
	}
	if got := v.direct(v.request(http.MethodGet, a.issuer+"/trouble?make=deny", nil)); got.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a link is answered with %d", got.StatusCode)
	}
	if got := v.direct(v.request(http.MethodPost, a.issuer+"/trouble", url.Values{"make": {"coffee"}}, "Sec-Fetch-Site", "same-origin")); got.StatusCode != http.StatusBadRequest {
		t.Errorf("unknown trouble is answered with %d", got.StatusCode)
	}
	if shown := trouble(t, v.get(a.issuer+"/")); shown != "" {
		t.Errorf("there is trouble: %s", shown)
	}
}

// TestSignInFromTheWorkbench follows the provider's link to the app.
func TestSignInFromTheWorkbench(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	v := a.visitor()
	link := byID(parse(t, v.get(a.issuer+"/").body), "sign-in-latchkey-development")
	if link == nil {
		t.Fatal("the workbench has no link to sign in")
	}
	if got := v.signIn(attribute(link, "href"), ada); got.Request.URL.Path != "/dashboard" {
		t.Errorf("it ends at %s with %d", got.Request.URL.Path, got.StatusCode)
	}
}

// effectOf is what the workbench says that a button does.
func effectOf(t *testing.T, bench answer, button string) string {
	t.Helper()
	root := parse(t, bench.body)
	n := byID(root, button)
	if n == nil {
		t.Fatalf("the workbench has no button %q:\n%s", button, bench.body)
	}
	return text(byID(root, attribute(n, "aria-describedby")))
}

// trouble is what a page of the provider says is wrong on purpose.
func trouble(t *testing.T, page answer) string {
	t.Helper()
	if n := byID(parse(t, page.body), "trouble"); n != nil {
		return text(n)
	}
	return ""
}

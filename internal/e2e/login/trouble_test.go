package login

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"latchkey/internal/apptest"
)

// TestTrouble presses each button of the development provider's workbench and checks that
// the app does what the button says. The next sign-in succeeds.
func TestTrouble(t *testing.T) {
	t.Parallel()
	signIn := func(v *apptest.Visitor) apptest.Answer { return v.SignIn("/login", apptest.Ada) }
	denied := func(v *apptest.Visitor) apptest.Answer { return v.Get("/login") } // the provider does not show the sign-in page
	refresh := func(v *apptest.Visitor) apptest.Answer { return v.Post("/profile/refresh", nil) }
	const (
		unverified    = "The sign-in could not be verified"
		unreachable   = "The sign-in service cannot be reached"
		notVouched    = "The sign-in service ended this session"
		misconfigured = "Sign-in isn't configured correctly"
	)
	signedRequests := []string{"REQUEST_OBJECT=on", "PUSHED_AUTHORIZATION_REQUESTS=always", "CLIENT_SIGNING_KEY=" + apptest.WritePKCS8(t, apptest.NewKey(t, "P-256"))}
	certificate, _, _ := withCertificate(t)
	for button, tt := range map[string]struct {
		signedIn bool // before the button is pressed
		do       func(*apptest.Visitor) apptest.Answer
		status   int
		said     string
		lasting  bool // active until cleared
		atOnce   bool // takes effect at once, and is not shown as active
		slow     bool
		env      []string // of the app
	}{
		"make-deny":        {do: denied, status: http.StatusForbidden, said: "You were not signed in"},
		"make-busy":        {do: denied, status: http.StatusServiceUnavailable, said: "The sign-in service has a problem"},
		"make-slow":        {do: signIn, status: http.StatusServiceUnavailable, said: unreachable, slow: true},
		"make-nonce":       {do: signIn, status: http.StatusBadGateway, said: unverified},
		"make-expired":     {do: signIn, status: http.StatusBadGateway, said: unverified},
		"make-clock":       {do: signIn, status: http.StatusBadGateway, said: unverified, lasting: true},
		"make-down":        {do: signIn, status: http.StatusServiceUnavailable, said: unreachable, lasting: true},
		"make-bearer":      {do: signIn, status: http.StatusBadGateway, said: unverified, env: []string{"DPOP=on"}},
		"make-certificate": {do: signIn, status: http.StatusServiceUnavailable, said: misconfigured, env: certificate},
		"make-nonceloop":   {do: signIn, status: http.StatusBadGateway, said: unverified, lasting: true, env: []string{"DPOP=on"}},
		"make-userinfo":    {signedIn: true, do: refresh, status: http.StatusBadGateway, said: "The profile could not be refreshed"},
		"make-refresh":     {signedIn: true, do: refresh, status: http.StatusOK, said: notVouched},
		"sign-out":         {signedIn: true, do: refresh, status: http.StatusOK, said: notVouched, atOnce: true},
		"sign-out-tell":    {signedIn: true, do: refresh, status: http.StatusOK, said: "You signed out at the sign-in service, or its operator signed you out", atOnce: true},
		"make-state":       {do: signIn, status: http.StatusBadRequest, said: "This sign-in was not started here"},
		"make-response":    {do: signIn, status: http.StatusBadGateway, said: unverified, env: []string{"RESPONSE_MODE=jwt"}},
		"make-object":      {do: denied, status: http.StatusServiceUnavailable, said: unreachable, env: signedRequests},
	} {
		t.Run(button, func(t *testing.T) {
			t.Parallel()
			if tt.slow && testing.Short() {
				t.Skip("waits for a time limit")
			}
			a := apptest.Start(t, tt.env...)
			apptest.Eventually(t, "the provider is discovered", func() bool { return a.Log.Count("provider discovered") > 0 })
			v := a.Visitor()
			if tt.signedIn {
				signIn(v)
			}
			bench := v.Get(a.Issuer + "/")
			if effect := effectOf(t, bench, button); !strings.Contains(effect, "“"+tt.said+"”") {
				t.Errorf("the button does not say %q: %s", tt.said, effect)
			}
			after := v.Press(bench, button)
			if shown := trouble(t, after) != ""; shown == tt.atOnce {
				t.Errorf("the workbench shows the fault %q", trouble(t, after))
			}
			got := tt.do(v)
			if got.StatusCode != tt.status || !strings.Contains(apptest.Text(apptest.Parse(t, got.Body)), tt.said) {
				t.Errorf("the app answers %d, want %d and %q:\n%s", got.StatusCode, tt.status, tt.said, apptest.Text(apptest.Parse(t, got.Body)))
			}
			bench = v.Get(a.Issuer + "/")
			if shown := trouble(t, bench) != ""; shown != tt.lasting {
				t.Errorf("the workbench shows the fault %q afterwards", trouble(t, bench))
			}
			if tt.lasting {
				if stopped := v.Press(bench, "stop-trouble"); trouble(t, stopped) != "" {
					t.Errorf("the fault is not cleared: %s", trouble(t, stopped))
				}
			}
			someone := a.Visitor()
			if good := signIn(someone); good.StatusCode != http.StatusOK || good.Request.URL.Path != "/dashboard" {
				t.Errorf("the next sign-in ends at %s with %d", good.Request.URL.Path, good.StatusCode)
			}
			if good := refresh(someone); good.StatusCode != http.StatusOK {
				t.Errorf("the next refresh ends with %d", good.StatusCode)
			}
		})
	}
}

// TestSignedSignIn signs in to the development provider with what FAPI 2.0 wants signed, each with the
// client's key and together.
func TestSignedSignIn(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]string{"an RSA key": "RSA", "a P-256 key": "P-256", "an Ed25519 key": "Ed25519"} {
		key := "CLIENT_SIGNING_KEY=" + apptest.WritePKCS8(t, apptest.NewKey(t, kind))
		for what, env := range map[string][]string{
			"client assertions":         {"CLIENT_AUTH=private_key_jwt"},
			"request objects":           {"REQUEST_OBJECT=on"},
			"request objects by secret": {"REQUEST_OBJECT=on", "PUSHED_AUTHORIZATION_REQUESTS=always"},
			"all of it":                 {"CLIENT_AUTH=private_key_jwt", "REQUEST_OBJECT=on", "PUSHED_AUTHORIZATION_REQUESTS=always", "RESPONSE_MODE=jwt", "ID_TOKEN_ALG=PS256"},
			"FAPI 2.0":                  {"PROFILE=fapi2"},
			"FAPI 2.0 Message Signing":  {"PROFILE=fapi2-message-signing"},
		} {
			t.Run(what+" with "+name, func(t *testing.T) {
				t.Parallel()
				a := apptest.Start(t, append(env, key)...)
				v := a.Visitor()
				if got := v.SignIn("/profile", apptest.Ada); got.StatusCode != http.StatusOK || got.Request.URL.Path != "/profile" {
					t.Errorf("the sign-in ends at %s with %d\n%s", got.Request.URL.Path, got.StatusCode, a.Log)
				}
				if got := v.RefreshProfile(); got.StatusCode != http.StatusOK {
					t.Errorf("the refresh ends with %d\n%s", got.StatusCode, a.Log)
				}
			})
		}
	}
}

// TestTroubleThatNobodyNotices rotates the keys and the nonces, and makes userinfo fail during a sign-in.
func TestTroubleThatNobodyNotices(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t, "DPOP=on")
	v := a.Visitor()
	v.SignIn("/login", apptest.Ada)
	bench := v.Get(a.Issuer + "/")
	before := apptest.Text(apptest.ByID(apptest.Parse(t, bench.Body), "key-id"))
	for _, button := range []string{"make-keys", "make-nonces", "make-userinfo"} {
		bench = v.Press(bench, button)
		if got := a.Visitor().SignIn("/login", apptest.Ada); got.Request.URL.Path != "/dashboard" {
			t.Errorf("after %s a sign-in ends at %s with %d", button, got.Request.URL.Path, got.StatusCode)
		}
	}
	if after := apptest.Text(apptest.ByID(apptest.Parse(t, bench.Body), "key-id")); after == before {
		t.Error("the keys have not been rotated")
	}
	if got := v.Get("/dashboard"); got.StatusCode != http.StatusOK {
		t.Errorf("the person who was signed in gets %d", got.StatusCode)
	}
	v.Press(bench, "make-nonces")
	if got := v.Post("/profile/refresh", nil); got.StatusCode != http.StatusOK {
		t.Errorf("after the nonces have changed, a refresh ends with %d", got.StatusCode)
	}
	if shown := trouble(t, v.Get(a.Issuer+"/")); shown != "" {
		t.Errorf("the workbench still shows %q", shown)
	}
}

// TestTroubleStopped injects every fault, finds them on each page of the provider, and
// clears them before a sign-in.
func TestTroubleStopped(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	bench := v.Get(a.Issuer + "/")
	for n := range apptest.Parse(t, bench.Body).Descendants() {
		if n.Type == html.ElementNode && strings.HasPrefix(apptest.Attribute(n, "id"), "make-") && apptest.Attribute(n, "id") != "make-keys" {
			v.Press(bench, apptest.Attribute(n, "id"))
		}
	}
	shown := 0
	for n := range apptest.ByID(apptest.Parse(t, v.Get(a.Issuer+"/").Body), "trouble").Descendants() {
		if n.Data == "li" {
			shown++
		}
	}
	if shown != 15 {
		t.Errorf("%d of 15 faults are shown", shown)
	}
	if page := v.Get(a.Issuer + "/end_session"); trouble(t, page) == "" {
		t.Error("the other pages do not show the faults")
	}
	v.Press(v.Get(a.Issuer+"/"), "stop-trouble")
	if got := v.SignIn("/login", apptest.Ada); got.Request.URL.Path != "/dashboard" {
		t.Errorf("a sign-in ends at %s with %d", got.Request.URL.Path, got.StatusCode)
	}
}

// TestTroubleOfAnotherSite sends the workbench's forms from a page of another site.
func TestTroubleOfAnotherSite(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	for name, headers := range map[string][]string{
		"by Sec-Fetch-Site": {"Sec-Fetch-Site", "cross-site"},
		"by Origin":         {"Origin", "https://evil.example"},
		"the app's own":     {"Sec-Fetch-Site", "same-site", "Origin", a.URL},
	} {
		for _, values := range []url.Values{{"make": {"deny"}}, {"stop": {"1"}}} {
			if got := v.Direct(v.Request(http.MethodPost, a.Issuer+"/trouble", values, headers...)); got.StatusCode != http.StatusForbidden {
				t.Errorf("%s: %v is answered with %d", name, values, got.StatusCode)
			}
		}
	}
	if got := v.Direct(v.Request(http.MethodGet, a.Issuer+"/trouble?make=deny", nil)); got.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a link is answered with %d", got.StatusCode)
	}
	if got := v.Direct(v.Request(http.MethodPost, a.Issuer+"/trouble", url.Values{"make": {"coffee"}}, "Sec-Fetch-Site", "same-origin")); got.StatusCode != http.StatusBadRequest {
		t.Errorf("an unknown fault is answered with %d", got.StatusCode)
	}
	if shown := trouble(t, v.Get(a.Issuer+"/")); shown != "" {
		t.Errorf("a fault is active: %s", shown)
	}
}

// TestSignInFromTheWorkbench follows the provider's link to the app.
func TestSignInFromTheWorkbench(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	link := apptest.ByID(apptest.Parse(t, v.Get(a.Issuer+"/").Body), "sign-in-latchkey-development")
	if link == nil {
		t.Fatal("the workbench has no link to sign in")
	}
	if got := v.SignIn(apptest.Attribute(link, "href"), apptest.Ada); got.Request.URL.Path != "/dashboard" {
		t.Errorf("the sign-in ends at %s with %d", got.Request.URL.Path, got.StatusCode)
	}
}

// effectOf returns the effect that the workbench describes for a button.
func effectOf(t *testing.T, bench apptest.Answer, button string) string {
	t.Helper()
	root := apptest.Parse(t, bench.Body)
	n := apptest.ByID(root, button)
	if n == nil {
		t.Fatalf("the workbench has no button %q:\n%s", button, bench.Body)
	}
	return apptest.Text(apptest.ByID(root, apptest.Attribute(n, "aria-describedby")))
}

// trouble returns the active faults that a page of the provider shows, or "".
func trouble(t *testing.T, page apptest.Answer) string {
	t.Helper()
	if n := apptest.ByID(apptest.Parse(t, page.Body), "trouble"); n != nil {
		return apptest.Text(n)
	}
	return ""
}

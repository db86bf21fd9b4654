package login

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// choices returns the links of the page on which people choose a provider, and their texts.
func choices(t *testing.T, page apptest.Answer) (addresses, labels []string) {
	t.Helper()
	for n := range apptest.Parse(t, page.Body).Descendants() {
		if n.Type == html.ElementNode && n.Data == "a" && strings.Contains(apptest.Attribute(n, "href"), "provider=") {
			addresses = append(addresses, apptest.Attribute(n, "href"))
			labels = append(labels, strings.Join(strings.Fields(apptest.Text(n)), " "))
		}
	}
	return addresses, labels
}

// startThree runs the app beside three providers.
func startThree(t *testing.T, env ...string) *apptest.Several {
	t.Helper()
	ops := map[string]*scriptedop.Provider{"google": apptest.NewOP(t), "home": apptest.NewOP(t), "work": apptest.NewOP(t)}
	return apptest.StartSeveral(t, ops, append([]string{
		"GOOGLE_LABEL=Google", "HOME_LABEL=At home", "WORK_LABEL=<Work & more>", "WORK_EMAIL_DOMAINS=example.com,Example.org", "SESSION_STORE=memory",
	}, env...)...)
}

// TestChooseProvider opens a page that needs a sign-in, chooses a provider, and comes back to the page.
// The next time, that provider is the first.
func TestChooseProvider(t *testing.T) {
	t.Parallel()
	s := startThree(t)
	v := s.Visitor()
	page := v.Get("/profile?tab=1")
	apptest.CheckHeaders(t, "the page to choose on", page)
	addresses, labels := choices(t, page)
	if want := []string{"Google", "At home", "<Work & more>"}; page.StatusCode != http.StatusOK || !slices.Equal(labels, want) {
		t.Fatalf("answered %d with %q, want %q", page.StatusCode, labels, want)
	}
	for _, name := range []string{"google", "home", "work"} {
		if n := s.OPs[name].Calls(scriptedop.Authorize); n != 0 {
			t.Errorf("%s was asked %d times before anyone chose it", name, n)
		}
	}
	end := v.Get(addresses[1])
	if end.Request.URL.RequestURI() != "/profile?tab=1" || end.StatusCode != http.StatusOK || s.OPs["home"].Calls(scriptedop.Token) != 1 {
		t.Fatalf("the sign-in ends at %s with %d\n%s", end.Request.URL, end.StatusCode, s.Log)
	}
	v.Post("/logout", nil)
	if _, labels = choices(t, v.Get("/login")); !slices.Equal(labels, []string{"At home Used last on this device", "Google", "<Work & more>"}) {
		t.Errorf("after a sign-in the choices are %q", labels)
	}
	if german := v.Get("/login", "Accept-Language", "de"); !strings.Contains(german.Body, "Wo möchten Sie sich anmelden?") || !strings.Contains(german.Body, "zuletzt benutzt") {
		t.Errorf("the German page:\n%s", german.Body)
	}
}

// TestProviderIsPicked starts sign-ins that say which provider they are for, and others that do not.
func TestProviderIsPicked(t *testing.T) {
	t.Parallel()
	s := startThree(t)
	const page = "" // the person has to choose
	signedIn := func(v *apptest.Visitor) { s.SignIn(v, "home") }
	last := func(value string) func(v *apptest.Visitor) {
		return func(v *apptest.Visitor) {
			u, _ := url.Parse(s.URL)
			v.Client.Jar.SetCookies(u, []*http.Cookie{{Name: s.CookieName("provider"), Value: value, Path: "/"}})
		}
	}
	for name, tt := range map[string]struct {
		before func(*apptest.Visitor)
		query  url.Values
		want   string
	}{
		"nothing":                           {nil, nil, page},
		"a name":                            {nil, url.Values{"provider": {"work"}}, "work"},
		"an unknown name":                   {nil, url.Values{"provider": {"gone"}}, page},
		"a name in capitals":                {nil, url.Values{"provider": {"WORK"}}, page},
		"an empty name":                     {nil, url.Values{"provider": {""}}, page},
		"an address of a domain":            {nil, url.Values{"login_hint": {"ada@example.com"}}, "work"},
		"an address in capitals":            {nil, url.Values{"login_hint": {"Ada@EXAMPLE.ORG"}}, "work"},
		"an address of another domain":      {nil, url.Values{"login_hint": {"ada@other.example"}}, page},
		"an address of a subdomain":         {nil, url.Values{"login_hint": {"ada@evil.example.com"}}, page},
		"an address with two signs":         {nil, url.Values{"login_hint": {"ada@example.com@other.example"}}, page},
		"a name and an address":             {nil, url.Values{"provider": {"home"}, "login_hint": {"ada@example.com"}}, "home"},
		"an issuer":                         {nil, url.Values{"iss": {s.OPs["google"].Issuer}}, "google"},
		"a session":                         {signedIn, nil, "home"},
		"a session, and another account":    {signedIn, url.Values{"switch": {"1"}}, page},
		"a session, and another provider":   {signedIn, url.Values{"provider": {"work"}}, "work"},
		"a sign-in before":                  {last("work"), nil, page},
		"a cookie with an unknown provider": {last("gone"), nil, page},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := s.Visitor()
			if tt.before != nil {
				tt.before(v)
			}
			got := v.Direct(v.Request(http.MethodGet, "/login?"+tt.query.Encode(), nil))
			if tt.want == page {
				if addresses, _ := choices(t, got); got.StatusCode != http.StatusOK || len(addresses) != 3 {
					t.Errorf("answered %d, with the choices %q", got.StatusCode, addresses)
				}
				return
			}
			if location := got.Header.Get("Location"); !strings.HasPrefix(location, s.OPs[tt.want].URL(scriptedop.Authorize)) || !strings.Contains(location, url.QueryEscape(s.URL+"/callback/"+tt.want)) {
				t.Errorf("leads to %q, want %s", location, tt.want)
			}
		})
	}
	v := s.Visitor()
	if got := v.Direct(v.Request(http.MethodGet, "/login", nil, "Sec-Purpose", "prefetch")); got.StatusCode != http.StatusBadRequest {
		t.Errorf("a prefetch of the page is answered %d", got.StatusCode)
	}
	if got := v.Direct(v.Request(http.MethodGet, "/callback?state=x&code=y", nil)); got.StatusCode != http.StatusNotFound {
		t.Errorf("the callback of no provider answers %d", got.StatusCode)
	}
}

// TestSessionStaysWithItsProvider uses a session for all that a provider is asked for: only its own one
// hears of it.
func TestSessionStaysWithItsProvider(t *testing.T) {
	t.Parallel()
	s := startThree(t)
	v := s.Visitor()
	dashboard := s.SignIn(v, "work")
	if card := v.RefreshProfile(); card.StatusCode != http.StatusOK {
		t.Errorf("the profile is refreshed with %d", card.StatusCode)
	}
	out := v.Direct(v.Submission(dashboard, "qsLogoutBtn"))
	if !strings.HasPrefix(out.Next(), s.OPs["work"].URL(scriptedop.EndSession)) {
		t.Errorf("signing out leads to %q", out.Next())
	}
	work := s.OPs["work"]
	if n := work.Calls(scriptedop.Revoke); n != 1 {
		t.Errorf("work was asked %d times to revoke", n)
	}
	for _, name := range []string{"google", "home"} {
		for _, e := range []scriptedop.Endpoint{scriptedop.Authorize, scriptedop.Token, scriptedop.UserInfo, scriptedop.Revoke, scriptedop.EndSession} {
			if n := s.OPs[name].Calls(e); n > 0 {
				t.Errorf("%s was asked %d times at %s", name, n, e)
			}
		}
	}
}

// TestStepUpAtTheSessionsProvider demands a recent sign-in of a person whose sign-in is old.
func TestStepUpAtTheSessionsProvider(t *testing.T) {
	t.Parallel()
	s := startThree(t)
	s.OPs["home"].EditIDToken(func(token *scriptedop.JWT) { token.Claims["auth_time"] = time.Now().Add(-time.Hour).Unix() })
	v := s.Visitor()
	s.SignIn(v, "home")
	got := v.Direct(v.Request(http.MethodPost, "/sessions/end-others", url.Values{}))
	resume := got.Next()
	if resume == "" {
		t.Fatalf("answered %d\n%s", got.StatusCode, got.Body)
	}
	if to := s.Follow(v, resume); !strings.HasPrefix(to, s.OPs["home"].URL(scriptedop.Authorize)) || !strings.Contains(to, "max_age=") {
		t.Errorf("the step-up leads to %q", to)
	}
}

// TestOneProviderIsDown starts the app while one of two providers is down: the others' people sign in,
// and its button says so.
func TestOneProviderIsDown(t *testing.T) {
	t.Parallel()
	ops := map[string]*scriptedop.Provider{"work": apptest.NewOP(t), "down": apptest.NewOP(t)}
	ops["down"].Answer(scriptedop.Discovery, scriptedop.Body(http.StatusServiceUnavailable, "text/plain", "down"))
	a := apptest.Start(t, append(apptest.EnvOf(ops), "OPS_ADDR=127.0.0.1:0", "SESSION_STORE=memory", "DOWN_LABEL=Down", "WORK_LABEL=Work")...)
	s := &apptest.Several{App: a, OPs: ops}
	a.Await("/readyz", http.StatusOK)
	v := a.Visitor()
	if ready := v.Get("/readyz").Body; !strings.Contains(ready, `"provider":"ok"`) || !strings.Contains(ready, `"provider down":"provider_unreachable"`) || !strings.Contains(ready, `"provider work":"ok"`) {
		t.Errorf("the readiness is %s", ready)
	}
	addresses, labels := choices(t, v.Get("/login"))
	if len(labels) != 2 || labels[0] != "Down May not work right now: it is not responding" || labels[1] != "Work" {
		t.Fatalf("the choices are %q", labels)
	}
	if strings.Contains(v.Get("/").Body, "Sign-in may not work right now") {
		t.Error("the home page says that sign-in does not work")
	}
	s.SignIn(v, "work")
	if got := a.Visitor().Get(addresses[0]); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the provider that is down is chosen with %d", got.StatusCode)
	}
	samples := a.Operators().Metrics()
	for name, want := range map[string]float64{
		`latchkey_ready{check="provider"}`:                                                                   1,
		`latchkey_provider_ready{provider="work"}`:                                                           1,
		`latchkey_provider_ready{provider="down"}`:                                                           0,
		`latchkey_sign_ins_completed_total{provider="work"}`:                                                 1,
		`latchkey_sign_ins_completed_total{provider="down"}`:                                                 0,
		`latchkey_sign_ins_failed_total{provider="down",reason="provider_unreachable"}`:                      1,
		`latchkey_provider_call_duration_seconds_count{provider="work",endpoint="token",outcome="answered"}`: 1,
	} {
		if got, ok := samples[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	ops["down"].Answer(scriptedop.Discovery, nil)
	apptest.Eventually(t, "the provider is usable again", func() bool {
		_, labels := choices(t, a.Visitor().Get("/login"))
		return slices.Equal(labels, []string{"Down", "Work"})
	})
	s.SignIn(a.Visitor(), "down")
}

// TestAccessTokensOfSeveralProviders calls the API with tokens of two providers, each for its own
// audience.
func TestAccessTokensOfSeveralProviders(t *testing.T) {
	t.Parallel()
	s := startThree(t, "WORK_AUDIENCE=https://work.example", "HOME_AUDIENCE=https://home.example")
	call := func(token *scriptedop.JWT) int {
		return s.Visitor().Get("/api/me", "Authorization", "Bearer "+token.Compact()).StatusCode
	}
	for name, want := range map[string]int{"work": http.StatusOK, "home": http.StatusOK, "google": http.StatusUnauthorized} {
		if got := call(s.OPs[name].AccessToken("https://" + name + ".example")); got != want {
			t.Errorf("a token of %s is answered %d, want %d", name, got, want)
		}
	}
	mixed := s.OPs["work"].AccessToken("https://work.example")
	mixed.Claims["iss"] = s.OPs["home"].Issuer
	if got := call(mixed); got != http.StatusUnauthorized {
		t.Errorf("a token of work in the name of home is answered %d", got)
	}
	if got := call(s.OPs["work"].AccessToken("https://home.example")); got != http.StatusUnauthorized {
		t.Errorf("a token of work for home's audience is answered %d", got)
	}
}

// TestOneNamedProvider has one provider with a name, so that a second one changes nothing for it: there
// is nothing to choose.
func TestOneNamedProvider(t *testing.T) {
	t.Parallel()
	s := apptest.StartSeveral(t, map[string]*scriptedop.Provider{"work": apptest.NewOP(t)}, "SESSION_STORE=memory")
	v := s.Visitor()
	if to := s.Follow(v, "/login"); !strings.HasPrefix(to, s.OPs["work"].URL(scriptedop.Authorize)) || !strings.Contains(to, url.QueryEscape(s.URL+"/callback/work")) {
		t.Errorf("/login leads to %q", to)
	}
	if end := v.Get("/dashboard"); end.StatusCode != http.StatusOK || end.Request.URL.Path != "/dashboard" {
		t.Errorf("the sign-in ends at %s with %d", end.Request.URL, end.StatusCode)
	}
}

// TestTwoDevelopmentProviders runs the app with names alone: each has a development provider.
func TestTwoDevelopmentProviders(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t, "PROVIDERS=work,home", "SESSION_STORE=memory")
	v := a.Visitor()
	addresses, labels := choices(t, v.Get("/login?return_to=/profile"))
	if !slices.Equal(labels, []string{"work", "home"}) {
		apptest.Eventually(t, "both are discovered", func() bool {
			addresses, labels = choices(t, v.Get("/login?return_to=/profile"))
			return slices.Equal(labels, []string{"work", "home"})
		})
	}
	issuers := a.Issuers()
	for i, address := range addresses {
		v := a.Visitor()
		page := v.Get(address)
		if !strings.HasPrefix(page.Request.URL.String(), issuers[i]) {
			t.Fatalf("%s leads to %s, want %s", labels[i], page.Request.URL, issuers[i])
		}
		if end := v.Press(page, "person-"+apptest.Ada); end.Request.URL.Path != "/profile" {
			t.Errorf("the sign-in at %s ends at %s with %d", labels[i], end.Request.URL, end.StatusCode)
		}
	}
}

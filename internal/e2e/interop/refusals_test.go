package interop

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// refuse makes the provider answer authorization requests with an error.
func refuse(op *scriptedop.Provider, code, description string) {
	op.Edit(scriptedop.Authorize, func(response map[string]any) {
		delete(response, "code")
		maps.Copy(response, map[string]any{"error": code, "error_description": description})
	})
}

// TestRefusals (CB-09) sends the errors of real providers. The page says whose turn it is, the log says
// what the provider said, and the person can choose another account if the account was refused.
func TestRefusals(t *testing.T) {
	t.Parallel()
	const (
		person, request = http.StatusForbidden, http.StatusBadGateway
		info, warn      = "INFO", "WARN"
		chosen          = "login" // the prompt of a provider that does not announce select_account
	)
	for name, tt := range map[string]struct {
		code, description string
		status            int
		level, prompt     string
	}{
		"the standard":           {"access_denied", "", person, info, chosen},
		"Auth0, a rule":          {"access_denied", "Only staff may sign in.", person, info, chosen},
		"Auth0, blocked":         {"unauthorized", "user is blocked", person, info, chosen},
		"Apple, cancelled":       {"user_cancelled_authorize", "", person, info, chosen},
		"LinkedIn, cancelled":    {"user_cancelled_login", "The user cancelled LinkedIn login", person, info, chosen},
		"another spelling":       {"LoginCanceled", "", person, info, chosen},
		"Entra, consent refused": {"access_denied", "AADSTS65004: User declined to consent to access the app.", person, info, chosen},
		"Azure B2C, cancelled":   {"access_denied", "AADB2C90091: The user has cancelled entering self-asserted information.\r\nCorrelation ID: 1\r\n", person, info, chosen},
		"an Entra code alone":    {"AADSTS50105", "The signed in user is not assigned to a role for the application.", person, warn, chosen},
		"Google Workspace":       {"admin_policy_enforced", "", person, warn, chosen},
		"Entra, no consent yet":  {"interaction_required", "AADSTS65001: The user or administrator has not consented.", http.StatusBadRequest, info, ""},
		"Entra, another client":  {"unauthorized_client", "AADSTS700016: Application was not found in the directory.", request, "ERROR", ""},
		"Entra, another API":     {"invalid_resource", "AADSTS500011: The resource principal was not found.", request, "ERROR", ""},
		"a scope":                {"invalid_scope", "Unknown scope: read:notes", request, "ERROR", ""},
		"later":                  {"temporarily_unavailable", "", http.StatusServiceUnavailable, warn, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apptest.StartScripted(t)
			refuse(s.OP, tt.code, tt.description)
			v := s.Visitor()
			got := v.Callback(v.AuthorizationResponse("/profile?tab=1"))
			s.WantRefused(v, got, tt.status, openid.ReasonDeclined, 0, 0)
			if strings.Contains(got.Body, tt.code) || (tt.description != "" && strings.Contains(got.Body, tt.description)) {
				t.Errorf("the page quotes the provider:\n%s", got.Body)
			}
			line := s.Logged("refused", "")[0]
			said, _, _ := strings.Cut(tt.description, "\r")
			if line["level"] != tt.level || line["code"] != tt.code || !strings.Contains(line["error"].(string), said) {
				t.Errorf("the log says %v", line)
			}
			again := apptest.Link(t, got, "Try again")
			if prompt := apptest.Query(t, v.AuthorizationRequest(again)).Get("prompt"); prompt != tt.prompt {
				t.Errorf("trying again has the prompt %q, want %q", prompt, tt.prompt)
			}
			s.OP.Edit(scriptedop.Authorize, nil)
			if end := v.Get(again); end.Request.URL.RequestURI() != "/profile?tab=1" {
				t.Errorf("trying again ends at %s", end.Request.URL)
			}
		})
	}
	t.Run("a provider that announces select_account", func(t *testing.T) {
		t.Parallel()
		op := apptest.NewOP(t)
		op.Edit(scriptedop.Discovery, func(m map[string]any) { m["prompt_values_supported"] = []string{"login", "select_account"} })
		s := apptest.StartBeside(t, op)
		s.Await("/readyz", http.StatusOK)
		refuse(s.OP, "access_denied", "")
		v := s.Visitor()
		got := v.Callback(v.AuthorizationResponse("/login"))
		if prompt := apptest.Query(t, v.AuthorizationRequest(apptest.Link(t, got, "Try again"))).Get("prompt"); prompt != "select_account" {
			t.Errorf("the prompt is %q", prompt)
		}
	})
}

// TestTokenRefusals (SL-01) checks that the log has the error of the token endpoint and that of a pushed
// request, and no secret that the provider repeats in it.
func TestTokenRefusals(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		endpoint scriptedop.Endpoint
		env      []string
		repeat   string // a parameter
		reason   openid.Reason
	}{
		"the token endpoint":  {scriptedop.Token, nil, "code", openid.ReasonTokenRequestFailed},
		"the verifier":        {scriptedop.Token, nil, "code_verifier", openid.ReasonTokenRequestFailed},
		"the client's secret": {scriptedop.Token, []string{"CLIENT_AUTH=client_secret_post"}, "client_secret", openid.ReasonTokenRequestFailed},
		"a pushed request":    {scriptedop.PAR, []string{"PUSHED_AUTHORIZATION_REQUESTS=always"}, "state", openid.ReasonProviderUnreachable},
		"its nonce":           {scriptedop.PAR, []string{"PUSHED_AUTHORIZATION_REQUESTS=always"}, "nonce", openid.ReasonProviderUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apptest.StartScripted(t, tt.env...)
			s.OP.Answer(tt.endpoint, func(w http.ResponseWriter, r *http.Request) {
				scriptedop.JSON(http.StatusBadRequest, map[string]any{
					"error": "invalid_thing", "error_description": "AADSTS70000: " + r.PostForm.Get(tt.repeat) + " is not valid",
				})(w, r)
			})
			v := s.Visitor()
			got := v.Get("/login")
			lines := s.Logged("refused", "")
			if len(lines) != 1 || lines[0]["reason"] != string(tt.reason) || lines[0]["code"] != "invalid_thing" ||
				!strings.Contains(lines[0]["error"].(string), "(invalid_thing: AADSTS70000: [hidden] is not valid)") {
				t.Errorf("the log says %v", lines)
			}
			s.WantNoSession(v, got)
			s.WantNoSecrets(got)
			if strings.Contains(got.Body, "AADSTS") {
				t.Errorf("the page quotes the provider:\n%s", got.Body)
			}
		})
	}
}

// TestKeycloakStartsOver (CB-21) sends what Keycloak sends for a tab that the browser has restored, after
// the person has signed in at Keycloak in another tab.
func TestKeycloakStartsOver(t *testing.T) {
	t.Parallel()
	const code, description = "temporarily_unavailable", "authentication_expired"
	again := func(t *testing.T, got apptest.Answer) {
		t.Helper()
		if location := got.Header.Get("Location"); location != "/login?again=1&return_to=%2Fprofile" {
			t.Fatalf("answered %d to %q\n%s", got.StatusCode, location, got.Body)
		}
	}
	t.Run("it starts once more, and no more", func(t *testing.T) {
		t.Parallel()
		s := apptest.StartScripted(t)
		refuse(s.OP, code, description)
		v := s.Visitor()
		again(t, v.Callback(v.AuthorizationResponse("/profile")))
		got := v.Get("/login?again=1&return_to=%2Fprofile")
		s.WantRefused(v, got, http.StatusServiceUnavailable, openid.ReasonDeclined, 0, 0)
		s.OP.Edit(scriptedop.Authorize, nil)
		if end := v.Get(apptest.Link(t, got, "Try again")); end.Request.URL.Path != "/profile" {
			t.Errorf("trying again ends at %s", end.Request.URL)
		}
	})
	t.Run("the person sees nothing of it", func(t *testing.T) {
		t.Parallel()
		s := apptest.StartScripted(t)
		s.OP.Answer(scriptedop.Authorize, scriptedop.InTurn(func(w http.ResponseWriter, r *http.Request) {
			response := url.Values{"error": {code}, "error_description": {description}, "state": {r.Form.Get("state")}, "iss": {s.OP.Issuer}}
			http.Redirect(w, r, r.Form.Get("redirect_uri")+"?"+response.Encode(), http.StatusSeeOther)
		}, s.OP.Correct(scriptedop.Authorize)))
		if end := s.Visitor().Get("/profile"); end.StatusCode != http.StatusOK || end.Request.URL.Path != "/profile" {
			t.Errorf("the sign-in ends at %s with %d", end.Request.URL, end.StatusCode)
		}
	})
	t.Run("after its cookie has gone", func(t *testing.T) {
		t.Parallel()
		s := apptest.StartScripted(t)
		refuse(s.OP, code, description)
		address := s.Visitor().AuthorizationResponse("/profile")
		again(t, s.Visitor().Callback(address))
	})
	t.Run("the person has signed in meanwhile", func(t *testing.T) {
		t.Parallel()
		s := apptest.StartScripted(t)
		v := s.Visitor()
		refuse(s.OP, code, description)
		address := v.AuthorizationResponse("/profile")
		s.OP.Edit(scriptedop.Authorize, nil)
		s.SignIn(v)
		if got := v.Callback(address); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/profile" {
			t.Errorf("answered %d to %q", got.StatusCode, got.Header.Get("Location"))
		}
	})
	for name, other := range map[string][2]string{
		"another code":        {"access_denied", description},
		"another description": {code, "maintenance"},
		"no description":      {code, ""},
	} {
		t.Run("not for "+name, func(t *testing.T) {
			t.Parallel()
			s := apptest.StartScripted(t)
			refuse(s.OP, other[0], other[1])
			v := s.Visitor()
			if got := v.Callback(v.AuthorizationResponse("/profile")); got.StatusCode < 400 {
				t.Errorf("answered %d to %q", got.StatusCode, got.Header.Get("Location"))
			}
		})
	}
	t.Run("not from another issuer", func(t *testing.T) {
		t.Parallel()
		s := apptest.StartScripted(t)
		refuse(s.OP, code, description)
		v := s.Visitor()
		got := v.Callback(apptest.WithQuery(t, v.AuthorizationResponse("/profile"), func(q url.Values) { q.Set("iss", "https://evil.example") }))
		s.WantRefused(v, got, http.StatusBadGateway, openid.ReasonIssuerMismatch, 0, 0)
	})
}

// TestUnusualReturnPaths (HB-20) signs in on the way to pages whose addresses are unusual, by a link to the page
// and by one to the sign-in page.
func TestUnusualReturnPaths(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	long := "/profile?filter=" + strings.Repeat("a", 1900)
	for _, page := range []string{
		"/profile?q=my%20file", "/profile?next=//a//b", `/profile?q=\d%5C`, "/profile?q=%E3%80%80%C2%A0", long,
		"/notes/my%20file", "/notes/a//b", "/wiki/https://example.org/a%20b", "/notes/100%25", "/notes/caf%E9", "/notes/" + strings.Repeat("%20", 600),
	} {
		v := s.Visitor()
		from := "/login?" + url.Values{"return_to": {page}}.Encode()
		if strings.HasPrefix(page, "/profile") {
			from = page
		}
		s.WantSignedIn(v, v.Callback(v.AuthorizationResponse(from)), "alice", page)
	}
	// A link that someone wrote by hand.
	v := s.Visitor()
	s.WantSignedIn(v, v.Callback(v.AuthorizationResponse("/login?return_to=/notes/my%20file")), "alice", "/notes/my%20file")

	for _, elsewhere := range []string{
		"//evil.example/my%20file", `/\evil.example//a`, "/\t/evil.example/a%20b", "/%2Fevil.example//a", `/%5Cevil.example`, "/.//evil.example",
		"/a/..//evil.example", "https://evil.example/" + strings.Repeat("a", 1900), long + strings.Repeat("a", 200),
	} {
		v := s.Visitor()
		s.WantSignedIn(v, v.Callback(v.AuthorizationResponse("/login?"+url.Values{"return_to": {elsewhere}}.Encode())), "alice", "/dashboard")
	}
}

// TestLostTransaction (AR-08, CB-02) finishes sign-ins without the cookie that they began with. Nobody is signed
// in by such a response, and the sign-in that starts over leads to the page that was requested.
func TestLostTransaction(t *testing.T) {
	t.Parallel()
	t.Run("an office program opened the link first", func(t *testing.T) {
		t.Parallel()
		a := apptest.Start(t)
		program, browser := a.Visitor(), a.Visitor()
		page := browser.Get(program.AuthorizationRequest("/profile?tab=1"))
		if end := browser.Press(page, "person-"+apptest.Ada); end.StatusCode != http.StatusOK || end.Request.URL.RequestURI() != "/profile?tab=1" {
			t.Errorf("the sign-in ends at %s with %d", end.Request.URL, end.StatusCode)
		}
		if program.SignedIn() {
			t.Error("the program is signed in")
		}
		if lines := a.Logged("sign-in started again", ""); len(lines) != 1 || lines[0]["reason"] != string(authn.ReasonTransactionMissing) {
			t.Errorf("the log says %v", lines)
		}
	})
	t.Run("and the person is signed in already", func(t *testing.T) {
		t.Parallel()
		s := apptest.StartScripted(t)
		v := s.Visitor()
		s.SignIn(v)
		if end := v.Get(s.Visitor().AuthorizationRequest("/profile?tab=1")); end.Request.URL.RequestURI() != "/profile?tab=1" {
			t.Errorf("the link ends at %s", end.Request.URL)
		}
	})
	t.Run("the person sees a page", func(t *testing.T) {
		t.Parallel()
		s := apptest.StartScripted(t)
		for name, spoil := range map[string]func(*apptest.Visitor, string) string{
			"a restart before": func(v *apptest.Visitor, address string) string { v.Callback(address); return address },
			"a refusal": func(_ *apptest.Visitor, address string) string {
				return apptest.WithQuery(t, address, func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") })
			},
		} {
			v := s.Visitor()
			got := v.Callback(spoil(v, s.Visitor().AuthorizationResponse("/profile?tab=1")))
			s.WantRefused(v, got, http.StatusBadRequest, authn.ReasonTransactionMissing, 0, 0)
			if link := apptest.Link(t, got, "Try again"); link != "/login?return_to=%2Fprofile%3Ftab%3D1" {
				t.Errorf("%s: trying again leads to %s", name, link)
			}
		}
	})
	t.Run("the browser keeps no cookies", func(t *testing.T) {
		t.Parallel()
		s := apptest.StartScripted(t)
		v := s.Visitor()
		v.Client.Jar = nil
		got := v.Get("/profile?tab=1")
		if link := apptest.Link(t, got, "Try again"); !strings.Contains(got.Body, "Cookies are blocked") || link != "/login?return_to=%2Fprofile%3Ftab%3D1" {
			t.Errorf("answered %d, and trying again leads to %s", got.StatusCode, link)
		}
		s.WantCalls(0, 0)
	})
	t.Run("a state that was changed", func(t *testing.T) {
		t.Parallel()
		s := apptest.StartScripted(t)
		v := s.Visitor()
		address := v.AuthorizationResponse("/profile?tab=1")
		state := apptest.Query(t, address).Get("state")
		others := apptest.Query(t, s.Visitor().AuthorizationResponse("/admin")).Get("state")
		first := "A"
		if strings.HasPrefix(state, first) {
			first = "B"
		}
		spoilt := []string{state + "A", state + "AAAA", state[:len(state)-4], state[:43], state[:40] + others[40:], others[:40] + state[40:], first + state[1:]}
		for _, spoilt := range spoilt {
			stranger := s.Visitor()
			got := stranger.Callback(apptest.WithQuery(t, address, func(q url.Values) { q.Set("state", spoilt) }))
			if location := got.Header.Get("Location"); location != "/login?again=1&return_to=%2Fdashboard" {
				t.Errorf("%q is answered %d to %q", spoilt, got.StatusCode, location)
			}
		}
		s.WantCalls(0, 0)
		s.WantSignedIn(v, v.Callback(address), "alice", "/profile?tab=1")
	})
	t.Run("a long path is in the cookie alone", func(t *testing.T) {
		t.Parallel()
		s := apptest.StartScripted(t)
		page := "/profile?filter=" + strings.Repeat("a", 1900)
		v := s.Visitor()
		request := v.AuthorizationRequest(page)
		if len(request) > 2083 {
			t.Errorf("the authorization request has %d characters", len(request))
		}
		if medium := v.AuthorizationRequest(page[:512]); len(medium) > 2083 {
			t.Errorf("the authorization request has %d characters", len(medium))
		}
		if end := s.Visitor().Get(request); end.Request.URL.Path != "/dashboard" {
			t.Errorf("the sign-in ends at %s", end.Request.URL)
		}
	})
}

// TestSignOutTakesOneClick (LR-02) signs out by the button of every page, and by that of the page that a link
// to /logout opens. The link alone signs nobody out.
func TestSignOutTakesOneClick(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	for _, page := range []string{"/dashboard", "/", "/sessions", "/logout"} {
		v := s.Visitor()
		s.SignIn(v)
		shown := v.Get(page)
		if !v.SignedIn() {
			t.Errorf("a visit to %s signs out", page)
		}
		if v.Press(shown, "qsLogoutBtn"); v.SignedIn() {
			t.Errorf("the button of %s does not sign out", page)
		}
	}
	v := s.Visitor()
	s.SignIn(v)
	v.Do(v.Request(http.MethodPost, "/logout", url.Values{}, "Sec-Fetch-Site", "cross-site"))
	if !v.SignedIn() {
		t.Error("another site's form signs out")
	}
}

package login

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// mixUp is an app with an honest provider, work, and a hostile one, evil, which knows all that work's
// clients know.
type mixUp struct {
	*apptest.Several
	work, evil *scriptedop.Provider
}

// startMixUp starts both. Without iss, neither announces the parameter iss of RFC 9207 or sends it.
func startMixUp(t *testing.T, iss bool) *mixUp {
	t.Helper()
	m := &mixUp{work: apptest.NewOP(t), evil: apptest.NewOP(t)}
	for _, op := range []*scriptedop.Provider{m.work, m.evil} {
		if !iss {
			op.Edit(scriptedop.Discovery, func(m map[string]any) { delete(m, "authorization_response_iss_parameter_supported") })
			op.Edit(scriptedop.Authorize, func(response map[string]any) { delete(response, "iss") })
		}
	}
	m.Several = apptest.StartSeveral(t, map[string]*scriptedop.Provider{"work": m.work, "evil": m.evil}, "SESSION_STORE=memory")
	// As RFC 9700 section 4.1.3 demands, work redirects only to an address that is registered there.
	authorize := m.work.Correct(scriptedop.Authorize)
	m.work.Answer(scriptedop.Authorize, func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("redirect_uri") != m.URL+"/callback/work" {
			http.Error(w, "this address is not registered", http.StatusBadRequest)
			return
		}
		authorize(w, r)
	})
	return m
}

// atWork turns a request to evil into one to work, as evil does that answers with a redirect. change
// has the last word on the parameters.
func (m *mixUp) atWork(request string, change func(url.Values)) string {
	m.T.Helper()
	_, query, _ := strings.Cut(request, "?")
	return apptest.WithQuery(m.T, m.work.URL(scriptedop.Authorize)+"?"+query, change)
}

// wantNothingSent checks that no code has reached a token endpoint.
func (m *mixUp) wantNothingSent() {
	m.T.Helper()
	if work, evil := m.work.Calls(scriptedop.Token), m.evil.Calls(scriptedop.Token); work+evil > 0 {
		m.T.Errorf("a code has been sent: %d times to work, %d times to evil", work, evil)
	}
}

// TestMixUp (CB-24) mixes two providers up in each way of RFC 9700 section 4.4, with and without the parameter
// iss. Beside each attack, the same steps without it sign the person in.
func TestMixUp(t *testing.T) {
	t.Parallel()
	attacks := map[string]struct {
		// response returns where the browser is sent to; "" if work refuses already.
		response func(m *mixUp, v *apptest.Visitor, attack bool) string
		reason   string
	}{
		// Section 4.4.1: the person has chosen evil, which sends the browser on to work. Work's
		// response comes with the state of evil's transaction.
		"evil passes the request on to work": {func(m *mixUp, v *apptest.Visitor, attack bool) string {
			chosen := "evil"
			if !attack {
				chosen = "work"
			}
			return m.Follow(v, m.atWork(m.AuthorizationRequest(v, chosen), func(q url.Values) {
				q.Set("redirect_uri", m.URL+"/callback/work")
			}))
		}, "issuer_mismatch"},
		// The same, but the response should arrive where evil's do, so that evil gets the code.
		"evil passes the request on to work, with its own redirect URI": {func(m *mixUp, v *apptest.Visitor, attack bool) string {
			if !attack {
				return m.AuthorizationResponse(v, "work")
			}
			request := m.atWork(m.AuthorizationRequest(v, "evil"), func(url.Values) {})
			if got := v.Direct(v.Request(http.MethodGet, request, nil)); got.StatusCode != http.StatusBadRequest {
				m.T.Errorf("work redirects to %q", got.Header.Get("Location"))
			}
			return ""
		}, ""},
		"the response of work at evil's callback": {func(m *mixUp, v *apptest.Visitor, attack bool) string {
			response := m.AuthorizationResponse(v, "work")
			if attack {
				response = strings.Replace(response, "/callback/work", "/callback/evil", 1)
			}
			return response
		}, "issuer_mismatch"},
		"the response of evil at work's callback": {func(m *mixUp, v *apptest.Visitor, attack bool) string {
			response := m.AuthorizationResponse(v, "evil")
			if attack {
				response = strings.Replace(response, "/callback/evil", "/callback/work", 1)
			}
			return response
		}, "issuer_mismatch"},
		"an error of evil at work's callback": {func(m *mixUp, v *apptest.Visitor, attack bool) string {
			response := m.AuthorizationResponse(v, "evil")
			if attack {
				response = apptest.WithQuery(m.T, strings.Replace(response, "/callback/evil", "/callback/work", 1), func(q url.Values) {
					q.Del("code")
					q.Set("error", "access_denied")
				})
			}
			return response
		}, "issuer_mismatch"},
	}
	for name, tt := range attacks {
		for with, iss := range map[string]bool{"with iss": true, "without iss": false} {
			t.Run(name+", "+with, func(t *testing.T) {
				t.Parallel()
				m := startMixUp(t, iss)
				v := m.Visitor()
				if response := tt.response(m, v, true); response != "" {
					m.WantRefused(v, v.Callback(response), tt.reason)
				}
				m.wantNothingSent()
				honest := m.Visitor()
				if got := honest.Callback(tt.response(m, honest, false)); got.StatusCode != http.StatusSeeOther || !honest.SignedIn() {
					t.Errorf("without the attack, the callback answers %d\n%s", got.StatusCode, m.Log)
				}
			})
		}
	}
}

// TestMixUpByIssuer (CB-24) lets evil claim to be work, in its responses and in its tokens.
func TestMixUpByIssuer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		claim  func(m *mixUp)
		reason string
	}{
		"nothing":                        {func(*mixUp) {}, ""},
		"its response has work's iss":    {func(m *mixUp) { m.evil.Edit(scriptedop.Authorize, func(r map[string]any) { r["iss"] = m.work.Issuer }) }, "issuer_mismatch"},
		"its response has no iss":        {func(m *mixUp) { m.evil.Edit(scriptedop.Authorize, func(r map[string]any) { delete(r, "iss") }) }, "issuer_mismatch"},
		"its ID token has work's iss":    {func(m *mixUp) { m.evil.EditIDToken(func(t *scriptedop.JWT) { t.Claims["iss"] = m.work.Issuer }) }, "id_token_invalid"},
		"its ID token is signed by work": {func(m *mixUp) { m.evil.EditIDToken(func(t *scriptedop.JWT) { t.Key = m.work.LogoutToken().Key }) }, "id_token_invalid"},
		"its ID token is one of work's": {func(m *mixUp) {
			m.evil.EditIDToken(func(t *scriptedop.JWT) { t.Claims["iss"], t.Key = m.work.Issuer, m.work.LogoutToken().Key })
		}, "id_token_invalid"},
		"its ID token has work's subject": {func(m *mixUp) { m.work.SignInAs("alice") }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := startMixUp(t, true)
			tt.claim(m)
			v := m.Visitor()
			got := v.Callback(m.AuthorizationResponse(v, "evil"))
			if tt.reason != "" {
				m.WantRefused(v, got, tt.reason)
				return
			}
			if dashboard := v.Get("/dashboard"); !strings.Contains(dashboard.Body, m.evil.Issuer) || strings.Contains(dashboard.Body, m.work.Issuer) {
				t.Errorf("the person is not one of evil's: %d\n%s", dashboard.StatusCode, dashboard.Body)
			}
		})
	}
}

// TestCodeOfAnotherProvider (CB-24) injects a code of one provider into a sign-in at the other: where no iss
// tells, the token endpoint refuses it, and PKCE makes a code worthless to evil.
func TestCodeOfAnotherProvider(t *testing.T) {
	t.Parallel()
	m := startMixUp(t, false)
	code := func(response string) string {
		u, err := url.Parse(response)
		if err != nil {
			t.Fatal(err)
		}
		return u.Query().Get("code")
	}
	inject := func(v *apptest.Visitor, provider, code string) apptest.Answer {
		return v.Callback(apptest.WithQuery(t, m.AuthorizationResponse(v, provider), func(q url.Values) { q.Set("code", code) }))
	}
	v := m.Visitor()
	m.WantRefused(v, inject(v, "work", code(m.AuthorizationResponse(m.Visitor(), "evil"))), "token_request_failed")

	stolen := code(m.AuthorizationResponse(m.Visitor(), "work"))
	v = m.Visitor()
	m.WantRefused(v, inject(v, "evil", stolen), "token_request_failed")
	sent := m.evil.Last(scriptedop.Token).Form
	if sent.Get("code") != stolen {
		t.Fatalf("evil got %q", sent)
	}
	// Evil knows the client's secret at work and redeems what it has got.
	sent.Set("redirect_uri", m.URL+"/callback/work")
	req := v.Request(http.MethodPost, m.work.URL(scriptedop.Token), sent)
	req.SetBasicAuth(url.QueryEscape(m.work.ClientID), url.QueryEscape(m.work.ClientSecret))
	if got := v.Direct(req); got.StatusCode != http.StatusBadRequest {
		t.Errorf("work answers evil %d %s", got.StatusCode, got.Body)
	}
	own := m.Visitor()
	if m.SignIn(own, "work"); !own.SignedIn() {
		t.Error("work's own code does not sign in")
	}
}

// TestLogoutTokenOfAnotherProvider (SE-19) sends logout tokens of evil for a person of work. The subject and the
// session have the same names at both.
func TestLogoutTokenOfAnotherProvider(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		token    func(m *mixUp, sub, sid any) *scriptedop.JWT
		status   int
		signedIn bool
	}{
		"of work": {func(m *mixUp, _, _ any) *scriptedop.JWT { return m.work.LogoutToken() }, http.StatusOK, false},
		"of evil, for its own person of this name": {func(m *mixUp, sub, sid any) *scriptedop.JWT {
			token := m.evil.LogoutToken()
			token.Claims["sub"], token.Claims["sid"] = sub, sid
			return token
		}, http.StatusOK, true},
		"of evil, for all of that person's sessions": {func(m *mixUp, sub, _ any) *scriptedop.JWT {
			token := m.evil.LogoutToken()
			token.Claims["sub"] = sub
			delete(token.Claims, "sid")
			return token
		}, http.StatusOK, true},
		"of evil, in the name of work": {func(m *mixUp, sub, sid any) *scriptedop.JWT {
			token := m.evil.LogoutToken()
			token.Claims["iss"], token.Claims["sub"], token.Claims["sid"] = m.work.Issuer, sub, sid
			return token
		}, http.StatusBadRequest, true},
		"of nobody": {func(m *mixUp, sub, sid any) *scriptedop.JWT {
			token := m.work.LogoutToken()
			token.Claims["iss"] = "https://nobody.example"
			return token
		}, http.StatusBadRequest, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := startMixUp(t, true)
			v := m.Visitor()
			m.SignIn(v, "work")
			own := m.work.LogoutToken().Claims
			token := tt.token(m, own["sub"], own["sid"]).Compact()
			got := m.Visitor().Send("/backchannel-logout", apptest.FormType, url.Values{"logout_token": {token}}.Encode())
			if got.StatusCode != tt.status || v.SignedIn() != tt.signedIn {
				t.Errorf("answered %d, and the person is signed in: %t", got.StatusCode, v.SignedIn())
			}
		})
	}
}

// TestSameSubject (SE-19) signs in two people who have the same subject at two providers.
func TestSameSubject(t *testing.T) {
	t.Parallel()
	m := startMixUp(t, true)
	here, there := m.Visitor(), m.Visitor()
	m.SignIn(here, "work")
	m.SignIn(there, "evil")
	people := make(map[any]bool)
	for _, line := range m.Logged("signed in", "") {
		people[line["person"]] = true
	}
	if len(people) != 2 {
		t.Errorf("the log has %d people, want 2", len(people))
	}
	if list := here.Get("/sessions"); strings.Count(list.Body, `class="device"`) != 1 {
		t.Errorf("the list shows the other person's device:\n%s", list.Body)
	}
	if got := here.Post("/sessions/end-others", nil); got.StatusCode != http.StatusOK || !there.SignedIn() {
		t.Errorf("ending the other devices is answered %d, and the other person is signed in: %t", got.StatusCode, there.SignedIn())
	}
}

// TestRemovedProvider (SE-19) restarts the app without one of its providers: that one's sessions do not open.
func TestRemovedProvider(t *testing.T) {
	t.Parallel()
	ops := map[string]*scriptedop.Provider{"work": apptest.NewOP(t), "gone": apptest.NewOP(t)}
	dir, port := "DATA_DIR="+t.TempDir(), "PORT="+apptest.FreePort(t)
	before := apptest.StartSeveral(t, ops, dir, port)
	stays, leaves := before.Visitor(), before.Visitor()
	before.SignIn(stays, "work")
	before.SignIn(leaves, "gone")
	if err := before.Stop(); err != nil {
		t.Fatal(err)
	}
	delete(ops, "gone")
	apptest.StartSeveral(t, ops, dir, port)
	if !stays.SignedIn() {
		t.Error("the session of a configured provider does not open")
	}
	if got := leaves.Direct(leaves.Request(http.MethodGet, "/dashboard", nil)); got.StatusCode != http.StatusSeeOther || !strings.HasPrefix(got.Next(), "/login") {
		t.Errorf("with the session of a removed provider, the dashboard answers %d to %q", got.StatusCode, got.Next())
	}
}

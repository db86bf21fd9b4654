package routes_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/boltstore"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestLogoutRequest (LB-01, LB-02) sends a valid token in every form, and every token in a
// valid form.
func TestLogoutRequest(t *testing.T) {
	t.Parallel()
	const refused = http.StatusBadRequest
	for name, tt := range map[string]struct {
		// request returns a request with a valid token.
		request func(v *apptest.Visitor, token string) *http.Request
		status  int
	}{
		"LB-01 as specified":             {posted(apptest.FormType, "logout_token=TOKEN"), http.StatusOK},
		"LB-01 with other parameters":    {posted(apptest.FormType, "ignored_parameter=1&logout_token=TOKEN&state=x"), http.StatusOK},
		"LB-01 with a charset":           {posted(apptest.FormType+"; charset=utf-8", "logout_token=TOKEN"), http.StatusOK},
		"LB-01 from a page":              {posted(apptest.FormType, "logout_token=TOKEN", "Sec-Fetch-Site", "cross-site", "Origin", "https://op.example"), http.StatusOK},
		"LB-01 with a cookie":            {posted(apptest.FormType, "logout_token=TOKEN", "Cookie", "session_3000=x.y; txn_x_3000=y"), http.StatusOK},
		"LB-01 JSON":                     {posted("application/json", `{"logout_token":"TOKEN"}`), refused},
		"LB-01 multipart":                {posted("multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"logout_token\"\r\n\r\nTOKEN\r\n--x--\r\n"), refused},
		"LB-01 text":                     {posted("text/plain", "logout_token=TOKEN"), refused},
		"LB-01 no type":                  {posted("", "logout_token=TOKEN"), refused},
		"LB-01 the token itself":         {posted("application/logout+jwt", "TOKEN"), refused},
		"LB-01 twice":                    {posted(apptest.FormType, "logout_token=TOKEN&logout_token=TOKEN"), refused},
		"LB-01 missing":                  {posted(apptest.FormType, "token=TOKEN"), refused},
		"LB-01 empty":                    {posted(apptest.FormType, "logout_token="), refused},
		"LB-01 nothing":                  {posted(apptest.FormType, ""), refused},
		"LB-01 in the query":             {method(http.MethodPost, "?logout_token=TOKEN"), refused},
		"LB-01 GET":                      {method(http.MethodGet, "?logout_token=TOKEN"), http.StatusMethodNotAllowed},
		"LB-01 HEAD":                     {method(http.MethodHead, "?logout_token=TOKEN"), http.StatusMethodNotAllowed},
		"LB-01 PUT":                      {method(http.MethodPut, "?logout_token=TOKEN"), http.StatusMethodNotAllowed},
		"LB-01 DELETE":                   {method(http.MethodDelete, "?logout_token=TOKEN"), http.StatusMethodNotAllowed},
		"LB-01 OPTIONS":                  {method(http.MethodOptions, "?logout_token=TOKEN"), http.StatusMethodNotAllowed},
		"LB-01 a body that is too large": {posted(apptest.FormType, "logout_token=TOKEN&x="+strings.Repeat("x", 70<<10)), http.StatusRequestEntityTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apptest.StartScripted(t)
			person, provider := s.Visitor(), s.Visitor()
			s.SignIn(person)
			token := s.OP.LogoutToken().Compact()
			got := provider.Direct(tt.request(provider, token))
			if got.StatusCode != tt.status || got.Header.Get("Cache-Control") != "no-store" || len(got.Cookies()) > 0 || got.Header.Get("Location") != "" {
				t.Errorf("LB-02: answered %d, Cache-Control %q, cookies %v", got.StatusCode, got.Header.Get("Cache-Control"), got.Cookies())
			}
			if person.SignedIn() != (tt.status != http.StatusOK) {
				t.Errorf("signed in: %t", person.SignedIn())
			}
			if strings.Contains(got.Body+s.Log.String(), token) {
				t.Error("the response or the log contains the token")
			}
		})
	}
}

// posted returns a function that makes a POST, with the token in place of TOKEN in the
// body. headers are pairs.
func posted(contentType, body string, headers ...string) func(*apptest.Visitor, string) *http.Request {
	return func(v *apptest.Visitor, token string) *http.Request {
		req := v.Raw(http.MethodPost, "/backchannel-logout", contentType, strings.ReplaceAll(body, "TOKEN", token))
		for i := 0; i+1 < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		return req
	}
}

func method(method, query string) func(*apptest.Visitor, string) *http.Request {
	return func(v *apptest.Visitor, token string) *http.Request {
		return v.Raw(method, "/backchannel-logout"+strings.ReplaceAll(query, "TOKEN", token), apptest.FormType, "")
	}
}

// TestLogoutTokenRefused (LB-03 to LB-09) sends one invalid token of each kind, and some that
// are valid but unusual. The tests of authn have all variants.
func TestLogoutTokenRefused(t *testing.T) {
	t.Parallel()
	evil := scriptedop.NewKey("key-1", "ES256")
	claim := func(name string, value any) func(*scriptedop.JWT) {
		return func(token *scriptedop.JWT) { token.Claims[name] = value }
	}
	without := func(name string) func(*scriptedop.JWT) {
		return func(token *scriptedop.JWT) { delete(token.Claims, name) }
	}
	issued := func(d time.Duration) func(*scriptedop.JWT) {
		return func(token *scriptedop.JWT) { token.Claims["iat"] = time.Now().Add(d).Unix() }
	}
	for name, tt := range map[string]struct {
		edit   func(*scriptedop.JWT)
		env    string
		status int
	}{
		"LB-02 a valid token":              {func(*scriptedop.JWT) {}, "", 200},
		"LB-03 not signed":                 {func(token *scriptedop.JWT) { token.Key = scriptedop.Key{Algorithm: "none"} }, "", 400},
		"LB-03 another key":                {func(token *scriptedop.JWT) { token.Key = evil }, "", 400},
		"LB-04 another issuer":             {claim("iss", "https://evil.example"), "", 400},
		"LB-04 another audience":           {claim("aud", "evil"), "", 400},
		"LB-04 no exp":                     {without("exp"), "", 200},
		"LB-04 no exp, if required":        {without("exp"), "LOGOUT_TOKEN_TYP=strict", 400},
		"LB-04 old":                        {issued(-10 * time.Minute), "", 400},
		"LB-04 from a clock that is ahead": {issued(30 * time.Second), "", 200},
		"LB-05 another event":              {claim("events", map[string]any{"http://example.com/event": map[string]any{}}), "", 400},
		"LB-05 the event null":             {claim("events", map[string]any{"http://schemas.openid.net/event/backchannel-logout": nil}), "", 400},
		"LB-06 a nonce":                    {claim("nonce", nil), "", 400},
		"LB-07 an access token":            {func(token *scriptedop.JWT) { token.Header["typ"] = "at+jwt" }, "", 400},
		"LB-07 no typ":                     {func(token *scriptedop.JWT) { token.Header = nil }, "", 200},
		"LB-07 no typ, if required":        {func(token *scriptedop.JWT) { token.Header = nil }, "LOGOUT_TOKEN_TYP=strict", 400},
		"LB-07 the typ, if required":       {func(*scriptedop.JWT) {}, "LOGOUT_TOKEN_TYP=strict", 200},
		"LB-08 no sub, no sid": {func(token *scriptedop.JWT) {
			delete(token.Claims, "sub")
			delete(token.Claims, "sid")
		}, "", 400},
		"LB-08 the session alone":    {without("sub"), "", 200},
		"LB-08 the person alone":     {without("sid"), "", 200},
		"LB-08 another person":       {claim("sub", "mallory"), "", 400},
		"LB-10 no jti":               {without("jti"), "", 400},
		"LB-01 a claim nobody knows": {claim("https://example.com/x", true), "", 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var env []string
			if tt.env != "" {
				env = []string{tt.env}
			}
			s := apptest.StartScripted(t, env...)
			person, provider := s.Visitor(), s.Visitor()
			s.SignIn(person)
			token := s.OP.LogoutToken()
			tt.edit(token)
			got := provider.Post("/backchannel-logout", url.Values{"logout_token": {token.Compact()}})
			if got.StatusCode != tt.status || got.Header.Get("Cache-Control") != "no-store" || len(got.Cookies()) > 0 {
				t.Errorf("answered %d %s", got.StatusCode, got.Body)
			}
			if person.SignedIn() != (tt.status != http.StatusOK) {
				t.Errorf("signed in: %t", person.SignedIn())
			}
			if tt.status != http.StatusOK {
				if lines := s.Logged("refused", got.Header.Get("X-Request-Id")); len(lines) != 1 || lines[0]["reason"] != "logout_token_invalid" {
					t.Errorf("the log says %v", lines)
				}
			}
		})
	}
}

// TestOtherAndReplayedLogoutTokens (LB-09, LB-10) sends the ID token of the sign-in, and
// replays a logout token.
func TestOtherAndReplayedLogoutTokens(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t)
	v := s.Visitor()
	var idToken, accessToken string
	s.OP.Edit(scriptedop.Token, func(response map[string]any) {
		idToken, accessToken = response["id_token"].(string), response["access_token"].(string)
	})
	s.SignIn(v)
	for name, token := range map[string]string{"an ID token": idToken, "an access token": accessToken} {
		if got := v.Post("/backchannel-logout", url.Values{"logout_token": {token}}); got.StatusCode != http.StatusBadRequest || !v.SignedIn() {
			t.Errorf("LB-09: %s is answered with %d", name, got.StatusCode)
		}
	}
	token := s.OP.LogoutToken()
	delete(token.Claims, "sid")
	form := url.Values{"logout_token": {token.Compact()}}
	if got := v.Post("/backchannel-logout", form); got.StatusCode != http.StatusOK || v.SignedIn() {
		t.Fatalf("answered %d", got.StatusCode)
	}
	clock.Move(time.Second)
	s.SignIn(v)
	if got := v.Post("/backchannel-logout", form); !v.SignedIn() {
		t.Errorf("LB-10: a replay is answered with %d and ends the next session", got.StatusCode)
	}
	token = s.OP.LogoutToken() // another one, issued before the sign-in
	token.Claims["iat"] = clock.Now().Add(-time.Second).Unix()
	if got := v.Post("/backchannel-logout", url.Values{"logout_token": {token.Compact()}}); got.StatusCode != http.StatusOK || !v.SignedIn() {
		t.Errorf("LB-10: an older token is answered with %d; signed in: %t", got.StatusCode, v.SignedIn())
	}
}

// TestLogoutIsAnsweredInTime (LB-02, LB-17) sends a logout token while the key set does not
// arrive.
func TestLogoutIsAnsweredInTime(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	v := s.Visitor()
	s.SignIn(v)
	s.OP.Answer(scriptedop.JWKS, scriptedop.Hang)
	forged := s.OP.LogoutToken()
	forged.Key = scriptedop.NewKey("key-2", "ES256")
	got := v.Post("/backchannel-logout", url.Values{"logout_token": {forged.Compact()}}) // within apptest.Patience
	if got.StatusCode != http.StatusBadRequest {
		t.Errorf("LB-02: answered %d", got.StatusCode)
	}
	if !v.SignedIn() {
		t.Error("the person is signed out")
	}
	// FM-31: a known key needs no key set.
	if got := v.Post("/backchannel-logout", url.Values{"logout_token": {s.OP.LogoutToken().Compact()}}); got.StatusCode != http.StatusOK || v.SignedIn() {
		t.Errorf("answered %d", got.StatusCode)
	}
}

// TestLogoutTokenWithoutAStore (LB-16) sends a logout token while the store does not
// answer. The sign-out has failed, and the provider and the operator are told so.
func TestLogoutTokenWithoutAStore(t *testing.T) {
	t.Parallel()
	store, err := boltstore.Open(filepath.Join(t.TempDir(), "sessions.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	s, _ := apptest.AssembleWith(t, func(c *apptest.Settings) { c.Authn.Store = store })
	v := s.Visitor()
	s.SignIn(v)
	token := s.OP.LogoutToken().Compact()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	got := v.Send("/backchannel-logout", apptest.FormType, "logout_token="+token)
	if got.StatusCode != http.StatusBadRequest || got.Header.Get("Cache-Control") != "no-store" || len(got.Cookies()) > 0 {
		t.Errorf("answered %d with %v", got.StatusCode, got.Header)
	}
	lines := s.Logged("refused", got.Header.Get("X-Request-Id"))
	if len(lines) != 1 || lines[0]["level"] != "ERROR" || lines[0]["reason"] != string(authn.ReasonStoreUnavailable) {
		t.Errorf("the log says %v", lines)
	}
	s.WantNoSecrets(got)
}

// TestBackchannelLogout (LB-02, LB-08, LB-11) ends one of a person's sessions from the
// provider, and then all of them.
func TestBackchannelLogout(t *testing.T) {
	t.Parallel()
	p := apptest.StartDevProvider(t, false)
	one, two, other := p.App.Visitor(), p.App.Visitor(), p.App.Visitor()
	sid := apptest.SessionID(t, one.SignIn("/login", apptest.Ada))
	two.SignIn("/login", apptest.Ada)
	other.SignIn("/login", "dev|"+otherPerson(p.App))

	if err := p.BackchannelLogout(t.Context(), apptest.Ada, sid); err != nil {
		t.Fatal(err)
	}
	if one.SignedIn() || !two.SignedIn() || !other.SignedIn() {
		t.Fatalf("after ending one session: %t %t %t", one.SignedIn(), two.SignedIn(), other.SignedIn())
	}
	if err := p.BackchannelLogout(t.Context(), apptest.Ada, ""); err != nil {
		t.Fatal(err)
	}
	if one.SignedIn() || two.SignedIn() || !other.SignedIn() {
		t.Fatalf("after ending all of a person's: %t %t %t", one.SignedIn(), two.SignedIn(), other.SignedIn())
	}
	if err := p.BackchannelLogout(t.Context(), apptest.Ada, sid); err != nil {
		t.Errorf("LB-14: ending a session that has ended: %v", err)
	}
}

// TestBackchannelLogoutRefused (LB-01, LB-02) sends forms without a valid logout token.
func TestBackchannelLogoutRefused(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	for name, form := range map[string]url.Values{
		"nothing":         {},
		"two tokens":      {"logout_token": {"a.b.c", "a.b.c"}},
		"no token":        {"logout_token": {"x"}},
		"an unsigned one": {"logout_token": {"eyJhbGciOiJub25lIn0.e30."}},
	} {
		got := v.Direct(v.Request(http.MethodPost, "/backchannel-logout", form))
		if got.StatusCode != http.StatusBadRequest || got.Header.Get("Cache-Control") != "no-store" || len(got.Header.Values("Set-Cookie")) > 0 {
			t.Errorf("%s is answered with %d", name, got.StatusCode)
		}
	}
	if got := v.Direct(v.Request(http.MethodGet, "/backchannel-logout", nil)); got.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET is answered with %d", got.StatusCode)
	}
}

// otherPerson returns a sample person who is not Ada.
func otherPerson(a *apptest.App) string {
	a.T.Helper()
	page := apptest.Parse(a.T, a.Visitor().Get("/login").Body)
	for n := range page.Descendants() {
		if name, ok := strings.CutPrefix(apptest.Attribute(n, "id"), "person-dev|"); ok && "dev|"+name != apptest.Ada {
			return name
		}
	}
	a.T.Fatal("there is no other sample person")
	return ""
}

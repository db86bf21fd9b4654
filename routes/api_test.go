package routes_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

const apiAudience = "https://api.example"

// callAPI requests /api/me as a script does. headers are pairs.
func callAPI(v *apptest.Visitor, headers ...string) apptest.Answer {
	v.T.Helper()
	return v.Direct(v.Request(http.MethodGet, "/api/me", nil, headers...))
}

// startAPI runs the program for an audience.
func startAPI(t *testing.T) *apptest.Scripted {
	t.Helper()
	return apptest.StartScripted(t, "AUTH0_AUDIENCE="+apiAudience)
}

// wantProblem checks a refusal of an API route; see faultOf.
func wantProblem(s *apptest.Scripted, got apptest.Answer, status int, challenge string) {
	s.T.Helper()
	if fault := faultOf(s, got, status, challenge); fault != "" {
		s.T.Error(fault)
	}
	s.WantNoSecrets(got)
}

// faultOf returns what is wrong with a refusal, or "": its status, its challenge, and the headers that
// every response of the API has. The challenge is what follows the realm: of the scheme DPoP if it begins
// with that, of both schemes if it is "", and "none" is no challenge.
func faultOf(s *apptest.Scripted, got apptest.Answer, status int, challenge string) string {
	realm := ` realm="` + s.URL + `"`
	inDPoP := func(text string) string { return "DPoP" + realm + text + `, algs="ES256 EdDSA PS256"` }
	want := []string{"Bearer" + realm + challenge}
	switch after, isDPoP := strings.CutPrefix(challenge, "DPoP"); {
	case challenge == "none":
		want = nil
	case challenge == "":
		want = append(want, inDPoP(""))
	case isDPoP:
		want = []string{inDPoP(after)}
	}
	if given := got.Header.Values("WWW-Authenticate"); got.StatusCode != status || strings.Join(given, "\n") != strings.Join(want, "\n") {
		return fmt.Sprintf("answered %d, WWW-Authenticate %q, want %d %q\n%s", got.StatusCode, given, status, want, got.Body)
	}
	if got.Header.Get("Content-Type") != "application/problem+json" || got.Header.Get("Cache-Control") != "no-store" {
		return fmt.Sprintf("it is %q, Cache-Control %q", got.Header.Get("Content-Type"), got.Header.Get("Cache-Control"))
	}
	return ""
}

// wantMe checks who is calling, according to the API.
func wantMe(s *apptest.Scripted, got apptest.Answer, by, subject string) (me map[string]any) {
	s.T.Helper()
	if err := json.Unmarshal([]byte(got.Body), &me); err != nil || got.StatusCode != http.StatusOK {
		s.T.Fatalf("answered %d %s\n%s", got.StatusCode, got.Body, s.Log)
	}
	if me["authenticated_by"] != by || me["sub"] != subject || me["iss"] != s.OP.Issuer {
		s.T.Errorf("it is %v", me)
	}
	if got.Header.Get("Cache-Control") != "no-store" || got.Header.Get("Content-Type") != "application/json" || len(got.Cookies()) > 0 {
		s.T.Errorf("the answer's header is %v", got.Header)
	}
	for name := range got.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			s.T.Errorf("the response has %s", name)
		}
	}
	s.WantNoSecrets(got)
	return me
}

// TestMe calls the API with a session and with a token.
func TestMe(t *testing.T) {
	t.Parallel()
	s := startAPI(t)
	v := s.Visitor()
	s.SignIn(v)
	me := wantMe(s, callAPI(v), "session", "alice")
	if me["name"] != "Alice Example" || me["email"] != "alice@example.com" || me["email_verified"] != true || me["client_id"] != nil {
		t.Errorf("by session it is %v", me)
	}
	if expires, err := time.Parse(time.RFC3339, me["expires_at"].(string)); err != nil || time.Until(expires) < 23*time.Hour || time.Until(expires) > 24*time.Hour {
		t.Errorf("the session expires at %v", me["expires_at"])
	}
	if scopes := me["scopes"].([]any); len(scopes) != 4 || scopes[0] != "openid" {
		t.Errorf("the session's scopes are %v", scopes)
	}

	token := s.OP.AccessToken(apiAudience)
	token.Claims["sub"], token.Claims["exp"] = "bob", 4_000_000_000
	raw := token.Compact()
	for _, scheme := range []string{"Bearer ", "bearer ", "BEARER ", "Bearer   "} {
		got := callAPI(s.Visitor(), "Authorization", scheme+raw)
		me = wantMe(s, got, "access_token", "bob")
		if me["client_id"] != "another client" || me["expires_at"] != "2096-10-02T07:06:40Z" || me["name"] != nil || me["email_verified"] != nil {
			t.Errorf("by %sit is %v", scheme, me)
		}
		if strings.Contains(got.Body+s.Log.String(), raw) {
			t.Error("the token is in the answer or in the log")
		}
	}
	token.Claims["email"], token.Claims["scope"] = "bob@example.com", ""
	me = wantMe(s, callAPI(s.Visitor(), "Authorization", "Bearer "+token.Compact(), "Accept", "text/html", "HX-Request", "true"), "access_token", "bob")
	if me["email"] != "bob@example.com" || me["email_verified"] != false || len(me["scopes"].([]any)) != 0 {
		t.Errorf("with an address it is %v", me)
	}
	// The token counts, even if a browser adds its cookie.
	wantMe(s, callAPI(v, "Authorization", "Bearer "+raw), "access_token", "bob")
	head := v.Direct(v.Request(http.MethodHead, "/api/me", nil))
	if head.StatusCode != http.StatusOK || head.Body != "" {
		t.Errorf("HEAD is answered %d %q", head.StatusCode, head.Body)
	}
}

// TestMeFollowsTheSession calls the API again and again while the session changes.
func TestMeFollowsTheSession(t *testing.T) {
	t.Parallel()
	s, c := apptest.Assemble(t)
	v := s.Visitor()
	s.SignIn(v)
	const times = 3 // from the second call on, the answer may have been kept
	check := func(name string, expires time.Time) {
		t.Helper()
		for range times {
			me := wantMe(s, callAPI(v), "session", "alice")
			if me["name"] != name || me["expires_at"] != expires.Format(time.RFC3339) {
				t.Errorf("it is %v, not %s until %v", me, name, expires)
			}
		}
	}
	expires := c.Now().Add(24 * time.Hour)
	check("Alice Example", expires)

	s.OP.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims["name"] = "Alice Married" })
	v.RefreshProfile()
	check("Alice Married", expires)

	c.Move(time.Hour)
	check("Alice Married", expires) // a call shows no activity
	v.Get("/dashboard")
	check("Alice Married", expires.Add(time.Hour))

	other := s.Visitor()
	s.OP.SignInAs("bob")
	s.SignIn(other)
	wantMe(s, callAPI(other), "session", "bob")
	check("Alice Married", expires.Add(time.Hour))

	v.Post("/logout", nil)
	wantProblem(s, callAPI(v), http.StatusUnauthorized, "")
}

// TestBearerCredentials sends credentials in every way that a client may.
func TestBearerCredentials(t *testing.T) {
	t.Parallel()
	s := startAPI(t)
	good := s.OP.AccessToken(apiAudience).Compact()
	const invalidRequest, invalidToken = `, error="invalid_request"`, `, error="invalid_token"`
	for name, tt := range map[string]struct {
		path      string
		headers   []string
		status    int
		challenge string
	}{
		"none":                      {"/api/me", nil, 401, ""},
		"none, from a browser":      {"/api/me", []string{"Accept", "text/html"}, 401, ""},
		"none, from htmx":           {"/api/me", []string{"HX-Request", "true"}, 401, ""},
		"another scheme":            {"/api/me", []string{"Authorization", "Basic YTpi"}, 401, ""},
		"another scheme with it":    {"/api/me", []string{"Authorization", "Basic " + good}, 401, ""},
		"no scheme":                 {"/api/me", []string{"Authorization", good}, 401, ""},
		"an empty header":           {"/api/me", []string{"Authorization", ""}, 401, ""},
		"no token":                  {"/api/me", []string{"Authorization", "Bearer"}, 400, invalidRequest},
		"an empty token":            {"/api/me", []string{"Authorization", "Bearer "}, 400, invalidRequest},
		"padding alone":             {"/api/me", []string{"Authorization", "Bearer =="}, 400, invalidRequest},
		"two tokens":                {"/api/me", []string{"Authorization", "Bearer " + good + " " + good}, 400, invalidRequest},
		"two in a list":             {"/api/me", []string{"Authorization", "Bearer " + good + ", Bearer " + good}, 400, invalidRequest},
		"a quoted token":            {"/api/me", []string{"Authorization", `Bearer "` + good + `"`}, 400, invalidRequest},
		"no token at all":           {"/api/me", []string{"Authorization", "Bearer x"}, 401, invalidToken},
		"in the query":              {"/api/me?access_token=" + good, nil, 400, invalidRequest},
		"in the query, empty":       {"/api/me?access_token=", nil, 400, invalidRequest},
		"in the query too":          {"/api/me?access_token=" + good, []string{"Authorization", "Bearer " + good}, 400, invalidRequest},
		"in a malformed query":      {"/api/me?a=%zz&access_token=" + good, nil, 400, invalidRequest},
		"a signature that is wrong": {"/api/me", []string{"Authorization", "Bearer " + good[:len(good)-8] + "AAAAAAAA"}, 401, invalidToken},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range []*apptest.Visitor{s.Visitor(), s.Visitor()} {
				got := v.Direct(v.Request(http.MethodGet, tt.path, nil, tt.headers...))
				wantProblem(s, got, tt.status, tt.challenge)
				if strings.Contains(got.Body+s.Log.String(), good) {
					t.Error("the token is in the answer or in the log")
				}
			}
		})
	}
	for _, second := range []string{"Bearer " + good, "Basic YTpi", ""} {
		two := s.Visitor().Request(http.MethodGet, "/api/me", nil)
		two.Header["Authorization"] = []string{"Bearer " + good, second}
		wantProblem(s, s.Visitor().Direct(two), 400, invalidRequest)
	}
	huge := callAPI(s.Visitor(), "Authorization", "Bearer "+strings.Repeat("x", 40<<10))
	if huge.StatusCode != http.StatusRequestHeaderFieldsTooLarge && huge.StatusCode != http.StatusUnauthorized {
		t.Errorf("40 KiB are answered %d", huge.StatusCode)
	}
	wantMe(s, callAPI(s.Visitor(), "Authorization", "Bearer "+good), "access_token", "alice")
}

// TestBearerAndSession sends a token from a browser that is signed in.
func TestBearerAndSession(t *testing.T) {
	t.Parallel()
	s := startAPI(t)
	v := s.Visitor()
	s.SignIn(v)
	for name, edit := range map[string]func(*scriptedop.JWT){
		"for another audience": func(t *scriptedop.JWT) { t.Claims["aud"] = "https://other.example" },
		"of another issuer":    func(t *scriptedop.JWT) { t.Claims["iss"] = "https://evil.example" },
		"expired":              func(t *scriptedop.JWT) { t.Claims["exp"] = 1 },
		"not valid yet":        func(t *scriptedop.JWT) { t.Claims["nbf"] = 4_000_000_000 },
		"unsigned":             func(t *scriptedop.JWT) { t.Key = scriptedop.Key{Algorithm: "none"} },
		"a logout token":       func(token *scriptedop.JWT) { *token = *s.OP.LogoutToken() },
	} {
		token := s.OP.AccessToken(apiAudience)
		edit(token)
		raw := token.Compact()
		if got := callAPI(v, "Authorization", "Bearer "+strings.TrimSuffix(raw, ".")); got.StatusCode == http.StatusOK {
			t.Errorf("%s: the session replaces the token: %s", name, got.Body)
		} else if name != "unsigned" {
			wantProblem(s, got, 401, `, error="invalid_token"`)
		}
	}
	wantMe(s, callAPI(v, "Authorization", "Basic YTpi"), "session", "alice") // a proxy's in front of the app

	for name, tt := range map[string]struct {
		headers []string
		status  int
	}{
		"a page of the app":        {[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors"}, 200},
		"the address bar":          {[]string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate"}, 200},
		"an old browser":           {nil, 200},
		"another site's page":      {[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, 403},
		"another site's link":      {[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, 403},
		"a page of a sibling site": {[]string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors"}, 403},
		"an unknown value":         {[]string{"Sec-Fetch-Site", "x"}, 403},
	} {
		got := callAPI(v, append(tt.headers, "Origin", "")...)
		if got.StatusCode != tt.status {
			t.Errorf("%s is answered %d", name, got.StatusCode)
		}
		if tt.status == 403 {
			wantProblem(s, got, 403, "none")
		}
	}
	// A token is never sent by accident, so pages of other sites may send one.
	wantMe(s, callAPI(s.Visitor(), "Sec-Fetch-Site", "cross-site", "Authorization", "Bearer "+s.OP.AccessToken(apiAudience).Compact()), "access_token", "alice")
	if got := v.Direct(v.Request(http.MethodOptions, "/api/me", nil, "Origin", "https://evil.example", "Access-Control-Request-Headers", "authorization")); got.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a preflight is answered %d", got.StatusCode)
	}
	v.Post("/logout", nil)
	wantProblem(s, callAPI(v), 401, "")
}

// TestNoAudience calls an app without an API of its own: it accepts no token, but sessions.
func TestNoAudience(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	v := s.Visitor()
	s.SignIn(v)
	wantMe(s, callAPI(v), "session", "alice")
	for _, audience := range []string{apiAudience, "client", ""} {
		wantProblem(s, callAPI(v, "Authorization", "Bearer "+s.OP.AccessToken(audience).Compact()), 401, `, error="invalid_token"`)
	}
}

// TestAPIWhenTheProviderIsDown sends a token that cannot be verified because the provider
// is down.
func TestAPIWhenTheProviderIsDown(t *testing.T) {
	t.Parallel()
	s, _ := apptest.Assemble(t, "AUTH0_AUDIENCE="+apiAudience)
	s.OP.Answer(scriptedop.JWKS, scriptedop.Status(500))
	wantProblem(s, callAPI(s.Visitor(), "Authorization", "Bearer "+s.OP.AccessToken(apiAudience).Compact()), 503, "none")
	s.OP.Answer(scriptedop.JWKS, nil)
}

// TestAPILeavesTheSessionAlone calls the API all day, which does not extend the session.
func TestAPILeavesTheSessionAlone(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t)
	v := s.Visitor()
	s.SignIn(v)
	for range 8 {
		clock.Move(3 * time.Hour)
		if got := callAPI(v); got.StatusCode != http.StatusOK {
			if clock.Now().Sub(time.Date(2026, time.November, 2, 12, 0, 0, 0, time.UTC)) < 24*time.Hour {
				t.Fatalf("answered %d", got.StatusCode)
			}
			return
		}
	}
	t.Error("calls to the API keep the session alive without its person")
}

// TestDevelopmentAccessToken gets a token from the built-in provider, as in docs/guide.md.
func TestDevelopmentAccessToken(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t, "AUTH0_AUDIENCE="+apiAudience)
	v := a.Visitor()
	req := v.Request(http.MethodPost, a.Issuer+"/token", url.Values{"grant_type": {"client_credentials"}, "audience": {apiAudience}})
	req.SetBasicAuth("latchkey-terminal", "development")
	var response struct {
		AccessToken string `json:"access_token"`
	}
	if got := v.Do(req); json.Unmarshal([]byte(got.Body), &response) != nil || response.AccessToken == "" {
		t.Fatalf("the provider answers %d %s", got.StatusCode, got.Body)
	}
	got := callAPI(v, "Authorization", "Bearer "+response.AccessToken)
	if got.StatusCode != http.StatusOK || !strings.Contains(got.Body, `"sub":"latchkey-terminal@clients"`) {
		t.Errorf("answered %d %s", got.StatusCode, got.Body)
	}
	v.SignIn("/login", apptest.Ada)
	if got := callAPI(v); got.StatusCode != http.StatusOK || !strings.Contains(got.Body, `"sub":"`+apptest.Ada+`"`) {
		t.Errorf("with a session: answered %d %s", got.StatusCode, got.Body)
	}
	if lines := a.Logged("refused", ""); len(lines) > 0 {
		t.Errorf("the log says %v", lines)
	}
}

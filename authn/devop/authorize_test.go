package devop_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"latchkey/authn/devop"
)

func TestAuthorizeRefusesOnItsOwnPage(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	for name, changes := range map[string]url.Values{
		"no client":                         {"client_id": {""}},
		"unknown client":                    {"client_id": {"nobody"}},
		"client twice":                      {"client_id": {"app", "app"}},
		"no redirect URI":                   {"redirect_uri": {""}},
		"redirect URI twice":                {"redirect_uri": {redirectURI, redirectURI}},
		"redirect URI with a slash":         {"redirect_uri": {redirectURI + "/"}},
		"redirect URI with a query":         {"redirect_uri": {redirectURI + "?a=b"}},
		"redirect URI on another port":      {"redirect_uri": {"http://127.0.0.1:10/callback"}},
		"redirect URI in upper case":        {"redirect_uri": {strings.ToUpper(redirectURI)}},
		"redirect URI of another client":    {"client_id": {"other"}, "redirect_uri": {redirectURI + "?tenant=1"}},
		"request_uri that was never pushed": {"request_uri": {"urn:ietf:params:oauth:request_uri:none"}},
		"request_uri on the web":            {"request_uri": {"http://127.0.0.1:9/request.jwt"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := p.authorize(changes)
			if r.status != http.StatusBadRequest || r.header.Get("Location") != "" || !strings.Contains(r.body, "<h1") {
				t.Errorf("got %d, Location %q", r.status, r.header.Get("Location"))
			}
		})
	}
	if r := p.authorize(url.Values{"redirect_uri": {redirectURI + "?tenant=1"}}); r.status != http.StatusOK {
		t.Errorf("the registered redirect URI with a query got %d", r.status)
	}
}

func TestAuthorizeErrorsGoToTheClient(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	for name, c := range map[string]struct {
		changes url.Values
		want    string
	}{
		"no response type":        {url.Values{"response_type": {""}}, "invalid_request"},
		"implicit":                {url.Values{"response_type": {"id_token"}}, "unsupported_response_type"},
		"hybrid":                  {url.Values{"response_type": {"code id_token"}}, "unsupported_response_type"},
		"fragment":                {url.Values{"response_mode": {"fragment"}}, "invalid_request"},
		"no PKCE":                 {url.Values{"code_challenge": {""}}, "invalid_request"},
		"PKCE plain":              {url.Values{"code_challenge_method": {"plain"}}, "invalid_request"},
		"PKCE method left out":    {url.Values{"code_challenge_method": {""}}, "invalid_request"},
		"challenge not base64url": {url.Values{"code_challenge": {strings.Repeat("=", 43)}}, "invalid_request"},
		"challenge too short":     {url.Values{"code_challenge": {"abc"}}, "invalid_request"},
		"no openid":               {url.Values{"scope": {"profile"}}, "invalid_scope"},
		"a parameter twice":       {url.Values{"nonce": {"a", "b"}}, "invalid_request"},
		"request object":          {url.Values{"request": {"e30.e30."}}, "request_not_supported"},
		"prompt none and login":   {url.Values{"prompt": {"none login"}}, "invalid_request"},
		"prompt unknown":          {url.Values{"prompt": {"please"}}, "invalid_request"},
		"prompt none":             {url.Values{"prompt": {"none"}}, "login_required"},
		"max_age not a number":    {url.Values{"max_age": {"-1"}}, "invalid_request"},
		"forged ID token hint":    {url.Values{"id_token_hint": {"e30.e30.e30"}}, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			v := p.response(p.authorize(c.changes))
			if v.Get("error") != c.want || v.Get("state") != "the-state" || v.Get("iss") != p.issuer || v.Has("code") {
				t.Errorf("got %v", v)
			}
		})
	}
}

func TestAuthorizeTwiceTheStateSendsNone(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	v := p.response(p.authorize(url.Values{"state": {"a", "b"}}))
	if v.Get("error") != "invalid_request" || v.Has("state") {
		t.Errorf("got %v", v)
	}
}

func TestDeny(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	v := p.response(p.post("/sign-in", url.Values{"request": {p.signInPage(nil)}, "deny": {"1"}}))
	if v.Get("error") != "access_denied" || v.Get("state") != "the-state" || v.Get("iss") != p.issuer {
		t.Errorf("got %v", v)
	}
	if v := p.response(p.authorize(url.Values{"prompt": {"none"}})); v.Get("error") != "login_required" {
		t.Errorf("someone is signed in after a denial: %v", v)
	}
}

func TestSingleSignOn(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	first := p.tokens(nil)
	sid := p.verify("JWT", first["id_token"])["sid"]
	if v := p.response(p.authorize(nil)); v.Get("code") == "" || v.Get("iss") != p.issuer {
		t.Errorf("signed in, but no immediate code: %v", v)
	}
	p.offset.Add(100)
	for name, c := range map[string]struct {
		changes url.Values
		asks    bool
	}{
		"prompt none":                {url.Values{"prompt": {"none"}}, false},
		"max_age long enough":        {url.Values{"max_age": {"1000"}}, false},
		"screen_hint is tolerated":   {url.Values{"screen_hint": {"signup"}}, false},
		"unknown scopes are ignored": {url.Values{"scope": {"openid unheard-of"}}, false},
		"hint of the same person":    {url.Values{"id_token_hint": {first["id_token"].(string)}}, false},
		"prompt login":               {url.Values{"prompt": {"login"}}, true},
		"prompt select_account":      {url.Values{"prompt": {"select_account"}}, true},
		"prompt consent":             {url.Values{"prompt": {"consent"}}, true},
		"max_age too short":          {url.Values{"max_age": {"50"}}, true},
		"max_age zero":               {url.Values{"max_age": {"0"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if r := p.authorize(c.changes); (r.status == http.StatusOK) != c.asks {
				t.Errorf("got %d, Location %q", r.status, r.header.Get("Location"))
			}
		})
	}
	if v := p.response(p.authorize(url.Values{"max_age": {"50"}, "prompt": {"none"}})); v.Get("error") != "login_required" {
		t.Errorf("prompt=none with an exceeded max_age: %v", v)
	}
	again := p.verify("JWT", p.tokens(url.Values{"prompt": {"login"}})["id_token"])
	if again["sid"] != sid || again["auth_time"].(float64) < p.verify("JWT", first["id_token"])["auth_time"].(float64)+99 {
		t.Errorf("signed in again: sid %v, auth_time %v", again["sid"], again["auth_time"])
	}
	p.signIn("dev|rtl", url.Values{"prompt": {"select_account"}})
	if v := p.response(p.authorize(url.Values{"id_token_hint": {first["id_token"].(string)}, "prompt": {"none"}})); v.Get("error") != "login_required" {
		t.Errorf("hint of another person: %v", v)
	}
	p.offset.Add(8 * 24 * 3600)
	p.signInPage(nil) // the session has expired
}

func TestAuthorizeByPost(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	req := p.request("POST", "/authorize", authorization(nil))
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	if r := p.do(p.browser, req); r.status != http.StatusOK || !strings.Contains(r.body, `id="person-dev|ada"`) {
		t.Errorf("cross-site POST to authorize: %d", r.status)
	}
	req = p.request("POST", "/sign-in", url.Values{"request": {p.signInPage(nil)}, "sub": {"dev|ada"}})
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	if r := p.do(p.browser, req); r.status != http.StatusForbidden {
		t.Errorf("cross-site POST to sign-in: %d", r.status)
	}
}

func TestFormPost(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	id := p.signInPage(url.Values{"response_mode": {"form_post"}, "state": {`"><script>alert(1)</script>`}})
	r := p.post("/sign-in", url.Values{"request": {id}, "sub": {"dev|ada"}})
	for _, want := range []string{`action="` + redirectURI + `"`, `name="code"`, `name="iss" value="` + p.issuer + `"`, `id="continue"`, "&lt;script&gt;"} {
		if !strings.Contains(r.body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if csp := r.header.Get("Content-Security-Policy"); !strings.Contains(csp, "script-src 'self'") || !strings.Contains(csp, "form-action 'self' http://127.0.0.1:9") {
		t.Errorf("CSP: %s", csp)
	}
	if strings.Contains(r.body, "<script>alert") {
		t.Error("state was not escaped")
	}
}

func TestLoginHint(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	for _, hint := range []string{"dev|rtl", "LAYLA@example.test"} {
		body := p.authorize(url.Values{"login_hint": {hint}}).body
		if !strings.Contains(body, "Suggested") || strings.Index(body, "person-dev|rtl") > strings.Index(body, "person-dev|ada") {
			t.Errorf("login_hint %s does not come first", hint)
		}
	}
	if body := p.authorize(url.Values{"login_hint": {"new@example.test"}}).body; !strings.Contains(body, `value="new@example.test"`) {
		t.Error("an unknown login_hint does not fill in the e-mail field")
	}
}

func TestPushedAuthorizationRequest(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	push := func() string {
		r, answer := p.call("/par", authorization(nil))
		if r.status != http.StatusCreated || answer["expires_in"] != 90.0 {
			t.Fatalf("got %d %s", r.status, r.body)
		}
		return answer["request_uri"].(string)
	}
	open := func(client, uri string) reply {
		return p.get("/authorize?" + url.Values{"client_id": {client}, "request_uri": {uri}, "state": {"not this"}}.Encode())
	}
	uri := push()
	if r := open("other", uri); r.status != http.StatusBadRequest {
		t.Errorf("another client: %d", r.status)
	}
	page := open("app", uri)
	if page.status != http.StatusOK {
		t.Fatalf("got %d", page.status)
	}
	if r := open("app", uri); r.status != http.StatusBadRequest {
		t.Errorf("used twice: %d", r.status)
	}
	v := p.response(p.post("/sign-in", url.Values{"request": {hidden.FindStringSubmatch(page.body)[1]}, "sub": {"dev|ada"}}))
	if v.Get("state") != "the-state" || v.Get("code") == "" {
		t.Errorf("got %v", v)
	}
	uri = push()
	p.offset.Add(91)
	if r := open("app", uri); r.status != http.StatusBadRequest {
		t.Errorf("after 91 s: %d", r.status)
	}
	r, _ := p.call("/par", authorization(url.Values{"redirect_uri": {"http://evil.test/"}}))
	wantError(t, r, http.StatusBadRequest, "invalid_request")
	r, _ = p.call("/par", authorization(url.Values{"code_challenge": {""}}))
	wantError(t, r, http.StatusBadRequest, "invalid_request")
	r, _ = p.call("/par", authorization(url.Values{"request_uri": {uri}}))
	wantError(t, r, http.StatusBadRequest, "invalid_request")
	r = p.post("/par", authorization(nil))
	wantError(t, r, http.StatusUnauthorized, "invalid_client")
}

func TestSomeoneElse(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	id := p.signInPage(nil)
	typed := url.Values{"request": {id}, "name": {"Zoë <b>"}, "email": {"Zoe@Example.test"}, "email_verified": {"1"}, "claims": {`{"locale": "nl", "n": 12345678901234567890}`}}
	for name, c := range map[string]struct{ field, value, want string }{
		"no e-mail":                {"email", "", "e-mail address"},
		"not an e-mail":            {"email", "zoe", "e-mail address"},
		"broken JSON":              {"claims", `{"locale": `, "JSON object"},
		"JSON array":               {"claims", `[1]`, "JSON object"},
		"JSON null":                {"claims", `null`, "JSON object"},
		"two objects":              {"claims", `{} {}`, "JSON object"},
		"a protocol claim":         {"claims", `{"iss": "https://evil.test"}`, "Leave out"},
		"a claim that has a field": {"claims", `{"email_verified": true}`, "Leave out"},
	} {
		t.Run(name, func(t *testing.T) {
			wrong := url.Values{}
			maps.Copy(wrong, typed)
			wrong.Set(c.field, c.value)
			r := p.post("/sign-in", wrong)
			if r.status != http.StatusUnprocessableEntity || !strings.Contains(r.body, c.want) || !strings.Contains(r.body, `aria-invalid="true"`) {
				t.Errorf("got %d", r.status)
			}
			if !strings.Contains(r.body, "Zoë &lt;b&gt;") {
				t.Error("the typed values are lost")
			}
		})
	}
	_, tokens := p.call("/token", exchange(p.response(p.post("/sign-in", typed)).Get("code")))
	claims := p.verify("JWT", tokens["id_token"])
	if claims["sub"] != "dev|zoe@example.test" || claims["name"] != "Zoë <b>" || claims["locale"] != "nl" || claims["email_verified"] != true {
		t.Errorf("got %v", claims)
	}
	if body := p.userinfo(tokens["access_token"]).body; !strings.Contains(body, `"n":12345678901234567890`) {
		t.Errorf("a large number was changed: %s", body)
	}
	if !strings.Contains(p.authorize(url.Values{"prompt": {"login"}}).body, `id="person-dev|zoe@example.test"`) {
		t.Error("the added person is not listed at the next sign-in")
	}
}

func TestSignInRefusals(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	id := p.signInPage(nil)
	if r := p.post("/sign-in", url.Values{"request": {"none"}, "sub": {"dev|ada"}}); r.status != http.StatusBadRequest {
		t.Errorf("unknown request: %d", r.status)
	}
	if r := p.post("/sign-in", url.Values{"request": {id}, "sub": {"dev|nobody"}}); r.status != http.StatusBadRequest {
		t.Errorf("unknown sub: %d", r.status)
	}
	_, pushed := p.call("/par", authorization(nil))
	uri := strings.TrimPrefix(pushed["request_uri"].(string), "urn:ietf:params:oauth:request_uri:")
	if r := p.post("/sign-in", url.Values{"request": {uri}, "sub": {"dev|ada"}}); r.status != http.StatusBadRequest {
		t.Errorf("a pushed request on the sign-in page: %d", r.status)
	}
	p.offset.Add(3601)
	if r := p.post("/sign-in", url.Values{"request": {id}, "sub": {"dev|ada"}}); r.status != http.StatusBadRequest {
		t.Errorf("an hour later: %d", r.status)
	}
}

func TestIssuer(t *testing.T) {
	t.Parallel()
	for issuer, ok := range map[string]bool{
		"http://127.0.0.1:3001": true, "http://127.8.8.8:3001/": true, "http://localhost/a/b/": true, "http://[::1]:3001": true,
		"https://127.0.0.1:3001": false, "http://0.0.0.0:3001": false, "http://192.168.1.1": false, "http://example.com": false,
		"http://localhost.evil.test": false, "http://127.0.0.1:1?a": false, "http://127.0.0.1:1/#a": false, "http://u@127.0.0.1": false,
		"http://127.0.0.1:1/a//b": false, "http://127.0.0.1:1/{x}": false, "": false, "127.0.0.1": false,
	} {
		if _, err := devop.New(devop.Config{Issuer: issuer}); (err == nil) != ok {
			t.Errorf("%q: %v", issuer, err)
		}
	}
}

func TestClientsAreChecked(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]devop.Client{
		"no id":        {Secret: "s"},
		"no secret":    {ID: "app"},
		"fragment":     {ID: "app", Secret: "s", RedirectURIs: []string{"http://127.0.0.1/#a"}},
		"javascript":   {ID: "app", Secret: "s", RedirectURIs: []string{"javascript:alert(1)"}},
		"relative":     {ID: "app", Secret: "s", PostLogoutRedirectURIs: []string{"/out"}},
		"CSP breakout": {ID: "app", Secret: "s", BackchannelLogoutURI: "http://a; script-src *"},
	} {
		if _, err := devop.New(devop.Config{Issuer: "http://127.0.0.1:1", Clients: []devop.Client{client}}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

package devop_test

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"latchkey/authn/devop"
)

func TestCodeFlow(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	v := p.signIn("dev|ada", url.Values{"acr_values": {"gold silver"}})
	if v.Get("state") != "the-state" || v.Get("iss") != p.issuer || len(v) != 3 {
		t.Errorf("authorization response: %v", v)
	}
	r, tokens := p.call("/token", exchange(v.Get("code")))
	if r.status != http.StatusOK || r.header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(r.header.Get("Content-Type"), "application/json") {
		t.Fatalf("got %d %v", r.status, r.header)
	}
	if tokens["token_type"] != "Bearer" || tokens["expires_in"] != 600.0 || tokens["scope"] != "openid profile email offline_access" {
		t.Errorf("token response: %v", tokens)
	}
	claims := p.verify("JWT", tokens["id_token"])
	for claim, want := range map[string]any{
		"iss": p.issuer, "sub": "dev|ada", "aud": "app", "nonce": "the-nonce", "acr": "gold", "name": "Ada Lovelace",
		"email": "ada@example.test", "email_verified": true, "picture": p.issuer + "/picture/dev%7Cada", "nickname": "ada",
	} {
		if claims[claim] != want {
			t.Errorf("%s is %v, want %v", claim, claims[claim], want)
		}
	}
	sum := sha256.Sum256([]byte(tokens["access_token"].(string)))
	if claims["at_hash"] != base64.RawURLEncoding.EncodeToString(sum[:16]) {
		t.Errorf("at_hash is %v", claims["at_hash"])
	}
	if claims["exp"].(float64)-claims["iat"].(float64) != 600 || claims["auth_time"].(float64) > claims["iat"].(float64) || claims["sid"] == "" {
		t.Errorf("times: %v", claims)
	}
	if info := p.object(p.userinfo(tokens["access_token"]).body); info["sub"] != "dev|ada" || info["name"] != "Ada Lovelace" || info["iss"] != nil {
		t.Errorf("userinfo: %v", info)
	}
}

func TestCodeIsRefused(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	for name, c := range map[string]struct {
		change url.Values
		want   string
	}{
		"no verifier":               {url.Values{"code_verifier": nil}, "invalid_grant"},
		"wrong verifier":            {url.Values{"code_verifier": {verifier + "x"}}, "invalid_grant"},
		"verifier too short":        {url.Values{"code_verifier": {"short"}}, "invalid_grant"},
		"verifier is the challenge": {url.Values{"code_verifier": authorization(nil)["code_challenge"]}, "invalid_grant"},
		"another redirect URI":      {url.Values{"redirect_uri": {redirectURI + "?tenant=1"}}, "invalid_grant"},
		"no redirect URI":           {url.Values{"redirect_uri": nil}, "invalid_grant"},
		"no code":                   {url.Values{"code": nil}, "invalid_request"},
		"unknown code":              {url.Values{"code": {"none"}}, "invalid_grant"},
		"a parameter twice":         {url.Values{"code_verifier": {verifier, verifier}}, "invalid_request"},
		"no grant type":             {url.Values{"grant_type": nil}, "invalid_request"},
		"password":                  {url.Values{"grant_type": {"password"}}, "unsupported_grant_type"},
	} {
		t.Run(name, func(t *testing.T) {
			body := exchange(p.signIn("dev|ada", url.Values{"prompt": {"login"}}).Get("code"))
			maps.Copy(body, c.change)
			r, _ := p.call("/token", body)
			wantError(t, r, http.StatusBadRequest, c.want)
		})
	}
	body := exchange(p.signIn("dev|ada", url.Values{"prompt": {"login"}}).Get("code"))
	p.offset.Add(60)
	r, _ := p.call("/token", body)
	wantError(t, r, http.StatusBadRequest, "invalid_grant")
}

func TestCodeFailingPKCEIsSpent(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	good := exchange(p.signIn("dev|ada", nil).Get("code"))
	bad := exchange(good.Get("code"))
	bad.Set("code_verifier", strings.Repeat("x", 43))
	r, _ := p.call("/token", bad)
	wantError(t, r, http.StatusBadRequest, "invalid_grant")
	r, _ = p.call("/token", good)
	wantError(t, r, http.StatusBadRequest, "invalid_grant")
}

func TestCodeOfAnotherClient(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	body := exchange(p.signIn("dev|ada", nil).Get("code"))
	req := p.request("POST", "/token", body)
	req.SetBasicAuth("other", "other-secret")
	wantError(t, p.do(p.program, req), http.StatusBadRequest, "invalid_grant")
	if r, _ := p.call("/token", body); r.status != http.StatusOK {
		t.Errorf("the code's own client then got %d %s", r.status, r.body)
	}
}

func TestCodeReuseRevokesItsTokens(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	body := exchange(p.signIn("dev|ada", nil).Get("code"))
	_, tokens := p.call("/token", body)
	if r := p.userinfo(tokens["access_token"]); r.status != http.StatusOK {
		t.Fatalf("before: %d", r.status)
	}
	r, _ := p.call("/token", body)
	wantError(t, r, http.StatusBadRequest, "invalid_grant")
	if r := p.userinfo(tokens["access_token"]); r.status != http.StatusUnauthorized {
		t.Errorf("the access token still works: %d", r.status)
	}
	r, _ = p.refresh(tokens["refresh_token"])
	wantError(t, r, http.StatusBadRequest, "invalid_grant")
}

func TestClientAuthentication(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	const secret = "app s:cret+%"
	for name, c := range map[string]struct {
		basic, post []string
		status      int
		want        string
	}{
		"basic":                    {[]string{"app", url.QueryEscape(secret)}, nil, 200, ""},
		"post":                     {nil, []string{"app", secret}, 200, ""},
		"basic with client_id":     {[]string{"app", url.QueryEscape(secret)}, []string{"app", ""}, 200, ""},
		"none":                     {nil, nil, 401, "invalid_client"},
		"client_id alone":          {nil, []string{"app", ""}, 401, "invalid_client"},
		"wrong secret":             {nil, []string{"app", secret + "x"}, 401, "invalid_client"},
		"wrong secret by basic":    {[]string{"app", "wrong"}, nil, 401, "invalid_client"},
		"another client's secret":  {[]string{"app", "other-secret"}, nil, 401, "invalid_client"},
		"unknown client":           {[]string{"nobody", ""}, nil, 401, "invalid_client"},
		"basic not form-encoded":   {[]string{"app", secret}, nil, 401, "invalid_client"},
		"both":                     {[]string{"app", url.QueryEscape(secret)}, []string{"app", secret}, 400, "invalid_request"},
		"basic for another client": {[]string{"app", url.QueryEscape(secret)}, []string{"other", ""}, 400, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			body := exchange(p.signIn("dev|ada", url.Values{"prompt": {"login"}}).Get("code"))
			if c.post != nil {
				body.Set("client_id", c.post[0])
				if c.post[1] != "" {
					body.Set("client_secret", c.post[1])
				}
			}
			req := p.request("POST", "/token", body)
			if c.basic != nil {
				req.SetBasicAuth(c.basic[0], c.basic[1])
			}
			r := p.do(p.program, req)
			if c.status == 200 {
				if r.status != 200 {
					t.Errorf("got %d %s", r.status, r.body)
				}
				return
			}
			wantError(t, r, c.status, c.want)
			if c.status == 401 && !strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Basic") {
				t.Errorf("WWW-Authenticate is %q", r.header.Get("WWW-Authenticate"))
			}
		})
	}
}

func TestRefreshRotates(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	first := p.tokens(nil)
	before := p.verify("JWT", first["id_token"])
	p.offset.Add(100)
	r, second := p.refresh(first["refresh_token"])
	if r.status != http.StatusOK || second["refresh_token"] == first["refresh_token"] || second["access_token"] == first["access_token"] {
		t.Fatalf("got %d %s", r.status, r.body)
	}
	after := p.verify("JWT", second["id_token"])
	for _, claim := range []string{"iss", "sub", "aud", "auth_time", "sid"} {
		if after[claim] != before[claim] {
			t.Errorf("%s changed from %v to %v", claim, before[claim], after[claim])
		}
	}
	if after["nonce"] != nil || after["iat"] == before["iat"] {
		t.Errorf("nonce %v, iat %v", after["nonce"], after["iat"])
	}
	r, _ = p.refresh(first["refresh_token"]) // reuse revokes the whole family
	wantError(t, r, http.StatusBadRequest, "invalid_grant")
	r, _ = p.refresh(second["refresh_token"])
	wantError(t, r, http.StatusBadRequest, "invalid_grant")
	if r := p.userinfo(second["access_token"]); r.status != http.StatusUnauthorized {
		t.Errorf("the family's access token still works: %d", r.status)
	}
}

func TestRefreshScope(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	tokens := p.tokens(url.Values{"scope": {"openid email offline_access"}})
	body := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens["refresh_token"].(string)}, "scope": {"openid profile"}}
	r, _ := p.call("/token", body)
	wantError(t, r, http.StatusBadRequest, "invalid_scope")
	body.Set("scope", "openid")
	r, less := p.call("/token", body)
	if r.status != http.StatusOK || less["scope"] != "openid" {
		t.Fatalf("got %d %s", r.status, r.body)
	}
	if info := p.object(p.userinfo(less["access_token"]).body); info["email"] != nil {
		t.Errorf("userinfo exceeds the scope: %v", info)
	}
}

func TestNoRefreshTokenWithoutOfflineAccess(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	tokens := p.tokens(url.Values{"scope": {"openid"}})
	if tokens["refresh_token"] != nil {
		t.Error("got a refresh token")
	}
	claims := p.verify("JWT", tokens["id_token"])
	if claims["name"] != nil || claims["email"] != nil || claims["sub"] != "dev|ada" {
		t.Errorf("claims exceed the scope: %v", claims)
	}
}

func TestRefreshTokenExpires(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	tokens := p.tokens(nil)
	p.offset.Add(30 * 24 * 3600)
	r, _ := p.refresh(tokens["refresh_token"])
	wantError(t, r, http.StatusBadRequest, "invalid_grant")
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	tokens := p.tokens(nil)
	req := p.request("POST", "/revoke", url.Values{"token": {tokens["refresh_token"].(string)}})
	req.SetBasicAuth("other", "other-secret")
	wantError(t, p.do(p.program, req), http.StatusBadRequest, "invalid_grant")

	for _, token := range []string{tokens["access_token"].(string), "unknown", tokens["access_token"].(string)} {
		if r, _ := p.call("/revoke", url.Values{"token": {token}}); r.status != http.StatusOK {
			t.Errorf("got %d", r.status)
		}
	}
	if r := p.userinfo(tokens["access_token"]); r.status != http.StatusUnauthorized {
		t.Errorf("the access token still works: %d", r.status)
	}
	r, next := p.refresh(tokens["refresh_token"])
	if r.status != http.StatusOK {
		t.Fatalf("revoking the access token revoked the family: %s", r.body)
	}
	p.call("/revoke", url.Values{"token": {next["refresh_token"].(string)}})
	r, _ = p.refresh(next["refresh_token"])
	wantError(t, r, http.StatusBadRequest, "invalid_grant")
	if r := p.userinfo(next["access_token"]); r.status != http.StatusUnauthorized {
		t.Errorf("the family's access token still works: %d", r.status)
	}
}

func TestAudienceGivesAJWT(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	tokens := p.tokens(url.Values{"audience": {"https://api.example.test"}})
	claims := p.verify("at+jwt", tokens["access_token"])
	if claims["iss"] != p.issuer || claims["sub"] != "dev|ada" || claims["client_id"] != "app" || claims["jti"] == "" ||
		!slices.Contains(claims["aud"].([]any), any("https://api.example.test")) || claims["scope"] != tokens["scope"] {
		t.Errorf("got %v", claims)
	}
	if r := p.userinfo(tokens["access_token"]); r.status != http.StatusOK {
		t.Errorf("userinfo: %d", r.status)
	}
	_, next := p.refresh(tokens["refresh_token"])
	p.verify("at+jwt", next["access_token"])
}

func TestUserinfo(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	token := p.tokens(nil)["access_token"].(string)
	for name, c := range map[string]struct {
		method, header string
		status         int
		challenge      string
	}{
		"GET":              {"GET", "Bearer " + token, 200, ""},
		"POST":             {"POST", "Bearer " + token, 200, ""},
		"lower-case":       {"GET", "bearer " + token, 200, ""},
		"nothing":          {"GET", "", 401, `Bearer realm="devop"`},
		"another scheme":   {"GET", "Basic " + token, 401, `Bearer realm="devop"`},
		"an unknown token": {"GET", "Bearer none", 401, "invalid_token"},
		"an empty token":   {"GET", "Bearer ", 401, "invalid_token"},
	} {
		t.Run(name, func(t *testing.T) {
			req := p.request(c.method, "/userinfo", nil)
			req.Header.Set("Authorization", c.header)
			r := p.do(p.program, req)
			if r.status != c.status || !strings.Contains(r.header.Get("WWW-Authenticate"), c.challenge) {
				t.Errorf("got %d, %q", r.status, r.header.Get("WWW-Authenticate"))
			}
		})
	}
	if r := p.post("/userinfo", url.Values{"access_token": {token}}); r.status != http.StatusUnauthorized {
		t.Errorf("a token in the body: %d", r.status)
	}
	p.SetPerson(devop.Person{
		Subject: "dev|ada", Name: "Ada King", Email: "king@example.test",
		Claims: map[string]any{"https://app.example/tier": "gold", "phone_number": "1", "sub": "dev|rtl", "iss": "x"},
	})
	info := p.object(p.userinfo(token).body)
	if info["name"] != "Ada King" || info["https://app.example/tier"] != "gold" || info["email_verified"] != false {
		t.Errorf("SetPerson has no effect: %v", info)
	}
	if info["sub"] != "dev|ada" || info["iss"] != nil || info["phone_number"] != nil || info["picture"] != nil {
		t.Errorf("unexpected claims: %v", info)
	}
	p.offset.Add(600)
	if r := p.userinfo(token); r.status != http.StatusUnauthorized {
		t.Errorf("expired: %d", r.status)
	}
}

func TestRotateKey(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	old := p.tokens(nil)["id_token"]
	if err := p.RotateKey(); err != nil {
		t.Fatal(err)
	}
	p.verify("JWT", old) // still published
	p.verify("JWT", p.tokens(url.Values{"prompt": {"login"}})["id_token"])
	kids := p.keySet().Keys
	if len(kids) != 2 || kids[0].KeyID == kids[1].KeyID || !kids[0].IsPublic() || !kids[1].IsPublic() {
		t.Errorf("%d keys", len(kids))
	}
	if err := p.RotateKey(); err != nil {
		t.Fatal(err)
	}
	if got := p.keySet(); len(got.Keys) != 2 || len(got.Key(kids[1].KeyID)) != 0 || len(got.Key(kids[0].KeyID)) != 1 {
		t.Error("the oldest key is still published, or the previous one is not")
	}
}

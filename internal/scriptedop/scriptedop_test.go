package scriptedop_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/scriptedop"
)

const redirectURI = "http://127.0.0.1:1/callback"

// ask sends a request without following redirects, and returns the response and its JSON.
func ask(t *testing.T, method, address string, form url.Values, header http.Header) (*http.Response, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if r.Header = header.Clone(); r.Header == nil {
		r.Header = make(http.Header)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	_ = json.Unmarshal(body, &document) // not every answer is JSON
	return resp, document
}

// code signs someone in and returns the code.
func code(t *testing.T, op *scriptedop.Provider, more url.Values) string {
	t.Helper()
	request := url.Values{
		"client_id": {op.ClientID}, "response_type": {"code"}, "redirect_uri": {redirectURI}, "state": {"the state"},
		"scope": {"openid offline_access"},
		// RFC 7636 appendix B
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
	}
	maps.Copy(request, more)
	resp, _ := ask(t, http.MethodGet, op.URL(scriptedop.Authorize)+"?"+request.Encode(), nil, nil)
	target, err := resp.Location()
	if err != nil {
		t.Fatal(err)
	}
	if q := target.Query(); q.Get("state") != "the state" || q.Get("iss") != op.Issuer {
		t.Errorf("the response is %v", q)
	}
	return target.Query().Get("code")
}

func tokenForm(op *scriptedop.Provider, code string) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI},
		"client_id": {op.ClientID}, "client_secret": {op.ClientSecret},
		"code_verifier": {"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"},
	}
}

func TestTokenEndpointChecksWhatItShould(t *testing.T) {
	t.Parallel()
	op := scriptedop.New(t, scriptedop.Config{Path: "/tenant/", Keys: []scriptedop.Key{scriptedop.NewKey("k", "ES256")}})
	for name, tt := range map[string]struct {
		change func(url.Values)
		want   int
	}{
		"valid":                {func(url.Values) {}, 200},
		"another verifier":     {func(v url.Values) { v.Set("code_verifier", "x") }, 400},
		"no verifier":          {func(v url.Values) { v.Del("code_verifier") }, 400},
		"another redirect":     {func(v url.Values) { v.Set("redirect_uri", redirectURI+"/") }, 400},
		"another code":         {func(v url.Values) { v.Set("code", "x") }, 400},
		"another grant type":   {func(v url.Values) { v.Set("grant_type", "password") }, 400},
		"another secret":       {func(v url.Values) { v.Set("client_secret", "x") }, 401},
		"another client":       {func(v url.Values) { v.Set("client_id", "x") }, 401},
		"no refresh token":     {func(v url.Values) { v.Set("grant_type", "refresh_token") }, 400},
		"no secret":            {func(v url.Values) { v.Del("client_secret") }, 401},
		"an assertion instead": {func(v url.Values) { v.Del("client_secret"); v.Set("client_assertion", "x") }, 401},
		"an assertion as well": {func(v url.Values) { v.Set("client_assertion", "x") }, 401},
	} {
		t.Run(name, func(t *testing.T) {
			form := tokenForm(op, code(t, op, nil))
			tt.change(form)
			if resp, _ := ask(t, http.MethodPost, op.URL(scriptedop.Token), form, nil); resp.StatusCode != tt.want {
				t.Errorf("got %d, want %d", resp.StatusCode, tt.want)
			}
		})
	}
}

func TestWhatIsUsedTwiceRevokesTheGrant(t *testing.T) {
	t.Parallel()
	op := scriptedop.New(t, scriptedop.Config{Keys: []scriptedop.Key{scriptedop.NewKey("k", "ES256")}})
	form := tokenForm(op, code(t, op, nil))
	_, tokens := ask(t, http.MethodPost, op.URL(scriptedop.Token), form, nil)
	refresh := func(token any) (int, map[string]any) {
		again := tokenForm(op, "")
		again.Set("grant_type", "refresh_token")
		again.Set("refresh_token", token.(string))
		resp, document := ask(t, http.MethodPost, op.URL(scriptedop.Token), again, nil)
		return resp.StatusCode, document
	}
	status, renewed := refresh(tokens["refresh_token"])
	if status != http.StatusOK || renewed["refresh_token"] == tokens["refresh_token"] {
		t.Fatalf("refresh: got %d, %v", status, renewed)
	}
	bearer := http.Header{"Authorization": {"Bearer " + renewed["access_token"].(string)}}
	if resp, claims := ask(t, http.MethodGet, op.URL(scriptedop.UserInfo), nil, bearer); resp.StatusCode != 200 || claims["sub"] != "alice" {
		t.Errorf("userinfo: got %d, %v", resp.StatusCode, claims)
	}
	if status, _ := refresh(tokens["refresh_token"]); status != http.StatusBadRequest {
		t.Errorf("the old refresh token: got %d", status)
	}
	if status, _ := refresh(renewed["refresh_token"]); status != http.StatusBadRequest {
		t.Errorf("the new refresh token after that: got %d", status)
	}
	if resp, _ := ask(t, http.MethodGet, op.URL(scriptedop.UserInfo), nil, bearer); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("userinfo after that: got %d", resp.StatusCode)
	}
	if secrets := op.Secrets(); !slices.Contains(secrets, renewed["access_token"].(string)) || !slices.Contains(secrets, op.ClientSecret) || !slices.Contains(secrets, "the state") {
		t.Errorf("the secrets are %q", secrets)
	}
}

func TestARefreshTokenOverlaps(t *testing.T) {
	t.Parallel()
	now := time.Now()
	op := scriptedop.New(t, scriptedop.Config{
		Keys: []scriptedop.Key{scriptedop.NewKey("k", "ES256")}, Overlap: time.Minute, Now: func() time.Time { return now },
	})
	used := tokenForm(op, code(t, op, nil))
	_, tokens := ask(t, http.MethodPost, op.URL(scriptedop.Token), used, nil)
	again := tokenForm(op, "")
	again.Set("grant_type", "refresh_token")
	again.Set("refresh_token", tokens["refresh_token"].(string))
	began := now
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{0, 200}, {0, 200}, {time.Minute - time.Second, 200}, {time.Minute, 400}, {0, 400}} {
		now = began.Add(tt.after)
		if resp, _ := ask(t, http.MethodPost, op.URL(scriptedop.Token), again, nil); resp.StatusCode != tt.want {
			t.Errorf("the refresh token after %s: got %d, want %d", tt.after, resp.StatusCode, tt.want)
		}
	}
}

func TestScripts(t *testing.T) {
	t.Parallel()
	op := scriptedop.New(t, scriptedop.Config{Keys: []scriptedop.Key{scriptedop.NewKey("k", "ES256")}})
	get := func() (int, map[string]any) {
		resp, document := ask(t, http.MethodGet, op.URL(scriptedop.Discovery)+"?x=1", nil, nil)
		return resp.StatusCode, document
	}
	op.Edit(scriptedop.Discovery, func(m map[string]any) { m["issuer"] = "edited" })
	if status, document := get(); status != 200 || document["issuer"] != "edited" {
		t.Errorf("edited: %d, %v", status, document["issuer"])
	}
	op.Answer(scriptedop.Discovery, scriptedop.InTurn(scriptedop.Status(503), op.Correct(scriptedop.Discovery)))
	if status, _ := get(); status != 503 {
		t.Errorf("in turn: %d", status)
	}
	if status, document := get(); status != 200 || document["issuer"] != "edited" {
		t.Errorf("in turn, then: %d, %v", status, document["issuer"])
	}
	op.Answer(scriptedop.Discovery, nil)
	op.Edit(scriptedop.Discovery, nil)
	if status, document := get(); status != 200 || document["issuer"] != op.Issuer {
		t.Errorf("restored: %d, %v", status, document["issuer"])
	}
	if n := op.Calls(scriptedop.Discovery); n != 4 || op.Last(scriptedop.Discovery).Query.Get("x") != "1" {
		t.Errorf("counted %d calls, the last was %+v", n, op.Last(scriptedop.Discovery))
	}
	if resp, _ := ask(t, http.MethodGet, op.Issuer+"/elsewhere", nil, nil); resp.StatusCode != 404 || op.Calls(scriptedop.Other) != 1 {
		t.Errorf("another path: got %d, counted %d", resp.StatusCode, op.Calls(scriptedop.Other))
	}
}

package authn_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

// readyApp returns an app whose provider is discovered and whose keys are fetched: no
// input of a fuzz target makes it ask again and again.
func readyApp(f *testing.F) *app {
	f.Helper()
	a := newApp(f, appOptions{})
	if _, err := a.rp.Begin(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), authn.AuthorizationRequest{}); err != nil {
		f.Fatal(err)
	}
	token := a.op.LogoutToken()
	token.Claims["sub"] = "alice"
	if _, err := a.rp.VerifyLogoutToken(f.Context(), token.Compact()); err != nil {
		f.Fatal(err)
	}
	return a
}

// signed signs a header and claims that may be anything; it returns "" for a header
// that is not an object.
func signed(a *app, header, claims string) string {
	token := &scriptedop.JWT{Key: a.op.LogoutToken().Key, Payload: []byte(claims)}
	if json.Unmarshal([]byte(header), &token.Header) != nil {
		return ""
	}
	return token.Compact()
}

// fill puts what differs from run to run into a seed.
func fill(a *app, seed string) string {
	now := a.clock.Now().Unix()
	number := func(n int64) string { b, _ := json.Marshal(n); return string(b) }
	return strings.NewReplacer("ISSUER", a.op.Issuer, "NOW", number(now), "LATER", number(now+60)).Replace(seed)
}

const fuzzNonce = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

func FuzzIDToken(f *testing.F) {
	a := readyApp(f)
	good := `{"iss":"ISSUER","sub":"alice","aud":"client","exp":LATER,"iat":NOW,"nonce":"` + fuzzNonce + `"}`
	for _, seed := range [][2]string{
		{`{"typ":"JWT"}`, good},
		{`{}`, strings.Replace(good, `"client"`, `["client","api"],"azp":"client"`, 1)},
		{`{"typ":"at+jwt","crit":["exp"],"jwk":{}}`, good},
		{`{"alg":"none"}`, good},
		{`{"alg":"HS256","kid":""}`, good},
		{`{"typ":null}`, strings.Replace(good, "{", `{"aud":"evil",`, 1)},
		{`{}`, strings.Replace(good, "{", `{"Nonce":"evil","at_hash":"x",`, 1)},
		{`{}`, strings.Replace(good, "LATER", "1e400", 1)},
		{`{}`, strings.Replace(good, "NOW", "null", 1)},
		{`{}`, strings.Replace(good, `"alice"`, `"\u0000"`, 1)},
		{`{}`, strings.Replace(good, "{", `{"auth_time":1.5,"nbf":NOW,"sid":"s","session_expiry":LATER,`, 1)},
		{`{}`, strings.Replace(good, "{", `{"_claim_names":{"x":"y"},"events":{},`, 1)},
		{`{}`, `[]`},
		{`{}`, ``},
		{`{}`, `{"iss":`},
		{`{}`, strings.Repeat(`{"a":`, 20)},
	} {
		f.Add(seed[0], seed[1], "e30.e30.AA")
	}
	f.Fuzz(func(t *testing.T, header, claims, raw string) {
		if subject, err := a.rp.VerifyIDToken(t.Context(), raw, fuzzNonce); err == nil {
			t.Fatalf("%q is accepted unsigned, for %q", raw, subject)
		}
		claims = fill(a, claims)
		subject, err := a.rp.VerifyIDToken(t.Context(), signed(a, header, claims), fuzzNonce)
		if err != nil {
			return
		}
		var got struct {
			Iss, Sub, Nonce string
			Aud             any
			Exp, Iat        float64
		}
		if err := json.Unmarshal([]byte(claims), &got); err != nil {
			t.Fatalf("%q is accepted: %v", claims, err)
		}
		now := float64(a.clock.Now().Unix())
		audience, many := got.Aud.([]any)
		if got.Iss != a.op.Issuer || got.Sub != subject || subject == "" || got.Nonce != fuzzNonce ||
			got.Exp < now-60 || got.Iat > now+60 || (got.Aud != "client" && (!many || !slices.Contains(audience, any("client")))) {
			t.Fatalf("%q is accepted", claims)
		}
	})
}

func FuzzLogoutToken(f *testing.F) {
	a := readyApp(f)
	good := `{"iss":"ISSUER","sub":"alice","sid":"s","aud":"client","exp":LATER,"iat":NOW,"jti":"j","events":{"` + logoutEvent + `":{}}}`
	for _, seed := range [][2]string{
		{`{"typ":"logout+jwt"}`, good},
		{`{}`, good},
		{`{"typ":"at+jwt"}`, good},
		{`{"alg":"none"}`, good},
		{`{}`, strings.Replace(good, "{", `{"nonce":null,`, 1)},
		{`{}`, strings.Replace(good, `{}`, `null`, 1)},
		{`{}`, strings.Replace(good, `{}`, `[]`, 1)},
		{`{}`, strings.Replace(good, `"events"`, `"Events"`, 1)},
		{`{}`, strings.Replace(good, `"alice"`, `""`, 1)},
		{`{}`, strings.Replace(good, `"j"`, `1`, 1)},
		{`{}`, strings.Replace(good, "NOW", "0", 1)},
		{`{}`, strings.Replace(good, "{", `{"events":{},`, 1)},
		{`{}`, `{}`},
		{`{}`, `null`},
		{`[]`, good},
	} {
		f.Add(seed[0], seed[1], "e30.e30.AA")
	}
	f.Fuzz(func(t *testing.T, header, claims, raw string) {
		if _, err := a.rp.VerifyLogoutToken(t.Context(), raw); authn.ReasonOf(err) != authn.ReasonLogoutTokenInvalid {
			t.Fatalf("%q, unsigned: %v", raw, err)
		}
		claims = fill(a, claims)
		accepted, err := a.rp.VerifyLogoutToken(t.Context(), signed(a, header, claims))
		if err != nil {
			if authn.ReasonOf(err) != authn.ReasonLogoutTokenInvalid {
				t.Fatalf("%q: %v", claims, err)
			}
			return
		}
		var got struct {
			Iss, Sub, Sid, Jti string
			Events             map[string]map[string]any
		}
		if err := json.Unmarshal([]byte(claims), &got); err != nil {
			t.Fatalf("%q is accepted: %v", claims, err)
		}
		if got.Iss != a.op.Issuer || got.Sub != accepted.Subject || got.Sid != accepted.SID || got.Sub+got.Sid == "" ||
			got.Jti == "" || got.Events[logoutEvent] == nil {
			t.Fatalf("%q is accepted as %+v", claims, accepted)
		}
	})
}

func FuzzCallback(f *testing.F) {
	a := readyApp(f)
	for _, seed := range []string{
		"code=c&state=STATE&iss=ISSUER", "code=c&state=STATE", "error=access_denied&state=STATE&iss=ISSUER",
		"code=c&error=e&state=STATE&iss=ISSUER", "state=STATE&iss=ISSUER", "code=c&state=STATE&state=x", "code[]=c&state=STATE",
		"code=c&code=d&state=STATE&iss=ISSUER", "error=%3Cscript%3E&error_description=%0d%0a&state=STATE&iss=ISSUER", "", "state=", "%zz", "a;b",
		"code=" + strings.Repeat("c", 5000) + "&state=STATE&iss=ISSUER",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/callback", nil)
		request, err := a.rp.Begin(w, r, authn.AuthorizationRequest{ReturnTo: "/orders"})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range w.Result().Cookies() {
			r.AddCookie(c)
		}
		state := query(t, request).Get("state")
		response, _ := url.ParseQuery(strings.NewReplacer("ISSUER", url.QueryEscape(a.op.Issuer), "STATE", state).Replace(raw))
		before := a.op.Calls(scriptedop.Token)
		_, err = a.rp.Complete(httptest.NewRecorder(), r, response)
		if authn.ReasonOf(err) == "" {
			t.Fatalf("%q: %v", raw, err)
		}
		ours := response.Get("state") == state && response.Get("iss") == a.op.Issuer && response.Get("error") == ""
		if a.op.Calls(scriptedop.Token) != before && !ours {
			t.Fatalf("%q: the code was sent", raw)
		}
		if code := response.Get("code"); strings.Contains(err.Error(), state) || (len(code) > 20 && strings.Contains(err.Error(), code)) {
			t.Fatalf("%q: quoted in %q", raw, err)
		}
	})
}

func FuzzTransactionCookie(f *testing.F) {
	a := readyApp(f)
	state := strings.Repeat("s", 43)
	w := httptest.NewRecorder()
	request, err := a.rp.Begin(w, httptest.NewRequest(http.MethodGet, "/", nil), authn.AuthorizationRequest{ReturnTo: "/orders"})
	if err != nil {
		f.Fatal(err)
	}
	value := w.Result().Cookies()[0].Value
	plain, err := a.rp.OpenTransaction(query(f, request).Get("state"), value)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value, plain)
	f.Add(value[:20], plain[:20])
	f.Add("", []byte{})
	f.Add("!", []byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add(strings.Repeat("A", 40), []byte{2})
	f.Fuzz(func(t *testing.T, value string, plain []byte) {
		sealed, err := a.rp.SealTransaction(state, plain)
		if err != nil {
			t.Fatal(err)
		}
		// What can be opened is written again as it was read.
		if again, err := a.rp.OpenTransaction(state, sealed.Value); err == nil && len(again) > len(plain) {
			t.Fatalf("%x reads as %x", plain, again)
		}
		for _, cookie := range []*http.Cookie{sealed, {Name: sealed.Name, Value: value}} {
			r := httptest.NewRequest(http.MethodGet, "/callback", nil)
			r.AddCookie(cookie)
			before := a.op.Calls(scriptedop.Token)
			_, err = a.rp.Complete(httptest.NewRecorder(), r, url.Values{"state": {state}, "code": {"c"}, "iss": {a.op.Issuer}})
			if authn.ReasonOf(err) == "" {
				t.Fatalf("%q: %v", cookie, err)
			}
			if cookie != sealed && a.op.Calls(scriptedop.Token) != before {
				t.Fatalf("%q: the code was sent", cookie)
			}
		}
	})
}

func FuzzKeySet(f *testing.F) {
	for _, alg := range []string{"RS256", "ES256", "ES384", "ES512", "EdDSA"} {
		jwk := scriptedop.NewKey("k", alg).JWK()
		for _, key := range []map[string]any{jwk, with(jwk, "use", "enc"), with(jwk, "d", "AA", "x5c", []string{"AA"}, "alg", alg)} {
			document, err := json.Marshal(map[string]any{"keys": append(strangeKeys(), key)})
			if err != nil {
				f.Fatal(err)
			}
			f.Add(document)
		}
	}
	for _, seed := range []string{"", "{}", "[]", "null", `{"keys":null}`, `{"keys":{}}`, `{"keys":[`, `{"keys":[{"kty":"oct","k":"AA"}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		n, err := authn.ParseKeys(document)
		if (err == nil) != (n > 0) || n > 100 {
			t.Fatalf("%d keys, %v", n, err)
		}
	})
}

func FuzzDiscoveryDocument(f *testing.F) {
	const issuer = "https://op.example/"
	good := `{"issuer":"https://op.example/","authorization_endpoint":"https://op.example/a?x=1","token_endpoint":"https://op.example/t","jwks_uri":"https://op.example/k"}`
	for _, seed := range []string{
		good, "", "{}", "[]", "null", strings.Replace(good, "op.example/a", "op.example/a#", 1), strings.Replace(good, "https://op.example/t", "javascript:1", 1),
		strings.Replace(good, "https://op.example/k", "http://127.0.0.1/k", 1), strings.Replace(good, "op.example/k", "a:b@op.example/k", 1),
		strings.Replace(good, "x=1", "client_id=x", 1), strings.Replace(good, "{", `{"userinfo_endpoint":"//x","scopes_supported":[1],`, 1),
		strings.Replace(good, "{", `{"ISSUER":"x","require_pushed_authorization_requests":true,`, 1),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		m, err := authn.ParseMetadata(document, issuer)
		if err != nil {
			return
		}
		if m.Issuer != issuer || m.AuthorizationEndpoint == "" || m.TokenEndpoint == "" || m.JWKSURI == "" {
			t.Fatalf("accepted: %q", document)
		}
		for _, endpoint := range []string{
			m.AuthorizationEndpoint, m.TokenEndpoint, m.JWKSURI, m.UserInfoEndpoint, m.EndSessionEndpoint, m.RevocationEndpoint, m.PushedAuthorizationRequestEndpoint,
		} {
			if endpoint == "" {
				continue
			}
			u, err := url.Parse(endpoint)
			if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Contains(endpoint, "#") || u.Query().Has("client_id") {
				t.Fatalf("%q is accepted in %q", endpoint, document)
			}
		}
	})
}

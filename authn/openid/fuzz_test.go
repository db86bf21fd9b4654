package openid_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// readyParty returns a party whose provider is discovered and whose keys are fetched, so
// that no input of a fuzz target makes it call the provider repeatedly.
func readyParty(f *testing.F) *party {
	f.Helper()
	p := newParty(f, options{})
	if _, err := p.Metadata(f.Context()); err != nil {
		f.Fatal(err)
	}
	token := p.op.LogoutToken()
	token.Claims["sub"] = "alice"
	if _, err := p.VerifyLogoutToken(f.Context(), token.Compact()); err != nil {
		f.Fatal(err)
	}
	return p
}

// signed signs an arbitrary header and claims. It returns "" for a header that is not an
// object.
func signed(p *party, header, claims string) string {
	token := &scriptedop.JWT{Key: p.op.LogoutToken().Key, Payload: []byte(claims)}
	if json.Unmarshal([]byte(header), &token.Header) != nil {
		return ""
	}
	return token.Compact()
}

// fill replaces the placeholders of a seed with the values of this run.
func fill(p *party, seed string) string {
	now := p.clock.Now().Unix()
	number := func(n int64) string { b, _ := json.Marshal(n); return string(b) }
	return strings.NewReplacer("ISSUER", p.op.Issuer, "NOW", number(now), "LATER", number(now+60)).Replace(seed)
}

const fuzzNonce = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

func FuzzIDToken(f *testing.F) {
	p := readyParty(f)
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
		if subject, err := p.VerifyIDToken(t.Context(), raw, fuzzNonce); err == nil {
			t.Fatalf("%q is accepted unsigned, for %q", raw, subject)
		}
		claims = fill(p, claims)
		subject, err := p.VerifyIDToken(t.Context(), signed(p, header, claims), fuzzNonce)
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
		now := float64(p.clock.Now().Unix())
		audience, many := got.Aud.([]any)
		if got.Iss != p.op.Issuer || got.Sub != subject || subject == "" || got.Nonce != fuzzNonce ||
			got.Exp < now-60 || got.Iat > now+60 || (got.Aud != "client" && (!many || !slices.Contains(audience, any("client")))) {
			t.Fatalf("%q is accepted", claims)
		}
	})
}

func FuzzLogoutToken(f *testing.F) {
	p := readyParty(f)
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
		if _, err := p.VerifyLogoutToken(t.Context(), raw); openid.ReasonOf(err) != openid.ReasonLogoutTokenInvalid {
			t.Fatalf("%q, unsigned: %v", raw, err)
		}
		claims = fill(p, claims)
		accepted, err := p.VerifyLogoutToken(t.Context(), signed(p, header, claims))
		if err != nil {
			if openid.ReasonOf(err) != openid.ReasonLogoutTokenInvalid {
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
		if got.Iss != p.op.Issuer || got.Sub != accepted.Subject || got.Sid != accepted.SID || got.Sub+got.Sid == "" ||
			got.Jti == "" || got.Events[logoutEvent] == nil {
			t.Fatalf("%q is accepted as %+v", claims, accepted)
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
		n, err := openid.ParseKeys(document)
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
		m, err := openid.ParseMetadata(document, issuer)
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

// FuzzProof sends DPoP proofs of any content, which the token's key has signed. One that is accepted is
// for this request, this token and this minute.
func FuzzProof(f *testing.F) {
	p := newParty(f, options{config: withAudience})
	key := scriptedop.NewKey("", "EdDSA")
	token := p.op.AccessToken(audience)
	token.Claims["cnf"] = map[string]any{"jkt": key.Thumbprint()}
	sent := openid.Presented{Token: token.Compact(), DPoP: true, Method: "GET", URL: &url.URL{Scheme: "https", Host: "api.example", Path: "/a b"}}
	usual := key.Proof(p.clock.Now(), "GET", "https://api.example/a%20b", sent.Token)
	header, _ := json.Marshal(usual.Header)
	claims, _ := json.Marshal(usual.Claims)
	f.Add(string(header), string(claims))
	f.Add(strings.Replace(string(header), `"jwk":{`, `"jwk":{"d":null,`, 1), string(claims))
	f.Add(strings.Replace(string(header), "{", `{"crit":[],`, 1), strings.Replace(string(claims), `"GET"`, `"get"`, 1))
	for _, htu := range []string{"https://API.example:443/%61%20b?x#y", "https://api.example/./x/../a%20b", "https://api.example/a%2", "https://[::1", "%", ""} {
		f.Add(string(header), strings.Replace(string(claims), "https://api.example/a%20b", htu, 1))
	}
	f.Fuzz(func(t *testing.T, header, claims string) {
		proof := &scriptedop.JWT{Key: usual.Key, Payload: []byte(claims)}
		if json.Unmarshal([]byte(header), &proof.Header) != nil {
			return
		}
		sent := sent
		sent.Proofs = []string{proof.Compact()}
		got, err := p.VerifyAccessToken(t.Context(), sent)
		if err != nil {
			return
		}
		var said map[string]any // which, unlike a struct, does not ignore case
		if json.Unmarshal([]byte(claims), &said) != nil || said["htm"] != "GET" || said["jti"] != got.Proof.ID || said["ath"] != usual.Claims["ath"] {
			t.Errorf("it accepts %s %s", header, claims)
		}
		if htu, _ := said["htu"].(string); !strings.HasPrefix(strings.ToLower(htu), "https://api.example") {
			t.Errorf("it accepts the address %q", htu)
		}
		if left := got.Proof.Expires.Sub(p.clock.Now()); left < 0 || left > 2*openid.Leeway {
			t.Errorf("it is valid for %v: %s", left, claims)
		}
	})
}

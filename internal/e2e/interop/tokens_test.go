package interop

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// These tests send what providers really send, to the whole program. Each variant that is accepted
// has one beside it that is not.

// TestIDTokensOfTheWorld signs in with ID tokens that are unusual.
func TestIDTokensOfTheWorld(t *testing.T) {
	t.Parallel()
	const year1 = -62_135_596_800 // as .NET and Go write no time
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for name, tt := range map[string]struct {
		claims   map[string]any
		accepted bool
	}{
		"nothing is written out": {map[string]any{
			"nbf": 0, "auth_time": 0, "sid": nil, "at_hash": nil, "azp": nil, "acr": nil, "amr": nil, "session_expiry": 0, "email": nil,
		}, true},
		"nothing is written as empty": {map[string]any{"nbf": "", "auth_time": "", "sid": "", "at_hash": "", "azp": "", "acr": ""}, true},
		"nothing is the year 1":       {map[string]any{"nbf": year1, "auth_time": year1}, true},
		"claims that have namesakes":  {map[string]any{"SID": "S-1-5-21", "Events": []string{"fair"}, "ACR": 1}, true},
		"a namesake of the subject":   {map[string]any{"Sub": "mallory"}, false},
		"a namesake of the nonce":     {map[string]any{"Nonce": "x"}, false},
		"an event":                    {map[string]any{"events": map[string]any{}}, false},
		"not valid yet":               {map[string]any{"nbf": in(time.Hour)}, false},
		"another access token's hash": {map[string]any{"at_hash": "x"}, false},
		"a sid that is no string":     {map[string]any{"sid": 7}, false},
		"given to another":            {map[string]any{"azp": "another"}, false},
		"for another too, azp null":   {map[string]any{"aud": []string{"client", "another"}, "azp": nil}, false},
		"no nonce":                    {map[string]any{"nonce": nil}, false},
		"no subject":                  {map[string]any{"sub": nil}, false},
		"no issuer":                   {map[string]any{"iss": nil}, false},
		"no audience":                 {map[string]any{"aud": nil}, false},
		"no end":                      {map[string]any{"exp": 0}, false},
		"no beginning":                {map[string]any{"iat": nil}, false},
		"valid for 7 days":            {map[string]any{"exp": in(7 * 24 * time.Hour)}, true},
		"valid for ten years":         {map[string]any{"exp": in(10 * 365 * 24 * time.Hour)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apptest.StartScripted(t)
			s.OP.EditIDToken(func(token *scriptedop.JWT) { maps.Copy(token.Claims, tt.claims) })
			v := s.Visitor()
			if page := v.Get("/login"); v.SignedIn() != tt.accepted {
				t.Errorf("signed in: %t, want %t; the sign-in ends with %d\n%s", !tt.accepted, tt.accepted, page.StatusCode, s.Log)
			}
		})
	}
}

// null is null in a document that a test edits, where nil removes a member.
var null = json.RawMessage("null")

// TestRefreshesOfTheWorld refreshes twice at a provider that accepts each refresh token once: what
// comes with the first response must not lose the token in it.
func TestRefreshesOfTheWorld(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		response map[string]any // nil removes a member
		claims   map[string]any // of the ID token
		ended    bool
	}{
		"a scope of a list":               {response: map[string]any{"scope": []string{"openid"}}},
		"a scope of null":                 {response: map[string]any{"scope": null}},
		"no token type":                   {response: map[string]any{"token_type": nil}},
		"an ID token of null":             {response: map[string]any{"id_token": null}},
		"claims written out":              {claims: map[string]any{"nbf": 0, "auth_time": 0, "sid": nil, "at_hash": nil, "nonce": nil}},
		"a later sign-in":                 {claims: map[string]any{"auth_time": time.Now().Add(time.Hour).Unix()}},
		"a clock that is off":             {claims: map[string]any{"iat": 1_000_000_000, "exp": 1_000_000_300}},
		"a clock that is off, another":    {claims: map[string]any{"iat": 1_000_000_000, "sub": "mallory"}, ended: true},
		"another person":                  {claims: map[string]any{"sub": "mallory"}, ended: true},
		"another person, a later sign-in": {claims: map[string]any{"sub": "mallory", "auth_time": 4_000_000_000}, ended: true},
		"another nonce":                   {claims: map[string]any{"nonce": "x"}, ended: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, clock := apptest.Assemble(t)
			shortLived := func(response map[string]any) { response["expires_in"] = 60 }
			s.OP.Edit(scriptedop.Token, shortLived)
			v := s.Visitor()
			s.SignIn(v)
			s.OP.Edit(scriptedop.Token, func(response map[string]any) {
				shortLived(response)
				for member, value := range tt.response {
					if response[member] = value; value == nil {
						delete(response, member)
					}
				}
			})
			s.OP.EditIDToken(func(token *scriptedop.JWT) { maps.Copy(token.Claims, tt.claims) })
			clock.Move(2 * time.Minute)
			v.RefreshProfile()
			s.OP.Edit(scriptedop.Token, shortLived)
			s.OP.EditIDToken(nil)
			clock.Move(2 * time.Minute)
			got := v.RefreshProfile()
			if tt.ended {
				if v.SignedIn() || s.OP.Calls(scriptedop.UserInfo) != 1 {
					t.Errorf("signed in: %t, userinfo was asked %d times\n%s", v.SignedIn(), s.OP.Calls(scriptedop.UserInfo), s.Log)
				}
				return
			}
			if got.StatusCode != http.StatusOK || !v.SignedIn() || s.OP.Calls(scriptedop.Token) != 3 {
				t.Errorf("the second refresh is answered with %d after %d calls\n%s", got.StatusCode, s.OP.Calls(scriptedop.Token), s.Log)
			}
		})
	}
}

// TestKeysOfTheWorld signs in with keys that are unusual.
func TestKeysOfTheWorld(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		jwk      map[string]any
		accepted bool
		skipped  string // the reason, if the log must give one
	}{
		"x5t in hex":         {jwk: map[string]any{"x5t": "E7A1B4C0FFEE00112233445566778899AABBCCDD"}, accepted: true},
		"an odd certificate": {jwk: map[string]any{"x5c": []string{"!!"}, "x5u": ":"}, accepted: true},
		"no kid":             {jwk: map[string]any{"kid": nil}, accepted: true},
		"another kid":        {jwk: map[string]any{"kid": "another"}},
		"for encryption":     {jwk: map[string]any{"use": "enc"}, skipped: `is for "enc", not for signatures`},
		"published whole":    {jwk: map[string]any{"d": "AA"}, skipped: "is a private or a symmetric key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := apptest.NewOP(t)
			op.Edit(scriptedop.JWKS, func(set map[string]any) {
				jwk := set["keys"].([]any)[0].(map[string]any)
				maps.Copy(jwk, tt.jwk)
				set["keys"] = []any{jwk, scriptedop.NewKey("beside", "ES256").JWK()}
			})
			s := apptest.StartBeside(t, op)
			s.Await("/readyz", http.StatusOK)
			v := s.Visitor()
			if page := v.Get("/login"); v.SignedIn() != tt.accepted {
				t.Errorf("signed in: %t, want %t; the sign-in ends with %d\n%s", !tt.accepted, tt.accepted, page.StatusCode, s.Log)
			}
			lines := s.Logged("key skipped", "")
			if tt.skipped == "" && len(lines) > 0 || tt.skipped != "" && (len(lines) != 1 || lines[0]["kid"] != "key-1" || lines[0]["reason"] != tt.skipped) {
				t.Errorf("the log says %v, want %q", lines, tt.skipped)
			}
		})
	}
}

// TestLogoutTokensOfTheWorld signs out at a provider whose logout tokens have no exp.
func TestLogoutTokensOfTheWorld(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		mode     string
		issued   time.Duration
		accepted bool
	}{
		"compatible":          {"compatible", 0, true},
		"compatible, too old": {"compatible", -7 * time.Minute, false},
		"compatible, to come": {"compatible", 2 * time.Minute, false},
		"strict":              {"strict", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apptest.StartScripted(t, "LOGOUT_TOKEN_TYP="+tt.mode)
			v := s.Visitor()
			s.SignIn(v)
			token := s.OP.LogoutToken()
			delete(token.Claims, "exp")
			token.Claims["iat"] = time.Now().Add(tt.issued).Unix()
			want := http.StatusBadRequest
			if tt.accepted {
				want = http.StatusOK
			}
			got := s.Visitor().Post("/backchannel-logout", url.Values{"logout_token": {token.Compact()}})
			if got.StatusCode != want || v.SignedIn() == tt.accepted {
				t.Errorf("answered %d, want %d; signed in: %t\n%s", got.StatusCode, want, v.SignedIn(), s.Log)
			}
		})
	}
}

// TestMetadataOfTheWorld signs in at providers whose discovery document is unusual.
func TestMetadataOfTheWorld(t *testing.T) {
	t.Parallel()
	edit := func(member string, value any) func(*scriptedop.Provider) {
		return func(op *scriptedop.Provider) {
			op.Edit(scriptedop.Discovery, func(m map[string]any) {
				if m[member] = value; value == nil {
					delete(m, member)
				}
			})
		}
	}
	redirect := func(location string) func(*scriptedop.Provider) {
		return func(op *scriptedop.Provider) {
			op.Answer(scriptedop.Discovery, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.RawQuery == "moved" {
					op.Correct(scriptedop.Discovery)(w, r)
					return
				}
				scriptedop.Redirect(http.StatusMovedPermanently, location)(w, r)
			})
		}
	}
	for name, tt := range map[string]struct {
		change   func(*scriptedop.Provider)
		accepted bool
		logged   string
	}{
		"moved on its origin":          {redirect("?moved"), true, "provider discovered"},
		"moved elsewhere":              {redirect("https://id.example.com/.well-known/openid-configuration"), false, "provider not usable, trying again"},
		"PKCE methods in one string":   {edit("code_challenge_methods_supported", "S256"), true, ""},
		"an address that is no string": {edit("token_endpoint", 5), false, "provider not usable, trying again"},
		"no scopes":                    {edit("scopes_supported", nil), true, "the provider does not list its scopes: requesting offline_access anyway"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := apptest.NewOP(t)
			tt.change(op)
			s := apptest.StartBeside(t, op)
			v := s.Visitor()
			if page := v.Get("/login"); v.SignedIn() != tt.accepted {
				t.Errorf("signed in: %t, want %t; the sign-in ends with %d\n%s", !tt.accepted, tt.accepted, page.StatusCode, s.Log)
			}
			if tt.logged != "" && len(s.Logged(tt.logged, "")) == 0 {
				t.Errorf("the log does not say %q:\n%s", tt.logged, s.Log)
			}
			if scope := op.Last(scriptedop.Authorize).Query.Get("scope"); tt.accepted && !strings.Contains(scope, "offline_access") {
				t.Errorf("the scope %q was requested", scope)
			}
		})
	}
}

package openid_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

func TestUserInfoRequest(t *testing.T) {
	t.Parallel()
	t.Run("UI-03 the token is in the header", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, options{})
		access := ""
		p.op.Edit(scriptedop.Token, func(response map[string]any) { access = response["access_token"].(string) })
		p.wantSignedIn(p.signIn(), "alice")
		last := p.op.Last(scriptedop.UserInfo)
		if last.Method != http.MethodGet || last.Header.Get("Authorization") != "Bearer "+access || len(last.Query)+len(last.Form) > 0 {
			t.Errorf("called with %s, Authorization %q, query %v, form %v", last.Method, last.Header.Get("Authorization"), last.Query, last.Form)
		}
	})
}

// TestSignedUserInfo (UI-04) answers userinfo with a JWT. If the JWT is refused, the
// sign-in has only the claims of the ID token. If it is about another person, the sign-in
// fails.
func TestSignedUserInfo(t *testing.T) {
	t.Parallel()
	claim := func(name string, value any) func(*party, *scriptedop.JWT) {
		return func(_ *party, t *scriptedop.JWT) { t.Claims[name] = value }
	}
	header := func(name, value string) func(*party, *scriptedop.JWT) {
		return func(_ *party, t *scriptedop.JWT) { t.Header = map[string]any{name: value} }
	}
	expires := func(d time.Duration) func(*party, *scriptedop.JWT) {
		return func(p *party, t *scriptedop.JWT) { t.Claims["exp"] = p.clock.Now().Add(d).Unix() }
	}
	for name, tt := range map[string]struct {
		edit     func(*party, *scriptedop.JWT)
		accepted bool
	}{
		"as it should be":           {edit: func(*party, *scriptedop.JWT) {}, accepted: true},
		"typ JWT":                   {edit: header("typ", "JWT"), accepted: true},
		"several audiences":         {edit: func(p *party, t *scriptedop.JWT) { t.Claims["aud"] = []string{"other", p.op.ClientID} }, accepted: true},
		"not expired yet":           {edit: expires(-time.Minute), accepted: true},
		"expired":                   {edit: expires(-time.Minute - time.Second)},
		"exp is a string":           {edit: claim("exp", "tomorrow")},
		"another issuer":            {edit: claim("iss", "https://evil.example")},
		"no issuer":                 {edit: func(_ *party, t *scriptedop.JWT) { delete(t.Claims, "iss") }},
		"for another client":        {edit: claim("aud", "other")},
		"for nobody":                {edit: func(_ *party, t *scriptedop.JWT) { delete(t.Claims, "aud") }},
		"another key":               {edit: func(_ *party, t *scriptedop.JWT) { t.Key = scriptedop.NewKey("key-1", "ES256") }},
		"an algorithm not allowed":  {edit: func(_ *party, t *scriptedop.JWT) { t.Key = scriptedop.NewKey("key-2", "ES384") }},
		"no signature":              {edit: func(_ *party, t *scriptedop.JWT) { t.Raw = withoutSignature(t.Compact()) }},
		"alg none":                  {edit: header("alg", "none")},
		"an access token's typ":     {edit: header("typ", "at+jwt")},
		"a logout token's typ":      {edit: header("typ", "logout+jwt")},
		"a logout token's events":   {edit: claim("events", map[string]any{})},
		"an ID token's nonce":       {edit: claim("nonce", "n")},
		"the subject in two ways":   {edit: claim("Sub", "mallory")},
		"five parts, as encrypted":  {edit: func(_ *party, t *scriptedop.JWT) { t.Raw = "e30.e30.e30.e30.e30" }},
		"a page in place of a JWT":  {edit: func(_ *party, t *scriptedop.JWT) { t.Raw = "<html>" }},
		"a line break inside":       {edit: func(_ *party, t *scriptedop.JWT) { t.Raw = strings.Replace(t.Compact(), ".", ".\n", 1) }},
		"longer than any should be": {edit: claim("name", strings.Repeat("x", 33<<10))},
	} {
		t.Run("UI-04 "+name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{})
			p.op.Answer(scriptedop.UserInfo, func(w http.ResponseWriter, r *http.Request) {
				token := p.op.SignedUserInfo()
				tt.edit(p, token)
				scriptedop.Body(http.StatusOK, "application/jwt; charset=utf-8", token.Compact())(w, r)
			})
			in := p.signIn()
			p.wantSignedIn(in, "alice")
			logged := strings.Contains(p.log.String(), "reason=userinfo_failed")
			if got := in.Identity.Profile.Name == "Signed by the provider"; got != tt.accepted || logged == tt.accepted {
				t.Errorf("its claims were used: %t, the log names the failure: %t\n%s", got, logged, p.log.String())
			}
		})
	}
	for _, subject := range []any{"mallory", "", nil, "Alice"} {
		t.Run("UI-01 about another person", func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{})
			p.op.Answer(scriptedop.UserInfo, func(w http.ResponseWriter, r *http.Request) {
				token := p.op.SignedUserInfo()
				token.Claims["sub"] = subject
				scriptedop.Body(http.StatusOK, "application/jwt", token.Compact())(w, r)
			})
			p.wantRefused(p.signIn(), openid.ReasonUserInfoMismatch, 1, 1)
		})
	}
}

// withoutSignature returns a compact JWS with an empty third part.
func withoutSignature(compact string) string { return compact[:strings.LastIndex(compact, ".")+1] }

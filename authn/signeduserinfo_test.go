package authn_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

// TestSignedUserInfo (UI-04) answers userinfo with a JWT. One that is refused leaves the
// sign-in with what the ID token says; one about somebody else ends it.
func TestSignedUserInfo(t *testing.T) {
	t.Parallel()
	claim := func(name string, value any) func(*app, *scriptedop.JWT) {
		return func(_ *app, t *scriptedop.JWT) { t.Claims[name] = value }
	}
	header := func(name, value string) func(*app, *scriptedop.JWT) {
		return func(_ *app, t *scriptedop.JWT) { t.Header = map[string]any{name: value} }
	}
	expires := func(d time.Duration) func(*app, *scriptedop.JWT) {
		return func(a *app, t *scriptedop.JWT) { t.Claims["exp"] = a.clock.Now().Add(d).Unix() }
	}
	for name, tt := range map[string]struct {
		edit     func(*app, *scriptedop.JWT)
		accepted bool
	}{
		"as it should be":           {edit: func(*app, *scriptedop.JWT) {}, accepted: true},
		"typ JWT":                   {edit: header("typ", "JWT"), accepted: true},
		"several audiences":         {edit: func(a *app, t *scriptedop.JWT) { t.Claims["aud"] = []string{"other", a.op.ClientID} }, accepted: true},
		"not expired yet":           {edit: expires(-time.Minute), accepted: true},
		"expired":                   {edit: expires(-time.Minute - time.Second)},
		"exp is a string":           {edit: claim("exp", "tomorrow")},
		"another issuer":            {edit: claim("iss", "https://evil.example")},
		"no issuer":                 {edit: func(_ *app, t *scriptedop.JWT) { delete(t.Claims, "iss") }},
		"for another client":        {edit: claim("aud", "other")},
		"for nobody":                {edit: func(_ *app, t *scriptedop.JWT) { delete(t.Claims, "aud") }},
		"another key":               {edit: func(_ *app, t *scriptedop.JWT) { t.Key = scriptedop.NewKey("key-1", "ES256") }},
		"an algorithm not allowed":  {edit: func(_ *app, t *scriptedop.JWT) { t.Key = scriptedop.NewKey("key-2", "ES384") }},
		"no signature":              {edit: func(_ *app, t *scriptedop.JWT) { t.Raw = withoutSignature(t.Compact()) }},
		"alg none":                  {edit: header("alg", "none")},
		"an access token's typ":     {edit: header("typ", "at+jwt")},
		"a logout token's typ":      {edit: header("typ", "logout+jwt")},
		"a logout token's events":   {edit: claim("events", map[string]any{})},
		"an ID token's nonce":       {edit: claim("nonce", "n")},
		"the subject in two ways":   {edit: claim("Sub", "mallory")},
		"five parts, as encrypted":  {edit: func(_ *app, t *scriptedop.JWT) { t.Raw = "e30.e30.e30.e30.e30" }},
		"a page in place of a JWT":  {edit: func(_ *app, t *scriptedop.JWT) { t.Raw = "<html>" }},
		"a line break inside":       {edit: func(_ *app, t *scriptedop.JWT) { t.Raw = strings.Replace(t.Compact(), ".", ".\n", 1) }},
		"longer than any should be": {edit: claim("name", strings.Repeat("x", 33<<10))},
	} {
		t.Run("UI-04 "+name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.op.Answer(scriptedop.UserInfo, func(w http.ResponseWriter, r *http.Request) {
				token := a.op.SignedUserInfo()
				tt.edit(a, token)
				scriptedop.Body(http.StatusOK, "application/jwt; charset=utf-8", token.Compact())(w, r)
			})
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			logged := strings.Contains(a.log.String(), "reason=userinfo_failed")
			if got := b.who().Profile.Name == "Signed by the provider"; got != tt.accepted || logged == tt.accepted {
				t.Errorf("its claims were taken: %t, the log names the failure: %t\n%s", got, logged, a.log.String())
			}
		})
	}
	for _, subject := range []any{"mallory", "", nil, "Alice"} {
		t.Run("UI-01 about somebody else", func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.op.Answer(scriptedop.UserInfo, func(w http.ResponseWriter, r *http.Request) {
				token := a.op.SignedUserInfo()
				token.Claims["sub"] = subject
				scriptedop.Body(http.StatusOK, "application/jwt", token.Compact())(w, r)
			})
			b := a.person(t)
			b.wantRefused(b.signIn(), authn.ReasonUserInfoMismatch, 1, 1)
		})
	}
}

// withoutSignature is a compact JWS whose third part is empty.
func withoutSignature(compact string) string { return compact[:strings.LastIndex(compact, ".")+1] }

package faults

import (
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestHugeAnswersAreCheap has the provider send answers that cost the sender little. It
// does not run in parallel, because it measures allocations.
func TestHugeAnswersAreCheap(t *testing.T) {
	idToken := func(payload string) func(*scriptedop.Provider) {
		return func(op *scriptedop.Provider) {
			op.EditIDToken(func(token *scriptedop.JWT) { token.Payload = []byte(payload) })
		}
	}
	answer := func(e scriptedop.Endpoint, answer http.HandlerFunc) func(*scriptedop.Provider) {
		return func(op *scriptedop.Provider) { op.Answer(e, answer) }
	}
	endless, bomb := http.HandlerFunc(scriptedop.Endless), scriptedop.GzipBomb(24)
	for name, tt := range map[string]struct {
		provider func(*scriptedop.Provider)
		reason   openid.Reason
	}{
		"ID-20 nested 10,000 deep":              {idToken(strings.Repeat(`{"x":`, 10_000)), openid.ReasonTooLarge},
		"ID-20 20,000 members":                  {idToken("{" + strings.Repeat(`"x":1,`, 20_000) + `"y":1}`), openid.ReasonTooLarge},
		"ID-20 100,000 members":                 {idToken("{" + strings.Repeat(`"x":1,`, 100_000) + `"y":1}`), openid.ReasonTokenInvalid},
		"ID-20 a string of 1 MiB":               {idToken(`{"x":"` + strings.Repeat("x", 1<<20) + `"}`), openid.ReasonTokenInvalid},
		"ID-20 a string of 100 KiB":             {idToken(`{"x":"` + strings.Repeat("x", 100<<10) + `"}`), openid.ReasonTooLarge},
		"DO-07 an endless token response":       {answer(scriptedop.Token, endless), openid.ReasonTokenInvalid},
		"DO-07 a token response that is a bomb": {answer(scriptedop.Token, bomb), openid.ReasonTokenInvalid},
		"DO-07 an endless key set":              {withNewKey(endless), openid.ReasonProviderUnreachable},
		"DO-07 a key set that is a bomb":        {withNewKey(bomb), openid.ReasonProviderUnreachable},
		"DO-07 endless userinfo":                {answer(scriptedop.UserInfo, endless), ""},
		"DO-07 userinfo that is a bomb":         {answer(scriptedop.UserInfo, bomb), ""},
		"DO-07 the largest answers allowed": {func(op *scriptedop.Provider) {
			op.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims["x"] = strings.Repeat("x", 60<<10) })
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := apptest.StartScripted(t)
			v := s.Visitor()
			s.SignIn(v) // warms up what is made only once
			tt.provider(s.OP)
			address := v.AuthorizationResponse("/login?return_to=%2Fprofile")
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			started := time.Now()
			got := v.Callback(address)
			took := time.Since(started)
			runtime.ReadMemStats(&after)
			// Both ends are in this process, and the provider also allocates the oversized
			// token.
			if used := after.TotalAlloc - before.TotalAlloc; took > 10*time.Second || used > 20<<20 {
				t.Errorf("the sign-in took %s and %d bytes", took, used)
			}
			if tt.reason == "" {
				s.WantSignedIn(v, got, "alice", "/profile")
				return
			}
			if lines := s.Logged("refused", got.Header.Get("X-Request-Id")); len(lines) != 1 || lines[0]["reason"] != string(tt.reason) {
				t.Errorf("the log says %v, want one refusal for %q", lines, tt.reason)
			}
			s.WantNoSecrets(got)
		})
	}
}

// withNewKey makes the provider sign with a new key, so that the app has to fetch the key
// set.
func withNewKey(keys http.HandlerFunc) func(*scriptedop.Provider) {
	return func(op *scriptedop.Provider) {
		op.SignWith(scriptedop.NewKey("key-2", "ES256"))
		op.Answer(scriptedop.JWKS, keys)
	}
}

package authn_test

import (
	"net/http"
	"strings"
	"testing"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

// TestUserInfoRequired (UI-05) is the other policy: without userinfo nobody is signed in.
func TestUserInfoRequired(t *testing.T) {
	t.Parallel()
	required := appOptions{config: func(c *authn.Config) { c.UserInfoRequired = true }}
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		slow   bool
	}{
		"UI-05 500":               {answer: scriptedop.Status(500)},
		"UI-05 429":               {answer: scriptedop.Status(429)},
		"UI-05 401":               {answer: scriptedop.Status(401)},
		"UI-05 no answer":         {answer: scriptedop.Hang, slow: true},
		"UI-05 garbage":           {answer: scriptedop.Body(200, "application/json", "MARK")},
		"UI-05 a page":            {answer: scriptedop.Body(200, "text/html", "<p>MARK")},
		"UI-05 UI-08 no end":      {answer: scriptedop.Endless},
		"UI-05 as it should be":   {answer: nil},
		"UI-01 UI-05 another sub": {answer: scriptedop.JSON(200, map[string]any{"sub": "mallory"})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.slow && testing.Short() {
				t.Skip("waits for a time limit")
			}
			a := newApp(t, required)
			a.op.Answer(scriptedop.UserInfo, tt.answer)
			b := a.person(t)
			got := b.get(b.authorize(b.begin("return_to=/orders")))
			if tt.answer == nil {
				b.wantSignedIn(got, "alice")
				return
			}
			want := authn.ReasonUserInfoRequired
			if strings.HasPrefix(name, "UI-01") {
				want = authn.ReasonUserInfoMismatch
			}
			b.wantRefused(got, want, 1, 1)
			if got.header.Get("Return-To") != "/orders" || strings.Contains(got.text+a.log.String(), "MARK") {
				t.Errorf("the way back is %q, the error %s", got.header.Get("Return-To"), got.text)
			}
			// It is no reason for the next one to fail.
			a.op.Answer(scriptedop.UserInfo, nil)
			b.wantSignedIn(b.signIn(), "alice")
		})
	}
	t.Run("UI-05 the provider has no such endpoint", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, required)
		a.op.Edit(scriptedop.Discovery, without("userinfo_endpoint"))
		if got := a.person(t).wantNoLogin(authn.ReasonProviderMisconfigured); !strings.Contains(got.text, "userinfo_endpoint is missing") {
			t.Errorf("the error is %s", got.text)
		}
	})
}

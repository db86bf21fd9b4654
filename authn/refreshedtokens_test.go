package authn_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

// TestRefreshedIDTokenOfAnother has new tokens come with an ID token that is not the
// person's: they are worth nothing, and revoked (RT-10).
func TestRefreshedIDTokenOfAnother(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*scriptedop.JWT){
		"RT-10 another issuer":   func(t *scriptedop.JWT) { t.Claims["iss"] = "https://evil.example" },
		"RT-10 another subject":  func(t *scriptedop.JWT) { t.Claims["sub"] = "mallory" },
		"RT-10 another client":   func(t *scriptedop.JWT) { t.Claims["aud"] = "other" },
		"RT-10 another party":    func(t *scriptedop.JWT) { t.Claims["azp"] = "other" },
		"RT-10 another nonce":    func(t *scriptedop.JWT) { t.Claims["nonce"] = "other" },
		"RT-10 another sign-in":  func(t *scriptedop.JWT) { t.Claims["auth_time"] = 1 },
		"RT-10 another key":      func(t *scriptedop.JWT) { t.Key.Private = scriptedop.NewKey("key-1", "ES256").Private },
		"RT-10 another at_hash":  func(t *scriptedop.JWT) { t.Claims["at_hash"] = "other" },
		"RT-10 a logout token":   func(t *scriptedop.JWT) { t.Header = map[string]any{"typ": "logout+jwt"} },
		"RT-10 not signed":       func(t *scriptedop.JWT) { t.Key.Algorithm = "none" },
		"RT-10 not a token":      func(t *scriptedop.JWT) { t.Raw = "x" },
		"RT-10 issued yesterday": func(t *scriptedop.JWT) { t.Claims["iat"] = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.lives(10 * time.Minute)
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			a.op.EditIDToken(edit)
			a.clock.Move(10 * time.Minute)
			b.wantEnded(b.token())
			a.tokens.Wait()
			if calls := a.op.Calls(scriptedop.Revoke); calls != 1 {
				t.Errorf("%d refresh tokens were revoked, want 1", calls)
			}
		})
	}
	for name, edit := range map[string]func(map[string]any){
		"RT-10 none":                       func(response map[string]any) { delete(response, "id_token") },
		"RT-10 the same":                   func(map[string]any) {},
		"RT-04 RT-10 and no refresh token": func(response map[string]any) { delete(response, "refresh_token") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.lives(10 * time.Minute)
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			a.op.Edit(scriptedop.Token, edit)
			a.clock.Move(10 * time.Minute)
			b.wantToken(b.token())
		})
	}
}

// TestRefreshToken has a provider that gives a new refresh token out with every refresh, at
// times, or never.
func TestRefreshToken(t *testing.T) {
	t.Parallel()
	t.Run("RT-04 fifty in a row", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{config: func(c *authn.Config) { c.Idle = 24 * time.Hour }})
		a.lives(10 * time.Minute)
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		for range 50 {
			a.clock.Move(10 * time.Minute)
			b.wantToken(b.token())
		}
		if calls := a.op.Calls(scriptedop.Token); calls != 51 {
			t.Errorf("%d calls, want 51", calls)
		}
	})
	t.Run("RT-04 the old one stays", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{op: scriptedop.Config{Overlap: time.Hour}})
		a.lives(10 * time.Minute)
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		a.op.Edit(scriptedop.Token, func(response map[string]any) { delete(response, "refresh_token"); response["expires_in"] = 600 })
		var sent []string
		for range 2 {
			a.clock.Move(10 * time.Minute)
			b.wantToken(b.token())
			sent = append(sent, a.op.Last(scriptedop.Token).Form.Get("refresh_token"))
		}
		if sent[0] != sent[1] || sent[0] == "" {
			t.Errorf("sent %q", sent)
		}
	})
	t.Run("RT-01 the same access token once more", func(t *testing.T) {
		t.Parallel()
		one, two, b := nodes(t, scriptedop.Config{})
		access := b.token().text
		one.op.Edit(scriptedop.Token, func(response map[string]any) {
			response["access_token"], response["expires_in"] = access, 600
			delete(response, "id_token")
		})
		one.clock.Move(10 * time.Minute)
		ctx := b.at(two).sessionOf()
		b.token()
		if _, err := two.tokens.Token(ctx); err != nil || one.op.Calls(scriptedop.Token) != 2 {
			t.Errorf("%d calls (%v), want 2", one.op.Calls(scriptedop.Token), err)
		}
	})
	t.Run("RT-13 a wider scope", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		a.lives(10 * time.Minute)
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		a.op.Edit(scriptedop.Token, func(response map[string]any) { response["scope"] = "openid admin profile" })
		a.clock.Move(10 * time.Minute)
		b.wantToken(b.token())
		if got := authn.FromContext(b.sessionOf()).Scope(); got != "openid profile" {
			t.Errorf("the session's scope is %q", got)
		}
	})
	t.Run("RT-16 none", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{config: func(c *authn.Config) { c.Scopes = []string{"openid"} }})
		a.lives(10 * time.Minute)
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		a.clock.Move(soonOver)
		b.wantToken(b.token())
		if logged := a.log.String(); strings.Contains(logged, "not refreshed") {
			t.Errorf("there is nothing to refresh with, and the log says:\n%s", logged)
		}
		a.clock.Move(time.Minute)
		for range 3 {
			if got := b.token(); got.reason != authn.ReasonRefreshRefused || b.who().Subject != "alice" {
				t.Errorf("answered %q, and signed in is %q", got.reason, b.who().Subject)
			}
		}
		b.wantCalls(1, 2)
	})
}

// TestRefreshNeverProlongsTheSession (RT-11) has a background that never stops refreshing.
func TestRefreshNeverProlongsTheSession(t *testing.T) {
	t.Parallel()
	for name, lifetimes := range map[string][2]time.Duration{
		"RT-11 SE-06 idle": {time.Hour, 24 * time.Hour}, "RT-11 absolute": {2 * time.Hour, 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{config: func(c *authn.Config) { c.Idle, c.Absolute = lifetimes[0], lifetimes[1] }})
			a.lives(10 * time.Minute)
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			before := b.who()
			for elapsed := 10 * time.Minute; elapsed < lifetimes[0]; elapsed += 10 * time.Minute {
				a.clock.Move(10 * time.Minute)
				b.wantToken(b.token())
				if got := b.post(a.URL+"/refresh", nil); got.status != http.StatusOK {
					t.Fatalf("refused: %s", got.text)
				}
			}
			if after := b.who(); after.Expires != before.Expires || after.IdleUntil != before.IdleUntil {
				t.Errorf("it ended at %s (%s idle), and ends at %s (%s idle)", before.Expires, before.IdleUntil, after.Expires, after.IdleUntil)
			}
			a.clock.Move(10 * time.Minute)
			if got := b.token(); got.status == http.StatusOK || b.who().Subject != "" {
				t.Error("the session lives on")
			}
		})
	}
}

package authn_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

func TestWhoAPersonIs(t *testing.T) {
	t.Parallel()
	t.Run("ID-15 two people of one address", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		a.op.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims["email"] = "shared@example.com" })
		alice, bob := a.person(t), a.person(t)
		alice.wantSignedIn(alice.signIn(), "alice")
		a.op.SignInAs("bob")
		bob.wantSignedIn(bob.signIn(), "bob")
		token := a.op.LogoutToken()
		delete(token.Claims, "sid")
		if got := bob.signOutByProvider(token); got.status != http.StatusOK {
			t.Fatalf("refused: %s", got.text)
		}
		if alice.who().Subject != "alice" || bob.who().Subject != "" {
			t.Errorf("signed in are %q and %q", alice.who().Subject, bob.who().Subject)
		}
	})
	t.Run("ID-15 one person of two addresses", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		first, second := a.person(t), a.person(t)
		first.wantSignedIn(first.signIn(), "alice")
		a.op.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims["email"] = "new@example.com" })
		second.wantSignedIn(second.signIn(), "alice")
		token := a.op.LogoutToken()
		delete(token.Claims, "sid")
		second.signOutByProvider(token)
		if first.who().Subject != "" || second.who().Subject != "" {
			t.Errorf("signed in are %q and %q", first.who().Subject, second.who().Subject)
		}
	})
	t.Run("ID-25 claims that live elsewhere are left there", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		elsewhere := func(claims map[string]any) {
			claims["_claim_names"] = map[string]any{"address": "src1"}
			claims["_claim_sources"] = map[string]any{"src1": map[string]any{"endpoint": a.op.Issuer + "/claims", "access_token": "x"}}
		}
		a.op.Edit(scriptedop.UserInfo, elsewhere)
		a.op.EditIDToken(func(token *scriptedop.JWT) { elsewhere(token.Claims) })
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		b.wantCalls(1, 1) // and none to what was not published
	})
}

// TestClaimsOfTheWrongType are left out, and are no reason to refuse a person.
func TestClaimsOfTheWrongType(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		claims map[string]any
		want   authn.Profile
	}{
		"ID-21 as they should be": {
			map[string]any{"name": "N", "email": "e@example.com", "email_verified": true}, authn.Profile{Name: "N", Email: "e@example.com", EmailVerified: true},
		},
		"ID-21 true as a text":   {map[string]any{"email": "e", "email_verified": "true"}, authn.Profile{Email: "e", EmailVerified: true}},
		"ID-21 false as a text":  {map[string]any{"email": "e", "email_verified": "false"}, authn.Profile{Email: "e"}},
		"ID-21 verified 1":       {map[string]any{"email": "e", "email_verified": 1}, authn.Profile{Email: "e"}},
		"ID-21 verified null":    {map[string]any{"email": "e", "email_verified": nil}, authn.Profile{Email: "e"}},
		"ID-21 verified TRUE":    {map[string]any{"email": "e", "email_verified": "TRUE"}, authn.Profile{Email: "e"}},
		"ID-21 an address alone": {map[string]any{"email": "e"}, authn.Profile{Email: "e"}},
		"ID-21 an object":        {map[string]any{"email": map[string]any{}, "email_verified": true, "name": 7, "picture": []string{"x"}}, authn.Profile{EmailVerified: true}},
		"ID-21 null":             {map[string]any{"email": nil, "name": nil, "preferred_username": "p"}, authn.Profile{Name: "p"}},
		"ID-21 parts of a name":  {map[string]any{"given_name": "G", "family_name": 5}, authn.Profile{Name: "G"}},
	} {
		for source, options := range map[string]func(*app){
			"in userinfo": func(a *app) {
				a.op.Edit(scriptedop.UserInfo, func(claims map[string]any) {
					clear(claims)
					claims["sub"] = "alice"
					maps.Copy(claims, tt.claims)
				})
			},
			"in the ID token": func(a *app) {
				a.op.Edit(scriptedop.Discovery, func(m map[string]any) { delete(m, "userinfo_endpoint") })
				a.op.EditIDToken(func(token *scriptedop.JWT) {
					maps.Copy(token.Claims, tt.claims)
				})
			},
		} {
			t.Run(name+", "+source, func(t *testing.T) {
				t.Parallel()
				a := newApp(t, appOptions{})
				options(a)
				b := a.person(t)
				b.wantSignedIn(b.signIn(), "alice")
				got := b.who().Profile
				if tt.want.Email == "" {
					got.EmailVerified = tt.want.EmailVerified // of no address it says nothing
				}
				if got != tt.want {
					t.Errorf("the profile is %+v, want %+v", got, tt.want)
				}
			})
		}
	}
}

func TestSessionEndsWithTheProviders(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		expiry, after time.Duration
		alive         bool
	}{
		"ID-24 a second before":       {5 * time.Second, 4 * time.Second, true},
		"ID-24 when it ends":          {5 * time.Second, 5 * time.Second, false},
		"ID-24 later than our own":    {365 * 24 * time.Hour, 59 * time.Minute, true},
		"ID-24 our own goes on ahead": {365 * 24 * time.Hour, time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.op.EditIDToken(claimOf("session_expiry", a.clock.Now().Add(tt.expiry).Unix()))
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			a.clock.Move(tt.after)
			if got := b.who().Subject != ""; got != tt.alive {
				t.Errorf("the session is alive: %t, want %t", got, tt.alive)
			}
		})
	}
	t.Run("ID-24 a refresh says that it ends earlier", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		end := a.clock.Now().Add(10 * time.Minute)
		a.op.EditIDToken(claimOf("session_expiry", end.Unix()))
		a.op.RevokeAccessTokens()
		if got := b.post(a.URL+"/refresh", nil); got.status != http.StatusOK {
			t.Fatalf("refused: %s", got.text)
		}
		if got := b.who().Expires; !got.Equal(end) {
			t.Errorf("the session ends at %s, want %s", got, end)
		}
	})
	t.Run("ID-23 an ID token without sid is noted", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		a.op.EditIDToken(func(token *scriptedop.JWT) { delete(token.Claims, "sid") })
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		if !strings.Contains(a.log.String(), "has no sid") {
			t.Errorf("the log is:\n%s", a.log.String())
		}
	})
}

package authn_test

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/scriptedop"
)

func TestUserInfoSubject(t *testing.T) {
	t.Parallel()
	for name, sub := range map[string]any{
		"UI-01 another": "mallory", "UI-01 missing": nil, "UI-01 empty": "", "UI-01 in another case": "Alice",
		"UI-01 a number": 1, "UI-01 null": null{}, "UI-01 a list": []string{"alice"}, "UI-01 with a space": "alice ",
	} {
		edit := func(claims map[string]any) {
			if claims["sub"] = sub; sub == nil {
				delete(claims, "sub")
			}
		}
		t.Run(name+", at the sign-in", func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.op.Edit(scriptedop.UserInfo, edit)
			b := a.person(t)
			b.wantRefused(b.signIn(), authn.ReasonUserInfoMismatch, 1, 1)
		})
		t.Run(name+", at a refresh", func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			a.op.Edit(scriptedop.UserInfo, edit)
			b.wantRefused(b.post(a.URL+"/refresh", nil), authn.ReasonSessionEnded, 1, 2)
		})
	}
	t.Run("UI-01 the same", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		a.op.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims["name"] = "Alice Liddell" })
		if got := b.post(a.URL+"/refresh", nil); got.status != http.StatusOK {
			t.Fatalf("refused: %s", got.text)
		}
		if who := b.who(); who.Subject != "alice" || who.Profile.Name != "Alice Liddell" {
			t.Errorf("signed in is %+v", who)
		}
	})
}

func TestUserInfoSaysNothingOfTheSignIn(t *testing.T) {
	t.Parallel()
	t.Run("UI-02", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		a.op.EditIDToken(claimOf("acr", "high"))
		signedOnly := []string{"iss", "aud", "exp", "iat", "nonce", "azp", "at_hash", "auth_time", "acr", "amr", "sid"}
		a.op.Edit(scriptedop.UserInfo, func(claims map[string]any) {
			for _, name := range signedOnly {
				claims[name] = "evil"
			}
		})
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		who := b.who()
		for _, name := range signedOnly {
			if strings.Contains(string(who.Claims[name]), "evil") {
				t.Errorf("%s is %s", name, who.Claims[name])
			}
		}
		if who.Issuer != a.op.Issuer || string(who.Claims["acr"]) != `"high"` || who.Profile.Email != "alice@example.com" {
			t.Errorf("signed in is %+v", who)
		}
		if got := b.signOutByProvider(a.op.LogoutToken()); got.status != http.StatusOK || b.who().Subject != "" {
			t.Errorf("the provider's own sid signs nobody out: %s", got.text)
		}
	})
}

// claimOf is an edit of every ID token.
func claimOf(name string, value any) func(*scriptedop.JWT) {
	return func(t *scriptedop.JWT) { t.Claims[name] = value }
}

func TestUserInfoRequest(t *testing.T) {
	t.Parallel()
	t.Run("UI-03 the token is in the header", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		access := ""
		a.op.Edit(scriptedop.Token, func(response map[string]any) { access = response["access_token"].(string) })
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		last := a.op.Last(scriptedop.UserInfo)
		if last.Method != http.MethodGet || last.Header.Get("Authorization") != "Bearer "+access || len(last.Query)+len(last.Form) > 0 {
			t.Errorf("asked with %s, Authorization %q, query %v, form %v", last.Method, last.Header.Get("Authorization"), last.Query, last.Form)
		}
	})
}

// TestUserInfoFails shows the policy: a sign-in does without userinfo, and says so in
// the log; a refresh says so to the person, whose session stays.
func TestUserInfoFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		slow   bool
	}{
		"UI-04 a page":               {answer: scriptedop.Body(200, "text/html", `{"sub":"alice","name":"MARK"}`)},
		"UI-04 text":                 {answer: scriptedop.Body(200, "text/plain", `{"sub":"alice","name":"MARK"}`)},
		"UI-04 a list":               {answer: scriptedop.Body(200, "application/json", `[{"sub":"alice","name":"MARK"}]`)},
		"UI-04 nothing":              {answer: scriptedop.Body(200, "application/json", "")},
		"UI-04 half a document":      {answer: scriptedop.Body(200, "application/json", `{"sub":"alice","name":"MARK`)},
		"UI-04 the subject twice":    {answer: scriptedop.Body(200, "application/json", `{"sub":"alice","name":"MARK","sub":"alice"}`)},
		"UI-04 a subject misspelt":   {answer: scriptedop.Body(200, "application/json", `{"sub":"alice","name":"MARK","Sub":"mallory"}`)},
		"UI-04 a JWT, unasked":       {answer: scriptedop.Body(200, "application/jwt", "e30.e30.")},
		"UI-04 203":                  {answer: scriptedop.Body(203, "application/json", `{"sub":"alice","name":"MARK"}`)},
		"UI-05 UI-08 500":            {answer: scriptedop.Body(500, "application/json", `{"sub":"alice","name":"MARK"}`)},
		"UI-08 403":                  {answer: scriptedop.Body(403, "text/plain", "MARK")},
		"UI-05 a broken line":        {answer: scriptedop.Reset},
		"UI-05 half an answer":       {answer: scriptedop.Cut},
		"UI-05 no answer":            {answer: scriptedop.Hang, slow: true},
		"UI-05 an answer that stops": {answer: scriptedop.Stall, slow: true},
		"UI-08 DO-07 no end":         {answer: scriptedop.Endless},
		"UI-08 DO-07 a bomb":         {answer: scriptedop.GzipBomb(64)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.slow && testing.Short() {
				t.Skip("waits for a time limit")
			}
			a := newApp(t, appOptions{})
			a.op.EditIDToken(claimOf("name", "Alice of the ID token"))
			a.op.Answer(scriptedop.UserInfo, tt.answer)
			b := a.person(t)
			started := time.Now()
			b.wantSignedIn(b.signIn(), "alice")
			// The transport may send a GET again on a new connection, but no code.
			if token, userInfo := a.op.Calls(scriptedop.Token), a.op.Calls(scriptedop.UserInfo); token != 1 || userInfo > 2 {
				t.Errorf("token and userinfo endpoint were called %d and %d times", token, userInfo)
			}
			if who := b.who(); who.Profile.Name != "Alice of the ID token" || who.Profile.Email != "" {
				t.Errorf("signed in is %+v", who)
			}
			if took := time.Since(started); took > 10*time.Second {
				t.Errorf("CB-23: answered after %s", took)
			}
			if logged := a.log.String(); !strings.Contains(logged, "reason=userinfo_failed") || strings.Contains(logged, "MARK") {
				t.Errorf("the log is:\n%s", logged)
			}
			if tt.slow {
				return
			}
			got := b.post(a.URL+"/refresh", nil)
			if got.reason != authn.ReasonUserInfoFailed || strings.Contains(got.text, "MARK") || b.who().Subject != "alice" {
				t.Errorf("the refresh is answered %q: %s", got.reason, got.text)
			}
		})
	}
	t.Run("UI-05 the provider has no such endpoint", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		a.op.Edit(scriptedop.Discovery, func(m map[string]any) { delete(m, "userinfo_endpoint") })
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		b.wantCalls(1, 0)
	})
	t.Run("DO-11 too many claims", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		a.op.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims["groups"] = strings.Repeat("x", 64<<10) })
		b := a.person(t)
		b.wantRefused(b.signIn(), authn.ReasonTooLarge, 1, 1)
	})
	t.Run("DO-11 nearly too many claims", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		a.op.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims["groups"] = strings.Repeat("x", 60<<10) })
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
	})
}

func TestUserInfoRefusesTheToken(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer func(op *scriptedop.Provider) http.HandlerFunc
		scopes []string
		want   authn.Reason
		calls  []int
	}{
		"UI-06 once": {
			answer: func(op *scriptedop.Provider) http.HandlerFunc {
				return scriptedop.InTurn(scriptedop.Status(401), op.Correct(scriptedop.UserInfo))
			},
			calls: []int{2, 3},
		},
		"UI-06 for ever": {
			answer: func(*scriptedop.Provider) http.HandlerFunc { return scriptedop.Status(401) },
			want:   authn.ReasonUserInfoFailed, calls: []int{2, 3},
		},
		"UI-06 and there is no refresh token": {
			answer: func(*scriptedop.Provider) http.HandlerFunc { return scriptedop.Status(401) },
			scopes: []string{"openid"}, want: authn.ReasonRefreshRefused, calls: []int{1, 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{config: func(c *authn.Config) {
				if tt.scopes != nil {
					c.Scopes = tt.scopes
				}
			}})
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			a.op.Answer(scriptedop.UserInfo, tt.answer(a.op))
			if got := b.post(a.URL+"/refresh", nil); got.reason != tt.want {
				t.Errorf("reason is %q, want %q: %s", got.reason, tt.want, got.text)
			}
			b.wantCalls(tt.calls...)
			if who := b.who(); who.Subject != "alice" {
				t.Errorf("signed in is %q", who.Subject)
			}
		})
	}
}

func TestProfileRefreshIsLimited(t *testing.T) {
	t.Parallel()
	t.Run("UI-07 two hundred at once", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		cookie := b.cookieHeader()
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL+"/refresh", nil)
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Cookie", cookie)
				resp, err := http.DefaultTransport.RoundTrip(r)
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
			})
		}
		wg.Wait()
		if n := a.op.Calls(scriptedop.UserInfo); n < 2 || n > 4 {
			t.Errorf("userinfo was asked %d times within a minute, want 2 to 4", n)
		}
		if who := b.who(); who.Subject != "alice" {
			t.Errorf("signed in is %q", who.Subject)
		}
		a.clock.Move(time.Minute)
		if got := b.post(a.URL+"/refresh", nil); got.status != http.StatusOK {
			t.Errorf("a minute later: %s", got.text)
		}
	})
}

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

package authn_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// TestRefreshedIDTokenOfAnother refreshes with ID tokens that are not the person's. The app
// does not use the new tokens, and revokes them (RT-10).
func TestRefreshedIDTokenOfAnother(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*scriptedop.JWT){
		"RT-10 another issuer":  func(t *scriptedop.JWT) { t.Claims["iss"] = "https://evil.example" },
		"RT-10 another subject": func(t *scriptedop.JWT) { t.Claims["sub"] = "mallory" },
		"RT-10 another client":  func(t *scriptedop.JWT) { t.Claims["aud"] = "other" },
		"RT-10 another party":   func(t *scriptedop.JWT) { t.Claims["azp"] = "other" },
		"RT-10 another nonce":   func(t *scriptedop.JWT) { t.Claims["nonce"] = "other" },
		"RT-10 another key":     func(t *scriptedop.JWT) { t.Key.Private = scriptedop.NewKey("key-1", "ES256").Private },
		"RT-10 an unknown key":  func(t *scriptedop.JWT) { t.Key = scriptedop.NewKey("key-2", "ES256") },
		"RT-10 no subject":      func(t *scriptedop.JWT) { t.Claims["sub"] = nil },
		// What is wrong beside it hides none of these.
		"RT-10 another subject, of yesterday":        func(t *scriptedop.JWT) { t.Claims["iat"], t.Claims["sub"] = 1, "mallory" },
		"RT-10 another subject, signed in later":     func(t *scriptedop.JWT) { t.Claims["auth_time"], t.Claims["sub"] = 4_000_000_000, "mallory" },
		"RT-10 another subject, not signed":          func(t *scriptedop.JWT) { t.Key.Algorithm, t.Claims["sub"] = "none", "mallory" },
		"RT-10 another issuer, as a logout token":    func(t *scriptedop.JWT) { t.Header["typ"], t.Claims["iss"] = "logout+jwt", "https://evil.example" },
		"RT-10 another key, of yesterday":            func(t *scriptedop.JWT) { t.Claims["iat"], t.Key.Private = 1, scriptedop.NewKey("", "ES256").Private },
		"RT-10 ID-24 the provider's session is over": func(t *scriptedop.JWT) { t.Claims["session_expiry"] = 1 },
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

// TestRefreshedIDTokenIsNotUsed refreshes with ID tokens that are the person's, as far as anyone
// can tell, and of no use (RT-10). The app uses the new tokens all the same.
func TestRefreshedIDTokenIsNotUsed(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*scriptedop.JWT){
		"RT-10 issued yesterday":       func(t *scriptedop.JWT) { t.Claims["iat"] = 1 },
		"RT-10 issued tomorrow":        func(t *scriptedop.JWT) { t.Claims["iat"], t.Claims["exp"] = 4_000_000_000, 4_000_000_100 },
		"RT-10 expired":                func(t *scriptedop.JWT) { t.Claims["exp"] = 1 },
		"RT-10 never expires":          func(t *scriptedop.JWT) { t.Claims["exp"] = nil },
		"RT-10 not signed":             func(t *scriptedop.JWT) { t.Key.Algorithm = "none" },
		"RT-10 signed in another way":  func(t *scriptedop.JWT) { t.Key = scriptedop.NewKey("key-1", "ES384") },
		"RT-10 signed with the secret": func(t *scriptedop.JWT) { t.Key.Algorithm, t.Key.Private = "HS256", []byte("secret of the client") },
		"RT-10 not a token":            func(t *scriptedop.JWT) { t.Raw = "x" },
		"RT-10 a logout token":         func(t *scriptedop.JWT) { t.Header = map[string]any{"typ": "logout+jwt"} },
		"RT-10 another at_hash":        func(t *scriptedop.JWT) { t.Claims["at_hash"] = "other" },
		"RT-10 a sid of a number":      func(t *scriptedop.JWT) { t.Claims["sid"] = 7 },
		"RT-10 too long":               func(t *scriptedop.JWT) { t.Claims["x"] = strings.Repeat("x", 40<<10) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.lives(10 * time.Minute)
			b := a.person(t)
			hint := ""
			a.op.EditIDToken(func(t *scriptedop.JWT) { hint = t.Compact(); t.Raw = hint })
			b.wantSignedIn(b.signIn(), "alice")
			before := b.who()
			a.op.EditIDToken(func(t *scriptedop.JWT) { t.Claims["name"] = "Mallory"; edit(t) })
			for range 2 { // the second one needs the refresh token of the first
				a.clock.Move(10 * time.Minute)
				b.wantToken(b.token())
			}
			if calls := a.op.Calls(scriptedop.Token); calls != 3 {
				t.Errorf("%d calls, want 3", calls)
			}
			if after := b.who(); after.Subject != "alice" || after.Profile != before.Profile {
				t.Errorf("%q is signed in as %v", after.Subject, after.Profile)
			}
			if logged := a.log.String(); strings.Count(logged, "level=ERROR msg=\"refreshed ID token not used, the old one stays\"") != 2 {
				t.Errorf("the log does not say so:\n%s", logged)
			}
			if asked := scriptedop.Query(t, b.post(a.URL+"/logout", nil).location); asked.Get("id_token_hint") != hint {
				t.Error("the sign-out does not send the old ID token")
			}
		})
	}
}

// TestLaterAuthTime refreshes at a provider that counts a refresh as a sign-in. The session stays,
// and is as old as it is: nobody has proved anything.
func TestLaterAuthTime(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		moved time.Duration // of auth_time, from that of the sign-in
		want  time.Duration
	}{
		"RT-10 later":   {moved: 10 * time.Minute},
		"RT-10 earlier": {moved: -time.Hour, want: -time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.lives(10 * time.Minute)
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			signedIn := a.clock.Now()
			a.op.EditIDToken(func(t *scriptedop.JWT) {
				t.Claims["auth_time"], t.Claims["name"] = signedIn.Add(tt.moved).Unix(), "Alice the Second"
			})
			for range 2 {
				a.clock.Move(10 * time.Minute)
				b.wantToken(b.token())
			}
			identity := authn.FromContext(b.sessionOf()).Identity
			if got := identity.AuthTime; !got.Equal(signedIn.Add(tt.want)) {
				t.Errorf("auth_time is %s, want %s", got, signedIn.Add(tt.want))
			}
			if got := b.who(); string(got.Claims["auth_time"]) != strconv.FormatInt(signedIn.Add(tt.want).Unix(), 10) || got.Profile.Name != "Alice the Second" {
				t.Errorf("the claims are %s", got.Claims)
			}
			if (openid.Demand{MaxAge: 5 * time.Minute}).Met(identity, a.clock.Now()) {
				t.Error("the sign-in counts as recent")
			}
		})
	}
}

// TestRefreshKeepsTheWayOfTheSignIn refreshes a sign-in with a second factor. The refreshed ID token does not
// repeat how the person signed in, or says something else.
func TestRefreshKeepsTheWayOfTheSignIn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		refreshed, acr string
	}{
		"not repeated": {"", "mfa"}, "repeated": {"mfa", "mfa"}, "another": {"password", "password"},
	} {
		a := newApp(t, appOptions{})
		a.lives(10 * time.Minute)
		b := a.person(t)
		a.op.EditIDToken(func(t *scriptedop.JWT) { t.Claims["acr"], t.Claims["amr"] = "mfa", []string{"otp"} })
		b.wantSignedIn(b.signIn(), "alice")
		a.op.EditIDToken(func(t *scriptedop.JWT) {
			if t.Claims["name"] = "Alice the Second"; tt.refreshed != "" {
				t.Claims["acr"] = tt.refreshed
			}
		})
		for range 2 {
			a.clock.Move(10 * time.Minute)
			b.wantToken(b.token())
		}
		identity := authn.FromContext(b.sessionOf()).Identity
		if who := b.who(); identity.ACR() != tt.acr || string(who.Claims["amr"]) != `["otp"]` || identity.Profile.Name != "Alice the Second" {
			t.Errorf("%s: acr %q, the claims are %s", name, identity.ACR(), who.Claims)
		}
	}
}

// TestRotatedTokenIsKept refreshes at a provider that rotates refresh tokens and sends something odd
// beside the new one. The next refresh works.
func TestRotatedTokenIsKept(t *testing.T) {
	t.Parallel()
	type response map[string]any
	with := func(name string, value any) func(response) { return func(r response) { r[name] = value } }
	for name, tt := range map[string]struct {
		edit func(response)
		// answer changes how the response is sent.
		answer func(*httptest.ResponseRecorder) http.HandlerFunc
		usable bool
	}{
		"RT-04 a scope of null":           {edit: with("scope", nil), usable: true},
		"RT-04 a scope of a list":         {edit: with("scope", []string{"openid"}), usable: true},
		"RT-04 a scope of a number":       {edit: with("scope", 1), usable: true},
		"RT-04 an ID token of null":       {edit: with("id_token", nil), usable: true},
		"RT-04 an ID token of a list":     {edit: with("id_token", []string{"x"}), usable: true},
		"RT-04 an empty ID token":         {edit: with("id_token", ""), usable: true},
		"RT-04 a member like a claim":     {edit: with("Nonce", "x"), usable: true},
		"RT-04 expires_in of null":        {edit: with("expires_in", nil), usable: true},
		"RT-04 no token type":             {edit: with("token_type", nil)},
		"RT-04 a token of another type":   {edit: with("token_type", "DPoP")},
		"RT-04 an access token of a list": {edit: with("access_token", []string{"x"})},
		"RT-04 no access token":           {edit: with("access_token", nil)},
		"RT-04 a member twice": {answer: func(r *httptest.ResponseRecorder) http.HandlerFunc {
			return scriptedop.Body(200, "application/json", `{"scope":"a",`+r.Body.String()[1:])
		}},
		"RT-04 as text": {answer: func(r *httptest.ResponseRecorder) http.HandlerFunc {
			return scriptedop.Body(200, "text/plain", r.Body.String())
		}},
		"RT-04 as 201": {answer: func(r *httptest.ResponseRecorder) http.HandlerFunc {
			return scriptedop.Body(201, "application/json", r.Body.String())
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.lives(10 * time.Minute)
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			a.clock.Move(10 * time.Minute)
			if tt.edit != nil {
				a.op.Edit(scriptedop.Token, func(r map[string]any) { r["expires_in"] = 600; tt.edit(r) })
			} else {
				a.op.Answer(scriptedop.Token, func(w http.ResponseWriter, r *http.Request) {
					recorded := httptest.NewRecorder()
					a.op.Correct(scriptedop.Token)(recorded, r)
					tt.answer(recorded)(w, r)
				})
			}
			got := b.token()
			if tt.usable {
				b.wantToken(got)
			} else if got.reason != authn.ReasonRefreshFailed {
				t.Errorf("answered %q: %s", got.reason, got.text)
			}
			b.wantNoSecrets(answer{text: a.log.String()})
			a.op.Answer(scriptedop.Token, nil)
			a.lives(10 * time.Minute)
			if again := b.token(); !tt.usable && again.reason != openid.ReasonProviderUnreachable {
				t.Errorf("called again immediately: %q", again.reason)
			}
			a.clock.Move(10 * time.Minute)
			b.wantToken(b.token())
			if calls := a.op.Calls(scriptedop.Token); calls != 3 {
				t.Errorf("%d calls, want 3", calls)
			}
		})
	}
	t.Run("RT-04 RT-05 and the store is full", func(t *testing.T) {
		t.Parallel()
		store := &fullStore{Store: authn.NewMemoryStore(), saved: make(chan struct{}, 1)}
		a := newApp(t, appOptions{config: func(c *settings) { c.Sessions.Store = store }})
		a.lives(10 * time.Minute)
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		a.clock.Move(10 * time.Minute)
		a.op.Edit(scriptedop.Token, func(r map[string]any) { store.full.Store(true); delete(r, "token_type") })
		if got := b.token(); got.reason != authn.ReasonRefreshFailed {
			t.Errorf("answered %q: %s", got.reason, got.text)
		}
		store.full.Store(false)
		a.lives(10 * time.Minute)
		a.clock.Move(10 * time.Minute)
		b.wantToken(b.token())
	})
}

// TestRefreshToken uses a provider that issues a new refresh token with every refresh,
// sometimes, or never.
func TestRefreshToken(t *testing.T) {
	t.Parallel()
	t.Run("RT-04 fifty in a row", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{config: func(c *settings) { c.Sessions.Idle = 24 * time.Hour }})
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
		a := newApp(t, appOptions{config: func(c *settings) { c.Scopes = []string{"openid"} }})
		a.lives(10 * time.Minute)
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		a.clock.Move(soonOver)
		b.wantToken(b.token())
		if logged := a.log.String(); strings.Contains(logged, "not refreshed") {
			t.Errorf("there is no refresh token, but the log says:\n%s", logged)
		}
		a.clock.Move(time.Minute)
		for range 3 {
			if got := b.token(); got.reason != authn.ReasonRefreshRefused || b.who().Subject != "alice" {
				t.Errorf("answered with %q, and %q is signed in", got.reason, b.who().Subject)
			}
		}
		b.wantCalls(1, 2)
	})
}

// TestRefreshNeverProlongsTheSession (RT-11) refreshes continuously in the background.
func TestRefreshNeverProlongsTheSession(t *testing.T) {
	t.Parallel()
	for name, lifetimes := range map[string][2]time.Duration{
		"RT-11 SE-06 idle": {time.Hour, 24 * time.Hour}, "RT-11 absolute": {2 * time.Hour, 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{config: func(c *settings) { c.Sessions.Idle, c.Sessions.Absolute = lifetimes[0], lifetimes[1] }})
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
				t.Errorf("the session ended at %s (%s idle), and now ends at %s (%s idle)", before.Expires, before.IdleUntil, after.Expires, after.IdleUntil)
			}
			a.clock.Move(10 * time.Minute)
			if got := b.token(); got.status == http.StatusOK || b.who().Subject != "" {
				t.Error("the session did not end")
			}
		})
	}
}

// fullStore is a store whose disk can be full. Its records can still be read.
type fullStore struct {
	authn.Store
	full atomic.Bool
	// saved receives a value after a record has been saved, if anyone waits for it.
	saved chan struct{}
}

func (s *fullStore) Save(ctx context.Context, r authn.Record) error {
	if s.full.Load() {
		return syscall.ENOSPC
	}
	err := s.Store.Save(ctx, r)
	if err == nil {
		select {
		case s.saved <- struct{}{}:
		default:
		}
	}
	return err
}

// TestRefreshedTokensAreNotSaved fills the disk just when the provider has issued new
// tokens (RT-05).
func TestRefreshedTokensAreNotSaved(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T) (a *app, b *person, store *fullStore, kept answer) {
		store = &fullStore{Store: authn.NewMemoryStore(), saved: make(chan struct{}, 1)}
		a = newApp(t, appOptions{config: func(c *settings) { c.Sessions.Store = store }})
		a.store = store
		a.lives(10 * time.Minute)
		b = a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		a.clock.Move(10 * time.Minute)
		a.op.Answer(scriptedop.Token, func(w http.ResponseWriter, r *http.Request) {
			store.full.Store(true)
			a.op.Correct(scriptedop.Token)(w, r)
		})
		kept = b.token()
		b.wantToken(kept)
		a.op.Answer(scriptedop.Token, nil)
		if !strings.Contains(a.log.String(), "refreshed tokens kept in memory") {
			t.Errorf("the log does not report it:\n%s", a.log)
		}
		return a, b, store, kept
	}
	t.Run("RT-05 they are used, and saved later", func(t *testing.T) {
		t.Parallel()
		a, b, store, kept := begin(t)
		for range 5 {
			if got := b.token(); got.text != kept.text || a.op.Calls(scriptedop.Token) != 2 {
				t.Fatalf("%d calls, the token is %q, want %q", a.op.Calls(scriptedop.Token), got.text, kept.text)
			}
		}
		a.clock.Move(10 * time.Minute)
		if got := b.token(); got.reason != authn.ReasonStoreUnavailable || a.op.Calls(scriptedop.Token) != 2 {
			t.Errorf("%d calls, answered %q: %s", a.op.Calls(scriptedop.Token), got.reason, got.text)
		}
		store.full.Store(false)
		b.wantToken(b.token())
		if calls := a.op.Calls(scriptedop.Token); calls != 3 {
			t.Errorf("%d calls, want 3", calls)
		}
	})
	t.Run("RT-05 the profile is refreshed meanwhile", func(t *testing.T) {
		t.Parallel()
		a, b, store, _ := begin(t)
		store.full.Store(false)
		a.clock.Move(10 * time.Minute)
		a.op.Answer(scriptedop.Token, func(w http.ResponseWriter, r *http.Request) {
			store.full.Store(true)
			a.op.Correct(scriptedop.Token)(w, r)
		})
		if got := b.post(a.URL+"/refresh", nil); got.reason != authn.ReasonStoreUnavailable {
			t.Errorf("answered %q: %s", got.reason, got.text)
		}
		store.full.Store(false)
		if got := b.who(); got.Subject != "alice" {
			t.Errorf("the session is %+v\n%s", got, a.log)
		}
	})
	t.Run("RT-05 another node finds them", func(t *testing.T) {
		t.Parallel()
		a, b, store, kept := begin(t)
		store.full.Store(false)
		a.tokens.Wait()
		other := b.at(newApp(t, appOptions{beside: a}))
		if got := other.token(); got.text != kept.text || a.op.Calls(scriptedop.Token) != 2 {
			t.Errorf("%d calls, the token is %q, want %q", a.op.Calls(scriptedop.Token), got.text, kept.text)
		}
	})
	t.Run("RT-05 nobody asks for them", func(t *testing.T) {
		t.Parallel()
		a, b, store, kept := begin(t)
		for len(store.saved) > 0 { // from the sign-in
			<-store.saved
		}
		store.full.Store(false)
		scriptedop.Await(t, store.saved)
		if got := b.at(newApp(t, appOptions{beside: a})).token(); got.text != kept.text || a.op.Calls(scriptedop.Token) != 2 {
			t.Errorf("%d calls, the token is %q, want %q", a.op.Calls(scriptedop.Token), got.text, kept.text)
		}
	})
	t.Run("RT-12 the session ends meanwhile", func(t *testing.T) {
		t.Parallel()
		a, b, _, _ := begin(t)
		calls := a.op.Calls(scriptedop.Revoke)
		b.post(a.URL+"/logout", nil)
		a.tokens.Wait()
		if got := a.op.Calls(scriptedop.Revoke) - calls; got != 2 {
			t.Errorf("%d refresh tokens were revoked, want the one in the store and the one in memory", got)
		}
	})
}

// TestSignOutDuringRefresh ends the session while the provider's response with new tokens
// is pending. The sign-out wins, and the new refresh token is revoked.
func TestSignOutDuringRefresh(t *testing.T) {
	t.Parallel()
	for name, signOut := range map[string]func(b *person) answer{
		"RT-12 by the person": func(b *person) answer { return b.post(b.app.URL+"/logout", nil) },
		"LB-13 by the provider": func(b *person) answer {
			return b.signOutByProvider(b.app.op.LogoutToken())
		},
		"LB-13 by the provider, as the subject": func(b *person) answer {
			token := b.app.op.LogoutToken()
			delete(token.Claims, "sid")
			return b.signOutByProvider(token)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, two, b := nodes(t, scriptedop.Config{})
			issued := ""
			one.op.Edit(scriptedop.Token, func(response map[string]any) { issued, _ = response["refresh_token"].(string) })
			one.clock.Move(10 * time.Minute)
			cookies := b.cookieHeader()
			barrier := one.hold(scriptedop.Token)
			token := b.asks()
			scriptedop.Await(t, barrier.Reached)
			if got := signOut(b.at(two)); got.status >= 400 {
				t.Fatalf("not signed out: %s", got.text)
			}
			barrier.Open()
			if got := <-token; got.reason != authn.ReasonSessionEnded {
				t.Errorf("the refresh is answered with %q: %s", got.reason, got.text)
			}
			one.tokens.Wait()
			if got := one.op.Last(scriptedop.Revoke).Form.Get("token"); got != issued || issued == "" {
				t.Errorf("%q was revoked, want the new refresh token %q", got, issued)
			}
			for _, node := range []*app{one, two} {
				if got := b.at(node).withCookies(cookies, node.URL+"/me"); got.status == http.StatusOK {
					t.Errorf("the cookie opens a session: %s", got.text)
				}
			}
		})
	}
	t.Run("LR-05 RT-12 after a refresh that the sign-out has not seen", func(t *testing.T) {
		t.Parallel()
		one, _, b := nodes(t, scriptedop.Config{})
		session := authn.FromContext(b.sessionOf())
		issued := ""
		one.op.Edit(scriptedop.Token, func(response map[string]any) { issued, _ = response["refresh_token"].(string) })
		one.clock.Move(10 * time.Minute)
		b.wantToken(b.token())
		if err := one.sessions.End(t.Context(), session, authn.CauseSignedOut); err != nil {
			t.Fatal(err)
		}
		one.rp.RevokeTokens(t.Context(), session)
		if got := one.op.Last(scriptedop.Revoke).Form.Get("token"); got != issued || issued == "" {
			t.Errorf("%q was revoked, want the last refresh token %q", got, issued)
		}
	})
}

// TestRefreshGoesOnAlone (RT-04) refreshes for a person who leaves in the meantime, and in
// a program that stops.
func TestRefreshGoesOnAlone(t *testing.T) {
	t.Parallel()
	one, two, b := nodes(t, scriptedop.Config{})
	one.clock.Move(10 * time.Minute)
	barrier := one.hold(scriptedop.Token)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, one.URL+"/token", nil)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if resp, err := b.client.Do(r); err == nil {
			resp.Body.Close()
			t.Error("answered")
		}
	}()
	scriptedop.Await(t, barrier.Reached)
	leave()
	scriptedop.Await(t, gone)
	barrier.Open()
	one.tokens.Wait()
	other := b.at(two)
	other.wantToken(other.token())
	if calls := one.op.Calls(scriptedop.Token); calls != 2 {
		t.Errorf("%d calls, want 2", calls)
	}
	if strings.Contains(one.log.String(), "level=ERROR") {
		t.Errorf("the log is:\n%s", one.log)
	}
}

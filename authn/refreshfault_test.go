package authn_test

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/scriptedop"
)

// soonOver is when an access token of ten minutes is about to expire, and still good.
const soonOver = 9*time.Minute + 30*time.Second

// oauthError is an error response of OAuth's.
func oauthError(status int, code, description string) http.HandlerFunc {
	return scriptedop.JSON(status, map[string]any{"error": code, "error_description": description})
}

// TestRefreshFails has a provider that does not refresh the tokens, while the access token
// is still good and when it is over, and that recovers.
func TestRefreshFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		ended  bool
		after  authn.Reason // of a refusal when the access token is over
	}{
		"RT-06 invalid_grant":                 {answer: oauthError(400, "invalid_grant", ""), ended: true},
		"RT-06 invalid_grant, forbidden":      {answer: oauthError(403, "invalid_grant", "Unknown or invalid refresh token."), ended: true},
		"RT-06 invalid_grant in the text":     {answer: oauthError(400, "temporarily_unavailable", "invalid_grant"), after: authn.ReasonRefreshFailed},
		"RT-06 invalid_grant in a page":       {answer: scriptedop.Body(400, "text/html", `<p>{"error":"invalid_grant"}</p>`), after: authn.ReasonRefreshFailed},
		"RT-06 invalid_grant in plain text":   {answer: scriptedop.Body(400, "text/plain", "error=invalid_grant"), after: authn.ReasonRefreshFailed},
		"RT-06 invalid_grant of a broken one": {answer: oauthError(503, "invalid_grant", ""), after: authn.ReasonProviderUnreachable},
		"RT-06 INVALID_GRANT":                 {answer: oauthError(400, "INVALID_GRANT", ""), after: authn.ReasonRefreshFailed},
		"RT-07 500":                           {answer: scriptedop.Status(500), after: authn.ReasonProviderUnreachable},
		"RT-07 429":                           {answer: scriptedop.Status(429), after: authn.ReasonProviderUnreachable},
		"RT-07 404":                           {answer: scriptedop.Body(404, "text/html", "no"), after: authn.ReasonRefreshFailed},
		"RT-07 a broken line":                 {answer: scriptedop.Reset, after: authn.ReasonProviderUnreachable},
		"RT-07 half an answer":                {answer: scriptedop.Cut, after: authn.ReasonProviderUnreachable},
		"RT-07 malformed":                     {answer: scriptedop.Body(200, "application/json", `{"access_token":`), after: authn.ReasonRefreshFailed},
		"RT-07 empty":                         {answer: scriptedop.Body(200, "application/json", ""), after: authn.ReasonRefreshFailed},
		"RT-07 no end":                        {answer: scriptedop.Endless, after: authn.ReasonRefreshFailed},
		"RT-07 elsewhere":                     {answer: scriptedop.Redirect(307, "https://evil.example/token"), after: authn.ReasonRefreshFailed},
		"RT-08 invalid_client":                {answer: oauthError(401, "invalid_client", ""), after: authn.ReasonRefreshFailed},
		"RT-08 unauthorized_client":           {answer: oauthError(400, "unauthorized_client", ""), after: authn.ReasonRefreshFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.lives(10 * time.Minute)
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			first := b.token()
			b.wantToken(first)
			a.op.Answer(scriptedop.Token, tt.answer)
			a.clock.Move(soonOver)
			if tt.ended {
				b.wantEnded(b.token())
				return
			}
			if got := b.token(); got.text != first.text {
				t.Errorf("RT-07: the token that lives is not used: %d %s", got.status, got.text)
			}
			a.clock.Move(time.Minute)
			if got := b.token(); got.reason != tt.after {
				t.Errorf("answered %q, want %q: %s", got.reason, tt.after, got.text)
			}
			if got := a.op.Calls(scriptedop.Token); got != 3 {
				t.Errorf("RT-14: %d calls, want one for each attempt", got)
			}
			if who := b.who(); who.Subject != "alice" {
				t.Errorf("signed in is %q", who.Subject)
			}
			if alarm := strings.Contains(a.log.String(), "level=ERROR"); alarm != strings.HasPrefix(name, "RT-08") {
				t.Errorf("an operator is alarmed: %t\n%s", alarm, a.log)
			}
			a.op.Answer(scriptedop.Token, nil)
			a.clock.Move(time.Minute)
			b.wantToken(b.token())
		})
	}
}

// wantEnded checks that a refresh ended the session after one call, and that the provider is
// left alone from then on (RT-14).
func (b *person) wantEnded(got answer) {
	b.t.Helper()
	if got.reason != authn.ReasonSessionEnded {
		b.t.Errorf("answered %q: %s", got.reason, got.text)
	}
	for range 3 {
		b.token()
	}
	if who := b.who(); who.Subject != "" {
		b.t.Errorf("signed in is %q", who.Subject)
	}
	if calls := b.app.op.Calls(scriptedop.Token); calls != 2 {
		b.t.Errorf("RT-14: %d calls, want 2", calls)
	}
	b.wantNoSecrets(got)
}

// TestRefreshIsNotRepeated polls ten times a second, for a minute in which the provider is
// overloaded.
func TestRefreshIsNotRepeated(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status     int
		retryAfter string
		calls      int // at most
		works      time.Duration
	}{
		"RT-07 503":                          {503, "", 6, time.Minute + 15*time.Second},
		"RT-07 FM-09 429":                    {429, "", 6, time.Minute + 15*time.Second},
		"RT-07 FM-09 asks for a while":       {429, "20", 4, time.Minute + 15*time.Second},
		"RT-07 FM-09 asks for ever":          {429, "86400", 2, time.Minute},
		"RT-07 FM-09 asks for less than any": {503, "-1", 6, time.Minute + 15*time.Second},
		"RT-07 FM-09 asks until a date":      {503, "Mon, 02 Nov 2026 13:00:00 GMT", 6, time.Minute + 15*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.lives(10 * time.Minute)
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			a.op.Answer(scriptedop.Token, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Retry-After", tt.retryAfter)
				scriptedop.Status(tt.status)(w, r)
			})
			a.clock.Move(soonOver)
			for range 600 {
				a.clock.Move(100 * time.Millisecond)
				b.token()
			}
			if calls := a.op.Calls(scriptedop.Token) - 1; calls < 1 || calls > tt.calls {
				t.Errorf("the provider was asked %d times within a minute, want %d at most", calls, tt.calls)
			}
			if got := b.token(); got.reason != authn.ReasonProviderUnreachable || b.who().Subject != "alice" {
				t.Errorf("answered %q, and signed in is %q", got.reason, b.who().Subject)
			}
			a.op.Answer(scriptedop.Token, nil)
			a.clock.Move(tt.works)
			b.wantToken(b.token())
		})
	}
}

// TestRefreshOutcomeUnknown has a provider that rotates the refresh token and whose answer is
// lost (RT-09).
func TestRefreshOutcomeUnknown(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		overlap time.Duration
		alive   bool
	}{"RT-09 with an overlap": {time.Minute, true}, "RT-09 without one": {0, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{op: scriptedop.Config{Overlap: tt.overlap}})
			a.lives(10 * time.Minute)
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			correct := a.op.Correct(scriptedop.Token)
			lost := func(w http.ResponseWriter, r *http.Request) {
				held, barrier := scriptedop.Hold(correct)
				ctx, cancel := context.WithCancel(r.Context())
				go func() { <-barrier.Reached; cancel() }()
				held(w, r.WithContext(ctx))
				scriptedop.Reset(w, r)
			}
			a.op.Answer(scriptedop.Token, scriptedop.InTurn(lost, correct))
			a.clock.Move(soonOver)
			first := b.token()
			if first.status != http.StatusOK || a.op.Calls(scriptedop.Token) != 2 {
				t.Fatalf("%d calls, answered %s", a.op.Calls(scriptedop.Token), first.text)
			}
			if again := b.token(); again.text != first.text || a.op.Calls(scriptedop.Token) != 2 {
				t.Errorf("asked again at once: %d calls", a.op.Calls(scriptedop.Token))
			}
			a.clock.Move(3 * time.Second)
			got := b.token()
			if calls := a.op.Calls(scriptedop.Token); calls != 3 {
				t.Errorf("%d calls, want one more", calls)
			}
			if !tt.alive {
				if got.reason != authn.ReasonSessionEnded {
					t.Errorf("answered %q: %s", got.reason, got.text)
				}
				return
			}
			b.wantToken(got)
		})
	}
}

// fullStore is a store whose disk can be full: what it has can be read.
type fullStore struct {
	authn.Store
	full atomic.Bool
}

func (s *fullStore) Save(ctx context.Context, r authn.Record) error {
	if s.full.Load() {
		return syscall.ENOSPC
	}
	return s.Store.Save(ctx, r)
}

// TestRefreshedTokensAreNotSaved has a disk that is full just when the provider has given
// out new tokens (RT-05).
func TestRefreshedTokensAreNotSaved(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T) (a *app, b *person, store *fullStore, kept answer) {
		store = &fullStore{Store: authn.NewMemoryStore()}
		a = newApp(t, appOptions{config: func(c *authn.Config) { c.Store = store }})
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
			t.Errorf("the log does not say so:\n%s", a.log)
		}
		return a, b, store, kept
	}
	t.Run("RT-05 they are used, and saved later", func(t *testing.T) {
		t.Parallel()
		a, b, store, kept := begin(t)
		for range 5 {
			if got := b.token(); got.text != kept.text || a.op.Calls(scriptedop.Token) != 2 {
				t.Fatalf("%d calls, the token is %q, not %q", a.op.Calls(scriptedop.Token), got.text, kept.text)
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
	t.Run("RT-05 another node finds them", func(t *testing.T) {
		t.Parallel()
		a, b, store, kept := begin(t)
		store.full.Store(false)
		a.tokens.Wait()
		other := b.at(newApp(t, appOptions{beside: a}))
		if got := other.token(); got.text != kept.text || a.op.Calls(scriptedop.Token) != 2 {
			t.Errorf("%d calls, the token is %q, not %q", a.op.Calls(scriptedop.Token), got.text, kept.text)
		}
	})
	t.Run("RT-05 nobody asks for them", func(t *testing.T) {
		t.Parallel()
		a, _, store, _ := begin(t)
		store.full.Store(false)
		for deadline := time.Now().Add(15 * time.Second); !strings.Contains(a.log.String(), "refreshed tokens saved"); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not saved:\n%s", a.log)
			}
		}
	})
	t.Run("RT-12 the session ends meanwhile", func(t *testing.T) {
		t.Parallel()
		a, b, _, _ := begin(t)
		calls := a.op.Calls(scriptedop.Revoke)
		b.post(a.URL+"/logout", nil)
		a.tokens.Wait()
		a.tokens.Wait() // for what the first wait has begun
		if got := a.op.Calls(scriptedop.Revoke) - calls; got != 2 {
			t.Errorf("%d refresh tokens were revoked, want the one in the store and the one in memory", got)
		}
	})
}

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
		stale := maps.Clone(map[string]string{"Cookie": b.cookieHeader()})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, one.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", stale["Cookie"])
		access := b.token().text
		one.op.Edit(scriptedop.Token, func(response map[string]any) {
			response["access_token"], response["expires_in"] = access, 600
			delete(response, "id_token")
		})
		one.clock.Move(10 * time.Minute)
		session, err := two.sessions.Load(r)
		if err != nil || session == nil {
			t.Fatal(session, err)
		}
		b.token()
		if _, err := two.tokens.Token(authn.NewContext(t.Context(), session)); err != nil || one.op.Calls(scriptedop.Token) != 2 {
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
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", b.cookieHeader())
		if session, err := a.sessions.Load(r); err != nil || session == nil || session.Scope() != "openid profile" {
			t.Errorf("the session's scope is not the one granted: %v, %v", session, err)
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

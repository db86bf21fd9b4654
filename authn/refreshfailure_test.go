package authn_test

import (
	"context"
	"crypto"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// soonOver is when an access token of ten minutes is about to expire, but still valid.
const soonOver = 9*time.Minute + 30*time.Second

// oauthError answers with an OAuth error.
func oauthError(status int, code, description string) http.HandlerFunc {
	return scriptedop.JSON(status, map[string]any{"error": code, "error_description": description})
}

// TestRefreshFails uses a provider that fails to refresh tokens, before and after the
// access token has expired, and then recovers.
func TestRefreshFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		ended  bool
		after  openid.Reason // of a refusal when the access token is over
	}{
		"RT-06 invalid_grant":                 {answer: oauthError(400, "invalid_grant", ""), ended: true},
		"RT-06 invalid_grant, forbidden":      {answer: oauthError(403, "invalid_grant", "Unknown or invalid refresh token."), ended: true},
		"RT-06 invalid_grant, with a list":    {answer: scriptedop.JSON(400, map[string]any{"error": "invalid_grant", "error_description": []string{"expired"}}), ended: true},
		"RT-06 invalid_grant, with numbers":   {answer: scriptedop.JSON(400, map[string]any{"error": "invalid_grant", "error_description": 70008, "error_uri": 1, "expires_in": "never"}), ended: true},
		"RT-06 invalid_grant, with 200":       {answer: scriptedop.JSON(200, map[string]any{"error": "invalid_grant", "error_description": map[string]any{"en": "expired"}}), ended: true},
		"RT-06 invalid_grant in a list":       {answer: scriptedop.JSON(400, map[string]any{"error": []string{"invalid_grant"}, "error_description": 1}), after: authn.ReasonRefreshFailed},
		"RT-06 invalid_grant in an object":    {answer: scriptedop.JSON(400, map[string]any{"error": map[string]any{"error": "invalid_grant"}}), after: authn.ReasonRefreshFailed},
		"RT-06 invalid_grant in the text":     {answer: oauthError(400, "temporarily_unavailable", "invalid_grant"), after: authn.ReasonRefreshFailed},
		"RT-06 invalid_grant in a page":       {answer: scriptedop.Body(400, "text/html", `<p>{"error":"invalid_grant"}</p>`), after: authn.ReasonRefreshFailed},
		"RT-06 invalid_grant in plain text":   {answer: scriptedop.Body(400, "text/plain", "error=invalid_grant"), after: authn.ReasonRefreshFailed},
		"RT-06 invalid_grant of a broken one": {answer: oauthError(503, "invalid_grant", ""), after: openid.ReasonProviderUnreachable},
		"RT-06 INVALID_GRANT":                 {answer: oauthError(400, "INVALID_GRANT", ""), after: authn.ReasonRefreshFailed},
		"RT-07 500":                           {answer: scriptedop.Status(500), after: openid.ReasonProviderUnreachable},
		"RT-07 429":                           {answer: scriptedop.Status(429), after: openid.ReasonProviderUnreachable},
		"RT-07 404":                           {answer: scriptedop.Body(404, "text/html", "no"), after: authn.ReasonRefreshFailed},
		"RT-07 a broken line":                 {answer: scriptedop.Reset, after: openid.ReasonProviderUnreachable},
		"RT-07 half an answer":                {answer: scriptedop.Cut, after: openid.ReasonProviderUnreachable},
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
				t.Errorf("RT-07: the valid access token is not used: %d %s", got.status, got.text)
			}
			if got := b.post(a.URL+"/refresh", nil); got.status != http.StatusOK {
				t.Errorf("FM-03: the profile is not refreshed with the valid access token: %s", got.text)
			}
			a.clock.Move(time.Minute)
			if got := b.token(); got.reason != tt.after {
				t.Errorf("answered %q, want %q: %s", got.reason, tt.after, got.text)
			}
			if got := a.op.Calls(scriptedop.Token); got != 3 {
				t.Errorf("RT-14: %d calls, want one for each attempt", got)
			}
			if who := b.who(); who.Subject != "alice" {
				t.Errorf("%q is signed in", who.Subject)
			}
			if alarm := strings.Contains(a.log.String(), "level=ERROR"); alarm != strings.HasPrefix(name, "RT-08") {
				t.Errorf("the operator is alerted: %t\n%s", alarm, a.log)
			}
			a.op.Answer(scriptedop.Token, nil)
			a.clock.Move(time.Minute)
			b.wantToken(b.token())
		})
	}
}

// wantEnded checks that a refresh ended the session after one call, and that the app does
// not call the provider again (RT-14).
func (b *person) wantEnded(got answer) {
	b.t.Helper()
	if got.reason != authn.ReasonSessionEnded {
		b.t.Errorf("answered %q: %s", got.reason, got.text)
	}
	for range 3 {
		b.token()
	}
	if who := b.who(); who.Subject != "" {
		b.t.Errorf("%q is signed in", who.Subject)
	}
	if calls := b.app.op.Calls(scriptedop.Token); calls != 2 {
		b.t.Errorf("RT-14: %d calls, want 2", calls)
	}
	b.wantNoSecrets(got)
}

// TestRefreshIsNotRepeated polls ten times a second while the provider is overloaded for a
// minute.
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
				t.Errorf("the provider was called %d times within a minute, want at most %d", calls, tt.calls)
			}
			if got := b.token(); got.reason != openid.ReasonProviderUnreachable || b.who().Subject != "alice" {
				t.Errorf("answered with %q, and %q is signed in", got.reason, b.who().Subject)
			}
			a.op.Answer(scriptedop.Token, nil)
			a.clock.Move(tt.works)
			b.wantToken(b.token())
		})
	}
}

// TestRefreshOutcomeUnknown uses a provider that rotates the refresh token and whose
// response is lost (RT-09).
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
				t.Errorf("called again immediately: %d calls", a.op.Calls(scriptedop.Token))
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

// panickingStore is a store with a bug in Save and Sweep.
type panickingStore struct {
	authn.Store
	broken *atomic.Bool
}

func (s panickingStore) Save(ctx context.Context, r authn.Record) error {
	if s.broken.Load() {
		panic("a text that may quote anything")
	}
	return s.Store.Save(ctx, r)
}

func (s panickingStore) Sweep(ctx context.Context, now time.Time) (int, error) {
	if s.broken.Load() {
		panic("a text that may quote anything")
	}
	return s.Store.Sweep(ctx, now)
}

// panickingLog is a log with a bug in the handler of one message.
type panickingLog struct {
	slog.Handler
	message string
}

func (h panickingLog) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == h.message {
		panic("a text that may quote anything")
	}
	return h.Handler.Handle(ctx, r)
}

// TestAPanicInTheBackground (FM-28) makes each kind of background work panic. The process survives,
// and work that repeats goes on.
func TestAPanicInTheBackground(t *testing.T) {
	t.Parallel()
	wantPanic := func(t *testing.T, log *scriptedop.Log, work string) {
		t.Helper()
		if logged := log.String(); !strings.Contains(logged, `msg="work panicked" work=`+work) || strings.Contains(logged, "may quote") {
			t.Errorf("the log is:\n%s", logged)
		}
	}
	t.Run("FM-28 revocation", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{config: func(c *settings) { c.Log = slog.New(panickingLog{c.Log.Handler(), "refresh token not revoked"}) }})
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		a.op.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims["sub"] = "mallory" })
		a.op.Answer(scriptedop.Revoke, scriptedop.Status(http.StatusInternalServerError))
		if got := b.post(a.URL+"/refresh", nil); got.reason != authn.ReasonSessionEnded {
			t.Errorf("answered %q: %s", got.reason, got.text)
		}
		a.tokens.Wait()
		wantPanic(t, a.log, "revocation")
	})
	t.Run("FM-28 saving tokens", func(t *testing.T) {
		t.Parallel()
		full, broken := &fullStore{Store: authn.NewMemoryStore()}, new(atomic.Bool)
		a := newApp(t, appOptions{config: func(c *settings) { c.Sessions.Store = panickingStore{full, broken} }})
		a.store = full
		a.lives(10 * time.Minute)
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		a.clock.Move(10 * time.Minute)
		a.op.Answer(scriptedop.Token, func(w http.ResponseWriter, r *http.Request) {
			full.full.Store(true)
			a.op.Correct(scriptedop.Token)(w, r)
		})
		kept := b.token()
		b.wantToken(kept)
		broken.Store(true)
		a.tokens.Wait()
		wantPanic(t, a.log, `"saving refreshed tokens"`)
		broken.Store(false)
		full.full.Store(false)
		a.tokens.Wait()
		if got := b.at(newApp(t, appOptions{beside: a})).token(); got.text != kept.text {
			t.Errorf("the tokens were not saved: %q, want %q", got.text, kept.text)
		}
	})
	for name, begin := range map[string]func(t *testing.T, s *site, session *authn.Session){
		`"lease renewal"`: func(t *testing.T, s *site, session *authn.Session) {
			die, err := tokenSource(t, s).Lease(t.Context(), session)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(die)
		},
		"sweep": func(t *testing.T, s *site, _ *authn.Session) { go s.Sweep(t.Context(), time.Hour) },
	} {
		t.Run("FM-28 "+name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				broken, log := new(atomic.Bool), new(scriptedop.Log)
				s := newSiteOn(t, panickingStore{authn.NewMemoryStore(), broken}).with(t, func(c *settings) {
					c.Now, c.Log = time.Now, slog.New(slog.NewTextHandler(log, nil))
				})
				session, _ := newVisitor(t).signIn(t, s, signInOf("alice"))
				begin(t, s, session)
				broken.Store(true)
				time.Sleep(3 * time.Hour)
				wantPanic(t, log, name)
				broken.Store(false)
				time.Sleep(8 * 24 * time.Hour)
				if name == "sweep" && !strings.Contains(log.String(), "expired sessions swept") {
					t.Errorf("nothing was swept after the panic:\n%s", log)
				}
			})
		})
	}
}

// TestAPanicBesideTheRequests (FM-28) makes a refresh panic in its own goroutine. The
// process survives, and the next refresh works.
func TestAPanicBesideTheRequests(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	a := newApp(t, appOptions{config: func(c *settings) { c.Sessions.Store = panickingStore{c.Sessions.Store, &broken} }})
	b := a.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	broken.Store(true)
	if got := b.post(a.URL+"/refresh", nil); got.status == http.StatusOK {
		t.Error("a refresh that panics is answered with 200")
	}
	if logged := a.log.String(); !strings.Contains(logged, "msg=\"work panicked\"") || !strings.Contains(logged, "work=refresh") || strings.Contains(logged, "may quote") {
		t.Errorf("the log is:\n%s", logged)
	}
	broken.Store(false)
	if got := b.post(a.URL+"/refresh", nil); got.status != http.StatusOK {
		t.Errorf("the next refresh is answered with %d %s", got.status, got.text)
	}
}

// knownByKey makes an app whose provider knows the client's key.
func knownByKey(key scriptedop.Key, change func(*settings)) appOptions {
	return appOptions{op: scriptedop.Config{ClientKey: key}, config: func(c *settings) {
		c.ClientAuth, c.SigningKey, c.SigningKeyID = openid.PrivateKeyJWT, key.Private.(crypto.Signer), key.ID
		change(c)
	}}
}

// TestClientKeyReplaced replaces the key that the provider knows, during a sign-in and
// while a person is signed in.
func TestClientKeyReplaced(t *testing.T) {
	t.Parallel()
	known, another := scriptedop.NewKey("client-key", "ES256"), scriptedop.NewKey("client-key", "ES256")
	t.Run("the code", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, knownByKey(known, func(*settings) {}))
		b := a.person(t)
		callback := b.authorize(b.begin(""))
		a.op.SetClientKey(another)
		got := b.get(callback)
		b.wantRefused(got, openid.ReasonTokenRequestFailed, 1, 0)
		if code := got.header.Get("Code"); code != "invalid_client" {
			t.Errorf("the code is %q", code)
		}
	})
	t.Run("refresh and revocation", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, knownByKey(known, func(*settings) {}))
		a.lives(10 * time.Minute)
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		a.op.SetClientKey(another)
		a.clock.Move(10 * time.Minute)
		got := b.post(a.URL+"/refresh", nil)
		if code := got.header.Get("Code"); got.reason != authn.ReasonRefreshFailed || code != "invalid_client" {
			t.Errorf("refreshing: %q, %q: %s", got.reason, code, got.text)
		}
		b.post(a.URL+"/logout", nil)
		if a.op.Calls(scriptedop.Revoke) != 1 || !strings.Contains(a.log.String(), "not revoked") {
			t.Errorf("revocation was called %d times:\n%s", a.op.Calls(scriptedop.Revoke), a.log)
		}
	})
}

package authn_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

// sessionOf returns a context with the person's session, as a middleware prepares it for a
// handler.
func (b *person) sessionOf() context.Context {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.app.URL, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Cookie", b.cookieHeader())
	session, err := b.app.sessions.Load(r)
	if err != nil || session == nil {
		b.t.Fatalf("no session: %v, %v", session, err)
	}
	return authn.NewContext(b.t.Context(), session)
}

// api starts an API that responds with the token that it received.
func api(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			return
		}
		_, _ = io.WriteString(w, r.URL.Path+" "+r.Header.Get("Authorization"))
	}))
	t.Cleanup(server.Close)
	return server
}

func call(t *testing.T, client *http.Client, address string) (status int, text string) {
	t.Helper()
	resp, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// TestClient calls an API as a handler does, and reuses its client.
func TestClient(t *testing.T) {
	t.Parallel()
	a, server := newApp(t, appOptions{}), api(t)
	a.clock.Move(20 * 365 * 24 * time.Hour) // only this clock counts
	b := a.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	client := a.tokens.Client(b.sessionOf())
	a.op.Edit(scriptedop.Token, func(response map[string]any) {
		response["access_token"] = "the second"
		delete(response, "id_token") // its at_hash belongs to another access token
	})

	_, first := call(t, client, server.URL+"/orders")
	if !strings.HasPrefix(first, "/orders Bearer access-") {
		t.Errorf("the API received %q", first)
	}
	a.clock.Move(time.Hour - time.Minute)
	if _, got := call(t, client, server.URL+"/orders"); got != first || a.op.Calls(scriptedop.Token) != 1 {
		t.Errorf("a minute before its expiry, the token is %q, want %q", got, first)
	}
	a.clock.Move(time.Millisecond)
	if _, got := call(t, client, server.URL+"/orders"); got != "/orders Bearer the second" || a.op.Calls(scriptedop.Token) != 2 {
		t.Errorf("after that, the API received %q", got)
	}
	if status, got := call(t, client, server.URL+"/moved"); status != http.StatusTemporaryRedirect || strings.Contains(got, "Bearer") {
		t.Errorf("a redirect was followed: %d %s", status, got)
	}
}

// TestSourceOutlivesItsSnapshot uses one session for as long as two access tokens last, as a job does that
// a form has started.
func TestSourceOutlivesItsSnapshot(t *testing.T) {
	t.Parallel()
	a := newApp(t, appOptions{})
	a.lives(5 * time.Minute)
	b := a.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", b.cookieHeader())
	session, err := a.sessions.Load(r)
	if err != nil {
		t.Fatal(err)
	}
	source := a.tokens.Source(authn.NewContext(t.Context(), session))
	for range 4 {
		a.clock.Move(6 * time.Minute)
		if token, err := source.Token(); err != nil || !token.Expiry.After(a.clock.Now()) {
			t.Errorf("at %s: %+v, %v", a.clock.Now(), token, err)
		}
	}
}

// TestClientPresentsTheCertificate (CB-27) calls an API that accepts a token from the holder of a
// certificate alone.
func TestClientPresentsTheCertificate(t *testing.T) {
	t.Parallel()
	own := scriptedop.NewCertificate("client")
	for name, tt := range map[string]struct {
		presented *tls.Certificate
		want      int
	}{"CB-27 its own": {own, 200}, "CB-27 another client's": {scriptedop.NewCertificate("client"), 401}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !r.TLS.PeerCertificates[0].Equal(own.Leaf) || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer access-") {
					w.WriteHeader(http.StatusUnauthorized)
				}
			}))
			server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
			server.StartTLS()
			t.Cleanup(server.Close)
			a := newApp(t, appOptions{config: func(c *settings) {
				c.RootCAs, c.ClientCertificate = scriptedop.Roots(), func() (*tls.Certificate, error) { return tt.presented, nil }
			}})
			a.op.StartMTLS(t, nil)
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			if status, _ := call(t, a.tokens.Client(b.sessionOf()), server.URL); status != tt.want {
				t.Errorf("answered %d, want %d", status, tt.want)
			}
		})
	}
}

func TestClientWithoutASession(t *testing.T) {
	t.Parallel()
	a, server := newApp(t, appOptions{}), api(t)
	resp, err := a.tokens.Client(t.Context()).Get(server.URL)
	if !errors.Is(err, authn.ErrAnonymous) {
		t.Errorf("a call without a session: %v, %v", resp, err)
	}
	if _, err := a.tokens.Token(authn.NewContext(t.Context(), nil)); !errors.Is(err, authn.ErrAnonymous) {
		t.Errorf("a token without a session: %v", err)
	}

	b := a.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	ctx := b.sessionOf()
	b.post(a.URL+"/logout", nil)
	a.clock.Move(time.Hour - time.Second)
	_, err = a.tokens.Client(ctx).Get(server.URL)
	wantReason(t, "the call of a session that has ended", err, authn.ReasonSessionEnded)
	if calls := a.op.Calls(scriptedop.Token); calls != 1 {
		t.Errorf("its refresh token was used: %d calls", calls)
	}
}

// TestTokenOfUnknownLifetime (CB-18) uses a provider that does not say how long its access
// tokens are valid.
func TestTokenOfUnknownLifetime(t *testing.T) {
	t.Parallel()
	for name, expiresIn := range map[string]any{"CB-18 missing": nil, "CB-18 zero": 0, "CB-18 negative": -1, "CB-18 words": "soon"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.op.Edit(scriptedop.Token, func(response map[string]any) {
				if response["expires_in"] = expiresIn; expiresIn == nil {
					delete(response, "expires_in")
				}
			})
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			for n := range 3 {
				first := b.token()
				a.clock.Move(5*time.Minute - time.Millisecond)
				if got := b.token(); got.text != first.text || a.op.Calls(scriptedop.Token) != n+1 {
					t.Fatalf("replaced before five minutes: %d calls", a.op.Calls(scriptedop.Token))
				}
				a.clock.Move(time.Millisecond)
				if got := b.token(); got.text == first.text || a.op.Calls(scriptedop.Token) != n+2 {
					t.Fatalf("not replaced after five minutes: %d calls", a.op.Calls(scriptedop.Token))
				}
			}
			b.wantToken(b.token())
		})
	}
}

// TestRetryOfAWrongClock (FM-24) corrects a clock that was ahead when a refresh failed.
func TestRetryOfAWrongClock(t *testing.T) {
	t.Parallel()
	a := newApp(t, appOptions{})
	a.lives(10 * time.Minute)
	b := a.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	a.op.Answer(scriptedop.Token, scriptedop.Status(http.StatusServiceUnavailable))
	a.clock.Move(50 * time.Minute)
	b.token()
	a.op.Answer(scriptedop.Token, nil)
	a.clock.Move(-40 * time.Minute)
	b.wantToken(b.token())
}

// TestAccessTokenLifetime refreshes the profile after a sign-in. A token that may have
// expired is replaced first.
func TestAccessTokenLifetime(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		expiresIn any
		after     time.Duration
		refreshed bool
	}{
		"CB-18 an hour, at once":        {3600, 0, false},
		"CB-18 an hour, as text":        {"3600", 0, false},
		"CB-18 an hour, nearly over":    {3600, time.Hour - time.Minute, false},
		"CB-18 an hour, all but over":   {3600, time.Hour - time.Minute + time.Second, true},
		"CB-18 with an exponent":        {rawJSON("1e3"), 0, false},
		"CB-18 with an exponent, over":  {rawJSON("1e3"), 1000 * time.Second, true},
		"CB-18 a fraction":              {3600.5, 0, false},
		"CB-18 ever so long":            {rawJSON("1e300"), 0, false},
		"CB-18 thirty years":            {1_000_000_000, 0, false},
		"CB-18 missing":                 {nil, 0, true},
		"CB-18 null":                    {null{}, 0, true},
		"CB-18 zero":                    {0, 0, true},
		"CB-18 negative":                {-3600, 0, true},
		"CB-18 words":                   {"an hour", 0, true},
		"CB-18 an object":               {map[string]any{}, 0, true},
		"CB-18 a number beyond numbers": {rawJSON("1e400"), 0, true},
		"CB-18 seconds":                 {40, 30 * time.Second, false},
		"CB-18 seconds, all but over":   {40, 31 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.op.Edit(scriptedop.Token, func(response map[string]any) {
				if response["expires_in"] = tt.expiresIn; tt.expiresIn == nil {
					delete(response, "expires_in")
				}
			})
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			a.clock.Move(tt.after)
			if got := b.post(a.URL+"/refresh", nil); got.status != http.StatusOK {
				t.Fatalf("refused: %s", got.text)
			}
			if got := a.op.Last(scriptedop.Token).Form.Get("grant_type") == "refresh_token"; got != tt.refreshed {
				t.Errorf("refreshed: %t, want %t", got, tt.refreshed)
			}
		})
	}
}

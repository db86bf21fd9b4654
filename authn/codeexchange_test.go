package authn_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// TestCodeIsSentOnce makes the token endpoint fail in every way.
func TestCodeIsSentOnce(t *testing.T) {
	t.Parallel()
	oauthError := func(status int, code string) http.HandlerFunc {
		return scriptedop.JSON(status, map[string]any{"error": code, "error_description": "as it says"})
	}
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		reason openid.Reason
		code   string
		slow   bool
	}{
		"CB-14 invalid_grant":          {answer: oauthError(400, "invalid_grant"), reason: openid.ReasonTokenRequestFailed, code: "invalid_grant"},
		"CB-14 invalid_client":         {answer: oauthError(401, "invalid_client"), reason: openid.ReasonTokenRequestFailed, code: "invalid_client"},
		"CB-14 an error of its own":    {answer: oauthError(400, "its_own"), reason: openid.ReasonTokenRequestFailed, code: "its_own"},
		"CB-14 an error with 200":      {answer: oauthError(200, "invalid_grant"), reason: openid.ReasonTokenRequestFailed, code: "invalid_grant"},
		"CB-14 401 without a word":     {answer: scriptedop.Body(401, "text/plain", ""), reason: openid.ReasonTokenRequestFailed},
		"CB-14 403 and a page":         {answer: scriptedop.Body(403, "text/html", "<p>MARK"), reason: openid.ReasonTokenRequestFailed},
		"CB-14 429":                    {answer: scriptedop.Body(429, "text/plain", "MARK"), reason: openid.ReasonProviderUnreachable},
		"CB-14 500":                    {answer: scriptedop.Body(500, "text/plain", "MARK"), reason: openid.ReasonProviderUnreachable},
		"CB-14 503":                    {answer: scriptedop.Status(503), reason: openid.ReasonProviderUnreachable},
		"CB-14 an empty object":        {answer: scriptedop.Status(200), reason: openid.ReasonTokenInvalid},
		"CB-14 a broken line":          {answer: scriptedop.Reset, reason: openid.ReasonProviderUnreachable},
		"CB-14 no answer":              {answer: scriptedop.Hang, reason: openid.ReasonProviderUnreachable, slow: true},
		"CB-14 half an answer":         {answer: scriptedop.Cut, reason: openid.ReasonProviderUnreachable},
		"CB-14 an answer that stops":   {answer: scriptedop.Stall, reason: openid.ReasonProviderUnreachable, slow: true},
		"CB-17 nothing":                {answer: scriptedop.Body(200, "application/json", ""), reason: openid.ReasonTokenInvalid},
		"CB-17 an array":               {answer: scriptedop.Body(200, "application/json", `["MARK"]`), reason: openid.ReasonTokenInvalid},
		"CB-17 half a document":        {answer: scriptedop.Body(200, "application/json", `{"access_token":"MARK`), reason: openid.ReasonTokenInvalid},
		"CB-17 a form":                 {answer: scriptedop.Body(200, "application/x-www-form-urlencoded", "access_token=MARK&token_type=Bearer"), reason: openid.ReasonTokenInvalid},
		"CB-17 no type of content":     {answer: scriptedop.Body(200, "", `{"access_token":"MARK"}`), reason: openid.ReasonTokenInvalid},
		"CB-17 no content":             {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, reason: openid.ReasonTokenInvalid},
		"CB-17 a member twice":         {answer: scriptedop.Body(200, "application/json", `{"access_token":"MARK","access_token":"MARK"}`), reason: openid.ReasonTokenInvalid},
		"DO-07 no end":                 {answer: scriptedop.Endless, reason: openid.ReasonTokenInvalid},
		"DO-07 a bomb":                 {answer: scriptedop.GzipBomb(64), reason: openid.ReasonTokenInvalid},
		"DO-07 an error without end":   {answer: endlessError, reason: openid.ReasonProviderUnreachable},
		"DO-07 headers without bounds": {answer: hugeHeader, reason: openid.ReasonProviderUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.slow && testing.Short() {
				t.Skip("waits for a time limit")
			}
			a := newApp(t, appOptions{})
			a.op.Answer(scriptedop.Token, tt.answer)
			b := a.person(t)
			started := time.Now()
			got := b.get(b.authorize(b.begin("return_to=/orders")))
			b.wantRefused(got, tt.reason, 1, 0)
			if got.header.Get("Code") != tt.code || got.header.Get("Return-To") != "/orders" {
				t.Errorf("code %q, return path %q", got.header.Get("Code"), got.header.Get("Return-To"))
			}
			if strings.Contains(got.text+a.log.String(), "MARK") {
				t.Errorf("the provider's text is quoted: %s", got.text)
			}
			if tt.code != "" && !strings.Contains(got.text, "("+tt.code+": as it says)") {
				t.Errorf("the provider's description is lost: %s", got.text)
			}
			if took := time.Since(started); took > patience {
				t.Errorf("CB-23: answered after %s", took)
			}
		})
	}
}

func endlessError(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusBadRequest)
	scriptedop.Endless(w, r)
}

func hugeHeader(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Huge", strings.Repeat("x", 1<<20))
	scriptedop.Status(http.StatusOK)(w, r)
}

// null marshals as null. A nil value means that a member is missing.
type null struct{}

func (null) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// TestNoRedirectIsFollowed makes one endpoint after another redirect elsewhere.
func TestNoRedirectIsFollowed(t *testing.T) {
	t.Parallel()
	var followed atomic.Int32
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	t.Cleanup(func() {
		evil.Close()
		if n := followed.Load(); n > 0 {
			t.Errorf("%d redirects were followed", n)
		}
	})
	for endpoint, reason := range map[scriptedop.Endpoint]openid.Reason{
		scriptedop.Discovery: openid.ReasonProviderMisconfigured,
		scriptedop.PAR:       openid.ReasonProviderUnreachable,
		scriptedop.Token:     openid.ReasonTokenRequestFailed,
		scriptedop.JWKS:      openid.ReasonProviderUnreachable,
		scriptedop.UserInfo:  "", // a sign-in works without it
		scriptedop.Revoke:    "", // so does a sign-out
	} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			t.Run("CB-16 "+string(endpoint)+" "+http.StatusText(status), func(t *testing.T) {
				t.Parallel()
				a := newApp(t, appOptions{config: func(c *settings) {
					if endpoint == scriptedop.PAR {
						c.PushedAuthorizationRequests = "always"
					}
				}})
				a.op.Answer(endpoint, scriptedop.Redirect(status, evil.URL))
				b := a.person(t)
				got := b.get(a.URL + "/login")
				if got.status == http.StatusSeeOther {
					got = b.get(b.authorize(got.location))
				}
				if got.reason != reason {
					t.Errorf("reason is %q, want %q", got.reason, reason)
				}
				if reason == "" {
					b.wantSignedIn(got, "alice")
					b.post(a.URL+"/logout", nil)
				}
				if n := a.op.Calls(endpoint); n != 1 {
					t.Errorf("%s was called %d times", endpoint, n)
				}
			})
		}
	}
}

func TestTimeOfACallback(t *testing.T) {
	t.Parallel()
	t.Run("CB-23 the person goes away in the middle", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		asked, release, goneOn := make(chan struct{}), make(chan struct{}), make(chan struct{})
		a.op.Answer(scriptedop.Token, func(w http.ResponseWriter, r *http.Request) {
			close(asked)
			scriptedop.After(release, a.op.Correct(scriptedop.Token))(w, r)
		})
		a.op.Answer(scriptedop.UserInfo, func(w http.ResponseWriter, r *http.Request) {
			a.op.Correct(scriptedop.UserInfo)(w, r)
			close(goneOn)
		})
		b := a.person(t)
		callback := b.authorize(b.begin(""))
		ctx, leave := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, callback, nil)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if resp, err := b.client.Do(r); err == nil {
				_ = resp.Body.Close()
				t.Errorf("answered %d", resp.StatusCode)
			}
		})
		scriptedop.Await(t, asked)
		leave()
		wg.Wait()
		close(release)
		scriptedop.Await(t, goneOn)
		b.wantCalls(1, 1)
	})
	t.Run("CB-23 many at a slow provider", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		release := make(chan struct{})
		a.op.Answer(scriptedop.Token, scriptedop.After(release, a.op.Correct(scriptedop.Token)))
		const people = 100
		var callbacks []string
		var cookies []string
		for range people {
			b := a.person(t)
			callbacks = append(callbacks, b.authorize(b.begin("")))
			cookies = append(cookies, b.cookieHeader())
		}
		var wg sync.WaitGroup
		var signedIn atomic.Int32
		for i, callback := range callbacks {
			wg.Go(func() {
				if a.status(t, callback, cookies[i]) == http.StatusSeeOther {
					signedIn.Add(1)
				}
			})
		}
		// A request that does not need the provider is not delayed.
		if got := a.person(t).get(a.URL + "/me"); got.status != http.StatusBadRequest {
			t.Errorf("answered %d", got.status)
		}
		close(release)
		wg.Wait()
		if n := signedIn.Load(); n != people {
			t.Errorf("%d of %d are signed in", n, people)
		}
	})
	t.Run("FM-34 the provider closes idle connections", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		for n := range 20 {
			callback := b.authorize(b.begin(""))
			a.op.Server.CloseClientConnections()
			before := a.op.Calls(scriptedop.Token)
			b.get(callback)
			if calls := a.op.Calls(scriptedop.Token) - before; calls > 1 {
				t.Errorf("sign-in %d: the code was sent %d times", n, calls)
			}
		}
	})
}

// status sends a callback with its cookies, from any goroutine.
func (a *app) status(t *testing.T, callback, cookies string) int {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, callback, nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	r.Header.Set("Cookie", cookies)
	resp, err := a.Client().Transport.RoundTrip(r)
	if err != nil {
		t.Error(err)
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

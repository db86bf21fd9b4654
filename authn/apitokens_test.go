package authn_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

var (
	orders = openid.API{Audience: "https://orders.example", Scope: "openid profile"}
	stock  = openid.API{Audience: "https://stock.example"}
)

// apiToken returns the text of the person's access token for an API.
func (b *person) apiToken(api openid.API) (string, error) {
	b.t.Helper()
	token, err := b.app.tokens.For(api).Token(b.sessionOf())
	if err != nil {
		return "", err
	}
	return token.AccessToken, nil
}

// wantAPIToken returns the same, and checks that there is one.
func (b *person) wantAPIToken(api openid.API) string {
	b.t.Helper()
	token, err := b.apiToken(api)
	if err != nil || token == "" {
		b.t.Fatalf("no token for %v: %q, %v\n%s", api, token, err, b.app.log)
	}
	return token
}

// refusedFor makes the provider answer with an error to a refresh that names an API.
func (a *app) refusedFor(api openid.API, refusal http.HandlerFunc) {
	correct := a.op.Correct(scriptedop.Token)
	a.op.Answer(scriptedop.Token, func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("resource") == api.Audience {
			refusal(w, r)
			return
		}
		correct(w, r)
	})
}

// TestAPITokens uses tokens for several APIs. Each is requested once and kept until it expires, apart
// from the others, and the refresh token that comes with it is used for the next.
func TestAPITokens(t *testing.T) {
	t.Parallel()
	a := newApp(t, appOptions{})
	a.lives(10 * time.Minute)
	b := a.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	own := b.token().text
	for round := range 2 {
		first, second := b.wantAPIToken(orders), b.wantAPIToken(stock)
		if first == second || first == own || second == own {
			t.Error("two APIs share a token")
		}
		for range 2 {
			if b.wantAPIToken(orders) != first || b.wantAPIToken(stock) != second || b.token().text != own {
				t.Error("a token was replaced though it has not expired")
			}
		}
		if calls := a.op.Calls(scriptedop.Token); calls != 3+3*round {
			t.Errorf("round %d: %d calls of the token endpoint", round, calls)
		}
		a.clock.Move(9*time.Minute + time.Second)
		if next := b.token().text; next == own {
			t.Error("the session's own token was not refreshed")
		} else {
			own = next
		}
	}
	b.wantAPIToken(orders)
	if form := a.op.Last(scriptedop.Token).Form; form.Get("resource") != orders.Audience || form.Get("scope") != orders.Scope || form.Has("audience") {
		t.Errorf("the refresh sends %v", form)
	}
	b.wantAPIToken(stock)
	if form := a.op.Last(scriptedop.Token).Form; form.Get("resource") != stock.Audience || form.Has("scope") {
		t.Errorf("the refresh sends %v", form)
	}
	b.wantNoSecrets(b.get(a.URL + "/me"))
}

// TestAPITokensInAnOutage uses tokens for an API while the provider answers nobody. Each attempt says that
// the provider is down, not that it refuses the API, and only the first one calls it.
func TestAPITokensInAnOutage(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"for everything": scriptedop.Status(http.StatusServiceUnavailable),
		"after a refusal of the API": func(w http.ResponseWriter, r *http.Request) {
			if r.PostFormValue("resource") != "" {
				scriptedop.JSON(http.StatusBadRequest, map[string]any{"error": "invalid_grant"})(w, r)
				return
			}
			w.WriteHeader(http.StatusTooManyRequests)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			a.op.Answer(scriptedop.Token, answer)
			_, err := b.apiToken(orders)
			if reason := openid.ReasonOf(err); reason != openid.ReasonProviderUnreachable && reason != authn.ReasonRefreshFailed {
				t.Errorf("the first attempt: %v", err)
			}
			calls := a.op.Calls(scriptedop.Token)
			for range 3 {
				_, err := b.apiToken(orders)
				wantReason(t, "the next attempt", err, openid.ReasonProviderUnreachable)
			}
			if got := a.op.Calls(scriptedop.Token); got != calls {
				t.Errorf("%d more calls", got-calls)
			}
			a.op.Answer(scriptedop.Token, nil)
			a.clock.Move(2 * time.Minute)
			b.wantAPIToken(orders)
		})
	}
}

// TestAPITokensEndWithTheSession signs out. Nothing is left to call an API with.
func TestAPITokensEndWithTheSession(t *testing.T) {
	t.Parallel()
	a := newApp(t, appOptions{})
	b := a.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	b.wantAPIToken(orders)
	ctx, calls := b.sessionOf(), a.op.Calls(scriptedop.Token)
	b.post(a.URL+"/logout", nil)
	_, err := a.tokens.For(stock).Token(ctx) // of a request that began before
	wantReason(t, "a token after the sign-out", err, authn.ReasonSessionEnded)
	if a.op.Calls(scriptedop.Revoke) != 1 || a.op.Calls(scriptedop.Token) != calls {
		t.Error("the refresh token was not revoked, or it was used")
	}
	if _, err := a.tokens.For(orders).Token(t.Context()); err != authn.ErrAnonymous {
		t.Errorf("a token without a session: %v", err)
	}
}

// TestAPITokensAtOnce requests tokens for several APIs at the same time, on two nodes. The provider
// revokes everything if a refresh token is used twice.
func TestAPITokensAtOnce(t *testing.T) {
	t.Parallel()
	a := newApp(t, appOptions{})
	a.lives(10 * time.Minute)
	node := newApp(t, appOptions{beside: a})
	b := a.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	for round := range 2 {
		var all sync.WaitGroup
		for _, at := range []*app{a, node} {
			ctx := b.at(at).sessionOf()
			for _, api := range []openid.API{{}, orders, stock} {
				for range 3 {
					all.Go(func() {
						if token, err := at.tokens.For(api).Token(ctx); err != nil || token.AccessToken == "" || !token.Expiry.After(a.clock.Now()) {
							t.Errorf("round %d: a token for %v: %v, %v", round, api, token, err)
						}
					})
				}
			}
		}
		all.Wait()
		if calls, want := a.op.Calls(scriptedop.Token), 3+3*round; calls != want {
			t.Errorf("round %d: %d calls of the token endpoint, want %d", round, calls, want)
		}
		a.clock.Move(10 * time.Minute)
	}
}

// TestAPIRefused has a provider that issues no token for an API. The session and its other tokens go on,
// and the provider is not asked again at once.
func TestAPIRefused(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]http.HandlerFunc{
		"an unknown API":               oauthError(400, "invalid_target", ""),
		"a scope too many":             oauthError(400, "invalid_scope", ""),
		"not allowed":                  oauthError(403, "access_denied", ""),
		"no consent, as a dead grant":  oauthError(400, "invalid_grant", "AADSTS65001"),
		"a token that is far too long": scriptedop.JSON(200, map[string]any{"token_type": "Bearer", "access_token": strings.Repeat("x", 17<<10)}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			a.refusedFor(orders, refusal)
			for range 3 {
				_, err := b.apiToken(orders)
				wantReason(t, "the token", err, openid.ReasonAPIRefused)
			}
			calls := a.op.Calls(scriptedop.Token)
			if want := 2; calls != want && (calls != want+1 || !strings.Contains(name, "dead grant")) {
				t.Errorf("%d calls of the token endpoint", calls)
			}
			b.wantAPIToken(stock)
			b.wantToken(b.token())
			a.op.Answer(scriptedop.Token, nil)
			a.clock.Move(time.Minute)
			b.wantAPIToken(orders)
		})
	}
	t.Run("no refresh token", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{config: func(c *settings) { c.Scopes = []string{"openid"} }})
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		_, err := b.apiToken(orders)
		wantReason(t, "the token", err, openid.ReasonAPIRefused)
		b.wantToken(b.token())
	})
	t.Run("a grant that has ended", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		a.op.Answer(scriptedop.Token, oauthError(400, "invalid_grant", ""))
		_, err := b.apiToken(orders)
		wantReason(t, "the token", err, authn.ReasonSessionEnded)
		if b.who().Subject != "" {
			t.Error("the session goes on")
		}
	})
}

// TestAPITokensOfAuth0 requests tokens as Auth0 has it. Auth0 issues a token for another API if its
// settings do not list this one: that token must not be sent here, and the refresh token that came with
// it is the session's.
func TestAPITokensOfAuth0(t *testing.T) {
	t.Parallel()
	jwt := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	for name, tt := range map[string]struct {
		token   string
		refused bool
	}{
		"for this API":            {token: jwt(`{"aud":"https://orders.example"}`)},
		"for this one, too":       {token: jwt(`{"aud":["https://orders.example","https://tenant.example/userinfo"]}`)},
		"one that nobody reads":   {token: "opaque"},
		"an encrypted one":        {token: "a.b.c.d.e"},
		"for another API":         {token: jwt(`{"aud":"https://stock.example"}`), refused: true},
		"for several others":      {token: jwt(`{"aud":["https://stock.example","https://tenant.example/userinfo"]}`), refused: true},
		"for one that starts so":  {token: jwt(`{"aud":"https://orders.example.evil.example"}`), refused: true},
		"for the empty list only": {token: jwt(`{"aud":[]}`), refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{config: func(c *settings) { c.Auth0 = true }})
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			a.op.Edit(scriptedop.Token, func(response map[string]any) { response["access_token"] = tt.token })
			token, err := b.apiToken(orders)
			if tt.refused {
				wantReason(t, "the token", err, openid.ReasonAPIRefused)
			} else if err != nil || token != tt.token {
				t.Errorf("the token is %q: %v", token, err)
			}
			if form := a.op.Last(scriptedop.Token).Form; form.Get("audience") != orders.Audience || form.Has("resource") {
				t.Errorf("the refresh sends %v", form)
			}
			a.op.Edit(scriptedop.Token, nil)
			a.clock.Move(time.Hour - time.Second) // the next refresh needs the refresh token of the last
			b.wantToken(b.token())
		})
	}
}

// TestAPITokensAreBounded uses tokens for more APIs than a session keeps: the oldest makes room.
func TestAPITokensAreBounded(t *testing.T) {
	t.Parallel()
	a := newApp(t, appOptions{})
	b := a.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	api := func(n int) openid.API { return openid.API{Audience: "https://api" + strconv.Itoa(n) + ".example"} }
	for n := range 9 {
		b.wantAPIToken(api(n))
	}
	calls := a.op.Calls(scriptedop.Token)
	for n := 1; n < 9; n++ {
		b.wantAPIToken(api(n))
	}
	if got := a.op.Calls(scriptedop.Token); got != calls {
		t.Errorf("%d of eight tokens were not kept", got-calls)
	}
	b.wantAPIToken(api(0))
	if got := a.op.Calls(scriptedop.Token); got != calls+1 {
		t.Error("a ninth token was kept")
	}
}

// TestAPITokenWhileTheStoreIsFull requests a token that the store does not accept. The session uses it
// all the same, because its refresh token is the only one, and saves it later.
func TestAPITokenWhileTheStoreIsFull(t *testing.T) {
	t.Parallel()
	store := &fullStore{Store: authn.NewMemoryStore()}
	a := newApp(t, appOptions{config: func(c *settings) { c.Sessions.Store = store }})
	a.store = store
	b := a.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	a.op.Answer(scriptedop.Token, func(w http.ResponseWriter, r *http.Request) {
		store.full.Store(true)
		a.op.Correct(scriptedop.Token)(w, r)
	})
	kept := b.wantAPIToken(orders)
	if again := b.wantAPIToken(orders); again != kept || a.op.Calls(scriptedop.Token) != 2 {
		t.Errorf("%d calls of the token endpoint", a.op.Calls(scriptedop.Token))
	}
	a.op.Answer(scriptedop.Token, nil)
	store.full.Store(false)
	a.tokens.Wait()
	other := b.at(newApp(t, appOptions{beside: a}))
	if found := other.wantAPIToken(orders); found != kept || a.op.Calls(scriptedop.Token) != 2 {
		t.Errorf("another node does not find the token: %d calls", a.op.Calls(scriptedop.Token))
	}
	b.wantAPIToken(stock) // with the refresh token that was saved
}

// authorization returns the header that an access token is sent in.
func authorization(t *testing.T, access *authn.AccessToken) (header string) {
	t.Helper()
	_, err := access.Send(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example/", nil), func(r *http.Request) (*http.Response, error) {
		header = r.Header.Get("Authorization")
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return header
}

// TestRenewAPIToken replaces tokens that an API has refused.
func TestRenewAPIToken(t *testing.T) {
	t.Parallel()
	for name, api := range map[string]openid.API{"the session's own": {}, "another API's": orders} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			ctx, tokens := b.sessionOf(), a.tokens.For(api)
			refused, err := tokens.Access(ctx)
			if err != nil {
				t.Fatal(err)
			}
			calls := a.op.Calls(scriptedop.Token)
			if renewed, err := tokens.Renew(ctx, refused); renewed != nil || err != nil || a.op.Calls(scriptedop.Token) != calls {
				t.Errorf("a token that was issued a moment ago was renewed: %v, %v", renewed, err)
			}
			a.clock.Move(30 * time.Second)
			for range 2 { // the second finds the first one's token
				renewed, err := tokens.Renew(ctx, refused)
				if err != nil || renewed == nil || authorization(t, renewed) == authorization(t, refused) || a.op.Calls(scriptedop.Token) != calls+1 {
					t.Errorf("renewed: %v, %v, %d calls", renewed, err, a.op.Calls(scriptedop.Token)-calls)
				}
			}
			b.post(a.URL+"/logout", nil)
			_, err = tokens.Renew(ctx, refused)
			wantReason(t, "after the sign-out", err, authn.ReasonSessionEnded)
		})
	}
}

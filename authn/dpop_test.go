package authn_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// withDPoP makes an app whose provider issues only bound tokens, and asks for nonces.
func withDPoP() appOptions {
	return appOptions{op: scriptedop.Config{DPoP: true}, config: func(c *settings) { c.DPoP = true }}
}

// nodeBeside starts another node of the same app, which also stands for one that was restarted: it shares
// the store and nothing of the memory.
func (a *app) nodeBeside(t *testing.T) *app {
	t.Helper()
	o := withDPoP()
	o.beside = a
	return newApp(t, o)
}

// protected starts an API of the provider's that asks for a nonce.
func (a *app) protected(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(a.op.Protected(func() string { return "a-nonce-of-the-api" }, http.NotFoundHandler()))
	t.Cleanup(server.Close)
	return server
}

// wantCalled calls an API with the tokens of a node. 404 comes from the API itself.
func wantCalled(t *testing.T, tokens authn.APITokens, b *person, address string) {
	t.Helper()
	resp, err := tokens.Client(b.sessionOf()).Post(address, "text/plain", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("the API answers %d", resp.StatusCode)
	}
}

// TestDPoPKeyOfASession signs in on one node, and refreshes and calls APIs there and on another. All of
// them prove that they have the same key, which no other session has.
func TestDPoPKeyOfASession(t *testing.T) {
	t.Parallel()
	a := newApp(t, withDPoP())
	a.lives(10 * time.Minute)
	api := a.protected(t)
	b := a.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	for _, node := range []*app{a, a.nodeBeside(t), a} {
		at := b.at(node)
		for _, tokens := range []authn.APITokens{node.tokens.For(openid.API{}), node.tokens.For(orders)} {
			wantCalled(t, tokens, at, api.URL+"/orders?id=1")
		}
		if token, err := node.tokens.Token(at.sessionOf()); err != nil || token.Type() != "DPoP" {
			t.Errorf("the token has type %q, %v", token.Type(), err)
		}
		if got := at.post(node.URL+"/refresh", nil); got.status != http.StatusOK {
			t.Errorf("the profile was not refreshed: %s", got.text)
		}
		a.clock.Move(9*time.Minute + 30*time.Second) // each node finds tokens that are about to expire
	}
	keys := func() map[string]int {
		thumbprints := make(map[string]int)
		for _, e := range []scriptedop.Endpoint{scriptedop.Token, scriptedop.UserInfo, scriptedop.Other} {
			for _, proof := range a.op.Proofs(e) {
				thumbprints[proof.Thumbprint]++
			}
		}
		return thumbprints
	}
	if got := keys(); len(got) != 1 {
		t.Errorf("the proofs are made with the keys %v", got)
	}
	b.wantNoSecrets(b.get(a.URL + "/me"))

	other := a.person(t)
	other.wantSignedIn(other.signIn(), "alice")
	if got := keys(); len(got) != 2 {
		t.Errorf("the proofs of two sessions are made with the keys %v", got)
	}
}

// TestDPoPKeyEndsWithTheSession signs out. A request that began before can prove nothing any more.
func TestDPoPKeyEndsWithTheSession(t *testing.T) {
	t.Parallel()
	a := newApp(t, withDPoP())
	api := a.protected(t)
	b := a.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	wantCalled(t, a.tokens.For(openid.API{}), b, api.URL)
	ctx := b.sessionOf()
	b.post(a.URL+"/logout", nil)
	proofs := len(a.op.Proofs(scriptedop.Other))
	_, err := a.tokens.Client(ctx).Get(api.URL)
	wantReason(t, "a call after the sign-out", err, authn.ReasonSessionEnded)
	if len(a.op.Proofs(scriptedop.Other)) != proofs {
		t.Error("a proof was sent after the sign-out")
	}
}

// TestDPoPStaysWithTheSession restarts the app with another setting. The tokens of a session stay as they
// began.
func TestDPoPStaysWithTheSession(t *testing.T) {
	t.Parallel()
	for name, began := range map[string]bool{"DPoP is turned off": true, "DPoP is turned on": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := appOptions{op: scriptedop.Config{DPoP: true, Bearer: true}, config: func(c *settings) { c.DPoP = began }}
			a := newApp(t, o)
			a.lives(10 * time.Minute)
			api := a.protected(t)
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			restarted := newApp(t, appOptions{beside: a, config: func(c *settings) { c.DPoP = !began }})
			a.clock.Move(9*time.Minute + 30*time.Second)
			at, calls := b.at(restarted), a.op.Calls(scriptedop.Token)
			wantCalled(t, restarted.tokens.For(openid.API{}), at, api.URL)
			token, err := restarted.tokens.Token(at.sessionOf())
			if err != nil || (token.Type() == "DPoP") != began {
				t.Errorf("the token has type %q, %v", token.Type(), err)
			}
			if a.op.Calls(scriptedop.Token) == calls {
				t.Error("the token was not refreshed")
			}
		})
	}
}

// TestDPoPRefreshRefused gets a bearer token, or a demand for another nonce each time, at a refresh. The
// session stays, and so does the refresh token that came with the answer.
func TestDPoPRefreshRefused(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(*app){
		"a bearer token": func(a *app) {
			a.op.Edit(scriptedop.Token, func(response map[string]any) { response["token_type"] = "Bearer" })
		},
		"another nonce each time": func(a *app) {
			a.op.Answer(scriptedop.Token, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("DPoP-Nonce", openid.RandomToken())
				scriptedop.JSON(http.StatusBadRequest, map[string]any{"error": "use_dpop_nonce"})(w, r)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, withDPoP())
			a.lives(10 * time.Minute)
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			refuse(a)
			a.clock.Move(10 * time.Minute)
			_, err := a.tokens.Token(b.sessionOf())
			wantReason(t, "the refresh", err, authn.ReasonRefreshFailed)
			a.clock.Move(2 * time.Minute)
			_, err = a.tokens.For(orders).Token(b.sessionOf())
			if reason := openid.ReasonOf(err); reason != authn.ReasonRefreshFailed {
				t.Errorf("the refresh for an API: %v", err)
			}
			a.op.Answer(scriptedop.Token, nil)
			a.op.Edit(scriptedop.Token, nil)
			a.clock.Move(2 * time.Minute)
			if _, err := a.tokens.Token(b.sessionOf()); err != nil {
				t.Errorf("after that: %v", err)
			}
		})
	}
}

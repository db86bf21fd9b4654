package openid_test

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// withDPoP makes a party whose provider issues only bound tokens, and asks for nonces.
func withDPoP(change func(*openid.Config)) options {
	return options{op: scriptedop.Config{DPoP: true}, config: func(c *openid.Config) {
		c.DPoP = true
		if change != nil {
			change(c)
		}
	}}
}

// protected starts a resource server, with a nonce that the test can change.
type protected struct {
	*httptest.Server
	nonce string
	calls int
	body  string // of the last request that was admitted
}

func (p *party) protected(nonce string) *protected {
	p.t.Helper()
	api := &protected{nonce: nonce}
	admit := p.op.Protected(func() string { return api.nonce }, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		api.body = string(body)
	}))
	api.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		api.calls++
		admit.ServeHTTP(w, r)
	}))
	p.t.Cleanup(api.Close)
	return api
}

// call sends a request with the access token, and returns the status.
func (p *party) call(tokens openid.Tokens, method, address string, body io.Reader) int {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, address, body)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := p.Send(r, tokens, http.DefaultTransport.RoundTrip)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if r.Header.Get("Authorization") != "" || r.Header.Get("DPoP") != "" {
		p.t.Error("the caller's request was changed")
	}
	return resp.StatusCode
}

// TestDPoP signs in, refreshes and calls an API. The provider and the API accept only proofs that are
// right, each of them once.
func TestDPoP(t *testing.T) {
	t.Parallel()
	for name, offered := range map[string][]string{
		"ES256": {"RS256", "PS256", "EdDSA", "ES256"}, "EdDSA": {"PS256", "EdDSA"}, "PS256": {"PS256", "ES512"},
	} {
		t.Run(""+name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, withDPoP(nil))
			p.op.Edit(scriptedop.Discovery, func(document map[string]any) { document["dpop_signing_alg_values_supported"] = offered })
			in := p.signIn()
			p.wantSignedIn(in, "alice")
			p.wantCalls(2, 2) // each of them once without a nonce
			api := p.protected("a-nonce-of-the-api")
			if status := p.call(in.Tokens, http.MethodGet, api.URL+"/accounts?page=2#top", nil); status != http.StatusOK || api.calls != 2 {
				t.Errorf("the API answers %d, after %d calls", status, api.calls)
			}
			tokens, err := p.Refresh(t.Context(), in.Tokens)
			if err != nil {
				t.Fatal(err)
			}
			p.wantCalls(3, 2) // the nonce is known
			if status := p.call(tokens, http.MethodPost, api.URL+"/accounts", strings.NewReader("a body")); status != http.StatusOK || api.calls != 3 || api.body != "a body" {
				t.Errorf("the API answers %d, after %d calls", status, api.calls)
			}

			thumbprint, seen := p.op.Proofs(scriptedop.Token)[0].Thumbprint, make(map[any]bool)
			for endpoint, token := range map[scriptedop.Endpoint]openid.Tokens{scriptedop.Token: {}, scriptedop.UserInfo: in.Tokens, scriptedop.Other: in.Tokens} {
				for i, proof := range p.op.Proofs(endpoint) {
					if proof.Algorithm != name || proof.Type != "dpop+jwt" || proof.Thumbprint != thumbprint || seen[proof.Claims["jti"]] {
						t.Errorf("%s: proof %d is %v", endpoint, i, proof)
					}
					seen[proof.Claims["jti"]] = true
					if i == 0 && proof.Claims["ath"] != hashOf(token.Access) {
						t.Errorf("%s: ath is %v", endpoint, proof.Claims["ath"])
					}
				}
			}
			if first := p.op.Proofs(scriptedop.Other)[0].Claims; first["htu"] != api.URL+"/accounts" || first["htm"] != "GET" {
				t.Errorf("the claims of a proof are %v", first)
			}
		})
	}
}

// hashOf returns ath (RFC 9449 section 4.2); nil if there is no token.
func hashOf(access openid.Secret) any {
	if access == "" {
		return nil
	}
	sum := sha256.Sum256([]byte(access))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// TestProofAddress compares htu with the address that the server sees.
func TestProofAddress(t *testing.T) {
	t.Parallel()
	p := newParty(t, withDPoP(nil))
	in := p.signIn()
	p.wantSignedIn(in, "alice")
	for name, tt := range map[string]struct{ address, host, want string }{
		"a query":          {"https://api.example/orders?id=1", "", "https://api.example/orders"},
		"a fragment":       {"https://api.example/orders#top", "", "https://api.example/orders"},
		"a user":           {"https://user:password@api.example/orders", "", "https://api.example/orders"},
		"a port":           {"https://api.example:8443/orders", "", "https://api.example:8443/orders"},
		"no path":          {"https://api.example", "", "https://api.example/"},
		"an escaped slash": {"https://api.example/a%2Fb", "", "https://api.example/a%2Fb"},
		"another host":     {"https://10.0.0.1/orders", "api.example", "https://api.example/orders"},
	} {
		t.Run(""+name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			u, err := r.URL.Parse(tt.address)
			if err != nil {
				t.Fatal(err)
			}
			r.URL, r.Host = u, tt.host
			_, err = p.Send(r, in.Tokens, func(r *http.Request) (*http.Response, error) {
				if claims := proofIn(t, r); claims["htu"] != tt.want {
					t.Errorf("htu is %v, want %s", claims["htu"], tt.want)
				}
				return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// proofIn returns the claims of the proof that a request carries.
func proofIn(t *testing.T, r *http.Request) map[string]any {
	t.Helper()
	proof, err := scriptedop.ParseProof(r.Header.Get("DPoP"))
	if err != nil {
		t.Fatal(err)
	}
	return proof.Claims
}

// TestDPoPTokenType answers with tokens of another type than the client asks for.
func TestDPoPTokenType(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		kind     any
		accepted bool
	}{
		"DPoP": {"DPoP", true}, "dpop": {"dpop", true}, "DPOP": {"DPOP", true},
		"Bearer": {"Bearer", false}, "bearer": {"bearer", false}, "none": {nil, false}, "N_A": {"N_A", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, withDPoP(nil))
			first := p.signIn()
			p.wantSignedIn(first, "alice")
			p.op.Edit(scriptedop.Token, func(response map[string]any) {
				if response["token_type"] = tt.kind; tt.kind == nil {
					delete(response, "token_type")
				}
			})
			refreshed, err := p.Refresh(t.Context(), first.Tokens)
			second := p.signIn()
			if tt.accepted {
				p.wantSignedIn(second, "alice")
				if err != nil || refreshed.Access == "" {
					t.Errorf("the refresh: %v", err)
				}
				return
			}
			p.wantRefused(second, openid.ReasonTokenInvalid, 4, 2)
			// The provider no longer accepts the old refresh token.
			if openid.ReasonOf(err) != openid.ReasonTokenInvalid || refreshed.Access != "" || refreshed.Refresh == "" {
				t.Errorf("the refresh: %v, %v", refreshed, err)
			}
		})
	}
}

// TestDPoPNonceLoop asks for another nonce each time. The client tries twice, with another proof and
// another client assertion. TestDPoP is the control.
func TestDPoPNonceLoop(t *testing.T) {
	t.Parallel()
	key := scriptedop.NewKey("client-key", "ES256")
	o := withDPoP(func(c *openid.Config) {
		c.ClientAuth, c.SigningKey, c.SigningKeyID = openid.PrivateKeyJWT, key.Private.(crypto.Signer), key.ID
	})
	o.op.ClientKey = key
	p := newParty(t, o)
	first := p.signIn()
	p.wantSignedIn(first, "alice")
	var assertions []string
	endless := func(e scriptedop.Endpoint, status int) {
		n := 0
		p.op.Answer(e, func(w http.ResponseWriter, r *http.Request) {
			n++
			assertions = append(assertions, r.PostFormValue("client_assertion"))
			w.Header().Set("DPoP-Nonce", fmt.Sprint("nonce-", n))
			w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
			scriptedop.JSON(status, map[string]any{"error": "use_dpop_nonce"})(w, r)
		})
	}
	endless(scriptedop.Token, http.StatusBadRequest)
	second := p.signIn()
	p.wantRefused(second, openid.ReasonTokenRequestFailed, 4, 2)
	if second.code() != "use_dpop_nonce" || assertions[0] == assertions[1] || assertions[0] == "" {
		t.Errorf("code %q, or the assertion was sent twice", second.code())
	}
	endless(scriptedop.UserInfo, http.StatusUnauthorized)
	// This says nothing about the access token: it must not be refreshed for it.
	if _, err := p.UserInfo(t.Context(), first.Tokens, "alice"); openid.ReasonOf(err) != openid.ReasonUserInfoFailed || errors.Is(err, openid.ErrUnauthorized) {
		t.Errorf("userinfo: %v", err)
	}
	p.wantCalls(4, 4)
}

// TestDPoPNonceWithoutANonce answers with the error, but gives no nonce that could be sent.
func TestDPoPNonceWithoutANonce(t *testing.T) {
	t.Parallel()
	for name, nonce := range map[string][]string{
		"none": nil, "an empty one": {""}, "two": {"one", "two"}, "one with a quote": {`a"b`}, "one with a space": {"a b"},
		"one with an umlaut": {"ä"}, "a long one": {strings.Repeat("n", 513)},
	} {
		t.Run(""+name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, withDPoP(nil))
			p.op.Answer(scriptedop.Token, func(w http.ResponseWriter, r *http.Request) {
				w.Header()["Dpop-Nonce"] = nonce
				scriptedop.JSON(http.StatusBadRequest, map[string]any{"error": "use_dpop_nonce"})(w, r)
			})
			p.wantRefused(p.signIn(), openid.ReasonTokenRequestFailed, 1, 0)
		})
	}
}

// TestDPoPNonces keeps the nonces of servers apart, and takes a new one from a good answer.
func TestDPoPNonces(t *testing.T) {
	t.Parallel()
	p := newParty(t, withDPoP(nil))
	in := p.signIn()
	p.wantSignedIn(in, "alice")
	one, two := p.protected("nonce-of-one"), p.protected("nonce-of-two")
	for range 2 {
		for _, api := range []*protected{one, two} {
			if status := p.call(in.Tokens, http.MethodGet, api.URL, nil); status != http.StatusOK {
				t.Errorf("the API answers %d", status)
			}
		}
	}
	if one.calls != 3 || two.calls != 3 {
		t.Errorf("%d and %d calls, want 3", one.calls, two.calls)
	}
	var sent []any
	for _, proof := range p.op.Proofs(scriptedop.Other) {
		sent = append(sent, proof.Claims["nonce"])
	}
	if want := []any{nil, "nonce-of-one", nil, "nonce-of-two", "nonce-of-one", "nonce-of-two"}; !slices.Equal(sent, want) {
		t.Errorf("the nonces are %v, want %v", sent, want)
	}
	for _, e := range []scriptedop.Endpoint{scriptedop.Token, scriptedop.UserInfo} {
		if first := p.op.Proofs(e)[0].Claims["nonce"]; first != nil {
			t.Errorf("%s was sent %v, another server's nonce", e, first)
		}
	}

	// The answer to the sixth call gave the nonce that the seventh needs.
	open := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("DPoP-Nonce", "nonce-after-"+strings.TrimPrefix(r.URL.Path, "/"))
		w.Header().Set("Nonce-Sent", fmt.Sprint(proofIn(t, r)["nonce"]))
	}))
	defer open.Close()
	for i, want := range []string{"<nil>", "nonce-after-0", "nonce-after-1"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprint(open.URL, "/", i), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := p.Send(r, in.Tokens, http.DefaultTransport.RoundTrip)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if got := resp.Header.Get("Nonce-Sent"); got != want {
			t.Errorf("the nonce of call %d is %q, want %q", i, got, want)
		}
	}
}

// TestDPoPNoncesAreBounded calls more servers than the client keeps nonces of.
func TestDPoPNoncesAreBounded(t *testing.T) {
	t.Parallel()
	p := newParty(t, withDPoP(nil))
	in := p.signIn()
	p.wantSignedIn(in, "alice")
	send := func(host string) any {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+host+"/", nil)
		var sent any
		_, err := p.Send(r, in.Tokens, func(r *http.Request) (*http.Response, error) {
			sent = proofIn(t, r)["nonce"]
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Dpop-Nonce": {"of-" + host}}, Body: http.NoBody}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return sent
	}
	for n := range 3 * openid.MaxNonces {
		host := fmt.Sprint("api-", n, ".example")
		if first, second := send(host), send(host); first != nil || second != "of-"+host {
			t.Fatalf("%s was sent %v and %v", host, first, second)
		}
	}
	if n := p.Nonces(); n > openid.MaxNonces {
		t.Errorf("%d nonces are kept", n)
	}
}

// TestDPoPBody repeats a request only if its body can be read again.
func TestDPoPBody(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		body   io.Reader
		status int
		calls  int
	}{
		"no body":                {nil, http.StatusOK, 2},
		"a body in memory":       {strings.NewReader("text"), http.StatusOK, 2},
		"a stream, sent in part": {io.MultiReader(strings.NewReader("te"), strings.NewReader("xt")), http.StatusUnauthorized, 1},
	} {
		t.Run(""+name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, withDPoP(nil))
			in := p.signIn()
			p.wantSignedIn(in, "alice")
			api := p.protected("a-nonce")
			if status := p.call(in.Tokens, http.MethodPost, api.URL, tt.body); status != tt.status || api.calls != tt.calls {
				t.Errorf("the API answers %d after %d calls, want %d after %d", status, api.calls, tt.status, tt.calls)
			}
			if status := p.call(in.Tokens, http.MethodPost, api.URL, io.MultiReader(strings.NewReader("text"))); status != http.StatusOK || api.body != "text" {
				t.Errorf("once the nonce is known, the API answers %d and has received %q", status, api.body)
			}
		})
	}
}

// TestDPoPKeys compares the keys of two sign-ins, and uses one with the token of the other.
func TestDPoPKeys(t *testing.T) {
	t.Parallel()
	p := newParty(t, withDPoP(nil))
	alice, bob := p.signIn(), p.signIn()
	p.wantSignedIn(alice, "alice")
	p.wantSignedIn(bob, "alice")
	api := p.protected("")
	mixed := alice.Tokens
	mixed.ProofKey = bob.Tokens.ProofKey
	bearer := alice.Tokens
	bearer.ProofKey = ""
	for name, tt := range map[string]struct {
		tokens openid.Tokens
		want   int
	}{
		"its own key": {alice.Tokens, http.StatusOK}, "the other one's key": {mixed, http.StatusUnauthorized}, "no key": {bearer, http.StatusUnauthorized},
	} {
		if status := p.call(tt.tokens, http.MethodGet, api.URL, nil); status != tt.want {
			t.Errorf("with %s the API answers %d, want %d", name, status, tt.want)
		}
	}
	if shown := fmt.Sprintf("%v %+v", alice.Tokens, alice.Tokens); strings.Contains(shown, string(alice.Tokens.ProofKey)) {
		t.Error("the key is printed")
	}
	proofs := p.op.Proofs(scriptedop.Token)
	if proofs[0].Thumbprint == proofs[len(proofs)-1].Thumbprint {
		t.Error("two sign-ins share a key")
	}
}

// TestDPoPStaysWithTheSession refreshes tokens after the setting has been changed.
func TestDPoPStaysWithTheSession(t *testing.T) {
	t.Parallel()
	for name, began := range map[string]bool{"a session that began with DPoP": true, "a session that began without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := withDPoP(func(c *openid.Config) { c.DPoP = began })
			o.op.Bearer = true
			p := newParty(t, o)
			in := p.signIn()
			p.wantSignedIn(in, "alice")
			p.config.DPoP, p.config.Metrics = !began, nil
			changed, err := openid.New(p.config)
			if err != nil {
				t.Fatal(err)
			}
			tokens, err := changed.Refresh(t.Context(), in.Tokens)
			if err != nil || (tokens.ProofKey != "") != began || tokens.ProofKey != in.Tokens.ProofKey {
				t.Errorf("refreshed: %v, bound %t", err, tokens.ProofKey != "")
			}
			if _, err := changed.UserInfo(t.Context(), tokens, "alice"); err != nil {
				t.Errorf("userinfo: %v", err)
			}
			if got := len(p.op.Proofs(scriptedop.Token)) > 0; got != began {
				t.Errorf("proofs were sent: %t", got)
			}
		})
	}
}

// TestDPoPAlgorithms discovers providers that accept proofs of certain algorithms.
func TestDPoPAlgorithms(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		listed   any
		on       bool
		accepted bool
	}{
		"one that it knows": {[]string{"ES256"}, true, true}, "no list": {nil, true, true}, "others, and DPoP is off": {[]string{"ES512"}, false, true},
		"only others": {[]string{"ES512", "RS256"}, true, false},
	} {
		t.Run(""+name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{op: scriptedop.Config{DPoP: tt.on}, config: func(c *openid.Config) { c.DPoP = tt.on }})
			p.op.Edit(scriptedop.Discovery, func(document map[string]any) {
				if document["dpop_signing_alg_values_supported"] = tt.listed; tt.listed == nil {
					delete(document, "dpop_signing_alg_values_supported")
				}
			})
			if tt.accepted {
				p.wantSignedIn(p.signIn(), "alice")
				return
			}
			if text := p.wantNoRequest(openid.ReasonProviderMisconfigured); !strings.Contains(text, "DPOP") || !strings.Contains(text, "ES512,RS256") {
				t.Errorf("the error is %q", text)
			}
		})
	}
}

// BenchmarkSend sends requests that need no network, with and without a proof.
func BenchmarkSend(b *testing.B) {
	for _, name := range []string{"Bearer", "ES256", "EdDSA", "PS256"} {
		b.Run(name, func(b *testing.B) {
			p := newParty(b, options{op: scriptedop.Config{DPoP: name != "Bearer"}, config: func(c *openid.Config) { c.DPoP = name != "Bearer" }})
			p.op.Edit(scriptedop.Discovery, func(document map[string]any) { document["dpop_signing_alg_values_supported"] = []string{name} })
			in := p.signIn()
			p.wantSignedIn(in, "alice")
			r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "https://api.example/v1/orders", nil)
			answer := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Send(r, in.Tokens, func(*http.Request) (*http.Response, error) { return answer, nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestDPoPClock makes a proof by a clock that is too far off. TestDPoP is the control.
func TestDPoPClock(t *testing.T) {
	t.Parallel()
	p := newParty(t, withDPoP(func(c *openid.Config) { c.Now = behind(c.Now) }))
	in := p.signIn()
	p.wantRefused(in, openid.ReasonTokenRequestFailed, 1, 0)
	if in.code() != "invalid_dpop_proof" {
		t.Errorf("code %q", in.code())
	}
}

package openid_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// TestPrivateKeyJWT authenticates with assertions wherever the client authenticates. The
// provider verifies each assertion, and accepts no jti twice.
func TestPrivateKeyJWT(t *testing.T) {
	t.Parallel()
	rsaKey := scriptedop.NewKey("", "RS256").Private
	for name, tt := range map[string]struct {
		key       scriptedop.Key // its Algorithm is the one that the provider requires
		algorithm string         // configured
		kid       string         // configured
	}{
		"RSA alone means RS256":         {key: scriptedop.Key{Algorithm: "RS256", Private: rsaKey}},
		"RS256":                         {scriptedop.Key{Algorithm: "RS256", Private: rsaKey}, "RS256", ""},
		"RS384":                         {scriptedop.Key{Algorithm: "RS384", Private: rsaKey}, "RS384", ""},
		"PS256":                         {scriptedop.Key{Algorithm: "PS256", Private: rsaKey}, "PS256", ""},
		"PS512":                         {scriptedop.Key{Algorithm: "PS512", Private: rsaKey}, "PS512", ""},
		"P-256 alone means ES256":       {key: scriptedop.NewKey("", "ES256")},
		"P-384 alone means ES384":       {key: scriptedop.NewKey("", "ES384")},
		"P-521 alone means ES512":       {key: scriptedop.NewKey("", "ES512")},
		"Ed25519 alone means EdDSA":     {key: scriptedop.NewKey("", "EdDSA")},
		"a key that the provider named": {scriptedop.NewKey("named by the provider", "ES256"), "ES256", "named by the provider"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.key.ID == "" {
				tt.key.ID = thumbprint(t, tt.key)
			}
			p := newParty(t, options{op: scriptedop.Config{ClientKey: tt.key}, config: func(c *openid.Config) {
				c.ClientAuth, c.PushedAuthorizationRequests = openid.PrivateKeyJWT, "always"
				c.SigningKey, c.SigningAlgorithm, c.SigningKeyID = tt.key.Private.(crypto.Signer), tt.algorithm, tt.kid
			}})
			in := p.signIn()
			p.wantSignedIn(in, "alice")
			p.clock.Move(time.Hour - 30*time.Second)
			tokens, err := p.Refresh(t.Context(), in.Tokens)
			if err != nil {
				t.Errorf("refreshing: %v", err)
			}
			if err := p.Revoke(t.Context(), tokens.Refresh); err != nil {
				t.Errorf("revoking: %v", err)
			}
			for endpoint, calls := range map[scriptedop.Endpoint]int{scriptedop.PAR: 1, scriptedop.Token: 2, scriptedop.Revoke: 1} {
				if got := p.op.Calls(endpoint); got != calls {
					t.Errorf("%s was called %d times, want %d", endpoint, got, calls)
				}
				last := p.op.Last(endpoint)
				if last.Header.Get("Authorization") != "" || last.Form.Has("client_secret") || len(last.Form["client_assertion"]) != 1 {
					t.Errorf("%s was sent %q, %q", endpoint, last.Header.Get("Authorization"), last.Form)
				}
			}
		})
	}
}

// TestPrivateKeyJWTRefused makes the client differ from what the provider knows. The cases
// of TestPrivateKeyJWT are the control.
func TestPrivateKeyJWTRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*openid.Config){
		"another key":       func(c *openid.Config) { c.SigningKey = scriptedop.NewKey("", "ES256").Private.(crypto.Signer) },
		"another kid":       func(c *openid.Config) { c.SigningKeyID = "" },
		"another client":    func(c *openid.Config) { c.ClientID = "another" },
		"a secret":          func(c *openid.Config) { c.ClientAuth = openid.ClientSecretPost },
		"a clock that lags": func(c *openid.Config) { c.Now = behind(c.Now) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, knownByKey(scriptedop.NewKey("client-key", "ES256"), func(c *openid.Config) {
				c.PushedAuthorizationRequests = "always"
				change(c)
			}))
			p.wantRefused(p.signIn(), openid.ReasonProviderUnreachable, 0, 0)
		})
	}
}

// knownByKey makes a party whose provider knows the client's key.
func knownByKey(key scriptedop.Key, change func(*openid.Config)) options {
	return options{op: scriptedop.Config{ClientKey: key}, config: func(c *openid.Config) {
		c.ClientAuth, c.SigningKey, c.SigningKeyID = openid.PrivateKeyJWT, key.Private.(crypto.Signer), key.ID
		change(c)
	}}
}

func behind(now func() time.Time) func() time.Time {
	return func() time.Time { return now().Add(-10 * time.Minute) }
}

// TestSigningKeyRefused configures keys that cannot sign an assertion, or not with the
// requested algorithm.
func TestSigningKeyRefused(t *testing.T) {
	t.Parallel()
	p := newParty(t, options{})
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256 := scriptedop.NewKey("", "ES256").Private.(crypto.Signer)
	for name, tt := range map[string]struct {
		key       crypto.Signer
		algorithm string
		want      string // "" for a key that is accepted
	}{
		"a P-256 key":           {p256, "ES256", ""},
		"no key":                {nil, "", "needs a signing key"},
		"an RSA key too short":  {short, "", "RSA needs 2048"},
		"another curve":         {p224, "", "is not an RSA, P-256"},
		"another key's alg":     {p256, "RS256", `cannot sign with "RS256"`},
		"another curve's alg":   {p256, "ES384", `cannot sign with "ES384"`},
		"no algorithm there is": {p256, "none", `cannot sign with "none"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := p.config
			cfg.ClientAuth, cfg.SigningKey, cfg.SigningAlgorithm = openid.PrivateKeyJWT, tt.key, tt.algorithm
			_, err := openid.New(cfg)
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// thumbprint computes the thumbprint of RFC 7638 section 3: SHA-256 of the required
// members, in order, without spaces.
func thumbprint(t *testing.T, key scriptedop.Key) string {
	t.Helper()
	required := key.JWK()
	for _, name := range []string{"use", "kid"} {
		delete(required, name)
	}
	canonical, err := json.Marshal(required)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(canonical)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func TestClientAuthentication(t *testing.T) {
	t.Parallel()
	for method, inHeader := range map[string]bool{openid.ClientSecretBasic: true, openid.ClientSecretPost: false} {
		t.Run("CB-15 "+method, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{
				op:     scriptedop.Config{ClientID: "client:1+%", ClientSecret: awkwardSecret},
				config: func(c *openid.Config) { c.ClientAuth = method },
			})
			p.wantSignedIn(p.signIn(), "alice")
			p.wantCalls(1, 1)
			last := p.op.Last(scriptedop.Token)
			if got := last.Header.Get("Authorization") != ""; got != inHeader {
				t.Errorf("in the header: %t, want %t", got, inHeader)
			}
			if got := last.Form.Has("client_secret"); got == inHeader {
				t.Errorf("in the body: %t, want %t", got, !inHeader)
			}
			if len(last.Query) > 0 {
				t.Errorf("the request has the query %v", last.Query)
			}
			if want := p.RedirectURL(); last.Form.Get("redirect_uri") != want {
				t.Errorf("redirect_uri is %q, want %q", last.Form.Get("redirect_uri"), want)
			}
		})
	}
	t.Run("CB-15 the wrong secret is tried once", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, options{config: func(c *openid.Config) { c.ClientSecret = "another secret of the client" }})
		got := p.signIn()
		p.wantRefused(got, openid.ReasonTokenRequestFailed, 1, 0)
		if got.code() != "invalid_client" || strings.Contains(got.err.Error(), "another secret") {
			t.Errorf("code %q: %v", got.code(), got.err)
		}
	})
}

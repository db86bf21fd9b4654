package authn_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

// TestPrivateKeyJWT authenticates with assertions wherever the client authenticates:
// the provider verifies each of them, and takes no jti twice.
func TestPrivateKeyJWT(t *testing.T) {
	t.Parallel()
	rsaKey := scriptedop.NewKey("", "RS256").Private
	for name, tt := range map[string]struct {
		key       scriptedop.Key // its Algorithm is the one that the provider wants
		algorithm string         // the configured one
		kid       string         // the configured one
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
			a := newApp(t, appOptions{op: scriptedop.Config{ClientKey: tt.key}, config: func(c *authn.Config) {
				c.ClientAuth, c.PushedAuthorizationRequests = authn.PrivateKeyJWT, "always"
				c.SigningKey, c.SigningAlgorithm, c.SigningKeyID = tt.key.Private.(crypto.Signer), tt.algorithm, tt.kid
			}})
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			a.clock.Move(nearlyExpired)
			if got := b.post(a.URL+"/refresh", nil); got.status != http.StatusOK {
				t.Errorf("refreshing: %s", got.text)
			}
			if got := b.post(a.URL+"/logout", nil); got.status != http.StatusSeeOther {
				t.Errorf("signing out: %s", got.text)
			}
			if strings.Contains(a.log.String(), "not revoked") {
				t.Errorf("revocation was refused:\n%s", a.log)
			}
			for endpoint, calls := range map[scriptedop.Endpoint]int{scriptedop.PAR: 1, scriptedop.Token: 2, scriptedop.Revoke: 1} {
				if got := a.op.Calls(endpoint); got != calls {
					t.Errorf("%s was called %d times, want %d", endpoint, got, calls)
				}
				last := a.op.Last(endpoint)
				if last.Header.Get("Authorization") != "" || last.Form.Has("client_secret") || len(last.Form["client_assertion"]) != 1 {
					t.Errorf("%s was sent %q, %q", endpoint, last.Header.Get("Authorization"), last.Form)
				}
			}
		})
	}
}

// TestPrivateKeyJWTRefused makes the client another one than the provider knows: the
// twins above get through because the provider takes what they say.
func TestPrivateKeyJWTRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*authn.Config){
		"another key":       func(c *authn.Config) { c.SigningKey = scriptedop.NewKey("", "ES256").Private.(crypto.Signer) },
		"another kid":       func(c *authn.Config) { c.SigningKeyID = "" },
		"another client":    func(c *authn.Config) { c.ClientID = "another" },
		"a secret":          func(c *authn.Config) { c.ClientAuth = authn.ClientSecretPost },
		"a clock that lags": func(c *authn.Config) { c.Now = behind(c.Now) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, knownByKey(scriptedop.NewKey("client-key", "ES256"), func(c *authn.Config) {
				c.PushedAuthorizationRequests = "always"
				change(c)
			}))
			b := a.person(t)
			b.wantRefused(b.get(a.URL+"/login"), authn.ReasonProviderUnreachable, 0, 0)
		})
	}
}

// knownByKey makes an app of which the provider knows the key.
func knownByKey(key scriptedop.Key, change func(*authn.Config)) appOptions {
	return appOptions{op: scriptedop.Config{ClientKey: key}, config: func(c *authn.Config) {
		c.ClientAuth, c.SigningKey, c.SigningKeyID = authn.PrivateKeyJWT, key.Private.(crypto.Signer), key.ID
		change(c)
	}}
}

// TestClientKeyReplaced replaces the key that the provider knows, where a sign-in is
// under way and where somebody is signed in.
func TestClientKeyReplaced(t *testing.T) {
	t.Parallel()
	known, another := scriptedop.NewKey("client-key", "ES256"), scriptedop.NewKey("client-key", "ES256")
	t.Run("the code", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, knownByKey(known, func(*authn.Config) {}))
		b := a.person(t)
		callback := b.authorize(b.begin(""))
		a.op.SetClientKey(another)
		got := b.get(callback)
		b.wantRefused(got, authn.ReasonTokenRequestFailed, 1, 0)
		if code := got.header.Get("Code"); code != "invalid_client" {
			t.Errorf("the code is %q", code)
		}
	})
	t.Run("refresh and revocation", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, knownByKey(known, func(*authn.Config) {}))
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

// nearlyExpired is after the moment at which an access token of the provider's is
// replaced, and before the session ends.
const nearlyExpired = time.Hour - 30*time.Second

func behind(now func() time.Time) func() time.Time {
	return func() time.Time { return now().Add(-10 * time.Minute) }
}

// TestSigningKeyRefused names keys that can sign no assertion, or not as it is asked.
func TestSigningKeyRefused(t *testing.T) {
	t.Parallel()
	a := newApp(t, appOptions{})
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
		"another curve":         {p224, "", "none of"},
		"another key's alg":     {p256, "RS256", `cannot sign with "RS256"`},
		"another curve's alg":   {p256, "ES384", `cannot sign with "ES384"`},
		"no algorithm there is": {p256, "none", `cannot sign with "none"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := a.configuration(t, "http")
			cfg.ClientAuth, cfg.SigningKey, cfg.SigningAlgorithm = authn.PrivateKeyJWT, tt.key, tt.algorithm
			_, err := authn.NewRelyingParty(cfg)
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// thumbprint is RFC 7638 section 3: SHA-256 of the required members, in order, without
// spaces.
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

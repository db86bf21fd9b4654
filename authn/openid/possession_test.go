package openid_test

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// prove sends an access token that is bound to a key, with a proof that change may edit, to an address
// that clients know as address.
func (p *party) prove(key scriptedop.Key, address string, change func(proof *scriptedop.JWT)) (*openid.AccessToken, error) {
	p.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		p.t.Fatal(err)
	}
	token := p.op.AccessToken(audience)
	token.Claims["cnf"] = map[string]any{"jkt": key.Thumbprint()}
	raw := token.Compact()
	proof := key.Proof(p.clock.Now(), http.MethodGet, address, raw)
	change(proof)
	return p.VerifyAccessToken(p.t.Context(), openid.Presented{
		Token: raw, DPoP: true, Proofs: []string{proof.Compact()}, Method: http.MethodGet, URL: u,
	})
}

func withAudience(c *openid.Config) { c.Audience = audience }

// TestKeysOfProofs sends keys that cost much, or that anyone could guess.
func TestKeysOfProofs(t *testing.T) {
	t.Parallel()
	p := newParty(t, options{config: withAudience})
	const address = "https://api.example/x"
	// Only the sizes count: the signature is verified after them, or its token is another's.
	rsaOf := func(bits int) func(map[string]any) {
		return func(jwk map[string]any) {
			jwk["n"] = base64.RawURLEncoding.EncodeToString(append([]byte{0x80}, bytes.Repeat([]byte{1}, bits/8-1)...))
		}
	}
	for name, tt := range map[string]struct {
		algorithm string
		jwk       func(map[string]any)
		want      string // in the error; "" accepts
	}{
		"P-256":                     {"ES256", func(map[string]any) {}, ""},
		"Ed25519":                   {"EdDSA", func(map[string]any) {}, ""},
		"RSA":                       {"PS256", func(map[string]any) {}, ""},
		"decoration":                {"ES256", func(jwk map[string]any) { jwk["kid"], jwk["use"], jwk["alg"] = "mine", "sig", "ES256" }, ""},
		"RSA of 1024 bits":          {"PS256", rsaOf(1024), "1024 bits, fewer"},
		"RSA of 4096 bits":          {"PS256", rsaOf(4096), "bound to another key"},
		"RSA of 4104 bits":          {"PS256", rsaOf(4104), "malformed"},
		"an alg of another key":     {"ES256", func(jwk map[string]any) { jwk["alg"] = "ES384" }, "fits no signature algorithm"},
		"a curve of another alg":    {"ES256", func(jwk map[string]any) { jwk["crv"] = "P-384" }, "malformed"},
		"Ed448":                     {"EdDSA", func(jwk map[string]any) { jwk["crv"] = "Ed448" }, "malformed"},
		"a symmetric key":           {"ES256", func(jwk map[string]any) { jwk["kty"], jwk["k"] = "oct", "AQ" }, "private or a symmetric"},
		"an RSA key with its prime": {"PS256", func(jwk map[string]any) { jwk["p"] = "AQ" }, "private or a symmetric"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := scriptedop.NewKey("", tt.algorithm)
			_, err := p.prove(key, address, func(proof *scriptedop.JWT) {
				jwk := key.JWK()
				tt.jwk(jwk)
				proof.Header["jwk"] = jwk
			})
			if (tt.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("the error is %v, want %q", err, tt.want)
			}
		})
	}
}

// TestSpellingsOfAURL compares the htu of proofs with the address of the request.
func TestSpellingsOfAURL(t *testing.T) {
	t.Parallel()
	p, key := newParty(t, options{config: withAudience}), scriptedop.NewKey("", "EdDSA")
	for _, tt := range []struct {
		address, htu string
		same         bool
	}{
		{"https://api.example/x", "https://api.example/x", true},
		{"https://api.example/x", "https://api.example:443/x", true},
		{"https://api.example/x", "https://api.example:/x", true},
		{"https://api.example/x", "HTTPS://API.example/x?q#f", true},
		{"https://api.example/x", "https://api.example:80/x", false},
		{"https://api.example/x", "http://api.example:443/x", false},
		{"https://api.example/x", "https://api.example./x", false},
		{"https://api.example/x", "https://api.example/X", false},
		{"https://api.example/x", "https://api.example/x/", false},
		{"https://api.example/x", "https://api.example//x", false},
		{"https://api.example/x", "https://api.example/x;y", false},
		{"https://api.example/x", "https://api.example@evil.example/x", false},
		{"https://api.example/x", "https://evil.example/https://api.example/x", false},
		{"https://api.example/x", `https://api.example\x`, false},
		{"https://api.example/x", "//api.example/x", false},
		{"https://api.example/x", "https:api.example/x", false},
		{"https://api.example/x", "", false},
		{"https://api.example/x", " https://api.example/x", false},
		{"https://api.example/", "https://api.example", true},
		{"https://api.example/", "https://api.example?q", true},
		{"http://localhost:3000/x", "http://localhost:3000/x", true},
		{"http://localhost:3000/x", "http://127.0.0.1:3000/x", false},
		{"http://[::1]:3000/x", "http://[::1]:3000/x", true},
		{"http://[::1]:3000/x", "http://[::2]:3000/x", false},
		{"https://api.example/a%2Fb", "https://api.example/a%2fb", true},
		{"https://api.example/a%2Fb", "https://api.example/a/b", false},
		{"https://api.example/a/b", "https://api.example/a%2Fb", false},
		{"https://api.example/~x", "https://api.example/%7Ex", true},
		{"https://api.example/%7ex", "https://api.example/~x", true},
		{"https://api.example/a%20b", "https://api.example/a%20b", true},
		{"https://api.example/a%20b", "https://api.example/a+b", false},
		{"https://api.example/%C3%A9", "https://api.example/%c3%a9", true},
		{"https://api.example/%25", "https://api.example/%2525", false},
		{"https://api.example/%2561", "https://api.example/a", false},
		{"https://api.example/a/c", "https://api.example/a/b/../c", true},
		{"https://api.example/a/c", "https://api.example/a/%2e/c", true},
		{"https://api.example/c", "https://api.example/../c", true},
		{"https://api.example/a/c", "https://api.example/a/..%2Fc", false},
	} {
		_, err := p.prove(key, tt.address, func(proof *scriptedop.JWT) { proof.Claims["htu"] = tt.htu })
		if (err == nil) != tt.same {
			t.Errorf("%q for %q: %v, want the same: %t", tt.htu, tt.address, err, tt.same)
		}
		if err != nil && openid.ReasonOf(err) != openid.ReasonProofInvalid {
			t.Errorf("%q for %q: the reason is %s", tt.htu, tt.address, openid.ReasonOf(err))
		}
	}
}

// TestWhatIsPresented checks what an application learns about a bound token, and that a bound token is
// refused if the application passes on nothing but the token.
func TestWhatIsPresented(t *testing.T) {
	t.Parallel()
	p, key := newParty(t, options{config: withAudience}), scriptedop.NewKey("", "ES256")
	got, err := p.prove(key, "https://api.example/x", func(proof *scriptedop.JWT) {
		proof.Claims["jti"], proof.Claims["nonce"] = "the proof's", "a nonce"
	})
	if err != nil || got.Confirmation != (openid.Confirmation{Key: key.Thumbprint()}) || got.Proof == nil ||
		got.Proof.ID != "the proof's" || got.Proof.Nonce != "a nonce" || got.Proof.Expires.Sub(p.clock.Now()) != openid.Leeway {
		t.Errorf("it is %+v, %v", got, err)
	}
	token := p.op.AccessToken(audience)
	if got, err := p.VerifyAccessToken(t.Context(), openid.Presented{Token: token.Compact()}); err != nil || got.Confirmation != (openid.Confirmation{}) || got.Proof != nil {
		t.Errorf("an unbound one is %+v, %v", got, err)
	}
	token.Claims["cnf"] = map[string]any{"jkt": key.Thumbprint()}
	if got, err := p.VerifyAccessToken(t.Context(), openid.Presented{Token: token.Compact()}); openid.ReasonOf(err) != openid.ReasonAccessTokenInvalid || got != nil {
		t.Errorf("a bound one is %+v, %v", got, err)
	}
}

package authn_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

// publish lets the key set hold these keys.
func publish(op *scriptedop.Provider, keys ...any) {
	op.Edit(scriptedop.JWKS, func(set map[string]any) { set["keys"] = keys })
}

// with returns a key with other members; nil removes one.
func with(jwk map[string]any, members ...any) map[string]any {
	jwk = maps.Clone(jwk)
	for i := 0; i+1 < len(members); i += 2 {
		name := members[i].(string)
		if jwk[name] = members[i+1]; members[i+1] == nil {
			delete(jwk, name)
		}
	}
	return jwk
}

func TestKeysThatFit(t *testing.T) {
	t.Parallel()
	ec, other, rs := scriptedop.NewKey("k", "ES256"), scriptedop.NewKey("k", "ES256"), scriptedop.NewKey("k", "RS256")
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	private, err := ec.Private.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	weak := scriptedop.Key{ID: "k", Algorithm: "RS256", Private: short}
	secret := scriptedop.Key{ID: "k", Algorithm: "HS256", Private: []byte(strings.Repeat("s", 32))}
	anonymous := scriptedop.Key{Algorithm: "ES256", Private: ec.Private}
	for name, tt := range map[string]struct {
		signer   scriptedop.Key
		keys     []any
		accepted bool
	}{
		"ID-06 for signatures":                      {ec, []any{ec.JWK()}, true},
		"ID-06 for whatever":                        {ec, []any{with(ec.JWK(), "use", nil)}, true},
		"ID-06 for encryption":                      {ec, []any{with(ec.JWK(), "use", "enc")}, false},
		"ID-06 for the algorithm":                   {ec, []any{with(ec.JWK(), "alg", "ES256")}, true},
		"ID-06 for another algorithm":               {rs, []any{with(rs.JWK(), "alg", "PS256")}, false},
		"ID-06 for another algorithm of its kind":   {rs, []any{with(rs.JWK(), "alg", "RS512")}, false},
		"ID-06 of another kind":                     {ec, []any{rs.JWK()}, false},
		"ID-06 of another curve":                    {ec, []any{scriptedop.NewKey("k", "ES384").JWK()}, false},
		"ID-06 RSA of 2048 bits":                    {rs, []any{rs.JWK()}, true},
		"ID-06 RSA of 1024 bits":                    {weak, []any{weak.JWK()}, false},
		"ID-06 a secret":                            {secret, []any{secret.JWK()}, false},
		"ID-06 a private key":                       {ec, []any{with(ec.JWK(), "d", base64.RawURLEncoding.EncodeToString(private))}, false},
		"ID-06 of another kid":                      {ec, []any{with(ec.JWK(), "kid", "other")}, false},
		"ID-06 of a kid in another case":            {ec, []any{with(ec.JWK(), "kid", "K")}, false},
		"ID-06 without a kid, when one is named":    {ec, []any{with(ec.JWK(), "kid", nil)}, false},
		"ID-06 two of the kid":                      {ec, []any{other.JWK(), ec.JWK()}, true},
		"ID-06 no kid, one key":                     {anonymous, []any{ec.JWK()}, true},
		"ID-06 no kid, no kid on the key":           {anonymous, []any{anonymous.JWK()}, true},
		"ID-06 no kid, one key of its kind":         {anonymous, []any{ec.JWK(), rs.JWK()}, true},
		"ID-06 no kid, one for signatures":          {anonymous, []any{ec.JWK(), with(other.JWK(), "use", "enc")}, true},
		"ID-06 no kid, two keys of its kind":        {anonymous, []any{ec.JWK(), other.JWK()}, false},
		"ID-07 none at all":                         {ec, []any{}, false},
		"ID-07 among keys that nobody understands":  {ec, append(strangeKeys(), ec.JWK()), true},
		"ID-07 before keys that nobody understands": {ec, append([]any{ec.JWK()}, strangeKeys()...), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{op: scriptedop.Config{Keys: []scriptedop.Key{tt.signer}}})
			a.op.Edit(scriptedop.Discovery, func(m map[string]any) { delete(m, "id_token_signing_alg_values_supported") })
			publish(a.op, tt.keys...)
			b := a.person(t)
			got := b.signIn()
			if tt.accepted {
				b.wantSignedIn(got, "alice")
				return
			}
			if got.reason != authn.ReasonProviderMisconfigured { // no key that could ever fit
				b.wantRefused(got, authn.ReasonIDTokenInvalid, 1, 0)
				return
			}
			b.wantRefused(got, authn.ReasonProviderMisconfigured, 1, 0)
		})
	}
}

// strangeKeys are malformed, of the future, or no keys.
func strangeKeys() []any {
	return []any{
		map[string]any{"kty": "RSA", "kid": "k", "n": "!!", "e": "AQAB"},
		map[string]any{"kty": "RSA", "kid": "k"},
		map[string]any{"kty": "EC", "kid": "k", "crv": "secp256k1", "x": "AA", "y": "AA"},
		map[string]any{"kty": "EC", "kid": "k", "crv": "P-256", "x": strings.Repeat("A", 43), "y": strings.Repeat("A", 43)},
		map[string]any{"kty": "OKP", "kid": "k", "crv": "Ed448", "x": "AA"},
		map[string]any{"kty": "OKP", "kid": "k", "crv": "Ed25519", "x": "AA"},
		map[string]any{"kty": "AKP", "kid": "k", "alg": "ML-DSA-44", "pub": "AA"},
		map[string]any{"kty": "EC", "kid": "k", "use": 5},
		map[string]any{"kty": 5},
		map[string]any{},
		nil, 5, "key",
		[]any{},
		true,
	}
}

// TestPoisonedKeySet signs somebody in, lets the key set be fetched anew when it is of
// no use, and signs somebody else in with a key that is known.
func TestPoisonedKeySet(t *testing.T) {
	t.Parallel()
	tooMany := make([]any, 10_000)
	for i := range tooMany {
		tooMany[i] = map[string]any{"kty": "EC", "kid": strconv.Itoa(i)}
	}
	many := append(make([]any, 0, 101), scriptedop.NewKey("k0", "ES256").JWK())
	for i := len(many); i < 101; i++ {
		many = append(many, with(many[0].(map[string]any), "kid", "k"+strconv.Itoa(i)))
	}
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		slow   bool
	}{
		"FM-06 DO-10 an empty object": {answer: scriptedop.Status(200)},
		"FM-06 no keys":               {answer: scriptedop.JSON(200, map[string]any{"keys": []any{}})},
		"FM-06 keys of null":          {answer: scriptedop.JSON(200, map[string]any{"keys": nil})},
		"FM-06 a list":                {answer: scriptedop.Body(200, "application/json", "[]")},
		"FM-06 a page":                {answer: scriptedop.Body(200, "text/html", "<html>")},
		"FM-06 nothing":               {answer: scriptedop.Body(200, "application/json", "")},
		"FM-06 strange keys alone":    {answer: scriptedop.JSON(200, map[string]any{"keys": strangeKeys()})},
		"FM-06 10,000 keys":           {answer: scriptedop.JSON(200, map[string]any{"keys": tooMany})},
		"FM-06 101 good keys":         {answer: scriptedop.JSON(200, map[string]any{"keys": many})},
		"FM-06 500":                   {answer: scriptedop.Body(500, "text/plain", "MARK")},
		"FM-06 404":                   {answer: scriptedop.Body(404, "text/plain", "MARK")},
		"FM-06 a broken line":         {answer: scriptedop.Reset},
		"FM-06 half an answer":        {answer: scriptedop.Cut},
		"FM-06 DO-07 no end":          {answer: scriptedop.Endless},
		"FM-06 DO-07 a bomb":          {answer: scriptedop.GzipBomb(64)},
		"FM-06 no answer":             {answer: scriptedop.Hang, slow: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.slow && testing.Short() {
				t.Skip("waits for a time limit")
			}
			a := newApp(t, appOptions{})
			first, second := a.person(t), a.person(t)
			first.wantSignedIn(first.signIn(), "alice")
			a.op.Answer(scriptedop.JWKS, tt.answer)
			stranger := a.op.LogoutToken()
			stranger.Key = scriptedop.NewKey("stranger", "ES256")
			if got := first.signOutByProvider(stranger); got.status == http.StatusOK {
				t.Error("a stranger's logout token was accepted")
			}
			if n := a.op.Calls(scriptedop.JWKS); n < 2 {
				t.Errorf("the key set was fetched %d times", n)
			}
			second.wantSignedIn(second.signIn(), "alice")
			// FM-31: and the provider is still heard.
			if got := second.signOutByProvider(a.op.LogoutToken()); got.status != http.StatusOK {
				t.Errorf("a logout token with a known key is refused: %s", got.text)
			}
			if strings.Contains(a.log.String(), "MARK") {
				t.Errorf("the provider's text is logged:\n%s", a.log.String())
			}
		})
	}
	t.Run("FM-06 a hundred good keys", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		published := append(many[:0:0], many[:99]...)
		a.op.Edit(scriptedop.JWKS, func(set map[string]any) { set["keys"] = append(published, set["keys"].([]any)...) })
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
	})
	t.Run("FM-06 the media type of key sets", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		a.op.Answer(scriptedop.JWKS, func(w http.ResponseWriter, r *http.Request) {
			a.op.Correct(scriptedop.JWKS)(typed{w, "application/jwk-set+json"}, r)
		})
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
	})
}

// typed labels an answer otherwise.
type typed struct {
	http.ResponseWriter
	mediaType string
}

func (w typed) WriteHeader(status int) {
	w.Header().Set("Content-Type", w.mediaType)
	w.ResponseWriter.WriteHeader(status)
}

package openid_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// publish sets the keys in the published key set.
func publish(op *scriptedop.Provider, keys ...any) {
	op.Edit(scriptedop.JWKS, func(set map[string]any) { set["keys"] = keys })
}

// with returns a key with other members. A nil value removes one.
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
		"ID-06 without a kid, when one is named":    {ec, []any{with(ec.JWK(), "kid", nil)}, true},
		"ID-06 with a kid of null, and one named":   {ec, []any{with(ec.JWK(), "kid", nil, "kid", null{})}, true},
		"ID-06 without a kid, beside another":       {ec, []any{with(ec.JWK(), "kid", nil), with(other.JWK(), "kid", "other")}, true},
		"ID-06 without a kid, beside one of it":     {ec, []any{with(ec.JWK(), "kid", nil), other.JWK()}, false},
		"ID-06 two without a kid, one is named":     {ec, []any{with(ec.JWK(), "kid", nil), with(other.JWK(), "kid", nil)}, false},
		"ID-06 another without a kid":               {ec, []any{with(other.JWK(), "kid", nil)}, false},
		"ID-06 decorated: x5t in hex":               {ec, []any{with(ec.JWK(), "x5t", "E7A1B4C0FFEE00112233445566778899AABBCCDD")}, true},
		"ID-06 decorated: x5t#S256 in hex":          {rs, []any{with(rs.JWK(), "x5t#S256", strings.Repeat("ab", 32))}, true},
		"ID-06 decorated: an odd x5c":               {ec, []any{with(ec.JWK(), "x5c", []string{"!!"})}, true},
		"ID-06 decorated: another key's x5c":        {ec, []any{with(ec.JWK(), "x5c", "none", "x5u", "::", "x5t", 5)}, true},
		"ID-06 decorated: nulls":                    {ec, []any{with(ec.JWK(), "x5c", null{}, "use", null{}, "alg", null{}, "d", null{}, "key_ops", null{}, "ext", true)}, true},
		"ID-06 decorated: use and alg empty":        {ec, []any{with(ec.JWK(), "use", "", "alg", "", "k", "")}, true},
		"ID-06 in capitals":                         {ec, []any{with(ec.JWK(), "X", "AA", "Y", 5, "D", "AA", "KID", "other")}, true},
		"ID-06 half of a private RSA key":           {rs, []any{with(rs.JWK(), "p", "AQAB")}, false},
		"ID-06 use no string":                       {ec, []any{with(ec.JWK(), "use", 5)}, false},
		"ID-06 a kid that is no string":             {ec, []any{with(ec.JWK(), "kid", 5)}, false},
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
			p := newParty(t, options{op: scriptedop.Config{Keys: []scriptedop.Key{tt.signer}}})
			p.op.Edit(scriptedop.Discovery, func(m map[string]any) { delete(m, "id_token_signing_alg_values_supported") })
			publish(p.op, tt.keys...)
			got := p.signIn()
			if tt.accepted {
				p.wantSignedIn(got, "alice")
				return
			}
			if got.reason() != openid.ReasonProviderMisconfigured { // the set has no usable key at all
				p.wantRefused(got, openid.ReasonIDTokenInvalid, 1, 0)
				return
			}
			p.wantRefused(got, openid.ReasonProviderMisconfigured, 1, 0)
		})
	}
}

// TestSkippedKeysAreLogged logs each skipped key once, with its kid and the reason.
func TestSkippedKeysAreLogged(t *testing.T) {
	t.Parallel()
	ec := scriptedop.NewKey("k", "ES256")
	skipped := []any{
		with(ec.JWK(), "kid", "for-encryption", "use", "enc"), with(ec.JWK(), "kid", "published", "d", "AA"),
		with(ec.JWK(), "kid", "broken", "x", "!!"),
		map[string]any{"kid": "new", "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"},
	}
	p := newParty(t, options{op: scriptedop.Config{Keys: []scriptedop.Key{ec}}})
	publish(p.op, append(skipped, ec.JWK())...)
	for range 2 {
		p.wantSignedIn(p.signIn(), "alice")
		p.clock.Move(15 * time.Minute)
	}
	for kid, reason := range map[string]string{
		"for-encryption": "not for signatures", "published": "is a private or a symmetric key", "broken": "is malformed", "new": "is malformed, or of an unknown type",
	} {
		line := "msg=\"key skipped\" kid=" + kid + " reason="
		if logged := p.log.String(); strings.Count(logged, line) != 1 || !strings.Contains(logged, reason) {
			t.Errorf("%s is not logged once:\n%s", kid, logged)
		}
	}
	// A set without any other key says so, too.
	alone := newParty(t, options{op: scriptedop.Config{Keys: []scriptedop.Key{ec}}})
	publish(alone.op, skipped...)
	got := alone.signIn()
	alone.wantRefused(got, openid.ReasonProviderMisconfigured, 1, 0)
	if text := got.err.Error(); !strings.Contains(text, `"published" is a private or a symmetric key`) || !strings.Contains(text, `"broken" is malformed`) {
		t.Errorf("the error is %s", text)
	}
}

// strangeKeys are malformed, from the future, or not keys.
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

// TestPoisonedKeySet signs a person in, makes the client fetch a useless key set, and signs
// another person in with a known key.
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
			p := newParty(t, options{})
			p.wantSignedIn(p.signIn(), "alice")
			p.op.Answer(scriptedop.JWKS, tt.answer)
			stranger := p.op.LogoutToken()
			stranger.Key = scriptedop.NewKey("stranger", "ES256")
			if _, err := p.VerifyLogoutToken(t.Context(), stranger.Compact()); err == nil {
				t.Error("a logout token with an unknown key was accepted")
			}
			if n := p.op.Calls(scriptedop.JWKS); n < 2 {
				t.Errorf("the key set was fetched %d times", n)
			}
			p.wantSignedIn(p.signIn(), "alice")
			// FM-31: the app still accepts the provider's logout tokens.
			if _, err := p.VerifyLogoutToken(t.Context(), p.op.LogoutToken().Compact()); err != nil {
				t.Errorf("a logout token with a known key is refused: %v", err)
			}
			if strings.Contains(p.log.String(), "MARK") {
				t.Errorf("the provider's text is logged:\n%s", p.log.String())
			}
		})
	}
	t.Run("FM-06 a hundred good keys", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, options{})
		published := append(many[:0:0], many[:99]...)
		p.op.Edit(scriptedop.JWKS, func(set map[string]any) { set["keys"] = append(published, set["keys"].([]any)...) })
		p.wantSignedIn(p.signIn(), "alice")
	})
	t.Run("FM-06 the media type of key sets", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, options{})
		p.op.Answer(scriptedop.JWKS, func(w http.ResponseWriter, r *http.Request) {
			p.op.Correct(scriptedop.JWKS)(typed{w, "application/jwk-set+json"}, r)
		})
		p.wantSignedIn(p.signIn(), "alice")
	})
}

// typed returns an answer with another media type.
type typed struct {
	http.ResponseWriter
	mediaType string
}

func (w typed) WriteHeader(status int) {
	w.Header().Set("Content-Type", w.mediaType)
	w.ResponseWriter.WriteHeader(status)
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	first, second := scriptedop.NewKey("first", "ES256"), scriptedop.NewKey("second", "ES256")
	sameKid := scriptedop.Key{ID: "first", Algorithm: "ES256", Private: second.Private}
	for name, tt := range map[string]struct {
		rotate   func(op *scriptedop.Provider)
		after    time.Duration
		accepted bool
		fetches  int
	}{
		"FM-05 none": {func(*scriptedop.Provider) {}, 0, true, 1},
		"FM-05 published ahead, the old one signs":           {func(op *scriptedop.Provider) { op.SetKeys(first, second) }, 0, true, 1},
		"FM-05 published in the instant before it signs":     {func(op *scriptedop.Provider) { op.SetKeys(second, first) }, 0, true, 2},
		"FM-05 the old one is gone at once":                  {func(op *scriptedop.Provider) { op.SetKeys(second) }, 0, true, 2},
		"FM-05 a new key of the same kid":                    {func(op *scriptedop.Provider) { op.SetKeys(sameKid) }, 0, true, 2},
		"FM-05 signs before it is published":                 {func(op *scriptedop.Provider) { op.SignWith(second) }, 0, false, 2},
		"DO-10 the withdrawn key, while the set is fresh":    {withdraw(second, first), 15*time.Minute - time.Second, true, 1},
		"DO-10 the withdrawn key, once the set is too old":   {withdraw(second, first), 15 * time.Minute, false, 2},
		"DO-10 a key that stays, once the set is too old":    {func(op *scriptedop.Provider) { op.SetKeys(first, second) }, 15 * time.Minute, true, 2},
		"DO-10 the provider hides its keys, not yet an hour": {hide, time.Hour - time.Second, true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{op: scriptedop.Config{Keys: []scriptedop.Key{first}}})
			p.wantSignedIn(p.signIn(), "alice")
			tt.rotate(p.op)
			p.clock.Move(tt.after)
			got := p.signIn()
			if tt.accepted {
				p.wantSignedIn(got, "alice")
			} else {
				p.wantRefused(got, openid.ReasonIDTokenInvalid, 2, 1)
			}
			if n := p.op.Calls(scriptedop.JWKS); n != tt.fetches {
				t.Errorf("the key set was fetched %d times, want %d", n, tt.fetches)
			}
		})
	}
	t.Run("DO-10 the provider hides its keys for an hour", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, options{})
		p.wantSignedIn(p.signIn(), "alice")
		hide(p.op)
		p.clock.Move(time.Hour)
		p.wantRefused(p.signIn(), openid.ReasonProviderMisconfigured, 2, 1)
	})
	t.Run("FM-05 published while the set before is on its way", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, options{op: scriptedop.Config{Keys: []scriptedop.Key{first}}, config: func(c *openid.Config) { c.Audience = audience }})
		p.wantSignedIn(p.signIn(), "alice")
		held, older := scriptedop.Hold(p.op.Correct(scriptedop.JWKS))
		p.op.Answer(scriptedop.JWKS, held)
		stranger := p.op.AccessToken(audience)
		stranger.Key = scriptedop.NewKey("stranger", "ES256")
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = p.VerifyAccessToken(t.Context(), openid.Presented{Token: stranger.Compact()}) })
		scriptedop.Await(t, older.Reached)
		p.op.SetKeys(second)
		ctx := waitedFor{t.Context(), make(chan struct{}), new(sync.Once)}
		wg.Go(func() {
			if _, err := p.VerifyLogoutToken(ctx, p.op.LogoutToken().Compact()); err != nil {
				t.Error(err)
			}
		})
		scriptedop.Await(t, ctx.waiting)
		older.Open()
		wg.Wait()
	})
	t.Run("FM-05 a hundred people at a rotation", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, options{op: scriptedop.Config{Keys: []scriptedop.Key{first}}})
		p.wantSignedIn(p.signIn(), "alice")
		p.op.SetKeys(second)
		var attempts []*attempt
		for range 100 {
			attempts = append(attempts, p.authorize(p.begin(openid.AuthorizationRequest{})))
		}
		var wg sync.WaitGroup
		var signedIn atomic.Int32
		for _, a := range attempts {
			wg.Go(func() {
				if got := p.finish(t.Context(), a); got.err == nil {
					signedIn.Add(1)
				}
			})
		}
		wg.Wait()
		if n := signedIn.Load(); n != 100 {
			t.Errorf("%d of 100 are signed in", n)
		}
		if n := p.op.Calls(scriptedop.JWKS); n < 2 || n > 3 {
			t.Errorf("the key set was fetched %d times, want 2 or 3", n)
		}
	})
}

// waitedFor is a context that says when somebody first waits for its end.
type waitedFor struct {
	context.Context
	waiting chan struct{} // closed then
	first   *sync.Once
}

func (w waitedFor) Done() <-chan struct{} {
	w.first.Do(func() { close(w.waiting) })
	return w.Context.Done()
}

// withdraw publishes one key and continues to sign with another.
func withdraw(published, signer scriptedop.Key) func(*scriptedop.Provider) {
	return func(op *scriptedop.Provider) {
		op.SetKeys(published)
		op.SignWith(signer)
	}
}

func hide(op *scriptedop.Provider) { op.Answer(scriptedop.JWKS, scriptedop.Status(http.StatusOK)) }

func TestKeySetIsFetchedSeldom(t *testing.T) {
	t.Parallel()
	for name, forge := range map[string]func(i int) scriptedop.Key{
		"DO-08 LB-17 of unknown keys": func(i int) scriptedop.Key {
			return scriptedop.Key{ID: "stranger-" + strconv.Itoa(i), Algorithm: "ES256", Private: scriptedop.NewKey("", "ES256").Private}
		},
		"DO-08 LB-17 of a known kid": func(int) scriptedop.Key { return scriptedop.NewKey("key-1", "ES256") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{})
			p.wantSignedIn(p.signIn(), "alice")
			for range 3 { // again each time refetching is allowed
				before := p.op.Calls(scriptedop.JWKS)
				for i := range 300 {
					token := p.op.LogoutToken()
					token.Key = forge(i)
					_, err := p.VerifyLogoutToken(t.Context(), token.Compact())
					if reason := openid.ReasonOf(err); reason != openid.ReasonLogoutTokenInvalid && reason != openid.ReasonProviderUnreachable {
						t.Fatalf("the error is %v", err)
					}
				}
				if n := p.op.Calls(scriptedop.JWKS) - before; n > 1 {
					t.Errorf("fetched %d times within 30 seconds", n)
				}
				p.wantSignedIn(p.signIn(), "alice")
				p.clock.Move(30 * time.Second)
			}
			// After the flood a new key is found.
			p.op.SetKeys(scriptedop.NewKey("key-2", "ES256"))
			p.wantSignedIn(p.signIn(), "alice")
		})
	}
}

func TestKeySetHangs(t *testing.T) {
	t.Parallel()
	t.Run("DO-09 nobody waits whose key is known", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, options{})
		p.wantSignedIn(p.signIn(), "alice")
		asked, release := make(chan struct{}), make(chan struct{})
		p.op.Answer(scriptedop.JWKS, func(w http.ResponseWriter, r *http.Request) {
			close(asked)
			scriptedop.After(release, p.op.Correct(scriptedop.JWKS))(w, r)
		})
		newKey := scriptedop.NewKey("key-2", "ES256")
		token := p.op.LogoutToken()
		token.Key = newKey
		waiting := make(chan error)
		go func() {
			_, err := p.VerifyLogoutToken(t.Context(), token.Compact())
			waiting <- err
		}()
		scriptedop.Await(t, asked)
		p.wantSignedIn(p.signIn(), "alice")
		select {
		case err := <-waiting:
			t.Errorf("the other sign-in did not wait: %v", err)
		default:
		}
		close(release)
		if err := <-waiting; openid.ReasonOf(err) != openid.ReasonLogoutTokenInvalid {
			t.Errorf("the other sign-in: %v", err)
		}
	})
	t.Run("DO-09 at the first sign-in", func(t *testing.T) {
		t.Parallel()
		if testing.Short() {
			t.Skip("waits for a time limit")
		}
		p := newParty(t, options{})
		p.op.Answer(scriptedop.JWKS, scriptedop.Hang)
		p.wantRefused(p.signIn(), openid.ReasonProviderUnreachable, 1, 0)
	})
}

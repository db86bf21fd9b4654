package openid_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// listing sets the algorithms in the metadata. Nil omits the list.
func (p *party) listing(algorithms any) {
	p.op.Edit(scriptedop.Discovery, func(m map[string]any) {
		if m["id_token_signing_alg_values_supported"] = algorithms; algorithms == nil {
			delete(m, "id_token_signing_alg_values_supported")
		}
	})
}

// TestAlgorithmsOfMetadata (ID-02) checks that the accepted algorithms are those that are
// both configured and listed by the provider.
func TestAlgorithmsOfMetadata(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		configured []string
		listed     any
		signed     string
		accepted   bool
	}{
		"ID-02 both":                        {[]string{"RS256", "ES256"}, []string{"RS256", "ES256"}, "ES256", true},
		"ID-02 listed beside others":        {[]string{"ES256"}, []string{"none", "HS256", "ES256K", "ES256"}, "ES256", true},
		"ID-02 metadata has no list":        {[]string{"RS256", "ES256"}, nil, "ES256", true},
		"ID-02 metadata has an empty list":  {[]string{"RS256", "ES256"}, []string{}, "ES256", true},
		"ID-02 configured and not listed":   {[]string{"RS256", "ES256"}, []string{"RS256"}, "ES256", false},
		"ID-02 listed and not configured":   {[]string{"RS256"}, []string{"RS256", "ES256"}, "ES256", false},
		"ID-02 listed in another case":      {[]string{"RS256", "ES256"}, []string{"RS256", "es256"}, "ES256", false},
		"ID-02 no list, and not configured": {[]string{"RS256"}, nil, "ES256", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, algorithms(tt.configured...))
			p.listing(tt.listed)
			got := p.signIn()
			if tt.accepted {
				p.wantSignedIn(got, "alice")
				return
			}
			p.wantRefused(got, openid.ReasonIDTokenInvalid, 1, 0)
			if !strings.Contains(got.err.Error(), "not signed with an allowed algorithm") {
				t.Errorf("the error is %v", got.err)
			}
			if n := p.op.Calls(scriptedop.JWKS); n > 0 {
				t.Errorf("the key set was fetched for it %d times", n)
			}
		})
	}
}

// TestNoAlgorithmInCommon (ID-02, CF-08) refuses a provider whose tokens could never be
// accepted, before it sends anyone there.
func TestNoAlgorithmInCommon(t *testing.T) {
	t.Parallel()
	p := newParty(t, algorithms("RS256", "PS256"))
	p.listing([]string{"ES256", "none"})
	got := p.wantNoRequest(openid.ReasonProviderMisconfigured)
	for _, want := range []string{`"ES256,none"`, `"RS256,PS256"`, "ID_TOKEN_ALG"} {
		if !strings.Contains(got, want) {
			t.Errorf("the error does not name %s: %s", want, got)
		}
	}
	if !strings.Contains(p.log.String(), "level=ERROR") {
		t.Errorf("CF-08: the log has no error:\n%s", p.log.String())
	}
}

// TestAlgorithmOfALogoutToken (LB-03) checks the same for logout tokens.
func TestAlgorithmOfALogoutToken(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		listed []string
		reason openid.Reason
	}{
		"LB-03 listed":     {[]string{"RS256", "ES256"}, ""},
		"LB-03 not listed": {[]string{"RS256"}, openid.ReasonLogoutTokenInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{})
			p.listing(tt.listed)
			p.begin(openid.AuthorizationRequest{}) // discovers
			token := p.op.LogoutToken()
			token.Claims["sub"] = "alice"
			if _, err := p.VerifyLogoutToken(t.Context(), token.Compact()); openid.ReasonOf(err) != tt.reason {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

func signedWith(key scriptedop.Key) func(*party, *scriptedop.JWT) {
	return func(_ *party, t *scriptedop.JWT) { t.Key = key; delete(t.Claims, "at_hash") }
}

func algorithms(algs ...string) options {
	return options{config: func(c *openid.Config) { c.IDTokenAlgorithms = algs }}
}

func TestIDTokenSignature(t *testing.T) {
	t.Parallel()
	unchanged := func(*party, *scriptedop.JWT) {}
	rsaKey := scriptedop.NewKey("r", "RS256")
	der, err := x509.MarshalPKIXPublicKey(rsaKey.Private.(*rsa.PrivateKey).Public())
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := json.Marshal(rsaKey.JWK())
	if err != nil {
		t.Fatal(err)
	}
	signing := func(keys ...scriptedop.Key) options {
		return options{op: scriptedop.Config{Keys: keys}}
	}
	cases := map[string]idTokenCase{
		"ID-01 the usual token":         {edit: unchanged, accepted: true},
		"ID-01 another key of that kid": {edit: signedWith(scriptedop.NewKey("key-1", "ES256"))},
		"ID-01 a key that is not published": {
			edit: signedWith(scriptedop.NewKey("key-2", "ES256")),
		},
		"ID-01 a bit of the signature": {edit: part(2, func(s string) string { return flip(s, 5) })},
		"ID-01 a bit of the payload":   {edit: part(1, func(s string) string { return flip(s, 40) })},
		"ID-01 an empty signature":     {edit: part(2, func(string) string { return "" })},
		"ID-01 half a signature":       {edit: part(2, func(s string) string { return s[:len(s)/2] })},

		"ID-02 RS256": {edit: unchanged, options: signing(rsaKey), accepted: true},
		"ID-02 ES512 is published but not configured": {
			edit: unchanged, options: signing(scriptedop.NewKey("e", "ES512"), scriptedop.NewKey("key-1", "ES256")),
		},
		"ID-02 EdDSA is published but not configured": {
			edit: unchanged, options: signing(scriptedop.NewKey("e", "EdDSA"), scriptedop.NewKey("key-1", "ES256")),
		},
		"ID-02 PS256 with the key of RS256": {
			edit: func(_ *party, t *scriptedop.JWT) { t.Key.Algorithm = "PS256" }, options: signing(rsaKey),
		},

		"ID-03 none":                                {edit: signedWith(scriptedop.Key{Algorithm: "none"})},
		"ID-03 None":                                {edit: signedWith(scriptedop.Key{Algorithm: "None"})},
		"ID-03 nOnE with the key's kid":             {edit: signedWith(scriptedop.Key{ID: "key-1", Algorithm: "nOnE"})},
		"ID-03 none with a signature":               {edit: header("alg", "none")},
		"ID-03 no algorithm":                        {edit: header("alg", null{})},
		"ID-03 an algorithm of a number":            {edit: header("alg", 5)},
		"ID-03 an empty algorithm":                  {edit: header("alg", "")},
		"ID-03 an algorithm nobody knows":           {edit: header("alg", "ES256K")},
		"ID-03 HS256 with the client secret":        {edit: hmacWith([]byte("secret of the client"))},
		"ID-03 HS256 with the empty key":            {edit: hmacWith([]byte{})},
		"ID-03 HS256 with the published key as PEM": {options: signing(rsaKey), edit: hmacWith(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))},
		"ID-03 HS256 with the published key as DER": {options: signing(rsaKey), edit: hmacWith(der)},
		"ID-03 HS256 with the published key as JWK": {options: signing(rsaKey), edit: hmacWith(jwk)},
	}
	for _, alg := range []string{"ES256", "ES384", "ES512", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"} {
		o := algorithms(alg)
		o.op.Keys = []scriptedop.Key{scriptedop.NewKey("k", alg)}
		cases["ID-02 ID-16 "+alg+" is configured"] = idTokenCase{edit: unchanged, options: o, accepted: true}
	}
	runIDTokenCases(t, cases)
}

// TestUnsafeAlgorithmsCannotBeConfigured (ID-03) checks that no configuration can allow "none" or
// an HMAC algorithm.
func TestUnsafeAlgorithmsCannotBeConfigured(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"none", "HS256", "HS384", "HS512", "", "rs256"} {
		t.Run("ID-03 "+alg, func(t *testing.T) {
			t.Parallel()
			cfg := newParty(t, options{}).config
			cfg.IDTokenAlgorithms = []string{"RS256", alg}
			if _, err := openid.New(cfg); err == nil {
				t.Errorf("%q was accepted", alg)
			}
		})
	}
}

func flip(s string, i int) string {
	b := []byte(s)
	if b[i] != 'A' {
		b[i] = 'A'
	} else {
		b[i] = 'B'
	}
	return string(b)
}

func hmacWith(secret []byte) func(*party, *scriptedop.JWT) {
	return func(_ *party, t *scriptedop.JWT) {
		t.Key = scriptedop.Key{ID: t.Key.ID, Algorithm: "HS256", Private: secret}
		delete(t.Claims, "at_hash")
	}
}

// claim sets a claim, or removes it if the value is nil.
func claim(name string, value any) func(*party, *scriptedop.JWT) {
	return func(_ *party, t *scriptedop.JWT) {
		if t.Claims[name] = value; value == nil {
			delete(t.Claims, name)
		}
	}
}

// claimAt sets a claim to a time relative to now.
func claimAt(name string, d time.Duration) func(*party, *scriptedop.JWT) {
	return func(p *party, t *scriptedop.JWT) { t.Claims[name] = p.clock.Now().Add(d).Unix() }
}

func header(name string, value any) func(*party, *scriptedop.JWT) {
	return func(_ *party, t *scriptedop.JWT) { t.Header[name] = value }
}

// rawClaims adds members to the payload that a map cannot hold.
func rawClaims(members string) func(*party, *scriptedop.JWT) {
	return func(_ *party, t *scriptedop.JWT) {
		encoded, err := json.Marshal(t.Claims)
		if err != nil {
			panic(err)
		}
		t.Payload = []byte("{" + members + "," + strings.TrimPrefix(string(encoded), "{"))
	}
}

// compact edits the signed token as text.
func compact(change func(token string) string) func(*party, *scriptedop.JWT) {
	return func(_ *party, t *scriptedop.JWT) { t.Raw = change(t.Compact()) }
}

func part(n int, change func(part string) string) func(*party, *scriptedop.JWT) {
	return compact(func(token string) string {
		parts := strings.Split(token, ".")
		parts[n] = change(parts[n])
		return strings.Join(parts, ".")
	})
}

// lastBits changes the unused bits of the signature's last character.
func lastBits(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(alphabet, s[len(s)-1])
	return s[:len(s)-1] + string(alphabet[i^1])
}

func flattened(token string) string {
	parts := strings.Split(token, ".")
	return `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`
}

func general(token string) string {
	parts := strings.Split(token, ".")
	return `{"payload":"` + parts[1] + `","signatures":[{"protected":"` + parts[0] + `","signature":"` + parts[2] + `"}]}`
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func decode(s string) string {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func both(edits ...func(*party, *scriptedop.JWT)) func(*party, *scriptedop.JWT) {
	return func(p *party, t *scriptedop.JWT) {
		for _, edit := range edits {
			edit(p, t)
		}
	}
}

// TestWhatIsWrongWithAToken checks what the log says of tokens that lack something.
func TestWhatIsWrongWithAToken(t *testing.T) {
	t.Parallel()
	unsigned := signedWith(scriptedop.Key{Algorithm: "none"})
	for name, tt := range map[string]struct {
		edit func(p *party, t *scriptedop.JWT)
		want string
	}{
		"ID-01 none":                    {unsigned, `the token is not signed: its alg is "none", and its signature has 0 bytes`},
		"ID-01 none, spelt otherwise":   {both(unsigned, header("alg", "NoNe")), `the token is not signed: its alg is "NoNe", and its signature has 0 bytes`},
		"ID-01 none, with a signature":  {header("alg", "none"), `the token is not signed: its alg is "none", and its signature has 64 bytes`},
		"ID-01 ES256, and no signature": {both(unsigned, header("alg", "ES256")), `the token is not signed: its alg is "ES256", and its signature has 0 bytes`},
		"ID-01 alg an empty text":       {header("alg", ""), `the token is not signed: its alg is "", and its signature has 64 bytes`},
		"ID-01 alg a number":            {header("alg", 1), "alg is not a string"},
		"ID-02 another algorithm":       {header("alg", "HS256"), `not signed with an allowed algorithm: its alg is "HS256", which is not one of ["ES256"]`},
		"ID-12 no exp":                  {claim("exp", nil), "exp is missing"},
		"ID-12 exp 0":                   {claim("exp", 0), "exp is missing"},
		"ID-12 exp a text":              {claim("exp", "tomorrow"), "exp is not a number"},
		"ID-12 exp below 0":             {claim("exp", -1), "exp is out of range"},
		"ID-12 no iat":                  {claim("iat", nil), "iat is missing"},
		"ID-12 iat a text":              {claim("iat", "now"), "iat is not a number"},
		"ID-12 nbf to come":             {claimAt("nbf", time.Hour), "not valid before "},
		"LB-05 no events":               {claim("events", nil), "events is missing: this is no logout token"},
		"LB-05 events null":             {claim("events", null{}), "events is missing: this is no logout token"},
		"LB-05 events a list":           {claim("events", []string{"x"}), "events is not an object"},
		"LB-05 another event":           {claim("events", map[string]any{"x": map[string]any{}}), "events has no back-channel logout event"},
		"LB-10 no jti":                  {claim("jti", nil), "jti is missing"},
		"LB-10 jti a number":            {claim("jti", 1), "jti is not a string"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{config: func(c *openid.Config) { c.StrictLogoutTokens = true }})
			p.wantSignedIn(p.signIn(), "alice")
			token := p.op.LogoutToken()
			tt.edit(p, token)
			_, err := p.VerifyLogoutToken(t.Context(), token.Compact())
			if got, _ := strings.CutPrefix(fmt.Sprint(err), "logout_token_invalid: "); !strings.HasPrefix(got, tt.want) {
				t.Errorf("the log says %q, want %q", got, tt.want)
			}
		})
	}
}

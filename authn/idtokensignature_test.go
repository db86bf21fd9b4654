package authn_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"testing"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

func signedWith(key scriptedop.Key) func(*app, *scriptedop.JWT) {
	return func(_ *app, t *scriptedop.JWT) { t.Key = key; delete(t.Claims, "at_hash") }
}

func algorithms(algs ...string) appOptions {
	return appOptions{config: func(c *authn.Config) { c.IDTokenAlgorithms = algs }}
}

func TestIDTokenSignature(t *testing.T) {
	t.Parallel()
	unchanged := func(*app, *scriptedop.JWT) {}
	rsaKey := scriptedop.NewKey("r", "RS256")
	der, err := x509.MarshalPKIXPublicKey(rsaKey.Private.(*rsa.PrivateKey).Public())
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := json.Marshal(rsaKey.JWK())
	if err != nil {
		t.Fatal(err)
	}
	signing := func(keys ...scriptedop.Key) appOptions {
		return appOptions{op: scriptedop.Config{Keys: keys}}
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
			edit: func(_ *app, t *scriptedop.JWT) { t.Key.Algorithm = "PS256" }, options: signing(rsaKey),
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

// TestUnsafeAlgorithmsCannotBeConfigured keeps ID-03 out of reach of a configuration.
func TestUnsafeAlgorithmsCannotBeConfigured(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"none", "HS256", "HS384", "HS512", "", "rs256"} {
		t.Run("ID-03 "+alg, func(t *testing.T) {
			t.Parallel()
			cfg := newApp(t, appOptions{}).configuration(t, "http")
			cfg.IDTokenAlgorithms = []string{"RS256", alg}
			if _, err := authn.NewRelyingParty(cfg); err == nil {
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

func hmacWith(secret []byte) func(*app, *scriptedop.JWT) {
	return func(_ *app, t *scriptedop.JWT) {
		t.Key = scriptedop.Key{ID: t.Key.ID, Algorithm: "HS256", Private: secret}
		delete(t.Claims, "at_hash")
	}
}

package authn_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"runtime"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/scriptedop"
)

// idTokenCase is a sign-in whose ID token is not quite the usual one.
type idTokenCase struct {
	// edit changes the token before it is signed. There is no other difference
	// between the cases that are accepted and those that are refused.
	edit     func(a *app, t *scriptedop.JWT)
	options  appOptions
	accepted bool
	// reason is ReasonIDTokenInvalid unless it says otherwise.
	reason authn.Reason
}

func runIDTokenCases(t *testing.T, cases map[string]idTokenCase) {
	t.Helper()
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, tt.options)
			a.op.EditIDToken(func(token *scriptedop.JWT) { tt.edit(a, token) })
			b := a.person(t)
			got := b.get(b.authorize(b.begin("return_to=/orders")))
			if tt.accepted {
				b.wantSignedIn(got, "alice")
				b.wantCalls(1, 1)
				return
			}
			if tt.reason == "" {
				tt.reason = authn.ReasonIDTokenInvalid
			}
			b.wantRefused(got, tt.reason, 1, 0)
			if got.header.Get("Return-To") != "/orders" {
				t.Errorf("the way back is %q", got.header.Get("Return-To"))
			}
		})
	}
}

// claim sets one claim, or removes it if the value is nil.
func claim(name string, value any) func(*app, *scriptedop.JWT) {
	return func(_ *app, t *scriptedop.JWT) {
		if t.Claims[name] = value; value == nil {
			delete(t.Claims, name)
		}
	}
}

// claimAt sets a claim to a time from now on.
func claimAt(name string, d time.Duration) func(*app, *scriptedop.JWT) {
	return func(a *app, t *scriptedop.JWT) { t.Claims[name] = a.clock.Now().Add(d).Unix() }
}

func header(name string, value any) func(*app, *scriptedop.JWT) {
	return func(_ *app, t *scriptedop.JWT) { t.Header[name] = value }
}

// rawClaims adds members to the payload that no map can hold.
func rawClaims(members string) func(*app, *scriptedop.JWT) {
	return func(_ *app, t *scriptedop.JWT) {
		encoded, err := json.Marshal(t.Claims)
		if err != nil {
			panic(err)
		}
		t.Payload = []byte("{" + members + "," + strings.TrimPrefix(string(encoded), "{"))
	}
}

// compact changes the signed token as text.
func compact(change func(token string) string) func(*app, *scriptedop.JWT) {
	return func(_ *app, t *scriptedop.JWT) { t.Raw = change(t.Compact()) }
}

func part(n int, change func(part string) string) func(*app, *scriptedop.JWT) {
	return compact(func(token string) string {
		parts := strings.Split(token, ".")
		parts[n] = change(parts[n])
		return strings.Join(parts, ".")
	})
}

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
			edit: unchanged, options: signing(scriptedop.NewKey("e", "ES512")),
		},
		"ID-02 EdDSA is published but not configured": {
			edit: unchanged, options: signing(scriptedop.NewKey("e", "EdDSA")),
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

func TestIDTokenForm(t *testing.T) {
	t.Parallel()
	evil := scriptedop.NewKey("evil", "ES256")
	runIDTokenCases(t, map[string]idTokenCase{
		"ID-04 a line break at the end": {edit: compact(func(s string) string { return s + "\n" })},
		"ID-04 a space before it":       {edit: compact(func(s string) string { return " " + s })},
		"ID-04 a line break inside":     {edit: part(1, func(s string) string { return s[:10] + "\n" + s[10:] })},
		"ID-04 padding":                 {edit: part(1, func(s string) string { return s + "=" })},
		"ID-04 one part":                {edit: part(1, func(string) string { return "" })},
		"ID-04 two parts":               {edit: compact(func(s string) string { return s[:strings.LastIndex(s, ".")] })},
		"ID-04 four parts":              {edit: compact(func(s string) string { return s + "." })},
		"ID-04 five parts, as JWE":      {edit: compact(func(s string) string { return s + "." + s[:strings.LastIndex(s, ".")] })},
		"ID-04 ten thousand dots":       {edit: compact(func(string) string { return strings.Repeat(".", 10_000) })},
		"ID-04 not base64url":           {edit: part(0, func(s string) string { return s + "*" })},
		"ID-04 another last character":  {edit: part(2, lastBits)},
		"ID-04 flattened JSON":          {edit: compact(flattened)},
		"ID-04 general JSON":            {edit: compact(general)},
		"ID-04 the header no object":    {edit: part(0, func(string) string { return encode(`["alg"]`) })},
		"ID-04 the header empty":        {edit: part(0, func(string) string { return encode(`{}`) })},
		"ID-04 the payload no object":   {edit: func(_ *app, t *scriptedop.JWT) { t.Payload = []byte(`"alice"`) }},
		"ID-04 the payload empty":       {edit: func(_ *app, t *scriptedop.JWT) { t.Payload = []byte{} }},
		"ID-04 two payloads":            {edit: rawEnd(`{}`)},

		"ID-05 the key in the header": {edit: func(_ *app, t *scriptedop.JWT) {
			t.Key, t.Header["jwk"] = evil, evil.JWK()
		}},
		"ID-05 the key in the header, with the good kid": {edit: func(_ *app, t *scriptedop.JWT) {
			t.Key = scriptedop.Key{ID: t.Key.ID, Algorithm: "ES256", Private: evil.Private}
			t.Header["jwk"] = evil.JWK()
		}},
		"ID-05 the address of a key set": {edit: func(a *app, t *scriptedop.JWT) {
			t.Key, t.Header["jku"], t.Header["x5u"] = evil, a.op.Issuer+"/evil", a.op.Issuer+"/evil"
		}},
		"ID-05 an unknown critical parameter": {edit: func(_ *app, t *scriptedop.JWT) {
			t.Header["crit"], t.Header["foo"] = []string{"foo"}, true
		}},
		"ID-05 a known critical parameter": {edit: func(_ *app, t *scriptedop.JWT) {
			t.Header["crit"], t.Header["b64"] = []string{"b64"}, true
		}},
		"ID-05 an unknown parameter": {edit: header("foo", true), accepted: true},

		"ID-18 typ JWT":             {edit: header("typ", "JWT"), accepted: true},
		"ID-18 typ jwt":             {edit: header("typ", "jwt"), accepted: true},
		"ID-18 typ application/jwt": {edit: header("typ", "application/jwt"), accepted: true},
		"ID-18 no typ":              {edit: func(_ *app, t *scriptedop.JWT) { t.Header = nil }, accepted: true},
		"ID-18 an access token":     {edit: header("typ", "at+jwt")},
		"ID-18 a logout token":      {edit: header("typ", "logout+jwt")},
		"ID-18 with its media type": {edit: header("typ", "application/logout+jwt")},
		"ID-18 a DPoP proof":        {edit: header("typ", "dpop+jwt")},
		"ID-18 a userinfo response": {edit: header("typ", "userinfo+jwt")},
		"ID-18 a security event":    {edit: header("typ", "secevent+jwt")},
		"ID-18 typ no string":       {edit: header("typ", []string{"JWT"})},
		"ID-18 events":              {edit: claim("events", map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}})},
		"ID-18 events of null":      {edit: claim("events", null{})},

		"ID-19 aud twice":                {edit: rawClaims(`"aud":"evil"`)},
		"ID-19 sub twice":                {edit: rawClaims(`"sub":"evil"`)},
		"ID-19 any claim twice":          {edit: rawClaims(`"x":1,"x":2`)},
		"ID-19 Aud":                      {edit: claim("Aud", "evil")},
		"ID-19 EXP":                      {edit: claim("EXP", 4_000_000_000)},
		"ID-19 ıss, for ISS":             {edit: claim("iſs", "evil")},
		"ID-19 an unknown claim":         {edit: claim("http://example.com/Roles", []string{"admin"}), accepted: true},
		"ID-19 two claims in two cases":  {edit: rawClaims(`"Role":1,"role":2`), accepted: true},
		"ID-19 alg twice, in the header": {edit: part(0, func(s string) string { return encode(`{"alg":"none",` + decode(s)[1:]) })},

		"ID-20 31 KiB":             {edit: claim("x", strings.Repeat("x", 22<<10)), accepted: true},
		"ID-20 more than 32 KiB":   {edit: claim("x", strings.Repeat("x", 32<<10))},
		"ID-20 a header of 40 KiB": {edit: header("x", strings.Repeat("x", 30<<10))},
		"ID-20 nested deep":        {edit: rawClaims(`"x":` + strings.Repeat("[", 10_500) + strings.Repeat("]", 10_500))},
		"ID-20 nested unclosed":    {edit: rawClaims(`"x":` + strings.Repeat("[", 20_000))},
	})
}

// lastBits changes bits of the last character that no byte of the signature takes up.
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

func rawEnd(more string) func(*app, *scriptedop.JWT) {
	return func(_ *app, t *scriptedop.JWT) {
		encoded, err := json.Marshal(t.Claims)
		if err != nil {
			panic(err)
		}
		t.Payload = append(encoded, more...)
	}
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func decode(s string) string {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestIDTokenParties(t *testing.T) {
	t.Parallel()
	withSlash := appOptions{op: scriptedop.Config{Path: "/tenant/"}}
	iss := func(change func(string) string) func(*app, *scriptedop.JWT) {
		return func(a *app, t *scriptedop.JWT) { t.Claims["iss"] = change(a.op.Issuer) }
	}
	us := "client"
	runIDTokenCases(t, map[string]idTokenCase{
		"ID-08 the issuer, with a slash": {edit: iss(same), options: withSlash, accepted: true},
		"ID-08 without its slash":        {edit: iss(func(s string) string { return strings.TrimSuffix(s, "/") }), options: withSlash},
		"ID-08 with another slash":       {edit: iss(func(s string) string { return s + "/" })},
		"ID-08 in another case":          {edit: iss(func(s string) string { return strings.Replace(s, "tenant", "Tenant", 1) }), options: withSlash},
		"ID-08 of another port":          {edit: iss(func(s string) string { return strings.Replace(s, "/tenant", "1/tenant", 1) }), options: withSlash},
		"ID-08 looking the same":         {edit: iss(func(s string) string { return strings.Replace(s, "tenant", "tеnant", 1) }), options: withSlash},
		"ID-08 in a list":                {edit: func(a *app, t *scriptedop.JWT) { t.Claims["iss"] = []string{a.op.Issuer} }},
		"ID-08 missing":                  {edit: claim("iss", nil)},
		"ID-08 empty":                    {edit: claim("iss", "")},
		"ID-08 null":                     {edit: claim("iss", null{})},

		"ID-09 us in a list":                     {edit: claim("aud", []string{us}), accepted: true},
		"ID-09 us, and azp":                      {edit: claim("azp", us), accepted: true},
		"ID-09 us and an API, given to us":       {edit: both(claim("aud", []string{us, "api"}), claim("azp", us)), accepted: true},
		"ID-09 another":                          {edit: claim("aud", "other")},
		"ID-09 missing":                          {edit: claim("aud", nil)},
		"ID-09 empty":                            {edit: claim("aud", "")},
		"ID-09 nobody":                           {edit: claim("aud", []string{})},
		"ID-09 null":                             {edit: claim("aud", null{})},
		"ID-09 a list with null":                 {edit: claim("aud", []any{us, nil})},
		"ID-09 a number":                         {edit: claim("aud", 1)},
		"ID-09 an object":                        {edit: claim("aud", map[string]any{us: true})},
		"ID-09 in another case":                  {edit: claim("aud", "Client")},
		"ID-09 us among others in one string":    {edit: claim("aud", "client evil")},
		"ID-09 us and another":                   {edit: claim("aud", []string{us, "evil"})},
		"ID-09 us and another, given to another": {edit: both(claim("aud", []string{us, "evil"}), claim("azp", "evil"))},
		"ID-09 us, given to another":             {edit: claim("azp", "evil")},
		"ID-09 us, given to nobody":              {edit: claim("azp", "")},
		"ID-09 us, given to a list":              {edit: claim("azp", []string{us})},

		"ID-13 the nonce": {edit: func(*app, *scriptedop.JWT) {}, accepted: true},
		"ID-13 missing":   {edit: claim("nonce", nil)},
		"ID-13 empty":     {edit: claim("nonce", "")},
		"ID-13 null":      {edit: claim("nonce", null{})},
		"ID-13 another":   {edit: claim("nonce", strings.Repeat("x", 43))},
		"ID-13 in a list": {edit: func(_ *app, t *scriptedop.JWT) { t.Claims["nonce"] = []any{t.Claims["nonce"]} }},
		"ID-13 twice, the good one spelt otherwise": {edit: func(_ *app, t *scriptedop.JWT) {
			t.Claims["NONCE"], t.Claims["nonce"] = t.Claims["nonce"], "bad"
		}},
		"ID-13 the beginning of it": {edit: func(_ *app, t *scriptedop.JWT) { t.Claims["nonce"] = t.Claims["nonce"].(string)[:42] }},

		"ID-14 missing":               {edit: claim("sub", nil)},
		"ID-14 empty":                 {edit: claim("sub", "")},
		"ID-14 a space":               {edit: claim("sub", " ")},
		"ID-14 256 characters":        {edit: claim("sub", strings.Repeat("x", 256))},
		"ID-14 NUL":                   {edit: claim("sub", "alice\x00")},
		"ID-14 a line break":          {edit: claim("sub", "alice\n")},
		"ID-14 a number":              {edit: claim("sub", 1)},
		"ID-14 null":                  {edit: claim("sub", null{})},
		"ID-14 an object":             {edit: claim("sub", map[string]any{})},
		"ID-14 twice, in other cases": {edit: claim("Sub", "evil")},
		"ID-14 not UTF-8":             {edit: rawSub("\xff")},

		"ID-16 absent":              {edit: claim("at_hash", nil), accepted: true},
		"ID-16 another token's":     {edit: func(_ *app, t *scriptedop.JWT) { t.Claims["at_hash"] = t.AtHash("other") }},
		"ID-16 cut short":           {edit: func(_ *app, t *scriptedop.JWT) { t.Claims["at_hash"] = t.Claims["at_hash"].(string)[:10] }},
		"ID-16 padded":              {edit: func(_ *app, t *scriptedop.JWT) { t.Claims["at_hash"] = t.Claims["at_hash"].(string) + "==" }},
		"ID-16 empty":               {edit: claim("at_hash", "")},
		"ID-16 null":                {edit: claim("at_hash", null{})},
		"ID-16 a number":            {edit: claim("at_hash", 1)},
		"ID-23 no sid":              {edit: claim("sid", nil), accepted: true},
		"ID-23 a sid of a number":   {edit: claim("sid", 1)},
		"ID-21 auth_time as a text": {edit: claim("auth_time", "yesterday")},
	})
}

// rawSub replaces the subject by bytes that no JSON encoder would write.
func rawSub(sub string) func(*app, *scriptedop.JWT) {
	return func(a *app, t *scriptedop.JWT) {
		delete(t.Claims, "sub")
		rawClaims(`"sub":"`+sub+`"`)(a, t)
	}
}

func both(edits ...func(*app, *scriptedop.JWT)) func(*app, *scriptedop.JWT) {
	return func(a *app, t *scriptedop.JWT) {
		for _, edit := range edits {
			edit(a, t)
		}
	}
}

func TestIDTokenTimes(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	runIDTokenCases(t, map[string]idTokenCase{
		"ID-10 expired 30 seconds ago":         {edit: claimAt("exp", -30*time.Second), accepted: true},
		"ID-10 expired a minute ago":           {edit: claimAt("exp", -time.Minute), accepted: true},
		"ID-10 expired 61 seconds ago":         {edit: claimAt("exp", -61*time.Second)},
		"ID-10 valid for a day":                {edit: claimAt("exp", day), accepted: true},
		"ID-10 valid for a day and two":        {edit: claimAt("exp", day+2*time.Minute)},
		"ID-10 valid for ten years":            {edit: claimAt("exp", 3652*day)},
		"ID-10 missing":                        {edit: claim("exp", nil)},
		"ID-10 zero":                           {edit: claim("exp", 0)},
		"ID-10 negative":                       {edit: claim("exp", -1)},
		"ID-10 a text":                         {edit: claim("exp", "4000000000")},
		"ID-10 null":                           {edit: claim("exp", null{})},
		"ID-10 true":                           {edit: claim("exp", true)},
		"ID-10 beyond numbers":                 {edit: claim("exp", rawJSON("1e400"))},
		"ID-10 the largest number":             {edit: claim("exp", rawJSON("1e308"))},
		"ID-10 a fraction":                     {edit: func(a *app, t *scriptedop.JWT) { t.Claims["exp"] = float64(a.clock.Now().Unix()) + 60.5 }, accepted: true},
		"ID-11 issued a minute from now":       {edit: claimAt("iat", time.Minute), accepted: true},
		"ID-11 issued 61 seconds from now":     {edit: claimAt("iat", 61*time.Second)},
		"ID-11 issued tomorrow":                {edit: claimAt("iat", day)},
		"ID-11 issued 10 minutes ago":          {edit: claimAt("iat", -10*time.Minute), accepted: true},
		"ID-11 issued a second before that":    {edit: claimAt("iat", -10*time.Minute-time.Second)},
		"ID-11 issued last year":               {edit: claimAt("iat", -365*day)},
		"ID-11 missing":                        {edit: claim("iat", nil)},
		"ID-11 zero":                           {edit: claim("iat", 0)},
		"ID-11 a text":                         {edit: claim("iat", "1")},
		"ID-11 null":                           {edit: claim("iat", null{})},
		"ID-12 not before a minute from now":   {edit: claimAt("nbf", time.Minute), accepted: true},
		"ID-12 not before 61 seconds":          {edit: claimAt("nbf", 61*time.Second)},
		"ID-12 not before 10 minutes":          {edit: claimAt("nbf", 10*time.Minute)},
		"ID-12 not before yesterday":           {edit: claimAt("nbf", -day), accepted: true},
		"ID-12 a text":                         {edit: claim("nbf", "1")},
		"ID-24 the provider's session is over": {edit: claimAt("session_expiry", 0)},
		"ID-24 the provider's session goes on": {edit: claimAt("session_expiry", time.Second), accepted: true},
		"ID-24 no time":                        {edit: claim("session_expiry", "soon")},
	})
}

// TestLongSubject has subjects that are odd and good.
func TestLongSubject(t *testing.T) {
	t.Parallel()
	for name, sub := range map[string]string{
		"ID-14 255 characters": strings.Repeat("x", 255), "ID-14 as Auth0 has it": "auth0|5f7c8ec7c33c6c004bbafe82",
		"ID-14 with a space inside": "alice liddell", "ID-14 in capitals": "ALICE", "ID-14 a digit": "0",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.op.SignInAs(sub)
			b := a.person(t)
			b.wantSignedIn(b.signIn(), sub)
			b.wantCalls(1, 1)
		})
	}
}

// TestHugeIDTokenIsCheap sends what costs the sender little. It runs alone: it counts
// what is allocated.
func TestHugeIDTokenIsCheap(t *testing.T) {
	a := newApp(t, appOptions{})
	for name, payload := range map[string]string{
		"ID-20 nested 10,000 deep":  strings.Repeat(`{"x":`, 10_000),
		"ID-20 100,000 members":     "{" + strings.Repeat(`"x":1,`, 100_000) + `"y":1}`,
		"ID-20 a string of 150 KiB": `{"x":"` + strings.Repeat("x", 150<<10) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			a.op.EditIDToken(func(token *scriptedop.JWT) { token.Payload = []byte(payload)[:min(len(payload), 150<<10)] })
			b := a.person(t)
			callback := b.authorize(b.begin(""))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			started := time.Now()
			got := b.get(callback)
			took := time.Since(started)
			runtime.ReadMemStats(&after)
			if got.reason != authn.ReasonIDTokenInvalid {
				t.Errorf("answered %d %q", got.status, got.text)
			}
			if used := after.TotalAlloc - before.TotalAlloc; took > 2*time.Second || used > 10<<20 {
				t.Errorf("took %s and allocated %d bytes", took, used)
			}
		})
	}
}

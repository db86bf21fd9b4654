package authn_test

import (
	"encoding/base64"
	"encoding/json"
	"runtime"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
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
		"ID-20 more than 32 KiB":   {edit: claim("x", strings.Repeat("x", 32<<10)), reason: authn.ReasonTooLarge},
		"ID-20 a header of 40 KiB": {edit: header("x", strings.Repeat("x", 30<<10)), reason: authn.ReasonTooLarge},
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
			if got.reason != authn.ReasonTooLarge {
				t.Errorf("answered %d %q", got.status, got.text)
			}
			if used := after.TotalAlloc - before.TotalAlloc; took > 2*time.Second || used > 10<<20 {
				t.Errorf("took %s and allocated %d bytes", took, used)
			}
		})
	}
}

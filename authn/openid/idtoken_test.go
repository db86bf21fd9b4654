package openid_test

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// idTokenCase is a sign-in whose ID token differs from the usual one.
type idTokenCase struct {
	// edit changes the token before it is signed. Accepted and refused cases differ in
	// nothing else.
	edit     func(p *party, t *scriptedop.JWT)
	options  options
	accepted bool
	// reason is the reason of the refusal. It defaults to ReasonIDTokenInvalid.
	reason openid.Reason
}

func runIDTokenCases(t *testing.T, cases map[string]idTokenCase) {
	t.Helper()
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, tt.options)
			p.op.EditIDToken(func(token *scriptedop.JWT) { tt.edit(p, token) })
			got := p.signIn()
			if tt.accepted {
				p.wantSignedIn(got, "alice")
				p.wantCalls(1, 1)
				return
			}
			if tt.reason == "" {
				tt.reason = openid.ReasonIDTokenInvalid
			}
			p.wantRefused(got, tt.reason, 1, 0)
		})
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
		"ID-04 the payload no object":   {edit: func(_ *party, t *scriptedop.JWT) { t.Payload = []byte(`"alice"`) }},
		"ID-04 the payload empty":       {edit: func(_ *party, t *scriptedop.JWT) { t.Payload = []byte{} }},
		"ID-04 two payloads":            {edit: rawEnd(`{}`)},

		"ID-05 the key in the header": {edit: func(_ *party, t *scriptedop.JWT) {
			t.Key, t.Header["jwk"] = evil, evil.JWK()
		}},
		"ID-05 the key in the header, with the good kid": {edit: func(_ *party, t *scriptedop.JWT) {
			t.Key = scriptedop.Key{ID: t.Key.ID, Algorithm: "ES256", Private: evil.Private}
			t.Header["jwk"] = evil.JWK()
		}},
		"ID-05 the address of a key set": {edit: func(p *party, t *scriptedop.JWT) {
			t.Key, t.Header["jku"], t.Header["x5u"] = evil, p.op.Issuer+"/evil", p.op.Issuer+"/evil"
		}},
		"ID-05 an unknown critical parameter": {edit: func(_ *party, t *scriptedop.JWT) {
			t.Header["crit"], t.Header["foo"] = []string{"foo"}, true
		}},
		"ID-05 a known critical parameter": {edit: func(_ *party, t *scriptedop.JWT) {
			t.Header["crit"], t.Header["b64"] = []string{"b64"}, true
		}},
		"ID-05 an unknown parameter": {edit: header("foo", true), accepted: true},

		"ID-18 typ JWT":             {edit: header("typ", "JWT"), accepted: true},
		"ID-18 typ jwt":             {edit: header("typ", "jwt"), accepted: true},
		"ID-18 typ application/jwt": {edit: header("typ", "application/jwt"), accepted: true},
		"ID-18 no typ":              {edit: func(_ *party, t *scriptedop.JWT) { t.Header = nil }, accepted: true},
		"ID-18 an access token":     {edit: header("typ", "at+jwt")},
		"ID-18 a logout token":      {edit: header("typ", "logout+jwt")},
		"ID-18 with its media type": {edit: header("typ", "application/logout+jwt")},
		"ID-18 a DPoP proof":        {edit: header("typ", "dpop+jwt")},
		"ID-18 a userinfo response": {edit: header("typ", "userinfo+jwt")},
		"ID-18 a security event":    {edit: header("typ", "secevent+jwt")},
		"ID-18 typ null":            {edit: header("typ", null{}), accepted: true},
		"ID-18 typ no string":       {edit: header("typ", []string{"JWT"})},
		"ID-18 events":              {edit: claim("events", map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}})},
		"ID-18 events of null":      {edit: claim("events", null{})},

		"ID-19 aud twice":                {edit: rawClaims(`"aud":"evil"`)},
		"ID-19 sub twice":                {edit: rawClaims(`"sub":"evil"`)},
		"ID-19 any claim twice":          {edit: rawClaims(`"x":1,"x":2`)},
		"ID-19 Aud":                      {edit: claim("Aud", "evil")},
		"ID-19 EXP":                      {edit: claim("EXP", 4_000_000_000)},
		"ID-19 ıss, for ISS":             {edit: claim("iſs", "evil")},
		"ID-19 SID, of a directory":      {edit: claim("SID", "S-1-5-21-1"), accepted: true},
		"ID-19 Sid, a number":            {edit: claim("Sid", 7), accepted: true},
		"ID-19 Events, of a calendar":    {edit: claim("Events", []string{"fair"}), accepted: true},
		"ID-19 ACR and Auth_Time":        {edit: both(claim("ACR", 1), claim("Auth_Time", "x")), accepted: true},
		"ID-19 an odd _claim_names":      {edit: claim("_claim_names", []string{"x"}), accepted: true},
		"ID-19 an unknown claim":         {edit: claim("http://example.com/Roles", []string{"admin"}), accepted: true},
		"ID-19 two claims in two cases":  {edit: rawClaims(`"Role":1,"role":2`), accepted: true},
		"ID-19 alg twice, in the header": {edit: part(0, func(s string) string { return encode(`{"alg":"none",` + decode(s)[1:]) })},

		"ID-20 31 KiB":             {edit: claim("x", strings.Repeat("x", 22<<10)), accepted: true},
		"ID-20 more than 32 KiB":   {edit: claim("x", strings.Repeat("x", 32<<10)), reason: openid.ReasonTooLarge},
		"ID-20 a header of 40 KiB": {edit: header("x", strings.Repeat("x", 30<<10)), reason: openid.ReasonTooLarge},
		"ID-20 nested deep":        {edit: rawClaims(`"x":` + strings.Repeat("[", 10_500) + strings.Repeat("]", 10_500))},
		"ID-20 nested unclosed":    {edit: rawClaims(`"x":` + strings.Repeat("[", 20_000))},
	})
}

func rawEnd(more string) func(*party, *scriptedop.JWT) {
	return func(_ *party, t *scriptedop.JWT) {
		encoded, err := json.Marshal(t.Claims)
		if err != nil {
			panic(err)
		}
		t.Payload = append(encoded, more...)
	}
}

// TestHugeIDTokenIsCheap sends tokens that cost the sender little. It does not run in
// parallel, because it measures allocations.
func TestHugeIDTokenIsCheap(t *testing.T) {
	p := newParty(t, options{})
	for name, payload := range map[string]string{
		"ID-20 nested 10,000 deep":  strings.Repeat(`{"x":`, 10_000),
		"ID-20 100,000 members":     "{" + strings.Repeat(`"x":1,`, 100_000) + `"y":1}`,
		"ID-20 a string of 150 KiB": `{"x":"` + strings.Repeat("x", 150<<10) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			p.op.EditIDToken(func(token *scriptedop.JWT) { token.Payload = []byte(payload)[:min(len(payload), 150<<10)] })
			response := p.authorize(p.begin(openid.AuthorizationRequest{}))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			started := time.Now()
			got := p.finish(t.Context(), response)
			took := time.Since(started)
			runtime.ReadMemStats(&after)
			if got.reason() != openid.ReasonTooLarge {
				t.Errorf("the error is %v", got.err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; took > 10*time.Second || used > 10<<20 {
				t.Errorf("took %s and allocated %d bytes", took, used)
			}
		})
	}
}

func TestIDTokenParties(t *testing.T) {
	t.Parallel()
	withSlash := options{op: scriptedop.Config{Path: "/tenant/"}}
	iss := func(change func(string) string) func(*party, *scriptedop.JWT) {
		return func(p *party, t *scriptedop.JWT) { t.Claims["iss"] = change(p.op.Issuer) }
	}
	us := "client"
	runIDTokenCases(t, map[string]idTokenCase{
		"ID-08 the issuer, with a slash": {edit: iss(same), options: withSlash, accepted: true},
		"ID-08 without its slash":        {edit: iss(func(s string) string { return strings.TrimSuffix(s, "/") }), options: withSlash},
		"ID-08 with another slash":       {edit: iss(func(s string) string { return s + "/" })},
		"ID-08 in another case":          {edit: iss(func(s string) string { return strings.Replace(s, "tenant", "Tenant", 1) }), options: withSlash},
		"ID-08 of another port":          {edit: iss(func(s string) string { return strings.Replace(s, "/tenant", "1/tenant", 1) }), options: withSlash},
		"ID-08 looking the same":         {edit: iss(func(s string) string { return strings.Replace(s, "tenant", "tеnant", 1) }), options: withSlash},
		"ID-08 in a list":                {edit: func(p *party, t *scriptedop.JWT) { t.Claims["iss"] = []string{p.op.Issuer} }},
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
		"ID-09 us, given to nobody":              {edit: claim("azp", ""), accepted: true},
		"ID-09 us, azp null":                     {edit: claim("azp", null{}), accepted: true},
		"ID-09 us and another, azp null":         {edit: both(claim("aud", []string{us, "evil"}), claim("azp", null{}))},
		"ID-09 us and another, given to nobody":  {edit: both(claim("aud", []string{us, "evil"}), claim("azp", ""))},
		"ID-09 us, given to a list":              {edit: claim("azp", []string{us})},

		"ID-13 the nonce": {edit: func(*party, *scriptedop.JWT) {}, accepted: true},
		"ID-13 missing":   {edit: claim("nonce", nil)},
		"ID-13 empty":     {edit: claim("nonce", "")},
		"ID-13 null":      {edit: claim("nonce", null{})},
		"ID-13 another":   {edit: claim("nonce", strings.Repeat("x", 43))},
		"ID-13 in a list": {edit: func(_ *party, t *scriptedop.JWT) { t.Claims["nonce"] = []any{t.Claims["nonce"]} }},
		"ID-13 twice, the good one spelt otherwise": {edit: func(_ *party, t *scriptedop.JWT) {
			t.Claims["NONCE"], t.Claims["nonce"] = t.Claims["nonce"], "bad"
		}},
		"ID-13 the beginning of it": {edit: func(_ *party, t *scriptedop.JWT) { t.Claims["nonce"] = t.Claims["nonce"].(string)[:42] }},

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
		"ID-16 another token's":     {edit: func(_ *party, t *scriptedop.JWT) { t.Claims["at_hash"] = t.AtHash("other") }},
		"ID-16 cut short":           {edit: func(_ *party, t *scriptedop.JWT) { t.Claims["at_hash"] = t.Claims["at_hash"].(string)[:10] }},
		"ID-16 padded":              {edit: func(_ *party, t *scriptedop.JWT) { t.Claims["at_hash"] = t.Claims["at_hash"].(string) + "==" }},
		"ID-16 empty":               {edit: claim("at_hash", ""), accepted: true},
		"ID-16 null":                {edit: claim("at_hash", null{}), accepted: true},
		"ID-16 a number":            {edit: claim("at_hash", 1)},
		"ID-23 no sid":              {edit: claim("sid", nil), accepted: true},
		"ID-23 a sid of a number":   {edit: claim("sid", 1)},
		"ID-23 a sid of null":       {edit: claim("sid", null{}), accepted: true},
		"ID-23 an empty sid":        {edit: claim("sid", ""), accepted: true},
		"ID-23 a sid of a list":     {edit: claim("sid", []string{"x"})},
		"ID-21 auth_time as a text": {edit: claim("auth_time", "yesterday"), accepted: true},
		"ID-21 auth_time null":      {edit: claim("auth_time", null{}), accepted: true},
		"ID-21 auth_time zero":      {edit: claim("auth_time", 0), accepted: true},
		"ID-21 auth_time in ms":     {edit: claim("auth_time", 1_700_000_000_000), accepted: true},
		"ID-21 acr null":            {edit: claim("acr", null{}), accepted: true},
		"ID-21 amr null":            {edit: claim("amr", null{}), accepted: true},
		"ID-21 org_id null":         {edit: claim("org_id", null{}), accepted: true},
		"ID-21 email null":          {edit: claim("email", null{}), accepted: true},
	})
}

// rawSub replaces the subject with bytes that no JSON encoder would write.
func rawSub(sub string) func(*party, *scriptedop.JWT) {
	return func(p *party, t *scriptedop.JWT) {
		delete(t.Claims, "sub")
		rawClaims(`"sub":"`+sub+`"`)(p, t)
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
		"ID-10 valid for 7 days":               {edit: claimAt("exp", 7*day), accepted: true},
		"ID-10 valid for 31 days":              {edit: claimAt("exp", 31*day), accepted: true},
		"ID-10 valid for 32 days":              {edit: claimAt("exp", 32*day)},
		"ID-10 in milliseconds":                {edit: func(p *party, t *scriptedop.JWT) { t.Claims["exp"] = p.clock.Now().UnixMilli() }},
		"ID-10 the year 1":                     {edit: claim("exp", -62135596800)},
		"ID-10 empty":                          {edit: claim("exp", "")},
		"ID-10 valid for ten years":            {edit: claimAt("exp", 3652*day)},
		"ID-10 missing":                        {edit: claim("exp", nil)},
		"ID-10 zero":                           {edit: claim("exp", 0)},
		"ID-10 negative":                       {edit: claim("exp", -1)},
		"ID-10 a text":                         {edit: claim("exp", "4000000000")},
		"ID-10 null":                           {edit: claim("exp", null{})},
		"ID-10 true":                           {edit: claim("exp", true)},
		"ID-10 beyond numbers":                 {edit: claim("exp", rawJSON("1e400"))},
		"ID-10 the largest number":             {edit: claim("exp", rawJSON("1e308"))},
		"ID-10 a fraction":                     {edit: func(p *party, t *scriptedop.JWT) { t.Claims["exp"] = float64(p.clock.Now().Unix()) + 60.5 }, accepted: true},
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
		"ID-12 zero":                           {edit: claim("nbf", 0), accepted: true},
		"ID-12 null":                           {edit: claim("nbf", null{}), accepted: true},
		"ID-12 empty":                          {edit: claim("nbf", ""), accepted: true},
		"ID-12 the year 1":                     {edit: claim("nbf", -62135596800), accepted: true},
		"ID-12 beyond numbers":                 {edit: claim("nbf", rawJSON("1e300"))},
		"ID-11 empty":                          {edit: claim("iat", "")},
		"ID-24 the provider's session is over": {edit: claimAt("session_expiry", 0)},
		"ID-24 the provider's session goes on": {edit: claimAt("session_expiry", time.Second), accepted: true},
		"ID-24 no time":                        {edit: claim("session_expiry", "soon")},
		"ID-24 zero":                           {edit: claim("session_expiry", 0), accepted: true},
		"ID-24 null":                           {edit: claim("session_expiry", null{}), accepted: true},
	})
}

// TestLongSubject has unusual but valid subjects.
func TestLongSubject(t *testing.T) {
	t.Parallel()
	for name, sub := range map[string]string{
		"ID-14 255 characters": strings.Repeat("x", 255), "ID-14 as Auth0 has it": "auth0|5f7c8ec7c33c6c004bbafe82",
		"ID-14 with a space inside": "alice liddell", "ID-14 in capitals": "ALICE", "ID-14 a digit": "0",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{})
			p.op.SignInAs(sub)
			p.wantSignedIn(p.signIn(), sub)
			p.wantCalls(1, 1)
		})
	}
}

func TestOrganization(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		asked, claims string
		accepted      bool
	}{
		"nobody asked":                      {"", `{}`, true},
		"nobody asked, and there is one":    {"", `{"org_id":"org_AbC"}`, true},
		"the id":                            {"org_AbC", `{"org_id":"org_AbC"}`, true},
		"the id, beside a name":             {"org_AbC", `{"org_id":"org_AbC","org_name":"acme"}`, true},
		"the name":                          {"acme", `{"org_id":"org_AbC","org_name":"acme"}`, true},
		"the name in another case":          {"Acme", `{"org_name":"acme"}`, true},
		"another id":                        {"org_AbC", `{"org_id":"org_XyZ"}`, false},
		"the id in another case":            {"org_AbC", `{"org_id":"org_abc"}`, false},
		"no id":                             {"org_AbC", `{"sub":"alice"}`, false},
		"the id, as a name":                 {"org_AbC", `{"org_name":"org_AbC"}`, false},
		"another name":                      {"acme", `{"org_name":"other"}`, false},
		"a part of the name":                {"acme", `{"org_name":"acme2"}`, false},
		"no name":                           {"acme", `{"org_id":"acme"}`, false},
		"an empty name":                     {"acme", `{"org_name":""}`, false},
		"a list of ids":                     {"org_AbC", `{"org_id":["org_AbC"]}`, false},
		"nothing":                           {"org_AbC", `{"org_id":null}`, false},
		"a name that is nearly Latin":       {"acme", `{"org_name":"аcme"}`, false},
		"a prefix of an id is an id":        {"org_", `{"org_name":"org_"}`, false},
		"the name has spaces that are real": {"acme ", `{"org_name":"acme"}`, false},
	} {
		t.Run("organization: "+name, func(t *testing.T) {
			t.Parallel()
			c, err := openid.ParseStrict([]byte(tt.claims))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.CheckOrganization(tt.asked); (err == nil) != tt.accepted {
				t.Errorf("accepted: %t, want %t: %v", err == nil, tt.accepted, err)
			}
		})
	}
}

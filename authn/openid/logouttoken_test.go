package openid_test

import (
	"strings"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// logoutCase is a logout token that differs from the usual one. It is sent when the person
// has been signed in for a minute.
type logoutCase struct {
	edit     func(p *party, t *scriptedop.JWT)
	accepted bool
	strict   bool // require typ logout+jwt and exp
}

func runLogoutCases(t *testing.T, cases map[string]logoutCase) {
	t.Helper()
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{config: func(c *openid.Config) { c.StrictLogoutTokens = tt.strict }})
			p.wantSignedIn(p.signIn(), "alice")
			fetched := p.op.Calls(scriptedop.JWKS)
			p.clock.Move(time.Minute)
			token := p.op.LogoutToken()
			tt.edit(p, token)
			compact := token.Compact()
			got, err := p.VerifyLogoutToken(t.Context(), compact)
			if tt.accepted {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				sub, _ := token.Claims["sub"].(string)
				sid, _ := token.Claims["sid"].(string)
				if got.Issuer != p.op.Issuer || got.Subject != sub || got.SID != sid || got.IssuedAt.Unix() != token.Claims["iat"] {
					t.Errorf("accepted as %+v, but the claims are %v", got, token.Claims)
				}
				return
			}
			if openid.ReasonOf(err) != openid.ReasonLogoutTokenInvalid || got != nil {
				t.Fatalf("the error is %v", err)
			}
			if strings.Contains(err.Error()+p.log.String(), compact) {
				t.Errorf("the token is quoted: %v", err)
			}
			p.wantNoSecrets(err)
			p.wantCalls(1, 1)
			// LB-17: a token that is not for this app costs the provider nothing.
			if n := p.op.Calls(scriptedop.JWKS) - fetched; n > 1 {
				t.Errorf("the key set was fetched %d times", n)
			}
		})
	}
}

func TestLogoutTokenSignature(t *testing.T) {
	t.Parallel()
	runLogoutCases(t, map[string]logoutCase{
		"LB-03 the usual token":             {edit: func(*party, *scriptedop.JWT) {}, accepted: true},
		"LB-03 none":                        {edit: signedWith(scriptedop.Key{Algorithm: "none"})},
		"LB-03 nOnE":                        {edit: signedWith(scriptedop.Key{Algorithm: "nOnE"})},
		"LB-03 HS256 with the secret":       {edit: hmacWith([]byte("secret of the client"))},
		"LB-03 an algorithm not configured": {edit: signedWith(scriptedop.NewKey("key-1", "ES384"))},
		"LB-03 another key of that kid":     {edit: signedWith(scriptedop.NewKey("key-1", "ES256"))},
		"LB-03 an unknown key":              {edit: signedWith(scriptedop.NewKey("key-2", "ES256"))},
		"LB-03 the key in the header": {edit: func(_ *party, t *scriptedop.JWT) {
			t.Key = scriptedop.NewKey("evil", "ES256")
			t.Header["jwk"] = t.Key.JWK()
		}},
		"LB-03 crit":                  {edit: both(header("crit", []string{"exp"}), header("exp", 1))},
		"LB-03 an empty signature":    {edit: part(2, func(string) string { return "" })},
		"LB-03 a bit of the payload":  {edit: part(1, func(s string) string { return flip(s, 40) })},
		"LB-03 flattened JSON":        {edit: compact(flattened)},
		"LB-03 a line break":          {edit: compact(func(s string) string { return s + "\n" })},
		"LB-03 two parts":             {edit: compact(func(s string) string { return s[:strings.LastIndex(s, ".")] })},
		"LB-03 empty":                 {edit: compact(func(string) string { return "e30" })},
		"LB-03 more than 32 KiB":      {edit: claim("x", strings.Repeat("x", 32<<10))},
		"LB-03 nested deep":           {edit: rawClaims(`"x":` + strings.Repeat("[", 10_500) + strings.Repeat("]", 10_500))},
		"LB-03 a claim twice":         {edit: rawClaims(`"sub":"bob"`)},
		"LB-03 a claim misspelt":      {edit: claim("Sub", "bob")},
		"LB-03 events misspelt":       {edit: both(claim("Events", map[string]any{logoutEvent: map[string]any{}}), claim("events", nil))},
		"LB-03 claims nobody knows":   {edit: both(claim("x", 1), claim("trace_id", "t")), accepted: true},
		"LB-03 a header nobody knows": {edit: header("x", 1), accepted: true},
	})
}

func TestLogoutTokenClaims(t *testing.T) {
	t.Parallel()
	iss := func(change func(string) string) func(*party, *scriptedop.JWT) {
		return func(p *party, t *scriptedop.JWT) { t.Claims["iss"] = change(p.op.Issuer) }
	}
	events := func(value any) func(*party, *scriptedop.JWT) {
		return claim("events", map[string]any{logoutEvent: value})
	}
	runLogoutCases(t, map[string]logoutCase{
		"LB-04 another issuer":              {edit: iss(always("https://evil.example"))},
		"LB-04 an issuer with a slash":      {edit: iss(func(s string) string { return s + "/" })},
		"LB-04 no issuer":                   {edit: claim("iss", nil)},
		"LB-04 an issuer in a list":         {edit: claim("iss", []string{"x"})},
		"LB-04 us in a list":                {edit: claim("aud", []string{"client"}), accepted: true},
		"LB-04 us among others":             {edit: claim("aud", []string{"client", "other"}), accepted: true},
		"LB-04 another audience":            {edit: claim("aud", "other")},
		"LB-04 no audience":                 {edit: claim("aud", nil)},
		"LB-04 an empty audience":           {edit: claim("aud", []string{})},
		"LB-04 expired 30 seconds ago":      {edit: claimAt("exp", -30*time.Second), accepted: true},
		"LB-04 expired 61 seconds ago":      {edit: claimAt("exp", -61*time.Second)},
		"LB-04 never expires":               {edit: claim("exp", nil), accepted: true},
		"LB-04 expires at null":             {edit: claim("exp", null{}), accepted: true},
		"LB-04 never expires, old":          {edit: both(claim("exp", nil), claimAt("iat", -6*time.Minute)), accepted: true},
		"LB-04 never expires, too old":      {edit: both(claim("exp", nil), claimAt("iat", -6*time.Minute-time.Second))},
		"LB-04 never expires, of tomorrow":  {edit: both(claim("exp", nil), claimAt("iat", 24*time.Hour))},
		"LB-04 neither expires nor issued":  {edit: both(claim("exp", nil), claim("iat", nil))},
		"LB-04 never expires, with a nonce": {edit: both(claim("exp", nil), claim("nonce", "x"))},
		"LB-04 strict, never expires":       {edit: claim("exp", nil), strict: true},
		"LB-04 strict, expires at null":     {edit: claim("exp", null{}), strict: true},
		"LB-04 strict, expires":             {edit: claimAt("exp", time.Minute), strict: true, accepted: true},
		"LB-04 expires at a text":           {edit: claim("exp", "4000000000")},
		"LB-04 expires at zero":             {edit: claim("exp", 0), accepted: true},
		"LB-04 expires at -1":               {edit: claim("exp", -1)},
		"LB-04 not before null":             {edit: claim("nbf", null{}), accepted: true},
		"LB-04 not before tomorrow":         {edit: claimAt("nbf", 24*time.Hour)},
		"LB-04 issued a minute from now":    {edit: claimAt("iat", time.Minute), accepted: true},
		"LB-04 issued 61 seconds from now":  {edit: claimAt("iat", 61*time.Second)},
		"LB-04 issued long ago":             {edit: claimAt("iat", -6*time.Minute-time.Second)},
		"LB-04 issued last year, valid yet": {edit: both(claimAt("iat", -365*24*time.Hour), claimAt("exp", 365*24*time.Hour))},
		"LB-04 never issued":                {edit: claim("iat", nil)},
		"LB-04 issued at null":              {edit: claim("iat", null{})},

		"LB-05 an event with members":  {edit: events(map[string]any{"x": 1}), accepted: true},
		"LB-05 and another event":      {edit: claim("events", map[string]any{logoutEvent: map[string]any{}, "other": map[string]any{}}), accepted: true},
		"LB-05 no events":              {edit: claim("events", nil)},
		"LB-05 another event":          {edit: claim("events", map[string]any{"http://schemas.openid.net/event/other": map[string]any{}})},
		"LB-05 the event null":         {edit: events(nil)},
		"LB-05 the event a text":       {edit: events("x")},
		"LB-05 the event a list":       {edit: events([]any{})},
		"LB-05 the event true":         {edit: events(true)},
		"LB-05 events null":            {edit: claim("events", null{})},
		"LB-05 events a list":          {edit: claim("events", []string{logoutEvent})},
		"LB-05 events a text":          {edit: claim("events", logoutEvent)},
		"LB-05 events an empty object": {edit: claim("events", map[string]any{})},
		"LB-05 Events beside events":   {edit: claim("Events", "a custom claim"), accepted: true},
		"LB-05 the event in capitals":  {edit: claim("events", map[string]any{strings.ToUpper(logoutEvent): map[string]any{}})},

		"LB-06 a nonce":       {edit: claim("nonce", "x")},
		"LB-06 a nonce null":  {edit: claim("nonce", null{})},
		"LB-06 a nonce empty": {edit: claim("nonce", "")},

		"LB-07 logout+jwt":              {edit: header("typ", "logout+jwt"), accepted: true},
		"LB-07 its media type":          {edit: header("typ", "application/logout+jwt"), accepted: true},
		"LB-07 in capitals":             {edit: header("typ", "Logout+JWT"), accepted: true},
		"LB-07 no typ":                  {edit: func(_ *party, t *scriptedop.JWT) { t.Header = nil }, accepted: true},
		"LB-07 JWT":                     {edit: header("typ", "JWT"), accepted: true},
		"LB-07 an access token":         {edit: header("typ", "at+jwt")},
		"LB-07 a security event":        {edit: header("typ", "secevent+jwt")},
		"LB-07 typ no text":             {edit: header("typ", 1)},
		"LB-07 strict, logout+jwt":      {edit: header("typ", "logout+jwt"), strict: true, accepted: true},
		"LB-07 strict, no typ":          {edit: func(_ *party, t *scriptedop.JWT) { t.Header = nil }, strict: true},
		"LB-07 strict, JWT":             {edit: header("typ", "JWT"), strict: true},
		"LB-07 strict, an access token": {edit: header("typ", "at+jwt"), strict: true},
		"LB-08 by sid alone":            {edit: claim("sub", nil), accepted: true},
		"LB-08 by sub alone":            {edit: claim("sid", nil), accepted: true},
		"LB-08 neither":                 {edit: both(claim("sub", nil), claim("sid", nil))},
		"LB-08 an empty sub":            {edit: claim("sub", "")},
		"LB-08 an empty sid":            {edit: claim("sid", "")},
		"LB-08 both empty":              {edit: both(claim("sub", ""), claim("sid", ""))},
		"LB-08 sub a number":            {edit: claim("sub", 1)},
		"LB-08 sid a number":            {edit: claim("sid", 1)},
		"LB-08 sid null":                {edit: claim("sid", null{}), accepted: true},
		"LB-08 sub null":                {edit: claim("sub", null{}), accepted: true},
		"LB-08 both null":               {edit: both(claim("sub", null{}), claim("sid", null{}))},
		"LB-08 a SID beside the sid":    {edit: claim("SID", "S-1-5-21"), accepted: true},
		"LB-08 a SID in place of both":  {edit: both(claim("SID", "S-1-5-21"), claim("sub", nil), claim("sid", nil))},
		"LB-10 no jti":                  {edit: claim("jti", nil)},
		"LB-10 an empty jti":            {edit: claim("jti", "")},
		"LB-10 jti a number":            {edit: claim("jti", 1)},
		"LB-10 jti null":                {edit: claim("jti", null{})},
	})
}

// TestTokensOfAnotherKind sends valid tokens to the wrong endpoint.
func TestTokensOfAnotherKind(t *testing.T) {
	t.Parallel()
	runLogoutCases(t, map[string]logoutCase{
		"LB-09 an ID token":                 {edit: asIDToken},
		"LB-09 an ID token without a nonce": {edit: both(asIDToken, claim("nonce", nil))},
		"LB-09 an access token":             {edit: both(asIDToken, claim("nonce", nil), header("typ", "at+jwt"), claim("scope", "openid"))},
		"LB-09 an access token without typ": {edit: both(asIDToken, claim("nonce", nil), claim("scope", "openid"))},
		"LB-09 userinfo":                    {edit: both(asIDToken, claim("nonce", nil), claim("email", "alice@example.com"))},
	})
	asLogoutToken := func(p *party, t *scriptedop.JWT) {
		logout := p.op.LogoutToken()
		t.Claims, t.Header = logout.Claims, logout.Header
	}
	withNonce := func(p *party, t *scriptedop.JWT) {
		nonce := t.Claims["nonce"]
		asLogoutToken(p, t)
		t.Claims["nonce"] = nonce
	}
	runIDTokenCases(t, map[string]idTokenCase{
		"LB-09 a logout token":                           {edit: asLogoutToken},
		"LB-09 a logout token with the nonce":            {edit: withNonce},
		"LB-09 a logout token with the nonce and no typ": {edit: both(withNonce, func(_ *party, t *scriptedop.JWT) { t.Header = nil })},
	})
}

// asIDToken turns a logout token into an ID token of the same sign-in.
func asIDToken(_ *party, t *scriptedop.JWT) {
	delete(t.Claims, "events")
	delete(t.Claims, "jti")
	t.Claims["nonce"], t.Header["typ"] = strings.Repeat("n", 43), "JWT"
}

// TestLogoutTokenOfAStranger sends tokens that anyone can make. The app fetches nothing for
// them.
func TestLogoutTokenOfAStranger(t *testing.T) {
	t.Parallel()
	p := newParty(t, options{})
	p.wantSignedIn(p.signIn(), "alice")
	fetched := p.op.Calls(scriptedop.JWKS)
	for name, edit := range map[string]func(*party, *scriptedop.JWT){
		"LB-17 of another issuer":  claim("iss", "https://evil.example"),
		"LB-17 for another client": claim("aud", "other"),
		"LB-17 with a nonce":       claim("nonce", "x"),
		"LB-17 of yesterday":       claimAt("iat", -24*time.Hour),
		"LB-17 expired":            claimAt("exp", -time.Hour),
		"LB-17 of another kind":    header("typ", "at+jwt"),
		"LB-17 by another way":     func(_ *party, t *scriptedop.JWT) { t.Key.Algorithm = "HS256"; t.Key.Private = []byte("x") },
	} {
		t.Run(name, func(t *testing.T) {
			token := p.op.LogoutToken()
			token.Key = scriptedop.NewKey("stranger", "ES256")
			edit(p, token)
			if _, err := p.VerifyLogoutToken(t.Context(), token.Compact()); openid.ReasonOf(err) != openid.ReasonLogoutTokenInvalid {
				t.Errorf("the error is %v", err)
			}
			if n := p.op.Calls(scriptedop.JWKS) - fetched; n > 0 {
				t.Errorf("the key set was fetched %d times", n)
			}
		})
	}
}

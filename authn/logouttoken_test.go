package authn_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// logoutCase is a logout token that is not quite the usual one. It is sent when its
// person has been signed in for a minute.
type logoutCase struct {
	edit     func(a *app, t *scriptedop.JWT)
	accepted bool
	strict   bool // ask for typ logout+jwt
}

func runLogoutCases(t *testing.T, cases map[string]logoutCase) {
	t.Helper()
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{config: func(c *authn.Config) { c.StrictLogoutTokenType = tt.strict }})
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			fetched := a.op.Calls(scriptedop.JWKS)
			a.clock.Move(time.Minute)
			token := a.op.LogoutToken()
			tt.edit(a, token)
			compact := token.Compact()
			got := b.signOutByProvider(&scriptedop.JWT{Raw: compact})
			alive := b.who().Subject == "alice"
			if tt.accepted {
				if got.status != http.StatusOK || alive {
					t.Errorf("answered %d, still signed in: %t: %s", got.status, alive, got.text)
				}
				return
			}
			if got.reason != authn.ReasonLogoutTokenInvalid || !alive {
				t.Errorf("answered %d %q, still signed in: %t", got.status, got.reason, alive)
			}
			if strings.Contains(got.text+a.log.String(), compact) {
				t.Errorf("the token is quoted: %s", got.text)
			}
			b.wantNoSecrets(got)
			b.wantCalls(1, 1)
			// LB-17: what is not for us costs the provider nothing.
			if n := a.op.Calls(scriptedop.JWKS) - fetched; n > 1 {
				t.Errorf("the key set was fetched %d times", n)
			}
		})
	}
}

func TestLogoutTokenSignature(t *testing.T) {
	t.Parallel()
	runLogoutCases(t, map[string]logoutCase{
		"LB-03 the usual token":             {edit: func(*app, *scriptedop.JWT) {}, accepted: true},
		"LB-03 none":                        {edit: signedWith(scriptedop.Key{Algorithm: "none"})},
		"LB-03 nOnE":                        {edit: signedWith(scriptedop.Key{Algorithm: "nOnE"})},
		"LB-03 HS256 with the secret":       {edit: hmacWith([]byte("secret of the client"))},
		"LB-03 an algorithm not configured": {edit: signedWith(scriptedop.NewKey("key-1", "ES384"))},
		"LB-03 another key of that kid":     {edit: signedWith(scriptedop.NewKey("key-1", "ES256"))},
		"LB-03 an unknown key":              {edit: signedWith(scriptedop.NewKey("key-2", "ES256"))},
		"LB-03 the key in the header": {edit: func(_ *app, t *scriptedop.JWT) {
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
	iss := func(change func(string) string) func(*app, *scriptedop.JWT) {
		return func(a *app, t *scriptedop.JWT) { t.Claims["iss"] = change(a.op.Issuer) }
	}
	events := func(value any) func(*app, *scriptedop.JWT) {
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
		"LB-04 never expires":               {edit: claim("exp", nil)},
		"LB-04 expires at a text":           {edit: claim("exp", "4000000000")},
		"LB-04 expires at zero":             {edit: claim("exp", 0)},
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

		"LB-06 a nonce":       {edit: claim("nonce", "x")},
		"LB-06 a nonce null":  {edit: claim("nonce", null{})},
		"LB-06 a nonce empty": {edit: claim("nonce", "")},

		"LB-07 logout+jwt":                  {edit: header("typ", "logout+jwt"), accepted: true},
		"LB-07 its media type":              {edit: header("typ", "application/logout+jwt"), accepted: true},
		"LB-07 in capitals":                 {edit: header("typ", "Logout+JWT"), accepted: true},
		"LB-07 no typ":                      {edit: func(_ *app, t *scriptedop.JWT) { t.Header = nil }, accepted: true},
		"LB-07 JWT":                         {edit: header("typ", "JWT"), accepted: true},
		"LB-07 an access token":             {edit: header("typ", "at+jwt")},
		"LB-07 a security event":            {edit: header("typ", "secevent+jwt")},
		"LB-07 typ no text":                 {edit: header("typ", 1)},
		"LB-07 strict, logout+jwt":          {edit: header("typ", "logout+jwt"), strict: true, accepted: true},
		"LB-07 strict, no typ":              {edit: func(_ *app, t *scriptedop.JWT) { t.Header = nil }, strict: true},
		"LB-07 strict, JWT":                 {edit: header("typ", "JWT"), strict: true},
		"LB-07 strict, an access token":     {edit: header("typ", "at+jwt"), strict: true},
		"LB-08 by sid alone":                {edit: claim("sub", nil), accepted: true},
		"LB-08 by sub alone":                {edit: claim("sid", nil), accepted: true},
		"LB-08 neither":                     {edit: both(claim("sub", nil), claim("sid", nil))},
		"LB-08 an empty sub":                {edit: claim("sub", "")},
		"LB-08 an empty sid":                {edit: claim("sid", "")},
		"LB-08 both empty":                  {edit: both(claim("sub", ""), claim("sid", ""))},
		"LB-08 sub a number":                {edit: claim("sub", 1)},
		"LB-08 sid a number":                {edit: claim("sid", 1)},
		"LB-08 sid null":                    {edit: claim("sid", null{})},
		"LB-08 the sid of one, sub another": {edit: claim("sub", "bob")},
		"LB-10 no jti":                      {edit: claim("jti", nil)},
		"LB-10 an empty jti":                {edit: claim("jti", "")},
		"LB-10 jti a number":                {edit: claim("jti", 1)},
		"LB-10 jti null":                    {edit: claim("jti", null{})},
	})
}

// TestWhomALogoutTokenSignsOut has Alice in two browsers and Bob in one.
func TestWhomALogoutTokenSignsOut(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		claims func(firstSID, bobsSID string) map[string]any
		status int
		left   []bool // who is signed in after it
	}{
		"LB-08 by sid":                        {func(s, _ string) map[string]any { return map[string]any{"sid": s} }, 200, []bool{false, true, true}},
		"LB-08 by sid and sub":                {func(s, _ string) map[string]any { return map[string]any{"sid": s, "sub": "alice"} }, 200, []bool{false, true, true}},
		"LB-08 by sub":                        {func(string, string) map[string]any { return map[string]any{"sub": "alice"} }, 200, []bool{false, false, true}},
		"LB-08 by sid of one, sub of another": {func(_, b string) map[string]any { return map[string]any{"sid": b, "sub": "alice"} }, 400, []bool{true, true, true}},
		"LB-14 by a sid that is gone":         {func(string, string) map[string]any { return map[string]any{"sid": "gone"} }, 200, []bool{true, true, true}},
		"LB-14 by a sub that is nobody":       {func(string, string) map[string]any { return map[string]any{"sub": "carol"} }, 200, []bool{true, true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			people := []*person{a.person(t), a.person(t), a.person(t)}
			people[0].wantSignedIn(people[0].signIn(), "alice")
			people[1].wantSignedIn(people[1].signIn(), "alice")
			a.op.SignInAs("bob")
			people[2].wantSignedIn(people[2].signIn(), "bob")
			token := a.op.LogoutToken()
			delete(token.Claims, "sid")
			delete(token.Claims, "sub")
			maps.Copy(token.Claims, tt.claims(people[0].who().SID, people[2].who().SID))
			if got := a.person(t).signOutByProvider(token); got.status != tt.status {
				t.Errorf("answered %d, want %d: %s", got.status, tt.status, got.text)
			}
			for i, b := range people {
				if got := b.who().Subject != ""; got != tt.left[i] {
					t.Errorf("person %d is signed in: %t, want %t", i, got, tt.left[i])
				}
			}
		})
	}
}

// TestTokensOfAnotherKind are good tokens in the wrong place.
func TestTokensOfAnotherKind(t *testing.T) {
	t.Parallel()
	runLogoutCases(t, map[string]logoutCase{
		"LB-09 an ID token":                 {edit: asIDToken},
		"LB-09 an ID token without a nonce": {edit: both(asIDToken, claim("nonce", nil))},
		"LB-09 an access token":             {edit: both(asIDToken, claim("nonce", nil), header("typ", "at+jwt"), claim("scope", "openid"))},
		"LB-09 an access token without typ": {edit: both(asIDToken, claim("nonce", nil), claim("scope", "openid"))},
		"LB-09 userinfo":                    {edit: both(asIDToken, claim("nonce", nil), claim("email", "alice@example.com"))},
	})
	asLogoutToken := func(a *app, t *scriptedop.JWT) {
		logout := a.op.LogoutToken()
		t.Claims, t.Header = logout.Claims, logout.Header
	}
	withNonce := func(a *app, t *scriptedop.JWT) {
		nonce := t.Claims["nonce"]
		asLogoutToken(a, t)
		t.Claims["nonce"] = nonce
	}
	runIDTokenCases(t, map[string]idTokenCase{
		"LB-09 a logout token":                           {edit: asLogoutToken},
		"LB-09 a logout token with the nonce":            {edit: withNonce},
		"LB-09 a logout token with the nonce and no typ": {edit: both(withNonce, func(_ *app, t *scriptedop.JWT) { t.Header = nil })},
	})
}

// asIDToken makes a logout token an ID token of the same sign-in.
func asIDToken(_ *app, t *scriptedop.JWT) {
	delete(t.Claims, "events")
	delete(t.Claims, "jti")
	t.Claims["nonce"], t.Header["typ"] = strings.Repeat("n", 43), "JWT"
}

func TestLogoutTokenCountsOnce(t *testing.T) {
	t.Parallel()
	t.Run("LB-10 replayed after the next sign-in", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		a.clock.Move(time.Second)
		raw := &scriptedop.JWT{Raw: bySubject(a).Compact()}
		if got := b.signOutByProvider(raw); got.status != http.StatusOK {
			t.Fatalf("refused: %s", got.text)
		}
		a.clock.Move(time.Second)
		b.wantSignedIn(b.signIn(), "alice")
		if got := b.signOutByProvider(raw); got.status != http.StatusOK || b.who().Subject != "alice" {
			t.Errorf("answered %d %q, signed in is %q", got.status, got.reason, b.who().Subject)
		}
	})
	t.Run("LB-10 held back until after the next sign-in", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		before, after := a.person(t), a.person(t)
		before.wantSignedIn(before.signIn(), "alice")
		a.clock.Move(time.Second)
		token := bySubject(a)
		a.clock.Move(time.Second)
		after.wantSignedIn(after.signIn(), "alice")
		if got := a.person(t).signOutByProvider(token); got.status != http.StatusOK {
			t.Fatalf("refused: %s", got.text)
		}
		if before.who().Subject != "" || after.who().Subject != "alice" {
			t.Errorf("signed in are %q before and %q after", before.who().Subject, after.who().Subject)
		}
	})
	t.Run("LB-10 another token of the same", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		for range 2 {
			b.wantSignedIn(b.signIn(), "alice")
			if got := b.signOutByProvider(a.op.LogoutToken()); got.status != http.StatusOK || b.who().Subject != "" {
				t.Fatalf("refused: %s", got.text)
			}
		}
	})
	t.Run("LB-12 it comes while the sign-in is under way", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		var early answer
		b := a.person(t)
		a.op.Answer(scriptedop.Token, func(w http.ResponseWriter, r *http.Request) {
			early = a.person(t).signOutByProvider(a.op.LogoutToken())
			a.op.Correct(scriptedop.Token)(w, r)
		})
		got := b.get(b.authorize(b.begin("return_to=/orders")))
		if early.status != http.StatusOK {
			t.Errorf("the logout token is refused: %s", early.text)
		}
		b.wantRefused(got, authn.ReasonSessionEnded, 1, 1)
	})
}

// TestLogoutTokenOfAStranger sends what anybody can make: nothing is fetched for it.
func TestLogoutTokenOfAStranger(t *testing.T) {
	t.Parallel()
	a := newApp(t, appOptions{})
	b := a.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	fetched := a.op.Calls(scriptedop.JWKS)
	for name, edit := range map[string]func(*app, *scriptedop.JWT){
		"LB-17 of another issuer":  claim("iss", "https://evil.example"),
		"LB-17 for another client": claim("aud", "other"),
		"LB-17 with a nonce":       claim("nonce", "x"),
		"LB-17 of yesterday":       claimAt("iat", -24*time.Hour),
		"LB-17 expired":            claimAt("exp", -time.Hour),
		"LB-17 of another kind":    header("typ", "at+jwt"),
		"LB-17 by another way":     func(_ *app, t *scriptedop.JWT) { t.Key.Algorithm = "HS256"; t.Key.Private = []byte("x") },
	} {
		t.Run(name, func(t *testing.T) {
			token := a.op.LogoutToken()
			token.Key = scriptedop.NewKey("stranger", "ES256")
			edit(a, token)
			if got := b.signOutByProvider(token); got.reason != authn.ReasonLogoutTokenInvalid {
				t.Errorf("answered %d %q", got.status, got.text)
			}
			if n := a.op.Calls(scriptedop.JWKS) - fetched; n > 0 {
				t.Errorf("the key set was fetched %d times", n)
			}
		})
	}
}

// bySubject returns a logout token for all sessions of the one who signed in last.
func bySubject(a *app) *scriptedop.JWT {
	token := a.op.LogoutToken()
	delete(token.Claims, "sid")
	return token
}

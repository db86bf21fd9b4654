package openid_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

const audience = "https://api.example"

// accessCase is an access token that differs from the usual one.
type accessCase struct {
	edit     func(p *party, t *scriptedop.JWT)
	accepted bool
}

func runAccessCases(t *testing.T, cases map[string]accessCase) {
	t.Helper()
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{config: func(c *openid.Config) { c.Audience = audience }})
			p.wantSignedIn(p.signIn(), "alice") // fetches the key set
			fetched := p.op.Calls(scriptedop.JWKS)
			token := p.op.AccessToken(audience)
			tt.edit(p, token)
			raw := token.Compact()
			got, err := p.VerifyAccessToken(t.Context(), openid.Presented{Token: raw})
			if tt.accepted {
				if err != nil || got.Subject != "alice" || got.Issuer != p.op.Issuer {
					t.Errorf("refused: %v, or accepted as %+v", err, got)
				}
				return
			}
			if openid.ReasonOf(err) != openid.ReasonAccessTokenInvalid || got != nil {
				t.Fatalf("the error is %v", err)
			}
			if raw != "" && strings.Contains(err.Error(), raw) {
				t.Errorf("the token is quoted: %v", err)
			}
			if n := p.op.Calls(scriptedop.JWKS) - fetched; n > 1 {
				t.Errorf("the key set was fetched %d times", n)
			}
		})
	}
}

func TestAccessTokenSignature(t *testing.T) {
	t.Parallel()
	runAccessCases(t, map[string]accessCase{
		"the usual token":             {edit: func(*party, *scriptedop.JWT) {}, accepted: true},
		"none":                        {edit: signedWith(scriptedop.Key{Algorithm: "none"})},
		"nOnE":                        {edit: signedWith(scriptedop.Key{ID: "key-1", Algorithm: "nOnE"})},
		"none with a signature":       {edit: header("alg", "none")},
		"no algorithm":                {edit: header("alg", null{})},
		"HS256 with the secret":       {edit: hmacWith([]byte("secret of the client"))},
		"HS256 with nothing":          {edit: hmacWith([]byte{})},
		"HS256 with the published x":  {edit: func(p *party, t *scriptedop.JWT) { hmacWith([]byte(t.Key.JWK()["x"].(string)))(p, t) }},
		"an algorithm not configured": {edit: signedWith(scriptedop.NewKey("key-1", "ES384"))},
		"another key of that kid":     {edit: signedWith(scriptedop.NewKey("key-1", "ES256"))},
		"an unknown key":              {edit: signedWith(scriptedop.NewKey("key-2", "ES256"))},
		"RS256 of that kid":           {edit: signedWith(scriptedop.NewKey("key-1", "RS256"))},
		"an algorithm published but not configured": {edit: func(p *party, t *scriptedop.JWT) {
			key := scriptedop.NewKey("key-2", "ES384")
			p.op.SetKeys(t.Key, key)
			t.Key = key
		}},
		"another key, published since": {edit: func(p *party, t *scriptedop.JWT) {
			key := scriptedop.NewKey("key-2", "ES256")
			p.op.SetKeys(t.Key, key)
			t.Key = key
		}, accepted: true},
		"the key in the header": {edit: func(_ *party, t *scriptedop.JWT) {
			t.Key = scriptedop.NewKey("evil", "ES256")
			t.Header["jwk"] = t.Key.JWK()
		}},
		"crit":                   {edit: both(header("crit", []string{"exp"}), header("exp", 1))},
		"an empty signature":     {edit: part(2, func(string) string { return "" })},
		"half a signature":       {edit: part(2, func(s string) string { return s[:len(s)/2] })},
		"a bit of the payload":   {edit: part(1, func(s string) string { return flip(s, 40) })},
		"a bit of the signature": {edit: part(2, func(s string) string { return flip(s, 5) })},
		"flattened JSON":         {edit: compact(flattened)},
		"a line break":           {edit: compact(func(s string) string { return s + "\n" })},
		"two parts":              {edit: compact(func(s string) string { return s[:strings.LastIndex(s, ".")] })},
		"five parts":             {edit: compact(func(s string) string { return s + ".x.x" })},
		"opaque":                 {edit: compact(func(string) string { return "access-token" })},
		"40 KiB":                 {edit: claim("x", strings.Repeat("x", 40<<10))},
		"16 KiB":                 {edit: claim("x", strings.Repeat("x", 16<<10)), accepted: true},
		"a claim twice":          {edit: rawClaims(`"sub":"bob"`)},
		"the scope twice":        {edit: rawClaims(`"scope":"admin"`)},
		"a claim misspelt":       {edit: claim("Aud", audience)},
		"nested deep":            {edit: rawClaims(`"x":` + strings.Repeat("[", 10_500) + strings.Repeat("]", 10_500))},
		"claims nobody knows":    {edit: claim("https://app.example/x", 1), accepted: true},
	})
}

func TestAccessTokenClaims(t *testing.T) {
	t.Parallel()
	iss := func(change func(string) string) func(*party, *scriptedop.JWT) {
		return func(p *party, t *scriptedop.JWT) { t.Claims["iss"] = change(p.op.Issuer) }
	}
	runAccessCases(t, map[string]accessCase{
		"another issuer":            {edit: iss(always("https://evil.example"))},
		"an issuer with a slash":    {edit: iss(func(s string) string { return s + "/" })},
		"an issuer in capitals":     {edit: iss(strings.ToUpper)},
		"no issuer":                 {edit: claim("iss", nil)},
		"an issuer in a list":       {edit: claim("iss", []string{"x"})},
		"the audience in a list":    {edit: claim("aud", []string{audience}), accepted: true},
		"the audience and others":   {edit: claim("aud", []string{"https://provider.example/userinfo", audience}), accepted: true},
		"another audience":          {edit: claim("aud", "https://other.example")},
		"other audiences":           {edit: claim("aud", []string{"https://other.example", audience + "/"})},
		"a longer audience":         {edit: claim("aud", audience+".evil")},
		"no audience":               {edit: claim("aud", nil)},
		"an empty audience":         {edit: claim("aud", "")},
		"an empty list":             {edit: claim("aud", []string{})},
		"audience null":             {edit: claim("aud", null{})},
		"audience a number":         {edit: claim("aud", 1)},
		"a list with a number":      {edit: claim("aud", []any{audience, 1})},
		"this client's id":          {edit: claim("aud", "client")},
		"no subject":                {edit: claim("sub", nil)},
		"an empty subject":          {edit: claim("sub", "")},
		"a subject of spaces":       {edit: claim("sub", "  ")},
		"subject a number":          {edit: claim("sub", 1)},
		"a subject with NUL":        {edit: claim("sub", "alice\x00")},
		"a long subject":            {edit: claim("sub", strings.Repeat("a", 256))},
		"no client":                 {edit: claim("client_id", nil)},
		"azp for client_id":         {edit: both(claim("client_id", nil), claim("azp", "another client")), accepted: true},
		"both, the same":            {edit: claim("azp", "another client"), accepted: true},
		"both, two clients":         {edit: claim("azp", "client")},
		"client a number":           {edit: claim("client_id", 1)},
		"no scope":                  {edit: claim("scope", nil), accepted: true},
		"scope a list":              {edit: claim("scope", []string{"profile"})},
		"scope null":                {edit: claim("scope", null{}), accepted: true},
		"no jti":                    {edit: claim("jti", nil), accepted: true},
		"auth_time and acr":         {edit: both(claim("auth_time", 1), claim("acr", "x")), accepted: true},
		"expired 30 seconds ago":    {edit: claimAt("exp", -30*time.Second), accepted: true},
		"expired 61 seconds ago":    {edit: claimAt("exp", -61*time.Second)},
		"never expires":             {edit: claim("exp", nil)},
		"expires at a text":         {edit: claim("exp", "4000000000")},
		"expires at zero":           {edit: claim("exp", 0)},
		"expires at null":           {edit: claim("exp", null{})},
		"expires in a month":        {edit: claimAt("exp", 30*24*time.Hour), accepted: true},
		"issued 30 seconds ahead":   {edit: claimAt("iat", 30*time.Second), accepted: true},
		"issued 61 seconds ahead":   {edit: claimAt("iat", 61*time.Second)},
		"issued yesterday":          {edit: claimAt("iat", -24*time.Hour), accepted: true},
		"never issued":              {edit: claim("iat", nil)},
		"issued at a text":          {edit: claim("iat", "1")},
		"valid in 30 seconds":       {edit: claimAt("nbf", 30*time.Second), accepted: true},
		"valid in 61 seconds":       {edit: claimAt("nbf", 61*time.Second)},
		"valid at a text":           {edit: claim("nbf", "1")},
		"bound to a DPoP key":       {edit: claim("cnf", map[string]any{"jkt": strings.Repeat("A", 43)})},
		"bound to a certificate":    {edit: claim("cnf", map[string]any{"x5t#S256": strings.Repeat("A", 43)})},
		"bound to a key itself":     {edit: claim("cnf", map[string]any{"jwk": map[string]any{"kty": "OKP"}})},
		"bound to null":             {edit: claim("cnf", null{})},
		"bound to nothing":          {edit: claim("cnf", map[string]any{})},
		"bound to a text":           {edit: claim("cnf", "x")},
		"a nonce":                   {edit: claim("nonce", "x")},
		"a nonce null":              {edit: claim("nonce", null{})},
		"at_hash":                   {edit: claim("at_hash", "x")},
		"a logout event":            {edit: claim("events", map[string]any{logoutEvent: map[string]any{}})},
		"a client of this name":     {edit: claim("client_id", "client"), accepted: true},
		"for the client and an API": {edit: claim("aud", []string{"client", audience}), accepted: true},
	})
}

// TestAccessTokenType checks the profiles of access tokens, and valid tokens of other
// kinds.
func TestAccessTokenType(t *testing.T) {
	t.Parallel()
	untyped := func(_ *party, t *scriptedop.JWT) { delete(t.Header, "typ") }
	lax := header("typ", "JWT")
	auth0 := both(lax, claim("client_id", nil), claim("azp", "another client"), claim("jti", nil))
	// This is an ID token of a client whose id is the audience.
	foreign := both(lax, claim("client_id", nil), claim("scope", nil), claim("azp", audience), claim("jti", nil))
	runAccessCases(t, map[string]accessCase{
		"at+jwt":                             {edit: header("typ", "at+jwt"), accepted: true},
		"its media type":                     {edit: header("typ", "application/at+jwt"), accepted: true},
		"in capitals":                        {edit: header("typ", "AT+JWT"), accepted: true},
		"as Auth0 has it":                    {edit: auth0, accepted: true},
		"as Auth0 has it, without a scope":   {edit: both(auth0, claim("scope", nil), claim("gty", "client-credentials")), accepted: true},
		"no typ":                             {edit: untyped, accepted: true},
		"JWT, and no scope":                  {edit: both(lax, claim("scope", nil))},
		"no typ, and no scope":               {edit: both(untyped, claim("scope", nil))},
		"JWT, for this client too":           {edit: both(lax, claim("aud", []string{audience, "client"}))},
		"JWT, with a nonce":                  {edit: both(lax, claim("nonce", "x"))},
		"logout+jwt":                         {edit: header("typ", "logout+jwt")},
		"secevent+jwt":                       {edit: header("typ", "secevent+jwt")},
		"dpop+jwt":                           {edit: header("typ", "dpop+jwt")},
		"token-introspection+jwt":            {edit: header("typ", "token-introspection+jwt")},
		"typ a number":                       {edit: header("typ", 1)},
		"typ null":                           {edit: header("typ", null{}), accepted: true},
		"typ null, and no scope":             {edit: both(header("typ", null{}), claim("scope", nil))},
		"typ null, and a scope of null":      {edit: both(header("typ", null{}), claim("scope", null{}))},
		"an ID token of another client":      {edit: foreign},
		"the same with a nonce and a scope":  {edit: both(foreign, claim("scope", "openid"), claim("nonce", "x"))},
		"the same with at_hash, and a scope": {edit: both(foreign, claim("scope", "openid"), claim("at_hash", "x"))},
	})
}

// TestTokensOfAnotherKindAtAnAPI sends real tokens that the provider issued for something else.
func TestTokensOfAnotherKindAtAnAPI(t *testing.T) {
	t.Parallel()
	// The client's id is also the audience, so only their kind distinguishes these tokens
	// from an access token.
	for name, configured := range map[string]string{"the audience is an API": audience, "the audience is the client": "client"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{config: func(c *openid.Config) { c.Audience = configured }})
			var idToken string
			p.op.EditIDToken(func(t *scriptedop.JWT) { idToken = t.Compact(); t.Raw = idToken })
			p.wantSignedIn(p.signIn(), "alice")
			untyped := p.op.LogoutToken()
			untyped.Header = nil
			for kind, raw := range map[string]string{
				"an ID token": idToken, "a logout token": p.op.LogoutToken().Compact(), "a logout token without typ": untyped.Compact(),
				"signed userinfo": p.op.SignedUserInfo().Compact(), "nothing": "",
			} {
				if _, err := p.VerifyAccessToken(t.Context(), openid.Presented{Token: raw}); openid.ReasonOf(err) != openid.ReasonAccessTokenInvalid {
					t.Errorf("%s: the error is %v", kind, err)
				}
			}
			if got, err := p.VerifyAccessToken(t.Context(), openid.Presented{Token: p.op.AccessToken(configured).Compact()}); err != nil || !slices.Equal(got.Scopes, []string{"openid", "profile"}) {
				t.Errorf("an access token: %+v, %v", got, err)
			}
		})
	}
}

// TestAccessTokenWithoutAudience does not configure which tokens are for this application.
func TestAccessTokenWithoutAudience(t *testing.T) {
	t.Parallel()
	p := newParty(t, options{})
	for _, aud := range []any{audience, "", "client", nil} {
		token := p.op.AccessToken("")
		token.Claims["aud"] = aud
		if _, err := p.VerifyAccessToken(t.Context(), openid.Presented{Token: token.Compact()}); openid.ReasonOf(err) != openid.ReasonAccessTokenInvalid {
			t.Errorf("for %v the error is %v", aud, err)
		}
	}
	if n := p.op.Calls(scriptedop.JWKS); n > 0 {
		t.Errorf("the key set was fetched %d times", n)
	}
}

// TestAccessTokensSpareTheProvider sends endless tokens with unknown keys. A sign-in after
// a key rotation still gets the fetch that it needs.
func TestAccessTokensSpareTheProvider(t *testing.T) {
	t.Parallel()
	p := newParty(t, options{config: func(c *openid.Config) { c.Audience = audience }})
	p.wantSignedIn(p.signIn(), "alice")
	before := p.op.Calls(scriptedop.JWKS)
	for range 100 {
		token := p.op.AccessToken(audience)
		token.Key.ID = "unknown"
		if _, err := p.VerifyAccessToken(t.Context(), openid.Presented{Token: token.Compact()}); err == nil {
			t.Fatal("a token with an unknown key is accepted")
		}
	}
	if n := p.op.Calls(scriptedop.JWKS) - before; n > 1 {
		t.Errorf("the key set was fetched %d times", n)
	}
	p.op.SetKeys(scriptedop.NewKey("key-2", "ES256"))
	p.wantSignedIn(p.signIn(), "alice")
}

// TestAccessTokenWithoutKeys checks the error of a verifier that cannot fetch the keys.
func TestAccessTokenWithoutKeys(t *testing.T) {
	t.Parallel()
	p := newParty(t, options{config: func(c *openid.Config) { c.Audience = audience }})
	p.op.Answer(scriptedop.JWKS, scriptedop.Status(500))
	if _, err := p.VerifyAccessToken(t.Context(), openid.Presented{Token: p.op.AccessToken(audience).Compact()}); openid.ReasonOf(err) != openid.ReasonProviderUnreachable {
		t.Errorf("the error is %v", err)
	}
}

package routes_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// boundCall is a call of the API with a token that is bound to a DPoP key, which a test may change.
type boundCall struct {
	key scriptedop.Key
	// method and path are those of the request, and of the proof unless proof changes them.
	method, path string
	token, proof func(*scriptedop.JWT)
	request      func(*http.Request)
}

// send makes the token and its proof, and sends them.
func (c boundCall) send(s *apptest.Scripted, v *apptest.Visitor, at time.Time) apptest.Answer {
	s.T.Helper()
	return v.Direct(c.make(s, v, at))
}

func (c boundCall) make(s *apptest.Scripted, v *apptest.Visitor, at time.Time) *http.Request {
	s.T.Helper()
	if c.method == "" {
		c.method = http.MethodGet
	}
	if c.path == "" {
		c.path = "/api/me"
	}
	token := s.OP.AccessToken(apiAudience)
	token.Claims["cnf"] = map[string]any{"jkt": c.key.Thumbprint()}
	if c.token != nil {
		c.token(token)
	}
	raw := token.Compact()
	proof := c.key.Proof(at, c.method, s.URL+"/api/me", raw)
	if c.proof != nil {
		c.proof(proof)
	}
	req := v.Request(c.method, c.path, nil, "Authorization", "DPoP "+raw, "DPoP", proof.Compact())
	if c.request != nil {
		c.request(req)
	}
	return req
}

// The challenges of refused calls.
const (
	badProof   = `DPoP, error="invalid_dpop_proof"`
	badToken   = `DPoP, error="invalid_token"`
	badBearer  = `, error="invalid_token"`
	badRequest = `, error="invalid_request"`
	needsNonce = `DPoP, error="use_dpop_nonce"`
)

// TestDPoP calls the API with tokens that are bound to a DPoP key, and attacks each check of RFC 9449
// sections 4.3 and 7.
func TestDPoP(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t, "AUTH0_AUDIENCE="+apiAudience)
	key, other, rsaKey := scriptedop.NewKey("", "ES256"), scriptedop.NewKey("", "ES256"), scriptedop.NewKey("", "PS256")
	browser := s.Visitor()
	s.SignIn(browser)

	header := func(name string, value any) func(*scriptedop.JWT) {
		return func(t *scriptedop.JWT) { t.Header[name] = value }
	}
	claim := func(name string, value any) func(*scriptedop.JWT) {
		return func(t *scriptedop.JWT) { t.Claims[name] = value }
	}
	without := func(name string) func(*scriptedop.JWT) {
		return func(t *scriptedop.JWT) { delete(t.Claims, name) }
	}
	issued := func(ago time.Duration) func(*scriptedop.JWT) { return claim("iat", clock.Now().Add(-ago).Unix()) }
	bound := func(confirmation any) func(*scriptedop.JWT) { return claim("cnf", confirmation) }
	// as signs the proof with an algorithm and a secret of the attacker's choice.
	as := func(algorithm string, private any) func(*scriptedop.JWT) {
		return func(t *scriptedop.JWT) { t.Key = scriptedop.Key{Algorithm: algorithm, Private: private} }
	}
	jwk := func(change func(map[string]any)) func(*scriptedop.JWT) {
		return func(t *scriptedop.JWT) {
			public := key.JWK()
			change(public)
			t.Header["jwk"] = public
		}
	}
	raw := func(change func(string) string) func(*scriptedop.JWT) {
		return func(t *scriptedop.JWT) { t.Raw = change(t.Compact()) }
	}
	htu := func(change func(string) string) func(*scriptedop.JWT) {
		return func(t *scriptedop.JWT) { t.Claims["htu"] = change(s.URL + "/api/me") }
	}
	replaced := func(from, to string) func(*scriptedop.JWT) {
		return htu(func(address string) string { return strings.Replace(address, from, to, 1) })
	}
	proofs := func(change func(proof string) []string) func(*http.Request) {
		return func(r *http.Request) { r.Header["Dpop"] = change(r.Header.Get("DPoP")) }
	}
	authorization := func(change func(token string) []string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header["Authorization"] = change(strings.TrimPrefix(r.Header.Get("Authorization"), "DPoP "))
		}
	}
	sent := func(scheme string) func(*http.Request) {
		return authorization(func(token string) []string { return []string{scheme + " " + token} })
	}
	thumbprint := key.Thumbprint()

	for name, tt := range map[string]struct {
		boundCall
		// challenge is "" if the call is accepted, and else as in checkCall. The status is 401, unless
		// status says otherwise.
		challenge string
		status    int
	}{
		"the usual call":               {},
		"HEAD":                         {boundCall: boundCall{method: "HEAD"}},
		"a scheme in small letters":    {boundCall: boundCall{request: sent("dpop")}},
		"a scheme in capitals":         {boundCall: boundCall{request: sent("DPOP")}},
		"a query that nobody signs":    {boundCall: boundCall{path: "/api/me?a=b"}},
		"a cookie of someone else":     {boundCall: boundCall{request: func(r *http.Request) { r.Header.Set("Cookie", browser.CookieHeader()) }}},
		"RSA":                          {boundCall: boundCall{key: rsaKey}},
		"EdDSA":                        {boundCall: boundCall{key: scriptedop.NewKey("", "EdDSA")}},
		"a key with an id":             {boundCall: boundCall{key: scriptedop.NewKey("mine", "ES256")}},
		"typ with application/":        {boundCall: boundCall{proof: header("typ", "application/dpop+jwt")}},
		"a nonce that nobody demanded": {boundCall: boundCall{proof: claim("nonce", "x")}},
		"claims that nobody knows":     {boundCall: boundCall{proof: claim("x", 1)}},

		// The key and the signature: checks 4 to 7 and 12.
		"another client's key":                {boundCall: boundCall{token: bound(map[string]any{"jkt": other.Thumbprint()})}, challenge: badToken},
		"another key, signed for by a thief":  {boundCall: boundCall{proof: as("ES256", other.Private)}, challenge: badProof},
		"a thief's own key":                   {boundCall: boundCall{proof: func(t *scriptedop.JWT) { t.Key = other; t.Header["jwk"] = other.JWK() }}, challenge: badToken},
		"alg none":                            {boundCall: boundCall{proof: as("none", nil)}, challenge: badProof},
		"alg none with a signature":           {boundCall: boundCall{proof: header("alg", "none")}, challenge: badProof},
		"alg HS256 with the public key":       {boundCall: boundCall{proof: as("HS256", []byte(key.JWK()["x"].(string)))}, challenge: badProof},
		"alg HS256 with a key of its own":     {boundCall: boundCall{key: scriptedop.Key{Algorithm: "HS256", Private: []byte("secret")}}, challenge: badProof},
		"alg RS256":                           {boundCall: boundCall{key: scriptedop.Key{Algorithm: "RS256", Private: rsaKey.Private}}, challenge: badProof},
		"alg ES384":                           {boundCall: boundCall{key: scriptedop.NewKey("", "ES384")}, challenge: badProof},
		"an alg that is not the key's":        {boundCall: boundCall{proof: header("alg", "PS256")}, challenge: badProof},
		"no alg":                              {boundCall: boundCall{proof: header("alg", nil)}, challenge: badProof},
		"no key":                              {boundCall: boundCall{proof: header("jwk", nil)}, challenge: badProof},
		"a key that is a text":                {boundCall: boundCall{proof: header("jwk", "x")}, challenge: badProof},
		"a private key":                       {boundCall: boundCall{proof: jwk(func(jwk map[string]any) { jwk["d"] = "AQ" })}, challenge: badProof},
		"a private key that says nothing":     {boundCall: boundCall{proof: jwk(func(jwk map[string]any) { jwk["d"] = "" })}, challenge: badProof},
		"a key for encryption":                {boundCall: boundCall{proof: jwk(func(jwk map[string]any) { jwk["use"] = "enc" })}, challenge: badProof},
		"a key that is not on the curve":      {boundCall: boundCall{proof: jwk(func(jwk map[string]any) { jwk["y"] = jwk["x"] })}, challenge: badProof},
		"a bit of the payload":                {boundCall: boundCall{proof: raw(func(s string) string { i := strings.Index(s, ".") + 20; return s[:i] + flipped(s[i:i+1]) + s[i+1:] })}, challenge: badProof},
		"no signature":                        {boundCall: boundCall{proof: raw(func(s string) string { return s[:strings.LastIndex(s, ".")+1] })}, challenge: badProof},
		"typ JWT":                             {boundCall: boundCall{proof: header("typ", "JWT")}, challenge: badProof},
		"no typ":                              {boundCall: boundCall{proof: header("typ", nil)}, challenge: badProof},
		"typ of an access token":              {boundCall: boundCall{proof: header("typ", "at+jwt")}, challenge: badProof},
		"a critical header":                   {boundCall: boundCall{proof: header("crit", []string{"x"})}, challenge: badProof},
		"no JWT":                              {boundCall: boundCall{proof: raw(func(string) string { return "x" })}, challenge: badProof},
		"an empty proof":                      {boundCall: boundCall{request: proofs(func(string) []string { return []string{""} })}, challenge: badProof},
		"no proof":                            {boundCall: boundCall{request: proofs(func(string) []string { return nil })}, challenge: badProof},
		"two DPoP headers":                    {boundCall: boundCall{request: proofs(func(proof string) []string { return []string{proof, proof} })}, challenge: badProof},
		"two proofs in one header":            {boundCall: boundCall{request: proofs(func(proof string) []string { return []string{proof + ", " + proof} })}, challenge: badProof},
		"no proof, and somebody's cookie":     {boundCall: boundCall{request: func(r *http.Request) { r.Header.Del("DPoP"); r.Header.Set("Cookie", browser.CookieHeader()) }}, challenge: badProof},
		"a token of nobody, and a good proof": {boundCall: boundCall{token: func(t *scriptedop.JWT) { t.Key = scriptedop.NewKey("key-1", "ES256") }}, challenge: badToken},

		// The request: checks 8, 9 and 12.
		"another method":               {boundCall: boundCall{proof: claim("htm", "POST")}, challenge: badProof},
		"GET for HEAD":                 {boundCall: boundCall{method: "HEAD", proof: claim("htm", "GET")}, challenge: badProof},
		"HEAD for GET":                 {boundCall: boundCall{proof: claim("htm", "HEAD")}, challenge: badProof},
		"a method in small letters":    {boundCall: boundCall{proof: claim("htm", "get")}, challenge: badProof},
		"no method":                    {boundCall: boundCall{proof: without("htm")}, challenge: badProof},
		"another path":                 {boundCall: boundCall{proof: replaced("/me", "/orders")}, challenge: badProof},
		"a longer path":                {boundCall: boundCall{proof: replaced("/me", "/me/")}, challenge: badProof},
		"a path in capitals":           {boundCall: boundCall{proof: replaced("/me", "/ME")}, challenge: badProof},
		"an escaped slash":             {boundCall: boundCall{proof: replaced("/me", "%2Fme")}, challenge: badProof},
		"another host":                 {boundCall: boundCall{proof: replaced("localhost", "evil.example")}, challenge: badProof},
		"another scheme":               {boundCall: boundCall{proof: replaced("http:", "https:")}, challenge: badProof},
		"no port":                      {boundCall: boundCall{proof: htu(func(string) string { return "http://localhost/api/me" })}, challenge: badProof},
		"a user name":                  {boundCall: boundCall{proof: replaced("//", "//user@")}, challenge: badProof},
		"a path alone":                 {boundCall: boundCall{proof: htu(func(string) string { return "/api/me" })}, challenge: badProof},
		"no URL":                       {boundCall: boundCall{proof: htu(func(string) string { return "http://[" })}, challenge: badProof},
		"no htu":                       {boundCall: boundCall{proof: without("htu")}, challenge: badProof},
		"a query in htu":               {boundCall: boundCall{path: "/api/me?a=b", proof: replaced("/me", "/me?a=b")}},
		"another query in htu":         {boundCall: boundCall{proof: replaced("/me", "/me?a=b#c")}},
		"a host in capitals":           {boundCall: boundCall{proof: replaced("localhost", "LocalHost")}},
		"a scheme of htu in capitals":  {boundCall: boundCall{proof: replaced("http:", "HTTP:")}},
		"an escape that nothing needs": {boundCall: boundCall{proof: replaced("/me", "/%6d%65")}},
		"dot segments":                 {boundCall: boundCall{proof: replaced("/me", "/x/.././me")}},
		"without ath":                  {boundCall: boundCall{proof: without("ath")}, challenge: badProof},
		"an empty ath":                 {boundCall: boundCall{proof: claim("ath", "")}, challenge: badProof},
		"the ath of another token":     {boundCall: boundCall{proof: claim("ath", base64.RawURLEncoding.EncodeToString(make([]byte, sha256.Size)))}, challenge: badProof},
		"a number for ath":             {boundCall: boundCall{proof: claim("ath", 1)}, challenge: badProof},

		// The time: check 11.
		"issued 60 seconds ago":    {boundCall: boundCall{proof: issued(60 * time.Second)}},
		"issued 61 seconds ago":    {boundCall: boundCall{proof: issued(61 * time.Second)}, challenge: badProof},
		"issued 60 seconds ahead":  {boundCall: boundCall{proof: issued(-60 * time.Second)}},
		"issued 61 seconds ahead":  {boundCall: boundCall{proof: issued(-61 * time.Second)}, challenge: badProof},
		"issued a year ago":        {boundCall: boundCall{proof: issued(365 * 24 * time.Hour)}, challenge: badProof},
		"never issued":             {boundCall: boundCall{proof: without("iat")}, challenge: badProof},
		"issued at a text":         {boundCall: boundCall{proof: claim("iat", "1")}, challenge: badProof},
		"no jti":                   {boundCall: boundCall{proof: without("jti")}, challenge: badProof},
		"a number for jti":         {boundCall: boundCall{proof: claim("jti", 1)}, challenge: badProof},
		"issued for the year 2096": {boundCall: boundCall{proof: claim("iat", 4_000_000_000)}, challenge: badProof},

		// The token and its scheme.
		"a bound token as a bearer token":           {boundCall: boundCall{request: sent("Bearer")}, challenge: badBearer},
		"the same, without its proof":               {boundCall: boundCall{request: func(r *http.Request) { sent("Bearer")(r); r.Header.Del("DPoP") }}, challenge: badBearer},
		"an unbound token as a bound one":           {boundCall: boundCall{token: without("cnf")}, challenge: badToken},
		"an unbound token, with a proof too":        {boundCall: boundCall{token: without("cnf"), request: sent("Bearer")}},
		"an unknown binding":                        {boundCall: boundCall{token: bound(map[string]any{"jkt": thumbprint, "x": thumbprint})}, challenge: badToken},
		"a binding by a key id":                     {boundCall: boundCall{token: bound(map[string]any{"kid": "x"})}, challenge: badToken},
		"a binding to a key of another kind":        {boundCall: boundCall{token: bound(map[string]any{"jwk": key.JWK()})}, challenge: badToken},
		"a binding to a certificate too, none sent": {boundCall: boundCall{token: bound(map[string]any{"jkt": thumbprint, "x5t#S256": thumbprint})}, challenge: badToken},
		"a binding to a certificate alone":          {boundCall: boundCall{token: bound(map[string]any{"x5t#S256": thumbprint})}, challenge: badToken},
		"the same as a bearer token":                {boundCall: boundCall{token: bound(map[string]any{"x5t#S256": thumbprint}), request: sent("Bearer")}, challenge: badBearer},
		"a binding of null":                         {boundCall: boundCall{token: bound(map[string]any{"jkt": nil})}, challenge: badToken},
		"a binding with a line break":               {boundCall: boundCall{token: bound(map[string]any{"jkt": thumbprint + "\n"})}, challenge: badToken},
		"an empty binding":                          {boundCall: boundCall{token: bound(map[string]any{})}, challenge: badToken},
		"a binding that is a text":                  {boundCall: boundCall{token: bound(thumbprint)}, challenge: badToken},
		"a token that has expired":                  {boundCall: boundCall{token: claim("exp", 1)}, challenge: badToken},
		"two Authorization headers": {boundCall: boundCall{request: authorization(func(token string) []string {
			return []string{"DPoP " + token, "DPoP " + token}
		})}, challenge: badRequest, status: 400},
		"both schemes": {boundCall: boundCall{request: authorization(func(token string) []string {
			return []string{"Bearer " + token, "DPoP " + token}
		})}, challenge: badRequest, status: 400},
		"both schemes in a list": {boundCall: boundCall{request: authorization(func(token string) []string {
			return []string{"DPoP " + token + ", Bearer " + token}
		})}, challenge: "DPoP" + badRequest, status: 400},
		"no token":                {boundCall: boundCall{request: sent("DPoP ,")}, challenge: "DPoP" + badRequest, status: 400},
		"a token in the query":    {boundCall: boundCall{path: "/api/me?access_token=x"}, challenge: badRequest, status: 400},
		"a proof without a token": {boundCall: boundCall{request: func(r *http.Request) { r.Header.Del("Authorization") }}, challenge: "both"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.key.Algorithm == "" {
				tt.key = key
			}
			got := tt.send(s, s.Visitor(), clock.Now())
			checkCall(t, s, got, cmp.Or(tt.status, http.StatusUnauthorized), tt.challenge)
			if nonce := got.Header.Get("DPoP-Nonce"); nonce != "" {
				t.Errorf("it offers the nonce %q, which it does not demand", nonce)
			}
		})
	}
}

// checkCall checks the answer to a call of /api/me. Without a challenge it is accepted; "both" is a
// challenge of both schemes, without an error code.
func checkCall(t *testing.T, s *apptest.Scripted, got apptest.Answer, status int, challenge string) {
	t.Helper()
	fault := ""
	switch head := got.Request.Method == http.MethodHead; {
	case challenge == "":
		if got.StatusCode != http.StatusOK || !head && !strings.Contains(got.Body, `"sub":"alice"`) {
			fault = fmt.Sprintf("answered %d %q\n%s", got.StatusCode, got.Header.Values("WWW-Authenticate"), got.Body)
		}
	case challenge == "both":
		fault = faultOf(s, got, status, "")
	default:
		fault = faultOf(s, got, status, challenge)
	}
	if fault != "" {
		t.Error(fault)
	}
	s.WantNoSecrets(got)
}

// flipped returns another character of base64url.
func flipped(s string) string {
	if s == "A" {
		return "B"
	}
	return "A"
}

// TestDPoPReplay sends proofs again: to the same node and to another, which has the same store.
func TestDPoPReplay(t *testing.T) {
	t.Parallel()
	// The nodes have one address, and what passes requests on to them ends TLS.
	store, env := authn.NewMemoryStore(), []string{
		"AUTH0_AUDIENCE=" + apiAudience, "AUTH0_CALLBACK_URL=https://app.example/callback", "APP_SECRET_KEY=q8J2mB7xZ4vN1kT6wR9yH3cF5dL0sPgU",
	}
	s, clock := apptest.AssembleWith(t, func(cfg *apptest.Settings) { cfg.Authn.Store = store }, env...)
	other, _ := apptest.AssembleWith(t, func(cfg *apptest.Settings) {
		cfg.Authn.Store, cfg.OpenID.Issuer, cfg.OpenID.Now = store, s.OP.Issuer, clock.Now
	}, env...)
	to := func(node *apptest.Scripted, r *http.Request) *http.Request {
		again := r.Clone(t.Context())
		address, err := url.Parse(node.Server.URL)
		if err != nil {
			t.Fatal(err)
		}
		again.Host, again.URL.Scheme, again.URL.Host = "app.example", address.Scheme, address.Host
		return again
	}
	key, thief := scriptedop.NewKey("", "ES256"), scriptedop.NewKey("", "ES256")
	v := s.Visitor()
	const replayed = badProof
	first := boundCall{key: key}.make(s, v, clock.Now())
	wantMe(s, v.Direct(to(s, first)), "access_token", "alice")
	wantProblem(s, v.Direct(to(s, first)), 401, replayed)
	wantProblem(s, v.Direct(to(other, first)), 401, replayed)
	elsewhere := boundCall{key: key}.make(s, v, clock.Now())
	wantMe(s, v.Direct(to(other, elsewhere)), "access_token", "alice")
	wantProblem(s, v.Direct(to(s, elsewhere)), 401, replayed)

	// Nobody can use up the jti of somebody else.
	same := func(proof *scriptedop.JWT) { proof.Claims["jti"] = "the same" }
	wantMe(s, v.Direct(to(s, boundCall{key: thief, proof: same}.make(s, v, clock.Now()))), "access_token", "alice")
	wantMe(s, v.Direct(to(s, boundCall{key: key, proof: same}.make(s, v, clock.Now()))), "access_token", "alice")
	wantProblem(s, v.Direct(to(s, boundCall{key: key, proof: same}.make(s, v, clock.Now()))), 401, replayed)
	// Nor does a proof that is refused use up its jti.
	fresh := func(proof *scriptedop.JWT) { proof.Claims["jti"] = "not yet" }
	wrong := func(proof *scriptedop.JWT) { fresh(proof); proof.Key.Private = thief.Private }
	wantProblem(s, v.Direct(to(s, boundCall{key: key, proof: wrong}.make(s, v, clock.Now()))), 401, badProof)
	wantMe(s, v.Direct(to(s, boundCall{key: key, proof: fresh}.make(s, v, clock.Now()))), "access_token", "alice")

	// A proof from the future is remembered for as long as it is accepted, also by a store whose clock is
	// ahead.
	ahead := boundCall{key: key}.make(s, v, clock.Now().Add(time.Minute))
	wantMe(s, v.Direct(to(s, ahead)), "access_token", "alice")
	for range 5 {
		clock.Move(30 * time.Second)
		if _, err := store.Sweep(t.Context(), clock.Now().Add(55*time.Second)); err != nil {
			t.Fatal(err)
		}
		wantProblem(s, v.Direct(to(s, ahead)), 401, badProof)
	}
	wantMe(s, v.Direct(to(s, boundCall{key: key}.make(s, v, clock.Now()))), "access_token", "alice")
}

// deafStore is a store that remembers nothing as used, because it is down.
type deafStore struct{ authn.Store }

func (deafStore) Once(context.Context, authn.Key, time.Time) (bool, error) {
	return false, errors.New("down")
}

// TestDPoPWithoutTheStore cannot know whether a proof was used before. A bearer token needs no store.
func TestDPoPWithoutTheStore(t *testing.T) {
	t.Parallel()
	s, clock := apptest.AssembleWith(t, func(cfg *apptest.Settings) { cfg.Authn.Store = deafStore{cfg.Authn.Store} }, "AUTH0_AUDIENCE="+apiAudience)
	wantProblem(s, boundCall{key: scriptedop.NewKey("", "ES256")}.send(s, s.Visitor(), clock.Now()), 503, "none")
	wantMe(s, callAPI(s.Visitor(), "Authorization", "Bearer "+s.OP.AccessToken(apiAudience).Compact()), "access_token", "alice")
}

// TestDPoPNonce demands nonces of the app.
func TestDPoPNonce(t *testing.T) {
	t.Parallel()
	const secret, older = "q8J2mB7xZ4vN1kT6wR9yH3cF5dL0sPgU", "Zt5RkQ9wYx2VbN7mLc4HdJ8sGf1PaE6u"
	env := []string{"AUTH0_AUDIENCE=" + apiAudience, "API_DPOP_NONCE=required"}
	s, clock := apptest.Assemble(t, append(env, "APP_SECRET_KEY="+secret)...)
	key := scriptedop.NewKey("", "ES256")
	with := func(s *apptest.Scripted, at time.Time, nonce any) apptest.Answer {
		return boundCall{key: key, proof: func(proof *scriptedop.JWT) { proof.Claims["nonce"] = nonce }}.send(s, s.Visitor(), at)
	}
	refused := func(nonce any) string {
		t.Helper()
		got := with(s, clock.Now(), nonce)
		wantProblem(s, got, 401, needsNonce)
		if got.Header.Get("DPoP-Nonce") == "" {
			t.Error("it demands a nonce and offers none")
		}
		return got.Header.Get("DPoP-Nonce")
	}
	accepted := func(nonce string) string {
		t.Helper()
		got := with(s, clock.Now(), nonce)
		wantMe(s, got, "access_token", "alice")
		return got.Header.Get("DPoP-Nonce")
	}
	nonce := refused(nil)
	if next := accepted(nonce); next != "" {
		t.Errorf("beside the current nonce it offers %q", next)
	}
	accepted(nonce) // a nonce is for many proofs
	for _, wrong := range []any{nil, "x", "", nonce + "x", strings.ToLower(nonce), nonce[:42]} {
		if next := refused(wrong); next != nonce {
			t.Errorf("instead of %v it offers %q", wrong, next)
		}
	}
	// The others need no nonce, and get none.
	if got := callAPI(s.Visitor(), "Authorization", "Bearer "+s.OP.AccessToken(apiAudience).Compact()); got.StatusCode != 200 || got.Header.Get("DPoP-Nonce") != "" {
		t.Errorf("a bearer token is answered %d with the nonce %q", got.StatusCode, got.Header.Get("DPoP-Nonce"))
	}
	// To ask for a nonce is no attack.
	if lines := s.Logged("refused", ""); len(lines) == 0 || lines[0]["event"] != "refused" || lines[0]["reason"] != "use_dpop_nonce" {
		t.Errorf("the log says %v", lines)
	}

	clock.Move(2 * time.Minute)
	next := accepted(nonce) // and the answer has the one that follows
	if next == nonce || next == "" {
		t.Errorf("it offers %q", next)
	}
	accepted(next)
	clock.Move(2 * time.Minute)
	refused(nonce)
	accepted(next)

	// Another node knows it, also while the secret is being replaced.
	for name, tt := range map[string]struct {
		keys  string
		knows bool
	}{"the same secret": {secret, true}, "a new secret, and the old one": {older + "," + secret, true}, "another secret": {older, false}} {
		node, _ := apptest.AssembleWith(t, func(cfg *apptest.Settings) { cfg.OpenID.Now = clock.Now }, append(env, "APP_SECRET_KEY="+tt.keys)...)
		if got := with(node, clock.Now(), next); (got.StatusCode == http.StatusOK) != tt.knows {
			t.Errorf("%s: answered %d", name, got.StatusCode)
		}
	}
}

// TestBoundTokensOnly refuses tokens that any thief could use. Sessions count as before.
func TestBoundTokensOnly(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t, "AUTH0_AUDIENCE="+apiAudience, "API_TOKENS=bound")
	wantProblem(s, callAPI(s.Visitor(), "Authorization", "Bearer "+s.OP.AccessToken(apiAudience).Compact()), 401, badBearer)
	wantMe(s, boundCall{key: scriptedop.NewKey("", "ES256")}.send(s, s.Visitor(), clock.Now()), "access_token", "alice")
	v := s.Visitor()
	s.SignIn(v)
	wantMe(s, callAPI(v), "session", "alice")
}

// TestMutualTLS calls the API with tokens that are bound to a client's certificate.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	certFile, keyFile := apptest.WriteCertificate(t)
	port, mtls := apptest.FreePort(t), apptest.FreePort(t)
	s := apptest.StartScripted(t,
		"AUTH0_AUDIENCE="+apiAudience, "PORT="+port, "AUTH0_CALLBACK_URL=https://localhost:"+port+"/callback",
		"TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile, "MTLS_ADDR=localhost:"+mtls, "TRUSTED_PROXIES=127.0.0.0/8,::1/128")
	own, others := apptest.ClientCertificate(t), apptest.ClientCertificate(t)
	digest := sha256.Sum256(own.Leaf.Raw)
	confirmation := map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(digest[:])}
	token := func(cnf any) string {
		access := s.OP.AccessToken(apiAudience)
		if cnf != nil {
			access.Claims["cnf"] = cnf
		}
		return access.Compact()
	}
	bound := token(confirmation)
	browser := s.Visitor()
	browser.Client.Transport = transport(nil)
	s.SignIn(browser)
	cookie := browser.CookieHeader()
	main, asking := "https://localhost:"+port, "https://localhost:"+mtls
	escaped := ":" + base64.StdEncoding.EncodeToString(own.Leaf.Raw) + ":"

	for name, tt := range map[string]struct {
		address     string
		certificate *tls.Certificate
		headers     []string
		status      int
		challenge   string
	}{
		"the client's certificate":        {asking, own, []string{"Authorization", "Bearer " + bound}, 200, ""},
		"another name of the host":        {asking, own, []string{"Authorization", "Bearer " + bound, "Host", "mtls.app.example"}, 200, ""},
		"another client's certificate":    {asking, others, []string{"Authorization", "Bearer " + bound}, 401, badBearer},
		"no certificate":                  {asking, nil, []string{"Authorization", "Bearer " + bound}, 401, badBearer},
		"an address that asks for none":   {main, own, []string{"Authorization", "Bearer " + bound}, 401, badBearer},
		"the certificate in a header":     {main, nil, []string{"Authorization", "Bearer " + bound, "Client-Cert", escaped}, 401, badBearer},
		"the same, where one is asked":    {asking, others, []string{"Authorization", "Bearer " + bound, "Client-Cert", escaped}, 401, badBearer},
		"a token that is not bound":       {asking, own, []string{"Authorization", "Bearer " + token(nil)}, 200, ""},
		"the same, without a certificate": {asking, nil, []string{"Authorization", "Bearer " + token(nil)}, 200, ""},
		"the same, elsewhere":             {main, nil, []string{"Authorization", "Bearer " + token(nil)}, 200, ""},
		"another member, too":             {asking, own, []string{"Authorization", "Bearer " + token(map[string]any{"x5t#S256": confirmation["x5t#S256"], "x": confirmation["x5t#S256"]})}, 401, badBearer},
		"SHA-1":                           {asking, own, []string{"Authorization", "Bearer " + token(map[string]any{"x5t": "x"})}, 401, badBearer},
		"a bound token as DPoP":           {asking, own, []string{"Authorization", "DPoP " + bound}, 401, badProof},
		"a session":                       {asking, own, []string{"Authorization", "Basic YTpi", "Cookie", cookie, "Host", "app.example"}, 421, ""},
		"a session, and a bad token":      {asking, own, []string{"Authorization", "Bearer x", "Cookie", cookie}, 401, badBearer},
		"a session, for another client":   {asking, nil, []string{"Cookie", cookie, "Host", "app.example"}, 421, ""},
		"no token":                        {asking, own, []string{"Host", "app.example"}, 421, ""},
		"a session, at the app's address": {main, nil, []string{"Cookie", cookie}, 200, ""},
		"a host that a proxy would name":  {asking, own, []string{"Authorization", "Bearer " + bound, "X-Forwarded-Host", "evil.example"}, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := s.Visitor()
			v.Client.Transport = transport(tt.certificate)
			req := v.Request(http.MethodGet, tt.address+"/api/me", nil, tt.headers...)
			if host := req.Header.Get("Host"); host != "" {
				req.Host = host
			}
			got := v.Direct(req)
			if tt.status != http.StatusMisdirectedRequest {
				checkCall(t, s, got, tt.status, tt.challenge)
			} else if got.StatusCode != tt.status {
				t.Errorf("answered %d %s", got.StatusCode, got.Body)
			}
		})
	}
	// A TLS session that is resumed has the certificate of the one before, and one of the other address,
	// which has none, is not resumed here.
	resuming := s.Visitor()
	connections := transport(own)
	connections.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	resuming.Client.Transport = connections
	for i, address := range []string{main + "/healthz", main + "/healthz", asking + "/api/me", asking + "/api/me"} {
		got := resuming.Direct(resuming.Request(http.MethodGet, address, nil, "Authorization", "Bearer "+bound))
		if resumed := i%2 == 1; got.StatusCode != http.StatusOK || got.TLS.DidResume != resumed {
			t.Errorf("call %d to %s: answered %d, resumed %t", i, address, got.StatusCode, got.TLS.DidResume)
		}
	}
	// Both keys of a token that is bound to two.
	key := scriptedop.NewKey("", "ES256")
	both := token(map[string]any{"x5t#S256": confirmation["x5t#S256"], "jkt": key.Thumbprint()})
	for name, tt := range map[string]struct {
		certificate *tls.Certificate
		status      int
	}{"both keys": {own, 200}, "the DPoP key alone": {nil, 401}, "another certificate": {others, 401}} {
		v := s.Visitor()
		v.Client.Transport = transport(tt.certificate)
		proof := key.Proof(time.Now(), http.MethodGet, main+"/api/me", both)
		if got := v.Direct(v.Request(http.MethodGet, asking+"/api/me", nil, "Authorization", "DPoP "+both, "DPoP", proof.Compact())); got.StatusCode != tt.status {
			t.Errorf("%s: answered %d %s", name, got.StatusCode, got.Body)
		}
	}
}

// transport returns a transport whose connections show a certificate, if there is one.
func transport(certificate *tls.Certificate) *http.Transport {
	settings := &tls.Config{InsecureSkipVerify: true} // the server's certificate is the test's own
	if certificate != nil {
		settings.Certificates = []tls.Certificate{*certificate}
	}
	return &http.Transport{TLSClientConfig: settings, DisableKeepAlives: true}
}

// TestNobodyIsAskedForACertificate connects to an app as a browser does, which would ask its person.
func TestNobodyIsAskedForACertificate(t *testing.T) {
	t.Parallel()
	certFile, keyFile := apptest.WriteCertificate(t)
	mtls := apptest.FreePort(t)
	a := apptest.StartHTTPS(t, certFile, keyFile, "AUTH0_AUDIENCE="+apiAudience, "MTLS_ADDR=localhost:"+mtls)
	for address, want := range map[string]bool{a.URL: false, "https://localhost:" + mtls: true} {
		asked := false
		v := a.Visitor()
		v.Client.Transport = &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				asked = true
				return new(tls.Certificate), nil
			},
		}}
		v.Get(address + "/healthz")
		if asked != want {
			t.Errorf("at %s a certificate is asked for: %t", address, asked)
		}
	}
}

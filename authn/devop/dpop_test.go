package devop_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// prover makes DPoP proofs with a key.
type prover struct {
	p     *idp
	key   *ecdsa.PrivateKey
	nonce string
}

func (p *idp) prover() *prover {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	return &prover{p: p, key: key}
}

// proof returns a proof for a request with the access token, "" at the token endpoint. changes replace its
// claims; nil removes one.
func (k *prover) proof(method, path, access string, changes map[string]any) string {
	k.p.t.Helper()
	claims := map[string]any{
		"jti": rand.Text(), "htm": method, "htu": k.p.issuer + path,
		"iat": time.Now().Add(time.Duration(k.p.offset.Load()) * time.Second).Unix(), "nonce": k.nonce,
	}
	if access != "" {
		sum := sha256.Sum256([]byte(access))
		claims["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	payload, err := json.Marshal(claims)
	if err != nil {
		k.p.t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: k.key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	if err != nil {
		k.p.t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		k.p.t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		k.p.t.Fatal(err)
	}
	return compact
}

// ask sends a token request with proofs, and keeps the nonce of the answer.
func (k *prover) ask(form url.Values, proofs ...string) (reply, map[string]any) {
	k.p.t.Helper()
	req := k.p.request(http.MethodPost, "/token", form)
	req.SetBasicAuth("app", url.QueryEscape("app s:cret+%"))
	req.Header["Dpop"] = proofs
	r := k.p.do(k.p.program, req)
	k.nonce = r.header.Get("DPoP-Nonce")
	return r, k.p.object(r.body)
}

// tokens signs Ada in with a proof.
func (k *prover) tokens() map[string]any {
	k.p.t.Helper()
	form := exchange(k.p.signIn("dev|ada", url.Values{"resource": {"https://api.example"}}).Get("code"))
	r, _ := k.ask(form, k.proof(http.MethodPost, "/token", "", nil))
	wantError(k.p.t, r, http.StatusBadRequest, "use_dpop_nonce")
	r, tokens := k.ask(form, k.proof(http.MethodPost, "/token", "", nil)) // the code has not been used
	if r.status != http.StatusOK || tokens["token_type"] != "DPoP" {
		k.p.t.Fatalf("got %d %s", r.status, r.body)
	}
	return tokens
}

// userinfo asks userinfo with a proof.
func (k *prover) userinfo(scheme, access, proof string) reply {
	k.p.t.Helper()
	req := k.p.request(http.MethodGet, "/userinfo", nil)
	req.Header.Set("Authorization", scheme+" "+access)
	if proof != "" {
		req.Header.Set("DPoP", proof)
	}
	return k.p.do(k.p.program, req)
}

// TestDPoP gets bound tokens, and uses them in right and in wrong ways.
func TestDPoP(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	k := p.prover()
	tokens := k.tokens()
	access := tokens["access_token"].(string)
	if claims := p.verify("at+jwt", access); claims["cnf"].(map[string]any)["jkt"] == "" {
		t.Errorf("the access token has the claims %v", claims)
	}
	r, refreshed := k.ask(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens["refresh_token"].(string)}}, k.proof(http.MethodPost, "/token", "", nil))
	if r.status != http.StatusOK || refreshed["token_type"] != "DPoP" {
		t.Errorf("the refresh: got %d %s", r.status, r.body)
	}

	first := k.userinfo("DPoP", access, k.proof(http.MethodGet, "/userinfo", access, nil)) // with the nonce of the token endpoint
	if k.nonce = first.header.Get("DPoP-Nonce"); first.status != http.StatusUnauthorized || !strings.Contains(first.header.Get("WWW-Authenticate"), `DPoP realm="devop", error="use_dpop_nonce"`) {
		t.Errorf("a nonce of another server: got %d %s", first.status, first.body)
	}
	right := func() string { return k.proof(http.MethodGet, "/userinfo", access, nil) }
	wrong := func(changes map[string]any) string { return k.proof(http.MethodGet, "/userinfo", access, changes) }
	used := right()
	other := p.prover()
	other.nonce = k.nonce
	for _, tt := range []struct {
		name, scheme, proof string
		status              int
	}{
		{"a right proof", "DPoP", used, http.StatusOK},
		{"the same proof again", "DPoP", used, http.StatusUnauthorized},
		{"another right proof", "dpop", right(), http.StatusOK},
		{"as a bearer token", "Bearer", "", http.StatusUnauthorized},
		{"as a bearer token with a proof", "Bearer", right(), http.StatusUnauthorized},
		{"no proof", "DPoP", "", http.StatusUnauthorized},
		{"another key", "DPoP", other.proof(http.MethodGet, "/userinfo", access, nil), http.StatusUnauthorized},
		{"another method", "DPoP", wrong(map[string]any{"htm": "POST"}), http.StatusUnauthorized},
		{"another address", "DPoP", wrong(map[string]any{"htu": p.issuer + "/token"}), http.StatusUnauthorized},
		{"no ath", "DPoP", wrong(map[string]any{"ath": nil}), http.StatusUnauthorized},
		{"another token's ath", "DPoP", k.proof(http.MethodGet, "/userinfo", "another", nil), http.StatusUnauthorized},
		{"an old iat", "DPoP", wrong(map[string]any{"iat": time.Now().Add(-2 * time.Minute).Unix()}), http.StatusUnauthorized},
		{"an iat in the future", "DPoP", wrong(map[string]any{"iat": time.Now().Add(2 * time.Minute).Unix()}), http.StatusUnauthorized},
		{"no jti", "DPoP", wrong(map[string]any{"jti": nil}), http.StatusUnauthorized},
		{"no nonce", "DPoP", wrong(map[string]any{"nonce": nil}), http.StatusUnauthorized},
		{"another nonce", "DPoP", wrong(map[string]any{"nonce": "another"}), http.StatusUnauthorized},
		{"a changed proof", "DPoP", strings.Replace(right(), ".", ".e30", 1), http.StatusUnauthorized},
		{"no JWT", "DPoP", "proof", http.StatusUnauthorized},
	} {
		if got := k.userinfo(tt.scheme, access, tt.proof); got.status != tt.status {
			t.Errorf("%s: got %d %s, want %d", tt.name, got.status, got.body, tt.status)
		}
	}
	bearer := p.tokens(url.Values{"prompt": {"login"}})["access_token"].(string)
	if got := k.userinfo("DPoP", bearer, k.proof(http.MethodGet, "/userinfo", bearer, nil)); got.status != http.StatusUnauthorized {
		t.Errorf("a bearer token with a proof: got %d", got.status)
	}
	if r, _ := k.ask(exchange("unknown"), k.proof(http.MethodPost, "/token", "", nil), k.proof(http.MethodPost, "/token", "", nil)); r.status != http.StatusBadRequest {
		t.Errorf("two proofs: got %d", r.status)
	}
}

// TestDPoPNonceGetsOld moves the clock while a client keeps a nonce.
func TestDPoPNonceGetsOld(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	k := p.prover()
	k.tokens()
	nonce := k.nonce
	for _, step := range []struct {
		after time.Duration
		code  string
	}{{5 * time.Minute, "invalid_grant"}, {11 * time.Minute, "use_dpop_nonce"}} {
		p.offset.Store(int64(step.after / time.Second))
		k.nonce = nonce
		r, _ := k.ask(exchange("unknown"), k.proof(http.MethodPost, "/token", "", nil))
		wantError(t, r, http.StatusBadRequest, step.code)
	}
}

package devop_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"latchkey/authn/devop"
)

// signJWT returns claims as a JWT of a type.
func signJWT(t *testing.T, key *ecdsa.PrivateKey, typ string, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// TestSignedByTheClient sends client assertions and request objects, valid and not.
func TestSignedByTheClient(t *testing.T) {
	t.Parallel()
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	key, other := newKey(), newKey()
	p := start(t, func(cfg *devop.Config) {
		cfg.Clients = []devop.Client{{ID: "app", Key: key.Public(), RedirectURIs: []string{redirectURI}}}
	})
	type change = func(claims map[string]any)
	claim := func(name string, value any) change { return func(c map[string]any) { c[name] = value } }
	for name, tt := range map[string]struct {
		change   change
		typ      string // "" is the right one
		key      *ecdsa.PrivateKey
		accepted bool
	}{
		"valid":               {func(map[string]any) {}, "", key, true},
		"of another type":     {func(map[string]any) {}, "at+jwt", key, false},
		"signed by another":   {func(map[string]any) {}, "", other, false},
		"another issuer":      {claim("iss", "other"), "", key, false},
		"another audience":    {claim("aud", "https://id.example.com"), "", key, false},
		"several audiences":   {claim("aud", []string{p.issuer, "x"}), "", key, false},
		"expired":             {claim("exp", time.Now().Add(-time.Second).Unix()), "", key, false},
		"valid for two hours": {claim("exp", time.Now().Add(2*time.Hour).Unix()), "", key, false},
		"without exp":         {func(c map[string]any) { delete(c, "exp") }, "", key, false},
		"without jti":         {func(c map[string]any) { delete(c, "jti") }, "", key, false},
		"of no client in it":  {func(c map[string]any) { delete(c, "client_id"); delete(c, "sub") }, "", key, false},
		"from the future":     {claim("nbf", time.Now().Add(time.Hour).Unix()), "", key, false},
	} {
		t.Run(name, func(t *testing.T) {
			claims := func() map[string]any {
				c := map[string]any{"iss": "app", "aud": p.issuer, "jti": rand.Text(), "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix()}
				return c
			}
			typ := func(right string) string {
				if tt.typ != "" {
					return tt.typ
				}
				return right
			}
			object := claims()
			for parameter := range authorization(nil) {
				object[parameter] = authorization(nil).Get(parameter)
			}
			tt.change(object)
			query := url.Values{"client_id": {"app"}, "request": {signJWT(t, tt.key, typ("oauth-authz-req+jwt"), object)}}
			if r := p.get("/authorize?" + query.Encode()); (r.status == http.StatusOK) != tt.accepted {
				t.Errorf("the request object: got %d", r.status)
			}
			if r := p.get("/authorize?" + query.Encode()); r.status != http.StatusBadRequest {
				t.Errorf("the request object used twice: got %d", r.status)
			}
			assertion := claims()
			assertion["sub"] = "app"
			tt.change(assertion)
			form := url.Values{
				"client_id": {"app"}, "token": {"unknown"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
				"client_assertion": {signJWT(t, tt.key, typ("JWT"), assertion)},
			}
			if r := p.post("/revoke", form); (r.status == http.StatusOK) != tt.accepted {
				t.Errorf("the client assertion: got %d %s", r.status, r.body)
			}
			if r := p.post("/revoke", form); r.status != http.StatusUnauthorized {
				t.Errorf("the client assertion used twice: got %d", r.status)
			}
		})
	}
	for name, form := range map[string]url.Values{
		"an empty secret": {"client_id": {"app"}, "client_secret": {""}, "token": {"x"}},
		"no proof at all": {"client_id": {"app"}, "token": {"x"}},
	} {
		if r := p.post("/revoke", form); r.status != http.StatusUnauthorized {
			t.Errorf("%s: got %d", name, r.status)
		}
	}
	none := "eyJhbGciOiJub25lIiwidHlwIjoib2F1dGgtYXV0aHotcmVxK2p3dCJ9.e30."
	if r := p.get("/authorize?client_id=app&request=" + none); r.status != http.StatusBadRequest || !strings.Contains(r.body, "request object") {
		t.Errorf("alg none: got %d", r.status)
	}
}

package scriptedop_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"latchkey/internal/scriptedop"
)

// TestClientAssertion sends assertions as a client with a key does, and in every way that a
// provider must refuse.
func TestClientAssertion(t *testing.T) {
	t.Parallel()
	key := scriptedop.NewKey("client-key", "PS256")
	claim := func(name string, value any) func(*scriptedop.JWT, url.Values) {
		return func(a *scriptedop.JWT, _ url.Values) {
			if a.Claims[name] = value; value == nil {
				delete(a.Claims, name)
			}
		}
	}
	signed := func(key scriptedop.Key) func(*scriptedop.JWT, url.Values) {
		return func(a *scriptedop.JWT, _ url.Values) { a.Key = key }
	}
	parameter := func(name, value string) func(*scriptedop.JWT, url.Values) {
		return func(_ *scriptedop.JWT, form url.Values) { form.Set(name, value) }
	}
	now := time.Date(2026, time.November, 2, 12, 0, 0, 0, time.UTC)
	op := scriptedop.New(t, scriptedop.Config{
		Keys:      []scriptedop.Key{scriptedop.NewKey("k", "ES256")},
		ClientKey: key, Now: func() time.Time { return now },
	})
	answer := func(jti string, change func(*scriptedop.JWT, url.Values)) int {
		t.Helper()
		assertion := &scriptedop.JWT{Key: key, Claims: map[string]any{
			"iss": op.ClientID, "sub": op.ClientID, "aud": op.Issuer, "jti": jti,
			"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		}}
		form := tokenForm(op, code(t, op, nil))
		form.Del("client_secret")
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		change(assertion, form)
		if form.Has("client_assertion_type") {
			form.Set("client_assertion", assertion.Compact())
		}
		resp, _ := ask(t, http.MethodPost, op.URL(scriptedop.Token), form, nil)
		return resp.StatusCode
	}
	otherAlgorithm, otherID := key, key
	otherAlgorithm.Algorithm, otherID.ID = "RS256", "another"
	for name, tt := range map[string]struct {
		change func(assertion *scriptedop.JWT, form url.Values)
		want   int
	}{
		"valid":                    {func(*scriptedop.JWT, url.Values) {}, 200},
		"without a client_id":      {func(_ *scriptedop.JWT, form url.Values) { form.Del("client_id") }, 200},
		"another key":              {signed(scriptedop.NewKey(key.ID, key.Algorithm)), 401},
		"another algorithm":        {signed(otherAlgorithm), 401},
		"another kid":              {signed(otherID), 401},
		"no signature":             {signed(scriptedop.Key{ID: key.ID, Algorithm: key.Algorithm}), 401},
		"not a token":              {func(a *scriptedop.JWT, _ url.Values) { a.Raw = "x" }, 401},
		"not JSON":                 {func(a *scriptedop.JWT, _ url.Values) { a.Payload = []byte("x") }, 401},
		"another issuer":           {claim("iss", "x"), 401},
		"another subject":          {claim("sub", "x"), 401},
		"for the token endpoint":   {claim("aud", op.URL(scriptedop.Token)), 401},
		"several audiences":        {claim("aud", []string{op.Issuer}), 401},
		"no audience":              {claim("aud", nil), 401},
		"without a jti":            {claim("jti", nil), 401},
		"without iat":              {claim("iat", nil), 401},
		"from the future":          {claim("iat", now.Add(time.Minute).Unix()), 401},
		"without exp":              {claim("exp", nil), 401},
		"expired":                  {claim("exp", now.Unix()), 401},
		"valid for an hour":        {claim("exp", now.Add(time.Hour).Unix()), 401},
		"of another type":          {parameter("client_assertion_type", "x"), 401},
		"another client's request": {parameter("client_id", "x"), 401},
		"with the secret":          {parameter("client_secret", op.ClientSecret), 401},
		"the secret alone": {func(_ *scriptedop.JWT, form url.Values) {
			form.Set("client_secret", op.ClientSecret)
			form.Del("client_assertion_type")
		}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			if got := answer("jti of "+name, tt.change); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
	t.Run("a jti used twice", func(t *testing.T) {
		nothing := func(*scriptedop.JWT, url.Values) {}
		if first, second := answer("twice", nothing), answer("twice", nothing); first != 200 || second != 401 {
			t.Errorf("got %d and %d", first, second)
		}
	})
}

package scriptedop_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/internal/scriptedop"
)

// TestRequestObject sends request objects as a client does, and in every way that a provider must
// refuse.
func TestRequestObject(t *testing.T) {
	t.Parallel()
	key := scriptedop.NewKey("request-key", "PS256")
	now := time.Date(2026, time.November, 2, 12, 0, 0, 0, time.UTC)
	op := scriptedop.New(t, scriptedop.Config{
		Keys: []scriptedop.Key{scriptedop.NewKey("k", "ES256")}, RequestKey: key, Now: func() time.Time { return now },
	})
	type change = func(object *scriptedop.JWT, outside url.Values)
	claim := func(name string, value any) change {
		return func(o *scriptedop.JWT, _ url.Values) {
			if o.Claims[name] = value; value == nil {
				delete(o.Claims, name)
			}
		}
	}
	signed := func(key scriptedop.Key) change {
		return func(o *scriptedop.JWT, _ url.Values) { o.Key = key }
	}
	parameter := func(name, value string) change {
		return func(_ *scriptedop.JWT, outside url.Values) { outside.Set(name, value) }
	}
	none := scriptedop.Key{ID: key.ID, Algorithm: "none"}
	for name, tt := range map[string]struct {
		change change
		want   int
	}{
		"valid":                       {func(*scriptedop.JWT, url.Values) {}, 303},
		"with max_age as a number":    {claim("max_age", 60), 303},
		"with the same scope outside": {parameter("scope", "openid"), 303},
		"another key":                 {signed(scriptedop.NewKey(key.ID, key.Algorithm)), 400},
		"alg none":                    {signed(none), 400},
		"tampered with": {func(o *scriptedop.JWT, _ url.Values) {
			good := strings.Split(o.Compact(), ".")
			o.Claims["scope"] = "openid admin"
			o.Raw = good[0] + "." + strings.Split(o.Compact(), ".")[1] + "." + good[2]
		}, 400},
		"the type of a client assertion": {func(o *scriptedop.JWT, _ url.Values) { o.Header = map[string]any{"typ": "JWT"} }, 400},
		"for another provider":           {claim("aud", "https://id.example.com"), 400},
		"for several":                    {claim("aud", []string{op.Issuer}), 400},
		"another client's":               {claim("iss", "x"), 400},
		"without client_id":              {claim("client_id", nil), 400},
		"with a subject":                 {claim("sub", op.ClientID), 400},
		"expired":                        {claim("exp", now.Unix()), 400},
		"without exp":                    {claim("exp", nil), 400},
		"valid for two hours":            {claim("exp", now.Add(2*time.Hour).Unix()), 400},
		"from two hours ago":             {claim("nbf", now.Add(-2*time.Hour).Unix()), 400},
		"without nbf":                    {claim("nbf", nil), 400},
		"from the future":                {claim("nbf", now.Add(time.Minute).Unix()), 400},
		"without jti":                    {claim("jti", nil), 400},
		"max_age as a text":              {claim("max_age", "60"), 400},
		"another one in it":              {claim("request_uri", "urn:x"), 400},
		"another scope outside":          {parameter("scope", "openid admin"), 400},
		"a state outside":                {parameter("state", "x"), 400},
		"none":                           {func(o *scriptedop.JWT, outside url.Values) { o.Raw = " "; outside.Set("response_type", "code") }, 400},
	} {
		t.Run(name, func(t *testing.T) {
			object := &scriptedop.JWT{Key: key, Header: map[string]any{"typ": "oauth-authz-req+jwt"}, Claims: map[string]any{
				"iss": op.ClientID, "aud": op.Issuer, "jti": "jti of " + name, "client_id": op.ClientID,
				"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Minute).Unix(),
				"response_type": "code", "redirect_uri": redirectURI, "scope": "openid", "state": "the state",
			}}
			outside := url.Values{"client_id": {op.ClientID}}
			tt.change(object, outside)
			outside.Set("request", object.Compact())
			resp, _ := ask(t, http.MethodGet, op.URL(scriptedop.Authorize)+"?"+outside.Encode(), nil, nil)
			if resp.StatusCode != tt.want {
				t.Errorf("got %d, want %d", resp.StatusCode, tt.want)
			}
			if again, _ := ask(t, http.MethodGet, op.URL(scriptedop.Authorize)+"?"+outside.Encode(), nil, nil); again.StatusCode != http.StatusBadRequest {
				t.Errorf("used twice, it gets %d", again.StatusCode)
			}
		})
	}
}

package openid_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// signedResponses makes a party that accepts signed responses alone, which the provider signs with an
// algorithm.
func signedResponses(algorithm string) options {
	return options{op: scriptedop.Config{Keys: []scriptedop.Key{scriptedop.NewKey("key-1", algorithm)}}, config: func(c *openid.Config) {
		c.ResponseMode, c.IDTokenAlgorithms = "jwt", []string{algorithm}
	}}
}

// TestSignedResponse (CB-26) signs in by signed responses (JARM), and tampers with them in every way. What a
// response says counts only if all of it is the provider's, for this client and now.
func TestSignedResponse(t *testing.T) {
	t.Parallel()
	claim := func(name string, value func(p *party) any) func(*party, *scriptedop.JWT) {
		return func(p *party, r *scriptedop.JWT) {
			if r.Claims[name] = value(p); r.Claims[name] == nil {
				delete(r.Claims, name)
			}
		}
	}
	constant := func(v any) func(*party) any { return func(*party) any { return v } }
	at := func(d time.Duration) func(*party) any {
		return func(p *party) any { return p.clock.Now().Add(d).Unix() }
	}
	for name, tt := range map[string]struct {
		change func(*party, *scriptedop.JWT)
		// beside changes the query.
		beside func(url.Values)
		want   openid.Reason // "" signs in
	}{
		"unchanged":                             {},
		"with typ JWT":                          {change: func(_ *party, r *scriptedop.JWT) { r.Header = map[string]any{"typ": "JWT"} }},
		"with iat":                              {change: claim("iat", at(0))},
		"several audiences":                     {change: claim("aud", func(p *party) any { return []string{p.op.ClientID, "another"} })},
		"expired less than a minute ago":        {change: claim("exp", at(-openid.Leeway+time.Second))},
		"an unknown parameter beside it":        {beside: func(q url.Values) { q.Set("session_state", "x") }},
		"expired":                               {change: claim("exp", at(-openid.Leeway-time.Second)), want: openid.ReasonResponseInvalid},
		"without exp":                           {change: claim("exp", constant(nil)), want: openid.ReasonResponseInvalid},
		"from the future":                       {change: claim("iat", at(openid.Leeway+time.Second)), want: openid.ReasonResponseInvalid},
		"of another issuer":                     {change: claim("iss", constant("https://id.example.com")), want: openid.ReasonResponseInvalid},
		"without an issuer":                     {change: claim("iss", constant(nil)), want: openid.ReasonResponseInvalid},
		"for another client":                    {change: claim("aud", constant("another")), want: openid.ReasonResponseInvalid},
		"for no client":                         {change: claim("aud", constant(nil)), want: openid.ReasonResponseInvalid},
		"a code that is no text":                {change: claim("code", constant(1)), want: openid.ReasonResponseInvalid},
		"without a code":                        {change: claim("code", constant(nil)), want: openid.ReasonResponseMalformed},
		"with a nonce, as an ID token":          {change: claim("nonce", constant("x")), want: openid.ReasonResponseInvalid},
		"with a sub, as an access token":        {change: claim("sub", constant("alice")), want: openid.ReasonResponseInvalid},
		"with the type of another":              {change: func(_ *party, r *scriptedop.JWT) { r.Header = map[string]any{"typ": "at+jwt"} }, want: openid.ReasonResponseInvalid},
		"alg none":                              {change: func(_ *party, r *scriptedop.JWT) { r.Key = scriptedop.Key{ID: "key-1", Algorithm: "none"} }, want: openid.ReasonResponseInvalid},
		"signed by another key":                 {change: func(_ *party, r *scriptedop.JWT) { r.Key = scriptedop.NewKey("key-1", "ES256") }, want: openid.ReasonResponseInvalid},
		"with an algorithm that is not allowed": {change: func(_ *party, r *scriptedop.JWT) { r.Key = scriptedop.NewKey("key-1", "EdDSA") }, want: openid.ReasonResponseInvalid},
		"signed with the client's secret": {change: func(p *party, r *scriptedop.JWT) {
			r.Key = scriptedop.Key{ID: "key-1", Algorithm: "HS256", Private: []byte(p.op.ClientSecret)}
		}, want: openid.ReasonResponseInvalid},
		"another code in it": {change: func(_ *party, r *scriptedop.JWT) {
			good := strings.Split(r.Compact(), ".")
			r.Claims["code"] = "injected"
			r.Raw = good[0] + "." + strings.Split(r.Compact(), ".")[1] + "." + good[2]
		}, want: openid.ReasonResponseInvalid},
		"a code beside it":       {beside: func(q url.Values) { q.Set("code", "x") }, want: openid.ReasonResponseMalformed},
		"a state beside it":      {beside: func(q url.Values) { q.Set("state", "x") }, want: openid.ReasonResponseMalformed},
		"an issuer beside it":    {beside: func(q url.Values) { q.Set("iss", "x") }, want: openid.ReasonResponseMalformed},
		"an error beside it":     {beside: func(q url.Values) { q.Set("error", "access_denied") }, want: openid.ReasonResponseMalformed},
		"two of them":            {beside: func(q url.Values) { q.Add("response", q.Get("response")) }, want: openid.ReasonResponseMalformed},
		"none of them":           {beside: func(q url.Values) { q.Del("response") }, want: openid.ReasonResponseMalformed},
		"a plain response alone": {beside: func(q url.Values) { q.Del("response"); q.Set("state", "x"); q.Set("code", "x") }, want: openid.ReasonResponseMalformed},
	} {
		t.Run("CB-26 "+name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, signedResponses("ES256"))
			if tt.change != nil {
				p.op.EditResponse(func(r *scriptedop.JWT) { tt.change(p, r) })
			}
			a := p.begin(openid.AuthorizationRequest{})
			if got := scriptedop.Query(t, a.request).Get("response_mode"); got != "jwt" {
				t.Errorf("the response mode is %q", got)
			}
			p.authorize(a)
			if tt.beside != nil {
				tt.beside(a.response)
			}
			if got := p.finish(t.Context(), a); tt.want == "" {
				p.wantSignedIn(got, "alice")
			} else {
				p.wantRefused(got, tt.want, 0, 0)
			}
		})
	}
}

// TestSignedResponseAlgorithms (CB-26) signs responses with each algorithm, and configures others.
func TestSignedResponseAlgorithms(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"PS256", "ES256", "EdDSA"} {
		t.Run("CB-26 "+algorithm, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, signedResponses(algorithm))
			p.wantSignedIn(p.signIn(), "alice")
		})
	}
	for name, tt := range map[string]struct {
		algorithms []string
		accepted   bool
	}{
		"CB-26 its own list allows it":     {[]string{"EdDSA", "ES256"}, true},
		"CB-26 its own list does not":      {[]string{"EdDSA"}, false},
		"CB-26 the list of ID tokens does": {nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{config: func(c *openid.Config) { c.ResponseMode, c.ResponseAlgorithms = "jwt", tt.algorithms }})
			if got := p.signIn(); tt.accepted {
				p.wantSignedIn(got, "alice")
			} else {
				p.wantRefused(got, openid.ReasonResponseInvalid, 0, 0)
			}
		})
	}
	t.Run("CB-26 an error counts only if it is signed", func(t *testing.T) {
		t.Parallel()
		p := newParty(t, signedResponses("ES256"))
		p.op.Edit(scriptedop.Authorize, func(response map[string]any) {
			delete(response, "code")
			response["error"] = "access_denied"
		})
		if got := p.signIn(); got.code() != "access_denied" {
			t.Errorf("the error is %v", got.err)
		}
	})
}

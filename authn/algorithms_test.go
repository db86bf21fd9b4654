package authn_test

import (
	"strings"
	"testing"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

// listing has metadata list algorithms; nil leaves the list out.
func (a *app) listing(algorithms any) {
	a.op.Edit(scriptedop.Discovery, func(m map[string]any) {
		if m["id_token_signing_alg_values_supported"] = algorithms; algorithms == nil {
			delete(m, "id_token_signing_alg_values_supported")
		}
	})
}

// TestAlgorithmsOfMetadata (ID-02): the configured list, less what the provider does not
// list; never more.
func TestAlgorithmsOfMetadata(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		configured []string
		listed     any
		signed     string
		accepted   bool
	}{
		"ID-02 both":                        {[]string{"RS256", "ES256"}, []string{"RS256", "ES256"}, "ES256", true},
		"ID-02 listed beside others":        {[]string{"ES256"}, []string{"none", "HS256", "ES256K", "ES256"}, "ES256", true},
		"ID-02 metadata has no list":        {[]string{"RS256", "ES256"}, nil, "ES256", true},
		"ID-02 metadata has an empty list":  {[]string{"RS256", "ES256"}, []string{}, "ES256", true},
		"ID-02 configured and not listed":   {[]string{"RS256", "ES256"}, []string{"RS256"}, "ES256", false},
		"ID-02 listed and not configured":   {[]string{"RS256"}, []string{"RS256", "ES256"}, "ES256", false},
		"ID-02 listed in another case":      {[]string{"RS256", "ES256"}, []string{"RS256", "es256"}, "ES256", false},
		"ID-02 no list, and not configured": {[]string{"RS256"}, nil, "ES256", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, algorithms(tt.configured...))
			a.listing(tt.listed)
			b := a.person(t)
			got := b.signIn()
			if tt.accepted {
				b.wantSignedIn(got, "alice")
				return
			}
			b.wantRefused(got, authn.ReasonIDTokenInvalid, 1, 0)
			if !strings.Contains(got.text, "not signed with an allowed algorithm") {
				t.Errorf("the error is %s", got.text)
			}
			if n := a.op.Calls(scriptedop.JWKS); n > 0 {
				t.Errorf("a key was looked up for it: %d times", n)
			}
		})
	}
}

// TestNoAlgorithmInCommon (ID-02, CF-08) refuses a provider of whose tokens none could be
// accepted before anybody is sent there.
func TestNoAlgorithmInCommon(t *testing.T) {
	t.Parallel()
	a := newApp(t, algorithms("RS256", "PS256"))
	a.listing([]string{"ES256", "none"})
	got := a.person(t).wantNoLogin(authn.ReasonProviderMisconfigured)
	for _, want := range []string{`"ES256,none"`, `"RS256,PS256"`, "ID_TOKEN_ALG"} {
		if !strings.Contains(got.text, want) {
			t.Errorf("the error does not name %s: %s", want, got.text)
		}
	}
	if !strings.Contains(a.log.String(), "level=ERROR") {
		t.Errorf("CF-08: it is not loud:\n%s", a.log.String())
	}
}

// TestAlgorithmOfALogoutToken (LB-03): the same holds for logout tokens.
func TestAlgorithmOfALogoutToken(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		listed []string
		status int
	}{
		"LB-03 listed":     {[]string{"RS256", "ES256"}, 200},
		"LB-03 not listed": {[]string{"RS256"}, 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.listing(tt.listed)
			b := a.person(t)
			b.begin("") // discovers
			token := a.op.LogoutToken()
			token.Claims["sub"] = "alice"
			if got := b.signOutByProvider(token); got.status != tt.status {
				t.Errorf("answered %d %s", got.status, got.text)
			}
		})
	}
}

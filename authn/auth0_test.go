package authn_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// newTenant starts an app whose provider behaves as an Auth0 tenant. It is one by its
// configuration, as with AUTH0_DOMAIN, because a test cannot use a tenant's own domain.
func newTenant(t *testing.T, config func(*settings)) *app {
	t.Helper()
	return newApp(t, appOptions{op: scriptedop.Config{Path: "/"}, config: func(c *settings) {
		c.Auth0 = true
		if config != nil {
			config(c)
		}
	}})
}

// TestAuth0Issuer (CF-04, ID-08) checks that the slash is part of the issuer.
func TestAuth0Issuer(t *testing.T) {
	t.Parallel()
	t.Run("CF-04 metadata without the slash", func(t *testing.T) {
		t.Parallel()
		a := newTenant(t, nil)
		a.op.Edit(scriptedop.Discovery, func(m map[string]any) { m["issuer"] = strings.TrimSuffix(a.op.Issuer, "/") })
		got := a.person(t).wantNoLogin(openid.ReasonProviderMisconfigured)
		if !strings.Contains(got.text, "an Auth0 issuer is https://DOMAIN/") {
			t.Errorf("the error gives no hint: %s", got.text)
		}
	})
	t.Run("ID-08 a token without the slash", func(t *testing.T) {
		t.Parallel()
		a := newTenant(t, nil)
		a.op.EditIDToken(claimOf("iss", strings.TrimSuffix(a.op.Issuer, "/")))
		b := a.person(t)
		b.wantRefused(b.signIn(), openid.ReasonIDTokenInvalid, 1, 0)
	})
	t.Run("ID-08 a token with it", func(t *testing.T) {
		t.Parallel()
		b := newTenant(t, nil).person(t)
		b.wantSignedIn(b.signIn(), "alice")
	})
}

// TestAuth0SignOut (LR-03) signs out of tenants with and without RP-initiated logout.
func TestAuth0SignOut(t *testing.T) {
	t.Parallel()
	old := without("end_session_endpoint")
	standard := []string{"client_id", "id_token_hint", "post_logout_redirect_uri", "state"}
	for name, tt := range map[string]struct {
		metadata  func(map[string]any)
		federated bool
		path      string
		query     []string
		returnTo  string
	}{
		"LR-03 an old tenant":              {metadata: old, path: "/v2/logout", query: []string{"client_id", "returnTo"}, returnTo: "returnTo"},
		"LR-03 an old tenant, federated":   {metadata: old, federated: true, path: "/v2/logout", query: []string{"client_id", "returnTo", "federated"}, returnTo: "returnTo"},
		"LR-03 metadata counts":            {path: "/end_session", query: standard, returnTo: "post_logout_redirect_uri"},
		"LR-03 metadata counts, federated": {federated: true, path: "/end_session", query: append([]string{"federated"}, standard...), returnTo: "post_logout_redirect_uri"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newTenant(t, func(c *settings) { c.FederatedLogout = tt.federated })
			a.op.Edit(scriptedop.Discovery, tt.metadata)
			wantSignOut(t, a, a.signOut(t), tt.path, tt.query, tt.returnTo)
		})
	}
	t.Run("LR-03 federated is for Auth0", func(t *testing.T) {
		t.Parallel()
		cfg := newApp(t, appOptions{}).configuration(t, "http", nil)
		cfg.FederatedLogout = true
		if _, err := openid.New(cfg.Config); err == nil {
			t.Error("it is accepted with any provider")
		}
		cfg.Auth0 = true
		if _, err := openid.New(cfg.Config); err != nil {
			t.Errorf("it is refused with Auth0: %v", err)
		}
	})
	t.Run("LR-01 the tenant is away", func(t *testing.T) {
		t.Parallel()
		a := newTenant(t, nil)
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		a.op.Server.Close()
		if got := b.post(a.URL+"/logout", nil); got.status != http.StatusSeeOther || b.who().Subject != "" {
			t.Errorf("answered %d %s", got.status, got.text)
		}
	})
}

// TestOrganizationHints (AR-07) follows a link that names an organization and an invitation
// to it.
func TestOrganizationHints(t *testing.T) {
	t.Parallel()
	b := newTenant(t, nil).person(t)
	asked := scriptedop.Query(t, b.begin("organization=org_AbC&invitation=ticket&organization_name=Acme"))
	if asked.Get("organization") != "org_AbC" || asked.Get("invitation") != "ticket" || asked.Has("organization_name") {
		t.Errorf("the request is %v", asked)
	}
}

// TestOrganizationOfASignIn checks the organization in the ID token against the one that
// the link requested.
func TestOrganizationOfASignIn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		link, claim string
		value       any
		accepted    bool
	}{
		"the id":                    {"organization=org_AbC", "org_id", "org_AbC", true},
		"the name":                  {"organization=Acme", "org_name", "acme", true},
		"an invitation":             {"organization=org_AbC&invitation=i&organization_name=Acme", "org_id", "org_AbC", true},
		"nobody asked":              {"", "org_id", "org_AbC", true},
		"asked for in vain":         {"organization=org_AbC", "other", "org_AbC", false},
		"another":                   {"organization=org_AbC", "org_id", "org_XyZ", false},
		"another name":              {"organization=acme", "org_name", "other", false},
		"an organization of a list": {"organization=org_AbC", "org_id", []string{"org_AbC"}, false},
		"a namesake of the claim":   {"", "Org_ID", "org_AbC", true},
		"a namesake, asked for":     {"organization=org_AbC", "Org_ID", "org_AbC", false},
		"more than a hint may hold": {"organization=org_" + strings.Repeat("x", 600), "org_id", "org_AbC", true},
	} {
		t.Run("organization: "+name, func(t *testing.T) {
			t.Parallel()
			a := newTenant(t, nil)
			a.op.EditIDToken(claimOf(tt.claim, tt.value))
			// Userinfo does not count.
			a.op.Edit(scriptedop.UserInfo, func(c map[string]any) { c["org_id"], c["org_name"] = "org_AbC", "acme" })
			b := a.person(t)
			got := b.get(b.authorize(b.begin(tt.link)))
			if tt.accepted {
				b.wantSignedIn(got, "alice")
				return
			}
			b.wantRefused(got, openid.ReasonIDTokenInvalid, 1, 0)
		})
	}
}

// TestNamespacedClaims (ID-21) checks the claims of Auth0's Actions, whose names are URLs.
func TestNamespacedClaims(t *testing.T) {
	t.Parallel()
	const name = "https://example.com/roles"
	a := newTenant(t, nil)
	a.op.EditIDToken(claimOf(name, []string{"admin"}))
	a.op.Edit(scriptedop.UserInfo, func(c map[string]any) { c["https://example.com/plan"] = "gold" })
	b := a.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	claims := b.who().Claims
	if string(claims[name]) != `["admin"]` || string(claims["https://example.com/plan"]) != `"gold"` {
		t.Errorf("the claims are %s", claims)
	}
}

// TestAuth0AccessToken (UI-03) checks both forms of access tokens: opaque without an
// audience, for /userinfo only, and a JWT with one. The app does not look into either.
func TestAuth0AccessToken(t *testing.T) {
	t.Parallel()
	for name, audience := range map[string]string{"UI-03 opaque": "", "UI-03 a JWT": "https://api.example.com"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newTenant(t, func(c *settings) { c.Audience = audience })
			a.op.Answer(scriptedop.UserInfo, func(w http.ResponseWriter, r *http.Request) {
				scriptedop.JSON(http.StatusOK, map[string]any{"sub": "alice", "name": "Alice of userinfo"})(w, r)
			})
			access := "AbC_dEf-opaque"
			if audience != "" {
				access = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..aaaa.bbbb.cccc"
			}
			a.op.Edit(scriptedop.Token, func(m map[string]any) { m["access_token"] = access })
			a.op.EditIDToken(func(token *scriptedop.JWT) { delete(token.Claims, "at_hash") })
			b := a.person(t)
			request := b.begin("")
			if got := scriptedop.Query(t, request); got.Get("audience") != audience || got.Has("audience") != (audience != "") {
				t.Errorf("the request is %v", got)
			}
			b.wantSignedIn(b.get(b.authorize(request)), "alice")
			if got := a.op.Last(scriptedop.UserInfo).Header.Get("Authorization"); got != "Bearer "+access {
				t.Errorf("userinfo was called with %q", got)
			}
			if b.who().Profile.Name != "Alice of userinfo" {
				t.Errorf("signed in is %+v", b.who())
			}
		})
	}
}

// TestAuth0RateLimit (UI-05, UI-07) uses Auth0's limit of five userinfo calls per minute
// and person.
func TestAuth0RateLimit(t *testing.T) {
	t.Parallel()
	t.Run("UI-07 it is kept", func(t *testing.T) {
		t.Parallel()
		a := newTenant(t, nil)
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		for range 20 {
			b.post(a.URL+"/refresh", nil)
		}
		if n := a.op.Calls(scriptedop.UserInfo); n < 2 || n > 5 {
			t.Errorf("userinfo was called %d times in a minute, want 2 to 5", n)
		}
	})
	t.Run("UI-05 it is reached", func(t *testing.T) {
		t.Parallel()
		a := newTenant(t, nil)
		a.op.Answer(scriptedop.UserInfo, scriptedop.Status(http.StatusTooManyRequests))
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		if got := b.post(a.URL+"/refresh", nil); got.reason != openid.ReasonUserInfoFailed || b.who().Subject != "alice" {
			t.Errorf("the refresh is answered with %q, and %q is signed in", got.reason, b.who().Subject)
		}
		if n := a.op.Calls(scriptedop.UserInfo); n != 2 {
			t.Errorf("userinfo was called %d times, want once each", n)
		}
	})
}

// TestAuth0SessionExpiry (ID-24) checks that an Action can set when the session ends.
func TestAuth0SessionExpiry(t *testing.T) {
	t.Parallel()
	a := newTenant(t, nil)
	end := a.clock.Now().Add(10 * time.Minute)
	a.op.EditIDToken(claimOf("session_expiry", end.Unix()))
	b := a.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	if got := b.who().Expires; !got.Equal(end) {
		t.Errorf("the session ends at %s, want %s", got, end)
	}
	a.clock.Move(10 * time.Minute)
	if got := b.who().Subject; got != "" {
		t.Errorf("%q is signed in", got)
	}
}

package routes

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

const (
	audience = "https://api.example"
	roles    = "https://app.example/roles"
)

// newApp returns an app beside a scripted provider, for routes that the product does not
// have.
func newApp(t *testing.T) (*App, *scriptedop.Provider) {
	t.Helper()
	op := scriptedop.New(t, scriptedop.Config{Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}})
	keys, err := authn.NewKeys("an application secret of 32 bytes or more")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	provider, err := openid.New(openid.Config{
		Issuer: op.Issuer, ClientID: op.ClientID, ClientSecret: openid.Secret(op.ClientSecret), ClientAuth: openid.ClientSecretBasic,
		RedirectURL: "http://example.com/callback", PostLogoutRedirectURL: "http://example.com",
		Scopes: []string{"openid"}, Audience: audience, IDTokenAlgorithms: []string{"ES256"}, ResponseMode: "query",
		PushedAuthorizationRequests: "auto", Now: time.Now, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := authn.Config{
		Providers: []*openid.Provider{provider}, Keys: keys, Store: authn.NewMemoryStore(), Idle: time.Hour, Absolute: time.Hour,
		SessionsPerPerson: 1, Now: time.Now, Log: log,
	}
	rp, err := authn.NewRelyingParties(cfg)
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := authn.NewSessions(cfg)
	if err != nil {
		t.Fatal(err)
	}
	resourceServer, err := authn.NewResourceServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	assets, err := NewAssets()
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{
		RelyingParties: rp, Sessions: sessions, TokenSource: authn.NewTokenSource(rp, sessions), ResourceServer: resourceServer, Assets: assets,
		BaseURL: &url.URL{Scheme: "http", Host: "example.com"}, Now: time.Now, Log: log,
	}), op
}

// TestAPIRoutes adds routes as docs/guide.md explains, and calls them with a token and with a
// session.
func TestAPIRoutes(t *testing.T) {
	t.Parallel()
	a, op := newApp(t)
	report := func(c echo.Context) error {
		return c.String(http.StatusOK, "report for "+authn.CallerFrom(c.Request().Context()).Subject())
	}
	a.echo.GET("/any", report, a.api)
	a.echo.POST("/any", report, a.api)
	a.echo.GET("/scope", report, a.api, a.RequireScope("reports:read"))
	a.echo.GET("/scopes", report, a.api, a.RequireScope("reports:read", "reports:all"))
	a.echo.GET("/claim", report, a.api, a.requireClaim(authn.Includes(roles, "auditor")))
	auditor := a.requireClaim(authn.Includes(roles, "auditor"))
	a.echo.GET("/session-first", report, a.session, a.api, auditor)
	a.echo.GET("/api-first", report, a.api, a.session, auditor)
	a.echo.GET("/person", func(c echo.Context) error {
		if current(c) != nil {
			return c.NoContent(http.StatusNoContent)
		}
		return report(c)
	}, a.session, a.api)
	// Mistakes in a route table, which must not open the route.
	a.echo.GET("/no-api", report, a.RequireScope("reports:read"))
	a.echo.GET("/no-caller", report, a.requireClaim(authn.Includes(roles, "auditor")))

	w := httptest.NewRecorder()
	if _, err := a.Sessions.Start(w, httptest.NewRequest(http.MethodGet, "/", nil), &authn.SignIn{SignIn: openid.SignIn{
		Identity: openid.Identity{Issuer: op.Issuer, Subject: "alice", IDToken: openid.Claims(`{"` + roles + `":["auditor"]}`)}, IDToken: openid.IDToken{IssuedAt: time.Now()},
	}}); err != nil {
		t.Fatal(err)
	}
	cookie := w.Result().Cookies()[0]

	const realm = `Bearer realm="http://example.com"`
	for name, tt := range map[string]struct {
		method, path string
		body         string
		scope        string // of the token; "" sends the session's cookie
		both         bool   // sends the cookie and the token
		roles        any
		status       int
		challenge    string
	}{
		"a session":                       {path: "/any", status: 200},
		"a token":                         {path: "/any", scope: "x", status: 200},
		"a session needs no scope":        {path: "/scope", status: 200},
		"the scope":                       {path: "/scope", scope: "openid reports:read", status: 200},
		"another scope":                   {path: "/scope", scope: "openid reports:write", status: 403, challenge: realm + `, error="insufficient_scope", scope="reports:read"`},
		"a part of the scope":             {path: "/scope", scope: "reports:rea", status: 403, challenge: realm + `, error="insufficient_scope", scope="reports:read"`},
		"one scope of two":                {path: "/scopes", scope: "reports:read", status: 403, challenge: realm + `, error="insufficient_scope", scope="reports:read reports:all"`},
		"both scopes":                     {path: "/scopes", scope: "reports:all reports:read", status: 200},
		"a session with the claim":        {path: "/claim", status: 200},
		"a token with the claim":          {path: "/claim", scope: "x", roles: []string{"auditor"}, status: 200},
		"a token without it":              {path: "/claim", scope: "x", status: 403},
		"a token with another type of it": {path: "/claim", scope: "x", roles: "auditor", status: 403},
		"a session, its claim, and a token without it": {path: "/session-first", scope: "x", both: true, status: 403},
		"the same, in another order":                   {path: "/api-first", scope: "x", both: true, status: 403},
		"a session, and a token with the claim":        {path: "/session-first", scope: "x", both: true, roles: []string{"auditor"}, status: 200},
		"a session alone, in another order":            {path: "/api-first", status: 200},
		"a session beside a token is nobody's":         {path: "/person", scope: "x", both: true, status: 200},
		"a session beside no token is the caller's":    {path: "/person", status: 204},
		"a form":                           {method: "POST", path: "/any", body: "a=b", scope: "x", status: 200},
		"a form with the token in it":      {method: "POST", path: "/any", body: "access_token=TOKEN", status: 400, challenge: realm + `, error="invalid_request"`},
		"a form with the token in it, too": {method: "POST", path: "/any", body: "access_token=TOKEN", scope: "x", status: 400, challenge: realm + `, error="invalid_request"`},
		"a scope without an API":           {path: "/no-api", scope: "reports:read", status: 303},
		"a claim without an API":           {path: "/no-caller", status: 303},
	} {
		t.Run(name, func(t *testing.T) {
			token := op.AccessToken(audience)
			token.Claims["scope"], token.Claims[roles] = tt.scope, tt.roles
			body := strings.ReplaceAll(tt.body, "TOKEN", token.Compact())
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, tt.path, strings.NewReader(body))
			if tt.method != "" {
				r.Method = tt.method
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			if tt.scope != "" {
				r.Header.Set("Authorization", "Bearer "+token.Compact())
			}
			if tt.scope == "" || tt.both {
				r.AddCookie(cookie)
			}
			w := httptest.NewRecorder()
			a.ServeHTTP(w, r)
			got, err := io.ReadAll(w.Result().Body)
			if err != nil {
				t.Fatal(err)
			}
			if w.Code != tt.status || w.Header().Get("WWW-Authenticate") != tt.challenge {
				t.Errorf("answered %d %q, want %d %q\n%s", w.Code, w.Header().Get("WWW-Authenticate"), tt.status, tt.challenge, got)
			}
			if said := string(got) == "report for alice"; said != (tt.status == 200) {
				t.Errorf("it says %s", got)
			}
		})
	}
}

// TestScopeOfABoundToken refuses a token that lacks a scope in the token's own scheme.
func TestScopeOfABoundToken(t *testing.T) {
	t.Parallel()
	a, op := newApp(t)
	a.echo.GET("/scope", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) }, a.api, a.RequireScope("reports:read"))
	key := scriptedop.NewKey("", "EdDSA")
	for scope, want := range map[string]struct {
		status    int
		challenge string
	}{
		"openid":       {403, `DPoP realm="http://example.com", error="insufficient_scope", scope="reports:read", algs="ES256 EdDSA PS256"`},
		"reports:read": {204, ""},
	} {
		token := op.AccessToken(audience)
		token.Claims["scope"], token.Claims["cnf"] = scope, map[string]any{"jkt": key.Thumbprint()}
		raw := token.Compact()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/scope", nil)
		r.Header.Set("Authorization", "DPoP "+raw)
		r.Header.Set("DPoP", key.Proof(time.Now(), http.MethodGet, "http://example.com/scope", raw).Compact())
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code != want.status || w.Header().Get("WWW-Authenticate") != want.challenge {
			t.Errorf("with %s: answered %d %q", scope, w.Code, w.Header().Get("WWW-Authenticate"))
		}
	}
}

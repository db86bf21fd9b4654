package openid_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

func TestKnownProviders(t *testing.T) {
	t.Parallel()
	for issuer, want := range map[string]string{
		"https://tenant.auth0.com/":                                   "Auth0",
		"https://tenant.eu.AUTH0.com/":                                "Auth0",
		"https://accounts.google.com":                                 "Google",
		"https://login.microsoftonline.com/8eaef023/v2.0":             "Microsoft Entra ID",
		"https://login.microsoftonline.us/8eaef023/v2.0":              "Microsoft Entra ID",
		"https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC":   "Amazon Cognito",
		"https://cognito-idp.cn-north-1.amazonaws.com.cn/cn-north-1_": "Amazon Cognito",
		"https://acme.okta.com":                                       "Okta",
		"https://acme.oktapreview.com/oauth2/default":                 "Okta",
		"https://id.example.com/realms/acme":                          "Keycloak",
		"https://id.example.com/auth/realms/acme":                     "Keycloak",

		"https://id.example.com":                     "",
		"https://auth0.com/":                         "",
		"https://evil-auth0.com/":                    "",
		"https://tenant.auth0.com.evil.example/":     "",
		"https://evil.example/tenant.auth0.com/":     "",
		"https://evil.example/?tenant.auth0.com":     "",
		"https://accounts.google.com.evil.example":   "",
		"https://accounts.google.com@evil.example":   "",
		"https://cognito-idp.evil.example/":          "",
		"https://okta.com.evil.example":              "",
		"https://id.example.com/realms/":             "",
		"https://id.example.com/realms/acme/account": "",
	} {
		t.Run(issuer, func(t *testing.T) {
			t.Parallel()
			if got := openid.PresetName(issuer); got != want {
				t.Errorf("recognized as %q, want %q", got, want)
			}
			if got := openid.IsAuth0(issuer); got != (want == "Auth0") {
				t.Errorf("is Auth0: %t", got)
			}
		})
	}
}

// TestMisspeltIssuers (CF-04) checks the advice for issuers that can only fail.
func TestMisspeltIssuers(t *testing.T) {
	t.Parallel()
	const entra = "https://login.microsoftonline.com/"
	for issuer, want := range map[string]string{
		"https://tenant.auth0.com":               "https://tenant.auth0.com/",
		"https://tenant.auth0.com/v2":            "https://tenant.auth0.com/",
		"https://accounts.google.com/":           "https://accounts.google.com,",
		"https://accounts.google.com/o/oauth2":   "https://accounts.google.com,",
		entra + "common/v2.0":                    entra + "TENANT-ID/v2.0",
		entra + "Organizations/v2.0":             entra + "TENANT-ID/v2.0",
		entra + "consumers/v2.0":                 entra + "9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
		entra + "8eaef023":                       entra + "TENANT-ID/v2.0",
		entra + "8eaef023/v2.0/":                 entra + "TENANT-ID/v2.0",
		"https://sts.windows.net/8eaef023/":      entra + "TENANT-ID/v2.0",
		"https://acme.auth.eu.amazoncognito.com": "https://cognito-idp.",
		"https://acme.okta.com/":                 "https://acme.okta.com,",
		"https://acme.okta.com/oauth2/default/":  "https://acme.okta.com/oauth2/default,",

		"https://tenant.auth0.com/":                                 "",
		"https://accounts.google.com":                               "",
		entra + "8eaef023/v2.0":                                     "",
		"https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC": "",
		"https://acme.okta.com":                                     "",
		"https://acme.okta.com/oauth2/default":                      "",
		"https://id.example.com/realms/acme":                        "",
		"https://id.example.com/":                                   "",
		"https://id.example.com":                                    "",
	} {
		t.Run("CF-04 "+issuer, func(t *testing.T) {
			t.Parallel()
			got := openid.Misspelt(issuer)
			if (got == "") != (want == "") || !strings.Contains(got, want) {
				t.Errorf("the advice is %q, want %q", got, want)
			}
			cfg := newParty(t, options{}).config
			cfg.Issuer = issuer
			if _, err := openid.New(cfg); (err == nil) != (want == "") {
				t.Errorf("New fails with %v", err)
			}
		})
	}
}

func TestHintForTheIssuer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ provider, configured, want string }{
		"CF-04 a custom domain of Auth0's": {"https://tenant.auth0.com/", "https://other.auth0.com/", "two issuers"},
		"CF-04 a directory by its name":    {"https://login.microsoftonline.com/8eaef023/v2.0", "https://login.microsoftonline.com/contoso.com/v2.0", "not its domain name"},
		"CF-04 Okta's other server":        {"https://acme.okta.com", "https://acme.okta.com/oauth2/default", "authorization server"},
		"CF-04 Keycloak's hostname":        {"http://keycloak:8080/realms/acme", "https://id.example.com/realms/acme", "hostname"},
		"CF-04 a slash":                    {"https://id.example.com/realms/acme", "https://id.example.com/realms/acme/", "the slash at the end counts"},
		"CF-04 nothing is known":           {"https://a.example", "https://b.example", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := openid.Mismatch(tt.provider, tt.configured); !strings.Contains(got, tt.want) || (tt.want == "" && got != "") {
				t.Errorf("the hint is %q, want %q", got, tt.want)
			}
		})
	}
}

// signOutOf signs Alice in with the scripted provider, which acts as the provider of
// another issuer. It returns where signing out sends her; the zero URL means that she stays
// in the app.
func (p *party) signOutOf(t *testing.T, issuer string) *url.URL {
	t.Helper()
	if issuer != "" {
		p.ActAs(issuer)
	}
	in := p.signIn()
	p.wantSignedIn(in, "alice")
	address, state := p.EndSessionURL(openid.EndSessionRequest{
		IDTokenHint: in.Tokens.IDToken, ReturnTo: p.PostLogoutRedirectURL(), Federated: true,
	})
	location, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	if got := location.Query().Get("state"); got != state {
		t.Errorf("the state is %q, want %q", got, state)
	}
	return location
}

// without removes a field of metadata.
func without(field string) func(map[string]any) {
	return func(m map[string]any) { delete(m, field) }
}

// TestLogoutHint (LR-03) names the account to a provider that has given it a hint, and to no other.
func TestLogoutHint(t *testing.T) {
	t.Parallel()
	p := newParty(t, options{})
	p.signIn()
	for hint, want := range map[string][]string{"": nil, "opaque": {"opaque"}} {
		address, _ := p.EndSessionURL(openid.EndSessionRequest{LoginHint: hint})
		if got := scriptedop.Query(t, address)["logout_hint"]; !slices.Equal(got, want) {
			t.Errorf("%q: the hint is %q", hint, got)
		}
	}
}

// TestLongHint (LR-03) leaves out an ID token with which the address would be longer than the provider accepts.
func TestLongHint(t *testing.T) {
	t.Parallel()
	for issuer, limit := range map[string]int{"": 8 << 10, "https://id.example/realms/acme": 4000} {
		p := newParty(t, options{})
		p.signIn()
		p.ActAs(issuer)
		address := func(bytes int) string {
			address, _ := p.EndSessionURL(openid.EndSessionRequest{IDTokenHint: openid.Secret(strings.Repeat("x", bytes))})
			return address
		}
		rest := len(address(1)) - 1
		if got := address(limit - rest); len(got) != limit {
			t.Errorf("%q: an address of %d bytes becomes one of %d", issuer, limit, len(got))
		}
		if got := address(limit - rest + 1); strings.Contains(got, "id_token_hint") {
			t.Errorf("%q: an address of %d bytes has the hint", issuer, len(got))
		}
	}
}

// TestUserAgent names the app in all calls. Firewalls refuse the default name of net/http.
func TestUserAgent(t *testing.T) {
	t.Parallel()
	p := newParty(t, options{})
	for _, endpoint := range []scriptedop.Endpoint{scriptedop.Discovery, scriptedop.Token, scriptedop.JWKS} {
		correct := p.op.Correct(endpoint)
		p.op.Answer(endpoint, func(w http.ResponseWriter, r *http.Request) {
			if got := r.UserAgent(); got != "Latchkey" {
				t.Errorf("%s is asked by %q", endpoint, got)
			}
			correct(w, r)
		})
	}
	p.wantSignedIn(p.signIn(), "alice")
}

func TestSignOutOfKnownProviders(t *testing.T) {
	t.Parallel()
	const cognito = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC"
	standard := []string{"client_id", "id_token_hint", "post_logout_redirect_uri", "state"}
	for name, tt := range map[string]struct {
		issuer   string
		metadata func(map[string]any)
		path     string // "" if the person stays in the app
		query    []string
		returnTo string
	}{
		"LR-03 any other":            {path: "/end_session", query: standard, returnTo: "post_logout_redirect_uri"},
		"LR-03 Okta":                 {issuer: "https://acme.okta.com", path: "/end_session", query: standard, returnTo: "post_logout_redirect_uri"},
		"LR-01 nobody's":             {metadata: without("end_session_endpoint")},
		"LR-01 Google":               {issuer: "https://accounts.google.com", metadata: without("end_session_endpoint")},
		"LR-03 Google, one day":      {issuer: "https://accounts.google.com", path: "/end_session", query: standard, returnTo: "post_logout_redirect_uri"},
		"LR-03 Cognito":              {issuer: cognito, path: "/end_session", query: []string{"client_id", "logout_uri"}, returnTo: "logout_uri"},
		"LR-03 Cognito of old":       {issuer: cognito, metadata: without("end_session_endpoint"), path: "/logout", query: []string{"client_id", "logout_uri"}, returnTo: "logout_uri"},
		"LR-03 Auth0":                {issuer: "https://tenant.auth0.com/", path: "/end_session", query: standard, returnTo: "post_logout_redirect_uri"},
		"LR-03 Auth0 of old, issuer": {issuer: "https://tenant.auth0.com/", metadata: without("end_session_endpoint"), path: "/v2/logout", query: []string{"client_id", "returnTo"}, returnTo: "returnTo"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{op: scriptedop.Config{Path: "/tenant/"}})
			p.op.Edit(scriptedop.Discovery, tt.metadata)
			wantSignOut(t, p, p.signOutOf(t, tt.issuer), tt.path, tt.query, tt.returnTo)
		})
	}
}

// wantSignOut checks that a sign-out leads to a path at the provider, with exactly these
// parameters.
func wantSignOut(t *testing.T, p *party, location *url.URL, path string, parameters []string, returnTo string) {
	t.Helper()
	if path == "" {
		if location.String() != "" {
			t.Errorf("signing out leads to %s", location)
		}
		return
	}
	issuer, err := url.Parse(p.op.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	query := location.Query()
	if location.Host != issuer.Host || !strings.HasSuffix(location.Path, path) || len(query) != len(parameters) {
		t.Errorf("signing out leads to %s, want %s with %v", location, path, parameters)
	}
	for _, name := range parameters {
		if !query.Has(name) {
			t.Errorf("%s is missing: %s", name, location)
		}
	}
	if query.Get("client_id") != p.op.ClientID || query.Get(returnTo) != p.PostLogoutRedirectURL() {
		t.Errorf("the parameters are %v", query)
	}
}

// TestDefaultScopes (AR-09) asks Keycloak for no offline session, which would end single sign-on.
func TestDefaultScopes(t *testing.T) {
	t.Parallel()
	for issuer, want := range map[string]string{
		"https://id.example/realms/acme":         "openid profile email",
		"https://tenant.eu.auth0.com/":           "openid profile email offline_access",
		"https://id.example/application/o/acme/": "openid profile email offline_access",
	} {
		if got := strings.Join(openid.Config{Issuer: issuer}.Preset().Scopes(), " "); got != want {
			t.Errorf("%s: %s, want %s", issuer, got, want)
		}
	}
}

// TestStarts (AR-17) has Okta start a sign-in in the name of the organization, whichever of its
// authorization servers is configured.
func TestStarts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		issuer, iss string
		want        bool
	}{
		{"https://acme.okta.com/oauth2/default", "https://acme.okta.com/oauth2/default", true},
		{"https://acme.okta.com/oauth2/default", "https://acme.okta.com", true},
		{"https://acme.okta.com/oauth2/default", "https://evil.okta.com", false},
		{"https://acme.okta.com/oauth2/default", "https://acme.okta.com.evil.example", false},
		{"https://acme.okta.com/oauth2/default", "https:", false},
		{"https://acme.okta.com/oauth2/default", "", false},
		{"https://id.example/realms/acme", "https://id.example", false},
	} {
		if got := openid.Starts(tt.issuer, tt.iss); got != tt.want {
			t.Errorf("%s and %q: %t", tt.issuer, tt.iss, got)
		}
	}
}

func TestOfflineAccessOfKnownProviders(t *testing.T) {
	t.Parallel()
	const google = "https://accounts.google.com"
	unlisted := func(m map[string]any) { m["scopes_supported"] = []string{"openid", "email", "profile"} }
	none := func(m map[string]any) { delete(m, "scopes_supported") }
	const asking = "requesting offline_access anyway"
	for name, tt := range map[string]struct {
		issuer   string
		metadata func(map[string]any)
		scopes   []string
		access   string
		scope    string
		logged   bool
	}{
		"AR-09 Google":                     {issuer: google, metadata: unlisted, access: "offline", scope: "openid profile email"},
		"AR-09 Google, and nobody asks":    {issuer: google, metadata: unlisted, scopes: []string{"openid"}, scope: "openid"},
		"AR-09 Google, one day":            {issuer: google, scope: "openid profile email offline_access"},
		"AR-09 a client without the scope": {metadata: unlisted, scope: "openid profile email"},
		"AR-09 a client with the scope":    {scope: "openid profile email offline_access"},
		"AR-09 no scopes listed":           {metadata: none, scope: "openid profile email offline_access", logged: true},
		"AR-09 no scopes, and nobody asks": {metadata: none, scopes: []string{"openid"}, scope: "openid"},
		"AR-09 an empty list of scopes":    {metadata: func(m map[string]any) { m["scopes_supported"] = []string{} }, scope: "openid profile email offline_access", logged: true},
		"AR-09 Google, no scopes listed":   {issuer: google, metadata: none, access: "offline", scope: "openid profile email"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{config: func(c *openid.Config) {
				if tt.scopes != nil {
					c.Scopes = tt.scopes
				}
			}})
			p.op.Edit(scriptedop.Discovery, tt.metadata)
			if tt.issuer != "" {
				p.ActAs(tt.issuer)
			}
			a := p.begin(openid.AuthorizationRequest{Link: url.Values{"access_type": {"evil"}}})
			asked := scriptedop.Query(t, a.request)
			if asked.Get("scope") != tt.scope || asked.Get("access_type") != tt.access || len(asked["access_type"]) > 1 {
				t.Errorf("the request is %v", asked)
			}
			p.wantSignedIn(p.finish(t.Context(), p.authorize(a)), "alice")
			if got := strings.Count(p.log.String(), asking) == 1; got != tt.logged {
				t.Errorf("the log says so: %t, want %t\n%s", got, tt.logged, p.log.String())
			}
		})
	}
}

// TestSwitchPromptOfKnownProviders lets another person sign in, at providers whose metadata
// does not say how.
func TestSwitchPromptOfKnownProviders(t *testing.T) {
	t.Parallel()
	for issuer, want := range map[string]string{
		"https://accounts.google.com": "select_account",
		"https://login.microsoftonline.com/8d2f1e6c-6b0a-4c58-9d7e-2f4b1a3c5d7e/v2.0": "select_account",
		"https://tenant.auth0.com/":     "login",
		"https://acme.okta.com":         "login",
		"https://anybody.example/realm": "login",
	} {
		t.Run(issuer, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{})
			p.ActAs(issuer)
			switching := p.begin(openid.AuthorizationRequest{SwitchAccount: true, Link: url.Values{"prompt": {"none"}}})
			if asked := scriptedop.Query(t, switching.request); asked.Get("prompt") != want || len(asked["prompt"]) != 1 {
				t.Errorf("the request is %v", asked)
			}
			plain := p.begin(openid.AuthorizationRequest{Link: url.Values{"prompt": {"select_account"}}})
			if asked := scriptedop.Query(t, plain.request); asked.Has("prompt") {
				t.Errorf("AR-07: the request is %v", asked)
			}
		})
	}
}

// TestHintsOfKnownProviders (AR-07) follows a link with every hint that a provider has. Each provider
// gets its own, and those that every provider may get.
func TestHintsOfKnownProviders(t *testing.T) {
	t.Parallel()
	own := map[string]string{
		"https://accounts.google.com": "hd",
		"https://login.microsoftonline.com/8d2f1e6c-6b0a-4c58-9d7e-2f4b1a3c5d7e/v2.0": "domain_hint",
		"https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC":                   "identity_provider",
		"https://acme.okta.com":              "idp",
		"https://id.example.com/realms/acme": "kc_idp_hint",
		"https://tenant.auth0.com/":          "",
		"https://anybody.example/tenant":     "",
	}
	everybodys := url.Values{"login_hint": {"ada@example.com"}, "connection": {"github"}}
	for issuer, hint := range own {
		t.Run(issuer, func(t *testing.T) {
			t.Parallel()
			p := newParty(t, options{})
			p.ActAs(issuer)
			link := url.Values{"scope": {"admin"}, "prompt": {"none"}, "kc_action": {"delete_account"}}
			for _, name := range own {
				link.Set(name, "acme & co")
			}
			for name := range everybodys {
				link.Set(name, everybodys.Get(name))
			}
			asked := scriptedop.Query(t, p.begin(openid.AuthorizationRequest{Link: link}).request)
			for _, name := range own {
				if want := map[bool]string{true: "acme & co"}[name == hint]; name != "" && asked.Get(name) != want {
					t.Errorf("%s is %q, want %q", name, asked.Get(name), want)
				}
			}
			for name := range everybodys {
				if asked.Get(name) != everybodys.Get(name) {
					t.Errorf("%s is %q", name, asked.Get(name))
				}
			}
			if asked.Get("scope") == "admin" || asked.Has("prompt") || asked.Has("kc_action") {
				t.Errorf("AR-07: the request is %v", asked)
			}
			if long := scriptedop.Query(t, p.begin(openid.AuthorizationRequest{Link: url.Values{hint: {strings.Repeat("x", 513)}}}).request); long.Has(hint) && hint != "" {
				t.Errorf("a hint of 513 bytes is passed on")
			}
		})
	}
}

// TestPicturesOfKnownProviders lists where the pictures of each provider are.
func TestPicturesOfKnownProviders(t *testing.T) {
	t.Parallel()
	for issuer, want := range map[string]string{
		"https://tenant.auth0.com/":                       "https://s.gravatar.com https://i0.wp.com https://i1.wp.com https://i2.wp.com https://cdn.auth0.com https://lh3.googleusercontent.com",
		"https://accounts.google.com":                     "https://lh3.googleusercontent.com",
		"https://login.microsoftonline.com/8eaef023/v2.0": "",
		"https://id.example.com/realms/acme":              "",
		"https://anybody.example":                         "",
	} {
		if got := strings.Join(openid.Config{Issuer: issuer}.Preset().PictureOrigins(), " "); got != want {
			t.Errorf("%s: pictures are at %q, want %q", issuer, got, want)
		}
	}
}

// TestRegistrationIsLogged checks that the log says what to register with a known provider.
func TestRegistrationIsLogged(t *testing.T) {
	t.Parallel()
	p := newParty(t, options{config: func(c *openid.Config) { c.Auth0 = true }})
	p.wantSignedIn(p.signIn(), "alice")
	for _, want := range []string{"Allowed Callback URLs: " + p.RedirectURL(), "Allowed Logout URLs: " + p.PostLogoutRedirectURL()} {
		if !strings.Contains(p.log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, p.log.String())
		}
	}
}

package openid

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
)

// Preset describes how a well-known provider differs from the standards where its metadata
// does not say so. What metadata says takes precedence. The zero Preset is that of every
// other provider.
type Preset struct {
	// Name is what people call the provider, or "".
	Name string
	// matches recognizes the provider by the configured issuer, in lower case: by
	// nothing that comes with a request.
	matches func(host, path string) bool
	// misspelt says what to write instead of an issuer with which nobody can ever sign
	// in, and "" of any other.
	misspelt func(issuer *url.URL) string
	// Hint explains to an operator how the provider writes its issuer.
	Hint string
	// signOut is how the provider's session ends; nil if it follows the standard.
	signOut *signOut
	// maxEndSessionURL is the length, in bytes, above which the provider refuses a sign-out; 0 if it has no
	// limit of its own.
	maxEndSessionURL int
	// federated is the sign-out parameter that also ends the session at the identity
	// provider that the provider itself asked; "" if it has none.
	federated string
	// offline holds the parameters of an authorization request that ask for a refresh
	// token if the scope offline_access does not.
	offline url.Values
	// online says that a refresh token comes without offline_access too, and that the scope ends the
	// provider's single sign-on.
	online bool
	// organization says that the provider starts sign-ins in the name of its origin, whichever of its
	// issuers the configuration has.
	organization bool
	// hints are further parameters that a link to the sign-in page may pass on: the
	// provider's own, which name the identity provider or the directory to sign in with.
	hints []string
	// pictures are the origins of the pictures that the provider gives people, and of
	// those that they redirect to.
	pictures []string
	// selectsAccount says that the provider knows prompt=select_account.
	selectsAccount bool
	// callbacks and signOuts are the provider's names for the two lists of addresses in
	// which this client has to be registered.
	callbacks, signOuts string
}

// signOut is a sign-out that is not the one of OpenID Connect RP-Initiated Logout 1.0.
type signOut struct {
	// sibling returns an address on the same origin as path.
	sibling func(*Metadata) string
	path    string
	// clientID and returnTo are its parameters; it takes no other.
	clientID, returnTo string
	// always says that an end_session_endpoint in metadata takes these parameters, too.
	always bool
}

// presets lists the well-known providers; the first match counts.
var presets = []Preset{
	// auth0.com/docs. "Log Users Out of Auth0 with OIDC Endpoint", Enable endpoint
	// discovery: metadata of tenants from before 14 November 2023 names no
	// end_session_endpoint until it is switched on; /v2/logout is always there
	// ("Auth0 Logout" of the Authentication API). "Log Users Out of Identity
	// Providers": federated, on either of them. "Custom Domains": tokens name the domain
	// that was asked. "Change User Pictures": everyone has a picture, of Gravatar unless the
	// identity provider sends one. Gravatar redirects those without one to WordPress's copy of
	// initials of cdn.auth0.com.
	{
		Name:     auth0,
		matches:  func(host, _ string) bool { return strings.HasSuffix(host, ".auth0.com") },
		misspelt: auth0Misspelt,
		Hint:     "an Auth0 issuer is https://DOMAIN/ with the slash at its end, and the tenant's own domain and its custom domain are two issuers",
		signOut: &signOut{
			sibling: func(m *Metadata) string { return m.Issuer }, path: "/v2/logout", clientID: "client_id", returnTo: "returnTo",
		},
		federated: "federated",
		pictures: []string{
			"https://s.gravatar.com", "https://i0.wp.com", "https://i1.wp.com", "https://i2.wp.com",
			"https://cdn.auth0.com", "https://lh3.googleusercontent.com",
		},
		callbacks: "Allowed Callback URLs", signOuts: "Allowed Logout URLs",
	},
	// developers.google.com/identity/openid-connect. "Discovery document": the fields
	// have no end_session_endpoint, so that signing out here leaves Google's session
	// alone. "Authentication URI parameters", access_type: offline asks for a refresh
	// token, which comes with the person's first consent only; offline_access is none of
	// the scopes. prompt: none, consent and select_account are all that there are. hd: the
	// domain of a Google Workspace organization.
	{
		Name:     "Google",
		matches:  func(host, _ string) bool { return host == "accounts.google.com" },
		misspelt: exactly("https://accounts.google.com"),
		offline:  url.Values{"access_type": {"offline"}},
		hints:    []string{"hd"},
		pictures: []string{"https://lh3.googleusercontent.com"},

		selectsAccount: true,
		callbacks:      "Authorized redirect URIs",
	},
	// learn.microsoft.com/entra/identity-platform. "OpenID Connect", Find your app's
	// OpenID configuration document URI: the names in place of a tenant, and the tenant
	// id that personal accounts have in common. "Access tokens", Validate the issuer:
	// metadata of these names has {tenantid} in its issuer, and every token another one.
	// "OpenID Connect", Send the sign-in request, prompt: login, none, consent and
	// select_account; domain_hint: the domain of the directory. The picture of a token is at
	// graph.microsoft.com, which wants an access token, so no page can show it.
	{
		Name: "Microsoft Entra ID",
		matches: func(host, _ string) bool {
			return slices.Contains([]string{"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn", "sts.windows.net"}, host)
		},
		misspelt:       entraMisspelt,
		selectsAccount: true,
		hints:          []string{"domain_hint"},

		Hint:      "the issuer has the directory's id, not its domain name, and ends in /v2.0: https://login.microsoftonline.com/TENANT-ID/v2.0",
		callbacks: "Redirect URIs of the platform Web", signOuts: "Redirect URIs of the platform Web",
	},
	// docs.aws.amazon.com/cognito, "Logout endpoint": /logout of the user pool's domain,
	// which is that of the authorization endpoint, takes client_id and logout_uri. Since
	// 2024 metadata names it as the end_session_endpoint, and it still refuses the
	// standard's parameters. It sends no state back. "Token issuer endpoint": a refresh token
	// comes with every code, and offline_access is none of the scopes. "Authorize endpoint",
	// identity_provider: the name of the identity provider in the user pool.
	{
		Name: "Amazon Cognito",
		matches: func(host, _ string) bool {
			return (strings.HasPrefix(host, "cognito-idp.") && strings.Contains(host, ".amazonaws.com")) || strings.HasSuffix(host, ".amazoncognito.com")
		},
		misspelt: cognitoMisspelt,
		signOut: &signOut{
			sibling: func(m *Metadata) string { return m.AuthorizationEndpoint }, path: "/logout", clientID: "client_id", returnTo: "logout_uri",
			always: true,
		},
		hints:     []string{"identity_provider"},
		callbacks: "Allowed callback URLs", signOuts: "Allowed sign-out URLs",
	},
	// developer.okta.com/docs/concepts/auth-servers, Available authorization server
	// types: the org has an issuer of its own, and each custom server another. OpenID Connect
	// API reference, /authorize, idp: the id of the identity provider. A sign-in that starts on Okta's
	// dashboard has the org's issuer (discussion 510 of panva/openid-client).
	{
		Name: "Okta",
		matches: func(host, _ string) bool {
			return slices.ContainsFunc([]string{".okta.com", ".oktapreview.com", ".okta-emea.com"}, func(s string) bool { return strings.HasSuffix(host, s) })
		},
		misspelt: withoutSlash,
		hints:    []string{"idp"},

		organization: true,
		Hint:         "every authorization server of Okta's has an issuer of its own: https://ORG.okta.com, https://ORG.okta.com/oauth2/default, or that of a custom domain",
		callbacks:    "Sign-in redirect URIs", signOuts: "Sign-out redirect URIs",
	},
	// keycloak.org, "Configuring the hostname": the issuer is made of it. Upgrading Guide,
	// Migrating to 17.0.0: /auth has gone from the path. Server Administration Guide,
	// Client-suggested Identity Provider: kc_idp_hint, the alias of the identity provider. Offline
	// access: its sessions outlive the person's sign-out, and since Keycloak 26.1 the first request for
	// one removes the session that single sign-on and back-channel logout depend on (issue 36717 of
	// keycloak/keycloak). A request line may have 4096 bytes (issue 21399).
	{
		Name: "Keycloak",
		matches: func(_, path string) bool {
			_, realm, ok := strings.Cut(path, "/realms/")
			realm = strings.TrimSuffix(realm, "/")
			return ok && realm != "" && !strings.Contains(realm, "/")
		},
		online: true,

		maxEndSessionURL: 4000,
		hints:            []string{"kc_idp_hint"},
		Hint:             "the issuer is made of Keycloak's hostname setting and the realm's name, without a slash at its end; before Keycloak 17 there was /auth before /realms",
		callbacks:        "Valid redirect URIs", signOuts: "Valid post logout redirect URIs",
	},
}

// presetOf returns the preset of an issuer.
func presetOf(issuer string) Preset {
	u, err := url.Parse(issuer)
	if err != nil {
		return Preset{}
	}
	host, path := strings.ToLower(u.Hostname()), strings.ToLower(u.Path)
	if i := slices.IndexFunc(presets, func(p Preset) bool { return p.matches(host, path) }); i >= 0 {
		return presets[i]
	}
	return Preset{}
}

// Preset returns the preset of the issuer, or Auth0's if the configuration says so: a custom
// domain does not show whose it is.
func (c Config) Preset() Preset {
	if c.Auth0 {
		return presets[slices.IndexFunc(presets, func(p Preset) bool { return p.Name == auth0 })]
	}
	return presetOf(c.Issuer)
}

// misspelt says what is wrong with an issuer of a well-known provider with which nobody can
// ever sign in, and what to write instead. It returns "" for any other issuer.
func misspelt(issuer string) string {
	u, err := url.Parse(issuer)
	if p := presetOf(issuer); err == nil && p.misspelt != nil {
		return p.misspelt(u)
	}
	return ""
}

// CallbackName is the provider's name for its list of redirect URIs; in general their name in
// OpenID Connect Dynamic Client Registration 1.0 section 2.
func (p Preset) CallbackName() string { return cmp.Or(p.callbacks, "redirect_uris") }

// SignOutName is the provider's name for its list of addresses that it returns to after
// sign-out.
func (p Preset) SignOutName() string { return cmp.Or(p.signOuts, "post_logout_redirect_uris") }

// Scopes are the scopes to request unless the configuration has others.
func (p Preset) Scopes() []string {
	scopes := []string{"openid", "profile", "email"}
	if !p.online {
		scopes = append(scopes, "offline_access")
	}
	return scopes
}

// RegistersSignOut reports whether such an address has to be registered.
func (p Preset) RegistersSignOut() bool { return p.Name == "" || p.signOuts != "" }

// PictureOrigins are the origins that pages need for the pictures that the provider gives people,
// beside the provider's own.
func (p Preset) PictureOrigins() []string { return slices.Clone(p.pictures) }

// passes returns the parameters that a link to the sign-in page may pass on to the provider.
func (p Preset) passes() []string { return slices.Concat(hints, p.hints) }

// logRegistration logs what has to be registered at a well-known provider, in its words.
func (p Preset) logRegistration(cfg Config) {
	if p.callbacks == "" {
		return
	}
	attributes := []any{"provider", p.Name, "callback", p.callbacks + ": " + cfg.RedirectURL}
	if p.signOuts != "" {
		attributes = append(attributes, "sign-out", p.signOuts+": "+cfg.PostLogoutRedirectURL)
	}
	cfg.Log.Info("settings to register at the provider", attributes...)
}

// exactly is for a provider that has one issuer.
func exactly(issuer string) func(*url.URL) string {
	return func(u *url.URL) string {
		if u.String() == issuer {
			return ""
		}
		return "write " + issuer + ", to the letter"
	}
}

// withoutSlash is for a provider whose issuers do not end in a slash.
func withoutSlash(u *url.URL) string {
	if trimmed := strings.TrimRight(u.String(), "/"); trimmed != u.String() {
		return "write " + trimmed + ", without the slash at its end"
	}
	return ""
}

func entraMisspelt(u *url.URL) string {
	const form = "https://login.microsoftonline.com/TENANT-ID/v2.0"
	tenant, version, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	switch strings.ToLower(tenant) {
	case "common", "organizations":
		return "each directory issues tokens under its own id; write one directory's id: " + form + ", or list the ids of the directories whose people may sign in (OIDC_TENANTS)"
	case "consumers":
		return "personal accounts are issued under a directory id; write https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0"
	}
	if version != "v2.0" {
		return "write the issuer of version 2, without a slash at its end: " + form
	}
	return ""
}

func cognitoMisspelt(u *url.URL) string {
	if strings.HasSuffix(strings.ToLower(u.Hostname()), ".amazoncognito.com") {
		return "that is where people sign in; the issuer is https://cognito-idp.REGION.amazonaws.com/USER-POOL-ID"
	}
	return withoutSlash(u)
}

// address returns where a browser signs out in the provider's own way, and "" if the provider
// has none or follows the standard. returnTo is where the browser comes back to.
func (s *signOut) address(m *Metadata, clientID, returnTo string) string {
	if s == nil || (m.EndSessionEndpoint != "" && !s.always) {
		return ""
	}
	u, err := url.Parse(m.EndSessionEndpoint)
	if m.EndSessionEndpoint == "" {
		if u, err = url.Parse(s.sibling(m)); err == nil {
			u = &url.URL{Scheme: u.Scheme, Host: u.Host, Path: s.path}
		}
	}
	if err != nil {
		return ""
	}
	query := u.Query()
	query.Set(s.clientID, clientID)
	if returnTo != "" {
		query.Set(s.returnTo, returnTo)
	}
	u.RawQuery = query.Encode()
	return u.String()
}

const auth0 = "Auth0"

// auth0Misspelt asks for the slash: iss of every token has it.
func auth0Misspelt(u *url.URL) string {
	if u.Path != "/" {
		return "an Auth0 issuer ends in a slash; write https://" + u.Host + "/"
	}
	return ""
}

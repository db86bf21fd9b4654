package authn

import (
	"net/url"
	"slices"
	"strings"
)

// preset is what a provider that many people use does differently from the standards,
// where its metadata does not say so. Where metadata says it, metadata counts.
type preset struct {
	name string
	// matches recognizes the provider by the configured issuer, in lower case: by
	// nothing that comes with a request.
	matches func(host, path string) bool
	// misspelt says what to write instead of an issuer with which nobody can ever sign
	// in, and "" of any other.
	misspelt func(issuer *url.URL) string
	// hint explains to an operator why the provider calls itself something else than
	// the configuration does.
	hint string
	// signOut is how the provider's session ends. Without it, as the standard says.
	signOut *signOut
	// federated is the sign-out parameter that also ends the session at whoever the
	// provider itself asked who the person is; "" where there is none.
	federated string
	// offline are the parameters of an authorization request that ask for a refresh
	// token where the scope offline_access does not.
	offline url.Values
	// selectsAccount says that the provider knows prompt=select_account.
	selectsAccount bool
	// callbacks and signOuts are what the provider calls the two lists of addresses in
	// which this application has to be registered.
	callbacks, signOuts string
}

// signOut is a sign-out that is not that of OpenID Connect RP-Initiated Logout 1.0.
type signOut struct {
	// beside is the address on whose origin path is.
	beside func(*Metadata) string
	path   string
	// clientID and returnTo are its parameters; it takes no other.
	clientID, returnTo string
	// always says that these are also the parameters of an end_session_endpoint that
	// metadata names.
	always bool
}

// presets are the providers that are known, the first match counts.
var presets = []preset{
	// auth0.com/docs. "Log Users Out of Auth0 with OIDC Endpoint", Enable endpoint
	// discovery: metadata of tenants from before 14 November 2023 names no
	// end_session_endpoint until somebody switches it on; /v2/logout is always there
	// ("Auth0 Logout" of the Authentication API). "Log Users Out of Identity
	// Providers": federated, on either of them. "Custom Domains": tokens name the domain
	// that was asked.
	{
		name:     auth0,
		matches:  func(host, _ string) bool { return strings.HasSuffix(host, ".auth0.com") },
		misspelt: auth0Misspelt,
		hint:     "an Auth0 issuer is https://DOMAIN/ with the slash at its end, and the tenant's own domain and its custom domain are two issuers",
		signOut: &signOut{
			beside: func(m *Metadata) string { return m.Issuer }, path: "/v2/logout", clientID: "client_id", returnTo: "returnTo",
		},
		federated: "federated",
		callbacks: "Allowed Callback URLs", signOuts: "Allowed Logout URLs",
	},
	// developers.google.com/identity/openid-connect. "Discovery document": the fields
	// have no end_session_endpoint, so that signing out here leaves Google's session
	// alone. "Authentication URI parameters", access_type: offline asks for a refresh
	// token, which comes with the person's first consent only; offline_access is none of
	// the scopes. prompt: none, consent and select_account are all that there are.
	{
		name:     "Google",
		matches:  func(host, _ string) bool { return host == "accounts.google.com" },
		misspelt: exactly("https://accounts.google.com"),
		offline:  url.Values{"access_type": {"offline"}},

		selectsAccount: true,
		callbacks:      "Authorized redirect URIs",
	},
	// learn.microsoft.com/entra/identity-platform. "OpenID Connect", Find your app's
	// OpenID configuration document URI: the names in place of a tenant, and the tenant
	// id that personal accounts have in common. "Access tokens", Validate the issuer:
	// metadata of these names has {tenantid} in its issuer, and every token another one.
	// "OpenID Connect", Send the sign-in request, prompt: login, none, consent and
	// select_account.
	{
		name: "Microsoft Entra ID",
		matches: func(host, _ string) bool {
			return slices.Contains([]string{"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn", "sts.windows.net"}, host)
		},
		misspelt:       entraMisspelt,
		selectsAccount: true,

		hint:      "the issuer has the directory's id, not its domain name, and ends in /v2.0: https://login.microsoftonline.com/TENANT-ID/v2.0",
		callbacks: "Redirect URIs of the platform Web", signOuts: "Redirect URIs of the platform Web",
	},
	// docs.aws.amazon.com/cognito, "Logout endpoint": /logout of the user pool's domain,
	// which is that of the authorization endpoint, takes client_id and logout_uri. Since
	// 2024 metadata names it as the end_session_endpoint, and it still refuses the
	// standard's parameters. It sends no state back. "Token issuer endpoint": a refresh token
	// comes with every code, and offline_access is none of the scopes.
	{
		name: "Amazon Cognito",
		matches: func(host, _ string) bool {
			return (strings.HasPrefix(host, "cognito-idp.") && strings.Contains(host, ".amazonaws.com")) || strings.HasSuffix(host, ".amazoncognito.com")
		},
		misspelt: cognitoMisspelt,
		signOut: &signOut{
			beside: func(m *Metadata) string { return m.AuthorizationEndpoint }, path: "/logout", clientID: "client_id", returnTo: "logout_uri",
			always: true,
		},
		callbacks: "Allowed callback URLs", signOuts: "Allowed sign-out URLs",
	},
	// developer.okta.com/docs/concepts/auth-servers, Available authorization server
	// types: the org has an issuer of its own, and each custom server another.
	{
		name: "Okta",
		matches: func(host, _ string) bool {
			return slices.ContainsFunc([]string{".okta.com", ".oktapreview.com", ".okta-emea.com"}, func(s string) bool { return strings.HasSuffix(host, s) })
		},
		misspelt:  withoutSlash,
		hint:      "every authorization server of Okta's has an issuer of its own: https://ORG.okta.com, https://ORG.okta.com/oauth2/default, or that of a custom domain",
		callbacks: "Sign-in redirect URIs", signOuts: "Sign-out redirect URIs",
	},
	// keycloak.org, "Configuring the hostname": the issuer is made of it. Upgrading Guide,
	// Migrating to 17.0.0: /auth has gone from the path.
	{
		name: "Keycloak",
		matches: func(_, path string) bool {
			_, realm, ok := strings.Cut(path, "/realms/")
			realm = strings.TrimSuffix(realm, "/")
			return ok && realm != "" && !strings.Contains(realm, "/")
		},
		hint:      "the issuer is made of Keycloak's hostname setting and the realm's name, without a slash at its end; before Keycloak 17 there was /auth before /realms",
		callbacks: "Valid redirect URIs", signOuts: "Valid post logout redirect URIs",
	},
}

// presetOf returns what is known of a provider; of most nothing is.
func presetOf(issuer string) preset {
	u, err := url.Parse(issuer)
	if err != nil {
		return preset{}
	}
	host, path := strings.ToLower(u.Hostname()), strings.ToLower(u.Path)
	if i := slices.IndexFunc(presets, func(p preset) bool { return p.matches(host, path) }); i >= 0 {
		return presets[i]
	}
	return preset{}
}

// preset is that of the issuer, or Auth0's where the configuration says so: a custom
// domain does not tell.
func (c Config) preset() preset {
	if c.Auth0 {
		return presets[slices.IndexFunc(presets, func(p preset) bool { return p.name == auth0 })]
	}
	return presetOf(c.Issuer)
}

// Misspelt says what is wrong with an issuer of a known provider with which nobody could
// ever sign in, and what to write instead. It says "" of any other.
func Misspelt(issuer string) string {
	u, err := url.Parse(issuer)
	if p := presetOf(issuer); err == nil && p.misspelt != nil {
		return p.misspelt(u)
	}
	return ""
}

// mismatch is what to add to the words that the provider and the configuration name two
// different issuers.
func (p preset) mismatch(provider, configured string) string {
	text := ""
	if strings.TrimSuffix(provider, "/") == strings.TrimSuffix(configured, "/") {
		text = "; the slash at the end counts"
	}
	if p.hint != "" {
		text += "; " + p.hint
	}
	return text
}

// logRegistration says what has to be registered at a known provider, in its words.
func (p preset) logRegistration(cfg Config) {
	if p.callbacks == "" {
		return
	}
	attributes := []any{"provider", p.name, "callback", p.callbacks + ": " + cfg.RedirectURL}
	if p.signOuts != "" {
		attributes = append(attributes, "sign-out", p.signOuts+": "+cfg.PostLogoutRedirectURL)
	}
	cfg.Log.Info("what the provider has to know of this app", attributes...)
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
		return "its tokens are issued by each directory under a name of its own, so that no issuer could be checked; write one directory's id: " + form
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

// offlineParameters ask for a refresh token where the configuration wants one and
// metadata does not offer the scope for it.
func (rp *RelyingParty) offlineParameters() url.Values {
	m, err := rp.provider.ready()
	if err != nil || !slices.Contains(rp.cfg.Scopes, "offline_access") || slices.Contains(m.ScopesSupported, "offline_access") {
		return nil
	}
	return rp.preset.offline
}

// address is where a browser is sent to sign out in the provider's own way, and "" where
// it has none or follows the standard. returnTo is where it comes back to.
func (s *signOut) address(m *Metadata, clientID, returnTo string) string {
	if s == nil || (m.EndSessionEndpoint != "" && !s.always) {
		return ""
	}
	u, err := url.Parse(m.EndSessionEndpoint)
	if m.EndSessionEndpoint == "" {
		if u, err = url.Parse(s.beside(m)); err == nil {
			u = &url.URL{Scheme: u.Scheme, Host: u.Host, Path: s.path}
		}
	}
	if err != nil {
		return ""
	}
	query := u.Query()
	query.Set(s.clientID, clientID)
	query.Set(s.returnTo, returnTo)
	u.RawQuery = query.Encode()
	return u.String()
}

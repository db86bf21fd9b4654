package app

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/VictoriaMetrics/metrics"

	"latchkey/authn/openid"
	"latchkey/routes"
)

// ProviderConfig is the configuration of a provider and of this client there.
type ProviderConfig struct {
	Auth0Domain string `env:"AUTH0_DOMAIN" desc:"Auth0 tenant or custom domain, such as tenant.eu.auth0.com"`
	OIDCIssuer  string `env:"OIDC_ISSUER" desc:"any other OpenID provider, as its full issuer URL; not together with AUTH0_DOMAIN"`
	// Only for OIDC_ISSUER: the app and browsers reach an Auth0 tenant at the same address.
	BackchannelOrigin string   `env:"OIDC_BACKCHANNEL_ORIGIN" desc:"the origin at which the app itself reaches the provider of OIDC_ISSUER, if browsers reach it at another, such as http://keycloak:8080; the issuer stays the same"`
	Tenants           []string `env:"OIDC_TENANTS" desc:"the ids of the directories whose people may sign in, separated by commas, if OIDC_ISSUER is the Microsoft Entra ID issuer for many directories: https://login.microsoftonline.com/organizations/v2.0, or the same with common instead of organizations"`

	ClientID     string        `env:"AUTH0_CLIENT_ID" desc:"the client ID of the application at the provider"`
	ClientSecret openid.Secret `env:"AUTH0_CLIENT_SECRET" desc:"the client secret of the application at the provider"`
	Audience     string        `env:"AUTH0_AUDIENCE" desc:"the identifier of the API that access tokens are for; sent only if set. This app's own API accepts access tokens for it"`
	Resources    []string      `env:"RESOURCES" desc:"further APIs that the app calls, as absolute URIs separated by commas; sent as resource at the sign-in, for providers that later issue tokens for no others (RFC 8707). Not for Auth0"`
	Scopes       string        `env:"AUTH0_SCOPES" desc:"the scopes to request, separated by spaces; offline_access is not sent if the provider lists its scopes without it (default openid profile email offline_access, without offline_access at Keycloak)"`

	Profile                     string   `env:"PROFILE" desc:"fapi2 to accept only what the FAPI 2.0 Security Profile allows, or fapi2-message-signing for FAPI 2.0 Message Signing too; variables that are not set follow from it"`
	ClientAuth                  string   `env:"CLIENT_AUTH, default=client_secret_basic" desc:"client_secret_basic, client_secret_post, private_key_jwt, tls_client_auth or self_signed_tls_client_auth"`
	ClientCertFile              string   `env:"CLIENT_TLS_CERT_FILE" desc:"PEM file with the certificate that the app presents to the provider and to APIs (RFC 8705), to authenticate by it, or to have access tokens bound to it; set CLIENT_TLS_KEY_FILE too"`
	ClientKeyFile               string   `env:"CLIENT_TLS_KEY_FILE" desc:"PEM file with the private key of that certificate"`
	SigningKey                  string   `env:"CLIENT_SIGNING_KEY" desc:"PEM file with the private key for private_key_jwt and for request objects: RSA, P-256, P-384, P-521 or Ed25519"`
	SigningAlgorithm            string   `env:"CLIENT_SIGNING_ALG" desc:"the algorithm that the key signs with (default the one of the key's type, RS256 for RSA)"`
	SigningKeyID                string   `env:"CLIENT_SIGNING_KID" desc:"the ID of the key at the provider (default its RFC 7638 thumbprint)"`
	IDTokenAlgorithms           []string `env:"ID_TOKEN_ALG, default=RS256" desc:"the signing algorithms that are accepted for ID tokens, separated by commas"`
	ResponseMode                string   `env:"RESPONSE_MODE, default=query" desc:"query, or form_post on https; jwt or form_post.jwt for signed responses (JARM)"`
	ResponseAlgorithms          []string `env:"AUTHORIZATION_SIGNED_RESPONSE_ALG" desc:"the signing algorithms that are accepted for signed responses, separated by commas (default those of ID_TOKEN_ALG)"`
	PushedAuthorizationRequests string   `env:"PUSHED_AUTHORIZATION_REQUESTS, default=auto" desc:"auto (only if the provider requires them), always or never"`
	RequestObject               string   `env:"REQUEST_OBJECT, default=off" desc:"off, or on to send authorization requests as request objects (RFC 9101), which CLIENT_SIGNING_KEY signs"`
	DPoP                        string   `env:"DPOP, default=off" desc:"off, or on to bind access tokens to a key of the session (RFC 9449), so that a stolen one is worth nothing; the provider must issue such tokens"`
	LogoutTokenType             string   `env:"LOGOUT_TOKEN_TYP, default=compatible" desc:"compatible, or strict to require typ logout+jwt and exp of logout tokens"`
	FederatedLogout             string   `env:"FEDERATED_LOGOUT, default=off" desc:"off, or on to have Auth0 sign people out at the identity provider behind it too"`
	UserInfo                    string   `env:"USERINFO, default=optional" desc:"optional, or required to refuse a sign-in if the userinfo endpoint fails"`
}

// namedConfig is the configuration of one of several providers. Only those have the further variables.
type namedConfig struct {
	ProviderConfig

	Label        string   `env:"LABEL" desc:"the text of the button that chooses this provider (default the name of a well-known provider, else the host of its issuer)"`
	EmailDomains []string `env:"EMAIL_DOMAINS" desc:"the domains of the e-mail addresses of the provider's people, separated by commas: a link to the sign-in page with login_hint=ada@example.com goes to the provider of example.com"`
}

// provider is a configured provider.
type provider struct {
	namedConfig
	// name is one of PROVIDERS, or "" if that is not set.
	name string
	set  map[string]bool // the variables of its own that are set
	// followed are the variables that follow from PROFILE.
	followed map[string]bool

	parsedSigningKey crypto.Signer
	parsedCert       *x509.Certificate // nil without CLIENT_TLS_CERT_FILE
}

// noDefault lists the variables that name a provider or this client there. If there are several
// providers, no default could be right for all of them.
var noDefault = []string{"AUTH0_DOMAIN", "OIDC_ISSUER", "OIDC_BACKCHANNEL_ORIGIN", "OIDC_TENANTS", "AUTH0_CLIENT_ID", "AUTH0_CLIENT_SECRET"}

// HasDefault reports whether the variable without a provider's name is the default for those with one.
func (v Variable) HasDefault() bool {
	return !slices.Contains(noDefault, v.Name) && v.ofProvider()
}

// Named returns the name of a variable for one of several providers: OIDC_ISSUER is WORK_OIDC_ISSUER for
// work, and AUTH0_CLIENT_ID is WORK_CLIENT_ID, because the provider need not be Auth0.
func (v Variable) Named(provider string) string {
	short := v.Name
	if short != "AUTH0_DOMAIN" {
		short = strings.TrimPrefix(short, "AUTH0_")
	}
	return strings.ToUpper(provider) + "_" + short
}

// OfEach describes a variable of each of several providers.
func (v Variable) OfEach() string {
	switch {
	case v.HasDefault():
		return "like " + v.Name + ", whose value is the default"
	case v.ofProvider():
		return "like " + v.Name + ", which cannot be set together with PROVIDERS"
	default:
		return v.Description
	}
}

// NamedVariables returns the variables that each of several providers can have.
func NamedVariables() []Variable { return variables(reflect.TypeFor[namedConfig]()) }

// isProviderName reports whether a provider can be called so, in variables, addresses and metrics.
func isProviderName(name string) bool {
	const letters, digits = "abcdefghijklmnopqrstuvwxyz", "0123456789"
	return name != "" && len(name) <= 32 && strings.Contains(letters, name[:1]) && strings.Trim(name, letters+digits) == ""
}

// readProviders reads the providers: those of PROVIDERS, or the only one.
func (c *Config) readProviders(values map[string]string, f *openid.Faults) {
	if len(c.ProviderNames) == 0 {
		c.providers = []*provider{{namedConfig: namedConfig{ProviderConfig: c.ProviderConfig}}}
		return
	}
	for _, v := range NamedVariables() {
		if slices.Contains(noDefault, v.Name) && values[v.Name] != "" {
			f.Add(v.Name, "is set together with PROVIDERS", "set it for one provider, as "+v.Named(c.ProviderNames[0]))
		}
	}
	known := c.program.Variables()
	for i, name := range c.ProviderNames {
		clash := slices.IndexFunc(NamedVariables(), func(v Variable) bool {
			return slices.ContainsFunc(known, func(k Variable) bool { return k.Name == v.Named(name) })
		})
		switch {
		case !isProviderName(name):
			f.Add("PROVIDERS", fmt.Sprintf("has %q", name), "write names such as work,google: lower-case letters and digits, a letter first, 32 at most")
			continue
		case slices.Contains(c.ProviderNames[:i], name):
			f.Add("PROVIDERS", fmt.Sprintf("has %q twice", name), "give each provider a name of its own")
			continue
		case clash >= 0:
			f.Add("PROVIDERS", fmt.Sprintf("has %q, and %s has a meaning already", name, NamedVariables()[clash].Named(name)), "choose another name")
			continue
		}
		c.providers = append(c.providers, c.readProvider(name, values, f))
	}
	if c.providers == nil { // there is a fault, and the other checks need a provider
		c.providers = []*provider{{namedConfig: namedConfig{ProviderConfig: c.ProviderConfig}}}
	}
}

// readProvider reads the variables of a provider. The variable without the name is the default, where
// that makes sense.
func (c *Config) readProvider(name string, values map[string]string, f *openid.Faults) *provider {
	p := &provider{name: name, set: make(map[string]bool)}
	readable := make(map[string]string)
	for _, v := range NamedVariables() {
		if whole := strings.ToUpper(name) + "_" + v.Name; whole != v.Named(name) && values[whole] != "" {
			f.Add(whole, "there is no such variable", "write "+v.Named(name))
		}
		value, ok := values[v.Named(name)]
		if !ok {
			if value, ok = values[v.Name]; ok && v.HasDefault() && !hasFault(*f, v.Name) {
				readable[v.Name] = value
			}
			continue
		}
		p.set[v.Name] = true
		decodeOne(v.Named(name), v, value, readable, f)
	}
	if err := process(&p.namedConfig, readable); err != nil {
		panic("app: the tags of the settings: " + err.Error())
	}
	return p
}

// variable returns the full name of a variable, as the configuration sets it: with the provider's name,
// unless its value is the default of all providers.
func (p *provider) variable(name string) string {
	if p.name == "" {
		return name
	}
	list := NamedVariables()
	i := slices.IndexFunc(list, func(v Variable) bool { return v.Name == name })
	if i >= 0 && (p.set[name] || !list[i].HasDefault()) {
		return list[i].Named(p.name)
	}
	return name
}

// ofProvider reports whether a variable is one of a provider.
func (v Variable) ofProvider() bool { return !v.OfProduct && len(v.field.Index) > 1 }

// value returns the value of a variable of the provider.
func (p *provider) value(v Variable) any {
	return reflect.ValueOf(p.namedConfig).FieldByName(v.field.Name).Interface()
}

// issuer returns the issuer of a real provider. An Auth0 issuer ends in a slash.
func (p *provider) issuer() string {
	if p.Auth0Domain != "" {
		return "https://" + p.Auth0Domain + "/"
	}
	return p.OIDCIssuer
}

func (p *provider) preset() openid.Preset {
	return openid.Config{Issuer: p.issuer(), Auth0: p.Auth0Domain != ""}.Preset()
}

// label returns what people call the provider.
func (p *provider) label() string {
	u, err := url.Parse(p.issuer())
	if err != nil {
		u = new(url.URL)
	}
	return cmp.Or(p.Label, p.preset().Name, u.Host, p.name)
}

// callbackURL returns the redirect URI of a provider, for an app that listens on a port.
func (p *provider) callbackURL(c *Config, port int) string {
	if p.name == "" {
		return c.callbackURL(port)
	}
	return c.callbackURL(port) + "/" + p.name
}

// choices returns how people choose one of several providers.
func (c *Config) choices() (list []routes.Choice) {
	for _, p := range c.providers {
		domains := make([]string, len(p.EmailDomains))
		for i, domain := range p.EmailDomains {
			domains[i] = strings.ToLower(domain)
		}
		list = append(list, routes.Choice{Name: p.name, Label: p.label(), EmailDomains: domains})
	}
	return list
}

// openID translates the configuration of a provider for package openid.
func (c *Config) openID(port int, provider *providerSettings, log *slog.Logger) openid.Config {
	p, certificate := provider.config, provider.certificate
	if certificate == nil {
		certificate = p.clientCertificate(log)
	}
	cfg := openid.Config{
		Name: p.name, Issuer: provider.issuer, Tenants: p.Tenants, BackchannelOrigin: p.BackchannelOrigin, Auth0: p.Auth0Domain != "",
		ClientID: provider.clientID, ClientSecret: provider.clientSecret,
		ClientAuth: p.ClientAuth, SigningKey: p.parsedSigningKey,
		SigningAlgorithm: p.SigningAlgorithm, SigningKeyID: p.SigningKeyID, ClientCertificate: certificate, RootCAs: provider.roots,
		RedirectURL: p.callbackURL(c, port), PostLogoutRedirectURL: c.logoutURL(port),
		Scopes: strings.Fields(p.Scopes), Audience: p.Audience, Resources: p.Resources,
		IDTokenAlgorithms: p.IDTokenAlgorithms, ResponseMode: p.ResponseMode, ResponseAlgorithms: p.ResponseAlgorithms,
		RequestObject: p.RequestObject == "on", Profile: p.Profile, DPoP: p.DPoP == "on",
		PushedAuthorizationRequests: p.PushedAuthorizationRequests, StrictLogoutTokens: p.LogoutTokenType == "strict",
		FederatedLogout: p.FederatedLogout == "on", UserInfoRequired: p.UserInfo == "required",
		Now: time.Now, Log: log, Metrics: metrics.NewSet(), StartSpan: c.program.StartSpan,
	}
	if len(cfg.Scopes) == 0 {
		cfg.Scopes = cfg.Preset().Scopes()
	}
	return cfg
}

// logged returns what the log says of the configuration of a provider at the start.
func (p *provider) logged() []any {
	return []any{"client_auth", p.ClientAuth, "profile", p.Profile, "response_mode", p.ResponseMode, "id_token_alg", p.IDTokenAlgorithms, "logout_token_typ", p.LogoutTokenType}
}

// setVariables returns the names of the variables that are set, in order.
func (c *Config) setVariables() []string {
	list := slices.Collect(maps.Keys(c.set))
	for _, p := range c.providers {
		for name := range p.set {
			list = append(list, p.variable(name))
		}
	}
	slices.Sort(list)
	return list
}

// validateProviders adds the faults of all providers. A fault in a default that several providers share is
// reported once.
func (c *Config) validateProviders(f *openid.Faults) {
	development := c.development()
	owner := make(map[string]string) // of issuers and domains
	for i, p := range c.providers {
		faults := slices.Clone(*f)
		if development {
			c.validateDevelopment(p, &faults)
		} else {
			c.validateProvider(p, &faults)
		}
		p.validateValues(&faults)
		for _, fault := range faults[len(*f):] {
			if i == 0 || !slices.Contains(*f, fault) {
				*f = append(*f, fault)
			}
		}
		p.validateDistinct(owner, f)
	}
}

// validateValues adds the faults of the values that only this program has a meaning for.
func (p *provider) validateValues(f *openid.Faults) {
	if p.BackchannelOrigin != "" && p.OIDCIssuer == "" {
		f.Add(p.variable("OIDC_BACKCHANNEL_ORIGIN"), "is set, and "+p.variable("OIDC_ISSUER")+" is not", "remove it: it is another address of the provider that "+p.variable("OIDC_ISSUER")+" names")
	}
	if strings.Contains(p.Scopes, ",") {
		f.Add(p.variable("AUTH0_SCOPES"), fmt.Sprintf("is %q, with commas", p.Scopes), "separate the scopes with spaces")
	}
	if strings.ContainsAny(p.Scopes, `"\`) { // no scope has one (RFC 6749 section 3.3)
		f.Add(p.variable("AUTH0_SCOPES"), fmt.Sprintf("is %q, with quotation marks", p.Scopes), "remove them: whatever sets the variable has kept them")
	}
	f.OneOf(p.variable("LOGOUT_TOKEN_TYP"), p.LogoutTokenType, "compatible", "strict")
	f.OneOf(p.variable("REQUEST_OBJECT"), p.RequestObject, "off", "on")
	f.OneOf(p.variable("DPOP"), p.DPoP, "off", "on")
	f.OneOf(p.variable("FEDERATED_LOGOUT"), p.FederatedLogout, "off", "on")
	f.OneOf(p.variable("USERINFO"), p.UserInfo, "optional", "required")
	p.parsedCert = validateCertificate(f, p.variable("CLIENT_TLS_CERT_FILE"), p.ClientCertFile, p.variable("CLIENT_TLS_KEY_FILE"), p.ClientKeyFile)
	if utf8.RuneCountInString(p.Label) > 60 {
		f.Add(p.variable("LABEL"), "has more than 60 characters", "make it fit on a button")
	}
	for _, domain := range p.EmailDomains {
		strange := func(r rune) bool { return !unicode.In(r, unicode.L, unicode.M, unicode.Nd) && r != '-' && r != '.' }
		if strings.ContainsFunc(domain, strange) || !strings.Contains(domain, ".") {
			f.Add(p.variable("EMAIL_DOMAINS"), fmt.Sprintf("has %q", domain), "write domains, such as example.com")
		}
	}
}

// readSigningKey reads the client's key, if anything is signed with it.
func (p *provider) readSigningKey(f *openid.Faults) {
	signs := p.ClientAuth == openid.PrivateKeyJWT || p.RequestObject == "on" || p.Profile != ""
	if !signs || p.SigningKey == "" {
		return
	}
	var err error
	if p.parsedSigningKey, err = readSigningKey(p.SigningKey); err != nil && !hasFault(*f, p.variable("CLIENT_SIGNING_KEY")) {
		f.Add(p.variable("CLIENT_SIGNING_KEY"), err.Error(), signingKeyRemedy)
	}
}

// validateDistinct adds a fault if another provider has the same issuer, so that nobody could tell whose
// a session is, or the same e-mail domain.
func (p *provider) validateDistinct(owner map[string]string, f *openid.Faults) {
	claim := func(variable, value, problem string) {
		if other, taken := owner[value]; taken {
			f.Add(p.variable(variable), fmt.Sprintf(problem, value, other), "give each provider its own")
		}
		owner[value] = p.name
	}
	issuer := "OIDC_ISSUER"
	switch {
	case p.Auth0Domain != "":
		issuer = "AUTH0_DOMAIN"
	case len(p.Tenants) > 0:
		issuer = "OIDC_TENANTS"
	}
	if p.issuer() != "" {
		for _, value := range (openid.Config{Issuer: p.issuer(), Tenants: p.Tenants}).Issuers() {
			claim(issuer, value, "has the issuer %s, as the provider %s has")
		}
	}
	for _, domain := range p.EmailDomains {
		claim("EMAIL_DOMAINS", strings.ToLower(domain), "has %s, as the provider %s has")
	}
}

package app

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/authn/redisstore"
)

// faults collects what is wrong with a configuration. Each fault names its variable and the
// remedy, and quotes no secret.
type faults []error

func (f *faults) add(variable, format string, args ...any) {
	*f = append(*f, fmt.Errorf(variable+": "+format, args...))
}

// oneOf adds a fault if the value is none of the choices.
func (f *faults) oneOf(variable, value string, choices ...string) {
	if !slices.Contains(choices, value) {
		f.add(variable, "is %q; it can be %s", value, strings.Join(slices.DeleteFunc(slices.Clone(choices), func(c string) bool { return c == "" }), " or "))
	}
}

// validate returns every fault of the configuration.
func (c *Config) validate() []error {
	var f faults
	c.validateProvider(&f)
	c.validateAddresses(&f)
	c.validateSessions(&f)
	c.validateProtocol(&f)
	c.validateOrigins(&f)
	f.oneOf("LOG_FORMAT", c.LogFormat, "", "text", "json")
	if err := new(slog.Level).UnmarshalText([]byte(c.LogLevel)); err != nil {
		f.add("LOG_LEVEL", "is %q; it can be debug, info, warn, error", c.LogLevel)
	}
	return f
}

func (c *Config) validateProvider(f *faults) {
	if !developmentProviderIncluded && c.DevProviderAddr != "" {
		f.add("DEV_PROVIDER_ADDR", "is set, and this is a release build, which has no development provider; remove it")
	}
	if c.development() {
		c.validateDevelopment(f)
		return
	}
	if c.Auth0Domain != "" && c.OIDCIssuer != "" {
		f.add("OIDC_ISSUER", "is set together with AUTH0_DOMAIN; keep the one that is your provider")
	}
	if c.Auth0Domain != "" {
		if u, err := url.Parse("https://" + c.Auth0Domain + "/"); err != nil || u.Host != c.Auth0Domain || u.Hostname() == "" || strings.ContainsAny(c.Auth0Domain, "/ ") {
			f.add("AUTH0_DOMAIN", "is %q; write the domain alone, without https:// and without a slash: tenant.eu.auth0.com", c.Auth0Domain)
		}
	} else if u, err := url.Parse(c.OIDCIssuer); err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil ||
		(u.Scheme != "https" && (u.Scheme != "http" || !openid.IsLoopback(u.Hostname()))) {
		f.add("OIDC_ISSUER", "is %q; write the issuer as the provider does, an https URL to the letter: https://id.example.com/realms/acme", c.OIDCIssuer)
	}
	if text := openid.Misspelt(c.OIDCIssuer); text != "" {
		f.add("OIDC_ISSUER", "is %q; %s", c.OIDCIssuer, text)
	}
	if c.FederatedLogout == "on" && c.Auth0Domain == "" && !openid.IsAuth0(c.OIDCIssuer) {
		f.add("FEDERATED_LOGOUT", "is on, and the provider is not Auth0, which alone can be asked for it; remove it, or set AUTH0_DOMAIN for a custom domain of Auth0's")
	}
	for _, variable := range [][2]string{{"AUTH0_CLIENT_ID", c.ClientID}, {"AUTH0_CLIENT_SECRET", string(c.ClientSecret)}} {
		if placeholder(variable[1]) {
			f.add(variable[0], "still has its placeholder; the provider shows the value where the application is registered")
		}
	}
	if c.ClientID == "" {
		f.add("AUTH0_CLIENT_ID", "is missing; the provider shows it where the application is registered")
	}
	if c.ClientSecret == "" && c.ClientAuth != openid.PrivateKeyJWT {
		f.add("AUTH0_CLIENT_SECRET", "is missing; the provider shows it beside the client id")
	}
}

// validateDevelopment makes sure that nobody uses the built-in provider by accident,
// because it signs anyone in as anyone.
func (c *Config) validateDevelopment(f *faults) {
	if c.ClientID != "" || c.ClientSecret != "" {
		f.add("AUTH0_DOMAIN", "is missing, and AUTH0_CLIENT_ID or AUTH0_CLIENT_SECRET is set; add AUTH0_DOMAIN (or OIDC_ISSUER), or remove them to use the development provider")
		return
	}
	if !developmentProviderIncluded {
		f.add("AUTH0_DOMAIN", "is missing, and so is OIDC_ISSUER; this is a release build, which has no development provider")
		return
	}
	if base := c.BaseURL(c.Port); !openid.IsLoopback(base.Hostname()) {
		f.add("AUTH0_DOMAIN", "is missing, and so is OIDC_ISSUER; the development provider serves loopback only, and the base URL is %s", base)
	}
	if host, _, err := net.SplitHostPort(c.devProviderAddr()); err != nil || !openid.IsLoopback(host) {
		f.add("DEV_PROVIDER_ADDR", "is %q; it must be a loopback host and a port, such as 127.0.0.1:3001", c.DevProviderAddr)
	}
	if c.ListenAddr != "" && !openid.IsLoopback(c.ListenAddr) {
		f.add("LISTEN_ADDR", "is %q; with the development provider the app listens on loopback only", c.ListenAddr)
	}
	if c.ClientAuth == openid.PrivateKeyJWT {
		f.add("CLIENT_AUTH", "is private_key_jwt, which the development provider does not take; use client_secret_basic or client_secret_post")
	}
}

func (c *Config) validateAddresses(f *faults) {
	if c.Port < 0 || c.Port > 65535 {
		f.add("PORT", "is %d; it can be 0 (any free port) to 65535", c.Port)
	}
	if c.Port == 65535 && c.development() && c.DevProviderAddr == "" {
		f.add("DEV_PROVIDER_ADDR", "is needed with PORT 65535, which has no next port")
	}
	if c.OpsAddr != "" {
		if _, port, err := net.SplitHostPort(c.OpsAddr); err != nil || port == "" {
			f.add("OPS_ADDR", "is %q; write a host and a port, such as 127.0.0.1:9090, or :9090 for all interfaces", c.OpsAddr)
		}
	}
	if grace := c.shutdownGrace(); grace < 0 || grace > maxShutdownGrace {
		f.add("SHUTDOWN_GRACE", "is %s; it can be 0s to %s", grace, maxShutdownGrace)
	}
	if _, _, err := net.SplitHostPort(c.ListenAddr); err == nil {
		f.add("LISTEN_ADDR", "is %q; write the host alone, the port is PORT", c.ListenAddr)
	}
	u, err := url.Parse(c.callbackURL(c.Port))
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "/callback":
		f.add("AUTH0_CALLBACK_URL", "is %q; it must be an absolute URL that ends in /callback, as it is registered at the provider", c.CallbackURL)
	case u.Scheme == "http" && !openid.IsLoopback(u.Hostname()):
		f.add("AUTH0_CALLBACK_URL", "is %q; plain http is for loopback only, use https", c.CallbackURL)
	case u.Scheme != "http" && u.Scheme != "https":
		f.add("AUTH0_CALLBACK_URL", "is %q; it must begin with https:// (or http:// on loopback)", c.CallbackURL)
	}
	if err == nil && u.Scheme == "http" && c.TLSCertFile != "" {
		f.add("AUTH0_CALLBACK_URL", "is %q, plain http, and TLS_CERT_FILE is set; write https://", c.callbackURL(c.Port))
	}
	if err == nil && c.CallbackURL != "" && u.Scheme == "http" && openid.IsLoopback(u.Hostname()) && c.Port != 0 && cmp.Or(u.Port(), "80") != strconv.Itoa(c.Port) {
		f.add("PORT", "is %d, and AUTH0_CALLBACK_URL is %q; people would be sent to a port where nothing listens", c.Port, c.CallbackURL)
	}
	c.validateCertificate(f)
}

func (c *Config) validateCertificate(f *faults) {
	switch {
	case c.TLSCertFile == "" && c.TLSKeyFile == "":
	case c.TLSCertFile == "":
		f.add("TLS_CERT_FILE", "is missing, and TLS_KEY_FILE is set; set both or neither")
	case c.TLSKeyFile == "":
		f.add("TLS_KEY_FILE", "is missing, and TLS_CERT_FILE is set; set both or neither")
	default:
		if _, err := tls.LoadX509KeyPair(c.TLSCertFile, c.TLSKeyFile); err != nil {
			f.add("TLS_CERT_FILE", "cannot be used with TLS_KEY_FILE: %v", err)
		}
	}
}

// placeholder recognizes the client ids and secrets of examples: dots, or the words
// themselves in any spelling. Any other value may be real.
func placeholder(value string) bool {
	plain := strings.NewReplacer("-", "", "_", "", " ", "", "<", "", ">", "").Replace(strings.ToLower(value))
	words := []string{"clientid", "clientsecret", "yourclientid", "yourclientsecret", "yoursecret"}
	return slices.Contains(words, plain) || (value != "" && strings.Trim(value, ".…") == "")
}

// maxShutdownGrace is longer than any load balancer takes to notice.
const maxShutdownGrace = 5 * time.Minute

// weakSecret recognizes a text that is not random: it contains a word, or few different
// characters, as a repeated placeholder does.
func weakSecret(s openid.Secret) bool {
	for _, word := range []string{"change", "default", "example", "openssl", "password", "placeholder", "secret"} {
		if strings.Contains(strings.ToLower(string(s)), word) {
			return true
		}
	}
	seen := make(map[byte]bool)
	for i := range len(s) {
		seen[s[i]] = true
	}
	return len(seen) < 10
}

func (c *Config) validateSessions(f *faults) {
	const remedy = "make one with: openssl rand -hex 32"
	if c.AppSecretKey == "" && !openid.IsLoopback(c.BaseURL(c.Port).Hostname()) {
		f.add("APP_SECRET_KEY", "is missing; %s", remedy)
	}
	for i, secret := range c.secrets() {
		switch {
		case len(secret) < authn.MinSecretBytes:
			f.add("APP_SECRET_KEY", "key %d has %d bytes, it needs %d or more; %s", i+1, len(secret), authn.MinSecretBytes, remedy)
		case weakSecret(secret):
			f.add("APP_SECRET_KEY", "key %d is no random text; %s", i+1, remedy)
		}
	}
	c.validateStore(f)
	if c.SessionIdle < time.Second {
		f.add("SESSION_IDLE", "is %s; it must be a second or more", c.SessionIdle)
	}
	if c.SessionLimit < 1 {
		f.add("SESSION_LIMIT", "is %d; it must be 1 or more", c.SessionLimit)
	}
	if c.SessionAbsolute < c.SessionIdle {
		f.add("SESSION_ABSOLUTE", "is %s, shorter than SESSION_IDLE, which is %s", c.SessionAbsolute, c.SessionIdle)
	}
}

// validateStore quotes nothing of a value that may hold a password.
func (c *Config) validateStore(f *faults) {
	if c.SessionStore == "file" || c.SessionStore == "memory" {
		return
	}
	if !strings.Contains(string(c.SessionStore), "://") {
		f.add("SESSION_STORE", "can be file, memory, or a URL that begins with rediss://, redis:// or unix://")
		return
	}
	options, err := redisstore.ParseURL(string(c.SessionStore))
	if err != nil {
		f.add("SESSION_STORE", "%v", err)
		return
	}
	if c.development() && !options.OnThisMachine() {
		f.add("SESSION_STORE", "is on another machine; the development provider signs in anybody as anybody, and serves this machine only")
	}
	c.parsedRedis = options
}

func (c *Config) validateProtocol(f *faults) {
	f.oneOf("CLIENT_AUTH", c.ClientAuth, openid.ClientSecretBasic, openid.ClientSecretPost, openid.PrivateKeyJWT)
	f.oneOf("RESPONSE_MODE", c.ResponseMode, "query", "form_post")
	f.oneOf("PUSHED_AUTHORIZATION_REQUESTS", c.PushedRequests, "auto", "always", "never")
	f.oneOf("LOGOUT_TOKEN_TYP", c.LogoutTokenType, "compatible", "strict")
	f.oneOf("FRONTCHANNEL_LOGOUT", c.FrontchannelLogout, "off", "on")
	f.oneOf("FEDERATED_LOGOUT", c.FederatedLogout, "off", "on")
	f.oneOf("USERINFO", c.UserInfo, "optional", "required")
	if c.ResponseMode == "form_post" && c.BaseURL(c.Port).Scheme != "https" {
		f.add("RESPONSE_MODE", "is form_post, which needs an https AUTH0_CALLBACK_URL: its cookie must be Secure")
	}
	if !slices.Contains(strings.Fields(c.Scopes), "openid") {
		f.add("AUTH0_SCOPES", "lacks openid, without which nobody is signed in")
	}
	for _, alg := range c.IDTokenAlgorithms {
		f.oneOf("ID_TOKEN_ALG", alg, "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
	}
	if c.ClientAuth == openid.PrivateKeyJWT {
		c.validateSigningKey(f)
	}
}

func (c *Config) validateSigningKey(f *faults) {
	if c.ClientSigningKey == "" {
		f.add("CLIENT_SIGNING_KEY", "is missing; private_key_jwt needs a PEM file with a private key")
		return
	}
	key, err := signingKey(c.ClientSigningKey)
	if err != nil {
		f.add("CLIENT_SIGNING_KEY", "%v", err)
		return
	}
	c.parsedSigningKey = key
	algorithms, err := openid.SigningAlgorithms(key)
	if err != nil {
		f.add("CLIENT_SIGNING_KEY", "%v", err)
		return
	}
	f.oneOf("CLIENT_SIGNING_ALG", cmp.Or(c.ClientSigningAlg, algorithms[0]), algorithms...)
}

func (c *Config) validateOrigins(f *faults) {
	for _, cidr := range c.TrustedProxies {
		prefix, err := netip.ParsePrefix(cidr)
		if err != nil {
			f.add("TRUSTED_PROXIES", "%q is not a CIDR, such as 10.0.0.0/8", cidr)
			continue
		}
		c.parsedTrustProxies = append(c.parsedTrustProxies, prefix)
	}
	for _, origin := range c.PictureOrigins {
		if u, err := url.Parse(origin); err != nil || u.Scheme != "https" || u.Host == "" || origin != "https://"+u.Host || strings.ContainsAny(origin, "*;, ") {
			f.add("PICTURE_ORIGINS", "%q is not an origin, such as https://s.gravatar.com", origin)
		}
	}
}

package app

import (
	"crypto"
	"crypto/x509"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"latchkey/authn/openid"
	"latchkey/authn/redisstore"
)

// Config is the configuration: one field for each environment variable. The desc tag is the
// text of `latchkey help`. A field that sets one of [openid.Config] or [authn.Config] has the
// name of that one, so that a fault of it can name the variable.
type Config struct {
	Auth0Domain string `env:"AUTH0_DOMAIN" desc:"Auth0 tenant or custom domain, such as tenant.eu.auth0.com"`
	OIDCIssuer  string `env:"OIDC_ISSUER" desc:"any other OpenID provider, as its full issuer URL; not together with AUTH0_DOMAIN"`

	ClientID     string        `env:"AUTH0_CLIENT_ID" desc:"the application's client id at the provider"`
	ClientSecret openid.Secret `env:"AUTH0_CLIENT_SECRET" desc:"the application's client secret at the provider"`
	CallbackURL  string        `env:"AUTH0_CALLBACK_URL" desc:"the redirect URI; its origin is the app's base URL (default http://localhost:PORT/callback)"`
	Audience     string        `env:"AUTH0_AUDIENCE" desc:"the identifier of an API that access tokens are for; sent only when set. This app's own API takes access tokens for it"`
	Scopes       string        `env:"AUTH0_SCOPES, default=openid profile email offline_access" desc:"what to ask for; offline_access only where the provider offers it"`

	AppSecretKey openid.Secret `env:"APP_SECRET_KEY" desc:"32 bytes or more, as from openssl rand -hex 32; new,old replaces a key without signing anybody out (made and kept in DATA_DIR on loopback, required elsewhere)"`

	Port            int    `env:"PORT, default=3000" desc:"where the app listens"`
	ListenAddr      string `env:"LISTEN_ADDR" desc:"the host that it listens on, without a port (default localhost on a loopback base URL, else all interfaces)"`
	TLSCertFile     string `env:"TLS_CERT_FILE" desc:"PEM certificate, to serve HTTPS itself; together with TLS_KEY_FILE"`
	TLSKeyFile      string `env:"TLS_KEY_FILE" desc:"PEM key of the certificate"`
	DevProviderAddr string `env:"DEV_PROVIDER_ADDR" desc:"where the development provider listens (default 127.0.0.1:PORT+1)"`
	OpsAddr         string `env:"OPS_ADDR" desc:"host and port of a second listener, for /metrics, /healthz and /readyz alone, such as 127.0.0.1:9090; operators only"`

	ShutdownGrace *time.Duration `env:"SHUTDOWN_GRACE, noinit" desc:"how long the app goes on after SIGTERM, not ready, until no load balancer sends it requests (default 0s on a loopback base URL, else 2s)"`

	SessionStore      openid.Secret `env:"SESSION_STORE, default=file" desc:"file, memory, or the URL of a Redis or Valkey server that nodes share, such as rediss://user:password@host:6379"`
	DataDir           string        `env:"DATA_DIR, default=data" desc:"the directory of the session file and of the development keys"`
	Idle              time.Duration `env:"SESSION_IDLE, default=24h" desc:"idle timeout: a session that is not used for this long ends"`
	Absolute          time.Duration `env:"SESSION_ABSOLUTE, default=168h" desc:"absolute timeout: a session ends after this long in any case"`
	SessionsPerPerson int           `env:"SESSION_LIMIT, default=50" desc:"how many sessions a person may have; beyond it the one not used for longest ends"`

	ClientAuth                  string     `env:"CLIENT_AUTH, default=client_secret_basic" desc:"client_secret_basic, client_secret_post or private_key_jwt"`
	SigningKey                  string     `env:"CLIENT_SIGNING_KEY" desc:"PEM file with the private key for private_key_jwt: RSA, P-256, P-384, P-521 or Ed25519"`
	SigningAlgorithm            string     `env:"CLIENT_SIGNING_ALG" desc:"the algorithm that it signs with (default what the key implies, RS256 for RSA)"`
	SigningKeyID                string     `env:"CLIENT_SIGNING_KID" desc:"the key's id at the provider (default its RFC 7638 thumbprint)"`
	IDTokenAlgorithms           []string   `env:"ID_TOKEN_ALG, default=RS256" desc:"signing algorithms that an ID token may have, a comma list"`
	ResponseMode                string     `env:"RESPONSE_MODE, default=query" desc:"query, or form_post on https"`
	PushedAuthorizationRequests string     `env:"PUSHED_AUTHORIZATION_REQUESTS, default=auto" desc:"auto (where the provider requires them), always or never"`
	LogoutTokenType             string     `env:"LOGOUT_TOKEN_TYP, default=compatible" desc:"compatible, or strict to ask for typ logout+jwt"`
	FrontchannelLogout          string     `env:"FRONTCHANNEL_LOGOUT, default=off" desc:"on serves /frontchannel-logout, which the provider loads in a frame to end a session"`
	FederatedLogout             string     `env:"FEDERATED_LOGOUT, default=off" desc:"on has Auth0 also sign people out at the identity provider that they came from"`
	UserInfo                    string     `env:"USERINFO, default=optional" desc:"optional, or required to refuse a sign-in when the userinfo endpoint fails"`
	TrustedProxies              []string   `env:"TRUSTED_PROXIES" desc:"CIDRs whose X-Forwarded-For counts, a comma list"`
	PictureOrigins              []string   `env:"PICTURE_ORIGINS" desc:"origins beside the provider's that pictures of people are shown from, a comma list such as https://s.gravatar.com"`
	LogFormat                   string     `env:"LOG_FORMAT" desc:"text or json (default text on a terminal, else json)"`
	LogLevel                    slog.Level `env:"LOG_LEVEL, default=info" desc:"debug, info, warn or error"`

	set                map[string]bool // the variables that are set
	parsedSigningKey   crypto.Signer
	parsedTrustProxies []netip.Prefix
	parsedRedis        *redisstore.Options
	parsedCertificate  *x509.Certificate // nil without TLS_CERT_FILE
}

// Variable is an environment variable of the program.
type Variable struct {
	// Name and Default are as in the environment. Description is for people.
	Name, Default, Description string
	// field is the variable's field of Config.
	field reflect.StructField
}

// Variables returns all variables in the order of Config.
func Variables() (list []Variable) {
	for field := range reflect.TypeFor[Config]().Fields() {
		if tag, ok := field.Tag.Lookup("env"); ok {
			name, options, _ := strings.Cut(tag, ", ")
			_, value, _ := strings.Cut(options, "default=")
			list = append(list, Variable{name, value, field.Tag.Get("desc"), field})
		}
	}
	return list
}

// development reports whether the app uses the built-in provider.
func (c *Config) development() bool { return c.Auth0Domain == "" && c.OIDCIssuer == "" }

// issuer returns the issuer of a real provider. An Auth0 issuer ends in a slash.
func (c *Config) issuer() string {
	if c.Auth0Domain != "" {
		return "https://" + c.Auth0Domain + "/"
	}
	return c.OIDCIssuer
}

// callbackURL returns the redirect URI of an app that listens on a port.
func (c *Config) callbackURL(port int) string {
	if c.CallbackURL != "" {
		return c.CallbackURL
	}
	return "http://localhost:" + strconv.Itoa(port) + "/callback"
}

// BaseURL returns the origin of an app that listens on a port. It is that of the callback
// URL.
func (c *Config) BaseURL(port int) *url.URL {
	u, err := url.Parse(c.callbackURL(port))
	if err != nil {
		return &url.URL{}
	}
	// Browsers leave the default port out of Host and Origin.
	host := u.Host
	if port := u.Port(); (u.Scheme == "http" && port == "80") || (u.Scheme == "https" && port == "443") {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return &url.URL{Scheme: u.Scheme, Host: host}
}

// onLoopback reports whether the base URL names this machine and nothing else.
func (c *Config) onLoopback() bool { return openid.IsLoopback(c.BaseURL(c.Port).Hostname()) }

// listenHost returns the host that the app listens on, or "" for all interfaces.
func (c *Config) listenHost() string {
	if c.ListenAddr == "" && c.onLoopback() {
		return "localhost"
	}
	return c.ListenAddr
}

// listenAddr returns the address that the app listens on.
func (c *Config) listenAddr() string { return net.JoinHostPort(c.listenHost(), strconv.Itoa(c.Port)) }

// devProviderAddr returns the address that the development provider listens on.
func (c *Config) devProviderAddr() string {
	switch {
	case c.DevProviderAddr != "":
		return c.DevProviderAddr
	case c.Port == 0:
		return "127.0.0.1:0"
	default:
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port+1))
	}
}

// storeKind returns a word for the session store: file, memory or redis.
func (c *Config) storeKind() string {
	if c.parsedRedis != nil {
		return "redis"
	}
	return string(c.SessionStore)
}

// shutdownGrace returns how long the app keeps serving after it was told to stop.
func (c *Config) shutdownGrace() time.Duration {
	switch {
	case c.ShutdownGrace != nil:
		return *c.ShutdownGrace
	case c.onLoopback():
		return 0
	default:
		return 2 * time.Second
	}
}

package app

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
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
	// An Auth0 tenant has one address for everyone.
	BackchannelOrigin string `env:"OIDC_BACKCHANNEL_ORIGIN" desc:"where the app itself reaches the provider of OIDC_ISSUER, if that is not where browsers do, such as http://keycloak:8080; the issuer stays the same"`

	ClientID     string        `env:"AUTH0_CLIENT_ID" desc:"the client ID of the application at the provider"`
	ClientSecret openid.Secret `env:"AUTH0_CLIENT_SECRET" desc:"the client secret of the application at the provider"`
	CallbackURL  string        `env:"AUTH0_CALLBACK_URL" desc:"the redirect URI; its origin is the app's base URL (default http://localhost:PORT/callback)"`
	LogoutURL    string        `env:"AUTH0_LOGOUT_URL" desc:"the page of this app that the provider sends people back to after a sign-out, exactly as registered there (default the base URL alone, such as http://localhost:PORT)"`
	Audience     string        `env:"AUTH0_AUDIENCE" desc:"the identifier of the API that access tokens are for; sent only if set. This app's own API accepts access tokens for it"`
	Resources    []string      `env:"RESOURCES" desc:"further APIs that the app calls, as absolute URIs separated by commas; sent as resource at the sign-in, for providers that later issue tokens for no others (RFC 8707). Not for Auth0"`
	Scopes       string        `env:"AUTH0_SCOPES, default=openid profile email offline_access" desc:"the scopes to request, separated by spaces; offline_access is not sent if the provider lists its scopes without it"`

	AppSecretKey openid.Secret `env:"APP_SECRET_KEY" desc:"32 bytes or more, such as from openssl rand -hex 32; new,old replaces a key without signing anyone out (default on loopback: made and kept in DATA_DIR; required elsewhere)"`

	Port            int    `env:"PORT, default=3000" desc:"the port that the app listens on; 0 is any free port"`
	ListenAddr      string `env:"LISTEN_ADDR" desc:"the host that the app listens on, without a port; localhost is both 127.0.0.1 and ::1 (default the host of the base URL if that is loopback, else all interfaces)"`
	TLSCertFile     string `env:"TLS_CERT_FILE" desc:"PEM file with the certificate, if the app serves HTTPS itself; set TLS_KEY_FILE too"`
	TLSKeyFile      string `env:"TLS_KEY_FILE" desc:"PEM file with the private key of the certificate"`
	MutualTLSAddr   string `env:"MTLS_ADDR" desc:"host and port of another HTTPS listener, such as :8443, for callers of this app's API whose access token is bound to a certificate; it asks clients for a certificate, the other one does not"`
	DevProviderAddr string `env:"DEV_PROVIDER_ADDR" desc:"where the development provider listens (default 127.0.0.1:PORT+1)"`
	OpsAddr         string `env:"OPS_ADDR" desc:"host and port of a second listener for operators, such as 127.0.0.1:9090; it serves /metrics, /healthz and /readyz"`

	OpsToken openid.Secret `env:"OPS_TOKEN" desc:"32 bytes or more, such as from openssl rand -hex 32, with which operators list and end sessions at OPS_ADDR; without it nobody can"`

	ShutdownGrace *time.Duration `env:"SHUTDOWN_GRACE, noinit" desc:"how long the app keeps serving after SIGTERM while /readyz answers 503, so that load balancers take it out first (default 0s if the base URL is on loopback, else 2s)"`

	SessionStore      openid.Secret `env:"SESSION_STORE, default=file" desc:"file, memory, or the URL of a Redis or Valkey server that several nodes share, such as rediss://user:password@host:6379"`
	DataDir           string        `env:"DATA_DIR, default=data" desc:"the directory of the session file and of the development keys"`
	Idle              time.Duration `env:"SESSION_IDLE, default=24h" desc:"idle timeout: a session that is not used for this long ends"`
	Absolute          time.Duration `env:"SESSION_ABSOLUTE, default=168h" desc:"absolute timeout: a session ends after this long in any case"`
	SessionsPerPerson int           `env:"SESSION_LIMIT, default=50" desc:"how many sessions a person may have; one more ends the session that was unused for the longest time"`
	DeviceBound       string        `env:"DEVICE_BOUND_SESSIONS, default=off" desc:"off, or auto to bind each session to a key of the browser's machine where the browser has one, on https (Device Bound Session Credentials, a draft)"`

	Profile                     string     `env:"PROFILE" desc:"fapi2 to accept only what the FAPI 2.0 Security Profile allows, or fapi2-message-signing for FAPI 2.0 Message Signing too; variables that are not set follow from it"`
	ClientAuth                  string     `env:"CLIENT_AUTH, default=client_secret_basic" desc:"client_secret_basic, client_secret_post, private_key_jwt, tls_client_auth or self_signed_tls_client_auth"`
	ClientCertFile              string     `env:"CLIENT_TLS_CERT_FILE" desc:"PEM file with the certificate that the app presents to the provider and to APIs (RFC 8705), to authenticate by it, or to have access tokens bound to it; set CLIENT_TLS_KEY_FILE too"`
	ClientKeyFile               string     `env:"CLIENT_TLS_KEY_FILE" desc:"PEM file with the private key of that certificate"`
	SigningKey                  string     `env:"CLIENT_SIGNING_KEY" desc:"PEM file with the private key for private_key_jwt and for request objects: RSA, P-256, P-384, P-521 or Ed25519"`
	SigningAlgorithm            string     `env:"CLIENT_SIGNING_ALG" desc:"the algorithm that the key signs with (default the one of the key's type, RS256 for RSA)"`
	SigningKeyID                string     `env:"CLIENT_SIGNING_KID" desc:"the ID of the key at the provider (default its RFC 7638 thumbprint)"`
	IDTokenAlgorithms           []string   `env:"ID_TOKEN_ALG, default=RS256" desc:"the signing algorithms that are accepted for ID tokens, separated by commas"`
	ResponseMode                string     `env:"RESPONSE_MODE, default=query" desc:"query, or form_post on https; jwt or form_post.jwt for signed responses (JARM)"`
	ResponseAlgorithms          []string   `env:"AUTHORIZATION_SIGNED_RESPONSE_ALG" desc:"the signing algorithms that are accepted for signed responses, separated by commas (default those of ID_TOKEN_ALG)"`
	PushedAuthorizationRequests string     `env:"PUSHED_AUTHORIZATION_REQUESTS, default=auto" desc:"auto (only if the provider requires them), always or never"`
	RequestObject               string     `env:"REQUEST_OBJECT, default=off" desc:"off, or on to send authorization requests as request objects (RFC 9101), which CLIENT_SIGNING_KEY signs"`
	DPoP                        string     `env:"DPOP, default=off" desc:"off, or on to bind access tokens to a key of the session (RFC 9449), so that a stolen one is worth nothing; the provider must issue such tokens"`
	LogoutTokenType             string     `env:"LOGOUT_TOKEN_TYP, default=compatible" desc:"compatible, or strict to require typ logout+jwt and exp of logout tokens"`
	FrontchannelLogout          string     `env:"FRONTCHANNEL_LOGOUT, default=off" desc:"off, or on to serve /frontchannel-logout, which the provider loads in a frame to end a session"`
	FederatedLogout             string     `env:"FEDERATED_LOGOUT, default=off" desc:"off, or on to have Auth0 sign people out at the identity provider behind it too"`
	UserInfo                    string     `env:"USERINFO, default=optional" desc:"optional, or required to refuse a sign-in if the userinfo endpoint fails"`
	AccessTokens                string     `env:"API_TOKENS, default=any" desc:"any, or bound to have this app's API refuse access tokens that are bound neither to a DPoP key nor to a certificate"`
	ProofNonces                 string     `env:"API_DPOP_NONCE, default=off" desc:"off, or required to demand a nonce of this app in each DPoP proof that its API accepts, so that none can be made in advance"`
	TrustedProxies              []string   `env:"TRUSTED_PROXIES" desc:"networks of proxies whose X-Forwarded-For and X-Forwarded-Host are trusted, such as 10.0.0.0/8, separated by commas"`
	PictureOrigins              []string   `env:"PICTURE_ORIGINS" desc:"further origins that pictures of people may come from, such as https://images.example.com, separated by commas; none leaves out those of Auth0 and Google, and the provider's own origin is always allowed"`
	LogFormat                   string     `env:"LOG_FORMAT" desc:"text or json (default text on a terminal, else json)"`
	LogLevel                    slog.Level `env:"LOG_LEVEL, default=info" desc:"debug, info, warn or error"`
	LogEvents                   string     `env:"LOG_EVENTS" desc:"where security events are written as well, as JSON: a file, or fd:N for an open descriptor such as fd:3"`

	program            Program
	set                map[string]bool // the variables that are set
	followed           map[string]bool // those that follow from PROFILE
	parsedSigningKey   crypto.Signer
	parsedTrustProxies []netip.Prefix
	parsedRedis        *redisstore.Options
	parsedCertificate  *x509.Certificate // nil without TLS_CERT_FILE
	parsedClientCert   *x509.Certificate // nil without CLIENT_TLS_CERT_FILE
}

// Variable is an environment variable of the program.
type Variable struct {
	// Name and Default are as in the environment. Description is for people.
	Name, Default, Description string
	// OfProduct marks the variables of the product's own settings.
	OfProduct bool
	// field is the variable's field of Config, or of the product's settings.
	field reflect.StructField
}

// Variables returns the variables of the app alone; see [Program.Variables].
func Variables() []Variable { return Program{}.Variables() }

// Variables returns all variables, in the order of Config, and then those of the product. It panics if
// both have the same variable.
func (p Program) Variables() []Variable {
	list := variables(reflect.TypeFor[Config]())
	if p.Product.Config == nil {
		return list
	}
	for _, v := range variables(reflect.TypeOf(p.Product.Config).Elem()) {
		if slices.ContainsFunc(list, func(other Variable) bool { return other.Name == v.Name }) {
			panic("app: the product's variable " + v.Name + " exists already")
		}
		v.OfProduct = true
		list = append(list, v)
	}
	return list
}

// value returns the value of a variable.
func (c *Config) value(v Variable) any {
	var settings any = c
	if v.OfProduct {
		settings = c.program.Product.Config
	}
	return reflect.ValueOf(settings).Elem().FieldByIndex(v.field.Index).Interface()
}

// variables returns the variables of a struct of settings.
func variables(settings reflect.Type) (list []Variable) {
	for field := range settings.Fields() {
		if tag, ok := field.Tag.Lookup("env"); ok {
			name, options, _ := strings.Cut(tag, ", ")
			_, value, _ := strings.Cut(options, "default=")
			list = append(list, Variable{Name: name, Default: value, Description: field.Tag.Get("desc"), field: field})
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
	return originOf(u)
}

// originOf returns the origin of an address, without the default port, as browsers send it in Host
// and Origin.
func originOf(u *url.URL) *url.URL {
	host := u.Host
	if port := u.Port(); (u.Scheme == "http" && port == "80") || (u.Scheme == "https" && port == "443") {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return &url.URL{Scheme: u.Scheme, Host: host}
}

// logoutURL returns where the browser comes back to after a sign-out: by default the origin alone, as
// Auth0's quickstarts register it.
func (c *Config) logoutURL(port int) string {
	return cmp.Or(c.LogoutURL, c.BaseURL(port).String())
}

// noPictures is the word in PICTURE_ORIGINS that removes the origins of the provider's preset.
const noPictures = "none"

// pictureOrigins returns the origins of pictures beside the provider's own.
func (c *Config) pictureOrigins(preset openid.Preset) []string {
	own := slices.DeleteFunc(slices.Clone(c.PictureOrigins), func(origin string) bool { return origin == noPictures })
	if len(own) < len(c.PictureOrigins) {
		return own
	}
	return append(preset.PictureOrigins(), own...)
}

// onLoopback reports whether the base URL names this machine and nothing else.
func (c *Config) onLoopback() bool { return openid.IsLoopback(c.BaseURL(c.Port).Hostname()) }

// listenHost returns the host that the app listens on, or "" for all interfaces.
func (c *Config) listenHost() string {
	if c.ListenAddr == "" && c.onLoopback() {
		return c.BaseURL(c.Port).Hostname()
	}
	return c.ListenAddr
}

// otherLocalhosts returns the addresses of localhost that a browser may try, because the base URL says
// localhost, but that the app does not listen on, because LISTEN_ADDR is a single address.
func (c *Config) otherLocalhosts() []string {
	own := net.ParseIP(c.listenHost())
	if own == nil || own.IsUnspecified() || c.BaseURL(c.Port).Hostname() != "localhost" {
		return nil
	}
	return slices.DeleteFunc(addresses("localhost"), func(address string) bool { return own.Equal(net.ParseIP(address)) })
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

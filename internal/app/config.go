package app

import (
	"cmp"
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
// text of `latchkey help`. A field whose value package openid or authn validates has the name that it
// has there, unless validateSettings maps it, so that a fault can name the variable.
type Config struct {
	ProviderNames []string `env:"PROVIDERS" desc:"names for several providers, such as work,google: lower-case letters and digits, separated by commas; each has variables of its own, such as WORK_OIDC_ISSUER"`

	ProviderConfig // of the only provider, and the defaults of several

	CallbackURL string `env:"AUTH0_CALLBACK_URL" desc:"the redirect URI; its origin is the app's base URL (default http://localhost:PORT/callback)"`
	LogoutURL   string `env:"AUTH0_LOGOUT_URL" desc:"the page of this app that the provider sends people back to after a sign-out, exactly as registered there (default the base URL alone, such as http://localhost:PORT)"`

	AppSecretKey openid.Secret `env:"APP_SECRET_KEY" desc:"32 bytes or more, such as from openssl rand -hex 32; new,old replaces a key without signing anyone out (default on loopback: made and kept in DATA_DIR; required elsewhere)"`

	Port            int    `env:"PORT, default=3000" desc:"the port that the app listens on; 0 is any free port"`
	ListenAddr      string `env:"LISTEN_ADDR" desc:"the host that the app listens on, without a port; localhost is both 127.0.0.1 and ::1 (default the host of the base URL if that is loopback, else all interfaces)"`
	TLSCertFile     string `env:"TLS_CERT_FILE" desc:"PEM file with the certificate, if the app serves HTTPS itself; set TLS_KEY_FILE too"`
	TLSKeyFile      string `env:"TLS_KEY_FILE" desc:"PEM file with the private key of the certificate"`
	MutualTLSAddr   string `env:"MTLS_ADDR" desc:"host and port of another HTTPS listener, such as :8443, for callers of this app's API whose access token is bound to a certificate; unlike the main listener, it asks clients for a certificate"`
	DevProviderAddr string `env:"DEV_PROVIDER_ADDR" desc:"where the development provider listens; with several, the others have the next ports (default 127.0.0.1:PORT+1)"`
	OpsAddr         string `env:"OPS_ADDR" desc:"host and port of a second listener for operators, such as 127.0.0.1:9090; it serves /metrics, /healthz and /readyz, and with OPS_TOKEN it also lists and ends sessions"`

	OpsToken openid.Secret `env:"OPS_TOKEN" desc:"32 bytes or more, such as from openssl rand -hex 32, with which operators list and end sessions at OPS_ADDR; without it nobody can"`

	ShutdownGrace *time.Duration `env:"SHUTDOWN_GRACE, noinit" desc:"how long the app keeps serving after SIGTERM while /readyz answers 503, so that load balancers take it out first (default 0s if the base URL is on loopback, else 2s)"`

	SessionStore       openid.Secret `env:"SESSION_STORE, default=file" desc:"file, memory, or the URL of a Redis or Valkey server that several nodes share, such as rediss://user:password@host:6379"`
	DataDir            string        `env:"DATA_DIR, default=data" desc:"the directory of the session file, of the secret key that the app makes if APP_SECRET_KEY is not set, and of the development provider's keys"`
	Idle               time.Duration `env:"SESSION_IDLE, default=24h" desc:"idle timeout: a session that is not used for this long ends"`
	Absolute           time.Duration `env:"SESSION_ABSOLUTE, default=168h" desc:"absolute timeout: a session ends after this long in any case"`
	SessionsPerPerson  int           `env:"SESSION_LIMIT, default=50" desc:"how many sessions a person may have; one more ends the session that was unused for the longest time"`
	FrontchannelLogout string        `env:"FRONTCHANNEL_LOGOUT, default=off" desc:"off, or on to serve /frontchannel-logout, which the provider loads in a frame to end a session"`
	DeviceBound        string        `env:"DEVICE_BOUND_SESSIONS, default=off" desc:"off, or auto to bind each session to a key of the browser's machine where the browser has one, on https (Device Bound Session Credentials, a draft)"`

	AccessTokens string `env:"API_TOKENS, default=any" desc:"any, or bound to have this app's API refuse access tokens that are bound neither to a DPoP key nor to a certificate"`
	ProofNonces  string `env:"API_DPOP_NONCE, default=off" desc:"off, or required to demand a nonce of this app in each DPoP proof that its API accepts, so that none can be made in advance"`

	TrustedProxies []string   `env:"TRUSTED_PROXIES" desc:"networks of proxies whose X-Forwarded-For and X-Forwarded-Host are trusted, such as 10.0.0.0/8, separated by commas"`
	PictureOrigins []string   `env:"PICTURE_ORIGINS" desc:"further origins that pictures of people may come from, such as https://images.example.com, separated by commas; none leaves out those of Auth0 and Google, and the provider's own origin is always allowed"`
	LogFormat      string     `env:"LOG_FORMAT" desc:"text or json (default text on a terminal, else json)"`
	LogLevel       slog.Level `env:"LOG_LEVEL, default=info" desc:"debug, info, warn or error"`
	LogEvents      string     `env:"LOG_EVENTS" desc:"where security events are written as well, as JSON: a file, or fd:N for an open descriptor such as fd:3"`

	program            Program
	set                map[string]bool // the variables that are set
	providers          []*provider
	parsedTrustProxies []netip.Prefix
	parsedRedis        *redisstore.Options
	parsedCertificate  *x509.Certificate // nil without TLS_CERT_FILE
	cacheBytes         int               // of each cache, from limitMemory; zero stands for the defaults
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
	for _, field := range reflect.VisibleFields(settings) {
		if tag, ok := field.Tag.Lookup("env"); ok {
			name, options, _ := strings.Cut(tag, ", ")
			_, value, _ := strings.Cut(options, "default=")
			list = append(list, Variable{Name: name, Default: value, Description: field.Tag.Get("desc"), field: field})
		}
	}
	return list
}

// development reports whether the app uses the built-in provider: one for each name if there are
// several.
func (c *Config) development() bool {
	return !slices.ContainsFunc(c.providers, func(p *provider) bool { return p.issuer() != "" })
}

// callbackURL returns the redirect URI of an app that listens on a port. With several providers, the
// name of each follows it.
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

// pictureOrigins returns the origins of pictures beside the providers' own. presets are those of the
// providers' presets.
func (c *Config) pictureOrigins(presets []string) []string {
	own := slices.DeleteFunc(slices.Clone(c.PictureOrigins), func(origin string) bool { return origin == noPictures })
	if len(own) < len(c.PictureOrigins) {
		return own
	}
	var list []string
	for _, origin := range presets { // several providers may have the same
		if !slices.Contains(list, origin) {
			list = append(list, origin)
		}
	}
	return append(list, own...)
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

// devProviderAddr returns the address that the n-th development provider listens on, from 0.
func (c *Config) devProviderAddr(n int) string {
	host, port, err := net.SplitHostPort(c.DevProviderAddr)
	first, notNumber := strconv.Atoi(port)
	switch {
	case c.DevProviderAddr != "" && (n == 0 || err != nil || notNumber != nil):
		return c.DevProviderAddr
	case c.DevProviderAddr == "" && c.Port == 0:
		return "127.0.0.1:0"
	case c.DevProviderAddr == "":
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port+1+n))
	case first == 0:
		return c.DevProviderAddr
	default:
		return net.JoinHostPort(host, strconv.Itoa(first+n))
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

package app

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/authn/redisstore"
)

// maxShutdownGrace is longer than any load balancer takes to notice.
const maxShutdownGrace = 5 * time.Minute

// validate adds every fault of the configuration, and keeps the parsed form of values such as URLs and
// certificates. Each fault names its variable, and quotes no secret.
func (c *Config) validate(f *openid.Faults) {
	for _, p := range c.providers {
		p.readSigningKey(f)
		p.followProfile(c.set)
	}
	if !developmentProviderIncluded && c.DevProviderAddr != "" {
		f.Add("DEV_PROVIDER_ADDR", "is set, and this is a release build, which has no development provider", "remove it")
	}
	c.validateProviders(f)
	c.validateCallback(f)
	c.validateLogoutURL(f)
	c.validateListeners(f)
	c.parsedCertificate = validateCertificate(f, "TLS_CERT_FILE", c.TLSCertFile, "TLS_KEY_FILE", c.TLSKeyFile)
	c.validateSecrets(f)
	c.validateStore(f)
	c.validateOrigins(f)
	f.OneOf("DEVICE_BOUND_SESSIONS", c.DeviceBound, "off", "auto")
	f.OneOf("FRONTCHANNEL_LOGOUT", c.FrontchannelLogout, "off", "on")
	f.OneOf("API_TOKENS", c.AccessTokens, "any", "bound")
	f.OneOf("API_DPOP_NONCE", c.ProofNonces, "off", "required")
	if c.LogFormat != "" {
		f.OneOf("LOG_FORMAT", c.LogFormat, "text", "json")
	}
	_, isDescriptor, err := c.eventsDescriptor()
	if isDescriptor && err != nil {
		f.Add("LOG_EVENTS", fmt.Sprintf("is %q", c.LogEvents), "write the path of a file, or fd: and the number of a descriptor, such as fd:3")
	}
	if dir := filepath.Dir(c.LogEvents); c.LogEvents != "" && !isDescriptor && !isDirectory(dir) {
		f.Add("LOG_EVENTS", fmt.Sprintf("is %q, and there is no directory %s", c.LogEvents, dir), "make the directory, or name a file in another")
	}
	c.validateSettings(f)
	if validate := c.program.Product.Validate; validate != nil {
		validate(f)
	}
}

const signingKeyRemedy = "name a PEM file with an RSA key of 2048 bits or more, or a P-256, P-384, P-521 or Ed25519 key"

// validateSettings adds the faults that packages openid and authn find in the settings, under
// the variables that made them. It passes over variables that have a fault already.
func (c *Config) validateSettings(f *openid.Faults) {
	variables := make(map[string]string)
	for _, v := range c.program.Variables() {
		if !v.OfProduct {
			variables[v.field.Name] = v.Name
		}
	}
	development := c.development()
	for _, p := range c.providers {
		variables["Issuer"], variables["ClientCertificate"] = "OIDC_ISSUER", "CLIENT_TLS_CERT_FILE"
		if p.Auth0Domain != "" {
			variables["Issuer"] = "AUTH0_DOMAIN"
		}
		settings := realProvider(p)
		if development { // which brings an issuer and a client of its own
			settings = &providerSettings{config: p, issuer: "http://localhost", clientID: "development", clientSecret: "development"}
		}
		c.addFaults(f, c.openID(c.Port, settings, nil).Faults(), func(field string) string { return p.variable(cmp.Or(variables[field], field)) })
	}
	c.addFaults(f, c.sessionSettings(nil, nil).Faults(), func(field string) string { return cmp.Or(variables[field], field) })
}

// addFaults adds the faults of fields of settings, unless their variables have a fault already.
func (c *Config) addFaults(f *openid.Faults, found openid.Faults, variable func(field string) string) {
	// Where the remedy is in other variables, the packages cannot name them.
	remedies := map[string]string{
		"Absolute":          "make it SESSION_IDLE or longer",
		"FederatedLogout":   "remove it, or set AUTH0_DOMAIN if the provider is Auth0 under a custom domain",
		"ResponseMode":      "use query or jwt, or form_post with an https AUTH0_CALLBACK_URL",
		"SigningKey":        signingKeyRemedy,
		"ClientCertificate": "name PEM files in CLIENT_TLS_CERT_FILE and CLIENT_TLS_KEY_FILE",
	}
	known := slices.Clone(*f)
	for _, fault := range found {
		if name := variable(fault.Field); !hasFault(known, name) {
			f.Add(name, fault.Problem, cmp.Or(remedies[fault.Field], fault.Remedy))
		}
	}
}

func hasFault(f openid.Faults, variable string) bool {
	return slices.ContainsFunc(f, func(known openid.Fault) bool { return known.Field == variable })
}

// validateProvider adds the faults of a real provider. c is the configuration that it is a part of.
func (c *Config) validateProvider(p *provider, f *openid.Faults) {
	if p.issuer() == "" {
		f.Add(p.variable("OIDC_ISSUER"), "is missing, and so is "+p.variable("AUTH0_DOMAIN"), "set one of them, or remove the issuers of all providers to use development providers")
	}
	if p.Auth0Domain != "" && p.OIDCIssuer != "" {
		f.Add(p.variable("OIDC_ISSUER"), "is set together with "+p.variable("AUTH0_DOMAIN"), "keep the one that is your provider")
	}
	if placeholderHost(p.Auth0Domain) {
		f.Add(p.variable("AUTH0_DOMAIN"), fmt.Sprintf("is %q, a placeholder", p.Auth0Domain), "the provider shows the domain where the application is registered")
	} else if u, err := url.Parse(p.issuer()); p.Auth0Domain != "" && (err != nil || u.Host != p.Auth0Domain || u.Hostname() == "") {
		f.Add(p.variable("AUTH0_DOMAIN"), fmt.Sprintf("is %q", p.Auth0Domain), "write the domain alone, without https:// and without a slash: tenant.eu.auth0.com")
	}
	_, issuerHost, _ := strings.Cut(p.OIDCIssuer, "://")
	if issuer, _, isMetadata := strings.Cut(p.OIDCIssuer, "/.well-known/"); placeholderHost(issuerHost) {
		f.Add(p.variable("OIDC_ISSUER"), fmt.Sprintf("is %q, a placeholder", p.OIDCIssuer), "write the issuer of your provider")
	} else if isMetadata {
		f.Add(p.variable("OIDC_ISSUER"), fmt.Sprintf("is %q, the address of the provider's metadata", p.OIDCIssuer), fmt.Sprintf("write the issuer that the metadata names, such as %s", issuer))
	} else if u, err := url.Parse(p.OIDCIssuer); err == nil && u.Scheme == "http" && openid.IsLoopback(u.Hostname()) && !developmentProviderIncluded && !c.onLoopback() {
		// People's browsers would look for the provider on their own machines, where any program may
		// answer. How the app itself reaches the provider is another matter.
		f.Add(p.variable("OIDC_ISSUER"), fmt.Sprintf("is %q, on this machine only, and the base URL is %s", p.OIDCIssuer, c.BaseURL(c.Port)), "write the https issuer that people's browsers reach, and set "+p.variable("OIDC_BACKCHANNEL_ORIGIN")+" if the app reaches the provider elsewhere")
	}
	for _, variable := range [][2]string{{p.variable("AUTH0_CLIENT_ID"), p.ClientID}, {p.variable("AUTH0_CLIENT_SECRET"), string(p.ClientSecret)}} {
		if placeholder(variable[1]) || standIn(variable[1]) {
			f.Add(variable[0], "still has its placeholder", "the provider shows the value where the application is registered")
		}
	}
	for _, variable := range [][2]string{
		{p.variable("AUTH0_DOMAIN"), p.Auth0Domain},
		{p.variable("OIDC_ISSUER"), p.OIDCIssuer},
		{p.variable("AUTH0_CLIENT_ID"), p.ClientID},
		{p.variable("AUTH0_CLIENT_SECRET"), string(p.ClientSecret)},
	} {
		// RFC 6749 appendix A.1 and A.2 allow VSCHAR only; RFC 3986 does for URLs.
		if i := strings.IndexFunc(variable[1], func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 && !hasFault(*f, variable[0]) {
			f.Add(variable[0], fmt.Sprintf("has a character that is not printable ASCII, at byte %d", i+1), "copy it again from where the application is registered")
		}
	}
}

// placeholder recognizes the client IDs, secrets and domains of examples: dots, or the words
// themselves in any spelling. Any other value may be real.
func placeholder(value string) bool {
	plain := plainWord(value)
	words := []string{
		"clientid", "clientsecret", "auth0clientid", "auth0clientsecret", "yourclientid", "yourclientsecret", "yourauth0clientid", "yourauth0clientsecret",
		"yoursecret", "yourdomain", "yourtenant", "yourissuer", "yourauth0domain", "yourauth0tenant",
	}
	return slices.Contains(words, plain) || slices.Contains(words, strings.TrimSuffix(plain, "here")) || (value != "" && strings.Trim(value, ".…") == "")
}

// standIn recognizes other placeholders, such as an unexpanded variable, brackets around a description, a
// word like "none", or one character repeated, as in a page that hides the value.
func standIn(value string) bool {
	words := []string{"changeme", "replaceme", "fixme", "todo", "tbd", "null", "nil", "none", "undefined", "placeholder", "redacted", "hidden"}
	if slices.Contains(words, plainWord(value)) {
		return true
	}
	for _, marks := range [][2]string{{"<", ">"}, {"{", "}"}, {"${", "}"}, {"$(", ")"}} {
		if strings.HasPrefix(value, marks[0]) && strings.HasSuffix(value, marks[1]) {
			return true
		}
	}
	if name := strings.Trim(value, "$%"); name != value && name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == "" {
		return strings.HasPrefix(value, "$") || strings.HasPrefix(value, "%") && strings.HasSuffix(value, "%")
	}
	first, _ := utf8.DecodeRuneInString(value)
	return utf8.RuneCountInString(value) > 2 && strings.Trim(value, string(first)) == ""
}

// plainWord returns a value in lower case, without what joins and surrounds words.
func plainWord(value string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "", "<", "", ">", "", "{", "", "}", "", "[", "", "]", "", "$", "").Replace(strings.ToLower(value))
}

// placeholderHost reports whether the first label of a domain is a placeholder, as in
// YOUR_DOMAIN and your-tenant.eu.auth0.com.
func placeholderHost(domain string) bool {
	host, _, _ := strings.Cut(domain, "/")
	label, _, _ := strings.Cut(host, ".")
	return placeholder(label) || placeholder(host)
}

// validateDevelopment makes sure that nobody uses the built-in provider by accident,
// because it signs anyone in as anyone.
func (c *Config) validateDevelopment(p *provider, f *openid.Faults) {
	domain, issuer := p.variable("AUTH0_DOMAIN"), p.variable("OIDC_ISSUER")
	if p.ClientID != "" || p.ClientSecret != "" {
		f.Add(domain, "is missing, and "+p.variable("AUTH0_CLIENT_ID")+" or "+p.variable("AUTH0_CLIENT_SECRET")+" is set", "add "+domain+" (or "+issuer+"), or remove them to use the development provider")
		return
	}
	if !developmentProviderIncluded {
		f.Add(domain, "is missing, and so is "+issuer, "set one of them, "+p.variable("AUTH0_CLIENT_ID")+" and "+p.variable("AUTH0_CLIENT_SECRET")+": this is a release build, which has no development provider")
		return
	}
	if !c.onLoopback() {
		f.Add(domain, "is missing, and so is "+issuer, fmt.Sprintf("set one of them: the development provider serves loopback only, and the base URL is %s", c.BaseURL(c.Port)))
	}
	if host, _, err := net.SplitHostPort(c.devProviderAddr(0)); err != nil || !openid.IsLoopback(host) {
		f.Add("DEV_PROVIDER_ADDR", fmt.Sprintf("is %q", c.DevProviderAddr), "write a loopback host and a port, such as 127.0.0.1:3001")
	}
	if c.ListenAddr != "" && !openid.IsLoopback(c.ListenAddr) {
		f.Add("LISTEN_ADDR", fmt.Sprintf("is %q", c.ListenAddr), "remove it: with the development provider the app listens on loopback only")
	}
	if c.Port > 65535-len(c.providers) && c.DevProviderAddr == "" {
		f.Add("DEV_PROVIDER_ADDR", fmt.Sprintf("is missing, and PORT %d has no next port", c.Port), "set it, or choose another PORT")
	}
}

// validateAddresses adds a fault for each listener that has the address of another one.
func (c *Config) validateAddresses(f *openid.Faults) {
	list := c.listenAddresses()
	for i, listen := range list {
		for _, other := range list[:i] {
			if sameAddress(listen.address, other.address) {
				f.Add(listen.portVariable, fmt.Sprintf("is %s, and the listener of %s has this port already", listen.address, other.portVariable), "choose another port for one of them")
			}
		}
	}
}

// sameAddress reports whether nobody could listen on two addresses at the same time. Names other than
// localhost are not looked up.
func sameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	includes := func(all, host string) bool {
		ip, other := net.ParseIP(all), net.ParseIP(host)
		return all == "" || ip.IsUnspecified() && (ip.To4() == nil || other == nil || other.To4() != nil)
	}
	return hostA == hostB || includes(hostA, hostB) || includes(hostB, hostA) ||
		slices.ContainsFunc(addresses(hostA), func(host string) bool { return slices.Contains(addresses(hostB), host) })
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (c *Config) validateListeners(f *openid.Faults) {
	if c.Port < 0 || c.Port > 65535 {
		f.Add("PORT", fmt.Sprintf("is %d", c.Port), "use 0 (any free port) to 65535")
	}
	if _, _, err := net.SplitHostPort(c.ListenAddr); err == nil {
		f.Add("LISTEN_ADDR", fmt.Sprintf("is %q", c.ListenAddr), "write only the host; PORT sets the port")
	}
	if _, port, err := net.SplitHostPort(c.OpsAddr); c.OpsAddr != "" && (err != nil || port == "") {
		f.Add("OPS_ADDR", fmt.Sprintf("is %q", c.OpsAddr), "write a host and a port, such as 127.0.0.1:9090, or :9090 for all interfaces")
	}
	c.validateMutualTLS(f)
	c.validateAddresses(f)
	if grace := c.shutdownGrace(); grace < 0 || grace > maxShutdownGrace {
		f.Add("SHUTDOWN_GRACE", fmt.Sprintf("is %s", grace), fmt.Sprintf("use 0s to %s", maxShutdownGrace))
	}
}

// validateMutualTLS adds a fault if the listener could never accept a token.
func (c *Config) validateMutualTLS(f *openid.Faults) {
	if c.MutualTLSAddr == "" {
		return
	}
	if _, port, err := net.SplitHostPort(c.MutualTLSAddr); err != nil || port == "" {
		f.Add("MTLS_ADDR", fmt.Sprintf("is %q", c.MutualTLSAddr), "write a host and a port, such as :8443 for all interfaces")
	}
	if c.TLSCertFile == "" {
		f.Add("TLS_CERT_FILE", "is missing, and MTLS_ADDR is set", "set TLS_CERT_FILE and TLS_KEY_FILE: only a connection that this app encrypts itself shows it the client's certificate")
	}
	if !slices.ContainsFunc(c.providers, func(p *provider) bool { return p.Audience != "" }) {
		f.Add("AUTH0_AUDIENCE", "is missing, and MTLS_ADDR is set", "set both, or remove MTLS_ADDR: without an audience the API accepts no access token")
	}
}

func (c *Config) validateCallback(f *openid.Faults) {
	address := c.callbackURL(c.Port)
	add := func(problem, remedy string) {
		f.Add("AUTH0_CALLBACK_URL", fmt.Sprintf("is %q", address)+problem, remedy)
	}
	u, err := url.Parse(address)
	if err != nil {
		u = new(url.URL)
	}
	local := u.Scheme == "http" && openid.IsLoopback(u.Hostname())
	below, _ := strings.CutSuffix(u.Path, "/callback")
	switch {
	case u.Scheme == "" || u.Host == "":
		add(", not an absolute URL", "write it with its scheme and host, such as https://app.example.com/callback")
	case u.User != nil:
		f.Add("AUTH0_CALLBACK_URL", "has a user name", "remove what comes before the host, up to the @")
	case u.RawQuery != "" || u.Fragment != "":
		add(", with a query or a fragment", "remove what comes after /callback")
	case u.Path != below && strings.Trim(below, "/") != "":
		add(fmt.Sprintf(", below the path %q", below), "serve the app at the root of a host or port of its own, such as https://app.example.com/callback, and write that here and at the provider: it cannot run below a path")
	case u.Path != "/callback":
		add(fmt.Sprintf(", with the path %q", u.Path), "use the path /callback, here and at the provider: the app answers there only")
	case u.Scheme != "https" && !local:
		add("", "write https://, or http:// on loopback")
	}
	if u.Scheme == "http" && c.TLSCertFile != "" {
		add(", plain http, and TLS_CERT_FILE is set", "write https://")
	}
	if local && c.CallbackURL != "" && c.Port != 0 && cmp.Or(u.Port(), "80") != strconv.Itoa(c.Port) {
		f.Add("PORT", fmt.Sprintf("is %d, and AUTH0_CALLBACK_URL is %q", c.Port, c.CallbackURL), "use the same port in both: nothing listens at the other one")
	}
}

// validateLogoutURL accepts a page of this app. Only there does the person learn that they are signed
// out, and a provider that knows another origin would send people to the owner of that one.
func (c *Config) validateLogoutURL(f *openid.Faults) {
	if c.LogoutURL == "" {
		return
	}
	base := c.BaseURL(c.Port).String()
	u, err := url.Parse(c.LogoutURL)
	switch {
	case err != nil || u.Scheme == "" || u.Host == "":
		f.Add("AUTH0_LOGOUT_URL", "is not an absolute URL", "write it with its scheme and host, such as "+base+"/signed-out")
	case u.User != nil:
		f.Add("AUTH0_LOGOUT_URL", "has a user name", "remove what comes before the host, up to the @")
	case !strings.EqualFold(originOf(u).String(), base):
		f.Add("AUTH0_LOGOUT_URL", fmt.Sprintf("is %q, and the base URL is %s", c.LogoutURL, base), "name a page of this app: the base URL alone, or with a path such as /signed-out")
	case strings.Contains(c.LogoutURL, "#"):
		f.Add("AUTH0_LOGOUT_URL", fmt.Sprintf("is %q, with a fragment", c.LogoutURL), "remove what comes after the path")
	}
}

// validateCertificate returns the certificate of a pair of files, or nil.
func validateCertificate(f *openid.Faults, certVariable, certFile, keyVariable, keyFile string) *x509.Certificate {
	switch {
	case certFile == "" && keyFile == "":
		return nil
	case certFile == "":
		f.Add(certVariable, "is missing, and "+keyVariable+" is set", "set both or neither")
		return nil
	case keyFile == "":
		f.Add(keyVariable, "is missing, and "+certVariable+" is set", "set both or neither")
		return nil
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		f.Add(certVariable, fmt.Sprintf("cannot be used with %s: %v", keyVariable, err), "name PEM files: the certificate with its intermediate certificates, and its own private key")
	}
	return pair.Leaf
}

func (c *Config) validateSecrets(f *openid.Faults) {
	const remedy = "make one with: openssl rand -hex 32"
	if c.AppSecretKey == "" && !c.onLoopback() {
		f.Add("APP_SECRET_KEY", "is missing", remedy)
	}
	check := func(variable, name string, secret openid.Secret) {
		switch {
		case len(secret) < authn.MinSecretBytes:
			f.Add(variable, fmt.Sprintf("%shas %d bytes, and needs %d or more", name, len(secret), authn.MinSecretBytes), remedy)
		case weakSecret(secret):
			f.Add(variable, name+"is not random", remedy)
		}
	}
	for part := range strings.SplitSeq(string(c.AppSecretKey), ",") {
		if c.AppSecretKey != "" && strings.TrimSpace(part) == "" {
			f.Add("APP_SECRET_KEY", "has an empty key", "write the keys with one comma between them, the current one first")
			break
		}
	}
	for i, secret := range c.secrets() {
		check("APP_SECRET_KEY", fmt.Sprintf("key %d ", i+1), secret)
	}
	if c.OpsToken == "" {
		return
	}
	if check("OPS_TOKEN", "", c.OpsToken); strings.ContainsFunc(string(c.OpsToken), func(r rune) bool { return r <= ' ' || r > '~' }) {
		f.Add("OPS_TOKEN", "has a character that a header cannot carry", remedy) // RFC 6750 section 2.1
	}
	if slices.Contains(c.secrets(), c.OpsToken) {
		f.Add("OPS_TOKEN", "is the APP_SECRET_KEY", remedy)
	}
	if c.OpsAddr == "" {
		f.Add("OPS_ADDR", "is missing, and OPS_TOKEN is set", "set both, or remove OPS_TOKEN")
	}
}

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

// validateStore checks SESSION_STORE. Its faults do not quote the value, which may hold a password.
func (c *Config) validateStore(f *openid.Faults) {
	if c.SessionStore == "file" || c.SessionStore == "memory" {
		return
	}
	scheme, _, isURL := strings.Cut(string(c.SessionStore), "://")
	if !isURL || !slices.Contains([]string{"redis", "rediss", "unix"}, strings.ToLower(scheme)) {
		f.Add("SESSION_STORE", "is not a known store", "use file, memory, or a URL that begins with rediss://, redis:// or unix://")
		return
	}
	options, err := redisstore.ParseURL(string(c.SessionStore))
	switch {
	case err != nil:
		f.Add("SESSION_STORE", err.Error(), "") // which says what to write
	case c.development() && !options.OnThisMachine():
		f.Add("SESSION_STORE", "is on another machine", "use one on this machine: the development provider signs anyone in as anyone, so it serves this machine only")
	}
	c.parsedRedis = options
}

func (c *Config) validateOrigins(f *openid.Faults) {
	for _, cidr := range c.TrustedProxies {
		prefix, err := netip.ParsePrefix(cidr)
		if err != nil {
			f.Add("TRUSTED_PROXIES", fmt.Sprintf("%q is not a CIDR", cidr), "write networks such as 10.0.0.0/8")
		} else if prefix.Addr().Is4In6() && prefix.Bits() >= 96 {
			prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
		}
		c.parsedTrustProxies = append(c.parsedTrustProxies, prefix)
	}
	for _, origin := range c.PictureOrigins {
		if origin == noPictures {
			continue
		}
		if u, err := url.Parse(origin); err != nil || u.Scheme != "https" || u.Host == "" || origin != "https://"+u.Host || strings.ContainsAny(origin, "*;, ") {
			f.Add("PICTURE_ORIGINS", fmt.Sprintf("%q is not an origin", origin), "write origins such as https://images.example.com, or none")
		}
	}
}

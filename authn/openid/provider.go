// Package openid implements the relying party's side of OpenID Connect: discovery, keys,
// authorization requests, tokens, claims, userinfo and client authentication. It has no
// cookie, no session and no store; package authn builds those on top of it.
//
// The provider is trusted to say who people are, and for nothing else: its metadata is
// validated, its responses are bounded in time and size, its redirects are not followed except to
// find the metadata on its own origin, and its keys verify only the algorithms that the
// configuration names.
package openid

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/go-jose/go-jose/v4"
)

// Config describes a provider and the client that is registered there. Every field is needed
// unless its comment says otherwise.
type Config struct {
	// Name tells the provider from the others of the same application, in metrics. "" is the only
	// provider.
	Name string
	// Issuer is the provider's issuer identifier, exactly as the provider writes it.
	Issuer string
	// Tenants are the ids of the directories whose people may sign in if Issuer is one of Microsoft
	// Entra ID for many: https://login.microsoftonline.com/organizations/v2.0, or common.
	Tenants []string
	// BackchannelOrigin is where this app reaches the provider if that is not where browsers
	// do: the scheme, the host and the port to which calls for the issuer's origin go. "" is
	// the issuer's own.
	BackchannelOrigin string
	// Auth0 says that the provider is an Auth0 tenant, whatever its domain is.
	Auth0 bool
	// ClientID and ClientSecret identify this client at the provider. Only ClientSecretBasic and
	// ClientSecretPost need a secret.
	ClientID     string
	ClientSecret Secret
	// ClientAuth is one of ClientSecretBasic, ClientSecretPost, PrivateKeyJWT, TLSClientAuth,
	// SelfSignedTLSClientAuth.
	ClientAuth string
	// SigningKey signs client assertions, with PrivateKeyJWT, and request objects.
	// SigningAlgorithm is one that the key can sign with, "" for the first; SigningKeyID is the
	// key's id at the provider, "" for its thumbprint.
	SigningKey                     crypto.Signer
	SigningAlgorithm, SigningKeyID string
	// ClientCertificate returns the client's certificate with its key (RFC 8705), which it presents
	// to the provider and to APIs, so that access tokens can be bound to it. It is called for each
	// request, and returns the same pointer until the certificate changes. It may be nil.
	ClientCertificate func() (*tls.Certificate, error)
	// RootCAs are the authorities of the servers that the client calls; nil are this machine's.
	RootCAs *x509.CertPool
	// DPoP binds the access tokens of new sessions to a key of the session's own (RFC 9449), and
	// refuses bearer tokens for them.
	DPoP bool
	// RedirectURL is where the provider sends the authorization response, and
	// PostLogoutRedirectURL where it sends the browser after sign-out.
	RedirectURL, PostLogoutRedirectURL string
	// Scopes are the scopes to request. offline_access is left out if the provider lists its scopes and
	// this is not one of them.
	Scopes []string
	// Audience is the API that access tokens are for; "" requests none.
	Audience string
	// Resources are the further APIs that the sign-in names, as absolute URIs (RFC 8707 section
	// 2.1). Some providers issue tokens for no others later; see RefreshFor.
	Resources []string
	// Profile is ProfileFAPI2 or ProfileFAPI2MessageSigning. Settings and responses that fall short of it
	// are refused. "" means no profile.
	Profile string
	// IDTokenAlgorithms are the algorithms that an ID token may be signed with.
	IDTokenAlgorithms []string
	// ResponseMode is "query" or "form_post", or with signed responses (JARM) "jwt", which is
	// query, or "form_post.jwt".
	ResponseMode string
	// ResponseAlgorithms are the algorithms that a signed response may be signed with. If it is empty,
	// those of ID tokens apply.
	ResponseAlgorithms []string
	// PushedAuthorizationRequests is "auto", "always" or "never".
	PushedAuthorizationRequests string
	// RequestObject signs authorization requests (RFC 9101).
	RequestObject bool
	// StrictLogoutTokens requires typ logout+jwt and exp in logout tokens.
	StrictLogoutTokens bool
	// FederatedLogout also ends the session at the identity provider that the provider
	// itself asked. Only Auth0 offers it.
	FederatedLogout bool
	// UserInfoRequired refuses a sign-in if the userinfo endpoint does not answer.
	// Otherwise the ID token's claims are enough.
	UserInfoRequired bool

	Now func() time.Time
	Log *slog.Logger
	// Metrics counts the calls to the provider; nil makes a set that nobody reads.
	Metrics *metrics.Set
	// StartSpan traces the calls to the provider; it may be nil.
	StartSpan StartSpan
}

// Faults returns the faults of the settings, which come from an operator.
func (c Config) Faults() (f Faults) {
	if c.ClientID == "" {
		f.Add("ClientID", "is missing", "the provider shows it where the application is registered")
	}
	f.OneOf("ClientAuth", c.ClientAuth, ClientSecretBasic, ClientSecretPost, PrivateKeyJWT, TLSClientAuth, SelfSignedTLSClientAuth)
	if c.ClientSecret == "" && c.ClientAuth != PrivateKeyJWT && !c.authenticatesByCertificate() {
		f.Add("ClientSecret", "is missing", "the provider shows it beside the client id")
	}
	if c.signs() {
		c.addSigningFaults(&f)
	}
	c.addCertificateFaults(&f)
	c.addProfileFaults(&f)
	for _, alg := range c.IDTokenAlgorithms {
		f.OneOf("IDTokenAlgorithms", alg, signatureAlgorithms...)
	}
	if len(c.IDTokenAlgorithms) == 0 {
		f.Add("IDTokenAlgorithms", "is empty", "name the algorithm that the provider signs ID tokens with")
	}
	c.addIssuerFaults(&f)
	c.addBackchannelFaults(&f)
	if c.FederatedLogout && c.Preset().federated == "" {
		f.Add("FederatedLogout", "is on, and only Auth0 supports it", "turn it off")
	}
	c.addResponseFaults(&f)
	c.addResourceFaults(&f)
	f.OneOf("PushedAuthorizationRequests", c.PushedAuthorizationRequests, "auto", "always", "never")
	if !slices.Contains(c.Scopes, "openid") {
		f.Add("Scopes", "lacks openid", "add it: without openid, no one can sign in")
	}
	return f
}

// addIssuerFaults adds the faults of the issuer and of the tenants that it stands for.
func (c Config) addIssuerFaults(f *Faults) {
	if u, err := url.Parse(c.Issuer); err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil ||
		(u.Scheme != "https" && (u.Scheme != "http" || !IsLoopback(u.Hostname()))) {
		f.Add("Issuer", fmt.Sprintf("is %q", c.Issuer), "write the issuer exactly as the provider does, an https URL: https://id.example.com/realms/acme")
	}
	c.addTenantFaults(f)
	if remedy := misspelt(c.Issuer); remedy != "" && c.issuerTemplate() == "" {
		f.Add("Issuer", fmt.Sprintf("is %q", c.Issuer), remedy)
	}
}

// addResponseFaults adds the faults of how authorization responses come.
func (c Config) addResponseFaults(f *Faults) {
	for _, alg := range c.ResponseAlgorithms {
		f.OneOf("ResponseAlgorithms", alg, signatureAlgorithms...)
	}
	f.OneOf("ResponseMode", c.ResponseMode, "query", "form_post", "jwt", "form_post.jwt")
	if strings.HasPrefix(c.ResponseMode, "form_post") && !strings.HasPrefix(c.RedirectURL, "https://") {
		f.Add("ResponseMode", fmt.Sprintf("is %s, whose cookie must be Secure, and the redirect URL is not https", c.ResponseMode), "use query or jwt, or an https redirect URL")
	}
}

// addResourceFaults adds the faults of the APIs that the sign-in names (RFC 8707 section 2).
func (c Config) addResourceFaults(f *Faults) {
	for _, resource := range c.Resources {
		if u, err := url.Parse(resource); err != nil || !u.IsAbs() || strings.Contains(resource, "#") {
			f.Add("Resources", fmt.Sprintf("has %q", resource), "write each API as an absolute URI without a fragment, such as https://orders.example.com")
		}
	}
	if len(c.Resources) > 0 && c.Preset().Name == auth0 {
		f.Add("Resources", "is set, and Auth0 does not use it", "remove it, and list the APIs in the application's refresh token policies at Auth0")
	}
}

// addSigningFaults adds the faults of the client's signing key.
func (c Config) addSigningFaults(f *Faults) {
	if c.SigningKey == nil {
		f.Add("SigningKey", "is missing", "the client needs a signing key for client assertions and request objects")
		return
	}
	algorithms, err := signingAlgorithms(c.SigningKey)
	if err != nil {
		f.Add("SigningKey", err.Error(), fmt.Sprintf("use an RSA key of %d bits or more, or a P-256, P-384, P-521 or Ed25519 key", minRSABits))
	} else if c.SigningAlgorithm != "" && !slices.Contains(algorithms, c.SigningAlgorithm) {
		f.Add("SigningAlgorithm", fmt.Sprintf("the key cannot sign with %q", c.SigningAlgorithm), "choose from: "+strings.Join(algorithms, ", "))
	}
}

// validate returns an error if New would not accept the configuration.
func (c Config) validate() error {
	if faults := c.Faults(); len(faults) > 0 {
		return fmt.Errorf("openid: %w", faults)
	}
	if c.Now == nil || c.Log == nil {
		return errors.New("openid: no clock or no log")
	}
	return nil
}

// Provider is an OpenID provider as its client meets it. It is safe for concurrent use.
type Provider struct {
	cfg         Config
	client      *http.Client
	tokenClient *http.Client
	preset      Preset
	signer      jose.Signer // of client assertions; nil if the client authenticates in another way
	requests    jose.Signer // of request objects; nil if there are none
	clock       *clockSkew
	issuers     []string
	discovery   *discovery
	keySet      *keySet
	origins     *atomic.Pointer[origins]
	nonces      *nonces

	// The kinds of tokens that are verified. Each may fetch the key set for a key that it
	// does not know, within a limit of its own.
	idTokens, logoutTokens, accessTokens, userInfos, responses tokenKind
}

// New returns a provider that has not been contacted yet.
func New(cfg Config) (*Provider, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Metrics == nil {
		cfg.Metrics = metrics.NewSet()
	}
	p := &Provider{origins: new(atomic.Pointer[origins]), nonces: new(nonces), cfg: cfg, preset: cfg.Preset(), issuers: cfg.Issuers(), clock: &clockSkew{log: cfg.Log}}
	p.client = newClient(cfg, p.clock)
	p.tokenClient = &http.Client{
		Timeout: CallTimeout, Transport: tokenTransport{p}, CheckRedirect: p.client.CheckRedirect,
	}
	p.discovery = newDiscovery(cfg, p.preset, p.client)
	p.keySet = &keySet{discovery: p.discovery, client: p.client, now: cfg.Now, log: cfg.Log}
	p.defineTokenKinds()
	if cfg.ClientAuth == PrivateKeyJWT {
		signer, err := cfg.newSigner("JWT")
		if err != nil {
			return nil, err
		}
		p.signer = signer
	}
	if cfg.RequestObject {
		signer, err := cfg.newSigner(requestObjectType)
		if err != nil {
			return nil, err
		}
		p.requests = signer
	}
	p.registerMetrics()
	return p, nil
}

// Run discovers the provider in the background, and keeps its metadata and its keys fresh,
// until ctx ends. Nothing waits for it: a sign-in that comes first discovers the provider
// itself.
func (p *Provider) Run(ctx context.Context) {
	go p.keySet.run(ctx)
	p.discovery.run(ctx)
}

// Ready returns nil once the provider has been discovered, and until then the reason.
func (p *Provider) Ready() error {
	_, err := p.discovery.ready()
	return err
}

// Metadata returns the provider's metadata. It waits for the first discovery if that has not
// succeeded yet. The error is an *Error with ReasonProviderUnreachable, which passes by itself, or
// ReasonProviderMisconfigured, which does not.
func (p *Provider) Metadata(ctx context.Context) (*Metadata, error) { return p.discovery.wait(ctx) }

// BackchannelOrigin returns where this app reaches the provider, or "" if that is where browsers do.
func (p *Provider) BackchannelOrigin() string { return p.cfg.BackchannelOrigin }

// Name returns what tells the provider from the others, or "" if it is the only one.
func (p *Provider) Name() string { return p.cfg.Name }

// Issuer returns the provider's issuer identifier.
func (p *Provider) Issuer() string { return p.cfg.Issuer }

// ClientID returns this client's identifier at the provider.
func (p *Provider) ClientID() string { return p.cfg.ClientID }

// RedirectURL returns where the provider sends the authorization response.
func (p *Provider) RedirectURL() string { return p.cfg.RedirectURL }

// PostLogoutRedirectURL returns where the provider sends the browser after sign-out.
func (p *Provider) PostLogoutRedirectURL() string { return p.cfg.PostLogoutRedirectURL }

// Preset returns what is known about the provider beside its metadata.
func (p *Provider) Preset() Preset { return p.preset }

// Audience returns the API that access tokens are for, or "".
func (p *Provider) Audience() string { return p.cfg.Audience }

// SignsRequests reports whether authorization requests are signed (RFC 9101).
func (p *Provider) SignsRequests() bool { return p.cfg.RequestObject }

// FormPost reports whether authorization responses arrive in a form that the provider's page
// posts (OAuth 2.0 Form Post Response Mode).
func (p *Provider) FormPost() bool { return strings.HasPrefix(p.cfg.ResponseMode, "form_post") }

// SignedResponses reports whether authorization responses are signed (JARM).
func (p *Provider) SignedResponses() bool { return strings.HasSuffix(p.cfg.ResponseMode, "jwt") }

// Origins returns the origins that a browser is sent to at sign-in and sign-out. A page whose
// form ends in such a redirect must allow them as form-action.
//
// The slice is the same one until the metadata changes; the caller must not change it.
func (p *Provider) Origins() []string {
	m, _ := p.discovery.ready()
	if known := p.origins.Load(); known != nil && known.metadata == m {
		return known.list
	}
	known := &origins{m, originsOf(p.cfg.Issuer, m)}
	p.origins.Store(known)
	return known.list
}

// origins are those of a version of the metadata, which is nil before discovery.
type origins struct {
	metadata *Metadata
	list     []string
}

func originsOf(issuer string, m *Metadata) []string {
	addresses := []string{issuer}
	if m != nil {
		addresses = append(addresses, m.AuthorizationEndpoint, m.EndSessionEndpoint)
	}
	var origins []string
	for _, address := range addresses {
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			origins = append(origins, u.Scheme+"://"+u.Host)
		}
	}
	slices.Sort(origins)
	return slices.Compact(origins)
}

// Format implements fmt.Formatter for every verb: fmt would print the secrets in unexported
// fields without calling their methods.
func (p Provider) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "provider "+p.cfg.Issuer) }

// registerMetrics exposes the state of the metadata and the keys, and makes the counters start at
// 0, so that the first refused logout token shows as an increase. A gauge that has no value yet is
// NaN.
func (p *Provider) registerMetrics() {
	p.cfg.Metrics.GetOrCreateCounter(p.logoutTokensAccepted())
	for _, reason := range []Reason{ReasonLogoutTokenInvalid, ReasonProviderUnreachable, ReasonProviderMisconfigured} {
		p.cfg.Metrics.GetOrCreateCounter(p.logoutTokensRefused(reason))
	}
	p.cfg.Metrics.NewGauge(p.Metric("latchkey_discovery_age_seconds"), func() float64 { return age(p.cfg.Now(), p.discovery.fetchedAt()) })
	p.cfg.Metrics.NewGauge(p.Metric("latchkey_key_set_age_seconds"), func() float64 { return age(p.cfg.Now(), p.keySet.fetchedAt()) })
	p.cfg.Metrics.NewGauge(p.Metric("latchkey_provider_clock_skew_seconds"), func() float64 {
		skew, _ := p.clock.ahead()
		return skew.Seconds()
	})
}

// Metric returns the name of a metric of the provider. labels are names and values in turn. If the
// application has several providers, the label provider comes first.
func (p *Provider) Metric(name string, labels ...string) string { return p.cfg.metric(name, labels...) }

func (c Config) metric(name string, labels ...string) string {
	if c.Name != "" {
		labels = append([]string{"provider", c.Name}, labels...)
	}
	var list []string
	for pair := range slices.Chunk(labels, 2) {
		list = append(list, pair[0]+"="+strconv.Quote(pair[1]))
	}
	if list == nil {
		return name
	}
	return name + "{" + strings.Join(list, ",") + "}"
}

// IsLoopback reports whether a host, without a port, names this machine and nothing else:
// localhost, 127.0.0.0/8 or ::1. Plain http is allowed there alone.
func IsLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

package authn

import (
	"cmp"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Config is what a relying party and its sessions are made from. Every field is
// needed unless its comment says otherwise.
type Config struct {
	// Issuer is the provider's issuer identifier, to the letter.
	Issuer string
	// Auth0 says that the provider is an Auth0 tenant, whatever its domain is.
	Auth0 bool
	// ClientID and ClientSecret are this application at the provider. A
	// secret is not used with private_key_jwt.
	ClientID     string
	ClientSecret Secret
	// ClientAuth is one of ClientSecretBasic, ClientSecretPost, PrivateKeyJWT.
	ClientAuth string
	// SigningKey signs client assertions, with PrivateKeyJWT only. SigningAlgorithm is
	// one of its SigningAlgorithms, the first if it is ""; SigningKeyID is how the
	// provider calls the key, its thumbprint if it is "".
	SigningKey                     crypto.Signer
	SigningAlgorithm, SigningKeyID string
	// RedirectURL is where the provider sends the authorization response, and
	// PostLogoutRedirectURL where it sends the browser after sign-out.
	RedirectURL, PostLogoutRedirectURL string
	// Scopes are asked for; offline_access only where the provider lists it.
	Scopes []string
	// Audience is the API that access tokens are for; "" asks for none.
	Audience string
	// IDTokenAlgorithms are the algorithms that an ID token may be signed with.
	IDTokenAlgorithms []string
	// ResponseMode is "query" or "form_post".
	ResponseMode string
	// PushedAuthorizationRequests is "auto", "always" or "never".
	PushedAuthorizationRequests string
	// StrictLogoutTokenType asks for typ logout+jwt in logout tokens.
	StrictLogoutTokenType bool
	// FederatedLogout also ends the session at whoever the provider asked who the person
	// is. Only Auth0 can be asked for it.
	FederatedLogout bool
	// UserInfoRequired refuses a sign-in about which the userinfo endpoint says nothing.
	// Otherwise the ID token's claims are enough.
	UserInfoRequired bool

	// Keys seal transactions and sessions; Store keeps the sessions.
	Keys  *Keys
	Store Store
	// Secure is set where the application is served over https.
	Secure bool
	// Idle and Absolute are how long a session lives without its person, and at all.
	Idle, Absolute time.Duration
	// SessionsPerPerson is how many sessions a person may have; beyond it the one not used
	// for longest ends.
	SessionsPerPerson int
	// Watchers is how many pages may watch their sessions at a time.
	Watchers int

	Now func() time.Time
	Log *slog.Logger
	// Statistics count what happens; nil counts for nobody.
	Statistics *Statistics
}

// validate reports what would only show later, or never.
func (c Config) validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("authn: "+format, args...)) }
	if c.ClientID == "" {
		fault("no client id")
	}
	switch c.ClientAuth {
	case ClientSecretBasic, ClientSecretPost:
		if c.ClientSecret == "" {
			fault("%s needs a client secret", c.ClientAuth)
		}
	case PrivateKeyJWT:
		if c.SigningKey == nil {
			fault("%s needs a signing key", c.ClientAuth)
		}
	default:
		fault("unknown client authentication %q", c.ClientAuth)
	}
	for _, alg := range c.IDTokenAlgorithms {
		if !slices.Contains(signatureAlgorithms, jose.SignatureAlgorithm(alg)) {
			fault("an ID token cannot be signed with %q", alg)
		}
	}
	if len(c.IDTokenAlgorithms) == 0 {
		fault("no algorithm for ID tokens")
	}
	if issuer, err := url.Parse(c.Issuer); err != nil || issuer.Host == "" ||
		(issuer.Scheme != "https" && (issuer.Scheme != "http" || !IsLoopback(issuer.Hostname()))) {
		fault("the issuer is not an https URL")
	}
	if text := Misspelt(c.Issuer); text != "" {
		fault("the issuer: %s", text)
	}
	if c.FederatedLogout && c.preset().federated == "" {
		fault("the provider has no federated sign-out")
	}
	if c.ResponseMode == "form_post" && !c.Secure {
		fault("form_post needs https: its cookie must be Secure")
	}
	if c.Keys == nil || c.Store == nil || c.Now == nil || c.Log == nil {
		fault("keys, store, clock and log are needed")
	}
	if c.Idle <= 0 || c.Absolute < c.Idle {
		fault("the idle lifetime must be positive and no longer than the absolute one")
	}
	if c.SessionsPerPerson < 1 {
		fault("a person must be allowed a session")
	}
	return errors.Join(faults...)
}

// measured returns the configuration with statistics, and with a store that is timed.
func (c Config) measured() Config {
	c.Statistics = cmp.Or(c.Statistics, new(Statistics))
	c.Store = measuredStore{c.Store, &c.Statistics.StoreCalls}
	return c
}

package authn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// metadataLifetime is how long a discovery document is used before it is
	// fetched again; the old one serves on while that fails.
	metadataLifetime = 10 * time.Minute
	// A person's own attempt to sign in asks the provider at once, but not more
	// often than this.
	onDemandInterval = 2 * time.Second
)

// Metadata is what this relying party uses of a provider's discovery document
// (OpenID Connect Discovery 1.0 section 3, RFC 8414 section 2).
type Metadata struct {
	Issuer                             string   `json:"issuer"`
	AuthorizationEndpoint              string   `json:"authorization_endpoint"`
	TokenEndpoint                      string   `json:"token_endpoint"`
	UserInfoEndpoint                   string   `json:"userinfo_endpoint"`
	JWKSURI                            string   `json:"jwks_uri"`
	EndSessionEndpoint                 string   `json:"end_session_endpoint"`
	RevocationEndpoint                 string   `json:"revocation_endpoint"`
	PushedAuthorizationRequestEndpoint string   `json:"pushed_authorization_request_endpoint"`
	RequirePushedAuthorizationRequests bool     `json:"require_pushed_authorization_requests"`
	ResponseIssuerSupported            bool     `json:"authorization_response_iss_parameter_supported"`
	ScopesSupported                    []string `json:"scopes_supported"`
	IDTokenAlgorithms                  []string `json:"id_token_signing_alg_values_supported"`
	PromptsSupported                   []string `json:"prompt_values_supported"`
	BackchannelLogoutSupported         bool     `json:"backchannel_logout_supported"`
	BackchannelLogoutSessionSupported  bool     `json:"backchannel_logout_session_supported"`
	ChallengeMethods                   []string `json:"code_challenge_methods_supported"`
	TokenEndpointAuthMethods           []string `json:"token_endpoint_auth_methods_supported"`
}

// provider holds the provider's metadata: fetched in the background and on demand,
// validated, and kept while the provider is away.
type provider struct {
	cfg    Config
	preset preset
	client *http.Client

	// discovered is closed once there is metadata.
	discovered chan struct{}
	discovery  single

	mu        sync.Mutex
	metadata  *Metadata
	attempted time.Time
	fetched   time.Time // the metadata
	lastErr   error
}

func newProvider(cfg Config, client *http.Client) *provider {
	return &provider{cfg: cfg, preset: cfg.preset(), client: client, discovered: make(chan struct{})}
}

// ready returns the metadata, or why there is none, without waiting.
func (p *provider) ready() (*Metadata, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.metadata != nil:
		return p.metadata, nil
	case p.lastErr != nil:
		return nil, p.lastErr
	default:
		return nil, refuse(ReasonProviderUnreachable, "not discovered yet")
	}
}

// wait returns the metadata, waiting for the first discovery if it has not succeeded
// yet. Its Error says whether the provider is unreachable, which heals by itself, or
// misconfigured, which does not.
func (p *provider) wait(ctx context.Context) (*Metadata, error) {
	if !p.due() {
		return p.ready()
	}
	// Another request's discovery may have ended since: the run looks again.
	onDemand := func() {
		if p.due() {
			p.update()
		}
	}
	select {
	case <-p.discovery.start(onDemand):
	case <-ctx.Done():
		return nil, refuse(ReasonProviderUnreachable, "waiting for discovery: %w", ctx.Err())
	}
	return p.ready()
}

// due reports whether a person who wants to sign in is reason to ask the provider now:
// not if it is known, and not if it has just been asked in vain.
func (p *provider) due() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.metadata == nil && (p.lastErr == nil || p.cfg.Now().Sub(p.attempted) >= onDemandInterval)
}

// run keeps the metadata fresh until ctx ends: it retries with growing waits while
// discovery fails, and asks again now and then once it has succeeded.
func (p *provider) run(ctx context.Context) {
	var retry backoff
	for {
		<-p.discovery.start(p.update)
		p.mu.Lock()
		err := p.lastErr
		p.mu.Unlock()
		wait := metadataLifetime
		if err != nil {
			wait = retry.next()
		} else {
			retry.reset()
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// update discovers once. It goes on when the request that wanted it is gone: the next
// one wants it too.
func (p *provider) update() {
	defer survive(p.cfg.Log, "discovery")
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	m, err := p.discover(ctx)

	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.lastErr
	p.attempted, p.lastErr = p.cfg.Now(), err
	// What is no news is not logged again: this runs every few seconds.
	if err != nil {
		if before == nil || before.Error() != err.Error() {
			level := slog.LevelWarn
			if ReasonOf(err) == ReasonProviderMisconfigured {
				level = slog.LevelError // that will not heal by itself
			}
			p.cfg.Log.Log(ctx, level, "provider not usable, trying again", "issuer", p.cfg.Issuer, "reason", ReasonOf(err), "error", err)
		}
		return
	}
	if p.metadata == nil {
		close(p.discovered)
		p.preset.logRegistration(p.cfg)
	}
	if p.metadata == nil || before != nil {
		p.cfg.Log.Info("provider discovered", "issuer", p.cfg.Issuer)
	}
	p.metadata, p.fetched = m, p.attempted
}

// discover fetches and validates the discovery document (OpenID Connect Discovery
// 1.0 section 4).
func (p *provider) discover(ctx context.Context) (*Metadata, error) {
	m, err := p.fetch(ctx)
	if err != nil {
		return nil, err
	}
	if err := m.validate(p.cfg, p.preset); err != nil {
		return nil, &Error{Reason: ReasonProviderMisconfigured, Err: err}
	}
	return m, nil
}

// fetch fetches the document and judges nothing of what it says.
func (p *provider) fetch(ctx context.Context) (*Metadata, error) {
	address := strings.TrimSuffix(p.cfg.Issuer, "/") + "/.well-known/openid-configuration"
	req, err := http.NewRequestWithContext(calling(ctx, "discovery"), http.MethodGet, address, nil)
	if err != nil {
		return nil, refuse(ReasonProviderMisconfigured, "discovery at %s: %w", address, err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, refuse(ReasonProviderUnreachable, "discovery: %w", err)
	}
	body, err := readJSON(resp)
	if err != nil {
		reason := ReasonProviderUnreachable
		if permanent(err) {
			reason = ReasonProviderMisconfigured
		}
		return nil, refuse(reason, "discovery at %s: %w", address, err)
	}
	m := new(Metadata)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, refuse(ReasonProviderMisconfigured, "discovery at %s: the document is not valid JSON", address)
	}
	return m, nil
}

// permanent reports whether a failed discovery will not pass by waiting: what 4xx, 3xx,
// another media type or a document without end says.
func permanent(err error) bool {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e.status < 500 && e.status != http.StatusTooManyRequests
	}
	return errors.Is(err, errMediaType) || errors.Is(err, errResponseTooLarge)
}

// validate checks the document: an issuer that is not exactly the configured one is
// a mix-up or a misspelling (OpenID Connect Discovery 1.0 section 4.3), and an
// endpoint that is not https would be given codes, tokens and the client secret.
func (m *Metadata) validate(cfg Config, known preset) error {
	if err := m.checkIssuer(cfg, known); err != nil {
		return err
	}
	return errors.Join(m.checkAlgorithms(cfg.IDTokenAlgorithms), m.checkEndpoints(cfg))
}

func (m *Metadata) checkIssuer(cfg Config, known preset) error {
	if m.Issuer == cfg.Issuer {
		return nil
	}
	return fmt.Errorf("the provider calls itself %q, the configuration says %q%s", m.Issuer, cfg.Issuer, known.mismatch(m.Issuer, cfg.Issuer))
}

func (m *Metadata) checkEndpoints(cfg Config) error {
	plain := strings.HasPrefix(cfg.Issuer, "http://")
	endpoints := []struct {
		name, value string
		required    bool
	}{
		{"authorization_endpoint", m.AuthorizationEndpoint, true},
		{"token_endpoint", m.TokenEndpoint, true},
		{"jwks_uri", m.JWKSURI, true},
		{"userinfo_endpoint", m.UserInfoEndpoint, cfg.UserInfoRequired},
		{"end_session_endpoint", m.EndSessionEndpoint, false},
		{"revocation_endpoint", m.RevocationEndpoint, false},
		{"pushed_authorization_request_endpoint", m.PushedAuthorizationRequestEndpoint, m.RequirePushedAuthorizationRequests},
	}
	var faults []error
	for _, e := range endpoints {
		if e.value == "" && !e.required {
			continue
		}
		if err := validateEndpoint(e.value, plain); err != nil {
			faults = append(faults, fmt.Errorf("%s %w", e.name, err))
		}
	}
	return errors.Join(faults...)
}

// validateEndpoint accepts an absolute https URL without credentials or fragment;
// plain http too, on loopback, where the issuer itself is plain http.
func validateEndpoint(raw string, plainAllowed bool) error {
	if raw == "" {
		return errors.New("is missing")
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return errors.New("is not an absolute URL")
	case u.User != nil || strings.Contains(raw, "#"):
		return errors.New("has credentials or a fragment")
	case u.Scheme == "https", u.Scheme == "http" && plainAllowed && IsLoopback(u.Hostname()):
	default:
		return errors.New("is not https")
	}
	// x/oauth2 appends its parameters to whatever query is there
	// (RFC 6749 section 3.1 allows one); ours must not be overridden by it.
	own, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("has a query that cannot be read")
	}
	for _, name := range slices.Concat(hints, []string{
		"client_id", "redirect_uri", "response_type", "response_mode", "state", "scope", "nonce", "code_challenge",
		"code_challenge_method", "prompt", "max_age", "acr_values", "audience", "request", "request_uri",
	}) {
		if own.Has(name) {
			return fmt.Errorf("has the parameter %s", name)
		}
	}
	return nil
}

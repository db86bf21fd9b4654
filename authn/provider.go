package authn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
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
	// Waits between attempts while the provider cannot be reached.
	firstRetry, lastRetry = time.Second, 30 * time.Second
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
	BackchannelLogoutSessionSupported  bool     `json:"backchannel_logout_session_supported"`
}

// provider holds the provider's metadata: fetched in the background and on demand,
// validated, and kept while the provider is away.
type provider struct {
	issuer string
	client *http.Client
	now    func() time.Time
	log    *slog.Logger

	mu        sync.Mutex
	metadata  *Metadata
	fetched   time.Time
	attempted time.Time
	lastErr   error
	inflight  chan struct{} // closed when the attempt under way has ended
}

// Metadata returns the provider's metadata, waiting for the first discovery if it
// has not succeeded yet. Its Error says whether the provider is unreachable, which
// heals by itself, or misconfigured, which does not.
func (p *provider) Metadata(ctx context.Context) (*Metadata, error) {
	p.mu.Lock()
	if p.metadata != nil {
		defer p.mu.Unlock()
		return p.metadata, nil
	}
	if p.inflight == nil && p.lastErr != nil && p.now().Sub(p.attempted) < onDemandInterval {
		defer p.mu.Unlock()
		return nil, p.lastErr
	}
	done := p.startLocked()
	p.mu.Unlock()

	select {
	case <-done:
	case <-ctx.Done():
		return nil, refuse(ReasonProviderUnreachable, "waiting for discovery: %w", ctx.Err())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.metadata == nil {
		return nil, p.lastErr
	}
	return p.metadata, nil
}

// Known returns the metadata without waiting, or nil.
func (p *provider) Known() *Metadata {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.metadata
}

// run keeps the metadata fresh until ctx ends: it retries with growing waits while
// discovery fails, and asks again now and then once it has succeeded.
func (p *provider) run(ctx context.Context) {
	retry := firstRetry
	for {
		p.mu.Lock()
		done := p.startLocked()
		p.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
		p.mu.Lock()
		err := p.lastErr
		p.mu.Unlock()

		wait := metadataLifetime
		if err != nil {
			// Jitter keeps many instances from asking in step.
			wait = retry/2 + rand.N(retry/2)
			retry = min(2*retry, lastRetry)
		} else {
			retry = firstRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// startLocked starts a discovery, or joins the one under way. It goes on when the
// request that wanted it is gone: the next one wants it too.
func (p *provider) startLocked() <-chan struct{} {
	if p.inflight != nil {
		return p.inflight
	}
	done := make(chan struct{})
	p.inflight = done
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		m, err := p.discover(ctx)

		p.mu.Lock()
		defer p.mu.Unlock()
		p.attempted = p.now()
		p.record(m, err)
		p.inflight = nil
		close(done)
	}()
	return done
}

// record takes over the outcome of a discovery and logs it when it is news. The
// caller holds the lock.
func (p *provider) record(m *Metadata, err error) {
	first := p.metadata == nil
	failedBefore := p.lastErr != nil
	p.lastErr = err
	switch {
	case err == nil:
		p.metadata, p.fetched = m, p.attempted
		if first || failedBefore {
			p.log.Info("provider discovered", "issuer", p.issuer)
		}
	case ReasonOf(err) == ReasonProviderMisconfigured:
		p.log.Error("provider refused", "issuer", p.issuer, "reason", ReasonOf(err), "error", err)
	case !failedBefore:
		p.log.Warn("provider not reached, trying again", "issuer", p.issuer, "reason", ReasonOf(err), "error", err)
	}
}

// discover fetches and validates the discovery document (OpenID Connect Discovery
// 1.0 section 4).
func (p *provider) discover(ctx context.Context) (*Metadata, error) {
	address := strings.TrimSuffix(p.issuer, "/") + "/.well-known/openid-configuration"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
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
	if err := m.validate(p.issuer); err != nil {
		return nil, &Error{Reason: ReasonProviderMisconfigured, Err: err}
	}
	return m, nil
}

// validate checks the document: an issuer that is not exactly the configured one is
// a mix-up or a misspelling (OpenID Connect Discovery 1.0 section 4.3), and an
// endpoint that is not https would be given codes, tokens and the client secret.
func (m *Metadata) validate(issuer string) error {
	if m.Issuer != issuer {
		hint := ""
		if strings.TrimSuffix(m.Issuer, "/") == strings.TrimSuffix(issuer, "/") {
			hint = "; the slash at the end counts"
		}
		return fmt.Errorf("the provider calls itself %q, the configuration says %q%s", m.Issuer, issuer, hint)
	}
	plain := strings.HasPrefix(issuer, "http://")
	endpoints := []struct {
		name, value string
		required    bool
	}{
		{"authorization_endpoint", m.AuthorizationEndpoint, true},
		{"token_endpoint", m.TokenEndpoint, true},
		{"jwks_uri", m.JWKSURI, true},
		{"userinfo_endpoint", m.UserInfoEndpoint, false},
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

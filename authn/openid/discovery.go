package openid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// metadataLifetime is how long a discovery document is used before it is fetched
	// again; the old one stays in use while that fails.
	metadataLifetime = 10 * time.Minute
	// A sign-in that finds no metadata asks the provider at once, but no more often than
	// this.
	onDemandInterval = 2 * time.Second
)

// discovery fetches the provider's metadata in the background and on demand, validates it,
// and keeps it while the provider is away.
type discovery struct {
	cfg    Config
	preset Preset
	client *http.Client

	// discovered is closed once there is metadata.
	discovered chan struct{}
	flight     singleflight.Group

	mu        sync.Mutex
	metadata  *Metadata
	attempted time.Time
	fetched   time.Time // the metadata
	lastErr   error
}

func newDiscovery(cfg Config, preset Preset, client *http.Client) *discovery {
	return &discovery{cfg: cfg, preset: preset, client: followWithinOrigin(client), discovered: make(chan struct{})}
}

// ready returns the metadata, or why there is none, without waiting.
func (d *discovery) ready() (*Metadata, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.metadata != nil:
		return d.metadata, nil
	case d.lastErr != nil:
		return nil, d.lastErr
	default:
		return nil, refuse(ReasonProviderUnreachable, "not discovered yet")
	}
}

// wait returns the metadata; see Provider.Metadata.
func (d *discovery) wait(ctx context.Context) (*Metadata, error) {
	if !d.due() {
		return d.ready()
	}
	done := d.flight.DoChan("", func() (any, error) {
		if d.due() { // another request's discovery may have ended since
			d.update()
		}
		return nil, nil
	})
	select {
	case <-done:
	case <-ctx.Done():
		return nil, refuse(ReasonProviderUnreachable, "waiting for discovery: %w", ctx.Err())
	}
	return d.ready()
}

// due reports whether a sign-in that needs metadata should ask the provider now: not if there
// is metadata, and not if the last attempt has just failed.
func (d *discovery) due() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.metadata == nil && (d.lastErr == nil || d.cfg.Now().Sub(d.attempted) >= onDemandInterval)
}

// run keeps the metadata fresh until ctx ends. It retries with a growing backoff while
// discovery fails, and asks again periodically once it has succeeded.
func (d *discovery) run(ctx context.Context) {
	keepFresh(ctx, metadataLifetime, func() error {
		_, _, _ = d.flight.Do("", func() (any, error) { d.update(); return nil, nil })
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.lastErr
	})
}

// update discovers once. It goes on when the request that wanted it is gone: the next one
// wants it too.
func (d *discovery) update() {
	defer RecoverPanic(d.cfg.Log, "discovery")
	ctx, cancel := context.WithTimeout(context.Background(), CallTimeout)
	defer cancel()
	m, err := d.discover(ctx)

	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.lastErr
	d.attempted, d.lastErr = d.cfg.Now(), err
	if err != nil {
		// This runs every few seconds, so an unchanged error is not logged again.
		if before == nil || before.Error() != err.Error() {
			level := slog.LevelWarn
			if ReasonOf(err) == ReasonProviderMisconfigured {
				level = slog.LevelError // it does not pass by itself
			}
			d.cfg.Log.Log(ctx, level, "provider not usable, trying again", "issuer", d.cfg.Issuer, "reason", ReasonOf(err), "error", err)
		}
		return
	}
	if d.metadata == nil {
		close(d.discovered)
		d.preset.logRegistration(d.cfg)
		if slices.Contains(d.cfg.Scopes, "offline_access") && d.preset.mayOfferOffline(m) {
			d.cfg.Log.Info("the provider does not list its scopes: requesting offline_access anyway")
		}
	}
	if d.metadata == nil || before != nil {
		d.cfg.Log.Info("provider discovered", "issuer", d.cfg.Issuer)
	}
	d.metadata, d.fetched = m, d.attempted
}

// discover fetches and validates the discovery document (OpenID Connect Discovery 1.0
// section 4).
func (d *discovery) discover(ctx context.Context) (*Metadata, error) {
	m, err := d.fetch(ctx)
	if err != nil {
		return nil, err
	}
	if err := m.validate(d.cfg); err != nil {
		return nil, &Error{Reason: ReasonProviderMisconfigured, Err: err}
	}
	return m, nil
}

// fetch fetches the document without validating it.
func (d *discovery) fetch(ctx context.Context) (*Metadata, error) {
	address := d.cfg.discoveryURL()
	req, err := http.NewRequestWithContext(calling(ctx, "discovery"), http.MethodGet, address, nil)
	if err != nil {
		return nil, refuse(ReasonProviderMisconfigured, "discovery at %s: %w", address, err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := d.client.Do(req)
	if err != nil {
		return nil, refuse(ReasonProviderUnreachable, "discovery: %w", err)
	}
	body, err := readJSON(resp)
	if e, ok := errors.AsType[*StatusError](err); ok && e.Status >= 300 && e.Status <= 399 {
		e.Location = leadsTo(resp)
	}
	if err != nil {
		reason := ReasonProviderUnreachable
		if permanent(err) {
			reason = ReasonProviderMisconfigured
		}
		return nil, refuse(reason, "discovery at %s: %w", address, err)
	}
	m := new(Metadata)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, refuse(ReasonProviderMisconfigured, "discovery at %s: %w", address, err)
	}
	m.useAliases(d.cfg)
	return m, nil
}

// leadsTo returns where a redirect leads, without its query, which may hold anything.
func leadsTo(resp *http.Response) string {
	location, err := resp.Location()
	if err != nil || location.Host == "" {
		return ""
	}
	return (&url.URL{Scheme: location.Scheme, Host: location.Host, Path: location.Path}).String()
}

func (c Config) discoveryURL() string {
	return strings.TrimSuffix(c.Issuer, "/") + "/.well-known/openid-configuration"
}

func (d *discovery) fetchedAt() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fetched
}

// DiscoveryURL returns the address of the provider's discovery document.
func (p *Provider) DiscoveryURL() string { return p.cfg.discoveryURL() }

// FetchMetadata fetches the discovery document without validating it, for an examination of
// the provider. The error is an *Error with ReasonProviderUnreachable or ReasonProviderMisconfigured.
func (p *Provider) FetchMetadata(ctx context.Context) (*Metadata, error) {
	return p.discovery.fetch(ctx)
}

// UseMetadata makes the provider use metadata that the caller has fetched and checked.
func (p *Provider) UseMetadata(m *Metadata) {
	p.discovery.mu.Lock()
	defer p.discovery.mu.Unlock()
	p.discovery.metadata, p.discovery.attempted, p.discovery.lastErr = m, p.cfg.Now(), nil
}

// permanent reports whether retrying cannot fix a failed discovery: the provider answered
// 3xx elsewhere or 4xx, another media type or a document without end.
func permanent(err error) bool {
	if e, ok := errors.AsType[*StatusError](err); ok {
		return e.Status < 500 && e.Status != http.StatusTooManyRequests
	}
	return errors.Is(err, errMediaType) || errors.Is(err, errResponseTooLarge)
}

// Backoff between attempts while the provider cannot be reached.
const firstRetry, lastRetry = time.Second, 30 * time.Second

// keepFresh calls fetch until ctx ends: again after the interval if it succeeds, and with
// exponential backoff if it fails. Jitter keeps many instances from asking in step.
func keepFresh(ctx context.Context, interval time.Duration, fetch func() error) {
	var backoff time.Duration
	for {
		wait := interval
		if fetch() != nil {
			backoff = min(max(2*backoff, firstRetry), lastRetry)
			wait = backoff/2 + rand.N(backoff/2)
		} else {
			backoff = 0
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// RecoverPanic, deferred by work that runs beside the requests, lets the process outlive a panic
// there, which no handler recovers. It logs the panic's type and stack but not its text, which
// may quote a secret.
func RecoverPanic(log *slog.Logger, work string) {
	if p := recover(); p != nil {
		log.Error("work panicked", "work", work, "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
	}
}

// age returns the seconds since a moment; NaN if there was none.
func age(now, since time.Time) float64 {
	if since.IsZero() {
		return math.NaN()
	}
	return now.Sub(since).Seconds()
}

package openid

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Limits on everything that goes to the provider. They are for a provider that is slow,
// broken or hostile; a working one stays far below them.
const (
	connectTimeout = 2 * time.Second
	tlsTimeout     = 3 * time.Second
	// CallTimeout bounds one call to the provider.
	CallTimeout      = 5 * time.Second
	maxResponseBytes = 256 << 10
	maxConnections   = 64
	maxRedirects     = 3
)

// userAgent names the app to the provider. Some firewalls refuse the default one of net/http.
const userAgent = "Latchkey"

var (
	// errMediaType says that a response does not have the media type that it must have.
	errMediaType = errors.New("unexpected media type")
	// errResponseTooLarge says that a response is larger than maxResponseBytes.
	errResponseTooLarge = errors.New("the provider's response is too large")
)

// newClient returns the HTTP client for all calls to the provider, by its back channel if it has
// one. It gives up in time, reads no more than it should, and follows no redirects: a redirected
// token request would carry the code, the verifier and the client secret to another host (RFC
// 9700 section 4.12). See followWithinOrigin for the one exception.
func newClient(cfg Config, clock *clockSkew) *http.Client {
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSHandshakeTimeout:    tlsTimeout,
		ForceAttemptHTTP2:      true,
		MaxConnsPerHost:        maxConnections,
		MaxIdleConns:           maxConnections,
		MaxIdleConnsPerHost:    maxConnections,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig:        cfg.tlsConfig(),
	}
	next := cfg.transport(transport)
	if cfg.BackchannelOrigin != "" {
		next = newBackchannel(cfg, transport)
	}
	return &http.Client{
		Timeout:       CallTimeout,
		Transport:     boundedTransport{&measuredTransport{metrics: cfg.Metrics, metric: cfg.metric, log: cfg.Log, clock: clock, now: cfg.Now, start: cfg.StartSpan, next: next}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// tlsConfig returns the settings of connections to the provider. With a profile, TLS 1.2 has only the
// cipher suites that RFC 9325 section 4.2 recommends (FAPI 2.0 Security Profile section 5.2.2).
func (c Config) tlsConfig() *tls.Config {
	settings := &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12}
	if c.Profile != "" {
		settings.CipherSuites = []uint16{
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		}
	}
	return settings
}

// followWithinOrigin returns a client that follows a few redirects, as long as they stay on the
// origin that was asked: for requests without a secret, whose answer comes from the same
// provider whatever its path is.
func followWithinOrigin(c *http.Client) *http.Client {
	following := *c
	following.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if !sameOrigin(req.URL, via[0].URL) || req.URL.User != nil || len(via) > maxRedirects {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return &following
}

// sameOrigin reports whether two URLs have the same scheme, host and port (RFC 6454 section 5).
func sameOrigin(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		return cmp.Or(u.Port(), map[string]string{"https": "443", "http": "80"}[u.Scheme])
	}
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// Get fetches an address of the provider like a browser without cookies, and follows no redirects.
// The caller closes the body.
func (p *Provider) Get(ctx context.Context, address string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("openid: request: %w", err)
	}
	req.Header.Set("Accept", "text/html")
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, withoutQuery(err)
	}
	return resp, nil
}

// boundedTransport cuts off a response body, after decompression, at maxResponseBytes.
type boundedTransport struct{ next http.RoundTripper }

func (t boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxResponseBytes}
	return resp, nil
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if len(p) > b.left+1 {
		p = p[:b.left+1] // one byte more than allowed tells "full" from "too much"
	}
	n, err := b.ReadCloser.Read(p)
	if n > b.left {
		return 0, errResponseTooLarge
	}
	b.left -= n
	return n, err
}

// readJSON returns the body of a response that must be 200 and JSON.
func readJSON(resp *http.Response) ([]byte, error) {
	body, _, err := readBody(resp, "application/json")
	return body, err
}

// readBody returns the body of a response that must be 200 and of one of the media types,
// and that type. Its errors never quote the body: what a provider sends may hold tokens.
func readBody(resp *http.Response, types ...string) (body []byte, mediaType string, err error) {
	defer resp.Body.Close()
	if mediaType, err = checkResponse(resp, types...); err != nil {
		return nil, "", err
	}
	body, err = readAll(resp)
	return body, mediaType, err
}

// checkResponse returns the media type of a response that must be 200 and of one of the types.
func checkResponse(resp *http.Response, types ...string) (mediaType string, err error) {
	if resp.StatusCode != http.StatusOK {
		return "", &StatusError{Status: resp.StatusCode}
	}
	mediaType, _, err = mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(types, mediaType) {
		return "", fmt.Errorf("%w %q", errMediaType, mediaType)
	}
	return mediaType, nil
}

// readAll reads the body of a response and closes it.
func readAll(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case errors.Is(err, errResponseTooLarge):
		return nil, err
	case err != nil:
		// A response that breaks off means that the provider is out of reach, too.
		return nil, refuse(ReasonProviderUnreachable, "reading the response: %w", err)
	}
	return body, nil
}

// withoutQuery drops the query from the URL in a client's error.
func withoutQuery(err error) error {
	e, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err
	}
	address, _, _ := strings.Cut(e.URL, "?")
	return &url.Error{Op: e.Op, URL: address, Err: e.Err}
}

// The outcomes of a call to the provider, as the metrics name them.
const (
	answered    = "answered"
	refused     = "refused"     // with a status that another try does not change
	failed      = "failed"      // with a status that may pass
	unreachable = "unreachable" // no response, or half of one
)

type endpointContextKey struct{}

// calling returns a context for calls to an endpoint of the provider: discovery, jwks, token,
// userinfo, revocation or pushed_authorization.
func calling(ctx context.Context, endpoint string) context.Context {
	return context.WithValue(ctx, endpointContextKey{}, endpoint)
}

func endpointOf(ctx context.Context) string {
	endpoint, _ := ctx.Value(endpointContextKey{}).(string)
	return cmp.Or(endpoint, "other")
}

// measuredTransport traces each call and passes the trace on, times each response to its last byte, and compares
// the clocks.
type measuredTransport struct {
	next    http.RoundTripper
	metrics *metrics.Set
	metric  func(name string, labels ...string) string
	log     *slog.Logger
	clock   *clockSkew
	now     func() time.Time
	start   StartSpan // nil traces nothing
}

func (t *measuredTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, began, sent := req.Context(), time.Now(), t.now()
	end := func(...slog.Attr) {}
	if t.start != nil {
		ctx, end = t.start(ctx, "provider "+endpointOf(ctx))
	}
	req = req.Clone(ctx) // a RoundTripper leaves the caller's alone
	req.Header.Set("User-Agent", userAgent)
	if trace := TraceFrom(ctx); trace.ID() != "" {
		req.Header.Set("Traceparent", trace.Traceparent())
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		t.done(ctx, unreachable, 0, began)
		end(slog.String("outcome", unreachable))
		return nil, err
	}
	t.clock.read(ctx, resp.Header, sent, t.now())
	outcome, status := outcomeOf(resp.StatusCode), resp.StatusCode
	resp.Body = &measuredBody{ReadCloser: resp.Body, closed: func(broken bool) {
		if broken {
			outcome = unreachable
		}
		t.done(ctx, outcome, status, began)
		end(slog.String("outcome", outcome), slog.Int("status", status))
	}}
	return resp, nil
}

func (t *measuredTransport) done(ctx context.Context, outcome string, status int, began time.Time) {
	endpoint := endpointOf(ctx)
	took := time.Since(began)
	t.metrics.GetOrCreatePrometheusHistogramExt(
		t.metric("latchkey_provider_call_duration_seconds", "endpoint", endpoint, "outcome", outcome), DurationBuckets()).Update(took.Seconds())
	t.log.LogAttrs(ctx, slog.LevelDebug, "provider asked", slog.String("endpoint", endpoint),
		slog.String("outcome", outcome), slog.Int("status", status), slog.Float64("took_ms", float64(took.Microseconds())/1000))
}

// DurationBuckets returns the upper bounds, in seconds, of every duration histogram.
func DurationBuckets() []float64 {
	return []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
}

func outcomeOf(status int) string {
	switch {
	case status >= 200 && status <= 299:
		return answered
	case status >= 500, status == http.StatusTooManyRequests:
		return failed
	default:
		return refused
	}
}

// measuredBody tells when it is closed, and whether it broke off before.
type measuredBody struct {
	io.ReadCloser
	broken bool
	once   sync.Once
	closed func(broken bool)
}

func (b *measuredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.broken = true
	}
	return n, err
}

func (b *measuredBody) Close() error {
	b.once.Do(func() { b.closed(b.broken) })
	return b.ReadCloser.Close()
}

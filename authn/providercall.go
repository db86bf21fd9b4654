package authn

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// ProviderCall names a call to the provider: what was asked, and what came of it.
type ProviderCall struct {
	// Endpoint is discovery, jwks, token, userinfo, revocation or pushed_authorization.
	Endpoint string
	Outcome  Outcome
}

// Outcome is what came of a call to the provider.
type Outcome string

// The outcomes.
const (
	Answered    Outcome = "answered"
	Refused     Outcome = "refused"     // with a status that says that it is not to be had
	Failed      Outcome = "failed"      // with a status that says that it may be had later
	Unreachable Outcome = "unreachable" // no answer, or half of one
)

type endpointContextKey struct{}

// calling returns a context for calls to an endpoint of the provider.
func calling(ctx context.Context, endpoint string) context.Context {
	return context.WithValue(ctx, endpointContextKey{}, endpoint)
}

// measuredTransport carries the calls to the provider: it passes the trace on, times the
// answer to its last byte, and compares the clocks.
type measuredTransport struct {
	next       http.RoundTripper
	statistics *Statistics
	now        func() time.Time
	log        *slog.Logger
	// skewLogged is the clock skew that the log knows of, in seconds; 0 for none.
	skewLogged atomic.Int64
}

func (t *measuredTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, began := req.Context(), time.Now()
	if trace := TraceFrom(ctx); trace.ID() != "" {
		req = req.Clone(ctx) // a RoundTripper leaves the caller's alone
		req.Header.Set("Traceparent", trace.traceparent())
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		t.done(ctx, Unreachable, 0, began)
		return nil, err
	}
	t.compareClocks(ctx, resp.Header)
	outcome, status := outcomeOf(resp.StatusCode), resp.StatusCode
	resp.Body = &measuredBody{ReadCloser: resp.Body, closed: func(broken bool) {
		if broken {
			outcome = Unreachable
		}
		t.done(ctx, outcome, status, began)
	}}
	return resp, nil
}

func (t *measuredTransport) done(ctx context.Context, outcome Outcome, status int, began time.Time) {
	endpoint, _ := ctx.Value(endpointContextKey{}).(string)
	took := time.Since(began)
	endpoint = cmp.Or(endpoint, "other")
	t.statistics.ProviderCalls.Add(ProviderCall{endpoint, outcome}, took)
	t.log.LogAttrs(ctx, slog.LevelDebug, "provider asked", slog.String("endpoint", endpoint),
		slog.String("outcome", string(outcome)), slog.Int("status", status), slog.Float64("took_ms", took.Seconds()*1000))
}

// compareClocks says in the log when the provider's clock and this one are so far apart
// that its tokens are refused, and when they no longer are.
func (t *measuredTransport) compareClocks(ctx context.Context, header http.Header) {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil || header.Get("Age") != "" { // a cache's answer is as old as it is
		return
	}
	skew := date.Sub(t.now()).Round(time.Second)
	t.statistics.ClockSkew.Store(int64(skew / time.Second))
	logged := time.Duration(t.skewLogged.Load()) * time.Second
	switch {
	case skew.Abs() > leeway && (skew-logged).Abs() > leeway:
		t.skewLogged.Store(int64(skew / time.Second))
		t.log.WarnContext(ctx, "clock skew noticed: the provider's clock and this one are too far apart for tokens to be accepted", "skew_s", int64(skew/time.Second))
	case skew.Abs() <= leeway && logged != 0:
		t.skewLogged.Store(0)
		t.log.InfoContext(ctx, "clock skew gone", "skew_s", int64(skew/time.Second))
	}
}

func outcomeOf(status int) Outcome {
	switch {
	case status >= 200 && status <= 299:
		return Answered
	case status >= 500, status == http.StatusTooManyRequests:
		return Failed
	default:
		return Refused
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

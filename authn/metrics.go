package authn

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"latchkey/authn/openid"
)

// The metrics of this package without labels. docs/operations.md explains each metric.
const (
	signInsBegun     = "latchkey_sign_ins_begun_total"
	signInsCompleted = "latchkey_sign_ins_completed_total"
	sessionsStarted  = "latchkey_sessions_started_total"
	sessionsBound    = "latchkey_sessions_bound_total"
	sessionsRenewed  = "latchkey_sessions_renewed_total"
	proofsRefused    = "latchkey_device_proofs_refused_total"

	sessionCacheBytes = "latchkey_session_cache_bytes"
	sessionCacheLimit = "latchkey_session_cache_limit_bytes"
)

// The outcomes of a refresh of tokens.
const (
	refreshed      = "refreshed" // there are new tokens
	refreshRefused = "refused"   // and so the session has ended
	refreshFailed  = "failed"    // and is tried again
)

// countSignIns makes the counters of a provider's sign-ins and refreshes start at 0, so that the first
// failure shows as an increase.
func countSignIns(set *metrics.Set, p *openid.Provider) {
	set.GetOrCreateCounter(p.Metric(signInsBegun))
	set.GetOrCreateCounter(p.Metric(signInsCompleted))
	for _, reason := range []openid.Reason{
		openid.ReasonResponseMalformed, openid.ReasonResponseInvalid, openid.ReasonIssuerMismatch, openid.ReasonDeclined,
		openid.ReasonProviderUnreachable, openid.ReasonProviderMisconfigured, openid.ReasonTokenRequestFailed,
		openid.ReasonTokenInvalid, openid.ReasonIDTokenInvalid, openid.ReasonOtherTenant, openid.ReasonStepUpFailed, openid.ReasonUserInfoMismatch,
		openid.ReasonUserInfoRequired, openid.ReasonTooLarge, ReasonTransactionMissing, ReasonTransactionExpired,
		ReasonTransactionUsed, ReasonConfigurationChanged, ReasonTooManySignIns, ReasonRefused, ReasonHookFailed, ReasonSessionEnded, ReasonStoreUnavailable,
	} {
		set.GetOrCreateCounter(signInsFailed(p, reason))
	}
	for _, outcome := range []string{refreshed, refreshRefused, refreshFailed} {
		set.GetOrCreateCounter(tokenRefreshes(p, outcome))
	}
}

func countFailedSignIn(set *metrics.Set, p *openid.Provider, err error) {
	set.GetOrCreateCounter(signInsFailed(p, openid.ReasonOf(err))).Inc()
}

func signInsFailed(p *openid.Provider, reason openid.Reason) string {
	return p.Metric("latchkey_sign_ins_failed_total", "reason", string(cmp.Or(reason, "internal_error")))
}

// countSessions makes the counters of sessions start at 0.
func countSessions(set *metrics.Set) {
	for _, counter := range []string{sessionsStarted, sessionsBound, sessionsRenewed, proofsRefused} {
		set.GetOrCreateCounter(counter)
	}
	set.GetOrCreateCounter(sessionsEndedBy("expired"))
	for cause := CauseSignedOut; cause <= CauseProduct; cause++ {
		set.GetOrCreateCounter(sessionsEndedBy(cause.String()))
	}
}

func sessionsEndedBy(cause string) string {
	return `latchkey_sessions_ended_total{cause="` + cause + `"}`
}

func tokenRefreshes(p *openid.Provider, outcome string) string {
	return p.Metric("latchkey_token_refreshes_total", "outcome", outcome)
}

// measuredStore is a Store whose calls are measured and traced.
type measuredStore struct {
	Store
	// calls has a histogram for each operation that was answered, and one for each that
	// failed.
	calls map[storeCall]*metrics.PrometheusHistogram
	start openid.StartSpan // nil traces nothing
}

type storeCall struct {
	operation string
	failed    bool
}

func newMeasuredStore(store Store, set *metrics.Set, start openid.StartSpan) measuredStore {
	m := measuredStore{store, make(map[storeCall]*metrics.PrometheusHistogram), start}
	for _, operation := range []string{"create", "load", "save", "touch", "end", "revoke", "list", "count", "once", "sweep", "ping"} {
		for _, failed := range []bool{false, true} {
			name := `latchkey_store_call_duration_seconds{operation="` + operation + `",failed="` + strconv.FormatBool(failed) + `"}`
			m.calls[storeCall{operation, failed}] = set.GetOrCreatePrometheusHistogramExt(name, openid.DurationBuckets())
		}
	}
	return m
}

// underway is a call that has begun.
type underway struct {
	operation string
	began     time.Time
	end       func(...slog.Attr) // nil if the call is not traced
}

// begin notes a call that begins, and returns the context for it.
func (m measuredStore) begin(ctx context.Context, operation string) (context.Context, underway) {
	call := underway{operation: operation, began: time.Now()}
	if m.start != nil {
		ctx, call.end = m.start(ctx, "store "+operation)
	}
	return ctx, call
}

// done records a call that has ended, and returns its error. ErrNotFound, ErrConflict and ErrEnded
// are answers, not failures.
func (m measuredStore) done(call underway, err error) error {
	answered := err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) || errors.Is(err, ErrEnded)
	m.calls[storeCall{call.operation, !answered}].UpdateDuration(call.began)
	if call.end != nil {
		call.end(slog.Bool("failed", !answered))
	}
	return err
}

func (m measuredStore) Create(ctx context.Context, r Record) error {
	ctx, call := m.begin(ctx, "create")
	return m.done(call, m.Store.Create(ctx, r))
}

func (m measuredStore) Load(ctx context.Context, key Key) (Record, error) {
	ctx, call := m.begin(ctx, "load")
	r, err := m.Store.Load(ctx, key)
	return r, m.done(call, err)
}

func (m measuredStore) Save(ctx context.Context, r Record) error {
	ctx, call := m.begin(ctx, "save")
	return m.done(call, m.Store.Save(ctx, r))
}

func (m measuredStore) Touch(ctx context.Context, key Key, lastSeen, expires time.Time) error {
	ctx, call := m.begin(ctx, "touch")
	return m.done(call, m.Store.Touch(ctx, key, lastSeen, expires))
}

func (m measuredStore) End(ctx context.Context, key Key, cause Cause, until time.Time) error {
	ctx, call := m.begin(ctx, "end")
	return m.done(call, m.Store.End(ctx, key, cause, until))
}

func (m measuredStore) Revoke(ctx context.Context, index Key, notAfter, until time.Time) ([]Key, error) {
	ctx, call := m.begin(ctx, "revoke")
	keys, err := m.Store.Revoke(ctx, index, notAfter, until)
	return keys, m.done(call, err)
}

func (m measuredStore) List(ctx context.Context, index Key) ([]Record, error) {
	ctx, call := m.begin(ctx, "list")
	records, err := m.Store.List(ctx, index)
	return records, m.done(call, err)
}

func (m measuredStore) Count(ctx context.Context, index Key) (int, error) {
	ctx, call := m.begin(ctx, "count")
	n, err := m.Store.Count(ctx, index)
	return n, m.done(call, err)
}

func (m measuredStore) Once(ctx context.Context, key Key, until time.Time) (bool, error) {
	ctx, call := m.begin(ctx, "once")
	first, err := m.Store.Once(ctx, key, until)
	return first, m.done(call, err)
}

func (m measuredStore) Sweep(ctx context.Context, now time.Time) (int, error) {
	ctx, call := m.begin(ctx, "sweep")
	n, err := m.Store.Sweep(ctx, now)
	return n, m.done(call, err)
}

func (m measuredStore) Ping(ctx context.Context) error {
	ctx, call := m.begin(ctx, "ping")
	return m.done(call, m.Store.Ping(ctx))
}

package authn

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"latchkey/authn/openid"
)

// The counters of this package without labels. docs/operations.md explains each metric.
const (
	signInsBegun     = "latchkey_sign_ins_begun_total"
	signInsCompleted = "latchkey_sign_ins_completed_total"
	sessionsStarted  = "latchkey_sessions_started_total"
)

// The outcomes of a refresh of tokens.
const (
	refreshed      = "refreshed" // there are new tokens
	refreshRefused = "refused"   // and so the session has ended
	refreshFailed  = "failed"    // and is tried again
)

// countSignIns makes the counters of sign-ins start at 0, so that the first failure shows as an
// increase.
func countSignIns(set *metrics.Set) {
	set.GetOrCreateCounter(signInsBegun)
	set.GetOrCreateCounter(signInsCompleted)
	for _, reason := range []openid.Reason{
		openid.ReasonResponseMalformed, openid.ReasonIssuerMismatch, openid.ReasonDeclined,
		openid.ReasonProviderUnreachable, openid.ReasonProviderMisconfigured, openid.ReasonTokenRequestFailed,
		openid.ReasonTokenInvalid, openid.ReasonIDTokenInvalid, openid.ReasonStepUpFailed, openid.ReasonUserInfoMismatch,
		openid.ReasonUserInfoRequired, openid.ReasonTooLarge, ReasonTransactionMissing, ReasonTransactionExpired,
		ReasonTransactionUsed, ReasonConfigurationChanged, ReasonTooManySignIns, ReasonRefused, ReasonHookFailed, ReasonSessionEnded, ReasonStoreUnavailable,
	} {
		set.GetOrCreateCounter(signInsFailed(reason))
	}
}

func countFailedSignIn(set *metrics.Set, err error) {
	set.GetOrCreateCounter(signInsFailed(openid.ReasonOf(err))).Inc()
}

func signInsFailed(reason openid.Reason) string {
	return `latchkey_sign_ins_failed_total{reason="` + string(cmp.Or(reason, "internal_error")) + `"}`
}

// countSessions makes the counters of sessions start at 0.
func countSessions(set *metrics.Set) {
	set.GetOrCreateCounter(sessionsStarted)
	set.GetOrCreateCounter(sessionsEndedBy("expired"))
	for cause := CauseSignedOut; cause <= CauseProduct; cause++ {
		set.GetOrCreateCounter(sessionsEndedBy(cause.String()))
	}
	for _, outcome := range []string{refreshed, refreshRefused, refreshFailed} {
		set.GetOrCreateCounter(tokenRefreshes(outcome))
	}
}

func sessionsEndedBy(cause string) string {
	return `latchkey_sessions_ended_total{cause="` + cause + `"}`
}

func tokenRefreshes(outcome string) string {
	return `latchkey_token_refreshes_total{outcome="` + outcome + `"}`
}

// measuredStore is a Store whose calls are measured.
type measuredStore struct {
	Store
	// calls has a histogram for each operation that was answered, and one for each that
	// failed.
	calls map[storeCall]*metrics.PrometheusHistogram
}

type storeCall struct {
	operation string
	failed    bool
}

func newMeasuredStore(store Store, set *metrics.Set) measuredStore {
	m := measuredStore{store, make(map[storeCall]*metrics.PrometheusHistogram)}
	for _, operation := range []string{"create", "load", "save", "touch", "end", "revoke", "list", "count", "once", "sweep", "ping"} {
		for _, failed := range []bool{false, true} {
			name := `latchkey_store_call_duration_seconds{operation="` + operation + `",failed="` + strconv.FormatBool(failed) + `"}`
			m.calls[storeCall{operation, failed}] = set.GetOrCreatePrometheusHistogramExt(name, openid.DurationBuckets())
		}
	}
	return m
}

// done notes a call that has ended, and passes its error on. That there is no such session is
// an answer.
func (m measuredStore) done(operation string, began time.Time, err error) error {
	answered := err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) || errors.Is(err, ErrEnded)
	m.calls[storeCall{operation, !answered}].UpdateDuration(began)
	return err
}

func (m measuredStore) Create(ctx context.Context, r Record) error {
	began := time.Now()
	return m.done("create", began, m.Store.Create(ctx, r))
}

func (m measuredStore) Load(ctx context.Context, key Key) (Record, error) {
	began := time.Now()
	r, err := m.Store.Load(ctx, key)
	return r, m.done("load", began, err)
}

func (m measuredStore) Save(ctx context.Context, r Record) error {
	began := time.Now()
	return m.done("save", began, m.Store.Save(ctx, r))
}

func (m measuredStore) Touch(ctx context.Context, key Key, lastSeen, expires time.Time) error {
	began := time.Now()
	return m.done("touch", began, m.Store.Touch(ctx, key, lastSeen, expires))
}

func (m measuredStore) End(ctx context.Context, key Key, cause Cause, until time.Time) error {
	began := time.Now()
	return m.done("end", began, m.Store.End(ctx, key, cause, until))
}

func (m measuredStore) Revoke(ctx context.Context, index Key, notAfter, until time.Time) ([]Key, error) {
	began := time.Now()
	keys, err := m.Store.Revoke(ctx, index, notAfter, until)
	return keys, m.done("revoke", began, err)
}

func (m measuredStore) List(ctx context.Context, index Key) ([]Record, error) {
	began := time.Now()
	records, err := m.Store.List(ctx, index)
	return records, m.done("list", began, err)
}

func (m measuredStore) Count(ctx context.Context, index Key) (int, error) {
	began := time.Now()
	n, err := m.Store.Count(ctx, index)
	return n, m.done("count", began, err)
}

func (m measuredStore) Once(ctx context.Context, key Key, until time.Time) (bool, error) {
	began := time.Now()
	first, err := m.Store.Once(ctx, key, until)
	return first, m.done("once", began, err)
}

func (m measuredStore) Sweep(ctx context.Context, now time.Time) (int, error) {
	began := time.Now()
	n, err := m.Store.Sweep(ctx, now)
	return n, m.done("sweep", began, err)
}

func (m measuredStore) Ping(ctx context.Context) error {
	began := time.Now()
	return m.done("ping", began, m.Store.Ping(ctx))
}

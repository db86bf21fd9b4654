package routes

import (
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/labstack/echo/v4"

	"latchkey/authn"
)

// counts are what the app counts itself, beside authn's Statistics.
type counts struct {
	requests authn.Timings[requestLabels]
	refused  authn.Tally[string] // by reason
	// routes are the patterns of the route table.
	routes []string
}

// requestLabels are what requests are told apart by. None of it is the client's to choose:
// each label has few values.
type requestLabels struct{ route, method, status string }

// patterns lists the routes' patterns, without the one for what is no route.
func patterns(e *echo.Echo) []string {
	var list []string
	for _, route := range e.Routes() {
		if route.Method != echo.RouteNotFound {
			list = append(list, route.Path)
		}
	}
	return list
}

// measure notes a request that has been answered.
func (a *App) measure(c echo.Context, status int, took time.Duration) {
	labels := requestLabels{route: c.Path(), method: c.Request().Method, status: statusClasses[min(max(status/100, 0), 5)]}
	if !slices.Contains(a.counts.routes, labels.route) {
		labels.route = "none"
	}
	if !slices.Contains(methods, labels.method) {
		labels.method = "other"
	}
	if labels.route == "/events" {
		return // a stream lasts as long as its page; see latchkey_open_streams
	}
	a.counts.requests.Add(labels, took)
}

// The values that labels of a request can have.
var (
	statusClasses = []string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}
	methods       = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}
)

// exposeMetrics answers in the text format that Prometheus and its kin read. docs/operations.md
// explains each metric.
func (a *App) exposeMetrics(c echo.Context) error {
	s := a.Statistics
	var e exposition
	e.family("latchkey_build_info", "gauge", "1, with what was built from what.")
	e.sample(labels(build()...), 1)
	e.family("latchkey_request_duration_seconds", "histogram", "Requests on the app's own address.")
	timings(&e, &a.counts.requests, func(l requestLabels) string {
		return labels("route", l.route, "method", l.method, "status", l.status)
	})
	e.family("latchkey_requests_refused_total", "counter", "Requests that were answered with an error, by reason.")
	tallies(&e, &a.counts.refused, func(reason string) string { return labels("reason", reason) })
	e.family("latchkey_open_streams", "gauge", "Open event streams.")
	e.sample("", float64(a.Sessions.Watching()))

	e.counter("latchkey_sign_ins_begun_total", "People who were sent to the provider.", s.SignInsBegun.Load())
	e.counter("latchkey_sign_ins_completed_total", "People who came back, and whom the provider vouches for.", s.SignInsCompleted.Load())
	e.family("latchkey_sign_ins_failed_total", "counter", "Sign-ins that were refused, by reason.")
	byReason := func(reason authn.Reason) string { return labels("reason", orInternal(string(reason))) }
	tallies(&e, &s.SignInsFailed, byReason)

	e.counter("latchkey_sessions_started_total", "Sessions that began.", s.SessionsStarted.Load())
	e.family("latchkey_sessions_ended_total", "counter", "Sessions that ended, by cause. A Redis drops those that expire by itself, uncounted.")
	e.sample(labels("cause", "expired"), float64(s.SessionsExpired.Load()))
	tallies(&e, &s.SessionsEnded, func(cause authn.Cause) string { return labels("cause", cause.String()) })
	e.family("latchkey_token_refreshes_total", "counter", "Uses of refresh tokens, by outcome.")
	tallies(&e, &s.Refreshes, func(outcome authn.Refresh) string { return labels("outcome", string(outcome)) })
	e.counter("latchkey_logout_tokens_accepted_total", "Logout tokens of the provider that were good.", s.LogoutTokensAccepted.Load())
	e.family("latchkey_logout_tokens_refused_total", "counter", "Logout tokens that were not, by reason.")
	tallies(&e, &s.LogoutTokensRefused, byReason)

	e.family("latchkey_provider_call_duration_seconds", "histogram", "Calls to the provider, to the last byte of the answer.")
	timings(&e, &s.ProviderCalls, func(call authn.ProviderCall) string {
		return labels("endpoint", call.Endpoint, "outcome", string(call.Outcome))
	})
	e.family("latchkey_store_call_duration_seconds", "histogram", "Calls to the session store.")
	timings(&e, &s.StoreCalls, func(call authn.StoreCall) string {
		return labels("operation", call.Operation, "failed", strconv.FormatBool(call.Failed))
	})
	a.exposeState(c, &e)
	metrics.WriteProcessMetrics(&e.buf)
	metrics.WriteFDMetrics(&e.buf)
	return c.Blob(http.StatusOK, "text/plain; version=0.0.4; charset=utf-8", e.buf.Bytes())
}

// exposeState adds what is true now.
func (a *App) exposeState(c echo.Context, e *exposition) {
	readiness := a.readiness(c.Request().Context())
	e.family("latchkey_ready", "gauge", "1 where a check of /readyz is ok.")
	for _, check := range []string{"provider", "store"} {
		e.sample(labels("check", check), oneIf(readiness.Checks[check] == "ok"))
	}
	e.family("latchkey_draining", "gauge", "1 once the program is stopping.")
	e.sample("", oneIf(a.draining.Load()))
	e.family("latchkey_discovery_age_seconds", "gauge", "Since the provider's metadata was fetched.")
	if age, ok := a.RelyingParty.DiscoveryAge(); ok {
		e.sample("", age.Seconds())
	}
	e.family("latchkey_key_set_age_seconds", "gauge", "Since the provider's keys were fetched.")
	if age, ok := a.RelyingParty.KeySetAge(); ok {
		e.sample("", age.Seconds())
	}
	e.family("latchkey_provider_clock_skew_seconds", "gauge", "How far the provider's clock is ahead of this one.")
	e.sample("", float64(a.Statistics.ClockSkew.Load()))
}

// build is what the toolchain noted in the binary, as pairs.
func build() []string {
	version, revision, goVersion := "unknown", "unknown", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version, goVersion = info.Main.Version, info.GoVersion
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				revision = setting.Value
			}
		}
	}
	return []string{"version", version, "revision", revision, "go", goVersion}
}

func orInternal(reason string) string {
	if reason == "" {
		return "internal_error"
	}
	return reason
}

func oneIf(condition bool) float64 {
	if condition {
		return 1
	}
	return 0
}

package routes

import (
	"bytes"
	"context"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/labstack/echo/v4"

	"latchkey/authn/openid"
)

// requestDurations measures requests by route, method and status class. Each label has few values,
// and the client chooses none of them.
type requestDurations struct {
	set *metrics.Set
	// routes has the patterns of the route table.
	routes map[string]bool

	mu         sync.RWMutex
	histograms map[requestLabels]*metrics.PrometheusHistogram
}

type requestLabels struct{ route, method, status string }

// These are the values of the labels, except those of route, and except other, which stands for any other
// method.
var (
	statusClasses = []string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}
	methods       = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}
)

// add records the duration of a request. It skips event streams, which last as long as their page;
// see latchkey_open_streams.
func (d *requestDurations) add(route, method string, status int, took time.Duration) {
	if route == "/events" {
		return
	}
	labels := d.labels(route, method)
	labels.status = statusClasses[min(max(status/100, 0), 5)]
	d.histogram(labels).Update(took.Seconds())
}

// labels returns the labels of a request, without the status.
func (d *requestDurations) labels(route, method string) requestLabels {
	labels := requestLabels{route: "none", method: "other"}
	if d.routes[route] {
		labels.route = route
	}
	if slices.Contains(methods, method) {
		labels.method = method
	}
	return labels
}

func (d *requestDurations) histogram(labels requestLabels) *metrics.PrometheusHistogram {
	d.mu.RLock()
	h, ok := d.histograms[labels]
	d.mu.RUnlock()
	if ok {
		return h
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	h = d.set.GetOrCreatePrometheusHistogramExt("latchkey_request_duration_seconds{route="+strconv.Quote(labels.route)+
		",method="+strconv.Quote(labels.method)+",status="+strconv.Quote(labels.status)+"}", openid.DurationBuckets())
	d.histograms[labels] = h
	return h
}

func requestsRefused(reason string) string {
	return "latchkey_requests_refused_total{reason=" + strconv.Quote(reason) + "}"
}

// registerMetrics registers the gauges of the app, and the counters of refused requests. A counter
// has to exist at 0 so that the first refusal shows as an increase.
func (a *App) registerMetrics() {
	metrics.ExposeMetadata(true)
	a.durations = requestDurations{set: a.Metrics, histograms: make(map[requestLabels]*metrics.PrometheusHistogram)}
	for reason := range failures {
		a.Metrics.GetOrCreateCounter(requestsRefused(reason))
	}
	gauge := func(name string, value func() float64) { a.Metrics.NewGauge(name, value) }
	gauge("latchkey_build_info{"+buildLabels()+"}", func() float64 { return 1 })
	gauge("latchkey_open_streams", func() float64 { return float64(a.Sessions.Watching()) })
	gauge("latchkey_draining", func() float64 { return oneIf(a.draining.Load()) })
	gauge(`latchkey_ready{check="provider"}`, func() float64 { return oneIf(a.RelyingParties.Ready() == nil) })
	for _, rp := range a.RelyingParties.All() {
		if p := rp.Provider(); p.Name() != "" {
			gauge(p.Metric("latchkey_provider_ready"), func() float64 { return oneIf(p.Ready() == nil) })
		}
	}
	gauge(`latchkey_ready{check="store"}`, func() float64 { return oneIf(a.Sessions.Ready(context.Background()) == nil) })
}

// exposeMetrics answers in Prometheus's text format. docs/operations.md explains each metric.
func (a *App) exposeMetrics(c echo.Context) error {
	var page bytes.Buffer
	a.Metrics.WritePrometheus(&page)
	metrics.WriteProcessMetrics(&page)
	metrics.WriteFDMetrics(&page)
	return c.Blob(http.StatusOK, "text/plain; version=0.0.4; charset=utf-8", page.Bytes())
}

// patterns returns the routes' patterns, without the one for requests that no route matches.
func patterns(e *echo.Echo) map[string]bool {
	list := make(map[string]bool)
	for _, route := range e.Routes() {
		if route.Method != echo.RouteNotFound {
			list[route.Path] = true
		}
	}
	return list
}

// buildLabels returns what the program was built from, as far as the toolchain recorded it.
func buildLabels() string {
	version, revision, goVersion := "unknown", "unknown", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version, goVersion = info.Main.Version, info.GoVersion
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				revision = setting.Value
			}
		}
	}
	return "version=" + strconv.Quote(version) + ",revision=" + strconv.Quote(revision) + ",go=" + strconv.Quote(goVersion)
}

func oneIf(condition bool) float64 {
	if condition {
		return 1
	}
	return 0
}

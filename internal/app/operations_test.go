package app_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"latchkey/internal/app"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestMetrics counts what happens in an app that signs people in and out, and fails to.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t, "OPS_ADDR=127.0.0.1:0")
	operators := s.Operators()
	before := operators.Metrics()
	v := s.Visitor()
	s.SignIn(v)
	v.RefreshProfile()
	v.Do(v.Raw(http.MethodPost, "/backchannel-logout", apptest.FormType, "logout_token="+s.OP.LogoutToken().Compact()))
	s.OP.Answer(scriptedop.Token, scriptedop.JSON(400, map[string]any{"error": "invalid_grant"}))
	late := s.Visitor()
	late.Callback(late.AuthorizationResponse("/login"))
	s.OP.Answer(scriptedop.Token, scriptedop.Cut)
	late.Callback(late.AuthorizationResponse("/login"))
	s.OP.Answer(scriptedop.Token, nil)
	v.Do(v.Raw(http.MethodPost, "/backchannel-logout", apptest.FormType, "logout_token=x"))
	s.SignIn(v)
	v.Post("/logout", nil)
	v.Do(v.Request("PROPFIND", "/nothing/"+strings.Repeat("x", 100), nil))
	v.Direct(v.Request(http.MethodPost, "/sessions/1234/end", nil))

	after := operators.Metrics()
	for name, want := range map[string]float64{
		`latchkey_sign_ins_begun_total`:                                                                   4,
		`latchkey_sign_ins_completed_total`:                                                               2,
		`latchkey_sign_ins_failed_total{reason="token_request_failed"}`:                                   1,
		`latchkey_sign_ins_failed_total{reason="provider_unreachable"}`:                                   1,
		`latchkey_sessions_started_total`:                                                                 2,
		`latchkey_sessions_ended_total{cause="provider"}`:                                                 1,
		`latchkey_sessions_ended_total{cause="signed_out"}`:                                               1,
		`latchkey_logout_tokens_accepted_total`:                                                           1,
		`latchkey_logout_tokens_refused_total{reason="logout_token_invalid"}`:                             1,
		`latchkey_requests_refused_total{reason="token_request_failed"}`:                                  1,
		`latchkey_provider_call_duration_seconds_count{endpoint="token",outcome="answered"}`:              2,
		`latchkey_provider_call_duration_seconds_count{endpoint="token",outcome="refused"}`:               1,
		`latchkey_provider_call_duration_seconds_count{endpoint="token",outcome="unreachable"}`:           1,
		`latchkey_provider_call_duration_seconds_count{endpoint="userinfo",outcome="answered"}`:           3,
		`latchkey_provider_call_duration_seconds_bucket{endpoint="token",outcome="answered",le="+Inf"}`:   2,
		`latchkey_store_call_duration_seconds_count{operation="create",failed="false"}`:                   2,
		`latchkey_request_duration_seconds_count{route="/callback",method="GET",status="3xx"}`:            2,
		`latchkey_request_duration_seconds_count{route="/callback",method="GET",status="5xx"}`:            2,
		`latchkey_request_duration_seconds_count{route="none",method="other",status="4xx"}`:               1,
		`latchkey_request_duration_seconds_count{route="/sessions/:id/end",method="POST",status="3xx"}`:   1,
		`latchkey_request_duration_seconds_bucket{route="/callback",method="GET",status="3xx",le="+Inf"}`: 2,
	} {
		if got := after[name] - before[name]; got != want {
			t.Errorf("%s grows by %v, want %v", name, got, want)
		}
	}
	for name, most := range map[string]float64{
		`latchkey_discovery_age_seconds`: 60, `latchkey_key_set_age_seconds`: 60, `latchkey_provider_clock_skew_seconds`: 5, `latchkey_open_streams`: 0, `latchkey_draining`: 0,
	} {
		if got, ok := after[name]; !ok || got > most {
			t.Errorf("%s is %v, %t", name, got, ok)
		}
	}
	if after[`latchkey_ready{check="store"}`] != 1 || after[`latchkey_ready{check="provider"}`] != 1 || after["process_start_time_seconds"] == 0 || after["go_goroutines"] == 0 {
		t.Error("it is not ready, or there is no process")
	}
	s.WantNoSecrets(operators.Get("/metrics"))
}

// TestRefreshesAreCounted by what comes of them.
func TestRefreshesAreCounted(t *testing.T) {
	t.Parallel()
	for outcome, answer := range map[string]http.HandlerFunc{
		"refreshed": nil,
		"refused":   scriptedop.JSON(400, map[string]any{"error": "invalid_grant"}),
		"failed":    scriptedop.Status(http.StatusServiceUnavailable),
	} {
		t.Run(outcome, func(t *testing.T) {
			t.Parallel()
			s, clock := apptest.Assemble(t)
			v := s.Visitor()
			s.SignIn(v)
			clock.Move(2 * time.Hour)
			s.OP.Answer(scriptedop.Token, answer)
			v.RefreshProfile()
			server := httptest.NewServer(s.Assembled.Handler.Operations())
			defer server.Close()
			got := (&apptest.App{T: t, URL: server.URL, Log: s.Log}).Visitor().Metrics()
			for _, o := range []string{"refreshed", "refused", "failed"} {
				want := 0.0
				if o == outcome {
					want = 1
				}
				if n := got[`latchkey_token_refreshes_total{outcome="`+o+`"}`]; n != want {
					t.Errorf("%s: %v, want %v", o, n, want)
				}
			}
			if n := got[`latchkey_sessions_ended_total{cause="refresh_refused"}`]; (n == 1) != (outcome == "refused") {
				t.Errorf("%v sessions ended by it", n)
			}
		})
	}
}

// TestOperationsAddress (SE-16, CF-06) asks both addresses for what is the operators'.
func TestOperationsAddress(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t, "OPS_ADDR=127.0.0.1:0")
	operators, v := s.Operators(), s.Visitor()
	s.SignIn(v)
	for path, want := range map[string]string{"/healthz": `{"status":"ok"}`, "/readyz": `{"status":"ready","checks":{"provider":"ok","store":"ok"}}`} {
		for _, from := range []*apptest.Visitor{operators, v} {
			got := from.Get(path)
			if got.StatusCode != http.StatusOK || strings.TrimSpace(got.Body) != want || got.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("CF-06: %s of %s is %d %s", path, from.App.URL, got.StatusCode, got.Body)
			}
			if got := from.Do(from.Request(http.MethodHead, path, nil)); got.StatusCode != http.StatusOK || got.Body != "" {
				t.Errorf("HEAD of %s is %d %q", path, got.StatusCode, got.Body)
			}
		}
	}
	for _, agent := range []string{"GoogleHC/1.0", "kube-probe/1.30", "Prometheus/3.0"} {
		if got := v.Get("/metrics", "User-Agent", agent); got.StatusCode != http.StatusNotFound {
			t.Errorf("SE-16: /metrics of the app is %d to %s", got.StatusCode, agent)
		}
		for _, path := range []string{"/", "/dashboard", "/login", "/api/me", "/static/", "/debug/pprof/", "/metrics/x"} {
			if got := operators.Direct(operators.Request(http.MethodGet, path, nil, "User-Agent", agent)); got.StatusCode != http.StatusNotFound || len(got.Cookies()) > 0 {
				t.Errorf("SE-16: %s of the operators' address is %d to %s", path, got.StatusCode, agent)
			}
		}
	}
	if got := operators.Do(operators.Request(http.MethodPost, "/metrics", nil)); got.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST of /metrics is %d", got.StatusCode)
	}
	page := operators.Get("/metrics").Body
	for _, private := range []string{"alice", s.OP.ClientID + `"`, s.OP.Issuer, s.DataDir} {
		if strings.Contains(page, private) {
			t.Errorf("SE-16: /metrics says %q", private)
		}
	}
}

// TestOperationsAddressIsTaken has another program listen there: nothing is started.
func TestOperationsAddressIsTaken(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t, "OPS_ADDR=127.0.0.1:0")
	address := strings.TrimPrefix(s.Operators().App.URL, "http://")
	ctx, stop := context.WithTimeout(t.Context(), apptest.Patience)
	defer stop()
	err := app.Run(ctx, nil, append(apptest.Env(s.OP), "PORT=0", "DATA_DIR="+t.TempDir(), "OPS_ADDR="+address), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "OPS_ADDR") {
		t.Errorf("it ends with %v", err)
	}
}

// TestMemoryLimit (CF-15) gives the Go runtime a limit.
func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	p := apptest.StartProcess(t, t.TempDir(), "GOMEMLIMIT=64MiB", "OPS_ADDR=127.0.0.1:0", "DEV_PROVIDER_ADDR=127.0.0.1:0")
	if got := p.Operators().Metrics()["go_memlimit_bytes"]; got != 64<<20 {
		t.Errorf("the limit is %v", got)
	}
}

// TestWatchedMetricsExist reads the names in the dashboard, the alert rules and the
// documents. Each must be one that the program has.
func TestWatchedMetricsExist(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t, "OPS_ADDR=127.0.0.1:0")
	s.SignIn(s.Visitor())
	page := s.Operators().Get("/metrics").Body
	known := func(name string) bool {
		for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
			family, ok := strings.CutSuffix(name, suffix)
			if ok && (strings.Contains(page, "# TYPE "+family+" ") || strings.Contains(page, "\n"+name+" ") || strings.Contains(page, "\n"+name+"{")) {
				return true
			}
		}
		return false
	}
	if known("latchkey_nothing_total") {
		t.Fatal("any name is known")
	}
	names := regexp.MustCompile(`\b(?:latchkey|process|go)_[a-z_]+\b`)
	for _, file := range []string{"deploy/grafana-dashboard.json", "deploy/alerts.yaml", "docs/operations.md"} {
		text := apptest.ReadFile(t, file)
		found := names.FindAllString(string(text), -1)
		if len(found) < 10 {
			t.Errorf("%s names %d metrics", file, len(found))
		}
		for _, name := range found {
			if !known(name) {
				t.Errorf("%s names %s, which does not exist", file, name)
			}
		}
		if strings.HasSuffix(file, ".json") && !json.Valid(text) {
			t.Errorf("%s is not JSON", file)
		}
		if strings.HasSuffix(file, ".md") {
			for _, family := range regexp.MustCompile(`# TYPE (\S+)`).FindAllStringSubmatch(page, -1) {
				if !strings.Contains(string(text), "`"+family[1]) {
					t.Errorf("%s does not explain %s", file, family[1])
				}
			}
		}
	}
}

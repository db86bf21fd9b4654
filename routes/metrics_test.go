package routes_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestMetrics signs people in and out, with success and without, and checks the counts.
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
		`latchkey_request_duration_seconds_count{route="/sessions/:id/end",method="POST",status="4xx"}`:   1,
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

// TestRefreshesAreCounted checks that refreshes are counted by their outcome.
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

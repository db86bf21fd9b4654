package login

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestClockSkewIsTold (FM-24) uses a provider whose clock is wrong. The log reports the
// difference once, and reports when the clock is right again.
func TestClockSkewIsTold(t *testing.T) {
	t.Parallel()
	const noticed, gone = "clock skew noticed: the provider's clock and this one are too far apart for tokens to be accepted", "clock skew gone"
	for name, tt := range map[string]struct {
		ahead time.Duration
		told  bool
	}{
		"FM-24 right":             {0, false},
		"FM-24 30 seconds ahead":  {30 * time.Second, false},
		"FM-24 30 seconds behind": {-30 * time.Second, false},
		"FM-24 2 minutes ahead":   {2 * time.Minute, true},
		"FM-24 2 minutes behind":  {-2 * time.Minute, true},
		"FM-24 an hour ahead":     {time.Hour, true},
		"FM-24 an hour behind":    {-time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, clock := apptest.Assemble(t)
			ask := func(ahead time.Duration, more ...string) {
				s.OP.Answer(scriptedop.UserInfo, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Date", clock.Now().Add(ahead).Format(http.TimeFormat))
					for i := 0; i+1 < len(more); i += 2 {
						w.Header().Set(more[i], more[i+1])
					}
					s.OP.Correct(scriptedop.UserInfo)(w, r)
				})
				s.SignIn(s.Visitor())
			}
			ask(-time.Hour, "Age", strconv.Itoa(3600)) // a cached response is old, but no clock is wrong
			if lines := s.Logged(noticed, ""); len(lines) > 0 {
				t.Errorf("for a cached response the log says %v", lines)
			}
			ask(tt.ahead)
			ask(tt.ahead)
			lines := s.Logged(noticed, "")
			if !tt.told {
				if len(lines) > 0 {
					t.Errorf("the log says %v", lines)
				}
				return
			}
			if len(lines) == 0 || lines[0]["skew_s"] != tt.ahead.Seconds() || lines[0]["level"] != "WARN" || lines[0]["request"] == nil {
				t.Errorf("the log says %v, want %vs", lines, tt.ahead.Seconds())
			}
		})
	}
	t.Run("it is logged once", func(t *testing.T) {
		t.Parallel()
		s, clock := apptest.Assemble(t)
		var ahead atomic.Int64
		ahead.Store(int64(2 * time.Minute))
		for _, e := range []scriptedop.Endpoint{scriptedop.Discovery, scriptedop.JWKS, scriptedop.Token, scriptedop.UserInfo} {
			s.OP.Answer(e, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Date", clock.Now().Add(time.Duration(ahead.Load())).Format(http.TimeFormat))
				s.OP.Correct(e)(w, r)
			})
		}
		for range 3 {
			s.SignIn(s.Visitor())
		}
		if a, b := len(s.Logged(noticed, "")), len(s.Logged(gone, "")); a != 1 || b != 0 {
			t.Errorf("it is logged %d times as noticed, and %d times as gone", a, b)
		}
		ahead.Store(0)
		s.SignIn(s.Visitor())
		if n := len(s.Logged(gone, "")); n != 1 {
			t.Errorf("it is logged %d times as gone", n)
		}
	})
}

package app_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/apptest"
)

// TestPanic (FM-28) has a handler panic, by way of a clock that does: the answer is a page
// like any other failure's, the log tells it once and quotes nothing of it, and whatever
// was locked is free.
func TestPanic(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	s, _ := apptest.AssembleWith(t, func(cfg *authn.Config) {
		now := cfg.Now
		cfg.Now = func() time.Time {
			if broken.Load() {
				panic("MARK")
			}
			return now()
		}
	})
	v := s.Visitor()
	s.SignIn(v)
	for _, path := range []string{"/dashboard", "/login", "/readyz"} {
		broken.Store(true)
		got := v.Direct(v.Request(http.MethodGet, path, nil))
		broken.Store(false)
		reference := got.Header.Get("X-Request-Id")
		apptest.CheckHeaders(t, path, got)
		if got.StatusCode != http.StatusInternalServerError || !strings.Contains(got.Body, reference) || strings.Contains(got.Body, "MARK") || strings.Contains(got.Body, "goroutine") {
			t.Errorf("%s answers %d\n%s", path, got.StatusCode, got.Body)
		}
		told, refused := s.Logged("handler panicked", reference), s.Logged("refused", reference)
		if len(told) != 1 || told[0]["level"] != "ERROR" || !strings.Contains(told[0]["stack"].(string), "panic") || len(refused) != 1 || refused[0]["reason"] != "panic" {
			t.Errorf("%s: the log says %v and %v", path, told, refused)
		}
		if got := v.Direct(v.Request(http.MethodGet, path, nil)); got.StatusCode >= 500 {
			t.Errorf("afterwards %s answers %d", path, got.StatusCode)
		}
	}
	if strings.Contains(s.Log.String(), "MARK") {
		t.Error("the log quotes the panic")
	}
}

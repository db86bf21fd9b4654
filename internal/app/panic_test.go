package app

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authn"
)

// TestPanic (FM-28) has a handler panic, by way of a clock that does: the answer is a page
// like any other failure's, the log tells it once and quotes nothing of it, and whatever
// was locked is free.
func TestPanic(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	s, _ := assembleWith(t, func(cfg *authn.Config) {
		now := cfg.Now
		cfg.Now = func() time.Time {
			if broken.Load() {
				panic("MARK")
			}
			return now()
		}
	})
	v := s.visitor()
	s.signInNow(v)
	for _, path := range []string{"/dashboard", "/login", "/readyz"} {
		broken.Store(true)
		got := v.direct(v.request(http.MethodGet, path, nil))
		broken.Store(false)
		reference := got.Header.Get("X-Request-Id")
		checkHeaders(t, path, got)
		if got.StatusCode != http.StatusInternalServerError || !strings.Contains(got.body, reference) || strings.Contains(got.body, "MARK") || strings.Contains(got.body, "goroutine") {
			t.Errorf("%s answers %d\n%s", path, got.StatusCode, got.body)
		}
		told, refused := s.logged("handler panicked", reference), s.logged("refused", reference)
		if len(told) != 1 || told[0]["level"] != "ERROR" || !strings.Contains(told[0]["stack"].(string), "panic") || len(refused) != 1 || refused[0]["reason"] != "panic" {
			t.Errorf("%s: the log says %v and %v", path, told, refused)
		}
		if got := v.direct(v.request(http.MethodGet, path, nil)); got.StatusCode >= 500 {
			t.Errorf("afterwards %s answers %d", path, got.StatusCode)
		}
	}
	if strings.Contains(s.log.String(), "MARK") {
		t.Error("the log quotes the panic")
	}
}

package routes_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/internal/apptest"
)

// TestPanic (FM-28) makes a handler panic. The answer is a page like that of any other
// failure, the log has the panic once and quotes nothing from the request, and no lock
// stays held.
func TestPanic(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	s, _ := apptest.AssembleWith(t, func(cfg *apptest.Settings) {
		now := cfg.OpenID.Now
		cfg.OpenID.Now = func() time.Time {
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

// TestTryAgainKeepsThePage shows what an outage of the store during a sign-in for a page answers.
func TestTryAgainKeepsThePage(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	i := slices.IndexFunc(a.Gallery(), func(piece string) bool {
		return strings.Contains(piece, "store_unavailable") || strings.Contains(piece, "store-unavailable")
	})
	if i < 0 {
		t.Fatal("the gallery does not have the page")
	}
	if page := a.Visitor().Get(a.Gallery()[i]); !strings.Contains(page.Body, `href="/login?return_to=%2Fprofile"`) {
		t.Errorf("Try again leads elsewhere:\n%s", page.Body)
	}
}

// TestErrorsFitTheClient shows one refusal as a page, as a fragment and as JSON.
func TestErrorsFitTheClient(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()

	page := v.Get("/nothing")
	reference := page.Header.Get("X-Request-Id")
	if page.StatusCode != http.StatusNotFound || !strings.Contains(page.Body, "<html") || !strings.Contains(page.Body, reference) {
		t.Errorf("a browser gets %d:\n%s", page.StatusCode, page.Body)
	}
	fragment := v.Get("/nothing", "HX-Request", "true")
	if fragment.StatusCode != http.StatusNotFound || strings.Contains(fragment.Body, "<html") || !strings.Contains(fragment.Body, `role="alert"`) {
		t.Errorf("htmx gets %d:\n%s", fragment.StatusCode, fragment.Body)
	}
	problem := v.Get("/dashboard", "Accept", "application/json")
	var details struct {
		Status   int
		Title    string
		Instance string
	}
	if err := json.Unmarshal([]byte(problem.Body), &details); err != nil || details.Status != http.StatusUnauthorized || details.Title == "" || details.Instance == "" ||
		problem.StatusCode != http.StatusUnauthorized || problem.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("a program gets %d %s:\n%s", problem.StatusCode, problem.Header.Get("Content-Type"), problem.Body)
	}
	if line := `"request":"` + reference + `"`; !strings.Contains(a.Log.String(), line) {
		t.Error("the log does not hold the reference of the error page")
	}
}

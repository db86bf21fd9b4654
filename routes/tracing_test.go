package routes_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"latchkey/authn/openid"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
	"latchkey/routes"
)

// spans records the spans that have ended, each as "NAME < PARENT attributes".
type spans struct {
	mu    sync.Mutex
	ended []string
}

type spanKey struct{}

func (s *spans) start(ctx context.Context, name string) (context.Context, func(...slog.Attr)) {
	parent, _ := ctx.Value(spanKey{}).(string)
	trace, ok := openid.ParseTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if !ok {
		panic("no trace")
	}
	ctx = openid.WithTrace(context.WithValue(ctx, spanKey{}, name), trace.Own())
	return ctx, func(attributes ...slog.Attr) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = append(s.ended, fmt.Sprintf("%s < %s %v", name, parent, attributes))
	}
}

// take returns the spans since the last call.
func (s *spans) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ended := s.ended
	s.ended = nil
	return ended
}

// TestSpans signs in, uses pages and calls an API. The spans name routes, endpoints and operations, and hold nothing
// of a person or a secret.
func TestSpans(t *testing.T) {
	t.Parallel()
	recorded := &spans{}
	s, _ := apptest.AssembleWith(t, func(settings *apptest.Settings) { settings.OpenID.StartSpan = recorded.start })
	var parents []string
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		parents = append(parents, r.Header.Get("Traceparent"))
	}))
	defer api.Close()
	s.Assembled.Handler.Proxy("/api/traced", routes.Upstream{URL: api.URL})
	v := s.Visitor()
	var all []string
	want := func(what string, request *http.Request, want ...string) {
		t.Helper()
		recorded.take()
		v.Direct(request)
		var got []string
		apptest.Eventually(t, what+" is traced", func() bool { // the last span ends after the answer
			got = append(got, recorded.take()...)
			return !slices.ContainsFunc(want, func(span string) bool { return !slices.Contains(got, span) })
		})
		all = append(all, got...)
	}
	want("a page that needs a sign-in", v.Request("GET", "/dashboard?secret=1", nil), "GET /dashboard <  [status=303]")
	got := v.Direct(v.Request("GET", "/login", nil))
	got = v.Direct(v.Request("GET", got.Header.Get("Location"), nil))
	want("the callback", v.Request("GET", got.Header.Get("Location"), nil),
		"provider token < GET /callback [outcome=answered status=200]", "provider userinfo < GET /callback [outcome=answered status=200]",
		"store create < GET /callback [failed=false]", "GET /callback <  [status=303]")
	want("the dashboard", v.Request("GET", "/dashboard", nil), "store load < GET /dashboard [failed=false]", "GET /dashboard <  [status=200]")
	want("a person's own address", v.Request("GET", "/resume/4711", nil), "GET /resume/:id <  [status=404]")
	want("an address that is not there", v.Request("GET", "/wp-admin/alice", nil), "GET none <  [status=404]")
	want("an unknown method", v.Request("ALICE", "/dashboard", nil), "other /dashboard <  [status=405]")
	want("an API", v.Request("GET", "/api/traced/4711", nil), "proxy /api/traced < GET none [status=200]")
	if len(parents) != 1 || parents[0] != "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" {
		t.Errorf("the API learns of the parents %q", parents)
	}
	if parent := s.OP.Last(scriptedop.UserInfo).Header.Get("Traceparent"); parent != parents[0] {
		t.Errorf("the provider learns of the parent %q", parent)
	}
	if lines := s.Logged("signed in", ""); len(lines) != 1 || lines[0]["trace_id"] != "4bf92f3577b34da6a3ce929d0e0e4736" {
		t.Errorf("the log says %v", lines)
	}
	text := strings.Join(all, "\n")
	for _, secret := range append(s.OP.Secrets(), "alice", "4711", "secret=1", "127.0.0.1") {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in a span:\n%s", secret, text)
		}
	}
	v.Listen()
	for _, span := range recorded.take() {
		if strings.Contains(span, "/events") {
			t.Errorf("an event stream is traced: %s", span)
		}
	}
}

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

const client = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// TestSpans signs in. The request's span continues the client's trace, the calls are its children, and the provider
// learns which span calls it.
func TestSpans(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test")
	s, _ := apptest.AssembleWith(t, func(settings *apptest.Settings) { settings.OpenID.StartSpan = startSpan(tracer) })
	v := s.Visitor()
	response := v.AuthorizationResponse("/login")
	v.Direct(v.Request("GET", response, nil, "Traceparent", client))
	named := func(name string) (found sdktrace.ReadOnlySpan) {
		apptest.Eventually(t, "the span "+name, func() bool {
			ended := recorder.Ended()
			i := slices.IndexFunc(ended, func(span sdktrace.ReadOnlySpan) bool { return span.Name() == name })
			if i >= 0 {
				found = ended[i]
			}
			return i >= 0
		})
		return found
	}
	request, call := named("GET /callback"), named("provider userinfo")
	if request.SpanContext().TraceID().String() != client[3:35] || request.Parent().SpanID().String() != client[36:52] || request.SpanKind() != trace.SpanKindServer {
		t.Errorf("the request's span is %v, a child of %v", request.SpanContext(), request.Parent())
	}
	for _, span := range []sdktrace.ReadOnlySpan{call, named("provider token"), named("store create")} {
		if span.Parent().SpanID() != request.SpanContext().SpanID() || span.SpanKind() != trace.SpanKindClient || len(span.Attributes()) == 0 {
			t.Errorf("%s is a child of %v with %v", span.Name(), span.Parent(), span.Attributes())
		}
	}
	if got := s.OP.Last(scriptedop.UserInfo).Header.Get("Traceparent"); !strings.Contains(got, call.SpanContext().SpanID().String()) {
		t.Errorf("the provider learns of %q, want the span %v", got, call.SpanContext())
	}
}

// TestProgram runs the program with a collector, which receives its spans.
func TestProgram(t *testing.T) {
	received := make(chan string, 100)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		received <- r.URL.Path + " " + string(body)
	}))
	defer collector.Close()
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL, "OTEL_BSP_SCHEDULE_DELAY": "50",
		"PORT": apptest.FreePort(t), "DEV_PROVIDER_ADDR": "127.0.0.1:0", "DATA_DIR": t.TempDir(), "LOG_LEVEL": "error",
	} {
		t.Setenv(name, value)
	}
	arguments := os.Args
	os.Args = arguments[:1]
	defer func() { os.Args = arguments }()
	ended := make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- run(t.Context())
	}()
	t.Cleanup(func() { <-ended }) // before the directory goes
	address := "http://localhost:" + os.Getenv("PORT") + "/"
	apptest.Eventually(t, "the app answers", func() bool {
		resp, err := http.Get(address)
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
	for deadline := time.After(apptest.Patience); ; {
		select {
		case got := <-received:
			if strings.HasPrefix(got, "/v1/traces ") && strings.Contains(got, "GET /") {
				return
			}
		case err := <-ended:
			t.Fatalf("the program ended: %v", err)
		case <-deadline:
			t.Fatal("the collector received no span of the request")
		}
	}
}

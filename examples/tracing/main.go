// Tracing is the program with spans: it sends them to an OpenTelemetry collector.
//
//	OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 go run .
//
// The variables of OpenTelemetry's SDK set the collector, the sampler and the name of the service.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"latchkey/internal/app"
	"latchkey/internal/product"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run runs the program, and sends the last spans when it has ended.
func run(ctx context.Context) (err error) {
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return fmt.Errorf("OpenTelemetry: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err = errors.Join(err, provider.Shutdown(ctx))
	}()
	program := app.Program{Product: product.New(), StartSpan: startSpan(provider.Tracer("latchkey"))}
	return program.Run(ctx, os.Args[1:], os.Environ(), os.Stdout)
}

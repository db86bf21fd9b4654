package main

import (
	"context"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"latchkey/authn/openid"
)

// startSpan returns the hook that makes spans of OpenTelemetry. The span of a request continues the trace
// of its client, and calls to the provider and to APIs name the span that they belong to.
func startSpan(tracer trace.Tracer) openid.StartSpan {
	w3c := propagation.TraceContext{}
	return func(ctx context.Context, name string) (context.Context, func(...slog.Attr)) {
		if !trace.SpanContextFromContext(ctx).IsValid() {
			ctx = w3c.Extract(ctx, propagation.MapCarrier{"traceparent": openid.TraceFrom(ctx).String()})
		}
		ctx, span := tracer.Start(ctx, name, trace.WithSpanKind(kindOf(name)))
		carrier := propagation.MapCarrier{}
		w3c.Inject(ctx, carrier)
		if place, ok := openid.ParseTraceparent(carrier["traceparent"]); ok {
			ctx = openid.WithTrace(ctx, place.Own())
		}
		return ctx, func(attributes ...slog.Attr) {
			for _, a := range attributes {
				switch a.Value.Kind() {
				case slog.KindInt64:
					span.SetAttributes(attribute.Int64(a.Key, a.Value.Int64()))
					if a.Key == "status" && a.Value.Int64() >= 500 {
						span.SetStatus(codes.Error, "")
					}
				case slog.KindBool:
					span.SetAttributes(attribute.Bool(a.Key, a.Value.Bool()))
					if a.Key == "failed" && a.Value.Bool() {
						span.SetStatus(codes.Error, "")
					}
				default:
					span.SetAttributes(attribute.String(a.Key, a.Value.String()))
				}
			}
			span.End()
		}
	}
}

// kindOf returns the kind of a span: a call, or a request that the app answers.
func kindOf(name string) trace.SpanKind {
	for _, call := range []string{"provider ", "proxy ", "store "} {
		if strings.HasPrefix(name, call) {
			return trace.SpanKindClient
		}
	}
	return trace.SpanKindServer
}

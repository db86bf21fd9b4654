package openid

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"strings"
)

// Trace is the place of a request in a distributed trace (W3C Trace Context section 3.2).
// Calls to the provider that are made for the request pass it on.
type Trace struct {
	id, parent, flags string
	own               bool // the parent is a span of this program
}

// ParseTraceparent reads the value of a traceparent header, and reports false for one that
// must not be used (section 3.2.2). Anyone can send one, so only its form can be checked.
func ParseTraceparent(header string) (Trace, bool) {
	const length = len("00-00000000000000000000000000000000-0000000000000000-00")
	if len(header) < length {
		return Trace{}, false
	}
	version, rest := header[:2], header[length:]
	fields := strings.Split(header[:length], "-")
	if len(fields) != 4 || version == "ff" || (rest != "" && (version == "00" || rest[0] != '-')) {
		return Trace{}, false
	}
	for i, width := range []int{2, 32, 16, 2} {
		if len(fields[i]) != width || strings.Trim(fields[i], "0123456789abcdef") != "" {
			return Trace{}, false
		}
	}
	if strings.Trim(fields[1], "0") == "" || strings.Trim(fields[2], "0") == "" {
		return Trace{}, false
	}
	return Trace{id: fields[1], parent: fields[2], flags: fields[3]}, true
}

// ID returns the id of the whole trace, in 32 hexadecimal digits; "" for the zero Trace.
func (t Trace) ID() string { return t.id }

// Own returns the same place, for calls of this program: its parent is a span of this program, as
// StartSpan has made it.
func (t Trace) Own() Trace {
	t.own = true
	return t
}

// String returns the traceparent header of the place, with only the flags that this version defines
// (section 3.2.2.5): sampled, and random trace id. The zero Trace has none.
func (t Trace) String() string {
	if t.id == "" {
		return ""
	}
	flags, _ := hex.DecodeString(t.flags)
	return "00-" + t.id + "-" + t.parent + "-" + hex.EncodeToString([]byte{flags[0] & 3})
}

// Traceparent returns the header of an outgoing call in the trace, or "" for the zero Trace. Without a span
// of this program, its parent is one that nobody records.
func (t Trace) Traceparent() string {
	if !t.own {
		var parent [8]byte
		_, _ = rand.Read(parent[:]) // never fails
		t.parent = hex.EncodeToString(parent[:])
	}
	return t.String()
}

// StartSpan starts a span for work that is about to begin. It returns the context for the work, which
// carries the span, and the function that ends it. The name is one of a few, such as "GET /dashboard",
// "provider token" or "store load". It and the attributes hold no token, cookie or personal data.
//
// TraceFrom(ctx) is the place that a client has sent, or that an outer span has set: the context that
// StartSpan returns may carry another one, made by Own, for outgoing calls and log lines.
type StartSpan func(ctx context.Context, name string) (context.Context, func(attributes ...slog.Attr))

// TraceKey is the key of a context's *Trace, for a context type that carries it itself.
type TraceKey struct{}

// WithTrace returns a context that carries the trace of a request.
func WithTrace(ctx context.Context, t Trace) context.Context {
	return context.WithValue(ctx, TraceKey{}, &t)
}

// TraceFrom returns the trace that a context carries, or the zero Trace.
func TraceFrom(ctx context.Context) Trace {
	if t, ok := ctx.Value(TraceKey{}).(*Trace); ok {
		return *t
	}
	return Trace{}
}

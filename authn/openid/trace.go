package openid

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"
)

// Trace is the place of a request in a distributed trace (W3C Trace Context section 3.2).
// Calls to the provider that are made for the request pass it on.
type Trace struct{ id, flags string }

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
	return Trace{id: fields[1], flags: fields[3]}, true
}

// ID returns the id of the whole trace, in 32 hexadecimal digits; "" for the zero Trace.
func (t Trace) ID() string { return t.id }

// traceparent returns the header of an outgoing call in the trace. It passes on only the flags
// that this version defines (section 3.2.2.5): sampled, and random trace id.
func (t Trace) traceparent() string {
	var parent [8]byte
	_, _ = rand.Read(parent[:]) // never fails
	flags, _ := hex.DecodeString(t.flags)
	return "00-" + t.id + "-" + hex.EncodeToString(parent[:]) + "-" + hex.EncodeToString([]byte{flags[0] & 3})
}

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

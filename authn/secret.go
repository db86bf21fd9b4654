package authn

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a string that must not be seen: it prints, logs and marshals as
// "[hidden]". Whoever needs the value converts it, string(s), where one can see it. Only with
// a verb that is wrong for every string, %p, and %w outside of Errorf, fmt asks no method;
// go vet refuses both.
type Secret string

const hidden = "[hidden]"

// Format implements fmt.Formatter for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText implements encoding.TextMarshaler, and so covers JSON.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// fmt prints what lies in unexported fields without asking it how. What keeps secrets
// there is printed by its name alone: Session, RelyingParty and Keys.

// Format implements fmt.Formatter for every verb.
func (s Session) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "session "+s.LogID()) }

// Format implements fmt.Formatter for every verb.
func (rp RelyingParty) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "relying party at "+rp.cfg.Issuer)
}

// Format implements fmt.Formatter for every verb.
func (Keys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

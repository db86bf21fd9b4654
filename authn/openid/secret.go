package openid

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
)

// Secret is a string that must not be seen. It prints, logs and marshals as "[hidden]". Code
// that needs the value converts it, string(s), where a reader can see it. Only a verb that is
// wrong for every string (%p, and %w outside of Errorf) bypasses Format; go vet refuses both.
type Secret string

const hidden = "[hidden]"

// Format implements fmt.Formatter for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText implements encoding.TextMarshaler, and so covers JSON.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// RandomToken returns 256 random bits as 43 URL-safe characters.
func RandomToken() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return base64.RawURLEncoding.EncodeToString(b)
}

// EqualSecret compares two secrets in constant time. No secret equals "".
func EqualSecret(got, want string) bool {
	return want != "" && subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

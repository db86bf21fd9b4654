package app

import (
	"context"
	"crypto"
	"crypto/tls"
	"io"
	"log/slog"
	"time"

	"latchkey/authn/doctor"
)

// Most tests are outside of this package, because their harness imports it. They need these
// internals.
var (
	Commit     = commit
	Good       = good
	NewLogger  = newLogger
	CacheBytes = cacheBytes

	IsAddressInUse = isAddressInUse
	IsAccessDenied = isAccessDenied
)

const MaxLogged = maxLogged

func CommandNames() (names []string) {
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return names
}

func VariableNames() (names []string) {
	for _, v := range Variables() {
		names = append(names, v.Name)
	}
	return names
}

func (c *Config) Issuer() string { return c.providers[0].issuer() }
func (c *Config) SetProvider(p ProviderConfig) {
	c.providers = []*provider{{namedConfig: namedConfig{ProviderConfig: p}}}
}
func (c *Config) ParsedSigningKey() crypto.Signer  { return c.providers[0].parsedSigningKey }
func (c *Config) WarnOfOpenFiles(log *slog.Logger) { c.warnOfOpenFiles(log) }

func NewCertificate(certFile, keyFile string, now func() time.Time, log *slog.Logger) *certificate {
	return &certificate{certFile: certFile, keyFile: keyFile, name: "certificate", faultyFiles: "the certificate cannot be read again; the last good one is served", now: now, log: log}
}

func (c *certificate) Get() (*tls.Certificate, error) { return c.get() }

// NewEventLines returns the writer of security events.
func NewEventLines(out io.Writer) io.Writer { return &eventLines{out: out} }

func NewReport(out io.Writer, terminal bool) *report {
	return &report{out: out, terminal: terminal}
}

func (r *report) Run(ctx context.Context, check doctor.Check) { r.run(ctx, check) }

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"latchkey/routes"
)

// newLogger logs to the program's output: as text where a person reads it, else as
// JSON.
func newLogger(cfg *Config, stdout io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.logLevel()}
	var handler slog.Handler = slog.NewJSONHandler(stdout, options)
	if cfg.readable(stdout) {
		handler = slog.NewTextHandler(stdout, options)
	}
	return slog.New(requestHandler{handler})
}

// readable reports whether the output is for a person's eyes.
func (c *Config) readable(stdout io.Writer) bool {
	if c.LogFormat != "" {
		return c.LogFormat == "text"
	}
	return isTerminal(stdout)
}

// isTerminal reports whether a person watches.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// requestHandler adds to every line the id of the request that it belongs to, so
// that the reference on an error page finds the whole story.
type requestHandler struct{ slog.Handler }

func (h requestHandler) Handle(ctx context.Context, record slog.Record) error {
	if id := routes.RequestID(ctx); id != "" {
		record.AddAttrs(slog.String("request", id))
	}
	return h.Handler.Handle(ctx, record)
}

func (h requestHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return requestHandler{h.Handler.WithAttrs(attrs)}
}

func (h requestHandler) WithGroup(name string) slog.Handler {
	return requestHandler{h.Handler.WithGroup(name)}
}

// announce says where the app is and whom it trusts with signing people in.
func announce(stdout io.Writer, log *slog.Logger, cfg *Config, port int, provider *providerSettings) {
	base := cfg.baseURL(port).String()
	if !cfg.readable(stdout) {
		log.Info("listening", "url", base, "issuer", provider.issuer, "development_provider", provider.address != "")
		return
	}
	fmt.Fprintf(stdout, "\n  Latchkey is at      %s\n", base)
	if provider.address == "" {
		fmt.Fprintf(stdout, "  People sign in at   %s\n\n", provider.issuer)
		return
	}
	fmt.Fprintf(stdout, `  People sign in at   %s   (the built-in development provider: sample people, no account needed)

  To use an Auth0 tenant instead, put these into .env and start again:
    AUTH0_DOMAIN=tenant.eu.auth0.com
    AUTH0_CLIENT_ID=...
    AUTH0_CLIENT_SECRET=...
    APP_SECRET_KEY=...            made with: openssl rand -hex 32
  and register at the tenant
    %s     as Allowed Callback URL
    %s   as Allowed Logout URL
  Any other OpenID provider: OIDC_ISSUER in place of AUTH0_DOMAIN. Stop with Ctrl-C.

`, provider.address, cfg.callbackURL(port), base+"/signed-out")
}

// indented sets each fault on a line of its own.
func indented(err error) string {
	return "  " + strings.ReplaceAll(err.Error(), "\n", "\n  ")
}

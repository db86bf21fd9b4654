package app

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
	"time"

	"latchkey/authn"
)

// checkConfig judges the configuration, shows what of it is in effect, and ends.
func checkConfig(_ context.Context, c invocation) error {
	cfg, err := loadConfig(c.env)
	if err != nil {
		return refused(err)
	}
	variables, err := withDotEnv(c.env)
	if err != nil {
		return refused(err)
	}
	return cfg.show(c.stdout, variables)
}

// show lists every variable with the value that is in effect, but of a secret only
// whether there is one.
func (c *Config) show(w io.Writer, variables map[string]string) error {
	derived := map[string]string{
		"AUTH0_CALLBACK_URL": c.callbackURL(c.Port), "LISTEN_ADDR": cmp.Or(c.listenHost(), "all interfaces"),
		"SHUTDOWN_GRACE": c.shutdownGrace().String(), "LOG_FORMAT": "text on a terminal, else json",
	}
	if c.development() {
		derived["OIDC_ISSUER"], derived["DEV_PROVIDER_ADDR"] = "http://"+c.devProviderAddr(), c.devProviderAddr()
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for field, value := range reflect.ValueOf(c).Elem().Fields() {
		name := field.Tag.Get("envconfig")
		if name == "" {
			continue
		}
		text, origin := shown(value.Interface()), "default"
		if _, set := variables[name]; set {
			origin = "set"
		} else if text == "" {
			text = derived[name]
		}
		if text == "" {
			text, origin = "-", "none"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", name, origin, text)
	}
	return table.Flush()
}

// shown is a value as it may be seen. The names of the stores that are no URL are no
// secrets.
func shown(value any) string {
	switch value := value.(type) {
	case authn.Secret:
		if value == "" || value == "file" || value == "memory" {
			return string(value)
		}
		return fmt.Sprint(value)
	case []string:
		return printable(strings.Join(value, ","))
	case *time.Duration:
		if value == nil {
			return ""
		}
		return value.String()
	default:
		return printable(fmt.Sprint(value))
	}
}

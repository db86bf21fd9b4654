package app

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"latchkey/authn/openid"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// command is a command other than to serve.
type command struct {
	name, about string
	// flag is the only flag that it takes, or "".
	flag string
	run  func(ctx context.Context, c invocation) error
}

// invocation is one call of a command.
type invocation struct {
	env    []string
	stdout io.Writer
	// flagged reports whether the command's flag was given.
	flagged bool
}

// commands returns all commands, in the order of the help text.
func commands() []command {
	return []command{
		{"doctor", "check the set-up against the provider and the store, and say what to mend", "--json", runDoctor},
		{"check-config", "read the configuration, show it without its secrets, and end", "", checkConfig},
		{"health", "ask the running app whether it is alive, or ready for people to sign in", "--ready", health},
		{"version", "what this program was built from", "", version},
		{"help", "this text", "", help},
	}
}

// runCommand runs the command that the arguments name. By custom, help, version and
// check-config may begin with two dashes.
func runCommand(ctx context.Context, args, env []string, stdout io.Writer) error {
	name := args[0]
	if name == "-h" {
		name = "--help"
	}
	list := commands()
	i := slices.IndexFunc(list, func(c command) bool { return c.name == strings.TrimPrefix(name, "--") })
	if i < 0 {
		return fmt.Errorf("%w: there is no command %q; `latchkey` alone serves, `latchkey help` explains", ErrConfiguration, args[0])
	}
	call := invocation{env: env, stdout: stdout}
	if slices.ContainsFunc(args[1:], func(arg string) bool { return arg == "-h" || arg == "--help" }) {
		return help(ctx, call)
	}
	for _, arg := range args[1:] {
		if arg == "" || arg != list[i].flag {
			return fmt.Errorf("%w: %s does not take %q; `latchkey help` explains", ErrConfiguration, list[i].name, arg)
		}
		call.flagged = true
	}
	return list[i].run(ctx, call)
}

// help prints what the program does, its commands and its variables.
func help(_ context.Context, c invocation) error {
	fmt.Fprint(c.stdout, "Latchkey signs people in with Auth0 or any OpenID Connect provider.\n\n")
	table := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "  latchkey\tserve\n")
	for _, command := range commands() {
		usage := command.name
		if command.flag != "" {
			usage += " [" + command.flag + "]"
		}
		fmt.Fprintf(table, "  latchkey %s\t%s\n", usage, command.about)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprint(c.stdout, `
It ends with 0 if all is well, 1 if something is not, and 2 if the configuration
would not let it start.

It is configured by environment variables, and by a .env file in the working
directory for what the environment does not set. With neither AUTH0_DOMAIN nor
OIDC_ISSUER it starts a development provider of its own, on loopback only.

`)
	for field := range reflect.TypeFor[Config]().Fields() {
		name := field.Tag.Get("envconfig")
		if name == "" {
			continue
		}
		text := field.Tag.Get("desc")
		if value := field.Tag.Get("default"); value != "" {
			text += " (default " + value + ")"
		}
		fmt.Fprintf(table, "  %s\t%s\n", name, text)
	}
	return table.Flush()
}

// checkConfig validates the configuration and prints the values in effect.
func checkConfig(_ context.Context, c invocation) error {
	cfg, err := LoadConfig(c.env)
	if err != nil {
		return refused(err)
	}
	variables, err := withDotEnv(c.env)
	if err != nil {
		return refused(err)
	}
	return cfg.show(c.stdout, variables)
}

// show prints every variable with the value in effect. Of a secret it prints only whether
// it is set.
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

// shown returns a value as it may be printed. The words file and memory, which
// SESSION_STORE can be, are no secrets.
func shown(value any) string {
	switch value := value.(type) {
	case openid.Secret:
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

// version prints what the program was built from.
func version(_ context.Context, c invocation) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	provider := "none (built with -tags release)"
	if developmentProviderIncluded {
		provider = "built in"
	}
	_, err := fmt.Fprintf(c.stdout, "latchkey %s\ncommit                %s\nGo                    %s %s/%s\ndevelopment provider  %s\n",
		cmp.Or(info.Main.Version, "(devel)"), commit(info), runtime.Version(), runtime.GOOS, runtime.GOARCH, provider)
	return err
}

// commit returns the commit that the program was built from, if the toolchain recorded it.
// `go run` records none.
func commit(info *debug.BuildInfo) string {
	settings := make(map[string]string)
	for _, setting := range info.Settings {
		settings[setting.Key] = setting.Value
	}
	revision := settings["vcs.revision"]
	if revision == "" {
		return "not known"
	}
	if settings["vcs.modified"] == "true" {
		return revision + " with changes, " + settings["vcs.time"]
	}
	return revision + ", " + settings["vcs.time"]
}

// refused returns the error for a configuration with faults.
func refused(faults error) error {
	return fmt.Errorf("%w:\n%s\nNothing was started. `latchkey help` lists every variable", ErrConfiguration, indented(faults))
}

// indented returns each fault on a line of its own.
func indented(err error) string {
	return "  " + strings.ReplaceAll(err.Error(), "\n", "\n  ")
}

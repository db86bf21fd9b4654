package app

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"latchkey/authn/openid"
)

// command is a command other than to serve.
type command struct {
	// name is one or two words.
	name, about string
	// flags are what it takes: "--all", or "--subject SUB" for a flag with a value.
	flags []string
	run   func(ctx context.Context, c invocation) error
}

// invocation is one call of a command.
type invocation struct {
	program Program
	env     []string
	stdout  io.Writer
	// flags has the flags that were given, such as "--all", with their values.
	flags map[string]string
}

// commands returns all commands, in the order of the help text.
func commands() []command {
	return []command{
		{"doctor", "check the configuration, the store and the provider, and say what to change", []string{"--json"}, runDoctor},
		{"check-config", "show the configuration, without its secrets", nil, checkConfig},
		{"health", "ask the running app whether it is alive, or ready for people to sign in", []string{"--ready"}, health},
		{"sessions list", "list the sessions of the running app, or of one person, with OPS_TOKEN", []string{"--subject SUB", "--issuer URL"}, listSessions},
		{"sessions end", "end the sessions of a person, one session, or all sessions, with OPS_TOKEN", []string{"--subject SUB", "--issuer URL", "--session ID", "--all", "--by NAME"}, endSessions},
		{"version", "show what this program was built from", nil, version},
		{"help", "show this text", nil, help},
	}
}

// runCommand runs the command that the arguments name. Every command may begin with two dashes, because
// people expect --help and --version.
func (p Program) runCommand(ctx context.Context, args, env []string, stdout io.Writer) error {
	name := args[0]
	if name == "-h" {
		name = "--help"
	}
	args = append([]string{strings.TrimPrefix(name, "--")}, args[1:]...)
	list := commands()
	i := slices.IndexFunc(list, func(c command) bool {
		n := len(strings.Fields(c.name))
		return len(args) >= n && c.name == strings.Join(args[:n], " ")
	})
	if i < 0 && args[0] == "sessions" {
		return fmt.Errorf("%w: write sessions list or sessions end; `latchkey help` explains", ErrConfiguration)
	}
	if i < 0 {
		return fmt.Errorf("%w: there is no command %q; `latchkey` without arguments serves; `latchkey help` lists the commands", ErrConfiguration, strings.Join(args[:min(len(args), 2)], " "))
	}
	call := invocation{program: p, env: env, stdout: stdout}
	if slices.ContainsFunc(args[1:], func(arg string) bool { return arg == "-h" || arg == "--help" }) {
		return help(ctx, call)
	}
	var err error
	if call.flags, err = list[i].parse(args[len(strings.Fields(list[i].name)):]); err != nil {
		return err
	}
	return list[i].run(ctx, call)
}

// parse returns the flags that a command was called with. A value is the next argument, or follows an
// equals sign. An empty value is an error, because it may come from an unset variable in a script.
func (c command) parse(args []string) (map[string]string, error) {
	given := make(map[string]string)
	for len(args) > 0 {
		name, value, joined := strings.Cut(args[0], "=")
		i := slices.IndexFunc(c.flags, func(flag string) bool { return strings.Fields(flag)[0] == name })
		if i < 0 {
			return nil, fmt.Errorf("%w: %s does not take %q; `latchkey help` explains", ErrConfiguration, c.name, args[0])
		}
		args = args[1:]
		takesValue := strings.Contains(c.flags[i], " ")
		if takesValue && !joined && len(args) > 0 {
			value, args = args[0], args[1:]
		}
		if takesValue && value == "" || !takesValue && joined {
			return nil, fmt.Errorf("%w: write %s", ErrConfiguration, c.flags[i])
		}
		given[name] = value
	}
	return given, nil
}

// help prints what the program does, its commands and its variables.
func help(_ context.Context, c invocation) error {
	fmt.Fprint(c.stdout, "Latchkey signs people in with Auth0 or any OpenID Connect provider.\n\n")
	table := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "  latchkey\tserve\n")
	for _, command := range commands() {
		var usage strings.Builder
		usage.WriteString(command.name)
		for _, flag := range command.flags {
			usage.WriteString(" [" + flag + "]")
		}
		fmt.Fprintf(table, "  latchkey %s\t%s\n", usage.String(), command.about)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprint(c.stdout, `
The exit status is 0 on success, 1 on failure, and 2 if the configuration is invalid.

Environment variables configure the program. A .env file in the working directory
supplies those that the environment does not set. If neither AUTH0_DOMAIN nor
OIDC_ISSUER is set, the program starts its own development provider, on loopback only.
A release build has none, and does not start then.

`)
	for _, v := range c.program.Variables() {
		text := v.Description
		if v.Default != "" {
			text += " (default " + v.Default + ")"
		}
		fmt.Fprintf(table, "  %s\t%s\n", v.Name, text)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprint(c.stdout, `
With PROVIDERS=work,google each provider has variables of its own. Their names begin
with the name of the provider: WORK_CLIENT_ID and GOOGLE_CLIENT_ID. The redirect URI of
each ends in its name, too: http://localhost:3000/callback/work.

`)
	for _, v := range NamedVariables() {
		fmt.Fprintf(table, "  %s\t%s\n", v.Named("NAME"), v.OfEach())
	}
	return table.Flush()
}

// checkConfig validates the configuration and prints the values in effect.
func checkConfig(_ context.Context, c invocation) error {
	cfg, err := c.program.LoadConfig(c.env)
	if err != nil {
		return refused(err)
	}
	return cfg.show(c.stdout)
}

// show prints every variable with the value in effect. It prints [hidden] for a secret, "-" if there is no
// value, and the rule if the value depends on where the program runs.
func (c *Config) show(w io.Writer) error {
	derived := map[string]string{
		"AUTH0_CALLBACK_URL": c.callbackURL(c.Port), "AUTH0_LOGOUT_URL": c.logoutURL(c.Port), "LISTEN_ADDR": cmp.Or(c.listenHost(), "all interfaces"),
		"SHUTDOWN_GRACE": c.shutdownGrace().String(), "LOG_FORMAT": "text on a terminal, else json",
	}
	var pictures []string
	for n, p := range c.providers {
		pictures = append(pictures, p.preset().PictureOrigins()...)
		scopes := Variable{Name: "AUTH0_SCOPES"}
		if p.name != "" {
			scopes.Name = scopes.Named(p.name)
			derived[p.variable("LABEL")] = p.label()
		}
		derived[scopes.Name] = strings.Join(p.preset().Scopes(), " ")
		if c.development() {
			derived[p.variable("OIDC_ISSUER")] = "http://" + c.devProviderAddr(n)
			derived["DEV_PROVIDER_ADDR"] = cmp.Or(derived["DEV_PROVIDER_ADDR"], c.devProviderAddr(n))
		}
	}
	derived["PICTURE_ORIGINS"] = strings.Join(c.pictureOrigins(pictures), ",")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name string, set, followed bool, value any) {
		text, origin := shown(value), "default"
		if set {
			origin = "set"
		} else if followed {
			origin = "profile"
		} else if text = cmp.Or(text, derived[name]); text == "" {
			text, origin = "-", "none"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", name, origin, text)
	}
	for _, v := range c.program.Variables() {
		value, followed := c.value(v), false
		if len(c.ProviderNames) == 0 && v.ofProvider() {
			value, followed = c.providers[0].value(v), c.providers[0].followed[v.Name]
		}
		row(v.Name, c.set[v.Name], followed, value)
	}
	for _, p := range c.providers {
		if p.name == "" {
			continue
		}
		for _, v := range NamedVariables() {
			row(v.Named(p.name), p.set[v.Name], p.followed[v.Name], p.value(v))
		}
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
	case slog.Level:
		return strings.ToLower(value.String())
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
	lines := strings.ReplaceAll(faults.Error(), "\n", "\n  ")
	return fmt.Errorf("%w:\n  %s\nNothing was started. `latchkey help` lists every variable", ErrConfiguration, lines)
}

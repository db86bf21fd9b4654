package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"latchkey/authn/doctor"
	"latchkey/authn/openid"
)

// doctorTimeout bounds the whole examination. Each call has a shorter bound of its own.
const doctorTimeout = 2 * time.Minute

// runDoctor checks the set-up: the variables, this machine, the store and the provider. It needs no
// account at the provider. It leaves nothing behind: to find out whether it can write, it makes a
// temporary file, or keys in Redis that expire after a second.
func runDoctor(ctx context.Context, c invocation) error {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	_, asJSON := c.flags["--json"]
	report := &report{out: c.stdout, asJSON: asJSON, terminal: !asJSON && isTerminal(c.stdout)}
	cfg, err := c.program.LoadConfig(c.env)
	if faults, ok := errors.AsType[openid.Faults](err); ok {
		report.addFaults(faults)
		return report.close()
	}
	report.add("variables", good("%d set, and none contradicts another", len(cfg.setVariables())))
	for _, check := range cfg.machineChecks() {
		report.run(ctx, check)
	}
	if err := cfg.examineProviders(ctx, report); err != nil {
		return err
	}
	return report.close()
}

// examineProviders examines the providers that are configured, or else temporary development
// providers, which do not disturb those of a running app.
func (c *Config) examineProviders(ctx context.Context, r *report) (err error) {
	quiet := slog.New(slog.DiscardHandler)
	servers := newServers(quiet)
	defer servers.close()
	defer func() { err = errors.Join(err, servers.drain()) }()
	temporary := *c // a development provider keeps nothing, on a port of its own
	temporary.DataDir, temporary.DevProviderAddr = "", "127.0.0.1:0"
	providers, err := startProviders(ctx, &temporary, c.Port, servers, quiet)
	if err != nil {
		return err
	}
	defer closeProviders(providers)
	for _, provider := range providers {
		if err := c.examine(ctx, r, provider); err != nil {
			return err
		}
	}
	return nil
}

// examine examines one provider.
func (c *Config) examine(ctx context.Context, r *report, provider *providerSettings) error {
	settings := c.openID(c.Port, provider, slog.New(slog.DiscardHandler))
	examined, err := openid.New(settings)
	if err != nil {
		return err
	}
	examination := doctor.New(examined, doctor.RegisteredURLs{
		Callback: settings.RedirectURL, SignedOut: settings.PostLogoutRedirectURL,
		BackchannelLogout: c.BaseURL(c.Port).String() + "/backchannel-logout",
	})
	r.begin(provider.config.name)
	if provider.address != "" {
		r.add("provider", good("the development provider, in a temporary instance"))
	} else {
		r.add("provider", good("%s", strings.TrimPrefix(examined.Preset().Name+": "+examined.Issuer(), ": ")))
	}
	if leaf := provider.config.parsedCert; leaf != nil {
		r.add("client_certificate", checkClientCertificate(leaf))
	}
	for _, check := range examination.Checks() {
		if ctx.Err() != nil {
			return fmt.Errorf("not finished: %w", ctx.Err()) // checks that fail only because time ran out are not findings
		}
		r.run(ctx, check)
	}
	if provider.address == "" {
		r.register(cmp.Or(examined.Preset().Name, "the provider"), provider.config.name, examination.Registrations())
	}
	return nil
}

// report prints findings as they come, or all of them as JSON at the end.
type report struct {
	out    io.Writer
	asJSON bool
	// terminal reports whether a line can be overwritten, as on a terminal.
	terminal bool

	findings []finding
	// refused reports whether the program would not start.
	refused bool
	// provider is the name of the one of several that is examined.
	provider      string
	registrations []registrations
}

// registrations are what has to be registered at a provider.
type registrations struct {
	at   string // what people call the provider
	list []registration
}

// registration is one value to register, and the name of the provider if there are several.
type registration struct {
	doctor.Registration
	Provider string `json:"provider,omitempty"`
}

// finding is one line of a report. docs/doctor.md documents its JSON.
type finding struct {
	Check    string         `json:"check"`
	Provider string         `json:"provider,omitempty"`
	Verdict  doctor.Verdict `json:"verdict"`
	Side     doctor.Side    `json:"side,omitempty"`
	Found    string         `json:"found"`
	Remedy   string         `json:"remedy,omitempty"`
}

// marks returns the first word of a line for each verdict.
func marks() map[doctor.Verdict]string {
	return map[doctor.Verdict]string{
		doctor.OK: "ok  ", doctor.Warning: "WARN", doctor.Failed: "FAIL", doctor.Skipped: "skip",
	}
}

// addFaults reports each fault of a configuration. It skips the other checks, because the
// program would not start.
func (r *report) addFaults(faults openid.Faults) {
	r.refused = true
	for _, f := range faults {
		r.add("variables", bad(doctor.Failed, doctor.Configuration, f.Field+": "+f.Problem, cmp.Or(f.Remedy, "see the variable in `latchkey help`")))
	}
	for _, name := range []string{"machine", "provider"} {
		r.add(name, doctor.Finding{Verdict: doctor.Skipped, Found: "the program would not start with these variables"})
	}
}

// run runs a check. A terminal shows meanwhile which one it is.
func (r *report) run(ctx context.Context, check doctor.Check) {
	if r.terminal {
		fmt.Fprintf(r.out, "...   %s", words(check.Name))
	}
	found := check.Run(ctx)
	if r.terminal {
		fmt.Fprint(r.out, "\r\x1b[K")
	}
	r.add(check.Name, found)
}

// begin begins the examination of a provider, which has a name if there are several.
func (r *report) begin(provider string) {
	if r.provider = provider; provider != "" && !r.asJSON {
		fmt.Fprintf(r.out, "\n%s\n", provider)
	}
}

// register notes what has to be registered at a provider.
func (r *report) register(at, name string, list []doctor.Registration) {
	if name != "" {
		at += " for " + name
	}
	noted := registrations{at: at}
	for _, value := range list {
		noted.list = append(noted.list, registration{value, name})
	}
	r.registrations = append(r.registrations, noted)
}

func (r *report) add(check string, found doctor.Finding) {
	f := finding{check, r.provider, found.Verdict, found.Side, printable(found.Found), printable(found.Remedy)}
	r.findings = append(r.findings, f)
	if r.asJSON {
		return
	}
	side := ""
	if f.Side != "" {
		side = " [" + string(f.Side) + "]"
	}
	fmt.Fprintf(r.out, "%s  %-22s %s%s\n", marks()[f.Verdict], words(check), f.Found, side)
	if f.Remedy != "" {
		fmt.Fprintf(r.out, "      %-22s -> %s\n", "", f.Remedy)
	}
}

// close prints the end of the report. Its error says that checks failed. It is an
// ErrConfiguration if the program would not start.
func (r *report) close() error {
	counts := make(map[doctor.Verdict]int)
	for _, f := range r.findings {
		counts[f.Verdict]++
	}
	if err := r.writeEnd(counts); err != nil {
		return err
	}
	if counts[doctor.Failed] == 0 {
		return nil
	}
	failed := fmt.Errorf("%d of %d checks failed", counts[doctor.Failed], len(r.findings))
	if r.refused {
		return fmt.Errorf("%w: %w", ErrConfiguration, failed)
	}
	return failed
}

func (r *report) writeEnd(counts map[doctor.Verdict]int) error {
	if r.asJSON {
		encoder := json.NewEncoder(r.out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		all := []registration{}
		for _, at := range r.registrations {
			all = append(all, at.list...)
		}
		return encoder.Encode(struct {
			OK       bool           `json:"ok"`
			Findings []finding      `json:"findings"`
			Register []registration `json:"register"`
		}{counts[doctor.Failed] == 0, r.findings, all})
	}
	for _, at := range r.registrations {
		fmt.Fprintf(r.out, "\nTo be registered at %s:\n", at.at)
		table := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
		for _, registration := range at.list {
			fmt.Fprintf(table, "  %s\t%s\n", registration.Name, registration.Value)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(r.out, "\n%d ok, %d with a warning, %d failed, %d skipped\n",
		counts[doctor.OK], counts[doctor.Warning], counts[doctor.Failed], counts[doctor.Skipped])
	return err
}

// words returns the name of a check for people to read.
func words(name string) string { return strings.ReplaceAll(name, "_", " ") }

// printable returns a text as one line that cannot control a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.TrimSpace(text))
}

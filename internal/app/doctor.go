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

// variablesCheck is the name of the check of the variables.
const variablesCheck = "variables"

// doctorTimeout bounds the whole examination. Each call has a shorter bound of its own.
const doctorTimeout = 2 * time.Minute

// runDoctor checks the set-up: the variables, this machine, the store and the provider. It
// changes nothing, and needs no account at the provider.
func runDoctor(ctx context.Context, c invocation) error {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	report := newReport(c.stdout, c.flagged)
	cfg, err := LoadConfig(c.env)
	if err != nil {
		reportFaults(report, err)
		return report.close()
	}
	variables, err := withDotEnv(c.env)
	if err != nil {
		return refused(err)
	}
	report.add(variablesCheck, doctor.Finding{Verdict: doctor.OK, Found: fmt.Sprintf("%d set, and none is misspelt or at odds with another", cfg.countSet(variables))})
	for _, check := range cfg.machineChecks() {
		report.run(ctx, check)
	}
	if err := cfg.examineProvider(ctx, report); err != nil {
		return err
	}
	return report.close()
}

// reportFaults reports each fault of a configuration. It skips the other checks, because
// the program would not start.
func reportFaults(r *report, faults error) {
	for fault := range strings.SplitSeq(faults.Error(), "\n") {
		found, remedy, _ := strings.Cut(fault, "; ")
		r.add(variablesCheck, bad(doctor.Failed, doctor.Configuration, found, cmp.Or(remedy, "`latchkey help` says what it takes")))
	}
	for _, name := range []string{"machine", "provider"} {
		r.add(name, doctor.Finding{Verdict: doctor.Skipped, Found: "the program would not start with these variables"})
	}
}

// countSet counts the variables that are set.
func (c *Config) countSet(variables map[string]string) (n int) {
	for _, name := range variableNames() {
		if _, ok := variables[name]; ok {
			n++
		}
	}
	return n
}

// examineProvider examines the provider that is configured, or else a temporary development
// provider, which does not disturb the one of a running app.
func (c *Config) examineProvider(ctx context.Context, r *report) (err error) {
	quiet := slog.New(slog.DiscardHandler)
	servers := newServers(quiet)
	defer func() { err = errors.Join(err, servers.drain()) }()
	temporary := *c // the development provider keeps nothing, on a port of its own
	temporary.DataDir, temporary.DevProviderAddr = "", "127.0.0.1:0"
	provider, err := startProvider(ctx, &temporary, c.Port, servers, quiet)
	if err != nil {
		return err
	}
	defer provider.close()
	settings := c.openID(c.Port, provider, quiet)
	examined, err := openid.New(settings)
	if err != nil {
		return err
	}
	examination := doctor.New(examined, doctor.RegisteredURLs{
		Callback: settings.RedirectURL, SignedOut: settings.PostLogoutRedirectURL,
		BackchannelLogout: c.BaseURL(c.Port).String() + "/backchannel-logout",
	})
	r.add("provider", c.providerFinding(examined))
	for _, check := range examination.Checks() {
		if ctx.Err() != nil {
			return fmt.Errorf("not finished: %w", ctx.Err()) // what failed by that is nobody's fault
		}
		r.run(ctx, check)
	}
	if !c.development() {
		r.provider = cmp.Or(examined.Preset().Name, "the provider")
		r.registrations = examination.Registrations()
	}
	return nil
}

// providerFinding names the provider that is examined.
func (c *Config) providerFinding(p *openid.Provider) doctor.Finding {
	if c.development() {
		return good("the development provider, one of its own for as long as this takes")
	}
	return good("%s", strings.TrimPrefix(p.Preset().Name+": "+p.Issuer(), ": "))
}

// report prints findings as they come, or all of them as JSON at the end.
type report struct {
	out    io.Writer
	asJSON bool
	// terminal reports whether a line can be overwritten.
	terminal bool

	findings      []finding
	registrations []doctor.Registration
	provider      string
}

// finding is one line of a report. Its JSON is documented in README.md.
type finding struct {
	Check   string         `json:"check"`
	Verdict doctor.Verdict `json:"verdict"`
	Side    doctor.Side    `json:"side,omitempty"`
	Found   string         `json:"found"`
	Remedy  string         `json:"remedy,omitempty"`
}

// marks returns the first word of a line for each verdict.
func marks() map[doctor.Verdict]string {
	return map[doctor.Verdict]string{
		doctor.OK: "ok  ", doctor.Warning: "WARN", doctor.Failed: "FAIL", doctor.Skipped: "skip",
	}
}

func newReport(out io.Writer, asJSON bool) *report {
	return &report{out: out, asJSON: asJSON, terminal: isTerminal(out)}
}

// run runs a check. A terminal shows meanwhile which one it is.
func (r *report) run(ctx context.Context, check doctor.Check) {
	if r.terminal && !r.asJSON {
		fmt.Fprintf(r.out, "...   %s", words(check.Name))
	}
	found := check.Run(ctx)
	if r.terminal && !r.asJSON {
		fmt.Fprint(r.out, "\r\x1b[K")
	}
	r.add(check.Name, found)
}

func (r *report) add(check string, found doctor.Finding) {
	f := finding{check, found.Verdict, found.Side, printable(found.Found), printable(found.Remedy)}
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
	failed := fmt.Sprintf("%d of %d checks failed", counts[doctor.Failed], len(r.findings))
	for _, f := range r.findings {
		if f.Check == variablesCheck && f.Verdict == doctor.Failed {
			return fmt.Errorf("%w: %s", ErrConfiguration, failed)
		}
	}
	return errors.New(failed)
}

func (r *report) writeEnd(counts map[doctor.Verdict]int) error {
	if r.asJSON {
		encoder := json.NewEncoder(r.out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(struct {
			OK       bool                  `json:"ok"`
			Findings []finding             `json:"findings"`
			Register []doctor.Registration `json:"register"`
		}{counts[doctor.Failed] == 0, r.findings, append([]doctor.Registration{}, r.registrations...)})
	}
	if len(r.registrations) > 0 {
		fmt.Fprintf(r.out, "\nTo be registered at %s:\n", r.provider)
		table := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
		for _, registration := range r.registrations {
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

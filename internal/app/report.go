package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"latchkey/authn"
)

// report shows findings as they come, or, as JSON, all at the end.
type report struct {
	out    io.Writer
	asJSON bool
	// terminal says that a line may be written over.
	terminal bool

	findings      []finding
	registrations []authn.Registration
	provider      string
}

// finding is one line of a report. Its JSON is documented in README.md.
type finding struct {
	Check   string        `json:"check"`
	Verdict authn.Verdict `json:"verdict"`
	Side    authn.Side    `json:"side,omitempty"`
	Found   string        `json:"found"`
	Remedy  string        `json:"remedy,omitempty"`
}

// marks begin a line.
func marks() map[authn.Verdict]string {
	return map[authn.Verdict]string{
		authn.VerdictOK: "ok  ", authn.VerdictWarning: "WARN", authn.VerdictFailed: "FAIL", authn.VerdictSkipped: "skip",
	}
}

func newReport(out io.Writer, asJSON bool) *report {
	return &report{out: out, asJSON: asJSON, terminal: isTerminal(out)}
}

// run runs a check, and says meanwhile which one.
func (r *report) run(ctx context.Context, check authn.Question) {
	if r.terminal && !r.asJSON {
		fmt.Fprintf(r.out, "...   %s", words(check.Name))
	}
	found := check.Run(ctx)
	if r.terminal && !r.asJSON {
		fmt.Fprint(r.out, "\r\x1b[K")
	}
	r.add(check.Name, found)
}

func (r *report) add(check string, found authn.Finding) {
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

// close ends the report. The error says that checks failed, and is an ErrConfiguration
// where the program would not start.
func (r *report) close() error {
	counts := make(map[authn.Verdict]int)
	for _, f := range r.findings {
		counts[f.Verdict]++
	}
	if err := r.writeEnd(counts); err != nil {
		return err
	}
	if counts[authn.VerdictFailed] == 0 {
		return nil
	}
	failed := fmt.Sprintf("%d of %d checks failed", counts[authn.VerdictFailed], len(r.findings))
	for _, f := range r.findings {
		if f.Check == variablesCheck && f.Verdict == authn.VerdictFailed {
			return fmt.Errorf("%w: %s", ErrConfiguration, failed)
		}
	}
	return errors.New(failed)
}

func (r *report) writeEnd(counts map[authn.Verdict]int) error {
	if r.asJSON {
		encoder := json.NewEncoder(r.out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(struct {
			OK       bool                 `json:"ok"`
			Findings []finding            `json:"findings"`
			Register []authn.Registration `json:"register"`
		}{counts[authn.VerdictFailed] == 0, r.findings, append([]authn.Registration{}, r.registrations...)})
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
		counts[authn.VerdictOK], counts[authn.VerdictWarning], counts[authn.VerdictFailed], counts[authn.VerdictSkipped])
	return err
}

// words is a check's name for people.
func words(name string) string { return strings.ReplaceAll(name, "_", " ") }

// printable is a text that does nothing to a terminal, on one line.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.TrimSpace(text))
}

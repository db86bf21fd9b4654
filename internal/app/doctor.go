package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"latchkey/authn"
)

// variablesCheck is the name of the check of the configuration as such.
const variablesCheck = "variables"

// doctorTimeout bounds a whole examination; each call has its own, shorter bound.
const doctorTimeout = 2 * time.Minute

// doctor checks the set-up as it is: the configuration, this machine, the store, and the
// provider. It changes nothing, and needs no account at the provider.
func doctor(ctx context.Context, c invocation) error {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	report := newReport(c.stdout, c.flagged)
	cfg, err := loadConfig(c.env)
	if err != nil {
		reportFaults(report, err)
		return report.close()
	}
	variables, err := withDotEnv(c.env)
	if err != nil {
		return refused(err)
	}
	report.add(variablesCheck, authn.Finding{Verdict: authn.VerdictOK, Found: fmt.Sprintf("%d set, and none is misspelt or at odds with another", cfg.countSet(variables))})
	for _, check := range cfg.machineChecks() {
		report.run(ctx, check)
	}
	if err := cfg.examineProvider(ctx, report); err != nil {
		return err
	}
	return report.close()
}

// reportFaults reports each fault of a configuration, and that nothing else was asked: the
// program would not start with it.
func reportFaults(r *report, faults error) {
	for fault := range strings.SplitSeq(faults.Error(), "\n") {
		found, remedy, _ := strings.Cut(fault, "; ")
		r.add(variablesCheck, bad(authn.VerdictFailed, authn.SideConfiguration, found, cmp.Or(remedy, "`latchkey help` says what it takes")))
	}
	for _, name := range []string{"machine", "provider"} {
		r.add(name, authn.Finding{Verdict: authn.VerdictSkipped, Found: "the program would not start with these variables"})
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

// examineProvider asks the provider: the one that is configured, or a development provider
// that runs as long as it takes, beside that of a running app.
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
	// Nothing is sealed or stored here: the app's own key stays where it is.
	keys, err := authn.NewKeys(authn.Secret(rand.Text() + rand.Text()))
	if err != nil {
		return err
	}
	examination, err := authn.NewExamination(c.authn(c.Port, provider, keys, authn.NewMemoryStore(), quiet))
	if err != nil {
		return err
	}
	r.add("provider", c.providerFinding(provider, examination))
	for _, check := range examination.Questions() {
		if ctx.Err() != nil {
			return fmt.Errorf("not finished: %w", ctx.Err()) // what failed by that is nobody's fault
		}
		r.run(ctx, check)
	}
	if !c.development() {
		r.provider = cmp.Or(examination.ProviderName(), "the provider")
		r.registrations = examination.Registrations(c.baseURL(c.Port).String() + "/backchannel-logout")
	}
	return nil
}

// providerFinding says who is asked.
func (c *Config) providerFinding(provider *providerSettings, examination *authn.Examination) authn.Finding {
	if c.development() {
		return good("the development provider, one of its own for as long as this takes")
	}
	return good("%s", strings.TrimPrefix(examination.ProviderName()+": "+provider.issuer, ": "))
}

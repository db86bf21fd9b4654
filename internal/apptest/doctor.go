package apptest

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"latchkey/authn/doctor"
	"latchkey/internal/app"
)

// The addresses of an app that [Diagnose] examines.
const (
	CallbackURL  = "http://localhost:0/callback"
	SignedOutURL = "http://localhost:0"
)

// Diagnosis is the report of `latchkey doctor --json`.
type Diagnosis struct {
	OK       bool
	Findings []Finding
	Register []doctor.Registration

	// Err is the error that the command ends with, and Raw the text that it prints.
	Err error  `json:"-"`
	Raw string `json:"-"`
}

// Finding is the result of one check.
type Finding struct {
	Check         string
	Verdict       doctor.Verdict
	Side          doctor.Side
	Found, Remedy string
}

// Diagnose runs the doctor with any free port and a data directory of its own.
func Diagnose(t *testing.T, env ...string) *Diagnosis {
	t.Helper()
	var out bytes.Buffer
	d := new(Diagnosis)
	d.Err = app.Run(t.Context(), []string{"doctor", "--json"}, append([]string{"PORT=0", "DATA_DIR=" + t.TempDir()}, env...), &out)
	d.Raw = out.String()
	if err := json.Unmarshal(out.Bytes(), d); err != nil {
		t.Fatalf("%v\n%s\n%v", err, d.Raw, d.Err)
	}
	return d
}

// Find returns the finding of a check.
func (d *Diagnosis) Find(t *testing.T, check string) Finding {
	t.Helper()
	i := slices.IndexFunc(d.Findings, func(f Finding) bool { return f.Check == check })
	if i < 0 {
		t.Fatalf("there is no finding %q:\n%s", check, d.Raw)
	}
	return d.Findings[i]
}

// problems maps each check that is not ok to its verdict and the side that is at fault.
func (d *Diagnosis) problems() map[string]string {
	list := make(map[string]string)
	for _, f := range d.Findings {
		if f.Verdict != doctor.OK {
			list[f.Check] = strings.TrimSpace(string(f.Verdict) + " " + string(f.Side))
		}
	}
	return list
}

// WantProblems checks which checks are not ok, such as "client": "failed configuration". It
// also checks that the exit status and the JSON agree, and that each fault has a remedy.
func (d *Diagnosis) WantProblems(t *testing.T, want map[string]string) {
	t.Helper()
	if got := d.problems(); !maps.Equal(got, want) {
		t.Errorf("not ok are %v, want %v:\n%s", got, want, d.Raw)
	}
	failed := slices.ContainsFunc(slices.Collect(maps.Values(want)), func(v string) bool { return strings.HasPrefix(v, "failed") })
	if d.OK == failed || (d.Err != nil) != failed || errors.Is(d.Err, app.ErrConfiguration) {
		t.Errorf("ok %t, error %v", d.OK, d.Err)
	}
	for _, f := range d.Findings {
		wrong := f.Verdict == doctor.Failed || f.Verdict == doctor.Warning
		if f.Found == "" || (f.Remedy != "") != wrong || (f.Side != "") != wrong {
			t.Errorf("half a finding: %+v", f)
		}
	}
}

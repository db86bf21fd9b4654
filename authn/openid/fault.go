package openid

import (
	"fmt"
	"slices"
	"strings"
)

// Fault is one fault of a configuration. It quotes no secret.
type Fault struct {
	// Field is the field of the configuration, or whatever else the operator sets.
	Field string
	// Problem is what is wrong with it, and Remedy what to do about that.
	Problem, Remedy string
}

// Error implements error.
func (f Fault) Error() string {
	if f.Remedy == "" {
		return f.Field + ": " + f.Problem
	}
	return f.Field + ": " + f.Problem + "; " + f.Remedy
}

// Faults are all faults of a configuration.
type Faults []Fault

// Error implements error. It returns one line for each fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}

// Add adds a fault.
func (f *Faults) Add(field, problem, remedy string) { *f = append(*f, Fault{field, problem, remedy}) }

// OneOf adds a fault if the value is none of the choices.
func (f *Faults) OneOf(field, value string, choices ...string) {
	if !slices.Contains(choices, value) {
		f.Add(field, fmt.Sprintf("is %q", value), "choose from: "+strings.Join(choices, ", "))
	}
}

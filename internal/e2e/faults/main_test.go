package faults

import (
	"crypto/rand"
	"os"
	"os/exec"
	"testing"

	"latchkey/internal/apptest"
)

func TestMain(m *testing.M) {
	if server := os.Getenv(nameServer); server != "" {
		askNameServer(server)
	}
	if sign := os.Getenv(entropyEnds); sign != "" {
		rand.Reader = &failingEntropy{sign, rand.Reader}
	}
	apptest.Main(m)
}

// long reports whether the tests run in their long form, which takes about a quarter of
// an hour:
//
//	FAULTS=long go test -v -timeout 30m ./internal/e2e/faults
//
// It has more people, more time and more repetitions, and runs the release.
func long() bool { return os.Getenv("FAULTS") == "long" }

// either returns the value for the form that the tests run in.
func either[T any](short, other T) T {
	if long() {
		return other
	}
	return short
}

// builds returns a function that starts the program: this test binary, or the release in the
// long form.
func builds(t *testing.T) func(dataDir string, env ...string) *apptest.Process {
	t.Helper()
	if !long() {
		return func(dataDir string, env ...string) *apptest.Process {
			t.Helper()
			return apptest.StartProcess(t, dataDir, env...)
		}
	}
	release := apptest.BuildRelease(t, apptest.Root(t))
	return func(dataDir string, env ...string) *apptest.Process {
		t.Helper()
		return apptest.StartCommand(t, exec.Command(release), dataDir, env...)
	}
}

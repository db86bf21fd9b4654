package apptest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/app"
)

// asProgram is the variable that makes a test binary run the program instead of its tests.
const asProgram = "LATCHKEY_TESTS_RUN_THE_PROGRAM"

// Main runs the tests of a package, or, in a process that [StartProcess] started, the
// program. A package that starts processes needs it:
//
//	func TestMain(m *testing.M) { apptest.Main(m) }
func Main(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := app.Run(ctx, os.Args[1:], os.Environ(), os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Process is the program in a process of its own, which can be killed.
type Process struct {
	*App
	Command *exec.Cmd
	ended   chan error
}

// StartProcess runs the program in a process of its own and waits until it listens. The
// test binary runs it, so its package calls [Main]. The caller names the data directory,
// because one process may follow another.
func StartProcess(t *testing.T, dataDir string, env ...string) *Process {
	t.Helper()
	return StartCommand(t, exec.Command(os.Args[0]), dataDir, env...)
}

// StartCommand does the same with another build of the program, such as that of [Build].
func StartCommand(t *testing.T, command *exec.Cmd, dataDir string, env ...string) *Process {
	t.Helper()
	p := &Process{App: &App{T: t, Log: NewLog(), DataDir: dataDir}, Command: command, ended: make(chan error, 1)}
	p.Command.Env = append([]string{asProgram + "=1", "PORT=0", "LOG_FORMAT=json", "DATA_DIR=" + dataDir}, env...)
	p.Command.Stdout, p.Command.Stderr = p.Log, p.Log
	if err := p.Command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- p.Command.Wait() }()
	t.Cleanup(p.Kill)
	select {
	case line := <-p.Log.listening:
		p.URL, p.Issuer = line.URL, line.Issuer
	case err := <-p.ended:
		p.ended <- err
		t.Fatalf("the program ended with: %v\n%s", err, p.Log)
	case <-time.After(Patience):
		t.Fatalf("the program does not start\n%s", p.Log)
	}
	return p
}

// Kill ends the process as a crash does, and waits until it is gone.
func (p *Process) Kill() {
	_ = p.Command.Process.Kill() // it may have ended
	p.ended <- <-p.ended
}

// WaitEnd waits until the process has ended by itself, and returns the error of
// [exec.Cmd.Wait].
func (p *Process) WaitEnd(within time.Duration) error {
	p.T.Helper()
	select {
	case err := <-p.ended:
		p.ended <- err
		return err
	case <-time.After(within):
		p.T.Fatalf("the program does not end within %v\n%s", within, p.Log)
		return nil
	}
}

// Build builds the program as `go build` does and returns its file. Tests of main itself
// need it; all others start faster with [StartProcess].
func Build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "latchkey")
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", program, ".")
	build.Dir = Root(t)
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, output)
	}
	return program
}

// BuildRelease builds the program in a directory with the flags in its Containerfile (DV-08),
// but without the name of the commit, which differs between directories.
func BuildRelease(t *testing.T, dir string) string {
	t.Helper()
	command := regexp.MustCompile(`(?m)^RUN CGO_ENABLED=0 go (build .*) -o \S+ \.$`).FindSubmatch(ReadFile(t, filepath.Join(dir, "Containerfile")))
	if command == nil {
		t.Fatal("the Containerfile has no build command")
	}
	program := filepath.Join(t.TempDir(), "latchkey")
	build := exec.CommandContext(t.Context(), "go", append(strings.Fields(string(command[1])), "-o", program, ".")...)
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, output)
	}
	return program
}

// Root returns the folder of the checkout, where go.mod is. A test runs in the folder of its
// package.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir
		}
		if parent := filepath.Dir(dir); errors.Is(err, os.ErrNotExist) && parent != dir {
			dir = parent
			continue
		}
		t.Fatalf("no go.mod in any folder above: %v", err)
	}
}

// ReadFile reads a file. A relative name counts from the root of the checkout.
func ReadFile(t testing.TB, name string) []byte {
	t.Helper()
	if !filepath.IsAbs(name) {
		name = filepath.Join(Root(t), name)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asProgram is the variable under which this test binary, started as a process of its own,
// is the program.
const asProgram = "LATCHKEY_TESTS_RUN_THE_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		if server := os.Getenv(nameServer); server != "" {
			askNameServer(server)
		}
		if sign := os.Getenv(entropyEnds); sign != "" {
			rand.Reader = &failingEntropy{sign, rand.Reader}
		}
		os.Exit(asMain())
	}
	// The tests name files from the root of the checkout.
	if err := os.Chdir("../.."); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// asMain is what main does.
func asMain() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := Run(ctx, nil, os.Environ(), os.Stdout)
	stop()
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrConfiguration):
		fmt.Fprintln(os.Stderr, err)
		return 2
	default:
		fmt.Fprintln(os.Stderr, "latchkey:", err)
		return 1
	}
}

// process is the program in a process of its own, which can be killed.
type process struct {
	*app
	command *exec.Cmd
	ended   chan error
}

// startProcess starts the program and waits until it listens. Its data directory is the
// test's to name: a process may follow another.
func startProcess(t *testing.T, dataDir string, env ...string) *process {
	t.Helper()
	return startCommand(t, exec.Command(os.Args[0]), dataDir, env...)
}

// startCommand starts another build of the program.
func startCommand(t *testing.T, command *exec.Cmd, dataDir string, env ...string) *process {
	t.Helper()
	p := &process{app: &app{t: t, log: newLogBuffer(), dataDir: dataDir}, command: command, ended: make(chan error, 1)}
	p.command.Env = append([]string{asProgram + "=1", "PORT=0", "LOG_FORMAT=json", "DATA_DIR=" + dataDir}, env...)
	p.command.Stdout, p.command.Stderr = p.log, p.log
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- p.command.Wait() }()
	t.Cleanup(p.kill)
	select {
	case line := <-p.log.listening:
		p.url, p.issuer = line.URL, line.Issuer
	case err := <-p.ended:
		p.ended <- err
		t.Fatalf("the program ended with: %v\n%s", err, p.log)
	case <-time.After(patience):
		t.Fatalf("the program does not start\n%s", p.log)
	}
	return p
}

// kill ends the process as a crash does, and waits until it is gone.
func (p *process) kill() {
	_ = p.command.Process.Kill() // it may have ended
	p.ended <- <-p.ended
}

// in runs a command in a folder and returns what it prints.
func in(t *testing.T, dir string, command ...string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), command[0], command[1:]...)
	c.Dir = dir
	output, err := c.CombinedOutput()
	return string(output), err
}

func mustIn(t *testing.T, dir string, command ...string) string {
	t.Helper()
	output, err := in(t, dir, command...)
	if err != nil {
		t.Fatalf("%v: %v\n%s", command, err, output)
	}
	return output
}

// copyOfCheckout copies what git would commit into a repository of its own.
func copyOfCheckout(t *testing.T) string {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(here, ".git")); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("this is no git checkout")
	}
	dir := t.TempDir()
	for name := range strings.SplitSeq(strings.TrimRight(mustIn(t, here, "git", "ls-files", "-zco", "--exclude-standard"), "\x00"), "\x00") {
		info, err := os.Stat(name)
		if err != nil {
			continue // deleted, and not yet committed
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content(t, name), info.Mode()); err != nil {
			t.Fatal(err)
		}
	}
	mustIn(t, dir, "git", "init", "-q")
	mustIn(t, dir, "git", "add", "-A")
	mustIn(t, dir, "git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "seed")
	return dir
}

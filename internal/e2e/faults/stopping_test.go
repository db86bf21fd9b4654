package faults

import (
	"errors"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestStopUnderLoad (FM-22) stops the program while people sign in, as a supervisor and a
// load balancer do. No sign-in fails, and the program exits with status 0.
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	op := apptest.NewOP(t)
	p := apptest.StartProcess(t, t.TempDir(), append(apptest.Env(op), "SHUTDOWN_GRACE=10s", "OPS_ADDR=127.0.0.1:0", "SESSION_LIMIT=1000000")...)
	p.Await("/readyz", http.StatusOK)
	operators := p.Operators()

	var draining atomic.Bool
	var signedIn, failed atomic.Int64
	var people sync.WaitGroup
	for range 4 {
		people.Go(func() {
			for !draining.Load() {
				if _, ok := signInOnce(p.URL, op.Issuer); !ok {
					failed.Add(1)
					return
				}
				signedIn.Add(1)
			}
		})
	}
	apptest.Eventually(t, "people sign in", func() bool { return signedIn.Load() >= 4 })
	if err := p.Command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// The load balancer notices, and stops sending requests.
	apptest.Eventually(t, "the program is not ready", func() bool { return operators.Get("/readyz").StatusCode == http.StatusServiceUnavailable })
	if got := p.Visitor().Get("/readyz"); got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.Body, `"status":"draining"`) {
		t.Errorf("/readyz is %d %s", got.StatusCode, got.Body)
	}
	if got := p.Visitor().Get("/healthz"); got.StatusCode != http.StatusOK {
		t.Errorf("/healthz is %d", got.StatusCode)
	}
	if operators.Metrics()["latchkey_draining"] != 1 {
		t.Error("the metrics do not show that the program is draining")
	}
	draining.Store(true)
	people.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d sign-ins failed, %d succeeded\n%s", n, signedIn.Load(), p.Log)
	}
	if err := p.WaitEnd(apptest.Patience); err != nil {
		t.Errorf("the program exits with %v\n%s", err, p.Log)
	}
	t.Logf("%d sign-ins", signedIn.Load())
}

// TestStopDuringSignIn (FM-22) stops the program while it waits for the provider's tokens. The program
// accepts no new connections, and completes the sign-in before it exits with status 0.
func TestStopDuringSignIn(t *testing.T) {
	t.Parallel()
	op := apptest.NewOP(t)
	dataDir, env := t.TempDir(), append(apptest.Env(op), "PORT="+apptest.FreePort(t), "SHUTDOWN_GRACE=0s")
	p := apptest.StartProcess(t, dataDir, env...)
	p.Await("/readyz", http.StatusOK)
	v := p.Visitor()
	response := v.AuthorizationResponse("/profile")
	held, barrier := scriptedop.Hold(op.Correct(scriptedop.Token))
	op.Answer(scriptedop.Token, held)
	answered := make(chan apptest.Answer, 1)
	go func() { answered <- v.Callback(response) }()
	<-barrier.Reached
	if err := p.Command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(p.URL, "http://")
	apptest.Eventually(t, "the program accepts no new connections", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	barrier.Open()
	if got := <-answered; got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/profile" {
		t.Errorf("the callback in progress answers %d %s", got.StatusCode, got.Body)
	}
	if err := p.WaitEnd(apptest.Patience); err != nil {
		t.Errorf("the program exits with %v\n%s", err, p.Log)
	}
	if !v.At(apptest.StartProcess(t, dataDir, env...).App).SignedIn() {
		t.Error("the person is not signed in after the restart")
	}
}

// TestStop (FM-22) stops an idle program on loopback, which need not wait for a load
// balancer.
func TestStop(t *testing.T) {
	t.Parallel()
	program := apptest.Build(t)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := apptest.StartCommand(t, exec.Command(program), t.TempDir(), "DEV_PROVIDER_ADDR=127.0.0.1:0")
		if err := p.Command.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if err := p.WaitEnd(apptest.Patience); err != nil {
			t.Errorf("after %v the program exits with %v", signal, err)
		}
		if lines := p.Logged("stopping", ""); len(lines) != 1 || lines[0]["grace_s"] != 0.0 {
			t.Errorf("after %v the log says %v", signal, lines)
		}
	}
}

// TestSecondSignal (FM-22) sends a second signal to a program that is draining. It exits
// immediately.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	p := apptest.StartCommand(t, exec.Command(apptest.Build(t)), t.TempDir(), "DEV_PROVIDER_ADDR=127.0.0.1:0", "SHUTDOWN_GRACE=5m")
	if err := p.Command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.Await("/readyz", http.StatusServiceUnavailable)
	if got := p.Visitor().Get("/"); got.StatusCode != http.StatusOK {
		t.Errorf("while the program drains, the home page is %d", got.StatusCode)
	}
	// A signal that comes while the program still handles the first one is part of that one.
	apptest.Eventually(t, "the program has ended", func() bool { return p.Command.Process.Signal(syscall.SIGTERM) != nil })
	exit, ok := errors.AsType[*exec.ExitError](p.WaitEnd(apptest.Patience))
	if !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("the program exits with %v", exit)
	}
}

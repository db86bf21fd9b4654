package app

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// entropyEnds names the file whose being there ends the random numbers of the program as a
// process of its own.
const entropyEnds = "LATCHKEY_TESTS_ENTROPY_ENDS"

// failingEntropy is a source of random numbers that dries up.
type failingEntropy struct {
	sign string
	next io.Reader
}

func (e *failingEntropy) Read(p []byte) (int, error) {
	if _, err := os.Stat(e.sign); err == nil {
		return 0, errors.New("there are no more random numbers")
	}
	return e.next.Read(p)
}

// TestNoRandomNumbers (FM-32) takes the random numbers away from a program that runs: it ends
// at once, and answers nothing rather than something that can be guessed. That no other
// source is used is for TestArrows.
func TestNoRandomNumbers(t *testing.T) {
	t.Parallel()
	sign := filepath.Join(t.TempDir(), "sign")
	op := newScriptedOP(t)
	p := startProcess(t, t.TempDir(), append(knows(op), entropyEnds+"="+sign)...)
	s := &scriptedApp{app: p.app, op: op}
	v := s.visitor()
	s.signInNow(v)
	if err := os.WriteFile(sign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if resp, err := v.client.Do(v.request(http.MethodGet, "/login", nil)); err == nil {
		resp.Body.Close()
		t.Errorf("a sign-in is answered %d", resp.StatusCode)
	}
	select {
	case err := <-p.ended:
		p.ended <- err
		if err == nil || !strings.Contains(p.log.String(), "fatal error: crypto/rand: failed to read random data") {
			t.Errorf("it ends with %v\n%s", err, p.log)
		}
	case <-time.After(patience):
		t.Error("the program goes on")
	}
}

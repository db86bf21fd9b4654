package faults

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

// entropyEnds names a file. Once the file exists, a process gets no more random numbers.
const entropyEnds = "LATCHKEY_TESTS_ENTROPY_ENDS"

// failingEntropy is a source of random numbers that can fail.
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

// TestNoRandomNumbers (FM-32) makes a running program's random numbers fail. The program
// ends immediately and never answers with a guessable value. TestArrows checks that it uses
// no other source.
func TestNoRandomNumbers(t *testing.T) {
	t.Parallel()
	sign := filepath.Join(t.TempDir(), "sign")
	op := apptest.NewOP(t)
	p := apptest.StartProcess(t, t.TempDir(), append(apptest.Env(op), entropyEnds+"="+sign)...)
	s := &apptest.Scripted{App: p.App, OP: op}
	v := s.Visitor()
	s.SignIn(v)
	if err := os.WriteFile(sign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if resp, err := v.Client.Do(v.Request(http.MethodGet, "/login", nil)); err == nil {
		resp.Body.Close()
		t.Errorf("a sign-in is answered with %d", resp.StatusCode)
	}
	err := p.WaitEnd(apptest.Patience)
	if err == nil || !strings.Contains(p.Log.String(), "fatal error: crypto/rand: failed to read random data") {
		t.Errorf("the program ends with %v\n%s", err, p.Log)
	}
}

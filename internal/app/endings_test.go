package app

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/internal/scriptedop"
)

// TestProviderDropsAPerson (FM-30) has a provider delete somebody who is signed in here: the
// session ends when it refuses the refresh token, when it says so by back channel, and, where
// it says nothing at all, at its absolute end, however busy the person is. Another person stays.
func TestProviderDropsAPerson(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		drop func(s *scriptedApp, c *clock, v *visitor)
	}{
		"FM-30 it refuses the refresh token": {func(s *scriptedApp, c *clock, v *visitor) {
			s.op.Answer(scriptedop.Token, scriptedop.JSON(http.StatusBadRequest, map[string]any{"error": "invalid_grant"}))
			c.Move(time.Hour)
			v.refreshProfile()
			s.op.Answer(scriptedop.Token, nil)
		}},
		"FM-30 it says so": {func(s *scriptedApp, _ *clock, _ *visitor) {
			token := s.op.LogoutToken()
			got := s.visitor().send("/backchannel-logout", "application/x-www-form-urlencoded", url.Values{"logout_token": {token.Compact()}}.Encode())
			if got.StatusCode != http.StatusOK {
				s.t.Errorf("the logout token is answered %d", got.StatusCode)
			}
		}},
		"FM-30 it says nothing": {func(s *scriptedApp, c *clock, v *visitor) {
			for range 27 {
				c.Move(6 * time.Hour)
				if !v.signedIn() {
					s.t.Fatal("the session ends before its time")
				}
			}
			c.Move(6 * time.Hour)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := assembleScripted(t, "SESSION_IDLE=24h", "SESSION_ABSOLUTE=168h")
			other, v := s.visitor(), s.visitor()
			s.op.SignInAs("bob")
			s.signInNow(other)
			s.op.SignInAs("alice")
			s.signInNow(v)
			began := c.Now()
			tt.drop(s, c, v)
			if v.signedIn() {
				t.Error("they are still signed in")
			}
			if got := v.direct(v.request(http.MethodGet, "/api/me", nil)); got.StatusCode != http.StatusUnauthorized || strings.Contains(got.body, "alice") {
				t.Errorf("the API answers %d %s", got.StatusCode, got.body)
			}
			if c.Now().Sub(began) < 24*time.Hour && !other.signedIn() {
				t.Error("somebody else is signed out")
			}
		})
	}
}

// TestTwoProcessesOnOneDirectory (FM-26, CF-12) starts the program where it runs already: the
// second ends and says why, and the first goes on.
func TestTwoProcessesOnOneDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	op := newScriptedOP(t)
	first := &scriptedApp{app: startProcess(t, dir, knows(op)...).app, op: op}
	v := first.visitor()
	first.signInNow(v)
	second := exec.CommandContext(t.Context(), os.Args[0])
	second.Env = append([]string{asProgram + "=1", "PORT=0", "DATA_DIR=" + dir}, knows(op)...)
	output, err := second.CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 2 {
		t.Errorf("the second ends with %v", err)
	}
	for _, want := range []string{"DATA_DIR", filepath.Join(dir, "sessions.db"), "another process holds", "stop it"} {
		if !strings.Contains(string(output), want) {
			t.Errorf("it does not say %q: %s", want, output)
		}
	}
	if strings.Contains(string(output), "listening") {
		t.Errorf("it has listened: %s", output)
	}
	if !v.signedIn() {
		t.Error("the first has suffered")
	}
}

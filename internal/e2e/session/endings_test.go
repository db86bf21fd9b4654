package session

import (
	"errors"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestProviderDropsAPerson (FM-30) deletes a signed-in person at the provider. The session
// ends when the provider refuses the refresh token, when it sends a logout token, or else
// at the absolute timeout, however active the person is. Another person stays signed in.
func TestProviderDropsAPerson(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		drop func(s *apptest.Scripted, c *apptest.Clock, v *apptest.Visitor)
	}{
		"FM-30 it refuses the refresh token": {func(s *apptest.Scripted, c *apptest.Clock, v *apptest.Visitor) {
			s.OP.Answer(scriptedop.Token, scriptedop.JSON(http.StatusBadRequest, map[string]any{"error": "invalid_grant"}))
			c.Move(time.Hour)
			v.RefreshProfile()
			s.OP.Answer(scriptedop.Token, nil)
		}},
		"FM-30 it sends a logout token": {func(s *apptest.Scripted, _ *apptest.Clock, _ *apptest.Visitor) {
			token := s.OP.LogoutToken()
			got := s.Visitor().Send("/backchannel-logout", "application/x-www-form-urlencoded", url.Values{"logout_token": {token.Compact()}}.Encode())
			if got.StatusCode != http.StatusOK {
				s.T.Errorf("the logout token is answered %d", got.StatusCode)
			}
		}},
		"FM-30 it does not notify the app": {func(s *apptest.Scripted, c *apptest.Clock, v *apptest.Visitor) {
			for range 27 {
				c.Move(6 * time.Hour)
				if !v.SignedIn() {
					s.T.Fatal("the session ended too early")
				}
			}
			c.Move(6 * time.Hour)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := apptest.Assemble(t, "SESSION_IDLE=24h", "SESSION_ABSOLUTE=168h")
			other, v := s.Visitor(), s.Visitor()
			s.OP.SignInAs("bob")
			s.SignIn(other)
			s.OP.SignInAs("alice")
			s.SignIn(v)
			began := c.Now()
			tt.drop(s, c, v)
			if v.SignedIn() {
				t.Error("the deleted person is still signed in")
			}
			if got := v.Direct(v.Request(http.MethodGet, "/api/me", nil)); got.StatusCode != http.StatusUnauthorized || strings.Contains(got.Body, "alice") {
				t.Errorf("the API answers %d %s", got.StatusCode, got.Body)
			}
			if c.Now().Sub(began) < 24*time.Hour && !other.SignedIn() {
				t.Error("another person is signed out")
			}
		})
	}
}

// TestTwoProcessesOnOneDirectory (FM-26, CF-12) starts the program on a data directory that
// another process uses. The second process reports the conflict and exits, and the first
// one is not disturbed.
func TestTwoProcessesOnOneDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	op := apptest.NewOP(t)
	first := &apptest.Scripted{App: apptest.StartProcess(t, dir, apptest.Env(op)...).App, OP: op}
	v := first.Visitor()
	first.SignIn(v)
	second := exec.CommandContext(t.Context(), apptest.Build(t))
	second.Env = append([]string{"PORT=0", "DATA_DIR=" + dir}, apptest.Env(op)...)
	output, err := second.CombinedOutput()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 2 {
		t.Errorf("the second process exits with %v", err)
	}
	for _, want := range []string{"DATA_DIR", filepath.Join(dir, "sessions.db"), "another process has the file open", "stop that process"} {
		if !strings.Contains(string(output), want) {
			t.Errorf("the second process does not say %q: %s", want, output)
		}
	}
	if strings.Contains(string(output), "listening") {
		t.Errorf("the second process has listened: %s", output)
	}
	if !v.SignedIn() {
		t.Error("the first process is disturbed")
	}
}

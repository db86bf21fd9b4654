package app_test

import (
	"bytes"
	"errors"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/app"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// say runs a command and returns what it prints.
func say(t *testing.T, args []string, env ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := app.Run(t.Context(), args, env, &out)
	return out.String(), err
}

// TestCommands calls commands correctly and incorrectly.
func TestCommands(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		args []string
		want string // in what is printed; "" for a refusal
	}{
		"help":                  {[]string{"help"}, "latchkey doctor [--json]"},
		"help, for short":       {[]string{"-h"}, "latchkey health [--ready]"},
		"help with dashes":      {[]string{"--help"}, "latchkey version"},
		"version with dashes":   {[]string{"--version"}, "commit  "},
		"CF-09 with dashes":     {[]string{"--check-config"}, "AUTH0_DOMAIN"},
		"no command":            {[]string{"serv"}, ""},
		"an unknown flag":       {[]string{"doctor", "--jsom"}, ""},
		"another's flag":        {[]string{"health", "--json"}, ""},
		"a flag for a flagless": {[]string{"version", ""}, ""},
	} {
		got, err := say(t, tt.args)
		if tt.want == "" {
			if !errors.Is(err, app.ErrConfiguration) || got != "" {
				t.Errorf("%s: error %v, printed %q", name, err, got)
			}
			continue
		}
		if err != nil || !strings.Contains(got, tt.want) {
			t.Errorf("%s: error %v, printed\n%s", name, err, got)
		}
	}
}

// TestDocumentedCommands checks that docs/doctor.md names every command, and every check of
// the doctor.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	page := apptest.ReadFile(t, "docs/doctor.md")
	for _, name := range app.CommandNames() {
		if !strings.Contains(string(page), "`"+name) {
			t.Errorf("docs/doctor.md does not name the command %s", name)
		}
	}
	for _, f := range apptest.Diagnose(t).Findings {
		if !strings.Contains(string(page), "`"+f.Check+"`") {
			t.Errorf("docs/doctor.md does not name the check %s", f.Check)
		}
	}
}

// TestVersion (CF-09) prints what a build knows about itself.
func TestVersion(t *testing.T) {
	t.Parallel()
	got, err := say(t, []string{"version"})
	if err != nil || !strings.HasPrefix(got, "latchkey ") || !strings.Contains(got, runtime.Version()) || !strings.Contains(got, "development provider  built in\n") {
		t.Errorf("error %v, printed\n%s", err, got)
	}
	setting := func(key, value string) debug.BuildSetting { return debug.BuildSetting{Key: key, Value: value} }
	built := []debug.BuildSetting{setting("vcs.revision", "abc"), setting("vcs.time", "2026-11-02T12:00:00Z")}
	for want, settings := range map[string][]debug.BuildSetting{
		"abc, 2026-11-02T12:00:00Z":              built,
		"abc with changes, 2026-11-02T12:00:00Z": append(slices.Clone(built), setting("vcs.modified", "true")),
		"not known":                              nil,
	} {
		if got := app.Commit(&debug.BuildInfo{Settings: settings}); got != want {
			t.Errorf("the commit is %q, want %q", got, want)
		}
	}
}

// TestCheckConfig (CF-09) prints the configuration in effect, without secrets, and refuses
// a faulty one as the start does.
func TestCheckConfig(t *testing.T) {
	t.Parallel()
	const redis = "rediss://:secret-of-redis@redis.example.com"
	got, err := say(t, []string{"check-config"}, tenant("SESSION_STORE="+redis, "SESSION_IDLE=90m", "ID_TOKEN_ALG=RS256,ES256")...)
	if err != nil {
		t.Fatal(err)
	}
	lines := make(map[string]string)
	for line := range strings.Lines(got) {
		name, rest, _ := strings.Cut(line, " ")
		lines[name] = strings.Join(strings.Fields(rest), " ")
	}
	for name, want := range map[string]string{
		"AUTH0_DOMAIN": "set tenant.eu.auth0.com", "AUTH0_CLIENT_SECRET": "set [hidden]", "APP_SECRET_KEY": "set [hidden]", "SESSION_STORE": "set [hidden]",
		"SESSION_IDLE": "set 1h30m0s", "SESSION_ABSOLUTE": "default 168h0m0s", "ID_TOKEN_ALG": "set RS256,ES256", "PORT": "default 3000",
		"AUTH0_CALLBACK_URL": "default http://localhost:3000/callback", "OIDC_ISSUER": "none -", "AUTH0_AUDIENCE": "none -",
		"SHUTDOWN_GRACE": "default 0s", "AUTH0_LOGOUT_URL": "default http://localhost:3000",
		"PICTURE_ORIGINS": "default https://s.gravatar.com,https://i0.wp.com,https://i1.wp.com,https://i2.wp.com,https://cdn.auth0.com,https://lh3.googleusercontent.com",
	} {
		if lines[name] != want {
			t.Errorf("%s: %q, want %q", name, lines[name], want)
		}
	}
	if len(lines) != len(app.VariableNames()) {
		t.Errorf("%d lines for %d variables", len(lines), len(app.VariableNames()))
	}
	for _, secret := range []string{"kept-to-ourselves", "0123456789abcdef", "secret-of-redis"} {
		if strings.Contains(got, secret) {
			t.Errorf("SL-06: it shows %q", secret)
		}
	}
	if got, err := say(t, []string{"check-config"}, tenant("PORT=x")...); !errors.Is(err, app.ErrConfiguration) || !strings.Contains(err.Error(), "\n  PORT: ") || got != "" {
		t.Errorf("error %v, printed %q", err, got)
	}
	certFile, keyFile := apptest.WriteCertificate(t)
	got, err = say(t, []string{"check-config"}, tenant("PROFILE=fapi2-message-signing", "CLIENT_SIGNING_KEY="+apptest.WritePKCS8(t, apptest.NewKey(t, "RSA")),
		"CLIENT_TLS_CERT_FILE="+certFile, "CLIENT_TLS_KEY_FILE="+keyFile, "ID_TOKEN_ALG=ES256")...)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"PUSHED_AUTHORIZATION_REQUESTS profile always", "CLIENT_AUTH profile private_key_jwt", "CLIENT_SIGNING_ALG profile PS256",
		"REQUEST_OBJECT profile on", "RESPONSE_MODE profile jwt", "ID_TOKEN_ALG set ES256",
	} {
		if !slices.ContainsFunc(strings.Split(got, "\n"), func(line string) bool { return strings.Join(strings.Fields(line), " ") == want }) {
			t.Errorf("CF-16: no line %q in\n%s", want, got)
		}
	}
	several := []string{
		"PROVIDERS=work,home", "WORK_OIDC_ISSUER=https://id.example/realms/work", "WORK_CLIENT_ID=w", "WORK_CLIENT_SECRET=s",
		"HOME_OIDC_ISSUER=https://id.example", "HOME_CLIENT_ID=h", "HOME_CLIENT_SECRET=s",
	}
	// Each provider has scopes of its own.
	for name, want := range map[string]string{"WORK_SCOPES": "email", "HOME_SCOPES": "offline_access"} {
		got, err := say(t, []string{"check-config"}, several...)
		if line := regexp.MustCompile(`(?m)^` + name + ` .*$`).FindString(got); err != nil || !strings.HasSuffix(line, want) {
			t.Errorf("%s is shown as %q, %v, want scopes up to %s", name, line, err, want)
		}
	}
	if got, err := say(t, []string{"check-config"}, "PORT=4000"); err != nil || !strings.Contains(got, "http://127.0.0.1:4001") {
		t.Errorf("the development provider: error %v, printed\n%s", err, got)
	}
}

// TestHealth asks an app that is alive but not ready, one that is both, and none.
func TestHealth(t *testing.T) {
	t.Parallel()
	certFile, keyFile := apptest.WriteCertificate(t)
	otherCert, otherKey := apptest.WriteCertificate(t)
	port := apptest.FreePort(t)
	env := []string{
		"PORT=" + port, "AUTH0_CALLBACK_URL=https://localhost:" + port + "/callback", "TLS_CERT_FILE=" + certFile, "TLS_KEY_FILE=" + keyFile,
	}
	op := apptest.NewOP(t)
	op.Answer(scriptedop.Discovery, scriptedop.Status(503))
	env = append(apptest.Env(op), env...)
	if got, err := say(t, []string{"health"}, env...); err == nil || errors.Is(err, app.ErrConfiguration) {
		t.Errorf("nobody there: error %v, printed %q", err, got)
	}
	a := apptest.Start(t, env...)
	if got, err := say(t, []string{"health"}, env...); err != nil || got != `{"status":"ok"}`+"\n" {
		t.Errorf("alive: error %v, printed %q", err, got)
	}
	if got, err := say(t, []string{"health", "--ready"}, env...); err == nil || !strings.Contains(err.Error(), "provider_unreachable") || got != "" {
		t.Errorf("not ready: error %v, printed %q", err, got)
	}
	other := append(slices.Clone(env), "TLS_CERT_FILE="+otherCert, "TLS_KEY_FILE="+otherKey)
	if got, err := say(t, []string{"health"}, other...); err == nil {
		t.Errorf("another's certificate: printed %q", got)
	}
	if err := a.Stop(); err != nil {
		t.Error(err)
	}
	op.Answer(scriptedop.Discovery, nil)
	plain := append(apptest.Env(op), "PORT="+port)
	apptest.Start(t, plain...).Await("/readyz", 200)
	for _, args := range [][]string{{"health"}, {"health", "--ready"}} {
		if got, err := say(t, args, plain...); err != nil || got == "" {
			t.Errorf("%v: error %v, printed %q", args, err, got)
		}
	}
	if f := apptest.Diagnose(t, plain...).Find(t, "port"); !strings.Contains(f.Found, "this app already listens on port") {
		t.Errorf("the doctor says %+v", f)
	}
	if _, err := say(t, []string{"health"}, "PORT=x"); !errors.Is(err, app.ErrConfiguration) {
		t.Errorf("a faulty configuration: error %v", err)
	}
}

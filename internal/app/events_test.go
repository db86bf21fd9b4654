package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/app"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// securityEvents reads a file that LOG_EVENTS names: whole lines of JSON, each with an event.
func securityEvents(t *testing.T, path string) (list []map[string]any) {
	t.Helper()
	for line := range strings.Lines(string(apptest.ReadFile(t, path))) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q is not a line of JSON: %v", line, err)
		}
		if name, _ := e["event"].(string); name == "" || e["event_version"] != 1.0 {
			t.Errorf("%v is not an event of version 1", e)
		}
		list = append(list, e)
	}
	return list
}

// documentedEvents returns the security events of docs/operations.md, with their attributes.
func documentedEvents(t *testing.T) map[string][]string {
	t.Helper()
	_, table, _ := strings.Cut(string(apptest.ReadFile(t, "docs/operations.md")), "## Security events")
	table, _, _ = strings.Cut(table, "\n## ")
	list := make(map[string][]string)
	quoted := regexp.MustCompile("`([a-z_]+)`")
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) == 5 && strings.HasPrefix(cells[1], " `") {
			list[quoted.FindStringSubmatch(cells[1])[1]] = names(quoted.FindAllStringSubmatch(cells[3], -1))
		}
	}
	return list
}

func names(matches [][]string) (list []string) {
	for _, m := range matches {
		list = append(list, m[1])
	}
	return list
}

// TestSecurityEvents (SL-03) causes every security event that docs/operations.md lists. LOG_EVENTS has
// each of them, with the attributes that are documented for it and no others.
func TestSecurityEvents(t *testing.T) {
	t.Parallel()
	const token = "5d8e0c1f9b7a42638e1d0c5b4a392817"
	path := filepath.Join(t.TempDir(), "events.json")
	op := apptest.NewOP(t)
	const secret = "APP_SECRET_KEY=0123456789abcdef0123456789abcdef"
	s := apptest.StartBeside(t, op, "OPS_ADDR=127.0.0.1:0", "OPS_TOKEN="+token, "LOG_EVENTS="+path, secret)
	s.Await("/readyz", http.StatusOK)
	v, other := s.Visitor(), s.Visitor()
	op.EditIDToken(func(token *scriptedop.JWT) { token.Claims["auth_time"] = time.Now().Add(-time.Hour).Unix() })
	s.SignIn(v)
	s.SignIn(other)
	v.Post("/sessions/end-others", nil) // which needs a recent sign-in, and this one is not
	op.EditIDToken(nil)
	v.Post("/sessions/end-others", nil) // this one is
	v.Post("/sessions/end-others", nil)
	v.Do(v.Request(http.MethodPost, "/logout", url.Values{}, "Sec-Fetch-Site", "cross-site"))
	v.Get("/admin") // for others
	v.Post("/logout", nil)
	s.SignIn(v)
	v.Do(v.Raw(http.MethodPost, "/backchannel-logout", apptest.FormType, "logout_token="+op.LogoutToken().Compact()))
	v.Do(v.Raw(http.MethodPost, "/backchannel-logout", apptest.FormType, "logout_token=x"))
	v.Get("/api/me", "Authorization", "Bearer x")
	op.Answer(scriptedop.Token, scriptedop.JSON(http.StatusBadRequest, map[string]any{"error": "invalid_grant"}))
	v.Callback(v.AuthorizationResponse("/login"))
	op.Answer(scriptedop.Token, nil)
	v.Get("/callback?code=x&state=y")
	s.SignIn(v)
	operators := s.Operators()
	operators.Get("/sessions")
	as := func(path string, form url.Values) {
		operators.Do(operators.Request(http.MethodPost, path, form, "Authorization", "Bearer "+token, "X-Operator", "Grace"))
	}
	as("/sessions/end", url.Values{"session": {"00000000"}})
	as("/sessions/end", url.Values{"subject": {"alice"}})

	proofs := refuseProof(t, op, secret)

	list, documented := append(securityEvents(t, path), securityEvents(t, proofs)...), documentedEvents(t)
	seen := make(map[string]map[string]bool)
	for _, e := range list {
		name := e["event"].(string)
		if seen[name] == nil {
			seen[name] = make(map[string]bool)
		}
		for attribute := range e {
			seen[name][attribute] = true
		}
		if name != "configuration" && (e["client"] != "127.0.0.1" || e["request"] == nil) {
			t.Errorf("%v has no client or no request", e)
		}
	}
	common := []string{"time", "level", "msg", "event", "event_version", "client", "request"}
	for name, attributes := range documented {
		for attribute := range seen[name] {
			if !slices.Contains(common, attribute) && !slices.Contains(attributes, attribute) {
				t.Errorf("%s has the attribute %s, which is not documented", name, attribute)
			}
		}
		for _, attribute := range attributes {
			if !seen[name][attribute] {
				t.Errorf("no %s has the attribute %s, which is documented", name, attribute)
			}
		}
	}
	if got, want := slices.Sorted(maps.Keys(seen)), slices.Sorted(maps.Keys(documented)); !slices.Equal(got, want) {
		t.Errorf("the events are %v, and documented are %v", got, want)
	}
	source := string(apptest.ReadFile(t, "authn/events.go"))
	if defined := names(regexp.MustCompile(`Event = "(\w+)"`).FindAllStringSubmatch(source, -1)); !slices.Equal(slices.Sorted(slices.Values(defined)), slices.Sorted(maps.Keys(documented))) {
		t.Errorf("the code defines %v, and documented are %v", defined, slices.Sorted(maps.Keys(documented)))
	}

	for name, want := range map[string]map[string]any{
		"a failed exchange":             {"event": "sign_in_failed", "reason": "token_request_failed", "code": "invalid_grant"},
		"a step-up that failed":         {"event": "sign_in_failed", "reason": "step_up_failed"},
		"one that did not":              {"event": "sign_in", "step_up": true},
		"a sign-in without step-up":     {"event": "sign_in", "step_up": false},
		"a lost callback":               {"event": "sign_in_failed", "reason": "transaction_missing"},
		"a session that a person ended": {"event": "session_ended", "cause": "elsewhere", "by": "person"},
		"one that the provider ended":   {"event": "session_ended", "cause": "provider", "by": "provider"},
		"one that an operator ended":    {"event": "session_ended", "cause": "operator", "by": "operator", "operator": "Grace"},
		"a logout token":                {"event": "token_refused", "reason": "logout_token_invalid"},
		"an access token":               {"event": "token_refused", "reason": "access_token_invalid", "route": "/api/me"},
		"another site":                  {"event": "refused", "reason": "cross_origin"},
		"another's page":                {"event": "refused", "reason": "claim_missing"},
		"an operator without token":     {"event": "refused", "reason": "no_credentials", "route": "/sessions"},
	} {
		if !slices.ContainsFunc(list, func(e map[string]any) bool { return fits(e, want) }) {
			t.Errorf("SL-03 %s: no event like %v", name, want)
		}
	}
	people := make(map[any]bool)
	for _, e := range list {
		if e["person"] != nil {
			people[e["person"]] = true
		}
	}
	text := string(apptest.ReadFile(t, path)) + string(apptest.ReadFile(t, proofs))
	if len(people) != 1 || strings.Contains(text, "alice") || strings.Contains(text, token) {
		t.Errorf("one person has the names %v, or SL-02: an event names them or has a secret", people)
	}
	for _, secret := range op.Secrets() {
		if strings.Contains(text, secret) {
			t.Errorf("SL-01: an event has %q", secret)
		}
	}
}

// refuseProof has an app on HTTPS refuse the proof of a device-bound session. It returns the file with the
// app's events.
func refuseProof(t *testing.T, op *scriptedop.Provider, env ...string) string {
	t.Helper()
	path, port := filepath.Join(t.TempDir(), "events.json"), apptest.FreePort(t)
	certFile, keyFile := apptest.WriteCertificate(t)
	s := apptest.StartBeside(t, op, append(env, "PORT="+port, "AUTH0_CALLBACK_URL=https://localhost:"+port+"/callback",
		"TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile, "DEVICE_BOUND_SESSIONS=auto", "LOG_EVENTS="+path)...)
	apptest.Eventually(t, "the provider is discovered", func() bool { return s.Log.Count("provider discovered") > 0 })
	d := apptest.NewDevice(s).SignIn(s)
	if got := d.Bind(); got.StatusCode != http.StatusOK {
		t.Errorf("the registration is answered %d", got.StatusCode)
	}
	if got := d.Renew(func(p *apptest.Proof) { p.Key = scriptedop.NewKey("", "ES256") }); got.StatusCode != http.StatusForbidden {
		t.Errorf("the proof of another key is answered %d", got.StatusCode)
	}
	return path
}

func fits(line, want map[string]any) bool {
	for key, value := range want {
		if line[key] != value {
			return false
		}
	}
	return true
}

// TestEventsBesideAQuietLog logs an event and another line to a log that has errors only.
func TestEventsBesideAQuietLog(t *testing.T) {
	t.Parallel()
	events, err := os.Create(filepath.Join(t.TempDir(), "events.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	var out bytes.Buffer
	log := app.NewLogger(&app.Config{LogFormat: "text", LogLevel: slog.LevelError}, &out, events)
	log.Info("not told")
	log.Info("signed in", "event", authn.EventSignIn, "person", "\x1b[31m")
	log.Error("refused", "event", "a word that is no event")
	if list := securityEvents(t, events.Name()); len(list) != 1 || list[0]["event"] != "sign_in" || list[0]["person"] != `\x1b[31m` {
		t.Errorf("the events are %v", list)
	}
	if strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), "no event") {
		t.Errorf("the log says %s", &out)
	}
	events.Close()
	if log.Info("signed in", "event", authn.EventSignIn); !strings.Contains(out.String(), "security event not written") {
		t.Errorf("a lost event is not told: %s", &out)
	}
}

// TestEventsGoWhereTheyAreSent writes security events to a file, to a descriptor, and to the log alone.
func TestEventsGoWhereTheyAreSent(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "events.json")
	if err := os.WriteFile(path, []byte(`{"event":"before","event_version":1}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	descriptor, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		env  string
		file *os.File
		want int // events in the file, each time one start
	}{
		{"LOG_EVENTS=" + path, nil, 2},
		{"LOG_EVENTS=fd:3", descriptor, 3},
		{"LOG_EVENTS=", nil, 3},
	} {
		command := exec.Command(os.Args[0])
		if tt.file != nil {
			command.ExtraFiles = []*os.File{tt.file}
		}
		p := apptest.StartCommand(t, command, t.TempDir(), "DEV_PROVIDER_ADDR=127.0.0.1:0", tt.env)
		p.Kill()
		if got := securityEvents(t, path); len(got) != tt.want || tt.want > 2 && got[2]["event"] != "configuration" {
			t.Errorf("%s: the file has %v", tt.env, got)
		}
		if p.Log.Count(`"event":"configuration","url"`) != 1 {
			t.Errorf("%s: the log has\n%s", tt.env, p.Log)
		}
	}
	for _, value := range []string{"fd:x", "fd:-1", "fd:", "fd:999", filepath.Join(path, "x"), t.TempDir()} {
		if _, err := say(t, nil, "LOG_EVENTS="+value, "DATA_DIR="+t.TempDir()); !errors.Is(err, app.ErrConfiguration) || !strings.Contains(err.Error(), "LOG_EVENTS: ") {
			t.Errorf("%s: %v", value, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(fmt.Errorf("the file's mode: %w", err))
	}
}

// fullDisk writes as many bytes as there is space for.
type fullDisk struct {
	bytes.Buffer
	space int
}

func (d *fullDisk) Write(p []byte) (int, error) {
	n, _ := d.Buffer.Write(p[:min(len(p), d.space)])
	if d.space -= n; n < len(p) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

// TestEventAfterAFullDisk writes events to a disk that is full in the middle of a line.
func TestEventAfterAFullDisk(t *testing.T) {
	t.Parallel()
	disk := &fullDisk{space: 8}
	events := app.NewEventLines(disk)
	for i, line := range []string{"one\n", "second\n", "third\n", "fourth\n", "fifth\n"} {
		if i == 3 {
			disk.space = 100
		}
		if _, err := io.WriteString(events, line); (err != nil) != (i == 1 || i == 2) {
			t.Errorf("%q: %v", line, err)
		}
	}
	if got := disk.String(); got != "one\nseco\nfourth\nfifth\n" {
		t.Errorf("the file has %q", got)
	}
}

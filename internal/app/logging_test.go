package app_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/app"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestEventsAreLogged (SL-02, SL-03) causes each event, and checks its line: time, request,
// person, provider and outcome.
func TestEventsAreLogged(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t)
	v, other := s.Visitor(), s.Visitor()
	s.SignIn(v)
	s.SignIn(other)
	v.Post("/sessions/end-others", nil)
	clock.Move(2 * time.Hour) // the access token has expired
	v.RefreshProfile()
	s.OP.Answer(scriptedop.Token, scriptedop.JSON(400, map[string]any{"error": "invalid_client"}))
	late := s.Visitor()
	late.Callback(late.AuthorizationResponse("/login"))
	s.OP.Answer(scriptedop.Token, nil)
	v.Do(v.Request(http.MethodPost, "/logout", url.Values{}, "Sec-Fetch-Site", "cross-site"))
	v.Post("/logout", nil)
	s.SignIn(v)
	token := s.OP.LogoutToken()
	v.Do(v.Raw(http.MethodPost, "/backchannel-logout", apptest.FormType, "logout_token="+token.Compact()))
	v.Do(v.Raw(http.MethodPost, "/backchannel-logout", apptest.FormType, "logout_token=x"))

	for name, want := range map[string]map[string]any{
		"a sign-in begins":            {"msg": "sign-in begun", "issuer": s.OP.Issuer, "sign_in": nil},
		"SL-03 a sign-in":             {"msg": "signed in", "issuer": s.OP.Issuer, "session": nil, "person": nil, "sign_in": nil},
		"SL-03 a failed sign-in":      {"msg": "refused", "reason": "token_request_failed", "code": "invalid_client", "issuer": s.OP.Issuer, "route": "/callback", "sign_in": nil},
		"SL-03 a sign-out":            {"msg": "signed out", "issuer": s.OP.Issuer, "session": nil},
		"SL-03 from another session":  {"msg": "signed out from another session", "session": nil},
		"SL-03 by the provider":       {"msg": "signed out by the provider", "issuer": s.OP.Issuer},
		"SL-03 a refused token":       {"msg": "refused", "reason": "logout_token_invalid", "route": "/backchannel-logout", "issuer": s.OP.Issuer},
		"SL-03 refreshed tokens":      {"msg": "tokens refreshed", "session": nil, "issuer": s.OP.Issuer},
		"SL-03 a cross-site request":  {"msg": "refused", "reason": "cross_origin", "issuer": s.OP.Issuer},
		"SL-03 a session's end":       {"msg": "session ended", "cause": "signed_out", "session": nil},
		"SL-03 one that is elsewhere": {"msg": "session ended", "cause": "elsewhere", "session": nil},
		"SL-03 one by the provider":   {"msg": "session ended", "cause": "provider", "session": nil},
	} {
		wantEvent(s, name, want)
	}
	plain := authn.NewKey("owner", s.OP.Issuer, "alice") // which anyone who knows her subject can compute
	for _, name := range []string{"alice", hex.EncodeToString(plain[:8])} {
		if strings.Contains(s.Log.String(), name) {
			t.Error("SL-02: the log names the person")
		}
	}
}

// wantEvent looks for a line with these attributes. nil stands for any value. The line of
// an event in a request names the request.
func wantEvent(s *apptest.Scripted, name string, want map[string]any) {
	s.T.Helper()
	for _, line := range s.Logged(want["msg"].(string), "") {
		fits := true
		for key, value := range want {
			got, ok := line[key]
			fits = fits && ok && (value == nil || value == got)
		}
		when, _ := line["time"].(string)
		if fits && line["request"] != nil && line["client"] == "127.0.0.1" && strings.HasSuffix(when, "Z") {
			return
		}
	}
	s.T.Errorf("%s: the log has no line like %v", name, want)
}

// TestReferenceFindsTheStory (SL-05) searches the log for the reference of an error page,
// and then for the sign-in that ended there.
func TestReferenceFindsTheStory(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	s.OP.Answer(scriptedop.Token, scriptedop.Status(500))
	v := s.Visitor()
	got := v.Callback(v.AuthorizationResponse("/login"))
	reference := got.Header.Get("X-Request-Id")
	if !strings.Contains(got.Body, reference) {
		t.Fatalf("the page does not show its reference:\n%s", got.Body)
	}
	var story []string
	var signIn string
	for _, line := range logLines(s.App) {
		if line["request"] == reference {
			story = append(story, line["msg"].(string))
			if name, ok := line["sign_in"].(string); ok {
				signIn = name
			}
		}
	}
	if want := []string{"provider asked", "refused", "request answered"}; !slices.Equal(story, want) {
		t.Errorf("the story is %v, want %v\n%s", story, want, s.Log)
	}
	if begun := s.Logged("sign-in begun", ""); len(begun) != 1 || signIn == "" || begun[0]["sign_in"] != signIn {
		t.Errorf("its beginning is %v, want that of %q", begun, signIn)
	}
}

// TestClientGone has a person leave before the answer arrives, which is no failure. What they asked for
// is completed.
func TestClientGone(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t, "OPS_ADDR=127.0.0.1:0")
	v := s.Visitor()
	s.SignIn(v)
	held, barrier := scriptedop.Hold(s.OP.Correct(scriptedop.UserInfo))
	s.OP.Answer(scriptedop.UserInfo, held)
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-barrier.Reached
		leave()
	}()
	r := v.Request(http.MethodPost, "/profile/refresh", nil, "Sec-Fetch-Site", "same-origin").WithContext(ctx)
	if resp, err := v.Client.Do(r); err == nil {
		resp.Body.Close()
		t.Fatalf("it is answered %d", resp.StatusCode)
	}
	barrier.Open()
	apptest.Eventually(t, "the request to be logged", func() bool { return s.Log.Count(`"path":"/profile/refresh"`) > 0 })
	for _, line := range s.Logged("request answered", "") {
		if line["path"] == "/profile/refresh" && line["status"] != 303.0 {
			t.Errorf("it is logged as %v", line)
		}
	}
	if s.Log.Count(`"level":"WARN"`)+s.Log.Count(`"level":"ERROR"`) > 0 {
		t.Errorf("the log says\n%s", s.Log)
	}
	for name, value := range s.Operators().Metrics() {
		if strings.HasPrefix(name, "latchkey_requests_refused_total") && value > 0 {
			t.Errorf("%s is %v", name, value)
		}
	}
}

// TestTrace follows a trace through a sign-in. The log names it, and each call to the
// provider is a span of its own.
func TestTrace(t *testing.T) {
	t.Parallel()
	const traceID, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for name, tt := range map[string]struct{ sent, passedOn, logged string }{
		"a trace":     {"00-" + traceID + "-" + caller + "-ff", `^00-` + traceID + `-[0-9a-f]{16}-03$`, traceID},
		"none":        {"", "^$", ""},
		"no good one": {"00-" + strings.ToUpper(traceID) + "-" + caller + "-01", "^$", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apptest.StartScripted(t)
			v := s.Visitor()
			response := v.AuthorizationResponse("/login")
			got := v.Direct(v.Request(http.MethodGet, response, nil, "Traceparent", tt.sent))
			s.WantSignedIn(v, got, "alice", "/dashboard")
			token, userInfo := s.OP.Last(scriptedop.Token).Header.Get("Traceparent"), s.OP.Last(scriptedop.UserInfo).Header.Get("Traceparent")
			for _, header := range []string{token, userInfo} {
				if !regexp.MustCompile(tt.passedOn).MatchString(header) || strings.Contains(header, caller) {
					t.Errorf("the provider is asked with traceparent %q", header)
				}
			}
			if token != "" && token == userInfo {
				t.Error("two calls have one name")
			}
			lines := s.Logged("signed in", got.Header.Get("X-Request-Id"))
			if id, _ := lines[0]["trace_id"].(string); id != tt.logged {
				t.Errorf("the log has trace_id %q, want %q", id, tt.logged)
			}
		})
	}
}

// TestLogInjection (SL-04) sends text to the log that attacks its reader.
func TestLogInjection(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	v := s.Visitor()
	for name, path := range map[string]string{
		"line breaks":        "/x%0d%0a%7B%22msg%22:%22signed%20in%22%7D",
		"colours":            "/x%1b%5b31mred",
		"the other way":      "/x%e2%80%aegnp.exe%e2%81%a6",
		"no text":            "/x%ff%fe%00",
		"an upper control":   "/x%c2%9b31m",
		"much":               "/" + strings.Repeat("x", 7000),
		"much that is cut":   "/" + strings.Repeat("%c3%a4", 2500),
		"a line separator":   "/x%e2%80%a8y",
		"quotes":             "/x%22,%22level%22:%22ERROR",
		"a well-meant path":  "/caf%c3%a9",
		"an invisible space": "/x%e2%80%8by",
	} {
		got := v.Direct(v.Request(http.MethodGet, path, nil))
		lines := s.Logged("request answered", got.Header.Get("X-Request-Id"))
		if len(lines) != 1 {
			t.Fatalf("SL-04 %s: %d lines", name, len(lines))
		}
		logged := lines[0]["path"].(string)
		if len(logged) > app.MaxLogged+100 || strings.ContainsAny(logged, "\x1b\u009b\u202e\u2066\u2028\u200b\x00") {
			t.Errorf("SL-04 %s: the path is logged as %.80q, %d bytes", name, logged, len(logged))
		}
		if name == "a well-meant path" && logged != "/café" {
			t.Errorf("the twin: it is logged as %q", logged)
		}
	}
	if lines := s.Logged("signed in", ""); len(lines) > 0 {
		t.Errorf("SL-04: a line was smuggled in: %v", lines)
	}
	if strings.ContainsAny(s.Log.String(), "\x1b\u202e\u2066") {
		t.Error("SL-04: the log has control characters")
	}
}

// TestLogForms (SL-04) writes the same as JSON and as text.
func TestLogForms(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{"json": `"level":"WARN","msg":"told\\x1b[31m"`, "text": `level=WARN msg=told\x1b[31m`} {
		var out bytes.Buffer
		log := app.NewLogger(&app.Config{LogFormat: format}, &out, nil)
		log.Debug("not told")
		log.Warn("told\x1b[31m", "error", errors.New("of\u202ea stranger\n2nd"), slog.Group("group", "name", "\x1b"), "long", strings.Repeat("ä", app.MaxLogged),
			"secret", openid.Secret("s3cret"), "took", time.Second)
		if got := out.String(); !strings.Contains(got, want) || strings.ContainsAny(got, "\x1b\u202e") || strings.Count(got, "\n") != 1 ||
			len(got) > 2*app.MaxLogged || strings.Contains(got, "s3cret") || !strings.Contains(got, "bytes more") {
			t.Errorf("%s: %.400s", format, got)
		}
	}
}

// logLines returns all lines of the log.
func logLines(a *apptest.App) (lines []map[string]any) {
	a.T.Helper()
	for line := range strings.Lines(a.Log.String()) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			a.T.Fatalf("SL-04: %q is not a line of JSON: %v", line, err)
		}
		lines = append(lines, l)
	}
	return lines
}

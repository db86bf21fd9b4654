package app

import (
	"bytes"
	"context"
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
	"latchkey/internal/scriptedop"
)

// TestEventsAreLogged (SL-02, SL-03) has each event happen, and reads its line: when, in
// which request, by whom, at which provider and how it ended.
func TestEventsAreLogged(t *testing.T) {
	t.Parallel()
	s, clock := assembleScripted(t)
	v, other := s.visitor(), s.visitor()
	s.signInNow(v)
	s.signInNow(other)
	v.post("/sessions/end-others", nil)
	clock.Move(2 * time.Hour) // the access token has expired
	v.refreshProfile()
	s.op.Answer(scriptedop.Token, scriptedop.JSON(400, map[string]any{"error": "invalid_client"}))
	late := s.visitor()
	late.callback(late.authorizationResponse("/login"))
	s.op.Answer(scriptedop.Token, nil)
	v.do(v.request(http.MethodPost, "/logout", url.Values{}, "Sec-Fetch-Site", "cross-site"))
	v.post("/logout", nil)
	s.signInNow(v)
	token := s.op.LogoutToken()
	v.do(v.raw(http.MethodPost, "/backchannel-logout", formType, "logout_token="+token.Compact()))
	v.do(v.raw(http.MethodPost, "/backchannel-logout", formType, "logout_token=x"))

	for name, want := range map[string]map[string]any{
		"a sign-in begins":            {"msg": "sign-in begun", "issuer": s.op.Issuer, "sign_in": nil},
		"SL-03 a sign-in":             {"msg": "signed in", "issuer": s.op.Issuer, "session": nil, "person": nil, "sign_in": nil},
		"SL-03 a failed sign-in":      {"msg": "refused", "reason": "token_request_failed", "code": "invalid_client", "issuer": s.op.Issuer, "route": "/callback", "sign_in": nil},
		"SL-03 a sign-out":            {"msg": "signed out", "issuer": s.op.Issuer, "session": nil},
		"SL-03 from another session":  {"msg": "signed out from another session", "session": nil},
		"SL-03 by the provider":       {"msg": "signed out by the provider", "issuer": s.op.Issuer},
		"SL-03 a refused token":       {"msg": "refused", "reason": "logout_token_invalid", "route": "/backchannel-logout", "issuer": s.op.Issuer},
		"SL-03 refreshed tokens":      {"msg": "tokens refreshed", "session": nil, "issuer": s.op.Issuer},
		"SL-03 a cross-site request":  {"msg": "refused", "reason": "cross_origin", "issuer": s.op.Issuer},
		"SL-03 a session's end":       {"msg": "session ended", "cause": "signed_out", "session": nil},
		"SL-03 one that is elsewhere": {"msg": "session ended", "cause": "elsewhere", "session": nil},
		"SL-03 one by the provider":   {"msg": "session ended", "cause": "provider", "session": nil},
	} {
		s.wantEvent(name, want)
	}
	if strings.Contains(s.log.String(), "alice") {
		t.Error("SL-02: the log names the person")
	}
}

// wantEvent looks for a line with these attributes; nil stands for any value. Whatever
// happens in a request says so.
func (s *scriptedApp) wantEvent(name string, want map[string]any) {
	s.t.Helper()
	for _, line := range s.logged(want["msg"].(string), "") {
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
	s.t.Errorf("%s: the log has no line like %v", name, want)
}

// TestReferenceFindsTheStory (SL-05) greps for the reference of an error page, and then for
// the sign-in that ended there.
func TestReferenceFindsTheStory(t *testing.T) {
	t.Parallel()
	s := startScripted(t)
	s.op.Answer(scriptedop.Token, scriptedop.Status(500))
	v := s.visitor()
	got := v.callback(v.authorizationResponse("/login"))
	reference := got.Header.Get("X-Request-Id")
	if !strings.Contains(got.body, reference) {
		t.Fatalf("the page does not show its reference:\n%s", got.body)
	}
	var story []string
	var signIn string
	for _, line := range s.lines() {
		if line["request"] == reference {
			story = append(story, line["msg"].(string))
			if name, ok := line["sign_in"].(string); ok {
				signIn = name
			}
		}
	}
	if want := []string{"provider asked", "refused", "request answered"}; !slices.Equal(story, want) {
		t.Errorf("the story is %v, want %v\n%s", story, want, s.log)
	}
	if begun := s.logged("sign-in begun", ""); len(begun) != 1 || signIn == "" || begun[0]["sign_in"] != signIn {
		t.Errorf("its beginning is %v, want that of %q", begun, signIn)
	}
}

// TestClientGone has a person leave before their answer is there: it is nobody's failure.
func TestClientGone(t *testing.T) {
	t.Parallel()
	s := startScripted(t, "OPS_ADDR=127.0.0.1:0")
	v := s.visitor()
	s.signInNow(v)
	asked := make(chan struct{})
	s.op.Answer(scriptedop.UserInfo, func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		scriptedop.Hang(w, r)
	})
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-asked
		leave()
	}()
	r := v.request(http.MethodPost, "/profile/refresh", nil, "Sec-Fetch-Site", "same-origin").WithContext(ctx)
	if resp, err := v.client.Do(r); err == nil {
		resp.Body.Close()
		t.Fatalf("it is answered %d", resp.StatusCode)
	}
	await(t, "the request to be logged", func() bool { return s.log.count(`"path":"/profile/refresh"`) > 0 })
	for _, line := range s.logged("request answered", "") {
		if line["path"] == "/profile/refresh" && line["status"] != 499.0 {
			t.Errorf("it is logged as %v", line)
		}
	}
	if s.log.count(`"level":"WARN"`)+s.log.count(`"level":"ERROR"`) > 0 {
		t.Errorf("the log says\n%s", s.log)
	}
	for name, value := range s.operators().metrics() {
		if strings.HasPrefix(name, "latchkey_requests_refused_total") && value > 0 {
			t.Errorf("%s is %v", name, value)
		}
	}
}

// TestTrace follows a trace through a sign-in: the log names it, and each call to the
// provider is a part of it, under a name of its own.
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
			s := startScripted(t)
			v := s.visitor()
			response := v.authorizationResponse("/login")
			got := v.direct(v.request(http.MethodGet, response, nil, "Traceparent", tt.sent))
			s.wantSignedIn(v, got, "alice", "/dashboard")
			token, userInfo := s.op.Last(scriptedop.Token).Header.Get("Traceparent"), s.op.Last(scriptedop.UserInfo).Header.Get("Traceparent")
			for _, header := range []string{token, userInfo} {
				if !regexp.MustCompile(tt.passedOn).MatchString(header) || strings.Contains(header, caller) {
					t.Errorf("the provider is asked with traceparent %q", header)
				}
			}
			if token != "" && token == userInfo {
				t.Error("two calls have one name")
			}
			lines := s.logged("signed in", got.Header.Get("X-Request-Id"))
			if id, _ := lines[0]["trace_id"].(string); id != tt.logged {
				t.Errorf("the log has trace_id %q, want %q", id, tt.logged)
			}
		})
	}
}

// TestLogInjection (SL-04) has strangers' texts arrive in the log.
func TestLogInjection(t *testing.T) {
	t.Parallel()
	s := startScripted(t)
	v := s.visitor()
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
		got := v.direct(v.request(http.MethodGet, path, nil))
		lines := s.logged("request answered", got.Header.Get("X-Request-Id"))
		if len(lines) != 1 {
			t.Fatalf("SL-04 %s: %d lines", name, len(lines))
		}
		logged := lines[0]["path"].(string)
		if len(logged) > maxLogged+100 || strings.ContainsAny(logged, "\x1b\u009b\u202e\u2066\u2028\u200b\x00") {
			t.Errorf("SL-04 %s: the path is logged as %.80q, %d bytes", name, logged, len(logged))
		}
		if name == "a well-meant path" && logged != "/café" {
			t.Errorf("the twin: it is logged as %q", logged)
		}
	}
	if lines := s.logged("signed in", ""); len(lines) > 0 {
		t.Errorf("SL-04: a line was smuggled in: %v", lines)
	}
	if strings.ContainsAny(s.log.String(), "\x1b\u202e\u2066") {
		t.Error("SL-04: the log has control characters")
	}
}

// TestLogForms (SL-04) writes the same as JSON and as text.
func TestLogForms(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{"json": `"level":"WARN","msg":"told\\x1b[31m"`, "text": `level=WARN msg=told\x1b[31m`} {
		var out bytes.Buffer
		log := newLogger(&Config{LogFormat: format, LogLevel: "info"}, &out)
		log.Debug("not told")
		log.Warn("told\x1b[31m", "error", errors.New("of\u202ea stranger\n2nd"), slog.Group("group", "name", "\x1b"), "long", strings.Repeat("ä", maxLogged),
			"secret", authn.Secret("s3cret"), "took", time.Second)
		if got := out.String(); !strings.Contains(got, want) || strings.ContainsAny(got, "\x1b\u202e") || strings.Count(got, "\n") != 1 ||
			len(got) > 2*maxLogged || strings.Contains(got, "s3cret") || !strings.Contains(got, "bytes more") {
			t.Errorf("%s: %.400s", format, got)
		}
	}
}

// lines returns all lines of the log.
func (a *app) lines() (lines []map[string]any) {
	a.t.Helper()
	for line := range strings.Lines(a.log.String()) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			a.t.Fatalf("SL-04: %q is not a line of JSON: %v", line, err)
		}
		lines = append(lines, l)
	}
	return lines
}

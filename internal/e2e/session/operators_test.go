package session

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/internal/app"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// operatorsToken is an OPS_TOKEN.
const operatorsToken = "5d8e0c1f9b7a42638e1d0c5b4a392817"

// operated is a program with a port and an address for operators that its commands can find.
type operated struct {
	*apptest.Scripted
	env []string
}

func startOperated(t *testing.T, env ...string) operated {
	t.Helper()
	op := apptest.NewOP(t)
	env = append(append(apptest.Env(op), "PORT="+apptest.FreePort(t), "OPS_ADDR=127.0.0.1:"+apptest.FreePort(t), "OPS_TOKEN="+operatorsToken), env...)
	o := operated{apptest.StartBeside(t, op, env...), env}
	o.Await("/readyz", http.StatusOK)
	return o
}

// say runs a command beside the program and returns what it prints.
func (o operated) say(args ...string) (string, error) {
	o.T.Helper()
	var out bytes.Buffer
	err := app.Run(o.T.Context(), args, o.env, &out)
	return out.String(), err
}

// must does so for a command that succeeds.
func (o operated) must(args ...string) string {
	o.T.Helper()
	text, err := o.say(args...)
	if err != nil {
		o.T.Fatalf("%v: %v\n%s", args, err, o.Log)
	}
	return text
}

// signInAs returns a visitor who is signed in, and the name of their session in the log.
func (o operated) signInAs(subject string) (v *apptest.Visitor, session string) {
	o.T.Helper()
	o.OP.SignInAs(subject)
	v = o.Visitor()
	o.SignIn(v)
	lines := o.Logged("signed in", "")
	return v, lines[len(lines)-1]["session"].(string)
}

// TestOperatorsOfSeveralProviders (SE-19) ends the sessions of a subject at one of two providers, and then
// at any.
func TestOperatorsOfSeveralProviders(t *testing.T) {
	t.Parallel()
	ops := map[string]*scriptedop.Provider{"home": apptest.NewOP(t), "work": apptest.NewOP(t)}
	env := append(apptest.EnvOf(ops), "SESSION_STORE=memory", "PORT="+apptest.FreePort(t), "OPS_ADDR=127.0.0.1:"+apptest.FreePort(t), "OPS_TOKEN="+operatorsToken)
	s := apptest.StartSeveral(t, ops, env...)
	o := operated{&apptest.Scripted{App: s.App}, env}
	here, there := s.Visitor(), s.Visitor()
	s.SignIn(here, "home")
	s.SignIn(there, "work")
	if list := o.must("sessions", "list", "--subject", "alice"); !strings.Contains(list, "sessions: 2") {
		t.Errorf("the list is\n%s", list)
	}
	if list := o.must("sessions", "list", "--subject", "alice", "--issuer", ops["work"].Issuer); !strings.Contains(list, "sessions: 1") {
		t.Errorf("the list of one provider is\n%s", list)
	}
	if ended := o.must("sessions", "end", "--subject", "alice", "--issuer", ops["work"].Issuer); !strings.Contains(ended, "sessions ended: 1") || there.SignedIn() || !here.SignedIn() {
		t.Errorf("%s, and signed in are %t at work, %t at home", ended, there.SignedIn(), here.SignedIn())
	}
	if ended := o.must("sessions", "end", "--subject", "alice"); !strings.Contains(ended, "sessions ended: 1") || here.SignedIn() {
		t.Errorf("%s, and signed in at home: %t", ended, here.SignedIn())
	}
}

// TestOperatorsEndSessions lists and ends sessions with the commands, in every store: one session, a
// person's, and all of them. The open page and the next request say that an operator ended it, and the
// log says who.
func TestOperatorsEndSessions(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func(t *testing.T) string{
		"memory": func(*testing.T) string { return "memory" },
		"file":   func(*testing.T) string { return "file" },
		"redis":  func(t *testing.T) string { return apptest.StartRedis(t).URL },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := startOperated(t, "SESSION_STORE="+store(t))
			alice, one := o.signInAs("alice")
			alice2, two := o.signInAs("alice")
			bob, three := o.signInAs("bob")
			if list := o.must("sessions", "list"); !hasAll(list, "sessions: 3\n", one, two, three) || strings.Contains(list, "alice") {
				t.Errorf("the list is\n%s", list)
			}
			if list := o.must("sessions", "list", "--subject", "alice"); !hasAll(list, "sessions: 2\n", one, two) || strings.Contains(list, three) {
				t.Errorf("Alice's list is\n%s", list)
			}

			open := alice.Listen()
			open.Want("alive")
			if got := o.must("sessions", "end", "--session", one, "--by", "Grace on call"); got != "sessions ended: 1\n" {
				t.Errorf("ending one session prints %q", got)
			}
			if got := open.After("alive"); got.Name != "signed-out" || got.Data["because"] != "operator" {
				t.Errorf("the open page is told %v", got)
			}
			if page := alice.Get("/dashboard"); !strings.Contains(page.Body, "The operator of this app ended this session.") {
				t.Errorf("the next page is %s\n%s", page.Request.URL, page.Body)
			}
			if !alice2.SignedIn() || !bob.SignedIn() {
				t.Fatal("another session ended too")
			}
			if got := o.must("sessions", "end", "--subject=alice"); got != "sessions ended: 1\n" || alice2.SignedIn() || !bob.SignedIn() {
				t.Errorf("ending Alice's sessions prints %q", got)
			}
			if got := o.must("sessions", "end", "--all"); got != "sessions ended: 1\n" || bob.SignedIn() {
				t.Errorf("ending all sessions prints %q", got)
			}
			if got := o.must("sessions", "end", "--all"); got != "sessions ended: 0\n" {
				t.Errorf("ending none prints %q", got)
			}
			carol, _ := o.signInAs("carol")
			if !carol.SignedIn() {
				t.Error("nobody can sign in after it")
			}

			ended := o.Logged("session ended", "")
			if len(ended) != 3 {
				t.Fatalf("the log has %v", ended)
			}
			for i, session := range []string{one, two, three} {
				line := ended[i]
				who, _ := line["operator"].(string)
				if line["session"] != session || line["cause"] != "operator" || line["by"] != "operator" || (i == 0) != (who == "Grace on call") || who == "" || line["client"] != "127.0.0.1" {
					t.Errorf("the log says %v", line)
				}
			}
			if strings.Contains(o.Log.String(), operatorsToken) {
				t.Error("SL-01: the log has the token")
			}
			if strings.Contains(o.Log.String(), "alice") {
				t.Error("SL-02: the log names the person")
			}
			counted := o.Operators().Metrics()[`latchkey_sessions_ended_total{cause="operator"}`]
			if counted != 3 {
				t.Errorf("%v sessions are counted", counted)
			}
		})
	}
}

func hasAll(text string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

// TestOperatorRefusesASignInUnderWay ends a person's sessions after their ID token was issued, but before
// the callback. Another person's sign-in completes.
func TestOperatorRefusesASignInUnderWay(t *testing.T) {
	t.Parallel()
	o := startOperated(t)
	for subject, status := range map[string]int{"mallory": http.StatusUnauthorized, "alice": http.StatusSeeOther} {
		o.OP.SignInAs(subject)
		v := o.Visitor()
		response := v.AuthorizationResponse("/login")
		issued := time.Now().Unix()
		o.OP.EditIDToken(func(token *scriptedop.JWT) { token.Claims["iat"] = issued })
		o.must("sessions", "end", "--subject", "mallory")
		if got := v.Callback(response); got.StatusCode != status || v.SignedIn() != (status == http.StatusSeeOther) {
			t.Errorf("the sign-in of %s answers %d, signed in %t", subject, got.StatusCode, v.SignedIn())
		}
	}
}

// TestOperatorsKnowTheProvidersClock does so where the provider's clock is half a minute ahead.
func TestOperatorsKnowTheProvidersClock(t *testing.T) {
	t.Parallel()
	o := startOperated(t)
	const ahead = 30 * time.Second
	for _, e := range []scriptedop.Endpoint{scriptedop.Token, scriptedop.UserInfo} {
		o.OP.Answer(e, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
			o.OP.Correct(e)(w, r)
		})
	}
	o.signInAs("alice") // from the answers, the app learns of the clock
	o.OP.SignInAs("mallory")
	v := o.Visitor()
	response := v.AuthorizationResponse("/login")
	issued := time.Now().Add(ahead).Unix()
	o.OP.EditIDToken(func(token *scriptedop.JWT) { token.Claims["iat"] = issued })
	o.must("sessions", "end", "--subject", "mallory")
	if got := v.Callback(response); got.StatusCode != http.StatusUnauthorized || v.SignedIn() {
		t.Errorf("the sign-in answers %d, signed in %t", got.StatusCode, v.SignedIn())
	}
}

// TestOperatorsAddress asks the operators' address for what it must refuse.
func TestOperatorsAddress(t *testing.T) {
	t.Parallel()
	o := startOperated(t)
	v, session := o.signInAs("alice")
	operators := o.Operators()
	good := "Bearer " + operatorsToken
	for name, tt := range map[string]struct {
		method, path, form, authorization, by string
		status                                int
		reason                                string
	}{
		"no token":                   {"GET", "/sessions", "", "", "Grace", 401, "no_credentials"},
		"a wrong token":              {"GET", "/sessions", "", good + "0", "Grace", 401, "invalid_token"},
		"a wrong token, to end":      {"POST", "/sessions/end", "all=yes", "Bearer x", "Grace", 401, "invalid_token"},
		"another scheme":             {"GET", "/sessions", "", "Basic " + operatorsToken, "Grace", 401, "invalid_token"},
		"nobody's name":              {"POST", "/sessions/end", "all=yes", good, "", 400, "invalid_request"},
		"a name without end":         {"POST", "/sessions/end", "all=yes", good, strings.Repeat("x", 101), 400, "invalid_request"},
		"to end nothing":             {"POST", "/sessions/end", "", good, "Grace", 400, "bad_request"},
		"an empty subject":           {"POST", "/sessions/end", "subject=", good, "Grace", 400, "bad_request"},
		"a subject and all":          {"POST", "/sessions/end", "subject=bob&all=yes", good, "Grace", 400, "bad_request"},
		"an issuer and all":          {"POST", "/sessions/end", "issuer=x&all=yes", good, "Grace", 400, "bad_request"},
		"an issuer and a session":    {"POST", "/sessions/end", "issuer=x&session=y", good, "Grace", 400, "bad_request"},
		"an issuer of nobody":        {"POST", "/sessions/end", "subject=alice&issuer=" + url.QueryEscape(strings.TrimSuffix(o.Issuer, "/")), good, "Grace", 400, "bad_request"},
		"a list of nobody":           {"GET", "/sessions?subject=alice&issuer=https%3A%2F%2Felsewhere.example", "", good, "Grace", 400, "bad_request"},
		"an empty issuer":            {"POST", "/sessions/end", "subject=alice&issuer=", good, "Grace", 400, "bad_request"},
		"two subjects":               {"POST", "/sessions/end", "subject=alice&subject=bob", good, "Grace", 400, "bad_request"},
		"a list of an issuer":        {"GET", "/sessions?issuer=x", "", good, "Grace", 400, "bad_request"},
		"the query of another form":  {"POST", "/sessions/end?all=yes", "", good, "Grace", 400, "bad_request"},
		"to end with a link":         {"GET", "/sessions/end?all=yes", "", good, "Grace", 405, "method_not_allowed"},
		"a page that is not there":   {"GET", "/sessions/", "", good, "Grace", 404, "not_found"},
		"the twin: a list":           {"GET", "/sessions", "", "bearer " + operatorsToken, "Grace", 200, ""},
		"the twin: somebody unknown": {"POST", "/sessions/end", "subject=nobody", good, "Grace", 200, ""},
	} {
		r := operators.Raw(tt.method, tt.path, apptest.FormType, tt.form)
		r.Header.Set("Authorization", tt.authorization)
		r.Header.Set("X-Operator", tt.by)
		got := operators.Direct(r)
		if got.StatusCode != tt.status || got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: answered %d %s", name, got.StatusCode, got.Body)
		}
		lines := o.Logged("refused", got.Header.Get("X-Request-Id"))
		if tt.reason == "" && len(lines) > 0 || tt.reason != "" && (len(lines) != 1 || lines[0]["reason"] != tt.reason) {
			t.Errorf("%s: the log says %v", name, lines)
		}
	}
	if !v.SignedIn() {
		t.Fatalf("the session %s has ended", session)
	}
	// The app's own address does not have them.
	for _, path := range []string{"/sessions", "/sessions/end"} {
		r := v.Raw(http.MethodPost, path, apptest.FormType, "all=yes")
		r.Header.Set("Authorization", good)
		r.Header.Set("X-Operator", "Grace")
		if got := o.Visitor().Direct(r); got.StatusCode < 400 {
			t.Errorf("POST %s at the app's address: answered %d", path, got.StatusCode)
		}
	}

	without := apptest.StartScripted(t, "OPS_ADDR=127.0.0.1:0").Operators()
	for _, path := range []string{"/sessions", "/sessions/end"} {
		if got := without.Direct(without.Request(http.MethodPost, path, url.Values{"all": {"yes"}}, "Authorization", "Bearer ", "X-Operator", "Grace")); got.StatusCode != http.StatusNotFound {
			t.Errorf("without OPS_TOKEN, %s answers %d", path, got.StatusCode)
		}
	}
}

// TestSessionsCommandsFail runs the commands where they can do nothing.
func TestSessionsCommandsFail(t *testing.T) {
	t.Parallel()
	o := startOperated(t)
	o.signInAs("alice")
	elsewhere := append(o.env[:len(o.env):len(o.env)], "AUTH0_CALLBACK_URL=http://localhost:"+apptest.FreePort(t)+"/callback", "PORT=0")
	for name, tt := range map[string]struct {
		args []string
		env  []string
		want string
	}{
		"no selection":           {[]string{"sessions", "end"}, nil, "exactly one of"},
		"two selections":         {[]string{"sessions", "end", "--all", "--subject", "alice"}, nil, "exactly one of"},
		"an issuer of nobody":    {[]string{"sessions", "end", "--subject", "alice", "--issuer", "https://elsewhere.example"}, nil, "answers 400"},
		"all of one issuer":      {[]string{"sessions", "end", "--all", "--issuer", o.Issuer}, nil, "write --subject SUB, too"},
		"a list of one issuer":   {[]string{"sessions", "list", "--issuer", o.Issuer}, nil, "write --subject SUB, too"},
		"three selections":       {[]string{"sessions", "end", "--session", "a", "--subject", "alice", "--issuer", o.Issuer}, nil, "exactly one of"},
		"an empty subject":       {[]string{"sessions", "end", "--subject", ""}, nil, "write --subject SUB"},
		"a subject is missing":   {[]string{"sessions", "end", "--subject"}, nil, "write --subject SUB"},
		"a value for all":        {[]string{"sessions", "end", "--all=no"}, nil, "write --all"},
		"another's flag":         {[]string{"sessions", "list", "--all"}, nil, "does not take"},
		"half a command":         {[]string{"sessions"}, nil, "sessions list or sessions end"},
		"no token":               {[]string{"sessions", "list"}, append(o.env[:len(o.env):len(o.env)], "OPS_TOKEN="), "OPS_TOKEN is not set"},
		"another token":          {[]string{"sessions", "list"}, append(o.env[:len(o.env):len(o.env)], "OPS_TOKEN=b1946ac92492d2347c6235b4d2611184"), "has another one"},
		"an app that is another": {[]string{"sessions", "list"}, elsewhere, "another program answers"},
		"nobody there":           {[]string{"sessions", "end", "--all"}, append(o.env[:len(o.env):len(o.env)], "OPS_ADDR=127.0.0.1:"+apptest.FreePort(t)), "nothing answers"},
	} {
		o := o
		if tt.env != nil {
			o.env = tt.env
		}
		if got, err := o.say(tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) || got != "" || strings.Contains(err.Error(), operatorsToken) {
			t.Errorf("%s: error %v, printed %q", name, err, got)
		}
	}
	if list := o.must("sessions", "list"); !strings.Contains(list, "sessions: 1\n") {
		t.Errorf("the list is\n%s", list)
	}
}

// TestStoreIsDownForOperators stops Redis while an operator lists and ends sessions: each says so, and
// neither claims to be complete.
func TestStoreIsDownForOperators(t *testing.T) {
	t.Parallel()
	redis := apptest.StartRedis(t)
	o := startOperated(t, "SESSION_STORE="+redis.URL)
	v, _ := o.signInAs("alice")
	redis.Pause(t)
	for _, args := range [][]string{{"sessions", "list"}, {"sessions", "end", "--all"}, {"sessions", "end", "--subject", "alice"}} {
		if got, err := o.say(args...); err == nil || !strings.Contains(err.Error(), "answers 503") || strings.Contains(got, "ended") {
			t.Errorf("%v: error %v, printed %q", args, err, got)
		}
	}
	redis.Resume(t)
	apptest.Eventually(t, "the store answers", func() bool { return v.SignedIn() })
	if got := o.must("sessions", "end", "--all"); got != "sessions ended: 1\n" {
		t.Errorf("later it prints %q", got)
	}
}

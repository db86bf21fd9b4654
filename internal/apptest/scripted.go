package apptest

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/app"
	"latchkey/internal/scriptedop"
)

// Scripted is an app beside a provider that does what its test tells it to, and that signs
// people in without asking them anything.
type Scripted struct {
	*App
	OP *scriptedop.Provider
	// Assembled and Server are set by [Assemble] alone.
	Assembled *app.App
	Server    *httptest.Server
}

// StartScripted runs the program beside a scripted provider, and waits until it has discovered the
// provider and fetched its keys.
func StartScripted(t *testing.T, env ...string) *Scripted {
	t.Helper()
	s := StartBeside(t, NewOP(t), env...)
	Eventually(t, "the provider is discovered", func() bool { return s.Log.Count("provider discovered") > 0 })
	// The app fetches the keys in the background, which a test that counts calls must not see.
	Eventually(t, "the provider's keys are fetched", func() bool { return s.OP.Calls(scriptedop.JWKS) > 0 })
	return s
}

// NewOP starts a scripted provider for a program that has yet to start, so that a test can
// change first what the provider publishes. It signs with ES256, because making an RSA key
// takes longer than most tests.
func NewOP(t *testing.T) *scriptedop.Provider {
	t.Helper()
	return scriptedop.New(t, scriptedop.Config{Path: "/tenant/", Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}})
}

// StartBeside runs the program beside a scripted provider that is there already.
func StartBeside(t *testing.T, op *scriptedop.Provider, env ...string) *Scripted {
	t.Helper()
	return &Scripted{App: Start(t, append(Env(op), env...)...), OP: op}
}

// Env returns the variables that make the app a client of a scripted provider.
func Env(op *scriptedop.Provider) []string {
	return []string{
		"OIDC_ISSUER=" + op.Issuer, "AUTH0_CLIENT_ID=" + op.ClientID, "AUTH0_CLIENT_SECRET=" + op.ClientSecret, "ID_TOKEN_ALG=ES256",
	}
}

// SignIn signs a visitor in as the person that the provider names, and returns the
// dashboard.
func (s *Scripted) SignIn(v *Visitor) Answer {
	s.T.Helper()
	end := v.Get("/login")
	if end.StatusCode == http.StatusServiceUnavailable && end.Request.URL.Path == "/dashboard" {
		end = v.WhenAvailable(v.Request(http.MethodGet, "/dashboard", nil)) // the sign-in itself has succeeded
	}
	if end.StatusCode != http.StatusOK || end.Request.URL.Path != "/dashboard" {
		s.T.Fatalf("signing in ends at %s with %d\n%s", end.Request.URL.Path, end.StatusCode, s.Log)
	}
	return end
}

// WantSignedIn checks that a callback signed a person in and leads to a page.
func (s *Scripted) WantSignedIn(v *Visitor, got Answer, subject, page string) {
	s.T.Helper()
	if got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != page {
		s.T.Fatalf("answered %d to %q, want the way to %s\n%s", got.StatusCode, got.Header.Get("Location"), page, s.Log)
	}
	if dashboard := v.Direct(v.Request(http.MethodGet, "/dashboard", nil)); !strings.Contains(dashboard.Body, `&#34;sub&#34;: &#34;`+subject+`&#34;`) {
		s.T.Errorf("%s is not signed in: the dashboard is %d\n%s", subject, dashboard.StatusCode, dashboard.Body)
	}
	s.WantNoSecrets(got)
}

// WantRefused checks a refused sign-in: its status, page and log line, that nobody is signed
// in, that nothing secret is shown, and, if calls are given, how many times the token and the
// userinfo endpoint have been called until now.
func (s *Scripted) WantRefused(v *Visitor, got Answer, status int, reason openid.Reason, calls ...int) {
	s.T.Helper()
	if got.StatusCode != status {
		s.T.Fatalf("answered %d to %q, want %d\n%s", got.StatusCode, got.Header.Get("Location"), status, s.Log)
	}
	root := Parse(s.T, got.Body)
	again := Find(root, func(n *Node) bool {
		return n.Data == "a" && strings.HasPrefix(Attribute(n, "href"), "/login") && Text(n) == "Try again"
	})
	if again == nil {
		s.T.Errorf("the page does not offer to try again:\n%s", got.Body)
	}
	if lines := s.Logged("refused", got.Header.Get("X-Request-Id")); len(lines) != 1 || lines[0]["reason"] != string(reason) {
		s.T.Errorf("the log says %v, want one refusal for %q", lines, reason)
	}
	s.WantNoSession(v, got)
	if len(calls) > 0 {
		s.WantCalls(calls...)
	}
	s.WantNoSecrets(got)
}

// WantNoSession checks that an answer made no session.
func (s *Scripted) WantNoSession(v *Visitor, got Answer) {
	s.T.Helper()
	for _, cookie := range got.Cookies() {
		if cookie.Name == s.CookieName("session") && cookie.Value != "" {
			s.T.Error("the answer sets a session cookie")
		}
	}
	if v.SignedIn() {
		s.T.Error("the dashboard opens")
	}
}

// WantCalls checks how many times the token and the userinfo endpoint were called.
func (s *Scripted) WantCalls(calls ...int) {
	s.T.Helper()
	if got := []int{s.OP.Calls(scriptedop.Token), s.OP.Calls(scriptedop.UserInfo)}; !slices.Equal(got, calls) {
		s.T.Errorf("token and userinfo endpoint were called %v times, want %v", got, calls)
	}
	if n := s.OP.Calls(scriptedop.Other); n > 0 {
		s.T.Errorf("the provider was asked %d times for what it does not offer", n)
	}
}

// WantNoSecrets checks that neither the answer nor the log quotes a secret that the provider
// issued.
func (s *Scripted) WantNoSecrets(got Answer) {
	s.T.Helper()
	said := got.Body + got.Header.Get("Location") + s.Log.String()
	for _, secret := range s.OP.Secrets() {
		if strings.Contains(said, secret) {
			s.T.Errorf("%q is in the answer or the log:\n%s\n%s", secret, got.Body, s.Log)
		}
	}
}

// WantStreams waits until this many event streams are open.
func (s *Scripted) WantStreams(want int) {
	s.T.Helper()
	Eventually(s.T, strconv.Itoa(want)+" open streams", func() bool { return s.Assembled.Sessions.Watching() == want })
}

// HalfClosed sends a request to an app of [Assemble] over a connection whose sending side is closed
// after it, as `nc -N` and some proxies do, and returns the answer. The app answers only after the
// server has noticed, which is when it cancels the request's context.
func (s *Scripted) HalfClosed(req *http.Request) Answer {
	s.T.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body) // the server looks for the end only after the body
		if err != nil {
			s.T.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		<-r.Context().Done()
		s.Assembled.Handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		s.T.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		s.T.Fatal(err)
	}
	if err := req.Write(conn); err != nil {
		s.T.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		s.T.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		s.T.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.T.Fatal(err)
	}
	return Answer{resp, string(body)}
}

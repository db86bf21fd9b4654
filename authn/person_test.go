package authn_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// person is a person with a browser, which keeps cookies and does not follow redirects.
type person struct {
	t      *testing.T
	app    *app
	client *http.Client
}

func (a *app) person(t *testing.T) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &person{t: t, app: a, client: &http.Client{
		Jar: jar, Transport: a.Client().Transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is a response of the app.
type answer struct {
	status   int
	header   http.Header
	reason   openid.Reason // of a refusal
	text     string
	location string
}

func (b *person) do(r *http.Request, err error) answer {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{
		status: resp.StatusCode, header: resp.Header, text: string(body), location: resp.Header.Get("Location"),
		reason: openid.Reason(resp.Header.Get("Reason")),
	}
}

func (b *person) get(address string) answer {
	b.t.Helper()
	return b.do(http.NewRequestWithContext(b.t.Context(), http.MethodGet, address, nil))
}

func (b *person) post(address string, form url.Values) answer {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	if err == nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return b.do(r, err)
}

// cookieHeader returns the Cookie header that the browser would send to the app.
func (b *person) cookieHeader() string {
	b.t.Helper()
	address, err := url.Parse(b.app.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	var pairs []string
	for _, c := range b.client.Jar.Cookies(address) {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}

// withCookies sends the given Cookie header, and does not keep the response's cookies.
func (b *person) withCookies(cookies, address string) answer {
	b.t.Helper()
	bare := *b
	bare.client = &http.Client{Transport: b.client.Transport, CheckRedirect: b.client.CheckRedirect}
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, address, nil)
	if err == nil {
		r.Header.Set("Cookie", cookies)
	}
	return bare.do(r, err)
}

// begin starts a sign-in and returns the authorization request.
func (b *person) begin(query string) string {
	b.t.Helper()
	got := b.get(b.app.URL + "/login?" + query)
	if got.status != http.StatusSeeOther {
		b.t.Fatalf("GET /login: %d %s", got.status, got.text)
	}
	return got.location
}

// authorize has the provider answer an authorization request, and returns the callback that
// it redirects the browser to.
func (b *person) authorize(request string) string {
	b.t.Helper()
	got := b.get(request)
	if got.status != http.StatusSeeOther {
		b.t.Fatalf("authorization request: %d %s", got.status, got.text)
	}
	return got.location
}

// signIn completes a sign-in, and returns the answer to the callback.
func (b *person) signIn() answer {
	b.t.Helper()
	return b.get(b.authorize(b.begin("")))
}

// signOutByProvider sends a logout token to the app, as the provider does.
func (b *person) signOutByProvider(token *scriptedop.JWT) answer {
	b.t.Helper()
	return b.post(b.app.URL+"/backchannel-logout", url.Values{"logout_token": {token.Compact()}})
}

// who returns who is signed in. The zero who means nobody.
func (b *person) who() (w who) {
	b.t.Helper()
	got := b.get(b.app.URL + "/me")
	if got.status == http.StatusOK {
		if err := json.Unmarshal([]byte(got.text), &w); err != nil {
			b.t.Fatal(err)
		}
	}
	return w
}

// wantSignedIn checks that a callback signed a person in.
func (b *person) wantSignedIn(got answer, subject string) {
	b.t.Helper()
	if got.status != http.StatusSeeOther {
		b.t.Fatalf("refused: %s", got.text)
	}
	if who := b.who(); who.Subject != subject {
		b.t.Errorf("%q is signed in, want %q", who.Subject, subject)
	}
	b.wantNoSecrets(got)
}

// wantRefused checks that a callback was refused, and that the refusal leaves no session
// and quotes no secret in the response or the log. calls are the total numbers of requests
// that the token and userinfo endpoints may have received.
func (b *person) wantRefused(got answer, reason openid.Reason, calls ...int) {
	b.t.Helper()
	if got.status == http.StatusSeeOther || got.reason != reason {
		b.t.Fatalf("answered %d, reason %q, want a refusal for %q\n%s", got.status, got.reason, reason, got.text)
	}
	for _, cookie := range got.header.Values("Set-Cookie") {
		if name, value, _ := strings.Cut(strings.TrimPrefix(cookie, "__Host-"), "="); name == "session" || strings.HasPrefix(name, "session_") {
			b.t.Errorf("the refusal sets a session cookie: %q", value)
		}
	}
	if who := b.who(); who.Subject != "" {
		b.t.Errorf("after the refusal %q is signed in", who.Subject)
	}
	b.wantCalls(calls...)
	b.wantNoSecrets(got)
}

// wantNoLogin checks that a login does not start, and why.
func (b *person) wantNoLogin(reason openid.Reason) answer {
	b.t.Helper()
	got := b.get(b.app.URL + "/login?return_to=/orders")
	b.wantRefused(got, reason, 0, 0)
	if got.location != "" || len(got.header["Set-Cookie"]) > 0 || got.header.Get("Return-To") != "/orders" {
		b.t.Errorf("redirected to %q with cookies %q and return path %q", got.location, got.header["Set-Cookie"], got.header.Get("Return-To"))
	}
	if err := b.app.provider.Ready(); openid.ReasonOf(err) != reason {
		b.t.Errorf("readiness is %v, want %q", err, reason)
	}
	if n := b.app.op.Calls(scriptedop.JWKS); n > 0 {
		b.t.Errorf("the key set was fetched %d times", n)
	}
	return got
}

// wantCalls checks how often the token and userinfo endpoints were called.
func (b *person) wantCalls(calls ...int) {
	b.t.Helper()
	got := []int{b.app.op.Calls(scriptedop.Token), b.app.op.Calls(scriptedop.UserInfo)}
	if !slices.Equal(got, calls) {
		b.t.Errorf("token and userinfo endpoint were called %v times, want %v", got, calls)
	}
	if n := b.app.op.Calls(scriptedop.Other); n > 0 {
		b.t.Errorf("the provider received %d requests for paths that it does not have", n)
	}
}

// wantNoSecrets checks that neither the answer nor the log quotes a secret from the
// provider.
func (b *person) wantNoSecrets(got answer) {
	b.t.Helper()
	logged := b.app.log.String()
	for _, secret := range b.app.op.Secrets() {
		if strings.Contains(got.text, secret) || strings.Contains(logged, secret) || strings.Contains(got.location, secret) {
			b.t.Errorf("%q is quoted in the answer or the log:\n%s\n%s", secret, got.text, logged)
		}
	}
}

// change returns a copy of a URL with some query parameters replaced. An empty value
// removes a parameter.
func change(t testing.TB, address string, parameters ...string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	for i := 0; i+1 < len(parameters); i += 2 {
		if query.Del(parameters[i]); parameters[i+1] != "" {
			query.Set(parameters[i], parameters[i+1])
		}
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// localPath parses a return path that must be valid.
func localPath(t testing.TB, raw string) authn.ReturnPath {
	t.Helper()
	p, ok := authn.ParseReturnPath(raw)
	if !ok {
		t.Fatalf("%q is not a return path", raw)
	}
	return p
}

// without returns an edit of metadata that removes a field.
func without(field string) func(map[string]any) {
	return func(m map[string]any) { delete(m, field) }
}

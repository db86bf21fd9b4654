package app

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

const formType = "application/x-www-form-urlencoded"

// startFormPost runs the program on https, with authorization responses by POST, and
// returns a visitor that trusts it.
func startFormPost(t *testing.T) (*scriptedApp, *visitor) {
	t.Helper()
	certFile, keyFile := writeCertificate(t)
	port := freePort(t)
	s := startScripted(t, "PORT="+port, "AUTH0_CALLBACK_URL=https://localhost:"+port+"/callback",
		"TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile, "RESPONSE_MODE=form_post")
	v := s.visitor()
	v.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the certificate is this test's own
	return s, v
}

// responseForm is the form that the provider's page posts.
func (v *visitor) responseForm(from string) url.Values {
	v.t.Helper()
	page := v.direct(v.request(http.MethodGet, v.authorizationRequest(from), nil))
	form := url.Values{}
	for n := range parse(v.t, page.body).Descendants() {
		if n.Data == "input" {
			form.Set(attribute(n, "name"), attribute(n, "value"))
		}
	}
	if form.Get("code") == "" {
		v.t.Fatalf("the provider answers %d\n%s", page.StatusCode, page.body)
	}
	return form
}

// TestFormPost (CB-10, CB-12, CB-13) brings the response in every form but the right
// one, which uses nothing up, and then in that.
func TestFormPost(t *testing.T) {
	t.Parallel()
	s, v := startFormPost(t)
	form := v.responseForm("/profile")
	asJSON := `{"code":"` + form.Get("code") + `","state":"` + form.Get("state") + `"}`
	multipart := "--x\r\nContent-Disposition: form-data; name=\"code\"\r\n\r\n" + form.Get("code") + "\r\n--x--\r\n"
	for name, tt := range map[string]struct {
		answer answer
		status int
		reason string
	}{
		"CB-13 JSON":                   {v.send("/callback", "application/json", asJSON), http.StatusUnsupportedMediaType, "unsupported_media_type"},
		"CB-13 text":                   {v.send("/callback", "text/plain", form.Encode()), http.StatusUnsupportedMediaType, "unsupported_media_type"},
		"CB-13 multipart":              {v.send("/callback", "multipart/form-data; boundary=x", multipart), http.StatusUnsupportedMediaType, "unsupported_media_type"},
		"CB-13 no type":                {v.send("/callback", "", form.Encode()), http.StatusUnsupportedMediaType, "unsupported_media_type"},
		"CB-12 GET":                    {v.callback("/callback?" + form.Encode()), http.StatusBadRequest, string(authn.ReasonResponseMalformed)},
		"CB-10 all in the query":       {v.send("/callback?"+form.Encode(), formType, ""), http.StatusBadRequest, string(authn.ReasonResponseMalformed)},
		"CB-10 the state in the query": {v.send("/callback?state="+form.Get("state"), formType, "code="+form.Get("code")), http.StatusBadRequest, string(authn.ReasonResponseMalformed)},
		"CB-10 something in the query": {v.send("/callback?state=bad", formType, form.Encode()), http.StatusBadRequest, string(authn.ReasonResponseMalformed)},
		"CB-10 the state twice":        {v.send("/callback", formType, form.Encode()+"&state=bad"), http.StatusBadRequest, string(authn.ReasonResponseMalformed)},
		"CB-13 no form at all":         {v.send("/callback", formType, "%zz"), http.StatusBadRequest, "bad_request"},
	} {
		if tt.answer.StatusCode != tt.status || len(tt.answer.Cookies()) > 0 {
			t.Errorf("%s: answered %d with cookies %v", name, tt.answer.StatusCode, tt.answer.Cookies())
		}
		if lines := s.logged("refused", tt.answer.Header.Get("X-Request-Id")); len(lines) != 1 || lines[0]["reason"] != tt.reason {
			t.Errorf("%s: the log says %v", name, lines)
		}
		s.wantNoSession(v, tt.answer)
	}
	for _, method := range []string{http.MethodHead, http.MethodPut, http.MethodOptions} {
		if got := v.direct(v.request(method, "/callback", form)); got.StatusCode != http.StatusMethodNotAllowed || len(got.Cookies()) > 0 {
			t.Errorf("CB-12: %s is answered with %d", method, got.StatusCode)
		}
	}
	s.wantCalls(0, 0)

	form.Set("session_state", "what the state of the transaction does not know")
	got := v.send("/callback", formType, form.Encode())
	s.wantSignedIn(v, got, "alice", "/profile")
	s.wantCalls(1, 1)
}

// TestFormPostCookies (CB-13) tells the transaction's cookie, which must come along with
// the provider's POST, from all others.
func TestFormPostCookies(t *testing.T) {
	t.Parallel()
	s, v := startFormPost(t)
	begun := v.direct(v.request(http.MethodGet, "/login", nil))
	page := v.direct(v.request(http.MethodGet, begun.Header.Get("Location"), nil))
	if asked := query(t, begun.Header.Get("Location")); asked.Get("response_mode") != "form_post" {
		t.Errorf("AR-01: the response mode is %q", asked.Get("response_mode"))
	}
	form := url.Values{}
	for n := range parse(t, page.body).Descendants() {
		if n.Data == "input" {
			form.Set(attribute(n, "name"), attribute(n, "value"))
		}
	}
	done := v.send("/callback", formType, form.Encode())
	s.wantSignedIn(v, done, "alice", "/dashboard")
	out := v.post("/logout", nil)
	seen := map[string]bool{}
	for _, got := range []answer{begun, done, out} {
		for _, cookie := range got.Cookies() {
			kind := strings.TrimPrefix(cookie.Name, "__Host-")
			if strings.HasPrefix(kind, "txn_") {
				kind = "txn"
			}
			seen[kind] = true
			want := http.SameSiteLaxMode
			if kind == "txn" {
				want = http.SameSiteNoneMode
			}
			if cookie.SameSite != want || !cookie.Secure || !cookie.HttpOnly || !strings.HasPrefix(cookie.Name, "__Host-") {
				t.Errorf("the cookie is %s", cookie.Raw)
			}
		}
	}
	if !seen["txn"] || !seen["session"] {
		t.Errorf("the cookies are those of %v", seen)
	}
}

// TestFormPostOfAnotherBrowser (CB-02, CB-08) posts to a person what somebody else began.
func TestFormPostOfAnotherBrowser(t *testing.T) {
	t.Parallel()
	s, attacker := startFormPost(t)
	attackers := attacker.responseForm("/login")
	for name, form := range map[string]url.Values{
		"CB-02 a code":   attackers,
		"CB-08 an error": {"state": attackers["state"], "iss": attackers["iss"], "error": {"access_denied"}},
	} {
		victim := s.visitor()
		victim.client.Transport = attacker.client.Transport
		own := victim.responseForm("/profile")
		got := victim.send("/callback", formType, form.Encode())
		s.wantNoSession(victim, got)
		s.wantNoSecrets(got)
		if strings.Contains(got.body, "cancelled") {
			t.Errorf("%s: the error is believed", name)
		}
		before := s.op.Calls(scriptedop.Token)
		s.wantSignedIn(victim, victim.send("/callback", formType, own.Encode()), "alice", "/profile")
		if n := s.op.Calls(scriptedop.Token) - before; n != 1 {
			t.Errorf("%s: the token endpoint was called %d times for its own", name, n)
		}
	}
}

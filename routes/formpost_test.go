package routes_test

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// startFormPost runs the program on https with form_post, and returns a visitor that trusts
// its certificate.
func startFormPost(t *testing.T) (*apptest.Scripted, *apptest.Visitor) {
	t.Helper()
	certFile, keyFile := apptest.WriteCertificate(t)
	port := apptest.FreePort(t)
	s := apptest.StartScripted(t, "PORT="+port, "AUTH0_CALLBACK_URL=https://localhost:"+port+"/callback",
		"TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile, "RESPONSE_MODE=form_post")
	v := s.Visitor()
	v.Client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the certificate is this test's own
	return s, v
}

// responseForm returns the form that the provider's page posts.
func responseForm(v *apptest.Visitor, from string) url.Values {
	v.T.Helper()
	page := v.Direct(v.Request(http.MethodGet, v.AuthorizationRequest(from), nil))
	form := url.Values{}
	for n := range apptest.Parse(v.T, page.Body).Descendants() {
		if n.Data == "input" {
			form.Set(apptest.Attribute(n, "name"), apptest.Attribute(n, "value"))
		}
	}
	if form.Get("code") == "" {
		v.T.Fatalf("the provider answers %d\n%s", page.StatusCode, page.Body)
	}
	return form
}

// TestFormPost (CB-10, CB-12, CB-13) sends the response in every wrong form, which uses
// nothing up, and then in the right one.
func TestFormPost(t *testing.T) {
	t.Parallel()
	s, v := startFormPost(t)
	form := responseForm(v, "/profile")
	asJSON := `{"code":"` + form.Get("code") + `","state":"` + form.Get("state") + `"}`
	multipart := "--x\r\nContent-Disposition: form-data; name=\"code\"\r\n\r\n" + form.Get("code") + "\r\n--x--\r\n"
	for name, tt := range map[string]struct {
		answer apptest.Answer
		status int
		reason string
	}{
		"CB-13 JSON":                   {v.Send("/callback", "application/json", asJSON), http.StatusUnsupportedMediaType, "unsupported_media_type"},
		"CB-13 text":                   {v.Send("/callback", "text/plain", form.Encode()), http.StatusUnsupportedMediaType, "unsupported_media_type"},
		"CB-13 multipart":              {v.Send("/callback", "multipart/form-data; boundary=x", multipart), http.StatusUnsupportedMediaType, "unsupported_media_type"},
		"CB-13 no type":                {v.Send("/callback", "", form.Encode()), http.StatusUnsupportedMediaType, "unsupported_media_type"},
		"CB-12 GET":                    {v.Callback("/callback?" + form.Encode()), http.StatusBadRequest, string(openid.ReasonResponseMalformed)},
		"CB-10 all in the query":       {v.Send("/callback?"+form.Encode(), apptest.FormType, ""), http.StatusBadRequest, string(openid.ReasonResponseMalformed)},
		"CB-10 the state in the query": {v.Send("/callback?state="+form.Get("state"), apptest.FormType, "code="+form.Get("code")), http.StatusBadRequest, string(openid.ReasonResponseMalformed)},
		"CB-10 something in the query": {v.Send("/callback?state=bad", apptest.FormType, form.Encode()), http.StatusBadRequest, string(openid.ReasonResponseMalformed)},
		"CB-10 the state twice":        {v.Send("/callback", apptest.FormType, form.Encode()+"&state=bad"), http.StatusBadRequest, string(openid.ReasonResponseMalformed)},
		"CB-13 no form at all":         {v.Send("/callback", apptest.FormType, "%zz"), http.StatusBadRequest, "bad_request"},
	} {
		if tt.answer.StatusCode != tt.status || len(tt.answer.Cookies()) > 0 {
			t.Errorf("%s: answered %d with cookies %v", name, tt.answer.StatusCode, tt.answer.Cookies())
		}
		if lines := s.Logged("refused", tt.answer.Header.Get("X-Request-Id")); len(lines) != 1 || lines[0]["reason"] != tt.reason {
			t.Errorf("%s: the log says %v", name, lines)
		}
		s.WantNoSession(v, tt.answer)
	}
	for _, method := range []string{http.MethodHead, http.MethodPut, http.MethodOptions} {
		if got := v.Direct(v.Request(method, "/callback", form)); got.StatusCode != http.StatusMethodNotAllowed || len(got.Cookies()) > 0 {
			t.Errorf("CB-12: %s is answered with %d", method, got.StatusCode)
		}
	}
	s.WantCalls(0, 0)

	form.Set("session_state", "what the state of the transaction does not know")
	got := v.Send("/callback", apptest.FormType, form.Encode())
	s.WantSignedIn(v, got, "alice", "/profile")
	s.WantCalls(1, 1)
}

// TestFormPostStartsAgainOnce (CB-21) posts each form without cookies, as browsers do that do not know
// SameSite=None. The sign-in starts again, but not for ever.
func TestFormPostStartsAgainOnce(t *testing.T) {
	t.Parallel()
	s, v := startFormPost(t)
	post := func(form url.Values) apptest.Answer {
		without := s.Visitor()
		without.Client.Transport = v.Client.Transport
		got := without.Send("/callback", apptest.FormType, form.Encode())
		v.Client.Jar.SetCookies(got.Request.URL, got.Cookies())
		return got
	}
	const again = "/login?again=1&return_to=%2Fprofile"
	if got := post(responseForm(v, "/profile")); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != again {
		t.Fatalf("answered %d to %q, want the way to %s", got.StatusCode, got.Header.Get("Location"), again)
	}
	s.WantRefused(v, post(responseForm(v, again)), http.StatusBadRequest, authn.ReasonTransactionMissing, 0, 0)
}

// TestFormPostOfOneOfSeveral (CB-13, CB-24) has a provider with form_post beside one without: each
// callback accepts the responses of its own provider in its own response mode.
func TestFormPostOfOneOfSeveral(t *testing.T) {
	t.Parallel()
	certFile, keyFile := apptest.WriteCertificate(t)
	port := apptest.FreePort(t)
	ops := map[string]*scriptedop.Provider{"posts": apptest.NewOP(t), "redirects": apptest.NewOP(t)}
	s := apptest.StartSeveral(t, ops, "SESSION_STORE=memory", "PORT="+port, "AUTH0_CALLBACK_URL=https://localhost:"+port+"/callback",
		"TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile, "POSTS_RESPONSE_MODE=form_post")
	newVisitor := func() *apptest.Visitor {
		v := s.Visitor()
		v.Client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the certificate is this test's own
		return v
	}
	v := newVisitor()
	form := url.Values{}
	page := v.Direct(v.Request(http.MethodGet, s.AuthorizationRequest(v, "posts"), nil))
	for n := range apptest.Parse(t, page.Body).Descendants() {
		if n.Data == "input" {
			form.Set(apptest.Attribute(n, "name"), apptest.Attribute(n, "value"))
		}
	}
	if got := v.Send("/callback/redirects", apptest.FormType, form.Encode()); got.StatusCode != http.StatusForbidden && got.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a form at the callback of the other provider is answered %d", got.StatusCode)
	}
	if got := v.Callback("/callback/posts?" + form.Encode()); got.StatusCode != http.StatusBadRequest || v.SignedIn() {
		t.Errorf("a query at a callback for forms is answered %d", got.StatusCode)
	}
	if got := v.Send("/callback/posts", apptest.FormType, form.Encode()); got.StatusCode != http.StatusSeeOther || !v.SignedIn() {
		t.Errorf("the form is answered %d\n%s", got.StatusCode, s.Log)
	}
	v = newVisitor()
	if got := v.Callback(s.AuthorizationResponse(v, "redirects")); got.StatusCode != http.StatusSeeOther || !v.SignedIn() {
		t.Errorf("the redirect is answered %d\n%s", got.StatusCode, s.Log)
	}
}

// TestFormPostCookies (CB-13) checks that only the transaction's cookie is sent with the
// provider's POST.
func TestFormPostCookies(t *testing.T) {
	t.Parallel()
	s, v := startFormPost(t)
	begun := v.Direct(v.Request(http.MethodGet, "/login", nil))
	page := v.Direct(v.Request(http.MethodGet, begun.Header.Get("Location"), nil))
	if asked := apptest.Query(t, begun.Header.Get("Location")); asked.Get("response_mode") != "form_post" {
		t.Errorf("AR-01: the response mode is %q", asked.Get("response_mode"))
	}
	form := url.Values{}
	for n := range apptest.Parse(t, page.Body).Descendants() {
		if n.Data == "input" {
			form.Set(apptest.Attribute(n, "name"), apptest.Attribute(n, "value"))
		}
	}
	done := v.Send("/callback", apptest.FormType, form.Encode())
	s.WantSignedIn(v, done, "alice", "/dashboard")
	out := v.Post("/logout", nil)
	seen := map[string]bool{}
	for _, got := range []apptest.Answer{begun, done, out} {
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

// TestFormPostOfAnotherBrowser (CB-02, CB-08) posts the response to a sign-in that another
// browser began.
func TestFormPostOfAnotherBrowser(t *testing.T) {
	t.Parallel()
	s, attacker := startFormPost(t)
	attackers := responseForm(attacker, "/login")
	for name, form := range map[string]url.Values{
		"CB-02 a code":   attackers,
		"CB-08 an error": {"state": attackers["state"], "iss": attackers["iss"], "error": {"access_denied"}},
	} {
		victim := s.Visitor()
		victim.Client.Transport = attacker.Client.Transport
		own := responseForm(victim, "/profile")
		got := victim.Send("/callback", apptest.FormType, form.Encode())
		s.WantNoSession(victim, got)
		s.WantNoSecrets(got)
		if strings.Contains(got.Body, "cancelled") {
			t.Errorf("%s: the error is believed", name)
		}
		before := s.OP.Calls(scriptedop.Token)
		s.WantSignedIn(victim, victim.Send("/callback", apptest.FormType, own.Encode()), "alice", "/profile")
		if n := s.OP.Calls(scriptedop.Token) - before; n != 1 {
			t.Errorf("%s: the token endpoint was called %d times for its own", name, n)
		}
	}
}

// TestHTTPS (CK-01, HB-07, CB-13) serves HTTPS and takes the response by POST.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	certFile, keyFile := apptest.WriteCertificate(t)
	a := apptest.StartHTTPS(t, certFile, keyFile, "RESPONSE_MODE=form_post")
	v := a.Visitor()
	v.Client.Transport = &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the certificate is this test's own
		ForceAttemptHTTP2: true,
	}
	home := v.Get("/")
	if home.Header.Get("Strict-Transport-Security") == "" || home.ProtoMajor != 2 {
		t.Errorf("HB-07: no HSTS, or HTTP/%d", home.ProtoMajor)
	}
	begun := v.Direct(v.Request(http.MethodGet, "/login", nil))
	if cookie := begun.Header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "__Host-txn_") || !strings.Contains(cookie, "SameSite=None") {
		t.Errorf("CB-13: the transaction cookie is %.20s…", cookie)
	}
	page := v.Press(v.Get("/login"), "person-"+apptest.Ada)
	form := apptest.Find(apptest.Parse(t, page.Body), func(n *apptest.Node) bool {
		return n.Data == "form" && apptest.Attribute(n, "action") == a.URL+"/callback"
	})
	if form == nil {
		t.Fatalf("the provider does not answer by form_post:\n%s", page.Body)
	}
	values := url.Values{}
	for n := range form.Descendants() {
		if n.Data == "input" {
			values.Set(apptest.Attribute(n, "name"), apptest.Attribute(n, "value"))
		}
	}
	// A browser sends it from the provider's page, so it is cross-site.
	done := v.Direct(v.Request(http.MethodPost, "/callback", values, "Sec-Fetch-Site", "cross-site", "Origin", a.Issuer))
	if done.StatusCode != http.StatusSeeOther {
		t.Fatalf("the callback answers %d:\n%s", done.StatusCode, done.Body)
	}
	session := ""
	for _, cookie := range done.Header.Values("Set-Cookie") {
		if strings.HasPrefix(cookie, "__Host-session=") {
			session = cookie
		}
	}
	for _, want := range []string{"Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age="} {
		if !strings.Contains(session, want) {
			t.Errorf("CK-01: the session cookie lacks %s", want)
		}
	}
	if strings.Contains(session, "Domain") {
		t.Error("CK-01: the session cookie has a domain")
	}
	if dashboard := v.Get("/dashboard"); dashboard.StatusCode != http.StatusOK || dashboard.Request.URL.Path != "/dashboard" {
		t.Errorf("the dashboard is %d at %s", dashboard.StatusCode, dashboard.Request.URL)
	}
	if got := v.Direct(v.Request(http.MethodGet, "/callback?state=x&code=y", nil)); got.StatusCode != http.StatusSeeOther && got.StatusCode != http.StatusBadRequest {
		t.Errorf("CB-12: a GET of the callback answers %d", got.StatusCode)
	}
}

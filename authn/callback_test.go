package authn_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

func TestCallbackAccepted(t *testing.T) {
	t.Parallel()
	t.Run("CB-20 the answer leads on and says nothing else", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		got := b.get(b.authorize(b.begin("return_to=/orders")))
		b.wantSignedIn(got, "alice")
		b.wantCalls(1, 1)
		if got.location != "/orders" || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("sent to %q, Cache-Control %q", got.location, got.header.Get("Cache-Control"))
		}
	})
}

// TestCodeInjection sends a victim's code in the attacker's own transaction.
func TestCodeInjection(t *testing.T) {
	t.Parallel()
	inject := func(t *testing.T, a *app, victimsRequest func(string) string) (*person, answer) {
		victim, attacker := a.person(t), a.person(t)
		code := scriptedop.Query(t, victim.authorize(victimsRequest(victim.begin("")))).Get("code")
		callback := attacker.authorize(attacker.begin(""))
		return attacker, attacker.get(change(t, callback, "code", code))
	}
	t.Run("CB-03 the provider checks the verifier", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b, got := inject(t, a, func(request string) string { return request })
		b.wantRefused(got, openid.ReasonTokenRequestFailed, 1, 0)
	})
	t.Run("CB-03 the provider does not: the nonce tells", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		a.op.Answer(scriptedop.Token, func(w http.ResponseWriter, r *http.Request) {
			r.PostForm.Del("code_verifier")
			a.op.Correct(scriptedop.Token)(w, r)
		})
		b, got := inject(t, a, func(request string) string { return change(t, request, "code_challenge", "") })
		b.wantRefused(got, openid.ReasonIDTokenInvalid, 1, 0)
	})
}

func TestResponseIssuer(t *testing.T) {
	t.Parallel()
	const absent = "\x00"
	for name, tt := range map[string]struct {
		iss       func(issuer string) string
		unlisted  bool
		isFailure bool
		accepted  bool
	}{
		"CB-07 the issuer":                       {iss: same, accepted: true},
		"CB-07 the issuer, not announced":        {iss: same, unlisted: true, accepted: true},
		"CB-07 missing, not announced":           {iss: always(absent), unlisted: true, accepted: true},
		"CB-07 missing":                          {iss: always(absent)},
		"CB-07 missing on an error":              {iss: always(absent), isFailure: true},
		"CB-07 empty":                            {iss: always("")},
		"CB-07 empty, not announced":             {iss: always(""), unlisted: true},
		"CB-07 another":                          {iss: always("https://evil.example")},
		"CB-07 another, not announced":           {iss: always("https://evil.example"), unlisted: true},
		"CB-07 another on an error":              {iss: always("https://evil.example"), isFailure: true},
		"CB-07 with another slash":               {iss: func(s string) string { return s + "/" }},
		"CB-07 without its slash":                {iss: func(s string) string { return strings.TrimSuffix(s, "/") }},
		"CB-07 in another case":                  {iss: func(s string) string { return strings.Replace(s, "http", "HTTP", 1) }},
		"CB-07 in another case, in the path":     {iss: func(s string) string { return strings.Replace(s, "tenant", "Tenant", 1) }},
		"CB-07 encoded twice":                    {iss: url.QueryEscape},
		"CB-07 with a space":                     {iss: func(s string) string { return s + " " }},
		"CB-07 with the port of another service": {iss: func(s string) string { return strings.Replace(s, "/tenant", "1/tenant", 1) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{op: scriptedop.Config{Path: "/tenant/"}})
			if tt.unlisted {
				a.op.Edit(scriptedop.Discovery, func(m map[string]any) {
					delete(m, "authorization_response_iss_parameter_supported")
				})
			}
			b := a.person(t)
			callback, err := url.Parse(b.authorize(b.begin("")))
			if err != nil {
				t.Fatal(err)
			}
			response := callback.Query()
			if response["iss"] = []string{tt.iss(a.op.Issuer)}; response.Get("iss") == absent {
				response.Del("iss")
			}
			if tt.isFailure {
				response.Del("code")
				response.Set("error", "access_denied")
			}
			callback.RawQuery = response.Encode()
			got := b.get(callback.String())
			if tt.accepted {
				b.wantSignedIn(got, "alice")
				return
			}
			b.wantRefused(got, openid.ReasonIssuerMismatch, 0, 0)
		})
	}
}

func same(s string) string                { return s }
func always(s string) func(string) string { return func(string) string { return s } }

func TestErrorResponse(t *testing.T) {
	t.Parallel()
	t.Run("CB-08 of no transaction", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		request := b.begin("")
		other := scriptedop.Query(t, a.person(t).begin("")).Get("state")
		b.wantRefused(b.get(a.URL+"/callback?error=access_denied"), authn.ReasonTransactionMissing, 0, 0)
		got := b.get(a.URL + "/callback?error=access_denied&state=" + other)
		b.wantRefused(got, authn.ReasonTransactionMissing, 0, 0)
		if strings.Contains(got.text, "access_denied") {
			t.Errorf("an error without a transaction is accepted: %s", got.text)
		}
		b.wantSignedIn(b.get(b.authorize(request)), "alice")
	})
	const long = 64 << 10
	for name, tt := range map[string]struct{ code, description, uri, want, said string }{
		"CB-08 declined":                        {"access_denied", "", "", "access_denied", ""},
		"AR-16 nobody is signed in there":       {"login_required", "", "", "login_required", ""},
		"CB-09 Auth0, of a blocked account":     {"unauthorized", "user is blocked", "", "unauthorized", "user is blocked"},
		"CB-09 not in ASCII":                    {"access_denied", "Zugriff für „Ada“ verweigert", "", "access_denied", "Zugriff für „Ada“ verweigert"},
		"CB-09 an address":                      {"access_denied", "no", "javascript:MARK", "access_denied", "no"},
		"CB-09 a long description":              {"access_denied", strings.Repeat("é", long/2), "", "access_denied", strings.Repeat("é", 256) + "…"},
		"CB-09 a long code":                     {strings.Repeat("x", long), "", "", strings.Repeat("x", 64) + "…", ""},
		"CB-09 line breaks":                     {"x\r\nlevel=ERROR", "y\r\n", "", `x\r\nlevel=ERROR`, `y\r\n`},
		"CB-09 terminal and direction controls": {"x\x1b[31m\u202e", "\u2066\x00\xff\u0085", "", `x\x1b[31m\u202e`, `\u2066\x00\xff\u0085`},
		"CB-09 the state, repeated":             {"STATE", "the state STATE is unknown", "", "[hidden]", "the state [hidden] is unknown"},
		"CB-09 a code in another case":          {"Access_Denied", "", "https://MARK.example", "Access_Denied", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.op.Edit(scriptedop.Authorize, func(response map[string]any) {
				delete(response, "code")
				repeated := strings.NewReplacer("STATE", response["state"].(string))
				response["error"], response["error_description"], response["error_uri"] = repeated.Replace(tt.code), repeated.Replace(tt.description), tt.uri
			})
			b := a.person(t)
			got := b.get(b.authorize(b.begin("return_to=/orders")))
			b.wantRefused(got, openid.ReasonDeclined, 0, 0)
			if got.header.Get("Code") != tt.want || got.header.Get("Return-To") != "/orders" {
				t.Errorf("code %q, return path %q", got.header.Get("Code"), got.header.Get("Return-To"))
			}
			want := "provider_declined (" + tt.want + ")\n"
			if tt.said != "" {
				want = "provider_declined (" + tt.want + ": " + tt.said + ")\n"
			}
			if got.text != want {
				t.Errorf("the error is %.900q, want %.900q", got.text, want)
			}
		})
	}
}

func TestMalformedResponse(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change   func(url.Values)
		accepted bool
	}{
		"CB-10 an unknown parameter":   {func(v url.Values) { v.Set("session_state", "x") }, true},
		"CB-10 an unknown one twice":   {func(v url.Values) { v["x"] = []string{"1", "2"} }, true},
		"CB-10 two states":             {func(v url.Values) { v.Add("state", "bad") }, false},
		"CB-10 two states, bad first":  {func(v url.Values) { v["state"] = []string{"bad", v.Get("state")} }, false},
		"CB-10 the same state twice":   {func(v url.Values) { v.Add("state", v.Get("state")) }, false},
		"CB-10 two codes":              {func(v url.Values) { v.Add("code", "bad") }, false},
		"CB-10 two issuers":            {func(v url.Values) { v.Add("iss", "https://evil.example") }, false},
		"CB-10 two errors":             {func(v url.Values) { v.Del("code"); v["error"] = []string{"access_denied", "x"} }, false},
		"CB-10 the code as a list":     {func(v url.Values) { v["code[]"] = v["code"]; v.Del("code") }, false},
		"CB-11 both code and error":    {func(v url.Values) { v.Set("error", "access_denied") }, false},
		"CB-11 neither code nor error": {func(v url.Values) { v.Del("code") }, false},
		"CB-11 an empty code":          {func(v url.Values) { v.Set("code", "") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			b := a.person(t)
			callback, err := url.Parse(b.authorize(b.begin("")))
			if err != nil {
				t.Fatal(err)
			}
			response := callback.Query()
			tt.change(response)
			callback.RawQuery = response.Encode()
			got := b.get(callback.String())
			if tt.accepted {
				b.wantSignedIn(got, "alice")
				return
			}
			b.wantRefused(got, openid.ReasonResponseMalformed, 0, 0)
		})
	}
}

func TestFormPost(t *testing.T) {
	t.Parallel()
	a := newApp(t, appOptions{secure: true, config: func(c *settings) { c.ResponseMode = "form_post" }})
	b := a.person(t)
	login := b.get(a.URL + "/login")
	if cookie := login.header.Get("Set-Cookie"); !strings.Contains(cookie, "; SameSite=None") || !strings.Contains(cookie, "; Secure") || !strings.HasPrefix(cookie, "__Host-txn_") {
		t.Errorf("CB-13 the transaction's cookie is %q", cookie)
	}
	page := b.get(login.location)
	response := make(url.Values)
	for input := range strings.SplitSeq(page.text, `name="`) {
		if name, rest, ok := strings.Cut(input, `" value="`); ok {
			value, _, _ := strings.Cut(rest, `"`)
			response.Set(name, value)
		}
	}
	got := b.post(a.URL+"/callback", response)
	b.wantSignedIn(got, "alice")
	session := slices.IndexFunc(got.header["Set-Cookie"], func(c string) bool { return strings.HasPrefix(c, "__Host-session=") })
	if session < 0 || !strings.Contains(got.header["Set-Cookie"][session], "; SameSite=Lax") {
		t.Errorf("CB-13 the session's cookies are %q", got.header["Set-Cookie"])
	}
}

func FuzzCallback(f *testing.F) {
	a := readyApp(f)
	for _, seed := range []string{
		"code=c&state=STATE&iss=ISSUER", "code=c&state=STATE", "error=access_denied&state=STATE&iss=ISSUER",
		"code=c&error=e&state=STATE&iss=ISSUER", "state=STATE&iss=ISSUER", "code=c&state=STATE&state=x", "code[]=c&state=STATE",
		"code=c&code=d&state=STATE&iss=ISSUER", "error=%3Cscript%3E&error_description=%0d%0a&state=STATE&iss=ISSUER", "", "state=", "%zz", "a;b",
		"code=" + strings.Repeat("c", 5000) + "&state=STATE&iss=ISSUER",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/callback", nil)
		request, err := a.rp.Begin(w, r, authn.SignInRequest{ReturnTo: localPath(t, "/orders")})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range w.Result().Cookies() {
			r.AddCookie(c)
		}
		state := scriptedop.Query(t, request).Get("state")
		response, _ := url.ParseQuery(strings.NewReplacer("ISSUER", url.QueryEscape(a.op.Issuer), "STATE", state).Replace(raw))
		before := a.op.Calls(scriptedop.Token)
		_, err = a.rp.Complete(httptest.NewRecorder(), r, response)
		if openid.ReasonOf(err) == "" {
			t.Fatalf("%q: %v", raw, err)
		}
		ours := response.Get("state") == state && response.Get("iss") == a.op.Issuer && response.Get("error") == ""
		if a.op.Calls(scriptedop.Token) != before && !ours {
			t.Fatalf("%q: the code was sent", raw)
		}
		if code := response.Get("code"); strings.Contains(err.Error(), state) || (len(code) > 20 && strings.Contains(err.Error(), code)) {
			t.Fatalf("%q: the code is quoted in %q", raw, err)
		}
	})
}

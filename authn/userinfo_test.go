package authn_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

func TestUserInfoSubject(t *testing.T) {
	t.Parallel()
	for name, sub := range map[string]any{
		"UI-01 another": "mallory", "UI-01 missing": nil, "UI-01 empty": "", "UI-01 in another case": "Alice",
		"UI-01 a number": 1, "UI-01 null": null{}, "UI-01 a list": []string{"alice"}, "UI-01 with a space": "alice ",
	} {
		edit := func(claims map[string]any) {
			if claims["sub"] = sub; sub == nil {
				delete(claims, "sub")
			}
		}
		t.Run(name+", at the sign-in", func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			a.op.Edit(scriptedop.UserInfo, edit)
			b := a.person(t)
			b.wantRefused(b.signIn(), openid.ReasonUserInfoMismatch, 1, 1)
		})
		t.Run(name+", at a refresh", func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			a.op.Edit(scriptedop.UserInfo, edit)
			b.wantRefused(b.post(a.URL+"/refresh", nil), authn.ReasonSessionEnded, 1, 2)
		})
	}
	t.Run("UI-01 the same", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		a.op.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims["name"] = "Alice Liddell" })
		if got := b.post(a.URL+"/refresh", nil); got.status != http.StatusOK {
			t.Fatalf("refused: %s", got.text)
		}
		if who := b.who(); who.Subject != "alice" || who.Profile.Name != "Alice Liddell" {
			t.Errorf("%+v is signed in", who)
		}
	})
}

func TestUserInfoSaysNothingOfTheSignIn(t *testing.T) {
	t.Parallel()
	t.Run("UI-02", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		a.op.EditIDToken(claimOf("acr", "high"))
		signedOnly := []string{"iss", "aud", "exp", "iat", "nonce", "azp", "at_hash", "auth_time", "acr", "amr", "sid"}
		a.op.Edit(scriptedop.UserInfo, func(claims map[string]any) {
			for _, name := range signedOnly {
				claims[name] = "evil"
			}
		})
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		who := b.who()
		for _, name := range signedOnly {
			if strings.Contains(string(who.Claims[name]), "evil") {
				t.Errorf("%s is %s", name, who.Claims[name])
			}
		}
		if who.Issuer != a.op.Issuer || string(who.Claims["acr"]) != `"high"` || who.Profile.Email != "alice@example.com" {
			t.Errorf("signed in is %+v", who)
		}
		if got := b.signOutByProvider(a.op.LogoutToken()); got.status != http.StatusOK || b.who().Subject != "" {
			t.Errorf("a logout token with the session's sid does not sign the person out: %s", got.text)
		}
	})
}

// claimOf returns an edit that sets a claim in every ID token.
func claimOf(name string, value any) func(*scriptedop.JWT) {
	return func(t *scriptedop.JWT) { t.Claims[name] = value }
}

// TestUserInfoFails checks the default policy: a sign-in succeeds without userinfo, and the
// log says so. A refresh reports the failure to the person, whose session continues.
func TestUserInfoFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		slow   bool
	}{
		"UI-04 a page":               {answer: scriptedop.Body(200, "text/html", `{"sub":"alice","name":"MARK"}`)},
		"UI-04 text":                 {answer: scriptedop.Body(200, "text/plain", `{"sub":"alice","name":"MARK"}`)},
		"UI-04 a list":               {answer: scriptedop.Body(200, "application/json", `[{"sub":"alice","name":"MARK"}]`)},
		"UI-04 nothing":              {answer: scriptedop.Body(200, "application/json", "")},
		"UI-04 half a document":      {answer: scriptedop.Body(200, "application/json", `{"sub":"alice","name":"MARK`)},
		"UI-04 the subject twice":    {answer: scriptedop.Body(200, "application/json", `{"sub":"alice","name":"MARK","sub":"alice"}`)},
		"UI-04 a subject misspelt":   {answer: scriptedop.Body(200, "application/json", `{"sub":"alice","name":"MARK","Sub":"mallory"}`)},
		"UI-04 a JWT, unasked":       {answer: scriptedop.Body(200, "application/jwt", "e30.e30.")},
		"UI-04 203":                  {answer: scriptedop.Body(203, "application/json", `{"sub":"alice","name":"MARK"}`)},
		"UI-05 UI-08 500":            {answer: scriptedop.Body(500, "application/json", `{"sub":"alice","name":"MARK"}`)},
		"UI-08 403":                  {answer: scriptedop.Body(403, "text/plain", "MARK")},
		"UI-05 a broken line":        {answer: scriptedop.Reset},
		"UI-05 half an answer":       {answer: scriptedop.Cut},
		"UI-05 no answer":            {answer: scriptedop.Hang, slow: true},
		"UI-05 an answer that stops": {answer: scriptedop.Stall, slow: true},
		"UI-08 DO-07 no end":         {answer: scriptedop.Endless},
		"UI-08 DO-07 a bomb":         {answer: scriptedop.GzipBomb(64)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.slow && testing.Short() {
				t.Skip("waits for a time limit")
			}
			a := newApp(t, appOptions{})
			a.op.EditIDToken(claimOf("name", "Alice of the ID token"))
			a.op.Answer(scriptedop.UserInfo, tt.answer)
			b := a.person(t)
			started := time.Now()
			b.wantSignedIn(b.signIn(), "alice")
			// The transport may repeat a GET on a new connection, but never sends a code
			// twice.
			if token, userInfo := a.op.Calls(scriptedop.Token), a.op.Calls(scriptedop.UserInfo); token != 1 || userInfo > 2 {
				t.Errorf("token and userinfo endpoint were called %d and %d times", token, userInfo)
			}
			if who := b.who(); who.Profile.Name != "Alice of the ID token" || who.Profile.Email != "" {
				t.Errorf("signed in is %+v", who)
			}
			if took := time.Since(started); took > patience {
				t.Errorf("CB-23: answered after %s", took)
			}
			if logged := a.log.String(); !strings.Contains(logged, "reason=userinfo_failed") || strings.Contains(logged, "MARK") {
				t.Errorf("the log is:\n%s", logged)
			}
			if tt.slow {
				return
			}
			got := b.post(a.URL+"/refresh", nil)
			if got.reason != openid.ReasonUserInfoFailed || strings.Contains(got.text, "MARK") || b.who().Subject != "alice" {
				t.Errorf("the refresh is answered with %q: %s", got.reason, got.text)
			}
		})
	}
	t.Run("UI-05 the provider has no such endpoint", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		a.op.Edit(scriptedop.Discovery, func(m map[string]any) { delete(m, "userinfo_endpoint") })
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		b.wantCalls(1, 0)
	})
	t.Run("DO-11 too many claims", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		a.op.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims["groups"] = strings.Repeat("x", 64<<10) })
		b := a.person(t)
		b.wantRefused(b.signIn(), openid.ReasonTooLarge, 1, 1)
	})
	t.Run("DO-11 nearly too many claims", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		a.op.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims["groups"] = strings.Repeat("x", 60<<10) })
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
	})
}

func TestUserInfoRefusesTheToken(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer func(op *scriptedop.Provider) http.HandlerFunc
		scopes []string
		// undated omits the lifetime of tokens, so that a token refresh comes first.
		undated bool
		want    openid.Reason
		calls   []int
	}{
		"UI-06 one that is new": {
			answer:  func(*scriptedop.Provider) http.HandlerFunc { return scriptedop.Status(401) },
			undated: true, want: openid.ReasonUserInfoFailed, calls: []int{2, 2},
		},
		"UI-06 once": {
			answer: func(op *scriptedop.Provider) http.HandlerFunc {
				return scriptedop.InTurn(scriptedop.Status(401), op.Correct(scriptedop.UserInfo))
			},
			calls: []int{2, 3},
		},
		"UI-06 for ever": {
			answer: func(*scriptedop.Provider) http.HandlerFunc { return scriptedop.Status(401) },
			want:   openid.ReasonUserInfoFailed, calls: []int{2, 3},
		},
		"UI-06 and there is no refresh token": {
			answer: func(*scriptedop.Provider) http.HandlerFunc { return scriptedop.Status(401) },
			scopes: []string{"openid"}, want: authn.ReasonRefreshRefused, calls: []int{1, 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{config: func(c *settings) {
				if tt.scopes != nil {
					c.Scopes = tt.scopes
				}
			}})
			if tt.undated {
				a.op.Edit(scriptedop.Token, func(response map[string]any) { delete(response, "expires_in") })
			}
			b := a.person(t)
			b.wantSignedIn(b.signIn(), "alice")
			a.op.Answer(scriptedop.UserInfo, tt.answer(a.op))
			if got := b.post(a.URL+"/refresh", nil); got.reason != tt.want {
				t.Errorf("reason is %q, want %q: %s", got.reason, tt.want, got.text)
			}
			b.wantCalls(tt.calls...)
			if who := b.who(); who.Subject != "alice" {
				t.Errorf("%q is signed in", who.Subject)
			}
		})
	}
}

func TestProfileRefreshIsLimited(t *testing.T) {
	t.Parallel()
	t.Run("UI-07 two hundred at once", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		cookie := b.cookieHeader()
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL+"/refresh", nil)
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Cookie", cookie)
				resp, err := a.Client().Transport.RoundTrip(r)
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
			})
		}
		wg.Wait()
		if n := a.op.Calls(scriptedop.UserInfo); n < 2 || n > 4 {
			t.Errorf("userinfo was called %d times within a minute, want 2 to 4", n)
		}
		if who := b.who(); who.Subject != "alice" {
			t.Errorf("%q is signed in", who.Subject)
		}
		a.clock.Move(time.Minute)
		if got := b.post(a.URL+"/refresh", nil); got.status != http.StatusOK {
			t.Errorf("a minute later: %s", got.text)
		}
	})
}

// TestUserInfoRequired (UI-05) checks the other policy: nobody is signed in without
// userinfo.
func TestUserInfoRequired(t *testing.T) {
	t.Parallel()
	required := appOptions{config: func(c *settings) { c.UserInfoRequired = true }}
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		slow   bool
	}{
		"UI-05 500":               {answer: scriptedop.Status(500)},
		"UI-05 429":               {answer: scriptedop.Status(429)},
		"UI-05 401":               {answer: scriptedop.Status(401)},
		"UI-05 no answer":         {answer: scriptedop.Hang, slow: true},
		"UI-05 garbage":           {answer: scriptedop.Body(200, "application/json", "MARK")},
		"UI-05 a page":            {answer: scriptedop.Body(200, "text/html", "<p>MARK")},
		"UI-05 UI-08 no end":      {answer: scriptedop.Endless},
		"UI-05 as it should be":   {answer: nil},
		"UI-01 UI-05 another sub": {answer: scriptedop.JSON(200, map[string]any{"sub": "mallory"})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.slow && testing.Short() {
				t.Skip("waits for a time limit")
			}
			a := newApp(t, required)
			a.op.Answer(scriptedop.UserInfo, tt.answer)
			b := a.person(t)
			got := b.get(b.authorize(b.begin("return_to=/orders")))
			if tt.answer == nil {
				b.wantSignedIn(got, "alice")
				return
			}
			want := openid.ReasonUserInfoRequired
			if strings.HasPrefix(name, "UI-01") {
				want = openid.ReasonUserInfoMismatch
			}
			b.wantRefused(got, want, 1, 1)
			if got.header.Get("Return-To") != "/orders" || strings.Contains(got.text+a.log.String(), "MARK") {
				t.Errorf("the return path is %q, the error %s", got.header.Get("Return-To"), got.text)
			}
			// One failure does not affect the next sign-in.
			a.op.Answer(scriptedop.UserInfo, nil)
			b.wantSignedIn(b.signIn(), "alice")
		})
	}
	t.Run("UI-05 the provider has no such endpoint", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, required)
		a.op.Edit(scriptedop.Discovery, without("userinfo_endpoint"))
		if got := a.person(t).wantNoLogin(openid.ReasonProviderMisconfigured); !strings.Contains(got.text, "userinfo_endpoint is missing") {
			t.Errorf("the error is %s", got.text)
		}
	})
}

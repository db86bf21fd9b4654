package faults

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// wantNoLogin checks that nobody is sent to an unusable provider, and that everything else
// works.
func wantNoLogin(s *apptest.Scripted, reason openid.Reason, retryAfter bool) {
	s.T.Helper()
	v := s.Visitor()
	got := v.Direct(v.Request(http.MethodGet, "/login?return_to=%2Fprofile", nil))
	s.WantRefused(v, got, http.StatusServiceUnavailable, reason, 0, 0)
	if got.Header.Get("Location") != "" || len(got.Cookies()) > 0 || (got.Header.Get("Retry-After") != "") != retryAfter {
		s.T.Errorf("sent to %q with cookies %v, Retry-After %q", got.Header.Get("Location"), got.Cookies(), got.Header.Get("Retry-After"))
	}
	if !strings.Contains(got.Body, `href="/login?return_to=%2Fprofile"`) {
		s.T.Errorf("the return path is lost:\n%s", got.Body)
	}
	var ready apptest.Answer
	apptest.Eventually(s.T, "CF-06: the store is ready", func() bool {
		ready = v.Get("/readyz")
		return strings.Contains(ready.Body, `"store":"ok"`)
	})
	if ready.StatusCode != http.StatusServiceUnavailable || !strings.Contains(ready.Body, `"provider":"`+string(reason)+`"`) {
		s.T.Errorf("CF-06: /readyz is %d %s", ready.StatusCode, ready.Body)
	}
	if strings.Contains(ready.Body, s.OP.ClientID) || strings.Contains(ready.Body, s.OP.Issuer) {
		s.T.Errorf("CF-06: /readyz reveals too much: %s", ready.Body)
	}
	for _, path := range []string{"/healthz", "/", "/robots.txt"} {
		if got := v.Get(path); got.StatusCode != http.StatusOK {
			s.T.Errorf("CF-07: %s is %d", path, got.StatusCode)
		}
	}
}

// TestMetadataRefused (CF-04, CF-05) serves discovery documents that the app must refuse.
func TestMetadataRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		changed map[string]any
		// told must be in the log line for the operator.
		told     string
		accepted bool
	}{
		"CF-04 the issuer":                              {accepted: true},
		"CF-04 the issuer without its slash":            {changed: map[string]any{"issuer": "NOSLASH"}, told: "slash"},
		"CF-04 another issuer":                          {changed: map[string]any{"issuer": "https://evil.example/"}, told: "https://evil.example/"},
		"CF-04 no issuer":                               {changed: map[string]any{"issuer": nil}, told: `calls itself ""`},
		"CF-05 no authorization endpoint":               {changed: map[string]any{"authorization_endpoint": nil}, told: "authorization_endpoint"},
		"CF-05 AR-10 a script":                          {changed: map[string]any{"authorization_endpoint": "javascript:alert(1)"}, told: "authorization_endpoint"},
		"CF-05 AR-10 plain http":                        {changed: map[string]any{"authorization_endpoint": "http://op.example/a"}, told: "authorization_endpoint"},
		"CF-05 AR-10 another party's client":            {changed: map[string]any{"authorization_endpoint": "https://op.example/a?client_id=evil#x"}, told: "authorization_endpoint"},
		"CF-05 credentials":                             {changed: map[string]any{"token_endpoint": "https://a:b@op.example/t"}, told: "token_endpoint"},
		"CF-05 the cloud's metadata":                    {changed: map[string]any{"jwks_uri": "http://169.254.169.254/latest"}, told: "jwks_uri"},
		"CF-05 no key set":                              {changed: map[string]any{"jwks_uri": nil}, told: "jwks_uri"},
		"CF-05 SL-07 revocation in plain http":          {changed: map[string]any{"revocation_endpoint": "http://evil.example/"}, told: "revocation_endpoint"},
		"CF-05 AR-14 pushing required, but no endpoint": {changed: map[string]any{"require_pushed_authorization_requests": true, "pushed_authorization_request_endpoint": nil}, told: "pushed"},
		"CF-05 an unknown endpoint":                     {changed: map[string]any{"x_endpoint": "javascript:alert(1)"}, accepted: true},
		"CF-05 no userinfo, no sign-out":                {changed: map[string]any{"userinfo_endpoint": nil, "end_session_endpoint": nil}, accepted: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := scriptedop.New(t, scriptedop.Config{Path: "/tenant/", Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}})
			op.Edit(scriptedop.Discovery, func(m map[string]any) {
				maps.Copy(m, tt.changed)
				if m["issuer"] == "NOSLASH" {
					m["issuer"] = strings.TrimSuffix(op.Issuer, "/")
				}
				maps.DeleteFunc(m, func(_ string, value any) bool { return value == nil })
			})
			s := apptest.StartBeside(t, op)
			if tt.accepted {
				s.SignIn(s.Visitor())
				return
			}
			wantNoLogin(s, openid.ReasonProviderMisconfigured, false)
			lines := s.Logged("provider not usable, trying again", "")
			if len(lines) != 1 || lines[0]["level"] != "ERROR" || !strings.Contains(fmt.Sprint(lines[0]["error"]), tt.told) {
				t.Errorf("the log says %v, want one line about %s", lines, tt.told)
			}
		})
	}
}

// TestTransientAndPermanent (CF-07, CF-08) distinguishes a provider that will recover from
// one that someone must repair: in the response, in the log and on the page.
func TestTransientAndPermanent(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		reason openid.Reason
		level  string
		told   string
	}{
		"CF-08 404":                 {http.NotFound, openid.ReasonProviderMisconfigured, "ERROR", "configured correctly"},
		"CF-08 401":                 {scriptedop.Status(401), openid.ReasonProviderMisconfigured, "ERROR", "configured correctly"},
		"CF-08 an HTML page":        {scriptedop.Body(200, "text/html", "<p>"), openid.ReasonProviderMisconfigured, "ERROR", "configured correctly"},
		"CF-07 503":                 {scriptedop.Status(503), openid.ReasonProviderUnreachable, "WARN", "cannot be reached"},
		"CF-07 429":                 {scriptedop.Status(429), openid.ReasonProviderUnreachable, "WARN", "cannot be reached"},
		"CF-07 a broken connection": {scriptedop.Reset, openid.ReasonProviderUnreachable, "WARN", "cannot be reached"},
		"CF-07 half a response":     {scriptedop.Cut, openid.ReasonProviderUnreachable, "WARN", "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := scriptedop.New(t, scriptedop.Config{Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}})
			op.Answer(scriptedop.Discovery, tt.answer)
			s := apptest.StartBeside(t, op)
			wantNoLogin(s, tt.reason, tt.reason == openid.ReasonProviderUnreachable)
			if page := s.Visitor().Get("/login"); !strings.Contains(page.Body, tt.told) {
				t.Errorf("the page does not say %q:\n%s", tt.told, page.Body)
			}
			lines := s.Logged("provider not usable, trying again", "")
			if len(lines) == 0 || lines[0]["level"] != tt.level || lines[0]["reason"] != string(tt.reason) {
				t.Errorf("the log says %v", lines)
			}
			// CF-07: the app recovers by itself from each fault.
			op.Answer(scriptedop.Discovery, nil)
			s.Await("/readyz", http.StatusOK)
			s.SignIn(s.Visitor())
			if n := op.Calls(scriptedop.Discovery); n > 8 {
				t.Errorf("CF-07: the provider was asked %d times", n)
			}
		})
	}
	t.Run("CF-08 the provider does not know the client", func(t *testing.T) {
		t.Parallel()
		s := apptest.StartScripted(t, "AUTH0_CLIENT_SECRET=another secret of the client")
		v := s.Visitor()
		got := v.Callback(v.AuthorizationResponse("/profile"))
		s.WantRefused(v, got, http.StatusServiceUnavailable, openid.ReasonTokenRequestFailed, 1, 0)
		if !strings.Contains(got.Body, "configured correctly") || got.Header.Get("Retry-After") != "" {
			t.Errorf("Retry-After %q, and the page says:\n%s", got.Header.Get("Retry-After"), got.Body)
		}
		lines := s.Logged("refused", got.Header.Get("X-Request-Id"))
		if lines[0]["level"] != "ERROR" || lines[0]["code"] != "invalid_client" {
			t.Errorf("the log says %v", lines)
		}
	})
}

// TestKnownProviderGoesAway (CF-07, FM-03) stops a provider after the app has discovered
// it. Nobody is signed out, and Refresh reports the problem.
func TestKnownProviderGoesAway(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	v := s.Visitor()
	s.SignIn(v)
	for _, e := range []scriptedop.Endpoint{scriptedop.Discovery, scriptedop.JWKS, scriptedop.Token, scriptedop.UserInfo} {
		s.OP.Answer(e, scriptedop.Reset)
	}
	if !v.SignedIn() {
		t.Error("the dashboard does not open")
	}
	if got := v.RefreshProfile(); got.StatusCode < 500 || !strings.Contains(got.Body, `role="alert"`) {
		t.Errorf("refreshing answers %d", got.StatusCode)
	}
	other := s.Visitor()
	got := other.Callback(other.AuthorizationResponse("/login"))
	s.WantRefused(other, got, http.StatusServiceUnavailable, openid.ReasonProviderUnreachable, 2, s.OP.Calls(scriptedop.UserInfo))
	if ready := other.WhenAvailable(other.Request(http.MethodGet, "/readyz", nil)); ready.StatusCode != http.StatusOK {
		t.Errorf("CF-06: /readyz is %d %s, although the provider was discovered", ready.StatusCode, ready.Body)
	}
}

// TestKeySetIsSpared (DO-08, DO-09, DO-10) floods the app with tokens of unknown keys, and
// then breaks the key set. A sign-in with a known key still succeeds.
func TestKeySetIsSpared(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t)
	v := s.Visitor()
	s.SignIn(v)
	signInAgain := func(when string) {
		t.Helper()
		other := s.Visitor()
		if got := other.Callback(other.AuthorizationResponse("/profile")); got.Header.Get("Location") != "/profile" {
			t.Errorf("%s: answered %d to %q", when, got.StatusCode, got.Header.Get("Location"))
		}
	}
	before := s.OP.Calls(scriptedop.JWKS)
	forged := s.OP.LogoutToken()
	for i := range 200 {
		forged.Key = scriptedop.Key{ID: "stranger" + string(rune('A'+i)), Algorithm: "ES256", Private: forged.Key.Private}
		if got := v.Post("/backchannel-logout", url.Values{"logout_token": {forged.Compact()}}); got.StatusCode != http.StatusBadRequest {
			t.Fatalf("DO-08: answered %d", got.StatusCode)
		}
	}
	if n := s.OP.Calls(scriptedop.JWKS) - before; n > 1 {
		t.Errorf("DO-08: 200 tokens with unknown keys fetch the key set %d times", n)
	}
	signInAgain("DO-08: during a flood")
	for name, answer := range map[string]http.HandlerFunc{
		"DO-09 no answer": scriptedop.Hang, "DO-10 an empty object": scriptedop.Status(200), "DO-10 an empty set": scriptedop.Body(200, "application/json", `{"keys":[]}`),
		"DO-10 500": scriptedop.Status(500), "DO-10 a page": scriptedop.Body(200, "text/html", "<p>"),
	} {
		s.OP.Answer(scriptedop.JWKS, answer)
		clock.Move(time.Minute)
		signInAgain(name)
	}
	s.OP.Answer(scriptedop.JWKS, nil)
	old := scriptedop.NewKey("key-2", "ES256")
	s.OP.SetKeys(old)
	clock.Move(time.Minute)
	signInAgain("FM-05: a new key")
	s.OP.SetKeys(scriptedop.NewKey("key-3", "ES256"))
	s.OP.SignWith(old)
	clock.Move(16 * time.Minute)
	other := s.Visitor()
	if got := other.Callback(other.AuthorizationResponse("/profile")); got.StatusCode != http.StatusBadGateway {
		t.Errorf("DO-10: a sign-in with a removed key is answered with %d", got.StatusCode)
	}
	s.OP.SetKeys(scriptedop.NewKey("key-3", "ES256"))
	signInAgain("DO-10: the published key")
}

package routes_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/boltstore"
	"latchkey/authn/openid"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
	"latchkey/routes"
)

// halfClosed is an app that is asked over connections that are closed for sending. v is signed in.
type halfClosed struct {
	*apptest.Scripted
	clock  *apptest.Clock
	broken atomic.Bool           // makes the app panic when it asks for the time
	hooked atomic.Pointer[error] // what the sign-in hook returns
	v      *apptest.Visitor
}

// promptStore is a store that answers before the server notices the end of a connection, also to what
// changes a session.
type promptStore struct{ authn.Store }

func (s promptStore) Load(ctx context.Context, key authn.Key) (authn.Record, error) {
	return s.Store.Load(context.WithoutCancel(ctx), key)
}

func (s promptStore) Save(ctx context.Context, r authn.Record) error {
	return s.Store.Save(context.WithoutCancel(ctx), r)
}

func newHalfClosed(t *testing.T, prepare func(authn.Store) authn.Store, env ...string) *halfClosed {
	t.Helper()
	h := new(halfClosed)
	h.Scripted, h.clock = apptest.AssembleWith(t, func(cfg *apptest.Settings) {
		cfg.Authn.Store = prepare(cfg.Authn.Store)
		cfg.Authn.SignInHook = func(context.Context, *authn.Arrival) error {
			if err := h.hooked.Load(); err != nil {
				return *err
			}
			return nil
		}
		now := cfg.OpenID.Now
		cfg.OpenID.Now = func() time.Time {
			if h.broken.Load() {
				panic("broken")
			}
			return now()
		}
	}, env...)
	h.v = h.Visitor()
	h.SignIn(h.v)
	return h
}

// own returns a request of the person who is signed in.
func (h *halfClosed) own(method, path string, form url.Values, headers ...string) *http.Request {
	return h.v.Request(method, path, form, append(headers, "Cookie", h.v.CookieHeader(), "Sec-Fetch-Site", "same-origin")...)
}

// callback returns the callback of a sign-in, whose response change may edit.
func (h *halfClosed) callback(change func(url.Values)) *http.Request {
	v := h.Visitor()
	address := apptest.WithQuery(h.T, v.AuthorizationResponse("/profile"), change)
	return v.Request(http.MethodGet, address, nil, "Cookie", v.CookieHeader())
}

// refused returns how often the app has refused a request for a reason.
func (h *halfClosed) refused(reason string) uint64 {
	return h.Assembled.Handler.Metrics.GetOrCreateCounter(fmt.Sprintf("latchkey_requests_refused_total{reason=%q}", reason)).Get()
}

// unrestarted sends a callback that starts its sign-in again, and returns it with the cookie that allows
// no second restart.
func (h *halfClosed) unrestarted(callback *http.Request) *http.Request {
	h.T.Helper()
	got := h.Visitor().Direct(callback.Clone(h.T.Context()))
	if got.StatusCode != http.StatusSeeOther || !strings.HasPrefix(got.Header.Get("Location"), "/login?again=1") {
		h.T.Errorf("the first time, it answers %d to %q", got.StatusCode, got.Header.Get("Location"))
	}
	for _, cookie := range got.Cookies() {
		if cookie.Value != "" {
			callback.AddCookie(cookie)
		}
	}
	return callback
}

// check sends a request, and checks the status, what the answer says, the log and the counter. Without
// a level no refusal may be logged.
func (h *halfClosed) check(req *http.Request, status int, says, reason, level string, counted uint64) {
	h.T.Helper()
	before := h.refused(reason)
	got := h.HalfClosed(req)
	if got.StatusCode != status || !strings.Contains(got.Header.Get("Location")+got.Body, says) {
		h.T.Errorf("answered %d to %q, want %d and %q\n%s", got.StatusCode, got.Header.Get("Location"), status, says, got.Body)
	}
	id := got.Header.Get("X-Request-Id")
	if lines := h.Logged("request answered", id); len(lines) != 1 || lines[0]["status"] != float64(status) {
		h.T.Errorf("the log says %v", lines)
	}
	lines := h.Logged("refused", id)
	if level == "" {
		if len(lines) > 0 {
			h.T.Errorf("the log says %v", lines)
		}
		return
	}
	if len(lines) != 1 || lines[0]["reason"] != reason || lines[0]["level"] != level {
		h.T.Errorf("the log says %v, want %s at %s", lines, reason, level)
	}
	if n := h.refused(reason) - before; n != counted {
		h.T.Errorf("counted %d times", n)
	}
}

// TestHalfClosedConnection sends each kind of refused request over a connection that is closed for
// sending, whose client still reads. The status, the log and the counter must be those of any other
// connection, or a prober could hide. Every reason of a refusal needs a case.
func TestHalfClosedConnection(t *testing.T) {
	t.Parallel()
	type request = func(*halfClosed) *http.Request
	get := func(path string, headers ...string) request {
		return func(h *halfClosed) *http.Request { return h.Visitor().Request(http.MethodGet, path, nil, headers...) }
	}
	raw := func(method, path, contentType, body string) request {
		return func(h *halfClosed) *http.Request { return h.Visitor().Raw(method, path, contentType, body) }
	}
	own := func(method, path string, form url.Values, headers ...string) request {
		return func(h *halfClosed) *http.Request { return h.own(method, path, form, headers...) }
	}
	// after changes something first.
	after := func(change func(*halfClosed), then request) request {
		return func(h *halfClosed) *http.Request { change(h); return then(h) }
	}
	late := func(h *halfClosed) { h.clock.Move(time.Hour) }
	callback := func(change func(*halfClosed, url.Values)) request {
		return func(h *halfClosed) *http.Request {
			return h.callback(func(values url.Values) { change(h, values) })
		}
	}
	when := func(e scriptedop.Endpoint, answer http.HandlerFunc) request {
		return callback(func(h *halfClosed, _ url.Values) { h.OP.Answer(e, answer) })
	}
	// refreshing refreshes the profile when the access token has expired.
	refreshing := func(e scriptedop.Endpoint, answer http.HandlerFunc) request {
		return after(func(h *halfClosed) { late(h); h.OP.Answer(e, answer) }, own("POST", "/profile/refresh", url.Values{}))
	}
	// steppingUp completes the sign-in that a form demands.
	steppingUp := func(edit func(*halfClosed, *scriptedop.JWT)) request {
		return func(h *halfClosed) *http.Request {
			late(h)
			resume := h.v.Direct(h.v.Request("POST", "/sessions/end-others", url.Values{}, "Sec-Fetch-Site", "same-origin")).Next()
			h.OP.EditIDToken(func(token *scriptedop.JWT) { edit(h, token) })
			return h.v.Request("GET", h.v.AuthorizationResponse(resume), nil, "Cookie", h.v.CookieHeader())
		}
	}
	report := func(scope string) request {
		return func(h *halfClosed) *http.Request {
			token := h.OP.AccessToken(apiAudience)
			token.Claims["scope"] = scope
			return get("/api/report", "Authorization", "Bearer "+token.Compact())(h)
		}
	}
	// bound calls the API with a token that is bound to a DPoP key.
	key := scriptedop.NewKey("", "EdDSA")
	bound := func(edit func(proof *scriptedop.JWT)) request {
		return func(h *halfClosed) *http.Request {
			token := h.OP.AccessToken(apiAudience)
			token.Claims["cnf"] = map[string]any{"jkt": key.Thumbprint()}
			raw := token.Compact()
			proof := key.Proof(h.clock.Now(), http.MethodGet, h.URL+"/api/me", raw)
			edit(proof)
			return get("/api/me", "Authorization", "DPoP "+raw, "DPoP", proof.Compact())(h)
		}
	}
	// from begins a sign-in from one of 30 addresses.
	from := func(i int) request { return get("/login", "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i%30)) }
	declined := func(values url.Values) { values.Del("code"); values.Set("error", "access_denied") }
	logout := func(edit func(*scriptedop.JWT)) request {
		return func(h *halfClosed) *http.Request {
			token := h.OP.LogoutToken()
			edit(token)
			return raw("POST", "/backchannel-logout", apptest.FormType, "logout_token="+token.Compact())(h)
		}
	}
	const none, trusted = "", "TRUSTED_PROXIES=127.0.0.0/8"
	const secret = "APP_SECRET_KEY=q8J2mB7xZ4vN1kT6wR9yH3cF5dL0sPgU"
	hooked := func(err error) func(*halfClosed) *http.Request {
		return after(func(h *halfClosed) { h.hooked.Store(&err) }, callback(func(*halfClosed, url.Values) {}))
	}
	cases := map[string]struct {
		request       request
		status        int
		says          string // in the body or in Location
		reason, level string // no level if only the line of the request is logged
		env           string
	}{
		// The request.
		"no page":                   {get("/nothing"), 404, "<h1>Page not found</h1>", "not_found", "INFO", none},
		"no page for htmx":          {get("/nothing", "HX-Request", "true"), 404, `role="alert"`, "not_found", "INFO", none},
		"no page for a program":     {get("/nothing", "Accept", "application/json"), 404, `"title":"Page not found"`, "not_found", "INFO", none},
		"another method":            {raw("DELETE", "/login", none, none), 405, "does not work here", "method_not_allowed", "INFO", none},
		"a preflight":               {raw("OPTIONS", "/logout", none, none), 405, "does not work here", "method_not_allowed", "INFO", none},
		"a large form":              {raw("POST", "/logout", apptest.FormType, strings.Repeat("x", 70<<10)), 413, "too large", "request_entity_too_large", "INFO", none},
		"a long address":            {get("/?" + strings.Repeat("x", 9<<10)), 414, "too long", "request_uri_too_long", "INFO", none},
		"a stream for another site": {get("/events", "Sec-Fetch-Site", "cross-site"), 403, "another site", "cross_origin", "WARN", none},
		"a form of another site": {func(h *halfClosed) *http.Request {
			return h.Visitor().Request("POST", "/logout", url.Values{}, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")
		}, 403, "came from another site", "cross_origin", "WARN", none},
		"another host": {func(h *halfClosed) *http.Request {
			r := get("/")(h)
			r.Host = "evil.example"
			return r
		}, 421, "not served here", "wrong_host", "WARN", none},
		"a front-channel logout of nobody": {get("/frontchannel-logout"), 400, "malformed", "bad_request", "INFO", "FRONTCHANNEL_LOGOUT=on"},
		"a panic":                          {after(func(h *halfClosed) { h.broken.Store(true) }, get("/login")), 500, "Something went wrong", "panic", "ERROR", none},
		"a page":                           {get("/"), 200, "<html", none, none, none},

		// The sign-in.
		"a sign-in in an image":       {get("/login", "Sec-Fetch-Dest", "image"), 400, "its own page", "not_a_navigation", "INFO", none},
		"a sign-in without cookies":   {get("/login?again=2"), 400, "Cookies are blocked", "no_cookies", "WARN", none},
		"a sign-in of another issuer": {get("/login?iss=https://evil.example"), 400, "valid here", "foreign_link", "WARN", none},
		"too many sign-ins": {after(func(h *halfClosed) {
			for range 100 {
				h.v.Direct(get("/login", "X-Forwarded-For", "192.0.2.1")(h))
			}
		}, get("/login", "X-Forwarded-For", "192.0.2.1")), 429, "Too many", "rate_limited", "WARN", trusted},
		"too many sign-ins of everyone": {after(func(h *halfClosed) {
			for i := range 500 {
				h.v.Direct(from(i)(h))
			}
		}, from(0)), 503, "Too many sign-ins at once", "too_many_sign_ins", "WARN", trusted},
		"nearly too many": {after(func(h *halfClosed) {
			for i := range 499 {
				h.v.Direct(from(i)(h))
			}
		}, from(0)), 303, "/authorize?", none, none, trusted},
		"too many sign-ins of a person": {after(func(h *halfClosed) {
			for range 199 {
				h.SignIn(h.Visitor())
			}
		}, callback(func(*halfClosed, url.Values) {})), 429, "Too many sign-ins", "person_rate_limited", "WARN", none},
		"a sign-in":            {get("/login"), 303, "/authorize?", none, none, none},
		"a malformed response": {get("/callback?state=a&state=b"), 400, "could not be read", "response_malformed", "WARN", none},
		"a forged response":    {get("/callback?response=e30.e30.e30"), 502, "not be verified", "response_invalid", "ERROR", "RESPONSE_MODE=jwt"},
		"a response to nobody": {get("/callback?error=access_denied&state=" + strings.Repeat("A", 43)), 400, "not started here", "transaction_missing", "WARN", none},
		"a late response":      {callback(func(h *halfClosed, values url.Values) { declined(values); late(h) }), 400, "expired", "transaction_expired", "WARN", none},
		"a response for the second time": {func(h *halfClosed) *http.Request {
			r := h.callback(func(url.Values) {})
			h.Visitor().Direct(r.Clone(h.T.Context()))
			return h.unrestarted(r)
		}, 400, "already used", "transaction_used", "WARN", none},
		"another configuration's response": {func(h *halfClosed) *http.Request {
			other, _ := apptest.Assemble(h.T, secret)
			v := other.Visitor()
			response := h.Visitor().Request("GET", "/callback?"+apptest.Query(h.T, v.AuthorizationResponse("/profile")).Encode(), nil)
			port := func(s *apptest.Scripted) string { return s.URL[strings.LastIndex(s.URL, ":")+1:] }
			response.Header.Set("Cookie", strings.ReplaceAll(v.CookieHeader(), "_"+port(other), "_"+port(h.Scripted)))
			return h.unrestarted(response)
		}, 400, "service has changed", "configuration_changed", "WARN", secret},
		"another issuer's response": {callback(func(_ *halfClosed, values url.Values) { values.Set("iss", "https://evil.example") }), 502, "not be verified", "issuer_mismatch", "ERROR", none},
		"a declined sign-in":        {callback(func(_ *halfClosed, values url.Values) { declined(values) }), 403, "not signed in", "provider_declined", "INFO", none},
		"a refused code":            {when(scriptedop.Token, scriptedop.JSON(400, map[string]any{"error": "invalid_grant"})), 502, "not be verified", "token_request_failed", "ERROR", none},
		"a refused client":          {when(scriptedop.Token, scriptedop.JSON(401, map[string]any{"error": "invalid_client"})), 503, "configured", "token_request_failed", "ERROR", none},
		"a response without tokens": {when(scriptedop.Token, scriptedop.JSON(200, map[string]any{})), 502, "not be verified", "token_response_invalid", "ERROR", none},
		"a provider that is down":   {when(scriptedop.Token, scriptedop.Status(503)), 503, "cannot be reached", "provider_unreachable", "WARN", none},
		"a provider without keys": {after(func(h *halfClosed) {
			late(h) // the keys are forgotten
			h.OP.Answer(scriptedop.JWKS, scriptedop.JSON(200, map[string]any{"keys": []any{}}))
		}, callback(func(*halfClosed, url.Values) {})), 503, "configured correctly", "provider_misconfigured", "ERROR", none},
		"a step-up with an old sign-in": {steppingUp(func(h *halfClosed, token *scriptedop.JWT) {
			token.Claims["auth_time"] = h.clock.Now().Add(-time.Hour).Unix()
		}), 403, "not enough", "step_up_failed", "WARN", none},
		"a step-up with a new one": {steppingUp(func(*halfClosed, *scriptedop.JWT) {}), 303, "/resume/", none, none, none},
		"another sign-in's ID token": {callback(func(h *halfClosed, _ url.Values) {
			h.OP.EditIDToken(func(token *scriptedop.JWT) { token.Claims["nonce"] = "x" })
		}), 502, "not be verified", "id_token_invalid", "ERROR", none},
		"another person's userinfo":         {when(scriptedop.UserInfo, scriptedop.JSON(200, map[string]any{"sub": "mallory"})), 502, "not be verified", "userinfo_subject_mismatch", "ERROR", none},
		"no userinfo, if required":          {when(scriptedop.UserInfo, scriptedop.Status(500)), 502, "did not arrive", "userinfo_required", "WARN", "USERINFO=required"},
		"too many claims":                   {when(scriptedop.UserInfo, scriptedop.JSON(200, map[string]any{"sub": "alice", "x": strings.Repeat("x", 65<<10)})), 502, "too large", "claims_too_large", "ERROR", none},
		"a person whom the product refuses": {hooked(&authn.Refusal{Heading: "Not invited"}), 403, "Not invited", "product_refused", "INFO", none},
		"a sign-in hook that fails":         {hooked(errors.New("broken")), 503, "could not be finished", "sign_in_hook_failed", "ERROR", none},
		"a callback":                        {callback(func(*halfClosed, url.Values) {}), 303, "/profile", none, none, none},

		// The session.
		"a page that needs one":               {get("/dashboard"), 303, "/login", "sign_in_needed", none, none},
		"a page that needs one, htmx":         {get("/dashboard", "HX-Request", "true"), 401, none, none, none, none},
		"a page that needs one, for programs": {get("/dashboard", "Accept", "application/json"), 401, "Sign in first", none, none, none},
		"a session that has ended": {func(h *halfClosed) *http.Request {
			r := h.own("GET", "/dashboard", nil)
			h.v.Direct(logout(func(*scriptedop.JWT) {})(h))
			return r
		}, 303, "/signed-out", "session_ended", "INFO", none},
		"a page for others":       {own("GET", "/admin", nil), 403, "have access", "claim_missing", "INFO", none},
		"nothing to continue":     {own("GET", "/resume/x", nil), 404, "nothing to continue", "nothing_held", "INFO", none},
		"a step-up":               {after(late, own("POST", "/sessions/end-others", url.Values{})), 401, `href="/resume/`, "step_up_needed", none, none},
		"a step-up, for programs": {after(late, own("POST", "/sessions/end-others", url.Values{}, "Accept", "application/json")), 401, "Sign in again", none, none, none},
		"a form too large to keep": {after(late, func(h *halfClosed) *http.Request {
			r := raw("POST", "/sessions/end-others", apptest.FormType, "x="+strings.Repeat("!", 30<<10))(h) // three times as long when it is kept
			r.Header.Set("Cookie", h.v.CookieHeader())
			return r
		}), 403, "this form cannot be kept", "form_too_large", "WARN", none},
		"a page of one's own":        {own("GET", "/dashboard", nil), 200, "alice", none, none, none},
		"no credentials for the API": {get("/api/me"), 401, "Sign in first", "no_credentials", none, none},
		"half a bearer token":        {get("/api/me", "Authorization", "Bearer a b"), 400, "malformed", "invalid_request", "INFO", none},
		"a bearer token of nobody":   {get("/api/me", "Authorization", "Bearer x"), 401, "access token was refused", "access_token_invalid", "INFO", none},
		"a token without the scope":  {report("openid"), 403, "reports:read", "insufficient_scope", "INFO", none},
		"a token with the scope":     {report("reports:read"), 200, "the report", none, none, none},
		"a bound token":              {bound(func(*scriptedop.JWT) {}), 200, `"alice"`, none, none, none},
		"a proof for another method": {bound(func(proof *scriptedop.JWT) { proof.Claims["htm"] = "POST" }), 401, "proof was refused", "invalid_dpop_proof", "INFO", none},
		"a proof without a nonce":    {bound(func(*scriptedop.JWT) {}), 401, "needs a nonce", "use_dpop_nonce", "INFO", "API_DPOP_NONCE=required"},
		"too many proofs": {after(func(h *halfClosed) {
			for range 2000 {
				h.Assembled.Handler.ServeHTTP(httptest.NewRecorder(), bound(func(*scriptedop.JWT) {})(h))
			}
		}, bound(func(*scriptedop.JWT) {})), 429, "more DPoP proofs", "too_many_calls", "WARN", none},
		"nearly too many proofs": {after(func(h *halfClosed) {
			for range 1999 {
				h.Assembled.Handler.ServeHTTP(httptest.NewRecorder(), bound(func(*scriptedop.JWT) {})(h))
			}
		}, bound(func(*scriptedop.JWT) {})), 200, `"alice"`, none, none, none},
		"too many open pages": {after(func(h *halfClosed) {
			for range 6 {
				h.v.Listen()
			}
		}, own("GET", "/events", nil)), 429, "Too many pages", "too_many_streams", "INFO", none},
		"an open page": {own("GET", "/events", nil), 200, "event: ", none, none, "LOG_LEVEL=debug"},

		// The profile.
		"too many refreshes": {after(func(h *halfClosed) {
			for range 4 {
				h.v.RefreshProfile()
			}
		}, own("POST", "/profile/refresh", url.Values{})), 429, "refreshed a moment ago", "too_soon", "INFO", none},
		"too many refreshes, for programs": {after(func(h *halfClosed) {
			for range 4 {
				h.v.RefreshProfile()
			}
		}, own("POST", "/profile/refresh", url.Values{}, "Accept", "application/json")), 429, "refreshed a moment ago", "too_soon", "INFO", none},
		"a profile that is refused":     {refreshing(scriptedop.UserInfo, scriptedop.Status(403)), 502, "could not be refreshed", "userinfo_failed", "WARN", none},
		"tokens that are not refreshed": {refreshing(scriptedop.Token, scriptedop.JSON(400, map[string]any{"error": "invalid_scope"})), 502, "could not be refreshed", "refresh_failed", "WARN", none},
		"tokens that cannot be refreshed": {after(func(h *halfClosed) {
			h.OP.Edit(scriptedop.Token, func(response map[string]any) { delete(response, "refresh_token") })
			h.SignIn(h.v)
			late(h)
		}, own("POST", "/profile/refresh", url.Values{})), 409, "cannot be refreshed", "refresh_refused", "INFO", none},
		"a refresh that ends the session": {refreshing(scriptedop.Token, scriptedop.JSON(400, map[string]any{"error": "invalid_grant"})), 401, "/signed-out", "session_ended", "INFO", none},
		"a refreshed profile":             {refreshing(scriptedop.UserInfo, nil), 303, "/dashboard?refreshed", none, none, none},

		// A product's page.
		"an error of no kind": {get("/unfinished"), 500, "Something went wrong", "internal_error", "ERROR", none},

		// Back-channel logout.
		"no form":                {raw("POST", "/backchannel-logout", "text/plain", "x"), 400, "invalid_request", "unsupported_media_type", "WARN", none},
		"no logout token":        {raw("POST", "/backchannel-logout", apptest.FormType, "x=y"), 400, "invalid_request", "logout_request_malformed", "WARN", none},
		"a forged logout token":  {logout(func(token *scriptedop.JWT) { token.Key = scriptedop.NewKey("key-1", "ES256") }), 400, "logout_token_invalid", "logout_token_invalid", "WARN", none},
		"a genuine logout token": {logout(func(*scriptedop.JWT) {}), 200, none, none, none, none},
	}
	covered := map[string]bool{
		"store_unavailable": true, // by TestHalfClosedConnectionAndTheStore
		"tenant_not_listed": true, // by TestTenants in internal/e2e/login: it takes another issuer
		// Over HTTPS, by TestWithoutDeviceProof and TestDeviceProofs.
		"renewal_needed": true, "device_proof_refused": true,
		// By TestHalfClosedConnectionAndTheAPI.
		"api_token_refused": true, "not_data": true, "upstream_answer_refused": true, "upstream_timeout": true,
		"upstream_token_refused": true, "upstream_token_renewed": true, "upstream_unreachable": true,
		"invalid_token": true, // the answer to a bearer token of nobody, whose log line has the exact reason
	}
	for name, tt := range cases {
		covered[tt.reason] = true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := append(strings.Fields(tt.env), "AUTH0_AUDIENCE="+apiAudience)
			h := newHalfClosed(t, func(store authn.Store) authn.Store { return promptStore{store} }, env...)
			routes.AddProductRoutes(h.Assembled.Handler)
			h.check(tt.request(h), tt.status, tt.says, tt.reason, tt.level, 1)
		})
	}
	for _, reason := range routes.Reasons() {
		if !covered[reason] {
			t.Errorf("no case refuses for the reason %s", reason)
		}
	}
}

// TestHalfClosedConnectionAndTheStore refuses requests over half-closed connections because of the
// store. The fault is the store's if it is down, and the client's if the client has cancelled the
// question.
func TestHalfClosedConnectionAndTheStore(t *testing.T) {
	t.Parallel()
	store, err := boltstore.Open(filepath.Join(t.TempDir(), "sessions.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	const says, reason = "check your session right now", "store_unavailable"
	cancelled := newHalfClosed(t, func(authn.Store) authn.Store { return store }, "LOG_LEVEL=debug")
	cancelled.check(cancelled.own("POST", "/session/extend", url.Values{}), 499, says, reason, "DEBUG", 0)

	down := newHalfClosed(t, func(authn.Store) authn.Store { return promptStore{store} })
	token := down.OP.LogoutToken().Compact()
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	down.check(down.own("GET", "/dashboard", nil), 503, says, reason, "ERROR", 1)
	down.check(down.v.Raw("POST", "/backchannel-logout", apptest.FormType, "logout_token="+token), 400, reason, reason, "ERROR", 1)
}

// TestHalfClosedConnectionAndTheAPI passes requests on to an API over half-closed connections. Some are
// answered, and some refused.
func TestHalfClosedConnectionAndTheAPI(t *testing.T) {
	t.Parallel()
	const no, long = "", 65 << 10
	unauthorized := scriptedop.Body(401, "text/plain", "no")
	for name, tt := range map[string]struct {
		answer  http.HandlerFunc
		body    int
		headers []string
		api     openid.API
		after   time.Duration
		timeout time.Duration
		status  int
		says    string
		reason  string
		level   string
	}{
		"an answer":              {answer: scriptedop.Body(200, "text/plain", "orders"), body: 10, status: 200, says: "orders"},
		"no answer":              {answer: hangUp(no), status: 502, says: "not responding", reason: "upstream_unreachable", level: "WARN"},
		"no answer in time":      {answer: stall(no), timeout: 3 * time.Second, status: 504, says: "too slow", reason: "upstream_timeout", level: "WARN"},
		"a redirect":             {answer: scriptedop.Redirect(302, "/"), status: 502, says: "wrong answer", reason: "upstream_answer_refused", level: "ERROR"},
		"a new token is refused": {answer: unauthorized, status: 502, says: "refused", reason: "upstream_token_refused", level: "ERROR"},
		"an old token, and a long body": {
			answer: unauthorized, body: long, after: time.Minute, status: 503, says: "Send that again", reason: "upstream_token_renewed", level: "INFO",
		},
		"a script of a page": {headers: []string{"Sec-Fetch-Dest", "script"}, status: 403, says: "There is no page here", reason: "not_data", level: "WARN"},
		"no token for the API": {
			api: openid.API{Audience: "https://orders.example"}, status: 502, says: "set up correctly", reason: "api_token_refused", level: "ERROR",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHalfClosed(t, func(store authn.Store) authn.Store { return promptStore{store} })
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				tt.answer(w, r)
			}))
			defer server.Close()
			h.Assembled.Handler.Proxy("/api/orders", routes.Upstream{URL: server.URL, API: tt.api, Timeout: tt.timeout})
			if tt.api != (openid.API{}) {
				h.OP.Answer(scriptedop.Token, scriptedop.JSON(400, map[string]any{"error": "invalid_target"}))
			}
			h.clock.Move(tt.after)
			req := h.own("POST", "/api/orders", nil, tt.headers...)
			req.Body, req.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("x", tt.body))), int64(tt.body)
			h.check(req, tt.status, tt.says, tt.reason, tt.level, 1)
		})
	}
}

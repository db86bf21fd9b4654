package routes_test

import (
	"net/http"
	"net/url"
	"testing"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestSignedResponse (CB-26) opens signed responses (JARM) in browsers: their own once and again,
// another one, and with plain parameters in it.
func TestSignedResponse(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t, "RESPONSE_MODE=jwt")
	v := s.Visitor()
	address := v.AuthorizationResponse("/profile")
	if names := apptest.Query(t, address); len(names) != 1 || !names.Has("response") {
		t.Fatalf("the response is %v", names)
	}
	t.Run("plain parameters beside it", func(t *testing.T) {
		victim := s.Visitor()
		own := victim.AuthorizationResponse("/profile")
		got := victim.Callback(apptest.WithQuery(t, own, func(q url.Values) { q.Set("code", "injected") }))
		s.WantRefused(victim, got, http.StatusBadRequest, openid.ReasonResponseMalformed, 0, 0)
		s.WantSignedIn(victim, victim.Callback(own), "alice", "/profile") // the transaction is not used up
	})
	t.Run("a plain response", func(t *testing.T) {
		victim := s.Visitor()
		victim.AuthorizationResponse("/profile")
		state := apptest.Query(t, victim.AuthorizationRequest("/profile")).Get("state")
		got := victim.Callback("/callback?" + url.Values{"state": {state}, "code": {"injected"}, "iss": {s.OP.Issuer}}.Encode())
		s.WantRefused(victim, got, http.StatusBadRequest, openid.ReasonResponseMalformed, 1, 1)
	})
	t.Run("a forged one", func(t *testing.T) {
		s.OP.EditResponse(func(r *scriptedop.JWT) { r.Key = scriptedop.NewKey("key-1", "ES256") })
		defer s.OP.EditResponse(nil)
		victim := s.Visitor()
		got := victim.Callback(victim.AuthorizationResponse("/profile"))
		s.WantRefused(victim, got, http.StatusBadGateway, openid.ReasonResponseInvalid, 1, 1)
	})
	t.Run("in another browser", func(t *testing.T) {
		stranger := s.Visitor()
		got := stranger.Callback(address)
		if location := got.Header.Get("Location"); location != "/login?again=1&return_to=%2Fprofile" {
			t.Errorf("answered %d to %q", got.StatusCode, location)
		}
		s.WantNoSession(stranger, got)
	})
	t.Run("once, and again", func(t *testing.T) {
		cookies := v.CookieHeader()
		s.WantSignedIn(v, v.Callback(address), "alice", "/profile")
		replayed := s.Visitor() // it sends the transaction's cookie, too
		got := replayed.Direct(replayed.Request(http.MethodGet, address, nil, "Cookie", cookies))
		s.WantNoSession(replayed, got)
		s.WantCalls(2, 2)
		if lines := s.Logged("sign-in started again", got.Header.Get("X-Request-Id")); len(lines) != 1 || lines[0]["reason"] != string(authn.ReasonTransactionUsed) {
			t.Errorf("the log says %v", lines)
		}
	})
}

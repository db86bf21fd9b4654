package session

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestOpenedSessionsAreCurrent has both nodes keep a session and its cards, and changes the session
// on one. No later answer of either is from before the change: at once on the node that made it, and
// on the other as soon as Redis has told it.
func TestOpenedSessionsAreCurrent(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) (one, two *apptest.Scripted){
		"one node": func(t *testing.T) (one, two *apptest.Scripted) {
			one = apptest.StartScripted(t)
			return one, one
		},
		"two nodes": func(t *testing.T) (one, two *apptest.Scripted) {
			one, two, _ = apptest.StartNodes(t)
			return one, two
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, two := start(t)
			for change, c := range map[string]struct {
				make func(v, other *apptest.Visitor) // of v's session
				says string                          // on the dashboard; "" if the session is over
			}{
				"ended":    {func(v, _ *apptest.Visitor) { post(v, "/logout") }, ""},
				"revoked":  {func(_, other *apptest.Visitor) { post(other, "/sessions/end-others") }, ""},
				"replaced": {func(v, _ *apptest.Visitor) { one.SignIn(v) }, ""},
				"ended by the provider": {func(v, _ *apptest.Visitor) {
					v.Send("/backchannel-logout", "application/x-www-form-urlencoded", url.Values{"logout_token": {one.OP.LogoutToken().Compact()}}.Encode())
				}, ""},
				"refreshed": {func(v, _ *apptest.Visitor) { v.RefreshProfile() }, "Grace Hopper"},
			} {
				t.Run(change, func(t *testing.T) {
					one.OP.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims["name"], claims["nickname"] = "Ada Lovelace", "ada" })
					v, other := one.Visitor(), one.Visitor()
					one.SignIn(other)
					one.SignIn(v)
					cookies := make(map[*apptest.Scripted]string) // as a thief or a second tab keeps them
					for _, node := range []*apptest.Scripted{one, two} {
						cookies[node] = v.At(node.App).CookieHeader()
					}
					dashboard := func(node *apptest.Scripted) apptest.Answer {
						v := node.Visitor()
						return v.WhenAvailable(v.Request(http.MethodGet, "/dashboard", nil, "Cookie", cookies[node]))
					}
					for _, node := range []*apptest.Scripted{one, two, one, two} {
						if got := dashboard(node); got.StatusCode != http.StatusOK || !strings.Contains(got.Body, "Ada Lovelace") {
							t.Fatalf("before the change the dashboard answers %d", got.StatusCode)
						}
					}
					one.OP.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims["name"] = "Grace Hopper" })
					c.make(v, other)
					current := func(node *apptest.Scripted) bool {
						got := dashboard(node)
						if c.says == "" {
							return got.StatusCode == http.StatusSeeOther
						}
						return strings.Count(got.Body, c.says) >= 3 &&
							strings.Contains(got.Body, "previously <del><bdi>Ada Lovelace") && strings.Contains(got.Body, "refresh: <del><bdi>ada<")
					}
					if !current(one) {
						t.Error("the node that made the change answers from before it")
					}
					apptest.Eventually(t, "the other node shows the change", func() bool { return current(two) })
				})
			}
		})
	}
}

func post(v *apptest.Visitor, path string) {
	v.T.Helper()
	if got := v.Direct(v.Request(http.MethodPost, path, nil, "Sec-Fetch-Site", "same-origin")); got.StatusCode >= 400 || got.Next() == "" {
		v.T.Fatalf("%s answers %d", path, got.StatusCode)
	}
}

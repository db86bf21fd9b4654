package browser

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"latchkey/authn"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestBrowserFederatedSignOut (LR-03, HB-03) follows a sign-out that goes on from the
// provider to another site, which the page's form-action does not name.
func TestBrowserFederatedSignOut(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]bool{"with JavaScript": true, "without JavaScript": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, _ := apptest.AssembleWith(t, func(c *authn.Config) { c.Auth0, c.FederatedLogout = true, true })
			upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, r.URL.Query().Get("then"), http.StatusFound)
			}))
			t.Cleanup(upstream.Close)
			a.OP.Answer(scriptedop.EndSession, func(w http.ResponseWriter, r *http.Request) {
				if !r.Form.Has("federated") {
					http.Error(w, "not federated", http.StatusBadRequest)
					return
				}
				then := r.Form.Get("post_logout_redirect_uri") + "?" + url.Values{"state": {r.Form.Get("state")}}.Encode()
				http.Redirect(w, r, upstream.URL+"/?"+url.Values{"then": {then}}.Encode(), http.StatusFound)
			})
			b := apptest.OpenBrowser(t, a.App)
			b.Expect(upstream.URL)
			if !script {
				b.WithoutJavaScript()
			}
			b.Open("/login")
			b.Click("#qsLogoutBtn")
			b.Wait("#qsLoginBtn")
			if got := b.Path(); !strings.HasPrefix(got, "/signed-out") {
				t.Errorf("signing out ends at %s", got)
			}
			if got := b.Text("main"); !strings.Contains(got, "here and at the sign-in service") {
				t.Errorf("the page says: %s", got)
			}
		})
	}
}

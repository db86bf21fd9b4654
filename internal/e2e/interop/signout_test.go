package interop

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// broker makes a provider send browsers on to a provider behind it, at sign-in and at sign-out, as a
// brokering Keycloak or Entra ID with ADFS does. It returns the origin of the other provider, which
// sends them back.
func broker(t *testing.T, op *scriptedop.Provider) (upstream string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Query().Get("then"), http.StatusFound)
	}))
	t.Cleanup(server.Close)
	for _, e := range []scriptedop.Endpoint{scriptedop.Authorize, scriptedop.EndSession} {
		op.Answer(e, func(w http.ResponseWriter, r *http.Request) {
			if r.Form.Has("returned") {
				op.Correct(e)(w, r)
				return
			}
			r.Form.Set("returned", "")
			then := op.URL(e) + "?" + r.Form.Encode()
			http.Redirect(w, r, server.URL+"/?"+url.Values{"then": {then}}.Encode(), http.StatusFound)
		})
	}
	return server.URL
}

// TestProviderBehindTheProvider (LR-03, HB-03) follows forms of the app in a browser to a provider
// that redirects on to a site that the page's form-action does not name.
func TestProviderBehindTheProvider(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]bool{"with JavaScript": true, "without JavaScript": false} {
		start := func(t *testing.T, change func(*apptest.Settings), metadata func(map[string]any)) (*apptest.Scripted, *apptest.Clock, *apptest.Browser) {
			t.Parallel()
			a, clock := apptest.AssembleWith(t, change)
			a.OP.Edit(scriptedop.Discovery, metadata)
			b := apptest.OpenBrowser(t, a.App)
			b.AllowComplaint(broker(t, a.OP))
			if !script {
				b.WithoutJavaScript()
			}
			b.Open("/login")
			b.Wait(".account-button")
			return a, clock, b
		}
		wantSignedOut := func(b *apptest.Browser) {
			b.T.Helper()
			b.SignOut()
			b.Wait("#qsLoginBtn")
			if got := b.Text("main"); !strings.HasPrefix(b.Path(), "/?") || !strings.Contains(got, "here and at the sign-in service") {
				b.T.Errorf("signing out ends at %s, which says: %s", b.Path(), got)
			}
		}
		t.Run("sign-out "+name, func(t *testing.T) {
			_, _, b := start(t, func(*apptest.Settings) {}, nil)
			wantSignedOut(b)
		})
		t.Run("federated sign-out "+name, func(t *testing.T) {
			a, _, b := start(t, func(c *apptest.Settings) { c.OpenID.Auth0, c.OpenID.FederatedLogout = true, true }, nil)
			wantSignedOut(b)
			if !a.OP.Last(scriptedop.EndSession).Query.Has("federated") {
				t.Error("the provider was not asked for a federated sign-out")
			}
		})
		// An old tenant brings no state back. That the browser comes from there has to do.
		t.Run("sign-out without a state "+name, func(t *testing.T) {
			a, _, b := start(t, func(c *apptest.Settings) { c.OpenID.Auth0 = true }, func(m map[string]any) { delete(m, "end_session_endpoint") })
			a.OP.Answer(scriptedop.Other, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, r.Form.Get("returnTo"), http.StatusFound)
			})
			b.SignOut()
			b.Wait("#qsLoginBtn")
			if got := b.Text("main"); !strings.Contains(got, "here and at the sign-in service") || a.OP.Calls(scriptedop.Other) != 1 {
				t.Errorf("signing out ends at %s, which says: %s", b.Path(), got)
			}
		})
		// The sign-in is too old to end the other sessions, so the form leads to the provider.
		t.Run("step-up "+name, func(t *testing.T) {
			a, clock, b := start(t, func(*apptest.Settings) {}, nil)
			other := a.Visitor()
			a.SignIn(other)
			clock.Move(11*time.Minute + time.Second)
			b.Open("/sessions")
			b.AllowComplaint("401")
			b.Click("#end-others")
			b.Click("#end-others-confirm")
			b.Wait("#resume-button")
			if !other.SignedIn() {
				t.Error("the other session ended before the person confirmed it")
			}
			b.Click("#resume-button")
			b.Wait("#sessions-card")
			if other.SignedIn() {
				t.Error("the other session has not ended")
			}
		})
		if script {
			continue // htmx leaves by itself, and so does the page when its session has expired
		}
		// The session has expired when the form arrives, and the form leads to a sign-in.
		t.Run("expired session "+name, func(t *testing.T) {
			_, clock, b := start(t, func(*apptest.Settings) {}, nil)
			b.Open("/profile")
			clock.Move(25 * time.Hour)
			b.AllowComplaint("401")
			b.Click("#profile-refresh-button")
			b.Wait(".account-button")
			apptest.Eventually(t, "the person is signed in again", func() bool { return strings.HasPrefix(b.Path(), "/profile") || b.Path() == "/dashboard" })
		})
	}
}

// TestRegisteredLogoutURL (LR-03) signs out at a provider that has one address registered, to the
// letter: the origin alone, as Auth0's quickstarts say, or another that AUTH0_LOGOUT_URL names. The
// doctor says what to do where the two differ.
func TestRegisteredLogoutURL(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		registered, configured string // below the origin; "default" configures nothing
		refused                bool
	}{
		"the quickstart's":                   {"", "default", false},
		"the origin with a slash":            {"/", "/", false},
		"the page of before":                 {"/signed-out", "/signed-out", false},
		"the page of before, not configured": {"/signed-out", "default", true},
		"the quickstart's, not configured":   {"", "/signed-out", true},
		"a slash too many":                   {"", "/", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := apptest.FreePort(t)
			base, env := "http://localhost:"+port, []string{"PORT=" + port}
			if tt.configured != "default" {
				env = append(env, "AUTH0_LOGOUT_URL="+base+tt.configured)
			}
			op := apptest.NewOP(t)
			op.Answer(scriptedop.EndSession, func(w http.ResponseWriter, r *http.Request) {
				if to := r.Form.Get("post_logout_redirect_uri"); to != "" && to != base+tt.registered {
					http.Error(w, "not registered", http.StatusBadRequest)
					return
				}
				op.Correct(scriptedop.EndSession)(w, r)
			})
			finding := apptest.Diagnose(t, append(apptest.Env(op), env...)...).Find(t, "sign_out")
			if (finding.Verdict == "failed") != tt.refused || tt.refused != strings.Contains(finding.Remedy, "AUTH0_LOGOUT_URL") {
				t.Errorf("the doctor says: %+v", finding)
			}
			s := apptest.StartBeside(t, op, env...)
			v := s.Visitor()
			end := v.Press(s.SignIn(v), "qsLogoutBtn")
			if tt.refused {
				if end.StatusCode != http.StatusBadRequest || v.SignedIn() {
					t.Errorf("signing out ends at %s with %d", end.Request.URL, end.StatusCode)
				}
				return
			}
			if address, _, _ := strings.Cut(end.Request.URL.String(), "?"); address != base+tt.registered {
				t.Errorf("signing out ends at %s", end.Request.URL)
			}
			if !strings.Contains(end.Body, "You are signed out") || !strings.Contains(end.Body, "Your session has ended here and at the sign-in service.") {
				t.Errorf("the page says\n%s", apptest.Text(apptest.Parse(t, end.Body)))
			}
		})
	}
}

// TestSignOutKeepsTheCache signs out in a browser. What the browser has in its cache stays there:
// clearing it takes seconds if other sites have filled it, and this app puts nothing private into it.
func TestSignOutKeepsTheCache(t *testing.T) {
	t.Parallel()
	b := apptest.OpenBrowser(t, apptest.Start(t))
	b.SignIn("/login", apptest.Ada)
	// The scripts are on the pages of a person only, so nothing fetches them again.
	script := apptest.Evaluate[string](b, `document.querySelector('script[src^="/static/session."]').getAttribute("src")`)
	b.SignOut()
	b.Wait("#qsLoginBtn")
	cached := apptest.Value(b, chromedp.Evaluate[string](
		`fetch("`+script+`", {cache: "only-if-cached", mode: "same-origin"}).then(r => r.statusText, e => e.message)`, chromedp.EvalAwaitPromise))
	if cached != "OK" {
		t.Errorf("after the sign-out, the browser's cache answers for %s: %s", script, cached)
	}
}

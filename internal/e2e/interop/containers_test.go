package interop

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// startBehind runs the app beside a provider that browsers reach at one address and the app at
// another, as in containers. It returns the paths that are asked for at the address for browsers.
func startBehind(t *testing.T, change func(*scriptedop.Provider), env ...string) (*apptest.Scripted, func() []string) {
	t.Helper()
	front := httptest.NewUnstartedServer(nil)
	op := scriptedop.New(t, scriptedop.Config{
		Origin: "http://" + front.Listener.Addr().String(), Path: "/realms/acme", Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")},
	})
	change(op)
	var mu sync.Mutex
	var paths []string
	front.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		paths = append(paths, strings.TrimPrefix(r.URL.Path, "/realms/acme"))
		mu.Unlock()
		op.ServeHTTP(w, r)
	})
	front.Start()
	t.Cleanup(front.Close)
	s := apptest.StartBeside(t, op, append([]string{"OIDC_BACKCHANNEL_ORIGIN=" + op.Server.URL, "AUTH0_SCOPES=openid profile email offline_access"}, env...)...)
	apptest.Eventually(t, "the provider is discovered", func() bool { return s.Log.Count("provider discovered") > 0 })
	return s, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return paths
	}
}

// TestProviderAtTwoAddresses signs in, refreshes and signs out. The browser goes to the provider's
// public address, and the app to the other one.
func TestProviderAtTwoAddresses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*scriptedop.Provider)
		env    []string
		pushed int
	}{
		"one name in all metadata": {func(*scriptedop.Provider) {}, nil, 0},
		"endpoints at the other address": {func(op *scriptedop.Provider) {
			op.Edit(scriptedop.Discovery, func(m map[string]any) {
				for _, name := range []string{"token_endpoint", "jwks_uri", "userinfo_endpoint", "revocation_endpoint"} {
					m[name] = op.Server.URL + strings.TrimPrefix(m[name].(string), strings.TrimSuffix(op.Issuer, "/realms/acme"))
				}
			})
		}, nil, 0},
		"pushed requests": {func(*scriptedop.Provider) {}, []string{"PUSHED_AUTHORIZATION_REQUESTS=always"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, browsed := startBehind(t, tt.change, tt.env...)
			v := s.Visitor()
			dashboard := s.SignIn(v)
			if page := v.Press(dashboard, "profile-refresh-button"); page.Request.URL.RequestURI() != "/dashboard?refreshed" {
				t.Errorf("a refresh ends at %s with %d", page.Request.URL, page.StatusCode)
			}
			token := s.OP.LogoutToken()
			if end := v.Press(dashboard, "qsLogoutBtn"); !strings.Contains(end.Body, "here and at the sign-in service") {
				t.Errorf("signing out ends at %s:\n%s", end.Request.URL, apptest.Text(apptest.Parse(t, end.Body)))
			}
			if got := v.Send("/backchannel-logout", apptest.FormType, url.Values{"logout_token": {token.Compact()}}.Encode()); got.StatusCode != http.StatusOK {
				t.Errorf("a logout token is answered %d", got.StatusCode)
			}
			if got := strings.Join(browsed(), " "); got != "/authorize /end_session" {
				t.Errorf("at the address for browsers, somebody asks for %s", got)
			}
			for e, want := range map[scriptedop.Endpoint]int{scriptedop.Token: 1, scriptedop.Revoke: 1, scriptedop.UserInfo: 2, scriptedop.PAR: tt.pushed, scriptedop.Other: 0} {
				if got := s.OP.Calls(e); got != want {
					t.Errorf("%q is called %d times, want %d", e, got, want)
				}
			}
		})
	}
}

// TestDoctorOfTwoAddresses examines the same provider, with the variable and without it.
func TestDoctorOfTwoAddresses(t *testing.T) {
	t.Parallel()
	op := scriptedop.New(t, scriptedop.Config{
		Origin: "http://127.0.0.1:1", Path: "/realms/acme", Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")},
	})
	without := apptest.Diagnose(t, apptest.Env(op)...).Find(t, "discovery")
	if !strings.Contains(without.Remedy, "OIDC_BACKCHANNEL_ORIGIN") {
		t.Errorf("without it, the doctor says: %+v", without)
	}
	with := apptest.Diagnose(t, append(apptest.Env(op), "OIDC_BACKCHANNEL_ORIGIN="+op.Server.URL)...)
	for _, check := range []string{"discovery", "issuer", "endpoints", "key_set", "client"} {
		if f := with.Find(t, check); f.Verdict != "ok" {
			t.Errorf("%s: %+v", check, f)
		}
	}
	if f := with.Find(t, "discovery"); !strings.Contains(f.Found, op.Issuer) || !strings.Contains(f.Found, "by way of "+op.Server.URL) {
		t.Errorf("the doctor says: %s", f.Found)
	}
}

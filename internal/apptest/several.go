package apptest

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/scriptedop"
)

// Several is an app beside several scripted providers.
type Several struct {
	*App
	// OPs are the providers by name.
	OPs map[string]*scriptedop.Provider
}

// StartSeveral runs the program beside scripted providers, and waits until it has discovered them. The
// order of the configuration is that of their names.
func StartSeveral(t *testing.T, ops map[string]*scriptedop.Provider, env ...string) *Several {
	t.Helper()
	s := &Several{App: Start(t, append(EnvOf(ops), env...)...), OPs: ops}
	Eventually(t, "the providers are discovered", func() bool { return s.Log.Count("provider discovered") == len(ops) })
	return s
}

// EnvOf returns the variables that make the app a client of scripted providers, by name.
func EnvOf(ops map[string]*scriptedop.Provider) []string {
	names := slices.Sorted(maps.Keys(ops))
	env := []string{"PROVIDERS=" + strings.Join(names, ","), "ID_TOKEN_ALG=ES256"}
	for _, name := range names {
		op, prefix := ops[name], strings.ToUpper(name)+"_"
		env = append(env, prefix+"OIDC_ISSUER="+op.Issuer, prefix+"CLIENT_ID="+op.ClientID, prefix+"CLIENT_SECRET="+op.ClientSecret)
	}
	return env
}

// AuthorizationResponse chooses a provider, and returns the address that it sends the browser back to.
func (s *Several) AuthorizationResponse(v *Visitor, provider string) string {
	s.T.Helper()
	return s.Follow(v, s.AuthorizationRequest(v, provider))
}

// AuthorizationRequest chooses a provider, and returns the address there that this leads to.
func (s *Several) AuthorizationRequest(v *Visitor, provider string) string {
	s.T.Helper()
	return s.Follow(v, "/login?provider="+provider)
}

// Follow opens an address, and returns where it redirects to.
func (s *Several) Follow(v *Visitor, address string) string {
	s.T.Helper()
	got := v.Direct(v.Request(http.MethodGet, address, nil))
	location := got.Header.Get("Location")
	if u, err := url.Parse(location); err != nil || got.StatusCode != http.StatusSeeOther || !u.IsAbs() {
		s.T.Fatalf("%s answers %d to %q\n%s", address, got.StatusCode, location, got.Body)
	}
	return location
}

// SignIn signs a visitor in as the person that a provider names, and returns the dashboard.
func (s *Several) SignIn(v *Visitor, provider string) Answer {
	s.T.Helper()
	end := v.Get("/login?provider=" + provider)
	if end.StatusCode != http.StatusOK || end.Request.URL.Path != "/dashboard" {
		s.T.Fatalf("signing in at %s ends at %s with %d\n%s", provider, end.Request.URL.Path, end.StatusCode, s.Log)
	}
	return end
}

// WantRefused checks that a callback refused a sign-in for a reason, and that nobody is signed in.
func (s *Several) WantRefused(v *Visitor, got Answer, reason string) {
	s.T.Helper()
	if lines := s.Logged("refused", got.Header.Get("X-Request-Id")); len(lines) != 1 || lines[0]["reason"] != reason {
		s.T.Errorf("answered %d, and the log says %v, want a refusal for %q", got.StatusCode, lines, reason)
	}
	if v.SignedIn() {
		s.T.Error("the dashboard opens")
	}
}

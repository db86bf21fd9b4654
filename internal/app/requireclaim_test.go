package app

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"latchkey/internal/scriptedop"
)

const rolesClaim = "https://latchkey.example/roles"

// saysRoles has the provider say roles, in userinfo, in the ID token or in both. nil says
// nothing.
func (s *scriptedApp) saysRoles(inUserInfo, inIDToken any) {
	s.op.Edit(scriptedop.UserInfo, func(claims map[string]any) {
		if inUserInfo != nil {
			claims[rolesClaim] = inUserInfo
		}
	})
	s.op.EditIDToken(func(token *scriptedop.JWT) {
		if inIDToken != nil {
			token.Claims[rolesClaim] = inIDToken
		}
	})
}

// admin asks for the page that needs a role.
func (v *visitor) admin(headers ...string) answer {
	v.t.Helper()
	return v.direct(v.request(http.MethodGet, "/admin", nil, headers...))
}

// TestRequireClaim (SE-15) asks for a page that needs a claim as people who have it, and
// who have something else.
func TestRequireClaim(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		roles any
		want  int
	}{
		"the role":            {[]string{"reader", "admin"}, http.StatusOK},
		"another role":        {[]string{"reader"}, http.StatusForbidden},
		"none":                {nil, http.StatusForbidden},
		"an empty list":       {[]string{}, http.StatusForbidden},
		"a string":            {"admin", http.StatusForbidden},
		"an object":           {map[string]any{"admin": true}, http.StatusForbidden},
		"another spelling":    {[]string{"Admin"}, http.StatusForbidden},
		"more than one wants": {slices.Repeat([]string{"<b>reader</b>"}, 500), http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startScripted(t)
			s.saysRoles(tt.roles, nil)
			v := s.visitor()
			dashboard := s.signInNow(v)
			got := v.admin()
			if got.StatusCode != tt.want {
				t.Fatalf("SE-15: answered %d\n%s", got.StatusCode, got.body)
			}
			if linked := strings.Contains(dashboard.body, `href="/admin"`); linked != (tt.want == http.StatusOK) {
				t.Errorf("the dashboard links to it: %t", linked)
			}
			s.wantNoSecrets(got)
			if strings.Contains(got.body, "<b>") || len(got.body) > 8<<10 {
				t.Errorf("a page of %d bytes:\n%s", len(got.body), got.body)
			}
		})
	}
}

// TestForbidden reads the answers to somebody who may not, in each of the ways in which a
// client can ask.
func TestForbidden(t *testing.T) {
	t.Parallel()
	s := startScripted(t)
	s.saysRoles([]string{"reader", "writer"}, nil)
	v := s.visitor()
	s.signInNow(v)

	page := v.admin()
	seen := text(parse(t, page.body))
	for _, want := range []string{rolesClaim, "a list with admin", "reader, writer", "Alice Example", "alice@example.com", page.Header.Get("X-Request-Id")} {
		if !strings.Contains(seen, want) {
			t.Errorf("the page does not say %q:\n%s", want, seen)
		}
	}
	// The header and the page name who it is; of the other claims there is nothing.
	if strings.Contains(page.body, s.issuer) || strings.Contains(page.body, "sid") {
		t.Errorf("it says more than it has to:\n%s", page.body)
	}
	if lines := s.logged("refused", page.Header.Get("X-Request-Id")); len(lines) != 1 || !strings.Contains(lines[0]["error"].(string), rolesClaim) || strings.Contains(lines[0]["error"].(string), "reader") {
		t.Errorf("the log says %v", lines)
	}

	fragment := v.admin("HX-Request", "true", "HX-Current-URL", s.url+"/sessions")
	if fragment.StatusCode != http.StatusForbidden || strings.Contains(fragment.body, "<html") || !strings.Contains(fragment.body, `role="alert"`) || !strings.Contains(fragment.body, rolesClaim) {
		t.Errorf("htmx: answered %d %s", fragment.StatusCode, fragment.body)
	}
	if link := switchLink(t, fragment); link != "/login?return_to=%2Fsessions&switch=1" {
		t.Errorf("htmx: the other account comes back by %q", link)
	}

	program := v.admin("Accept", "application/json")
	if program.StatusCode != http.StatusForbidden || program.Header.Get("Content-Type") != "application/problem+json" || strings.Contains(program.body, "reader") {
		t.Errorf("a program: answered %d %s", program.StatusCode, program.body)
	}

	if got := s.visitor().admin(); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/login?return_to=%2Fadmin" {
		t.Errorf("a visitor: answered %d to %q", got.StatusCode, got.Header.Get("Location"))
	}
}

// switchLink is where an answer leads those who have another account.
func switchLink(t *testing.T, got answer) string {
	t.Helper()
	link := find(parse(t, got.body), func(n *html.Node) bool { return n.Data == "a" && text(n) == "Use another account" })
	if link == nil {
		t.Fatalf("it offers no other account:\n%s", got.body)
	}
	return attribute(link, "href")
}

// TestUseAnotherAccount (SE-11) goes on as somebody else who may. Of the first person
// nothing is left.
func TestUseAnotherAccount(t *testing.T) {
	t.Parallel()
	s := startScripted(t)
	s.saysRoles([]string{"only-alice"}, nil)
	v := s.visitor()
	s.signInNow(v)
	before := v.client.Jar.Cookies(v.request(http.MethodGet, "/", nil).URL)
	link := switchLink(t, v.admin())
	if asked := query(t, v.authorizationRequest(link)); asked.Get("prompt") != "login" {
		t.Errorf("the provider is asked with prompt %q", asked.Get("prompt"))
	}
	if !v.signedIn() {
		t.Error("AR-12: asking for another account has ended the session")
	}
	s.op.SignInAs("bob")
	s.saysRoles([]string{"admin"}, nil)
	end := v.get(link)
	if end.StatusCode != http.StatusOK || end.Request.URL.Path != "/admin" {
		t.Fatalf("it ends at %s with %d", end.Request.URL, end.StatusCode)
	}
	for _, page := range []answer{end, v.get("/dashboard"), v.get("/sessions")} {
		if strings.Contains(page.body, "lice") || !strings.Contains(page.body, "Bob Example") {
			t.Errorf("SE-11: %s is\n%s", page.Request.URL.Path, page.body)
		}
	}
	old := s.visitor()
	old.client.Jar.SetCookies(v.request(http.MethodGet, "/", nil).URL, before)
	if old.signedIn() {
		t.Error("SE-11: the first person's session is alive")
	}
}

// TestSwitchPrompt (AR-07) asks who signs in as the provider knows to be asked, and by
// nothing that a link says.
func TestSwitchPrompt(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		supported []string // nil: the metadata does not say
		link      string
		want      string
	}{
		"AR-07 a provider that does not say": {nil, "/login?switch=1", "login"},
		"AR-07 one that lists accounts":      {[]string{"none", "login", "select_account"}, "/login?switch=1", "select_account"},
		"AR-07 one that does not list them":  {[]string{"none", "login"}, "/login?switch=1", "login"},
		"AR-07 an ordinary sign-in":          {[]string{"select_account"}, "/login", ""},
		"AR-07 another value":                {[]string{"select_account"}, "/login?switch=none", ""},
		"AR-07 a prompt in the link":         {[]string{"select_account"}, "/login?prompt=none", ""},
		"AR-07 both":                         {nil, "/login?switch=1&prompt=none", "login"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := scriptedop.New(t, scriptedop.Config{Keys: []scriptedop.Key{scriptedop.NewKey("key-1", "ES256")}})
			op.Edit(scriptedop.Discovery, func(metadata map[string]any) {
				if tt.supported != nil {
					metadata["prompt_values_supported"] = tt.supported
				}
			})
			v := startBeside(t, op).visitor()
			asked := query(t, v.authorizationRequest(tt.link))
			if asked.Get("prompt") != tt.want || asked.Has("switch") || asked.Has("prompt") != (tt.want != "") {
				t.Errorf("the provider is asked with %v", asked)
			}
		})
	}
}

// TestClaimsAfterARefresh (SE-18) takes a role away, wherever it was said, and gives one.
func TestClaimsAfterARefresh(t *testing.T) {
	t.Parallel()
	role, none := []string{"admin"}, []string{}
	type says struct{ userInfo, idToken any }
	for name, tt := range map[string]struct {
		first, then says
		later       time.Duration // until the refresh: an hour later there is a new ID token too
		before      int
		after       int
	}{
		"SE-18 gone from userinfo":                       {says{role, nil}, says{nil, nil}, 0, 200, 403},
		"SE-18 empty in userinfo":                        {says{role, nil}, says{none, nil}, 0, 200, 403},
		"SE-18 gone from userinfo, in the old ID token":  {says{role, role}, says{nil, nil}, 0, 200, 403},
		"SE-18 empty in userinfo, in the old ID token":   {says{role, role}, says{none, none}, 0, 200, 403},
		"SE-18 gone from both":                           {says{role, role}, says{nil, nil}, 2 * time.Hour, 200, 403},
		"SE-18 gone from the ID token":                   {says{nil, role}, says{nil, nil}, 2 * time.Hour, 200, 403},
		"SE-18 empty in the ID token":                    {says{nil, role}, says{nil, none}, 2 * time.Hour, 200, 403},
		"SE-18 gone from userinfo, in the new ID token":  {says{role, role}, says{nil, role}, 2 * time.Hour, 200, 403},
		"SE-18 as before":                                {says{role, role}, says{role, role}, 0, 200, 200},
		"SE-18 in the ID token alone, as before":         {says{nil, role}, says{nil, role}, 0, 200, 200},
		"SE-18 in the ID token alone, and a new one":     {says{nil, role}, says{nil, role}, 2 * time.Hour, 200, 200},
		"SE-18 given in userinfo":                        {says{nil, nil}, says{role, nil}, 0, 403, 200},
		"SE-18 given in userinfo, the old ID token none": {says{none, none}, says{role, role}, 0, 403, 200},
		"SE-18 given in the ID token":                    {says{nil, nil}, says{nil, role}, 2 * time.Hour, 403, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, clock := assembleScripted(t)
			s.saysRoles(tt.first.userInfo, tt.first.idToken)
			v := s.visitor()
			s.signInNow(v)
			if got := v.admin(); got.StatusCode != tt.before {
				t.Fatalf("at first it answers %d", got.StatusCode)
			}
			s.saysRoles(tt.then.userInfo, tt.then.idToken)
			clock.Move(tt.later)
			for i := range 2 { // the second time nothing has changed any more
				if got := v.refreshProfile(); got.StatusCode != http.StatusOK {
					t.Fatalf("refreshing answers %d", got.StatusCode)
				}
				if got := v.admin(); got.StatusCode != tt.after {
					t.Errorf("after refresh %d it answers %d", i+1, got.StatusCode)
				}
			}
		})
	}
}

// TestNewIDTokenIsNewer (SE-18) takes a role away in a refreshed ID token, while userinfo does not
// answer: what userinfo said before that is older.
func TestNewIDTokenIsNewer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		first, then any
		before      int
		after       int
	}{
		"SE-18 taken away": {[]string{"admin"}, []string{}, 200, 403},
		"SE-18 the same":   {[]string{"admin"}, []string{"admin"}, 200, 200},
		"SE-18 given":      {[]string{}, []string{"admin"}, 403, 200},
		// A refreshed ID token need not repeat everything.
		"SE-18 not repeated": {[]string{"admin"}, nil, 200, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, clock := assembleScripted(t)
			s.saysRoles(tt.first, tt.first)
			v := s.visitor()
			s.signInNow(v)
			if got := v.admin(); got.StatusCode != tt.before {
				t.Fatalf("at first it answers %d", got.StatusCode)
			}
			s.saysRoles(nil, tt.then)
			s.op.Answer(scriptedop.UserInfo, scriptedop.Status(http.StatusInternalServerError))
			clock.Move(2 * time.Hour)
			if got := v.refreshProfile(); got.StatusCode != http.StatusBadGateway {
				t.Fatalf("refreshing answers %d", got.StatusCode)
			}
			if got := v.admin(); got.StatusCode != tt.after {
				t.Errorf("after that it answers %d", got.StatusCode)
			}
		})
	}
}

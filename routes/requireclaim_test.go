package routes_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

const rolesClaim = "https://latchkey.example/roles"

// saysRoles puts roles into userinfo, into the ID token, or both. nil puts none there.
func saysRoles(s *apptest.Scripted, inUserInfo, inIDToken any) {
	s.OP.Edit(scriptedop.UserInfo, func(claims map[string]any) {
		if inUserInfo != nil {
			claims[rolesClaim] = inUserInfo
		}
	})
	s.OP.EditIDToken(func(token *scriptedop.JWT) {
		if inIDToken != nil {
			token.Claims[rolesClaim] = inIDToken
		}
	})
}

// askAdmin opens the page that needs a role.
func askAdmin(v *apptest.Visitor, headers ...string) apptest.Answer {
	v.T.Helper()
	return v.Direct(v.Request(http.MethodGet, "/admin", nil, headers...))
}

// TestRequireClaim (SE-15) opens a page that needs a claim, as people who have it and as
// people who have something similar.
func TestRequireClaim(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		roles any
		want  int
	}{
		"the role":         {[]string{"reader", "admin"}, http.StatusOK},
		"another role":     {[]string{"reader"}, http.StatusForbidden},
		"none":             {nil, http.StatusForbidden},
		"an empty list":    {[]string{}, http.StatusForbidden},
		"a string":         {"admin", http.StatusForbidden},
		"an object":        {map[string]any{"admin": true}, http.StatusForbidden},
		"another spelling": {[]string{"Admin"}, http.StatusForbidden},
		"a huge list":      {slices.Repeat([]string{"<b>reader</b>"}, 500), http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := apptest.StartScripted(t)
			saysRoles(s, tt.roles, nil)
			v := s.Visitor()
			dashboard := s.SignIn(v)
			got := askAdmin(v)
			if got.StatusCode != tt.want {
				t.Fatalf("SE-15: answered %d\n%s", got.StatusCode, got.Body)
			}
			if linked := strings.Contains(dashboard.Body, `href="/admin"`); linked != (tt.want == http.StatusOK) {
				t.Errorf("the dashboard links to it: %t", linked)
			}
			s.WantNoSecrets(got)
			if strings.Contains(got.Body, "<b>") || len(got.Body) > 8<<10 {
				t.Errorf("a page of %d bytes:\n%s", len(got.Body), got.Body)
			}
		})
	}
}

// TestForbidden checks the refusal in each form that a client may ask for.
func TestForbidden(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	saysRoles(s, []string{"reader", "writer"}, nil)
	v := s.Visitor()
	s.SignIn(v)

	page := askAdmin(v)
	seen := apptest.Text(apptest.Parse(t, page.Body))
	for _, want := range []string{"You don't have access · ", "You don't have access This page needs the admin role.", rolesClaim, "a list with admin", "reader, writer", "Alice Example", "alice@example.com", page.Header.Get("X-Request-Id")} {
		if !strings.Contains(seen, want) {
			t.Errorf("the page does not say %q:\n%s", want, seen)
		}
	}
	// The header and the page name the person. No other claim is shown.
	if strings.Contains(page.Body, s.Issuer) || strings.Contains(page.Body, "sid") {
		t.Errorf("the page shows other claims:\n%s", page.Body)
	}
	if lines := s.Logged("refused", page.Header.Get("X-Request-Id")); len(lines) != 1 || !strings.Contains(lines[0]["error"].(string), rolesClaim) || strings.Contains(lines[0]["error"].(string), "reader") {
		t.Errorf("the log says %v", lines)
	}

	fragment := askAdmin(v, "HX-Request", "true", "HX-Current-URL", s.URL+"/sessions")
	if fragment.StatusCode != http.StatusForbidden || strings.Contains(fragment.Body, "<html") || !strings.Contains(fragment.Body, `role="alert"`) || !strings.Contains(fragment.Body, rolesClaim) {
		t.Errorf("htmx: answered %d %s", fragment.StatusCode, fragment.Body)
	}
	if link := apptest.Link(t, fragment, "Use another account"); link != "/login?return_to=%2Fsessions&switch=1" {
		t.Errorf("htmx: Use another account links to %q", link)
	}

	program := askAdmin(v, "Accept", "application/json")
	if program.StatusCode != http.StatusForbidden || program.Header.Get("Content-Type") != "application/problem+json" || strings.Contains(program.Body, "reader") {
		t.Errorf("a program: answered %d %s", program.StatusCode, program.Body)
	}

	if got := askAdmin(s.Visitor()); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/login?return_to=%2Fadmin" {
		t.Errorf("a visitor: answered %d to %q", got.StatusCode, got.Header.Get("Location"))
	}
}

// TestUseAnotherAccount (SE-11) continues as another person who has the role. Nothing of
// the first person is left.
func TestUseAnotherAccount(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	saysRoles(s, []string{"only-alice"}, nil)
	v := s.Visitor()
	s.SignIn(v)
	before := v.Client.Jar.Cookies(v.Request(http.MethodGet, "/", nil).URL)
	link := apptest.Link(t, askAdmin(v), "Use another account")
	if asked := apptest.Query(t, v.AuthorizationRequest(link)); asked.Get("prompt") != "login" {
		t.Errorf("the provider is asked with prompt %q", asked.Get("prompt"))
	}
	if !v.SignedIn() {
		t.Error("AR-12: asking for another account has ended the session")
	}
	s.OP.SignInAs("bob")
	saysRoles(s, []string{"admin"}, nil)
	end := v.Get(link)
	if end.StatusCode != http.StatusOK || end.Request.URL.Path != "/admin" {
		t.Fatalf("it ends at %s with %d", end.Request.URL, end.StatusCode)
	}
	for _, page := range []apptest.Answer{end, v.Get("/dashboard"), v.Get("/sessions")} {
		if strings.Contains(page.Body, "lice") || !strings.Contains(page.Body, "Bob Example") {
			t.Errorf("SE-11: %s is\n%s", page.Request.URL.Path, page.Body)
		}
	}
	old := s.Visitor()
	old.Client.Jar.SetCookies(v.Request(http.MethodGet, "/", nil).URL, before)
	if old.SignedIn() {
		t.Error("SE-11: the first person's session is alive")
	}
}

// TestSwitchPrompt (AR-07) asks for another account with a prompt that the provider
// supports, and lets no link choose the prompt.
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
			v := apptest.StartBeside(t, op).Visitor()
			asked := apptest.Query(t, v.AuthorizationRequest(tt.link))
			if asked.Get("prompt") != tt.want || asked.Has("switch") || asked.Has("prompt") != (tt.want != "") {
				t.Errorf("the provider is asked with %v", asked)
			}
		})
	}
}

// TestClaimsAfterARefresh (SE-18) removes a role at the provider, in userinfo or in the ID
// token, and adds one.
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
			s, clock := apptest.Assemble(t)
			saysRoles(s, tt.first.userInfo, tt.first.idToken)
			v := s.Visitor()
			s.SignIn(v)
			if got := askAdmin(v); got.StatusCode != tt.before {
				t.Fatalf("at first it answers %d", got.StatusCode)
			}
			saysRoles(s, tt.then.userInfo, tt.then.idToken)
			clock.Move(tt.later)
			for i := range 2 { // the second time nothing has changed any more
				if got := v.RefreshProfile(); got.StatusCode != http.StatusOK {
					t.Fatalf("refreshing answers %d", got.StatusCode)
				}
				if got := askAdmin(v); got.StatusCode != tt.after {
					t.Errorf("after refresh %d it answers %d", i+1, got.StatusCode)
				}
			}
		})
	}
}

// TestNewIDTokenIsNewer (SE-18) changes a role in a refreshed ID token while userinfo does not
// answer. What the old ID token said and the new one does not counts no more, even if userinfo
// has said it, too.
func TestNewIDTokenIsNewer(t *testing.T) {
	t.Parallel()
	type says struct{ userInfo, idToken any }
	role, more, none := []string{"admin"}, []string{"admin", "reader"}, []string{}
	for name, tt := range map[string]struct {
		first         says
		then          any // in the new ID token
		before, after int
	}{
		"SE-18 gone":                                {says{role, role}, nil, 200, 403},
		"SE-18 gone, and in the ID token alone":     {says{nil, role}, nil, 200, 403},
		"SE-18 gone, and userinfo said more":        {says{more, role}, nil, 200, 403},
		"SE-18 empty":                               {says{role, role}, none, 200, 403},
		"SE-18 null":                                {says{role, role}, json.RawMessage("null"), 200, 403},
		"SE-18 another role is left":                {says{more, more}, []string{"reader"}, 200, 403},
		"SE-18 this role is left":                   {says{more, more}, role, 200, 200},
		"SE-18 the same":                            {says{role, role}, role, 200, 200},
		"SE-18 given":                               {says{none, none}, role, 403, 200},
		"SE-18 in userinfo alone, as it always was": {says{role, nil}, nil, 200, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, clock := apptest.Assemble(t)
			saysRoles(s, tt.first.userInfo, tt.first.idToken)
			v := s.Visitor()
			s.SignIn(v)
			if got := askAdmin(v); got.StatusCode != tt.before {
				t.Fatalf("at first it answers %d", got.StatusCode)
			}
			saysRoles(s, nil, tt.then)
			s.OP.Answer(scriptedop.UserInfo, scriptedop.Status(http.StatusInternalServerError))
			clock.Move(2 * time.Hour)
			if got := v.RefreshProfile(); got.StatusCode != http.StatusBadGateway {
				t.Fatalf("refreshing answers %d", got.StatusCode)
			}
			if got := askAdmin(v); got.StatusCode != tt.after {
				t.Errorf("after that it answers %d", got.StatusCode)
			}
		})
	}
}

// TestShortRefreshedIDToken (SE-18) has a provider whose refreshed ID tokens have no claims about
// the person. Their role waits for userinfo; their name and picture do not.
func TestShortRefreshedIDToken(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t)
	profile := func(claims map[string]any) {
		claims["name"], claims["picture"], claims[rolesClaim] = "Alice Example", "https://pictures.example/alice", []string{"admin"}
	}
	s.OP.Edit(scriptedop.UserInfo, profile)
	s.OP.EditIDToken(func(token *scriptedop.JWT) { profile(token.Claims) })
	v, other := s.Visitor(), s.Visitor()
	s.SignIn(v)
	s.SignIn(other)
	s.OP.EditIDToken(nil)
	clock.Move(2 * time.Hour)
	if got := other.RefreshProfile(); got.StatusCode != http.StatusOK || !strings.Contains(got.Body, "Up to date") || askAdmin(other).StatusCode != http.StatusOK {
		t.Errorf("with userinfo at once it answers %d, and the page %d\n%s", got.StatusCode, askAdmin(other).StatusCode, got.Body)
	}
	s.OP.Answer(scriptedop.UserInfo, scriptedop.Status(http.StatusInternalServerError))
	if got := v.RefreshProfile(); got.StatusCode != http.StatusBadGateway {
		t.Fatalf("refreshing answers %d", got.StatusCode)
	}
	refused := askAdmin(v)
	if refused.StatusCode != http.StatusForbidden || !strings.Contains(refused.Body, "Alice Example") {
		t.Errorf("without userinfo it answers %d\n%s", refused.StatusCode, refused.Body)
	}
	s.OP.Answer(scriptedop.UserInfo, nil)
	got := v.RefreshProfile()
	if got.StatusCode != http.StatusOK || askAdmin(v).StatusCode != http.StatusOK {
		t.Errorf("with userinfo it answers %d, and the page %d", got.StatusCode, askAdmin(v).StatusCode)
	}
}

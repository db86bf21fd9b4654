package authn_test

import (
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

// people signs in Alice twice, once on a phone, and two others, and returns the values of
// their cookies.
func people(t *testing.T, s *site) map[string]string {
	t.Helper()
	phone := signInOf("alice")
	phone.Identity.SID = "sid-of-alices-phone"
	elsewhere := signInOf("alice")
	elsewhere.Identity.Issuer = "https://other.example/"
	cookies := map[string]string{}
	for who, in := range map[string]*authn.SignIn{
		"alice": signInOf("alice"), "alice's phone": phone, "bob": signInOf("bob"), "alice of another issuer": elsewhere,
	} {
		_, cookies[who] = newVisitor(t).signIn(t, s, in)
	}
	return cookies
}

// TestEndAllByLogoutToken (LB-08) checks which sessions a logout token ends.
func TestEndAllByLogoutToken(t *testing.T) {
	t.Parallel()
	in := signInOf("alice").Identity
	for _, c := range []struct {
		name   string
		token  openid.LogoutToken
		ended  []string
		reason openid.Reason
	}{
		{name: "LB-08 a sid ends that session", token: openid.LogoutToken{Issuer: issuer, SID: in.SID}, ended: []string{"alice"}},
		{name: "LB-08 a sub ends all of the subject's", token: openid.LogoutToken{Issuer: issuer, Subject: in.Subject}, ended: []string{"alice", "alice's phone"}},
		{name: "LB-08 both end that session", token: openid.LogoutToken{Issuer: issuer, Subject: in.Subject, SID: in.SID}, ended: []string{"alice"}},
		{name: "LB-08 a sid of another subject ends nothing", token: openid.LogoutToken{Issuer: issuer, Subject: "subject|bob", SID: in.SID}, reason: openid.ReasonLogoutTokenInvalid},
		{name: "LB-08 another issuer ends its own", token: openid.LogoutToken{Issuer: "https://other.example/", Subject: in.Subject}, ended: []string{"alice of another issuer"}},
		{name: "LB-14 an unknown sid is no error", token: openid.LogoutToken{Issuer: issuer, SID: "unknown"}},
		{name: "LB-14 an unknown sub is no error", token: openid.LogoutToken{Issuer: issuer, Subject: "unknown"}},
		{name: "LB-08 a sid is no sub", token: openid.LogoutToken{Issuer: issuer, Subject: in.SID}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for store, s := range newSites(t) {
				cookies := people(t, s)
				c.token.IssuedAt = noon()
				n, err := s.EndAll(t.Context(), &c.token)
				wantReason(t, store+": EndAll", err, c.reason)
				if n != len(c.ended) {
					t.Errorf("%s: %d ended, want %d", store, n, len(c.ended))
				}
				for _, who := range c.ended {
					s.wantPerson(t, cookies[who], "")
					delete(cookies, who)
				}
				for who, value := range cookies {
					site, name := s, "alice"
					switch who {
					case "bob":
						name = who
					case "alice of another issuer":
						site = s.with(t, func(c *settings) { c.Issuer = "https://other.example/" })
					}
					site.wantPerson(t, value, name)
				}
			}
		})
	}
}

func TestLogoutAndLaterSignIns(t *testing.T) {
	t.Parallel()
	alice := signInOf("alice").Identity
	for name, token := range map[string]openid.LogoutToken{
		"by sid":  {Issuer: issuer, SID: alice.SID, IssuedAt: noon()},
		"by sub":  {Issuer: issuer, Subject: alice.Subject, IssuedAt: noon()},
		"by both": {Issuer: issuer, Subject: alice.Subject, SID: alice.SID, IssuedAt: noon()},
	} {
		t.Run("LB-10 LB-11 "+name, func(t *testing.T) {
			t.Parallel()
			for store, s := range newSites(t) {
				_, first := newVisitor(t).signIn(t, s, signInOf("alice"))
				wantEnded(t, s, &token, 1)
				later := signInOf("alice")
				later.IDToken.IssuedAt = noon().Add(time.Second)
				_, second := newVisitor(t).signIn(t, s, later)
				s.wantPerson(t, first, "")
				wantEnded(t, s, &token, 0)
				s.wantPerson(t, first, "")
				if s.wantPerson(t, second, "alice") == nil {
					t.Errorf("%s: the later session has ended", store)
				}
			}
		})
		t.Run("LB-12 "+name, func(t *testing.T) {
			t.Parallel()
			for store, s := range newSites(t) {
				previous, value := newVisitor(t).signIn(t, s, signInOf("bob"))
				wantEnded(t, s, &token, 0)
				wantRefused(t, store, s, value)
				s.after(15 * time.Minute) // as long as a sign-in may take
				if _, err := s.config.Sessions.Store.Sweep(t.Context(), s.clock.Now()); err != nil {
					t.Fatal(err)
				}
				wantRefused(t, store, s, value)
				if got := s.wantPerson(t, value, "bob"); got.LogID() != previous.LogID() {
					t.Errorf("%s: Bob's previous session was replaced", store)
				}
				_, twin := newVisitor(t).signIn(t, s, signInOf("carol"))
				s.wantPerson(t, twin, "carol")
			}
		})
	}
}

func wantEnded(t *testing.T, s *site, token *openid.LogoutToken, want int) {
	t.Helper()
	if n, err := s.EndAll(t.Context(), token); n != want || err != nil {
		t.Errorf("EndAll: %d ended, error %v, want %d", n, err, want)
	}
}

// wantRefused completes a sign-in of Alice's that began before the logout, in a browser
// that has a session.
func wantRefused(t *testing.T, store string, s *site, value string) {
	t.Helper()
	in := signInOf("alice")
	in.ReturnTo = localPath(t, "/reports")
	w := httptest.NewRecorder()
	session, err := s.Start(w, withCookies(t, "__Host-session="+value), in)
	wantReason(t, store+": Start", err, authn.ReasonSessionEnded)
	refused, ok := errors.AsType[*authn.SignInError](err)
	if session != nil || !errors.Is(err, authn.ErrEnded) || !ok || refused.ReturnTo.String() != "/reports" {
		t.Errorf("%s: Start: %v, %v", store, session, err)
	}
	wantNoCookie(t, w.Header())
}

// TestEndedSessionLeavesNoTokens (LB-18) looks for the tokens of a session that the
// provider has ended. The store has none, and nobody can use them. The app drops them
// without revoking them, because only the person's cookie opens them and the provider knows
// that the session has ended. If the person ends the session, the app revokes them (LR-05,
// RT-12).
func TestEndedSessionLeavesNoTokens(t *testing.T) {
	t.Parallel()
	for store, s := range newSites(t) {
		session, value := newVisitor(t).signIn(t, s, signInOf("alice"))
		before, err := s.config.Sessions.Store.Load(t.Context(), keyOf(value))
		if err != nil || len(before.Sealed) == 0 {
			t.Fatalf("%s: Load: %d bytes, %v", store, len(before.Sealed), err)
		}
		wantEnded(t, s, &openid.LogoutToken{Issuer: issuer, SID: session.Identity.SID, IssuedAt: noon()}, 1)
		after, err := s.config.Sessions.Store.Load(t.Context(), keyOf(value))
		if !errors.Is(err, authn.ErrNotFound) || len(after.Sealed) > 0 {
			t.Errorf("%s: the store still has %d sealed bytes (%v)", store, len(after.Sealed), err)
		}
		_, err = tokenSource(t, s).Token(authn.NewContext(t.Context(), session))
		if err != nil {
			t.Errorf("%s: a request in progress has lost its access token: %v", store, err)
		}
		_, err = tokenSource(t, s).Lease(t.Context(), session)
		wantReason(t, store+": using the refresh token", err, authn.ReasonSessionEnded)
	}
}

func TestWhoAPersonIs(t *testing.T) {
	t.Parallel()
	t.Run("ID-15 two people of one address", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		a.op.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims["email"] = "shared@example.com" })
		alice, bob := a.person(t), a.person(t)
		alice.wantSignedIn(alice.signIn(), "alice")
		a.op.SignInAs("bob")
		bob.wantSignedIn(bob.signIn(), "bob")
		token := a.op.LogoutToken()
		delete(token.Claims, "sid")
		if got := bob.signOutByProvider(token); got.status != http.StatusOK {
			t.Fatalf("refused: %s", got.text)
		}
		if alice.who().Subject != "alice" || bob.who().Subject != "" {
			t.Errorf("%q and %q are signed in", alice.who().Subject, bob.who().Subject)
		}
	})
	t.Run("ID-15 one person of two addresses", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		first, second := a.person(t), a.person(t)
		first.wantSignedIn(first.signIn(), "alice")
		a.op.Edit(scriptedop.UserInfo, func(claims map[string]any) { claims["email"] = "new@example.com" })
		second.wantSignedIn(second.signIn(), "alice")
		token := a.op.LogoutToken()
		delete(token.Claims, "sid")
		second.signOutByProvider(token)
		if first.who().Subject != "" || second.who().Subject != "" {
			t.Errorf("%q and %q are signed in", first.who().Subject, second.who().Subject)
		}
	})
	t.Run("ID-25 claims that live elsewhere are left there", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		elsewhere := func(claims map[string]any) {
			claims["_claim_names"] = map[string]any{"address": "src1"}
			claims["_claim_sources"] = map[string]any{"src1": map[string]any{"endpoint": a.op.Issuer + "/claims", "access_token": "x"}}
		}
		a.op.Edit(scriptedop.UserInfo, elsewhere)
		a.op.EditIDToken(func(token *scriptedop.JWT) { elsewhere(token.Claims) })
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		b.wantCalls(1, 1) // and none to unpublished addresses
	})
}

// TestWhomALogoutTokenSignsOut signs Alice in on two browsers and Bob on one.
func TestWhomALogoutTokenSignsOut(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		claims func(firstSID, bobsSID string) map[string]any
		status int
		left   []bool // who is signed in afterwards
	}{
		"LB-08 by sid":                        {func(s, _ string) map[string]any { return map[string]any{"sid": s} }, 200, []bool{false, true, true}},
		"LB-08 by sid and sub":                {func(s, _ string) map[string]any { return map[string]any{"sid": s, "sub": "alice"} }, 200, []bool{false, true, true}},
		"LB-08 by sub":                        {func(string, string) map[string]any { return map[string]any{"sub": "alice"} }, 200, []bool{false, false, true}},
		"LB-08 by sid, with another sub":      {func(s, _ string) map[string]any { return map[string]any{"sid": s, "sub": "bob"} }, 400, []bool{true, true, true}},
		"LB-08 by sid of one, sub of another": {func(_, b string) map[string]any { return map[string]any{"sid": b, "sub": "alice"} }, 400, []bool{true, true, true}},
		"LB-14 by a sid that is gone":         {func(string, string) map[string]any { return map[string]any{"sid": "gone"} }, 200, []bool{true, true, true}},
		"LB-14 by a sub that is nobody":       {func(string, string) map[string]any { return map[string]any{"sub": "carol"} }, 200, []bool{true, true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, appOptions{})
			people := []*person{a.person(t), a.person(t), a.person(t)}
			people[0].wantSignedIn(people[0].signIn(), "alice")
			people[1].wantSignedIn(people[1].signIn(), "alice")
			a.op.SignInAs("bob")
			people[2].wantSignedIn(people[2].signIn(), "bob")
			token := a.op.LogoutToken()
			delete(token.Claims, "sid")
			delete(token.Claims, "sub")
			maps.Copy(token.Claims, tt.claims(people[0].who().SID, people[2].who().SID))
			if got := a.person(t).signOutByProvider(token); got.status != tt.status {
				t.Errorf("answered %d, want %d: %s", got.status, tt.status, got.text)
			} else if tt.status != 200 && got.reason != openid.ReasonLogoutTokenInvalid {
				t.Errorf("reason is %q", got.reason)
			}
			for i, b := range people {
				if got := b.who().Subject != ""; got != tt.left[i] {
					t.Errorf("person %d is signed in: %t, want %t", i, got, tt.left[i])
				}
			}
		})
	}
}

func TestReplayedLogoutTokenEndsNoLaterSession(t *testing.T) {
	t.Parallel()
	t.Run("LB-10 replayed after the next sign-in", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		b.wantSignedIn(b.signIn(), "alice")
		a.clock.Move(time.Second)
		raw := &scriptedop.JWT{Raw: bySubject(a).Compact()}
		if got := b.signOutByProvider(raw); got.status != http.StatusOK {
			t.Fatalf("refused: %s", got.text)
		}
		a.clock.Move(time.Second)
		b.wantSignedIn(b.signIn(), "alice")
		if got := b.signOutByProvider(raw); got.status != http.StatusOK || b.who().Subject != "alice" {
			t.Errorf("answered with %d %q, and %q is signed in", got.status, got.reason, b.who().Subject)
		}
	})
	t.Run("LB-10 held back until after the next sign-in", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		before, after := a.person(t), a.person(t)
		before.wantSignedIn(before.signIn(), "alice")
		a.clock.Move(time.Second)
		token := bySubject(a)
		a.clock.Move(time.Second)
		after.wantSignedIn(after.signIn(), "alice")
		if got := a.person(t).signOutByProvider(token); got.status != http.StatusOK {
			t.Fatalf("refused: %s", got.text)
		}
		if before.who().Subject != "" || after.who().Subject != "alice" {
			t.Errorf("%q is signed in before, and %q after", before.who().Subject, after.who().Subject)
		}
	})
	t.Run("LB-10 another token of the same", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		b := a.person(t)
		for range 2 {
			b.wantSignedIn(b.signIn(), "alice")
			if got := b.signOutByProvider(a.op.LogoutToken()); got.status != http.StatusOK || b.who().Subject != "" {
				t.Fatalf("refused: %s", got.text)
			}
		}
	})
	t.Run("LB-12 it comes while the sign-in is under way", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{})
		var early answer
		b := a.person(t)
		a.op.Answer(scriptedop.Token, func(w http.ResponseWriter, r *http.Request) {
			early = a.person(t).signOutByProvider(a.op.LogoutToken())
			a.op.Correct(scriptedop.Token)(w, r)
		})
		got := b.get(b.authorize(b.begin("return_to=/orders")))
		if early.status != http.StatusOK {
			t.Errorf("the logout token is refused: %s", early.text)
		}
		b.wantRefused(got, authn.ReasonSessionEnded, 1, 1)
	})
}

// bySubject returns a logout token for all sessions of the person who signed in last.
func bySubject(a *app) *scriptedop.JWT {
	token := a.op.LogoutToken()
	delete(token.Claims, "sid")
	return token
}

func TestSignOut(t *testing.T) {
	t.Parallel()
	standard := []string{"client_id", "id_token_hint", "post_logout_redirect_uri", "state"}
	t.Run("LR-03 at the provider too", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{op: scriptedop.Config{Path: "/tenant/"}})
		wantSignOut(t, a, a.signOut(t), "/end_session", standard, "post_logout_redirect_uri")
	})
	t.Run("LR-01 the provider has no endpoint for it", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, appOptions{op: scriptedop.Config{Path: "/tenant/"}})
		a.op.Edit(scriptedop.Discovery, without("end_session_endpoint"))
		if location := a.signOut(t); location.String() != "" {
			t.Errorf("signing out leads to %s", location)
		}
	})
}

// signOut signs Alice in, and returns where signing out sends her. The zero URL means that
// she stays in the app.
func (a *app) signOut(t *testing.T) *url.URL {
	t.Helper()
	b := a.person(t)
	b.wantSignedIn(b.signIn(), "alice")
	got := b.post(a.URL+"/logout", nil)
	if who := b.who(); who.Subject != "" {
		t.Errorf("LR-01: %q is still signed in", who.Subject)
	}
	if got.status == http.StatusOK {
		return &url.URL{}
	}
	location, err := url.Parse(got.location)
	if err != nil {
		t.Fatal(err)
	}
	return location
}

// wantSignOut checks that a sign-out leads to a path at the provider, with exactly these
// parameters.
func wantSignOut(t *testing.T, a *app, location *url.URL, path string, parameters []string, returnTo string) {
	t.Helper()
	issuer, err := url.Parse(a.op.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	query := location.Query()
	if location.Host != issuer.Host || !strings.HasSuffix(location.Path, path) || len(query) != len(parameters) {
		t.Errorf("signing out leads to %s, want %s with %v", location, path, parameters)
	}
	for _, name := range parameters {
		if !query.Has(name) {
			t.Errorf("%s is missing: %s", name, location)
		}
	}
	if query.Get("client_id") != a.op.ClientID || query.Get(returnTo) != a.URL {
		t.Errorf("the parameters are %v", query)
	}
}

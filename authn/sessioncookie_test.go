package authn_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
)

// startCookie returns the cookie that a sign-in sets, and clearCookie the cookie that
// deletes it. Both return the other headers of the response too.
func startCookie(t *testing.T, s *site, in *authn.SignIn) (*http.Cookie, http.Header) {
	t.Helper()
	return onlyCookie(t, func(w http.ResponseWriter) {
		if _, err := s.Start(w, withCookies(t, ""), in); err != nil {
			t.Fatal(err)
		}
	})
}

func clearCookie(t *testing.T, s *site) (*http.Cookie, http.Header) {
	t.Helper()
	return onlyCookie(t, s.Clear)
}

func onlyCookie(t *testing.T, respond func(w http.ResponseWriter)) (*http.Cookie, http.Header) {
	t.Helper()
	w := httptest.NewRecorder()
	respond(w)
	cookies := w.Result().Cookies()
	if len(cookies) != 1 {
		t.Fatalf("%d cookies, want 1", len(cookies))
	}
	return cookies[0], w.Header()
}

func TestCookieAttributes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, cookie string
		secure       bool
	}{
		{"CK-01 https", "__Host-session", true},
		{"CK-10 http on loopback", "session_3000", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t).with(t, func(config *settings) {
				if !c.secure {
					config.RedirectURL = "http://localhost:3000/callback"
				}
			})
			got, _ := startCookie(t, s, signInOf("alice"))
			if got.Name != c.cookie || got.Secure != c.secure || !got.HttpOnly || got.Path != "/" || got.Domain != "" || got.SameSite != http.SameSiteLaxMode {
				t.Errorf("CK-01: %s", got)
			}
			if got.MaxAge != int((168*time.Hour)/time.Second) || !got.Expires.IsZero() {
				t.Errorf("CK-04: %s", got)
			}
			gone, _ := clearCookie(t, s)
			if gone.Value != "" || gone.MaxAge >= 0 {
				t.Errorf("CK-05: this cookie deletes nothing: %s", gone)
			}
			attributes := func(c *http.Cookie) string {
				copied := *c
				copied.Value, copied.MaxAge = "", 0
				return copied.String()
			}
			if a, b := attributes(got), attributes(gone); a != b {
				t.Errorf("CK-05: set with %q, deleted with %q", a, b)
			}
		})
	}
}

// TestCookieSizeIsConstant (CK-03) checks that large claims and tokens do not make the
// cookie longer.
func TestCookieSizeIsConstant(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	small, _ := startCookie(t, s, signInOf("alice"))
	in := signInOf("alice")
	in.Identity.UserInfo = openid.Claims(`{"sub":"x","groups":["` + strings.Repeat(`group","`, 15000) + `"]}`)
	in.Tokens.Access = openid.Secret(strings.Repeat("t", 8000))
	large, _ := startCookie(t, s, in)
	if len(small.Value) != len(large.Value) || len(large.String()) > 4096 {
		t.Errorf("%d bytes without claims, %d with", len(small.Value), len(large.Value))
	}
	session := s.wantPerson(t, large.Value, "alice")
	if string(session.Identity.UserInfo) != string(in.Identity.UserInfo) {
		t.Error("the claims are not what they were")
	}
}

// TestCookieLifetimeIsCheckedOnTheServer (CK-04) keeps a cookie for longer than the session
// lasts.
func TestCookieLifetimeIsCheckedOnTheServer(t *testing.T) {
	t.Parallel()
	s := newSite(t).with(t, func(c *settings) { c.Sessions.Idle, c.Sessions.Absolute = time.Minute, 90*time.Second+time.Millisecond })
	got, _ := startCookie(t, s, signInOf("alice"))
	if got.MaxAge != 90 {
		t.Errorf("Max-Age is %d, want 90", got.MaxAge)
	}
	s.after(59 * time.Second)
	s.wantPerson(t, got.Value, "alice")
	s.after(time.Minute)
	s.wantPerson(t, got.Value, "")
}

// TestDuplicateCookiesAreRejected (CK-06) sends two cookies with the name of the session
// cookie.
func TestDuplicateCookiesAreRejected(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	alice, _ := startCookie(t, s, signInOf("alice"))
	bob, _ := startCookie(t, s, signInOf("bob"))
	pair := func(value string) string { return "__Host-session=" + value }
	for name, header := range map[string]string{
		"two people":           pair(alice.Value) + "; " + pair(bob.Value),
		"the other way round":  pair(bob.Value) + "; " + pair(alice.Value),
		"one twice":            pair(alice.Value) + "; " + pair(alice.Value),
		"a good and a bad one": pair(alice.Value) + "; " + pair("x"),
		"a bad and a good one": pair("x") + "; " + pair(alice.Value),
		"an empty one":         pair("") + "; " + pair(alice.Value),
	} {
		r := withCookies(t, header)
		session, err := s.Load(r)
		if session != nil || err != nil {
			t.Errorf("%s: %v, %v", name, session, err)
		}
		if !s.SentCookie(r) {
			t.Errorf("%s: does not count as a cookie", name)
		}
	}
	twin := withCookies(t, "other=1; "+pair(alice.Value)+"; session=x")
	if session, err := s.Load(twin); session == nil || err != nil || !s.SentCookie(twin) {
		t.Errorf("control: %v, %v", session, err)
	}
}

// TestCookieNameIsExact sends cookies that another host of the domain could set: their names are not
// that of the session, but would be if white space other than spaces and tabs were ignored.
func TestCookieNameIsExact(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	alice, _ := startCookie(t, s, signInOf("alice"))
	for _, space := range []string{"", " ", "\t"} {
		if session, err := s.Load(withCookies(t, "a=b;"+space+alice.Name+space+"="+alice.Value)); session == nil || err != nil {
			t.Errorf("with %q around the name: %v, %v", space, session, err)
		}
	}
	for _, space := range []string{"\v", "\f", "\u0085", "\u00a0", "\u2000", "\u3000", "-"} {
		if session, err := s.Load(withCookies(t, "a=b; "+space+alice.Name+"="+alice.Value)); session != nil || err != nil {
			t.Errorf("with %q before the name: %v, %v", space, session, err)
		}
	}
}

// TestCookieIsSetOnlyWhenNeeded (CK-07) checks when a response sets the cookie, and that no
// cache keeps that response.
func TestCookieIsSetOnlyWhenNeeded(t *testing.T) {
	t.Parallel()
	s, alice := newSite(t), newVisitor(t)
	_, started := startCookie(t, s, signInOf("alice"))
	_, cleared := clearCookie(t, s)
	for name, h := range map[string]http.Header{"start": started, "clear": cleared} {
		if h.Get("Cache-Control") != "no-store" || !slices.Equal(h.Values("Vary"), []string{"Cookie"}) {
			t.Errorf("%s: %v", name, h)
		}
	}
	w := httptest.NewRecorder()
	w.Header().Set("Cache-Control", "public, max-age=60")
	w.Header().Set("Vary", "Accept-Encoding")
	s.Clear(w)
	s.Clear(w)
	if h := w.Header(); h.Get("Cache-Control") != "no-store" || !slices.Equal(h.Values("Vary"), []string{"Accept-Encoding", "Cookie"}) {
		t.Errorf("with other headers: %v", h)
	}

	alice.signIn(t, s, signInOf("alice"))
	s.after(time.Hour)
	header := alice.visit(t, func(w http.ResponseWriter, r *http.Request) {
		session, err := s.Load(r)
		if session == nil || err != nil {
			t.Fatalf("Load: %v, %v", session, err)
		}
		s.Touch(r.Context(), session)
		values, err := s.Get(r, "session")
		if err != nil {
			t.Fatal(err)
		}
		values.Values["colour"] = "red"
		if err := values.Save(r, w); err != nil {
			t.Fatal(err)
		}
	})
	wantNoCookie(t, header)
}

// TestSecretRotation (CK-08, CF-10) counts how often a record is sealed again.
// TestKeyIsReplaced does the same with the whole program.
func TestSecretRotation(t *testing.T) {
	t.Parallel()
	use := func(s *site, secrets ...openid.Secret) *site {
		return s.with(t, func(c *settings) { c.Sessions.Keys = newKeys(t, secrets...) })
	}
	before := use(newSite(t), oldSecret)
	_, visits := newVisitor(t).signIn(t, before, signInOf("alice"))
	_, staysAway := newVisitor(t).signIn(t, before, signInOf("bob"))

	both := use(before, appSecret, oldSecret)
	both.wantPerson(t, staysAway, "bob")
	both.Touch(t.Context(), both.wantPerson(t, visits, "alice"))
	if n := version(t, both, visits); n != 2 {
		t.Errorf("the record is at version %d, want 2", n)
	}
	both.Touch(t.Context(), both.wantPerson(t, visits, "alice"))
	if n := version(t, both, visits); n != 2 {
		t.Errorf("sealed a second time: version %d", n)
	}

	after := use(before, appSecret)
	after.wantPerson(t, visits, "alice")
	after.wantPerson(t, staysAway, "")
	before.wantPerson(t, visits, "")
	_, value := newVisitor(t).signIn(t, both, signInOf("carol"))
	after.wantPerson(t, value, "carol")
}

func version(t *testing.T, s *site, value string) uint64 {
	t.Helper()
	record, err := s.config.Sessions.Store.Load(t.Context(), keyOf(value))
	if err != nil {
		t.Fatal(err)
	}
	return record.Version
}

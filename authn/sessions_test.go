package authn_test

import (
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
)

// madeUp is a well-formed cookie value that was never issued.
const madeUp = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"

// TestSignInCreatesANewID (SE-01) signs one person in repeatedly in one browser.
func TestSignInCreatesANewID(t *testing.T) {
	t.Parallel()
	s, alice := newSite(t), newVisitor(t)
	_, before := alice.signIn(t, s, signInOf("alice"))
	s.wantPerson(t, before, "alice")
	seen := map[string]bool{}
	for range 50 {
		_, after := alice.signIn(t, s, signInOf("alice"))
		for part := range strings.SplitSeq(after, ".") {
			if random, err := base64.RawURLEncoding.DecodeString(part); err != nil || len(random) != 32 || seen[part] {
				t.Fatalf("a part of the cookie has %d bytes, seen before: %t, error %v", len(random), seen[part], err)
			}
			seen[part] = true
		}
		s.wantPerson(t, before, "")
		s.wantPerson(t, after, "alice")
		before = after
	}
	if n := s.records(t); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}

// TestPlantedCookieIsRejected (SE-01) signs in on a browser in which an attacker has set
// the session cookie.
func TestPlantedCookieIsRejected(t *testing.T) {
	t.Parallel()
	mallory := newVisitor(t)
	s := newSite(t)
	_, planted := mallory.signIn(t, s, signInOf("mallory"))
	for _, planted := range []string{planted, madeUp, "rubbish"} {
		alice := newVisitor(t)
		alice.jar.SetCookies(alice.origin, []*http.Cookie{{Name: "__Host-session", Value: planted, Path: "/", Secure: true}})
		if alice.cookie() != planted {
			t.Fatal("the cookie was not planted")
		}
		_, value := alice.signIn(t, s, signInOf("alice"))
		s.wantPerson(t, value, "alice")
		s.wantPerson(t, planted, "")
	}
}

// TestSessionOfAnotherIssuerIsRejected (DV-05) changes the provider, but keeps the store
// and the keys.
func TestSessionOfAnotherIssuerIsRejected(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, value := newVisitor(t).signIn(t, s, signInOf("alice"))
	for name, other := range map[string]string{
		"another provider": "https://other.example/", "the same without its slash": strings.TrimSuffix(issuer, "/"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.with(t, func(c *settings) { c.Issuer = other }).wantPerson(t, value, "")
			s.with(t, func(*settings) {}).wantPerson(t, value, "alice")
		})
	}
}

// TestUnknownSessionIsNotAdopted (SE-02) sends cookies whose sessions are not in the store.
func TestUnknownSessionIsNotAdopted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, expired := newVisitor(t).signIn(t, s, signInOf("alice"))
	s.after(24 * time.Hour)
	ended, value := newVisitor(t).signIn(t, s, signInOf("alice"))
	if err := s.End(t.Context(), ended, authn.CauseSignedOut); err != nil {
		t.Fatal(err)
	}
	_, alive := newVisitor(t).signIn(t, s, signInOf("alice"))

	for name, value := range map[string]string{"ended": value, "expired": expired, "chosen by the client": madeUp} {
		w, r := httptest.NewRecorder(), withCookies(t, "__Host-session="+value)
		values, err := s.Get(r, "session")
		if err != nil || !values.IsNew {
			t.Errorf("%s: Get: IsNew %t, error %v", name, values.IsNew, err)
		}
		values.Values["colour"] = "red"
		if err := values.Save(r, w); !errors.Is(err, authn.ErrAnonymous) {
			t.Errorf("%s: Save: %v", name, err)
		}
		wantNoCookie(t, w.Header())
		s.wantPerson(t, value, "")
	}
	s.wantPerson(t, alive, "alice")
	r := withCookies(t, "__Host-session="+alive)
	values, err := s.Get(r, "session")
	if err != nil || values.IsNew {
		t.Errorf("control: IsNew %t, error %v", values.IsNew, err)
	}
	values.Values["colour"] = "red"
	if err := values.Save(r, httptest.NewRecorder()); err != nil {
		t.Errorf("control: Save: %v", err)
	}
}

// TestVisitorHasNoRecord (SE-03) checks that only a sign-in creates a record.
func TestVisitorHasNoRecord(t *testing.T) {
	t.Parallel()
	s, visitor := newSite(t), newVisitor(t)
	for range 100 {
		header := visitor.visit(t, func(w http.ResponseWriter, r *http.Request) {
			session, err := s.Load(r)
			if session != nil || err != nil || s.SentCookie(r) {
				t.Errorf("Load: %v, %v", session, err)
			}
			values, err := s.Get(r, "session")
			if err != nil {
				t.Errorf("Get: %v", err)
			}
			if err := values.Save(r, w); err != nil {
				t.Errorf("Save: %v", err)
			}
		})
		wantNoCookie(t, header)
	}
	if n := s.records(t); n != 0 {
		t.Errorf("%d records for visitors", n)
	}
	visitor.signIn(t, s, signInOf("alice"))
	if n := s.records(t); n != 1 {
		t.Errorf("control: %d records, want 1", n)
	}
}

// TestInvalidCookieIsAnonymous (SE-05) sends cookies that open no session. None of them is
// an error. Those that look like ours are cleared; the others may be another application's.
func TestInvalidCookieIsAnonymous(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, good := newVisitor(t).signIn(t, s, signInOf("alice"))
	foreign := s.with(t, func(c *settings) { c.Sessions.Keys = newKeys(t, oldSecret) })
	_, foreignKey := newVisitor(t).signIn(t, foreign, signInOf("alice"))
	id, secret, _ := strings.Cut(good, ".")
	values := []string{
		"", ".", "..", "a.b", id, secret, id + ".", "." + secret, id + secret, id + "." + secret + ".", id + "." + secret + "=",
		secret + "." + id, id + "." + id, secret + "." + secret, strings.ToUpper(good), good + good, `"` + id + `"`,
		madeUp, foreignKey, strings.Repeat("x", 8000), "%00", "null", "undefined", `{"id":1}`, "../../etc/passwd",
	}
	written := regexp.MustCompile(`^[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{43}$`)
	random := rand.New(rand.NewPCG(1, 2)) // the same cookies every time
	for range 600 {
		values = append(values, mutate(random, good))
	}
	for _, value := range values {
		r := withCookies(t, "__Host-session="+value)
		session, err := s.Load(r)
		if session != nil || err != nil {
			t.Fatalf("Load of %q: %v, %v", value, session, err)
		}
		if sent := s.SentCookie(r); sent != written.MatchString(value) {
			t.Errorf("%q: counts %t", value, sent)
		}
		if _, err := s.Get(r, "session"); err != nil {
			t.Fatalf("Get of %q: %v", value, err)
		}
	}
	s.wantPerson(t, good, "alice")
}

// mutate changes a random part of a text.
func mutate(random *rand.Rand, text string) string {
	b, at := []byte(text), random.IntN(len(text))
	switch random.IntN(4) {
	case 0:
		return string(b[:at])
	case 1:
		return string(b[:at]) + string(b[at+1:])
	case 2:
		return string(b[:at]) + "-" + string(b[at:])
	default:
		const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!*~"
		for old := b[at]; b[at] == old; {
			b[at] = letters[random.IntN(len(letters))]
		}
		return string(b)
	}
}

// TestSignInAsAnotherPersonReplacesTheSession (SE-11) signs two people in on one browser,
// one after the other.
func TestSignInAsAnotherPersonReplacesTheSession(t *testing.T) {
	t.Parallel()
	s, shared := newSite(t), newVisitor(t)
	_, first := shared.signIn(t, s, signInOf("alice"))
	shared.visit(t, func(w http.ResponseWriter, r *http.Request) {
		values, err := s.Get(r, "session")
		if err != nil {
			t.Fatal(err)
		}
		values.Values["basket"] = "of alice"
		if err := values.Save(r, w); err != nil {
			t.Fatal(err)
		}
	})
	_, second := shared.signIn(t, s, signInOf("bob"))
	s.wantPerson(t, first, "")
	session := s.wantPerson(t, second, "bob")
	if claims := string(session.Identity.IDToken) + string(session.Identity.UserInfo); strings.Contains(claims, "alice") {
		t.Errorf("claims of the first person: %s", claims)
	}
	if values, err := s.Get(shared.request(t), "session"); err != nil || len(values.Values) > 0 {
		t.Errorf("values of the first person: %v, error %v", values.Values, err)
	}
	if _, err := s.config.Sessions.Store.Load(t.Context(), keyOf(first)); !errors.Is(err, authn.ErrNotFound) {
		t.Errorf("the record of the first person: %v", err)
	}
	other, third := newVisitor(t).signIn(t, s, signInOf("alice"))
	if other == nil {
		t.Fatal("no session")
	}
	s.wantPerson(t, third, "alice")
	s.wantPerson(t, second, "bob")
}

// TestOnlyTheCookieHeaderCounts (SE-17) sends the value of a valid cookie in other places.
func TestOnlyTheCookieHeaderCounts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, value := newVisitor(t).signIn(t, s, signInOf("alice"))
	pair := "__Host-session=" + value
	form := httptest.NewRequestWithContext(t.Context(), http.MethodPost, origin, strings.NewReader(pair))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	bearer := withCookies(t, "")
	bearer.Header.Set("Authorization", "Bearer "+value)
	header := withCookies(t, "")
	header.Header.Set("__Host-session", value)
	for name, r := range map[string]*http.Request{
		"query":               httptest.NewRequestWithContext(t.Context(), http.MethodGet, origin+"?"+pair, nil),
		"form":                form,
		"authorization":       bearer,
		"header":              header,
		"without the prefix":  withCookies(t, "session="+value),
		"in another spelling": withCookies(t, "__host-session="+value),
	} {
		if session, err := s.Load(r); session != nil || err != nil {
			t.Errorf("%s: %v, %v", name, session, err)
		}
	}
	s.wantPerson(t, value, "alice")
}

func FuzzLoad(f *testing.F) {
	for _, seed := range []string{"", ".", madeUp, strings.Repeat("A", 87), `"` + madeUp + `"`, madeUp + "; __Host-session=x", "\x00", "é.é", madeUp + "\t"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		s := newSite(t)
		_, good := newVisitor(t).signIn(t, s, signInOf("alice"))
		for _, cookie := range []string{value, good + value, value + good, good[:len(good)/2] + value + good[len(good)/2:]} {
			r := withCookies(t, "__Host-session="+cookie)
			session, err := s.Load(r)
			if err != nil {
				t.Fatalf("Load of %q: %v", cookie, err)
			}
			if sent := r.CookiesNamed("__Host-session"); session != nil && (len(sent) != 1 || sent[0].Value != good) {
				t.Fatalf("%q opened a session", cookie)
			}
		}
	})
}

func TestDevice(t *testing.T) {
	t.Parallel()
	const (
		windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) "
		mac     = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) "
		linux   = "Mozilla/5.0 (X11; Linux x86_64) "
		android = "Mozilla/5.0 (Linux; Android 10; K) "
		iphone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) "
		ipad    = "Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X) "
		webkit  = "AppleWebKit/537.36 (KHTML, like Gecko) "
		chrome  = webkit + "Chrome/140.0.0.0 Safari/537.36"
		mobile  = webkit + "Chrome/140.0.0.0 Mobile Safari/537.36"
	)
	for userAgent, want := range map[string]string{
		windows + chrome: "Chrome on Windows",
		mac + chrome:     "Chrome on macOS",
		linux + chrome:   "Chrome on Linux",
		android + mobile: "Chrome on Android",
		iphone + webkit + "CriOS/140.0 Mobile/15E148 Safari/604.1":                     "Chrome on iPhone",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) " + chrome:                           "Chrome on ChromeOS",
		windows + chrome + " Edg/140.0.0.0":                                            "Edge on Windows",
		android + mobile + " EdgA/140.0.0.0":                                           "Edge on Android",
		iphone + webkit + "Version/18.0 EdgiOS/140.0 Mobile/15E148 Safari/604.1":       "Edge on iPhone",
		windows + chrome + " OPR/120.0.0.0":                                            "Opera on Windows",
		android + webkit + "SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36": "Samsung Internet on Android",
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":       "Firefox on Linux",
		"Mozilla/5.0 (Android 14; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0":         "Firefox on Android",
		iphone + webkit + "FxiOS/140.0 Mobile/15E148 Safari/605.1.15":                  "Firefox on iPhone",
		mac + webkit + "Version/18.0 Safari/605.1.15":                                  "Safari on macOS",
		android + chrome: "Chrome on Android tablet",
		ipad + webkit + "Version/18.0 Mobile/15E148 Safari/604.1": "Safari on iPad",
		"curl/8.14.1":                          "curl",
		"":                                     "Unknown device",
		"<script>alert(1)</script>":            "Unknown device",
		strings.Repeat("x", 1<<20) + "Windows": "Unknown browser on Windows",
	} {
		if got := authn.DeviceOf(userAgent).String(); got != want {
			t.Errorf("the device of %.120q is %q, want %q", userAgent, got, want)
		}
	}
}

// TestSessionsOfAPersonAreLimited (SE-13) signs one person in repeatedly, without signing
// out.
func TestSessionsOfAPersonAreLimited(t *testing.T) {
	t.Parallel()
	signIns, limit := 10_000, 50
	if testing.Short() || raceDetector {
		signIns = 1_000
	}
	s := newSite(t)
	_, bob := newVisitor(t).signIn(t, s, signInOf("bob"))
	_, first := newVisitor(t).signIn(t, s, signInOf("alice"))
	last, kept := first, ""
	for n := range signIns {
		s.after(time.Duration(n) * time.Second)
		cookie, _ := startCookie(t, s, signInOf("alice"))
		if last = cookie.Value; n == signIns-limit {
			kept = last
		}
	}
	s.wantPerson(t, first, "")
	s.wantPerson(t, kept, "alice")
	s.wantPerson(t, last, "alice")
	s.wantPerson(t, bob, "bob")
	own, err := s.Own(t.Context(), s.wantPerson(t, last, "alice"))
	if err != nil || len(own) != limit {
		t.Errorf("there are %d sessions of one person (%v), want %d", len(own), err, limit)
	}
}

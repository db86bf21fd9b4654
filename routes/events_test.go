package routes_test

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// TestEventsAreForOpenPages (SS-01) requests the stream as a page of the app does, and in
// every way that it does not.
func TestEventsAreForOpenPages(t *testing.T) {
	t.Parallel()
	s, _ := apptest.Assemble(t)
	v := s.Visitor()
	s.SignIn(v)
	for name, tt := range map[string]struct {
		visitor *apptest.Visitor
		method  string
		headers []string
		status  int
	}{
		"a page of the app":            {v, http.MethodHead, []string{"Sec-Fetch-Site", "same-origin"}, http.StatusOK},
		"an old browser":               {v, http.MethodHead, nil, http.StatusOK},
		"one that sends the origin":    {v, http.MethodHead, []string{"Origin", s.URL}, http.StatusOK},
		"nobody signed in":             {s.Visitor(), http.MethodGet, []string{"Sec-Fetch-Site", "same-origin"}, http.StatusNoContent},
		"nobody signed in, asks why":   {s.Visitor(), http.MethodHead, []string{"Sec-Fetch-Site", "same-origin"}, http.StatusNoContent},
		"another site":                 {v, http.MethodGet, []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		"a sibling":                    {v, http.MethodGet, []string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		"another origin":               {v, http.MethodGet, []string{"Origin", "https://evil.example"}, http.StatusForbidden},
		"a frame in a sandbox":         {v, http.MethodGet, []string{"Origin", "null"}, http.StatusForbidden},
		"a made-up session":            {s.Visitor(), http.MethodHead, []string{"Sec-Fetch-Mode", "cors", "Cookie", s.CookieName("session") + "=" + strings.Repeat("A", 43) + "." + strings.Repeat("B", 43)}, http.StatusOK},
		"another method":               {v, http.MethodPost, []string{"Sec-Fetch-Site", "same-origin"}, http.StatusMethodNotAllowed},
		"a name that is not the app's": {v, http.MethodGet, []string{"Host", "evil.example"}, http.StatusMisdirectedRequest},
	} {
		req := tt.visitor.Request(tt.method, "/events", nil, tt.headers...)
		if host := req.Header.Get("Host"); host != "" {
			req.Host = host
		}
		got := tt.visitor.Direct(req)
		if got.StatusCode != tt.status || got.Header.Get("Cross-Origin-Resource-Policy") != "same-origin" || got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d, CORP %q, Cache-Control %q; want %d", name, got.StatusCode, got.Header.Get("Cross-Origin-Resource-Policy"), got.Header.Get("Cache-Control"), tt.status)
		}
		if len(got.Header.Values("Set-Cookie")) > 0 {
			t.Errorf("%s: a cookie is set", name)
		}
	}
}

// TestOpenPagesLeave (SS-02, LR-06) ends a session in every possible way while a page is
// open, and checks what the page is told.
func TestOpenPagesLeave(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end     func(p *apptest.TwoDevices, logoutToken string)
		because string // "-" if the stream ends without an event
	}{
		"signed out in another tab": {func(p *apptest.TwoDevices, _ string) { p.There.Post("/logout", nil) }, "tab"},
		"ended on another device":   {func(p *apptest.TwoDevices, _ string) { p.EndOthers() }, "elsewhere"},
		"by the provider": {func(p *apptest.TwoDevices, logoutToken string) {
			p.There.Send("/backchannel-logout", apptest.FormType, url.Values{"logout_token": {logoutToken}}.Encode())
		}, "provider"},
		"by a refused refresh": {func(p *apptest.TwoDevices, _ string) {
			p.OP.Answer(scriptedop.Token, scriptedop.JSON(http.StatusBadRequest, map[string]any{"error": "invalid_grant"}))
			p.Clock.Move(2 * time.Hour)
			p.There.Direct(p.There.Request(http.MethodPost, "/profile/refresh", nil, "Sec-Fetch-Site", "same-origin"))
		}, "refresh"},
		"by signing in too often": {func(p *apptest.TwoDevices, _ string) {
			p.Clock.Move(2 * time.Minute)
			p.Here.Get("/dashboard") // seen later than there
			for range 2 {
				p.SignIn(p.Visitor())
			}
		}, "limit"},
		"by doing nothing":                 {func(p *apptest.TwoDevices, _ string) { p.Clock.Move(24 * time.Hour) }, "expired"},
		"by a new sign-in in the same tab": {func(p *apptest.TwoDevices, _ string) { p.SignIn(p.There) }, "-"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := apptest.NewTwoDevices(t, "SESSION_LIMIT=3", "LOG_LEVEL=debug")
			other, open := p.Visitor(), p.There.Listen()
			logoutToken := p.OP.LogoutToken().Compact() // of the last sign-in, which is that of there
			p.OP.SignInAs("mallory")
			p.SignIn(other)
			bystander := other.Listen()
			open.Want("alive")
			bystander.Want("alive")
			p.OP.SignInAs("alice")
			tt.end(p, logoutToken)
			if tt.because == "-" {
				open.WantEnd()
				again := p.There.Listen()
				again.Want("alive")
			} else {
				got := open.After("alive") // a request of its person moves the idle end first
				if got.Name != "signed-out" || len(got.Data) != 1 || got.Data["because"] != tt.because {
					t.Errorf("the page is told %v, want %q", got, tt.because)
				}
				open.WantEnd()
			}
			if tt.because != "expired" && !other.SignedIn() {
				t.Error("another person was signed out too")
			}
			wantQuietLog(p.Scripted.App)
		})
	}
}

// wantQuietLog checks that streams ended without an error.
func wantQuietLog(a *apptest.App) {
	a.T.Helper()
	streams := slices.DeleteFunc(a.Logged("request answered", ""), func(line map[string]any) bool { return line["path"] != "/events" })
	if len(streams) == 0 {
		a.T.Error("no stream is logged")
	}
	for _, line := range streams {
		// Every page opens one by itself.
		if line["status"] != 200.0 || line["level"] != "DEBUG" {
			a.T.Errorf("a stream is logged as %v", line)
		}
	}
	if a.Log.Count(`"level":"ERROR"`) > 0 {
		a.T.Errorf("the log says\n%s", a.Log)
	}
}

// TestOpenPagesOnAnotherNode (SS-02) ends a session at one node while its page listens to
// another node with the same store.
func TestOpenPagesOnAnotherNode(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) (one, two *apptest.App){
		"memory": func(t *testing.T) (one, two *apptest.App) {
			const secret = "APP_SECRET_KEY=0123456789abcdef0123456789abcdef"
			store := authn.NewMemoryStore()
			first, clock := apptest.AssembleWith(t, func(c *apptest.Settings) { c.Authn.Store = store }, secret)
			second, _ := apptest.AssembleWith(t, func(c *apptest.Settings) {
				c.Authn.Store, c.OpenID.Now, c.OpenID.Issuer = store, clock.Now, first.OP.Issuer
			}, secret)
			return first.App, second.App
		},
		"Redis": func(t *testing.T) (one, two *apptest.App) {
			first, second, _ := apptest.StartNodes(t)
			return first.App, second.App
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, two := start(t)
			v := one.Visitor()
			v.Get("/login")
			open := v.At(two).Listen()
			open.Want("alive")
			v.Post("/logout", nil)
			if got := open.Want("signed-out"); got["because"] != "tab" {
				t.Errorf("the page is told %v", got)
			}
		})
	}
}

// TestDeadCookieIsTold tells a page that comes back too late why its session has ended, as
// after a computer slept or a node was away.
func TestDeadCookieIsTold(t *testing.T) {
	t.Parallel()
	p := apptest.NewTwoDevices(t)
	p.EndOthers()
	open := p.There.Listen()
	if got := open.Want("signed-out"); got["because"] != "elsewhere" {
		t.Errorf("the page is told %v", got)
	}
	open.WantEnd()
	p.Clock.Move(24 * time.Hour)
	late := p.Here.Listen()
	if got := late.Want("signed-out"); got["because"] != "expired" {
		t.Errorf("the page is told %v", got)
	}
	late.WantEnd()
}

// TestReplacedCookieIsToldNothing opens a page's stream with the cookie of a session that a sign-in in the same
// browser has just replaced. The page does not leave: its next stream has the new cookie.
func TestReplacedCookieIsToldNothing(t *testing.T) {
	t.Parallel()
	p := apptest.NewTwoDevices(t)
	before := p.There.CookieHeader()
	p.SignIn(p.There)
	p.Visitor().Listen("Cookie", before).WantEnd()
	p.There.Listen().Want("alive")
}

// TestWarning lets a session become idle under an open page, and then stays signed in.
func TestWarning(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t)
	v := s.Visitor()
	s.SignIn(v)
	open := v.Listen()
	if got := open.Want("alive"); got["left"] != 86400.0 || got["extendable"] != true {
		t.Errorf("a fresh session: %v", got)
	}
	clock.Move(24*time.Hour - 2*time.Minute)
	if got := open.Want("expiring"); got["left"] != 120.0 || got["extendable"] != true {
		t.Errorf("two minutes before its idle end: %v", got)
	}
	second := v.Listen()
	second.Want("expiring")
	req := v.Request(http.MethodPost, "/session/extend", nil, "Sec-Fetch-Site", "same-origin", "Accept", "application/json")
	if got := v.Direct(req); got.StatusCode != http.StatusNoContent {
		t.Errorf("extending answers %d", got.StatusCode)
	}
	for _, l := range []*apptest.Stream{open, second} {
		if got := l.Want("alive"); got["left"] != 86400.0 {
			t.Errorf("after staying: %v", got)
		}
	}
	for range 6 { // activity does not move the absolute timeout
		clock.Move(23 * time.Hour)
		v.Get("/dashboard")
	}
	clock.Move(6 * time.Hour)
	if got := open.After("alive"); got.Name != "expiring" || got.Data["left"] != 120.0 || got.Data["extendable"] != false {
		t.Errorf("two minutes before its absolute end: %v", got)
	}
}

// TestExtend extends a session as often as its own page asks, and refuses the pages of
// other sites.
func TestExtend(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t)
	v := s.Visitor()
	s.SignIn(v)
	back := v.Direct(v.Request(http.MethodPost, "/session/extend", url.Values{}, "Sec-Fetch-Site", "same-origin", "Referer", s.URL+"/sessions?x=1"))
	if back.StatusCode != http.StatusSeeOther || back.Header.Get("Location") != "/sessions?x=1" {
		t.Errorf("a plain form is answered %d to %q", back.StatusCode, back.Header.Get("Location"))
	}
	for _, referrer := range []string{"", "https://evil.example/sessions", s.URL + ".evil.example/", s.URL + "//evil.example", s.URL + "/logout"} {
		got := v.Direct(v.Request(http.MethodPost, "/session/extend", url.Values{}, "Sec-Fetch-Site", "same-origin", "Referer", referrer))
		if got.Header.Get("Location") != "/dashboard" {
			t.Errorf("HB-20: from %q it leads to %q", referrer, got.Header.Get("Location"))
		}
	}
	clock.Move(30 * time.Second) // a request for a page would not extend the session yet
	open := v.Listen()
	if got := open.Want("alive"); got["left"] != 86370.0 {
		t.Errorf("before: %v", got)
	}
	if got := v.Direct(v.Request(http.MethodPost, "/session/extend", nil, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")); got.StatusCode != http.StatusForbidden {
		t.Errorf("HB-12: another site is answered %d", got.StatusCode)
	}
	if got := v.Post("/session/extend", nil, "HX-Request", "true"); got.StatusCode != http.StatusNoContent {
		t.Errorf("htmx is answered %d", got.StatusCode)
	}
	if got := open.Want("alive"); got["left"] != 86400.0 {
		t.Errorf("after: %v", got)
	}
	if got := s.Visitor().Post("/session/extend", nil, "Accept", "application/json"); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("a visitor is answered %d", got.StatusCode)
	}
}

// TestStreamsAreNobodysDoing (SS-09, SE-06) keeps pages open while their person does
// nothing.
func TestStreamsAreNobodysDoing(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t)
	v := s.Visitor()
	s.SignIn(v)
	open := v.Listen()
	open.Want("alive")
	for range 23 {
		clock.Move(time.Hour)
		again := v.Listen()
		again.Want("alive")
		again.Close()
		v.Direct(v.Request(http.MethodHead, "/events", nil))
		if got := v.Direct(v.Request(http.MethodGet, "/session/ended?return_to=%2Fprofile", nil)); got.StatusCode != http.StatusNoContent {
			t.Fatalf("asked whether the session has ended: %d", got.StatusCode)
		}
	}
	clock.Move(time.Hour)
	if got := open.Want("signed-out"); got["because"] != "expired" {
		t.Errorf("the page is told %v", got)
	}
}

// TestOnlyPeopleAreActive (SE-06) requests a page without its person. Only what they do themselves restarts
// the idle timeout.
func TestOnlyPeopleAreActive(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		headers []string
		active  bool
	}{
		"an image on a neighbouring host": {[]string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, false},
		"a frame on a neighbouring host":  {[]string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, false},
		"a prefetch":                      {[]string{"Sec-Fetch-Site", "same-origin", "Sec-Purpose", "prefetch"}, false},
		"a link on a neighbouring host":   {[]string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, true},
		"a script of a page":              {[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}, true},
		"htmx":                            {[]string{"Sec-Fetch-Site", "same-origin", "HX-Request", "true"}, true},
		"an old browser":                  {nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, clock := apptest.Assemble(t)
			v := s.Visitor()
			s.SignIn(v)
			for range 2 {
				clock.Move(13 * time.Hour)
				v.Direct(v.Request(http.MethodGet, "/dashboard", nil, tt.headers...))
			}
			if got := v.SignedIn(); got != tt.active {
				t.Errorf("after 26 hours they are signed in: %t, want %t", got, tt.active)
			}
		})
	}
}

// TestDevicesAreLive (SS-09) keeps a list of devices open while another device signs in, is used, is not
// used for hours, and is signed out. Listening restarts no idle timeout.
func TestDevicesAreLive(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t, "SESSION_IDLE=8h")
	here, there := s.Visitor(), s.Visitor()
	s.SignIn(here)
	open := here.ListenToDevices()
	open.Want("alive")
	wants := func(what string, rows int, says string) {
		t.Helper()
		got := open.After("alive")
		html, _ := got.Data["html"].(string)
		if got.Name != "devices" || strings.Count(html, "<li ") != rows || !strings.Contains(html, says) || strings.Contains(html, "<html") {
			t.Fatalf("%s: %q says %s", what, got.Name, html)
		}
	}
	wants("alone", 1, "This device")
	there.Get("/dashboard", "User-Agent", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1")
	wants("another one has signed in", 2, "Safari on iPhone")
	clock.Move(3*time.Hour + 59*time.Second)
	wants("it was not used", 2, "Active 3 hours ago")
	there.Get("/dashboard")
	wants("it is used", 2, "Active now")
	if events := len(open.Events); events > 0 {
		t.Errorf("%d events without a change", events)
	}
	there.Post("/logout", nil)
	wants("it has signed out", 1, "This device")
	clock.Move(5 * time.Hour)
	if got := open.After("alive"); got.Name != "signed-out" || got.Data["because"] != "expired" {
		t.Errorf("after eight hours: %v", got)
	}

	bystander := s.Visitor()
	s.SignIn(bystander)
	plain := bystander.Listen()
	plain.Want("alive")
	s.SignIn(s.Visitor())
	bystander.Post("/logout", nil)
	plain.Want("signed-out") // and nothing about devices before it
}

// TestWithoutJavaScript checks that a page moves on by itself when its session ends.
func TestWithoutJavaScript(t *testing.T) {
	t.Parallel()
	p := apptest.NewTwoDevices(t)
	p.Clock.Move(30 * time.Second)
	page := p.There.Get("/sessions?page=2")
	const ended = "/session/ended?return_to=%2Fsessions%3Fpage%3D2"
	if want := `<noscript><meta http-equiv="refresh" content="` + strconv.Itoa(24*60*60-30+5) + `; url=` + ended + `"></noscript>`; !strings.Contains(page.Body, want) {
		t.Errorf("the page lacks %s\n%s", want, page.Body)
	}
	if !strings.Contains(page.Body, `data-return-to="/sessions?page=2"`) {
		t.Error("the page does not tell its script where to return to")
	}
	if page := p.Visitor().Get("/"); strings.Contains(page.Body, "http-equiv") {
		t.Error("a page without a session moves on too")
	}
	p.EndOthers()
	if end := p.There.Get(ended); end.Request.URL.Path != "/signed-out" || !strings.Contains(end.Body, "another device or browser") || !strings.Contains(end.Body, "return_to=%2Fsessions%3Fpage%3D2") {
		t.Errorf("ended elsewhere: %s\n%s", end.Request.URL, end.Body)
	}
	p.Clock.Move(24 * time.Hour)
	if end := p.Here.Get(ended); end.Request.URL.Path != "/signed-out" || !strings.Contains(end.Body, "Your session expired.") {
		t.Errorf("expired: %s\n%s", end.Request.URL, end.Body)
	}
	if got := p.Visitor().Direct(p.Visitor().Request(http.MethodGet, "/session/ended?return_to=https%3A%2F%2Fevil.example", nil)); strings.Contains(got.Header.Get("Location"), "evil") {
		t.Errorf("HB-20: it leads to %q", got.Header.Get("Location"))
	}
}

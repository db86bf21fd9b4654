package app

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

// inTime is how long an open page may take to learn that its session has ended.
const inTime = 2 * time.Second

// TestEventsAreForOpenPages (SS-01) asks for the stream in every way that a page of ours
// does not, and as one does.
func TestEventsAreForOpenPages(t *testing.T) {
	t.Parallel()
	s, _ := assembleScripted(t)
	v := s.visitor()
	s.signInNow(v)
	for name, tt := range map[string]struct {
		visitor *visitor
		method  string
		headers []string
		status  int
	}{
		"a page of ours":               {v, http.MethodHead, []string{"Sec-Fetch-Site", "same-origin"}, http.StatusOK},
		"an old browser":               {v, http.MethodHead, nil, http.StatusOK},
		"one that says the origin":     {v, http.MethodHead, []string{"Origin", s.url}, http.StatusOK},
		"nobody signed in":             {s.visitor(), http.MethodGet, []string{"Sec-Fetch-Site", "same-origin"}, http.StatusNoContent},
		"nobody signed in, asks why":   {s.visitor(), http.MethodHead, []string{"Sec-Fetch-Site", "same-origin"}, http.StatusNoContent},
		"another site":                 {v, http.MethodGet, []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		"a sibling":                    {v, http.MethodGet, []string{"Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		"another origin":               {v, http.MethodGet, []string{"Origin", "https://evil.example"}, http.StatusForbidden},
		"a frame in a sandbox":         {v, http.MethodGet, []string{"Origin", "null"}, http.StatusForbidden},
		"a made-up session":            {s.visitor(), http.MethodHead, []string{"Sec-Fetch-Mode", "cors", "Cookie", "session=" + strings.Repeat("A", 43) + "." + strings.Repeat("B", 43)}, http.StatusOK},
		"another method":               {v, http.MethodPost, []string{"Sec-Fetch-Site", "same-origin"}, http.StatusMethodNotAllowed},
		"a name that is not the app's": {v, http.MethodGet, []string{"Host", "evil.example"}, http.StatusMisdirectedRequest},
	} {
		req := tt.visitor.request(tt.method, "/events", nil, tt.headers...)
		if host := req.Header.Get("Host"); host != "" {
			req.Host = host
		}
		got := tt.visitor.direct(req)
		if got.StatusCode != tt.status || got.Header.Get("Cross-Origin-Resource-Policy") != "same-origin" || got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d, CORP %q, Cache-Control %q; want %d", name, got.StatusCode, got.Header.Get("Cross-Origin-Resource-Policy"), got.Header.Get("Cache-Control"), tt.status)
		}
		if len(got.Header.Values("Set-Cookie")) > 0 {
			t.Errorf("%s: a cookie is set", name)
		}
	}
}

// TestOpenPagesLeave (SS-02, LR-06) ends a session in every way that there is while a page
// of it is open, and reads what the page is told and when.
func TestOpenPagesLeave(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end     func(p *stepUp, logoutToken string)
		because string // "-" where the stream ends without a word
	}{
		"signed out in another tab": {func(p *stepUp, _ string) { p.there.post("/logout", nil) }, "tab"},
		"ended on another device":   {func(p *stepUp, _ string) { p.endOthers() }, "elsewhere"},
		"by the provider": {func(p *stepUp, logoutToken string) {
			p.there.send("/backchannel-logout", formType, url.Values{"logout_token": {logoutToken}}.Encode())
		}, "provider"},
		"by a refused refresh": {func(p *stepUp, _ string) {
			p.op.Answer(scriptedop.Token, scriptedop.JSON(http.StatusBadRequest, map[string]any{"error": "invalid_grant"}))
			p.clock.Move(2 * time.Hour)
			p.there.direct(p.there.request(http.MethodPost, "/profile/refresh", nil, "Sec-Fetch-Site", "same-origin"))
		}, "refresh"},
		"by signing in too often": {func(p *stepUp, _ string) {
			p.clock.Move(2 * time.Minute)
			p.here.get("/dashboard") // seen later than there
			for range 2 {
				p.signInNow(p.visitor())
			}
		}, "limit"},
		"by doing nothing":                 {func(p *stepUp, _ string) { p.clock.Move(24 * time.Hour) }, "expired"},
		"by a new sign-in in the same tab": {func(p *stepUp, _ string) { p.signInNow(p.there) }, "-"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newStepUp(t, "SESSION_LIMIT=3", "LOG_LEVEL=debug")
			other, open := p.visitor(), p.there.listen()
			logoutToken := p.op.LogoutToken().Compact() // of the last sign-in, which is that of there
			p.op.SignInAs("mallory")
			p.signInNow(other)
			bystander := other.listen()
			open.want("alive")
			bystander.want("alive")
			p.op.SignInAs("alice")
			tt.end(p, logoutToken)
			ended := time.Now()
			if tt.because == "-" {
				open.wantEnd()
				again := p.there.listen()
				again.want("alive")
			} else {
				got := open.after("alive") // a request of its person moves the idle end first
				if got.name != "signed-out" || len(got.data) != 1 || got.data["because"] != tt.because {
					t.Errorf("the page is told %v, want %q", got, tt.because)
				}
				open.wantEnd()
			}
			if took := time.Since(ended); took > inTime {
				t.Errorf("it took %s", took)
			}
			if tt.because != "expired" && !other.signedIn() {
				t.Error("somebody else was signed out too")
			}
			p.wantQuietLog()
		})
	}
}

// wantQuietLog checks that streams have ended without an error.
func (a *app) wantQuietLog() {
	a.t.Helper()
	streams := slices.DeleteFunc(a.logged("request answered", ""), func(line map[string]any) bool { return line["path"] != "/events" })
	if len(streams) == 0 {
		a.t.Error("no stream is logged")
	}
	for _, line := range streams {
		// Every page opens one, by itself.
		if line["status"] != 200.0 || line["level"] != "DEBUG" {
			a.t.Errorf("a stream is logged as %v", line)
		}
	}
	if a.log.count(`"level":"ERROR"`) > 0 {
		a.t.Errorf("the log says\n%s", a.log)
	}
}

// TestOpenPagesOnAnotherNode (SS-02) ends a session at one node while its page listens to
// another, on a store that they share.
func TestOpenPagesOnAnotherNode(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) (one, two *app){
		"memory": func(t *testing.T) (one, two *app) {
			const secret = "APP_SECRET_KEY=0123456789abcdef0123456789abcdef"
			store := authn.NewMemoryStore()
			first, clock := assembleWith(t, func(c *authn.Config) { c.Store = store }, secret)
			second, _ := assembleWith(t, func(c *authn.Config) { c.Store, c.Now, c.Issuer = store, clock.Now, first.op.Issuer }, secret)
			return first.app, second.app
		},
		"Redis": func(t *testing.T) (one, two *app) {
			first, second, _ := startNodes(t)
			return first.app, second.app
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, two := start(t)
			v := one.visitor()
			v.get("/login")
			open := (&visitor{t: t, app: two, client: v.client}).listen() // cookies know no ports
			open.want("alive")
			v.post("/logout", nil)
			ended := time.Now()
			if got := open.want("signed-out"); got["because"] != "tab" {
				t.Errorf("the page is told %v", got)
			}
			if took := time.Since(ended); took > inTime {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// TestDeadCookieIsTold says to a page that comes back too late why its session has ended:
// a computer that slept, a node that was away.
func TestDeadCookieIsTold(t *testing.T) {
	t.Parallel()
	p := newStepUp(t)
	p.endOthers()
	open := p.there.listen()
	if got := open.want("signed-out"); got["because"] != "elsewhere" {
		t.Errorf("the page is told %v", got)
	}
	open.wantEnd()
	p.clock.Move(24 * time.Hour)
	late := p.here.listen()
	if got := late.want("signed-out"); got["because"] != "expired" {
		t.Errorf("the page is told %v", got)
	}
	late.wantEnd()
}

// TestWarning lets a session go idle under an open page, and stays signed in.
func TestWarning(t *testing.T) {
	t.Parallel()
	s, clock := assembleScripted(t)
	v := s.visitor()
	s.signInNow(v)
	open := v.listen()
	if got := open.want("alive"); got["left"] != 86400.0 || got["extendable"] != true {
		t.Errorf("a fresh session: %v", got)
	}
	clock.Move(24*time.Hour - 2*time.Minute)
	if got := open.want("expiring"); got["left"] != 120.0 || got["extendable"] != true {
		t.Errorf("two minutes before its idle end: %v", got)
	}
	second := v.listen()
	second.want("expiring")
	req := v.request(http.MethodPost, "/session/extend", nil, "Sec-Fetch-Site", "same-origin", "Accept", "application/json")
	if got := v.direct(req); got.StatusCode != http.StatusNoContent {
		t.Errorf("extending answers %d", got.StatusCode)
	}
	for _, l := range []*listener{open, second} {
		if got := l.want("alive"); got["left"] != 86400.0 {
			t.Errorf("after staying: %v", got)
		}
	}
	for range 6 { // the absolute end comes nearer whatever one does
		clock.Move(23 * time.Hour)
		v.get("/dashboard")
	}
	clock.Move(6 * time.Hour)
	if got := open.after("alive"); got.name != "expiring" || got.data["left"] != 120.0 || got.data["extendable"] != false {
		t.Errorf("two minutes before its absolute end: %v", got)
	}
}

// TestExtend moves the idle end whenever it is asked, and is asked by nobody else's page.
func TestExtend(t *testing.T) {
	t.Parallel()
	s, clock := assembleScripted(t)
	v := s.visitor()
	s.signInNow(v)
	back := v.direct(v.request(http.MethodPost, "/session/extend", url.Values{}, "Sec-Fetch-Site", "same-origin", "Referer", s.url+"/sessions?x=1"))
	if back.StatusCode != http.StatusSeeOther || back.Header.Get("Location") != "/sessions?x=1" {
		t.Errorf("a plain form is answered %d to %q", back.StatusCode, back.Header.Get("Location"))
	}
	for _, referrer := range []string{"", "https://evil.example/sessions", s.url + ".evil.example/", s.url + "//evil.example", s.url + "/logout"} {
		got := v.direct(v.request(http.MethodPost, "/session/extend", url.Values{}, "Sec-Fetch-Site", "same-origin", "Referer", referrer))
		if got.Header.Get("Location") != "/dashboard" {
			t.Errorf("HB-20: from %q it leads to %q", referrer, got.Header.Get("Location"))
		}
	}
	clock.Move(30 * time.Second) // sooner than a page that is looked at would
	open := v.listen()
	if got := open.want("alive"); got["left"] != 86370.0 {
		t.Errorf("before: %v", got)
	}
	if got := v.direct(v.request(http.MethodPost, "/session/extend", nil, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")); got.StatusCode != http.StatusForbidden {
		t.Errorf("HB-12: another site is answered %d", got.StatusCode)
	}
	if got := v.post("/session/extend", nil, "HX-Request", "true"); got.StatusCode != http.StatusNoContent {
		t.Errorf("htmx is answered %d", got.StatusCode)
	}
	if got := open.want("alive"); got["left"] != 86400.0 {
		t.Errorf("after: %v", got)
	}
	if got := s.visitor().post("/session/extend", nil, "Accept", "application/json"); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("a visitor is answered %d", got.StatusCode)
	}
}

// TestStreamsAreNobodysDoing (SS-09, SE-06) keeps a session's pages open and its person
// away.
func TestStreamsAreNobodysDoing(t *testing.T) {
	t.Parallel()
	s, clock := assembleScripted(t)
	v := s.visitor()
	s.signInNow(v)
	open := v.listen()
	open.want("alive")
	for range 23 {
		clock.Move(time.Hour)
		again := v.listen()
		again.want("alive")
		again.close()
		v.direct(v.request(http.MethodHead, "/events", nil))
		if got := v.direct(v.request(http.MethodGet, "/session/ended?return_to=%2Fprofile", nil)); got.StatusCode != http.StatusNoContent {
			t.Fatalf("asked whether the session has ended: %d", got.StatusCode)
		}
	}
	clock.Move(time.Hour)
	if got := open.want("signed-out"); got["because"] != "expired" {
		t.Errorf("the page is told %v", got)
	}
}

// TestWithoutJavaScript leads a page on after its session must have ended.
func TestWithoutJavaScript(t *testing.T) {
	t.Parallel()
	p := newStepUp(t)
	p.clock.Move(30 * time.Second)
	page := p.there.get("/sessions?page=2")
	const ended = "/session/ended?return_to=%2Fsessions%3Fpage%3D2"
	if want := `<noscript><meta http-equiv="refresh" content="` + strconv.Itoa(24*60*60-30+5) + `; url=` + ended + `"></noscript>`; !strings.Contains(page.body, want) {
		t.Errorf("the page lacks %s\n%s", want, page.body)
	}
	if !strings.Contains(page.body, `data-return-to="/sessions?page=2"`) {
		t.Error("the page's script is not told where it is")
	}
	if page := p.visitor().get("/"); strings.Contains(page.body, "http-equiv") {
		t.Error("a page without a session leads on too")
	}
	p.endOthers()
	if end := p.there.get(ended); end.Request.URL.Path != "/signed-out" || !strings.Contains(end.body, "another one of yours") || !strings.Contains(end.body, "return_to=%2Fsessions%3Fpage%3D2") {
		t.Errorf("ended elsewhere: %s\n%s", end.Request.URL, end.body)
	}
	p.clock.Move(24 * time.Hour)
	if end := p.here.get(ended); end.Request.URL.Path != "/signed-out" || !strings.Contains(end.body, "ended by itself") {
		t.Errorf("ended by itself: %s\n%s", end.Request.URL, end.body)
	}
	if got := p.visitor().direct(p.visitor().request(http.MethodGet, "/session/ended?return_to=https%3A%2F%2Fevil.example", nil)); strings.Contains(got.Header.Get("Location"), "evil") {
		t.Errorf("HB-20: it leads to %q", got.Header.Get("Location"))
	}
}

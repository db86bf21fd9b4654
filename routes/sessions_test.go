package routes_test

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apptest"
)

// TestSessionList (SE-14) lists a person's sessions and ends one of them.
func TestSessionList(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t)
	here, there, mallory := s.Visitor(), s.Visitor(), s.Visitor()
	there.Get("/dashboard", "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	clock.Move(time.Minute)
	s.SignIn(here)
	s.OP.SignInAs("mallory")
	s.SignIn(mallory)

	page := here.Get("/sessions")
	root := apptest.Parse(t, page.Body)
	if shown := apptest.Text(apptest.ByID(root, "sessions-card")); page.StatusCode != http.StatusOK || strings.Count(shown, "Signed in ") != 2 {
		t.Fatalf("the list is %d: %s", page.StatusCode, shown)
	}
	if !strings.Contains(page.Body, "may stay signed in at the sign-in service") {
		t.Error("the page does not say what stays at the provider")
	}
	end := apptest.Find(root, func(n *apptest.Node) bool { return strings.HasSuffix(apptest.Attribute(n, "action"), "/end") })
	if end == nil {
		t.Fatal("no session can be ended")
	}
	address := apptest.Attribute(end, "action")

	stolen := mallory.Direct(mallory.Request(http.MethodPost, address, nil, "Sec-Fetch-Site", "same-origin"))
	if stolen.StatusCode != http.StatusSeeOther || !there.SignedIn() {
		t.Errorf("another person's attempt: %d; still signed in: %t", stolen.StatusCode, there.SignedIn())
	}
	if got := here.Direct(here.Request(http.MethodPost, address, nil, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")); got.StatusCode != http.StatusForbidden || !there.SignedIn() {
		t.Errorf("another site's attempt: %d; still signed in: %t", got.StatusCode, there.SignedIn())
	}
	for range 2 { // the second time there is nothing left to end
		got := here.Post(address, nil, "HX-Request", "true")
		if got.StatusCode != http.StatusOK || strings.Count(got.Body, "Signed in ") != 1 || strings.Contains(got.Body, "<html") {
			t.Errorf("ending it: %d %s", got.StatusCode, got.Body)
		}
	}
	if there.SignedIn() || !here.SignedIn() || !mallory.SignedIn() {
		t.Errorf("signed in there: %t, here: %t, the other person: %t", there.SignedIn(), here.SignedIn(), mallory.SignedIn())
	}
	if list := here.Get("/sessions").Body; strings.Contains(list, `id="end-others"`) {
		t.Error("the page has a button to end other sessions, but there are none")
	}
}

// TestDevicesKeepTheirPlace uses another device than the one at the top of the list. No row moves, so nobody
// presses the button of another row.
func TestDevicesKeepTheirPlace(t *testing.T) {
	t.Parallel()
	s, clock := apptest.Assemble(t)
	devices := []*apptest.Visitor{s.Visitor(), s.Visitor(), s.Visitor()}
	for i, system := range []string{"X11; Linux x86_64", "Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 15_0"} {
		devices[i].Get("/dashboard", "User-Agent", "Mozilla/5.0 ("+system+"; rv:140.0) Gecko/20100101 Firefox/140.0")
		clock.Move(time.Hour)
	}
	order := func() string {
		var systems []string
		for system := range strings.SplitSeq(devices[2].Get("/sessions").Body, " on ") {
			systems = append(systems, system[:min(5, len(system))])
		}
		return strings.Join(slices.Compact(systems[1:]), ", ")
	}
	if got := order(); got != "macOS, Windo, Linux" {
		t.Fatalf("the list is %s", got)
	}
	devices[0].Get("/dashboard")
	if got := order(); got != "macOS, Windo, Linux" {
		t.Errorf("after the last one was used, the list is %s", got)
	}
}

// TestEndingASessionNeedsARecentSignIn (SE-14) ends sessions one by one with a sign-in that is too
// old for "Sign out all other devices". Only the current session ends without another sign-in.
func TestEndingASessionNeedsARecentSignIn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		age     time.Duration // of the sign-in
		session func(p *apptest.TwoDevices) string
		resumes bool // after another sign-in
		here    bool // signed in, after that
		there   bool
	}{
		"another, a recent sign-in":  {11 * time.Minute, otherSession, false, true, false},
		"another, an old sign-in":    {11*time.Minute + time.Second, otherSession, true, true, false},
		"this one, a recent sign-in": {0, thisSession, false, false, true},
		"this one, an old sign-in":   {time.Hour, thisSession, false, false, true},
		"an unknown one, an old one": {time.Hour, func(*apptest.TwoDevices) string { return "unknown" }, true, true, true},
		"another, its id escaped": {time.Hour, func(p *apptest.TwoDevices) string {
			id := otherSession(p)
			return "%" + hex.EncodeToString([]byte(id[:1])) + id[1:]
		}, true, true, true},
		"this one with more behind it": {time.Hour, func(p *apptest.TwoDevices) string { return thisSession(p) + "=" }, true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := apptest.NewTwoDevices(t)
			address := "/sessions/" + tt.session(p) + "/end"
			p.Clock.Move(tt.age)
			got := p.Here.Direct(p.Here.Request(http.MethodPost, address, url.Values{}, "Sec-Fetch-Site", "same-origin"))
			if resumes := strings.HasPrefix(got.Next(), "/resume/"); got.StatusCode == http.StatusUnauthorized != tt.resumes || resumes != tt.resumes {
				t.Fatalf("answered %d to %q", got.StatusCode, got.Next())
			}
			if tt.resumes {
				wantBoth(p)
				p.Here.Press(p.Here.Get(got.Next()), "resume-button")
			}
			if here, there := p.Here.SignedIn(), p.There.SignedIn(); here != tt.here || there != tt.there {
				t.Errorf("signed in here: %t, there: %t", here, there)
			}
		})
	}
}

// TestStepUpNamesTheDevice asks about one device after the sign-in.
func TestStepUpNamesTheDevice(t *testing.T) {
	t.Parallel()
	p := apptest.NewTwoDevices(t)
	third := p.Visitor()
	third.Get("/dashboard", "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	address := "/sessions/" + sessionNamed(p, "Firefox on Linux") + "/end"
	p.Clock.Move(time.Hour)
	pressed := p.Here.Direct(p.Here.Request(http.MethodPost, address, nil, "HX-Request", "true", "Sec-Fetch-Site", "same-origin"))
	resume := pressed.Header.Get("HX-Redirect")
	if pressed.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(resume, "/resume/") {
		t.Fatalf("answered %d, HX-Redirect %q", pressed.StatusCode, resume)
	}
	page := p.Here.Get(resume)
	if !strings.Contains(page.Body, "<h1>Sign out Firefox on Linux?</h1>") || !third.SignedIn() {
		t.Errorf("signed in: %t, and the page is\n%s", third.SignedIn(), page.Body)
	}
	p.Here.Press(page, "resume-button")
	if third.SignedIn() || !p.There.SignedIn() {
		t.Errorf("signed in on that device: %t, on another: %t", third.SignedIn(), p.There.SignedIn())
	}
}

// otherSession and thisSession return the id of a session of two, and sessionNamed that of a device.
func otherSession(p *apptest.TwoDevices) string { return listedBy(p, p.Here, "Unknown device") }
func thisSession(p *apptest.TwoDevices) string  { return listedBy(p, p.There, "Unknown device") }

func sessionNamed(p *apptest.TwoDevices, device string) string { return listedBy(p, p.Here, device) }

// listedBy returns the id of the session that ends when v presses the button of a device.
func listedBy(p *apptest.TwoDevices, v *apptest.Visitor, device string) string {
	p.T.Helper()
	form := apptest.Find(apptest.Parse(p.T, v.Get("/sessions").Body), func(n *apptest.Node) bool {
		return strings.HasSuffix(apptest.Attribute(n, "action"), "/end") && strings.Contains(apptest.Text(n), device)
	})
	if form == nil {
		p.T.Fatalf("%s is not listed", device)
	}
	return strings.TrimSuffix(strings.TrimPrefix(apptest.Attribute(form, "action"), "/sessions/"), "/end")
}

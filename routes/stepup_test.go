package routes_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/authn/openid"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// interrupted ends the other sessions when the sign-in is too old, and returns where the
// person is sent, by a page that moves on.
func interrupted(p *apptest.TwoDevices) string {
	p.T.Helper()
	p.Clock.Move(11*time.Minute + time.Second)
	got := p.EndOthers()
	location := got.Next()
	if got.StatusCode != http.StatusUnauthorized || got.Header.Get("Location") != "" || !strings.HasPrefix(location, "/resume/") {
		p.T.Fatalf("answered %d to %q\n%s", got.StatusCode, location, p.Log)
	}
	return location
}

// wantBoth checks that both devices are still signed in.
func wantBoth(p *apptest.TwoDevices) {
	p.T.Helper()
	if !p.Here.SignedIn() || !p.There.SignedIn() {
		p.T.Errorf("signed in here: %t, there: %t", p.Here.SignedIn(), p.There.SignedIn())
	}
}

// TestFilesAreNotKept sends a form with a file when the sign-in is too old. No such form is kept, and the
// page says what to do.
func TestFilesAreNotKept(t *testing.T) {
	t.Parallel()
	p := apptest.NewTwoDevices(t)
	p.Clock.Move(11*time.Minute + time.Second)
	r := p.Here.Raw(http.MethodPost, "/sessions/end-others", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x--\r\n")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	got := p.Here.Direct(r)
	if lines := p.Logged("refused", got.Header.Get("X-Request-Id")); got.StatusCode != http.StatusForbidden || len(lines) != 1 || lines[0]["reason"] != "form_too_large" {
		t.Errorf("answered %d, and the log says %v", got.StatusCode, lines)
	}
	wantBoth(p)
}

// TestRecentSignIn (AR-15) ends the other sessions after a recent sign-in, without another
// sign-in.
func TestRecentSignIn(t *testing.T) {
	t.Parallel()
	p := apptest.NewTwoDevices(t)
	p.Clock.Move(11 * time.Minute) // ten minutes, and the tolerated clock skew
	if got := p.EndOthers(); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/sessions" {
		t.Errorf("answered %d to %q", got.StatusCode, got.Header.Get("Location"))
	}
	if !p.Here.SignedIn() || p.There.SignedIn() {
		t.Errorf("signed in here: %t, there: %t", p.Here.SignedIn(), p.There.SignedIn())
	}
}

// TestStepUp (AR-15) sends a form, is asked to sign in, and gets the form back unchanged.
func TestStepUp(t *testing.T) {
	t.Parallel()
	p := apptest.NewTwoDevices(t)
	resume := interrupted(p)
	wantBoth(p)
	if asked := apptest.Query(t, p.Here.AuthorizationRequest(resume)); asked.Get("max_age") != "600" {
		t.Errorf("the provider is asked for max_age %q", asked.Get("max_age"))
	}
	page := p.Here.Get(resume)
	if page.StatusCode != http.StatusOK || page.Request.URL.Path != resume {
		t.Fatalf("it ends at %s with %d", page.Request.URL, page.StatusCode)
	}
	wantBoth(p) // nothing was done yet
	seen := apptest.Text(apptest.Parse(t, page.Body))
	for _, want := range []string{"Sign out all other devices? · ", "Sign out all other devices? You asked for this", "Continue Cancel"} {
		if !strings.Contains(seen, want) {
			t.Errorf("the page does not say %q:\n%s", want, seen)
		}
	}
	if end := p.Here.Press(page, "resume-button"); end.Request.URL.Path != "/sessions" || end.StatusCode != http.StatusOK {
		t.Errorf("it ends at %s with %d", end.Request.URL, end.StatusCode)
	}
	if !p.Here.SignedIn() || p.There.SignedIn() {
		t.Errorf("signed in here: %t, there: %t", p.Here.SignedIn(), p.There.SignedIn())
	}

	// The page that is still open, and its address, do nothing more.
	p.SignIn(p.There)
	for what, got := range map[string]apptest.Answer{"the button": p.Here.Press(page, "resume-button"), "the page": p.Here.Get(resume)} {
		if got.StatusCode != http.StatusNotFound || !strings.Contains(got.Body, "it was already continued") {
			t.Errorf("for the second time, %s answers %d", what, got.StatusCode)
		}
	}
	wantBoth(p)
}

// TestStepUpOnce presses the button many times at once. One press sends the form.
func TestStepUpOnce(t *testing.T) {
	t.Parallel()
	p := apptest.NewTwoDevices(t)
	resume := interrupted(p)
	p.Here.Get(resume)
	answers := make(chan apptest.Answer)
	for range 8 {
		go func() {
			answers <- p.Here.Direct(p.Here.Request(http.MethodPost, resume, url.Values{}, "Sec-Fetch-Site", "same-origin"))
		}()
	}
	sent := 0
	for range 8 {
		switch got := <-answers; {
		case got.StatusCode == http.StatusSeeOther && got.Header.Get("Location") == "/sessions":
			sent++
		case got.StatusCode != http.StatusNotFound:
			t.Errorf("answered %d to %q", got.StatusCode, got.Header.Get("Location"))
		}
	}
	if lines := p.Logged("signed out from another session", ""); sent != 1 || len(lines) != 1 {
		t.Errorf("the form was sent %d times: %v", sent, lines)
	}
}

// TestStepUpNotYet presses the button of the page that another site, or an impatient script, sends
// before the person has signed in again.
func TestStepUpNotYet(t *testing.T) {
	t.Parallel()
	p := apptest.NewTwoDevices(t)
	resume := interrupted(p)
	early := p.Here.Direct(p.Here.Request(http.MethodPost, resume, url.Values{}, "Sec-Fetch-Site", "same-origin"))
	if early.StatusCode != http.StatusUnauthorized || early.Next() != resume {
		t.Errorf("before the sign-in it answers %d to %q", early.StatusCode, early.Next())
	}
	wantBoth(p)
	page := p.Here.Get(resume)
	foreign := p.Here.Direct(p.Here.Request(http.MethodPost, resume, url.Values{}, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"))
	if foreign.StatusCode != http.StatusForbidden {
		t.Errorf("from another site it answers %d", foreign.StatusCode)
	}
	wantBoth(p)
	if end := p.Here.Press(page, "resume-button"); end.StatusCode != http.StatusOK || p.There.SignedIn() {
		t.Errorf("after the sign-in it answers %d; signed in there: %t", end.StatusCode, p.There.SignedIn())
	}
}

// TestStepUpOverlooked (ID-17) has a provider that does not ask again, and then one that
// does.
func TestStepUpOverlooked(t *testing.T) {
	t.Parallel()
	p := apptest.NewTwoDevices(t)
	resume := interrupted(p)
	p.OP.EditIDToken(func(t *scriptedop.JWT) { t.Claims["auth_time"] = p.Clock.Now().Add(-time.Hour).Unix() })
	got := p.Here.Get(resume)
	if got.StatusCode != http.StatusForbidden || !strings.Contains(got.Body, "That sign-in was not enough") {
		t.Errorf("answered %d:\n%s", got.StatusCode, got.Body)
	}
	if lines := p.Logged("refused", got.Header.Get("X-Request-Id")); len(lines) != 1 || lines[0]["reason"] != string(openid.ReasonStepUpFailed) {
		t.Errorf("the log says %v", lines)
	}
	wantBoth(p)
	p.WantNoSecrets(got)
	p.OP.EditIDToken(nil)
	again := apptest.Find(apptest.Parse(t, got.Body), func(n *apptest.Node) bool { return n.Data == "a" && apptest.Attribute(n, "href") == resume })
	if again == nil || apptest.Text(again) != "Try again" {
		t.Fatalf("the page does not offer to try again:\n%s", got.Body)
	}
	if page := p.Here.Get(resume); page.StatusCode != http.StatusOK || apptest.ByID(apptest.Parse(t, page.Body), "resume-button") == nil {
		t.Errorf("the second try ends at %s with %d", page.Request.URL, page.StatusCode)
	}
}

// TestStepUpByAnother (SE-11) signs in as another person at the second question. The form
// of the first person is not shown.
func TestStepUpByAnother(t *testing.T) {
	t.Parallel()
	p := apptest.NewTwoDevices(t)
	resume := interrupted(p)
	p.OP.SignInAs("mallory")
	got := p.Here.Get(resume)
	if got.StatusCode != http.StatusNotFound || !strings.Contains(got.Body, "<h1>There is nothing to continue</h1>") || strings.Contains(got.Body, "mine") {
		t.Errorf("answered %d:\n%s", got.StatusCode, got.Body)
	}
	wantBoth(p)
	// Another session of the same person does not have it either.
	if got := p.There.Get(resume); got.StatusCode != http.StatusNotFound {
		t.Errorf("another session finds it: %d", got.StatusCode)
	}
}

// TestStepUpExpires comes back too late.
func TestStepUpExpires(t *testing.T) {
	t.Parallel()
	p := apptest.NewTwoDevices(t)
	resume := interrupted(p)
	p.Clock.Move(30 * time.Minute)
	if got := p.Here.Get(resume); got.StatusCode != http.StatusNotFound {
		t.Errorf("after half an hour it answers %d", got.StatusCode)
	}
	if got := p.Here.Get("/resume/unknown"); got.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown one answers %d", got.StatusCode)
	}
	if got := p.Visitor().Direct(p.Here.Request(http.MethodGet, resume, nil)); !strings.HasPrefix(got.Header.Get("Location"), "/login") {
		t.Errorf("a visitor is sent to %q", got.Header.Get("Location"))
	}
}

// TestStepUpAnswers checks the answer in each form that a client may ask for.
func TestStepUpAnswers(t *testing.T) {
	t.Parallel()
	t.Run("htmx", func(t *testing.T) {
		t.Parallel()
		p := apptest.NewTwoDevices(t)
		p.Clock.Move(time.Hour)
		got := p.EndOthers("HX-Request", "true", "HX-Current-URL", p.URL+"/sessions")
		if got.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(got.Header.Get("HX-Redirect"), "/resume/") {
			t.Errorf("answered %d, HX-Redirect %q", got.StatusCode, got.Header.Get("HX-Redirect"))
		}
	})
	t.Run("a program", func(t *testing.T) {
		t.Parallel()
		p := apptest.NewTwoDevices(t)
		p.Clock.Move(time.Hour)
		got := p.EndOthers("Accept", "application/json")
		if got.StatusCode != http.StatusUnauthorized || got.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(got.Body, "more recent") {
			t.Errorf("answered %d %s", got.StatusCode, got.Body)
		}
		wantBoth(p)
	})
	t.Run("AR-11 a frame", func(t *testing.T) {
		t.Parallel()
		p := apptest.NewTwoDevices(t)
		resume := interrupted(p)
		got := p.Here.Direct(p.Here.Request(http.MethodGet, resume, nil, "Sec-Fetch-Dest", "iframe", "Sec-Fetch-Mode", "navigate"))
		if got.StatusCode != http.StatusBadRequest || len(got.Cookies()) > 0 {
			t.Errorf("answered %d, cookies %v", got.StatusCode, got.Cookies())
		}
	})
	t.Run("not a form", func(t *testing.T) {
		t.Parallel()
		p := apptest.NewTwoDevices(t)
		p.Clock.Move(time.Hour)
		req := p.Here.Request(http.MethodPost, "/sessions/end-others", url.Values{}, "Sec-Fetch-Site", "same-origin")
		req.Header.Set("Content-Type", "application/json")
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader("{}")), 2
		if got := p.Here.Direct(req); got.StatusCode != http.StatusUnsupportedMediaType {
			t.Errorf("answered %d", got.StatusCode)
		}
		wantBoth(p)
	})
}

package app

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/scriptedop"
)

// stepUp is a person who is signed in on two devices, long enough ago that ending the
// other one asks for a sign-in.
type stepUp struct {
	*scriptedApp
	clock       *clock
	here, there *visitor
}

func newStepUp(t *testing.T, env ...string) *stepUp {
	t.Helper()
	s, c := assembleScripted(t, env...)
	p := &stepUp{s, c, s.visitor(), s.visitor()}
	p.signInNow(p.here)
	p.signInNow(p.there)
	return p
}

// form is one that must arrive as it was filled in.
func form() url.Values {
	return url.Values{"note": {`<b>"mine"</b> & yours`}, "to": {"a", "b", "a"}, "empty": {""}}
}

// endOthers presses the button and returns the answer.
func (p *stepUp) endOthers(headers ...string) answer {
	p.t.Helper()
	headers = append(headers, "Sec-Fetch-Site", "same-origin")
	return p.here.direct(p.here.request(http.MethodPost, "/sessions/end-others", form(), headers...))
}

// interrupted presses the button when the sign-in is too old, and returns where the person
// is sent.
func (p *stepUp) interrupted() string {
	p.t.Helper()
	p.clock.Move(11*time.Minute + time.Second)
	got := p.endOthers()
	location := got.Header.Get("Location")
	if got.StatusCode != http.StatusSeeOther || !strings.HasPrefix(location, "/resume/") {
		p.t.Fatalf("answered %d to %q\n%s", got.StatusCode, location, p.log)
	}
	return location
}

// wantBoth checks that nobody has been signed out.
func (p *stepUp) wantBoth() {
	p.t.Helper()
	if !p.here.signedIn() || !p.there.signedIn() {
		p.t.Errorf("signed in here: %t, there: %t", p.here.signedIn(), p.there.signedIn())
	}
}

// TestRecentSignIn (AR-15) ends the other devices without being asked for more.
func TestRecentSignIn(t *testing.T) {
	t.Parallel()
	p := newStepUp(t)
	p.clock.Move(11 * time.Minute) // ten minutes, and what clocks may differ
	if got := p.endOthers(); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/sessions" {
		t.Errorf("answered %d to %q", got.StatusCode, got.Header.Get("Location"))
	}
	if !p.here.signedIn() || p.there.signedIn() {
		t.Errorf("signed in here: %t, there: %t", p.here.signedIn(), p.there.signedIn())
	}
}

// TestStepUp (AR-15) sends a form, is asked to sign in, and finds the form as it was.
func TestStepUp(t *testing.T) {
	t.Parallel()
	p := newStepUp(t)
	resume := p.interrupted()
	p.wantBoth()
	if asked := query(t, p.here.authorizationRequest(resume)); asked.Get("max_age") != "600" {
		t.Errorf("the provider is asked for max_age %q", asked.Get("max_age"))
	}
	page := p.here.get(resume)
	if page.StatusCode != http.StatusOK || page.Request.URL.Path != resume {
		t.Fatalf("it ends at %s with %d", page.Request.URL, page.StatusCode)
	}
	p.wantBoth() // nothing was done yet
	submitted := p.here.submission(page, "resume-button")
	if err := submitted.ParseForm(); err != nil {
		t.Fatal(err)
	}
	if got, want := submitted.PostForm.Encode(), form().Encode(); got != want || submitted.URL.Path != "/sessions/end-others" {
		t.Errorf("the form goes to %s with\n%s, want\n%s", submitted.URL.Path, got, want)
	}
	if end := p.here.press(page, "resume-button"); end.Request.URL.Path != "/sessions" || end.StatusCode != http.StatusOK {
		t.Errorf("it ends at %s with %d", end.Request.URL, end.StatusCode)
	}
	if !p.here.signedIn() || p.there.signedIn() {
		t.Errorf("signed in here: %t, there: %t", p.here.signedIn(), p.there.signedIn())
	}
}

// TestStepUpOverlooked (ID-17) meets a provider that does not ask its person again, and
// then one that does.
func TestStepUpOverlooked(t *testing.T) {
	t.Parallel()
	p := newStepUp(t)
	resume := p.interrupted()
	p.op.EditIDToken(func(t *scriptedop.JWT) { t.Claims["auth_time"] = p.clock.Now().Add(-time.Hour).Unix() })
	got := p.here.get(resume)
	if got.StatusCode != http.StatusForbidden || !strings.Contains(got.body, "That sign-in was not enough") {
		t.Errorf("answered %d:\n%s", got.StatusCode, got.body)
	}
	if lines := p.logged("refused", got.Header.Get("X-Request-Id")); len(lines) != 1 || lines[0]["reason"] != string(authn.ReasonStepUpFailed) {
		t.Errorf("the log says %v", lines)
	}
	p.wantBoth()
	p.wantNoSecrets(got)
	p.op.EditIDToken(nil)
	again := find(parse(t, got.body), func(n *node) bool { return n.Data == "a" && attribute(n, "href") == resume })
	if again == nil || text(again) != "Try again" {
		t.Fatalf("the page does not offer to try again:\n%s", got.body)
	}
	if page := p.here.get(resume); page.StatusCode != http.StatusOK || byID(parse(t, page.body), "resume-button") == nil {
		t.Errorf("the second try ends at %s with %d", page.Request.URL, page.StatusCode)
	}
}

// TestStepUpByAnother (SE-11) lets somebody else sign in at the second question. What the
// first person was doing is not theirs.
func TestStepUpByAnother(t *testing.T) {
	t.Parallel()
	p := newStepUp(t)
	resume := p.interrupted()
	p.op.SignInAs("mallory")
	got := p.here.get(resume)
	if got.StatusCode != http.StatusNotFound || !strings.Contains(got.body, "Nothing is waiting here") || strings.Contains(got.body, "mine") {
		t.Errorf("answered %d:\n%s", got.StatusCode, got.body)
	}
	p.wantBoth()
	// Nor does another session of the same person's have it.
	if got := p.there.get(resume); got.StatusCode != http.StatusNotFound {
		t.Errorf("another session finds it: %d", got.StatusCode)
	}
}

// TestStepUpIsKeptForAWhile comes back too late.
func TestStepUpIsKeptForAWhile(t *testing.T) {
	t.Parallel()
	p := newStepUp(t)
	resume := p.interrupted()
	p.clock.Move(30 * time.Minute)
	if got := p.here.get(resume); got.StatusCode != http.StatusNotFound {
		t.Errorf("after half an hour it answers %d", got.StatusCode)
	}
	if got := p.here.get("/resume/unknown"); got.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown one answers %d", got.StatusCode)
	}
	if got := p.visitor().direct(p.here.request(http.MethodGet, resume, nil)); !strings.HasPrefix(got.Header.Get("Location"), "/login") {
		t.Errorf("a visitor is sent to %q", got.Header.Get("Location"))
	}
}

// TestStepUpAnswers asks in each of the ways in which a client can ask.
func TestStepUpAnswers(t *testing.T) {
	t.Parallel()
	t.Run("htmx", func(t *testing.T) {
		t.Parallel()
		p := newStepUp(t)
		p.clock.Move(time.Hour)
		got := p.endOthers("HX-Request", "true", "HX-Current-URL", p.url+"/sessions")
		if got.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(got.Header.Get("HX-Redirect"), "/resume/") {
			t.Errorf("answered %d, HX-Redirect %q", got.StatusCode, got.Header.Get("HX-Redirect"))
		}
	})
	t.Run("a program", func(t *testing.T) {
		t.Parallel()
		p := newStepUp(t)
		p.clock.Move(time.Hour)
		got := p.endOthers("Accept", "application/json")
		if got.StatusCode != http.StatusUnauthorized || got.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(got.body, "more recent") {
			t.Errorf("answered %d %s", got.StatusCode, got.body)
		}
		p.wantBoth()
	})
	t.Run("AR-11 a frame", func(t *testing.T) {
		t.Parallel()
		p := newStepUp(t)
		resume := p.interrupted()
		got := p.here.direct(p.here.request(http.MethodGet, resume, nil, "Sec-Fetch-Dest", "iframe", "Sec-Fetch-Mode", "navigate"))
		if got.StatusCode != http.StatusBadRequest || len(got.Cookies()) > 0 {
			t.Errorf("answered %d, cookies %v", got.StatusCode, got.Cookies())
		}
	})
	t.Run("what is no form", func(t *testing.T) {
		t.Parallel()
		p := newStepUp(t)
		p.clock.Move(time.Hour)
		req := p.here.request(http.MethodPost, "/sessions/end-others", url.Values{}, "Sec-Fetch-Site", "same-origin")
		req.Header.Set("Content-Type", "application/json")
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader("{}")), 2
		if got := p.here.direct(req); got.StatusCode != http.StatusUnsupportedMediaType {
			t.Errorf("answered %d", got.StatusCode)
		}
		p.wantBoth()
	})
}

package routes_test

import (
	"net/http"
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
	if list := here.Get("/sessions").Body; strings.Contains(list, "end-others") {
		t.Error("the page has a button to end other sessions, but there are none")
	}
}

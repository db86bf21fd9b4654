package app

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestSessionList (SE-14) lists a person's sessions and ends one of them.
func TestSessionList(t *testing.T) {
	t.Parallel()
	s, clock := assembleScripted(t)
	here, there, mallory := s.visitor(), s.visitor(), s.visitor()
	there.get("/dashboard", "User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	clock.Move(time.Minute)
	s.signInNow(here)
	s.op.SignInAs("mallory")
	s.signInNow(mallory)

	page := here.get("/sessions")
	root := parse(t, page.body)
	if shown := text(byID(root, "sessions-card")); page.StatusCode != http.StatusOK || strings.Count(shown, "Signed in ") != 2 {
		t.Fatalf("the list is %d: %s", page.StatusCode, shown)
	}
	end := find(root, func(n *node) bool { return strings.HasSuffix(attribute(n, "action"), "/end") })
	if end == nil {
		t.Fatal("no session can be ended")
	}
	address := attribute(end, "action")

	stolen := mallory.direct(mallory.request(http.MethodPost, address, nil, "Sec-Fetch-Site", "same-origin"))
	if stolen.StatusCode != http.StatusSeeOther || !there.signedIn() {
		t.Errorf("another person's try: %d; signed in still: %t", stolen.StatusCode, there.signedIn())
	}
	if got := here.direct(here.request(http.MethodPost, address, nil, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")); got.StatusCode != http.StatusForbidden || !there.signedIn() {
		t.Errorf("another site's try: %d; signed in still: %t", got.StatusCode, there.signedIn())
	}
	for range 2 { // the second time there is nothing to end, which is as well
		got := here.post(address, nil, "HX-Request", "true")
		if got.StatusCode != http.StatusOK || strings.Count(got.body, "Signed in ") != 1 || strings.Contains(got.body, "<html") {
			t.Errorf("ending it: %d %s", got.StatusCode, got.body)
		}
	}
	if there.signedIn() || !here.signedIn() || !mallory.signedIn() {
		t.Errorf("signed in there: %t, here: %t, somebody else: %t", there.signedIn(), here.signedIn(), mallory.signedIn())
	}
	if list := here.get("/sessions").body; strings.Contains(list, "end-others") {
		t.Error("there are no others, and a button to end them")
	}
}

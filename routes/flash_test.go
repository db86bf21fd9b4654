package routes_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/internal/apptest"
)

// countedStore counts what writes to an existing session.
type countedStore struct {
	authn.Store
	saves atomic.Int64
}

func (s *countedStore) Save(ctx context.Context, r authn.Record) error {
	s.saves.Add(1)
	return s.Store.Save(ctx, r)
}

// TestFlashIsShownOnce ends a session without JavaScript, and opens pages after that. The first one
// says what has happened, and no later one does. Fragments, event streams and HEAD requests leave the
// sentence to a page, and only that page costs a write.
func TestFlashIsShownOnce(t *testing.T) {
	t.Parallel()
	const sentence = "The device is signed out."
	for _, next := range []string{"/sessions", "/dashboard", "/profile", "/logout"} {
		t.Run(next, func(t *testing.T) {
			t.Parallel()
			store := &countedStore{Store: authn.NewMemoryStore()}
			s, _ := apptest.AssembleWith(t, func(c *apptest.Settings) { c.Authn.Store = store })
			p := &apptest.TwoDevices{Scripted: s, Here: s.Visitor(), There: s.Visitor()}
			s.SignIn(p.Here)
			s.SignIn(p.There)
			saves := func(want int64, what string) {
				t.Helper()
				if got := store.saves.Swap(0); got != want {
					t.Errorf("%s costs %d writes, want %d", what, got, want)
				}
			}
			before := p.Here.Get(next)
			p.Here.Get(next) // which may come from what the first one has kept
			saves(0, "a page without a flash message")

			answer := p.Here.Direct(p.Here.Request(http.MethodPost, "/sessions/"+otherSession(p)+"/end", nil, "Sec-Fetch-Site", "same-origin"))
			if answer.StatusCode != http.StatusSeeOther || answer.Header.Get("Location") != "/sessions" {
				t.Fatalf("ending a session answers %d to %q", answer.StatusCode, answer.Header.Get("Location"))
			}
			saves(1, "keeping a flash message")
			for range 2 { // what is rendered is kept from the second time on
				p.Here.Direct(p.Here.Request(http.MethodHead, next, nil))
			}
			for _, fragment := range []apptest.Answer{p.Here.Get("/sessions", "HX-Request", "true"), p.Here.Get("/profile", "HX-Request", "true"), p.There.Get("/")} {
				if strings.Contains(fragment.Body, sentence) {
					t.Errorf("it is in a fragment or on another person's page:\n%s", fragment.Body)
				}
			}
			open := p.Here.ListenToDevices()
			open.Want("alive")
			open.Want("devices")
			open.Close()
			saves(0, "what shows no flash message")

			shown := p.Here.Get(next)
			if n := strings.Count(shown.Body, sentence); n != 1 || !strings.Contains(apptest.Text(apptest.ByID(apptest.Parse(t, shown.Body), "main")), sentence) {
				t.Errorf("the next page has it %d times:\n%s", n, shown.Body)
			}
			saves(1, "showing a flash message")
			again := p.Here.Get(next)
			if strings.Contains(again.Body, sentence) {
				t.Errorf("the page after the next one has it too:\n%s", again.Body)
			}
			if next != "/sessions" && again.Body != before.Body {
				t.Errorf("the page is no longer what it was before:\n%s", again.Body)
			}
			saves(0, "a page after the flash message")
		})
	}
}

// TestFlashWaitsForAPage ends a session, and sends a form for which the person has to sign in again: the
// page that moves on to the sign-in leaves the sentence to the next one.
func TestFlashWaitsForAPage(t *testing.T) {
	t.Parallel()
	p := apptest.NewTwoDevices(t)
	p.Here.Direct(p.Here.Request(http.MethodPost, "/sessions/unknown/end", nil, "Sec-Fetch-Site", "same-origin"))
	p.Clock.Move(11*time.Minute + time.Second)
	const sentence = "That device was already signed out."
	if moving := p.EndOthers(); moving.StatusCode != http.StatusUnauthorized || moving.Next() == "" || strings.Contains(moving.Body, sentence) {
		t.Fatalf("the form is answered %d to %q\n%s", moving.StatusCode, moving.Next(), moving.Body)
	}
	if next := p.Here.Get("/dashboard"); !strings.Contains(next.Body, sentence) {
		t.Errorf("the next page does not show it:\n%s", next.Body)
	}
}

// TestEndedSessionIsConfirmed says what has happened to the person who has ended sessions, in a fragment
// for htmx and on the next page without it.
func TestEndedSessionIsConfirmed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		devices int // besides this one
		post    func(p *apptest.TwoDevices) string
		htmx    bool
		says    string
	}{
		"one":                   {1, func(p *apptest.TwoDevices) string { return otherSession(p) + "/end" }, false, "The device is signed out."},
		"one, with htmx":        {1, func(p *apptest.TwoDevices) string { return otherSession(p) + "/end" }, true, "The device is signed out."},
		"one that is gone":      {1, func(*apptest.TwoDevices) string { return "unknown/end" }, false, "That device was already signed out."},
		"one gone, with htmx":   {1, func(*apptest.TwoDevices) string { return "unknown/end" }, true, "That device was already signed out."},
		"all others, one":       {1, func(*apptest.TwoDevices) string { return "end-others" }, false, "1 other device is signed out."},
		"all others, three":     {3, func(*apptest.TwoDevices) string { return "end-others" }, false, "3 other devices are signed out."},
		"all others, with htmx": {3, func(*apptest.TwoDevices) string { return "end-others" }, true, "3 other devices are signed out."},
		"all others, none":      {0, func(*apptest.TwoDevices) string { return "end-others" }, false, "No other device was signed in."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := apptest.Assemble(t)
			p := &apptest.TwoDevices{Scripted: s, Here: s.Visitor(), There: s.Visitor()}
			s.SignIn(p.Here)
			for i := range tt.devices {
				if i == 0 {
					s.SignIn(p.There)
				} else {
					s.SignIn(s.Visitor())
				}
			}
			var headers []string
			if tt.htmx {
				headers = []string{"HX-Request", "true"}
			}
			page := p.Here.Post("/sessions/"+tt.post(p), nil, headers...)
			notices := apptest.ByID(apptest.Parse(t, page.Body), "notices")
			if page.StatusCode != http.StatusOK || notices == nil || strings.TrimSpace(apptest.Text(notices)) != tt.says {
				t.Fatalf("answered %d\n%s", page.StatusCode, page.Body)
			}
			if swapped := apptest.Attribute(notices, "hx-swap-oob") == "true"; swapped != tt.htmx {
				t.Errorf("htmx puts the notice in place: %t", swapped)
			}
		})
	}
}

// TestEndOthersAsks opens the page that asks before all other devices are signed out.
func TestEndOthersAsks(t *testing.T) {
	t.Parallel()
	p := apptest.NewTwoDevices(t)
	question := p.Here.Press(p.Here.Get("/sessions"), "end-others")
	if question.StatusCode != http.StatusOK || !strings.Contains(question.Body, "<h1>Sign out all other devices?</h1>") || !strings.Contains(question.Body, `href="/sessions">Cancel</a>`) || !p.There.SignedIn() {
		t.Fatalf("the button leads to %d; signed in there: %t\n%s", question.StatusCode, p.There.SignedIn(), question.Body)
	}
	if done := p.Here.Press(question, "end-others-confirm"); done.StatusCode != http.StatusOK || p.There.SignedIn() || !p.Here.SignedIn() {
		t.Errorf("answered %d; signed in here: %t, there: %t", done.StatusCode, p.Here.SignedIn(), p.There.SignedIn())
	}
	if got := p.Visitor().Direct(p.Visitor().Request(http.MethodGet, "/sessions/end-others", nil)); got.StatusCode != http.StatusSeeOther {
		t.Errorf("a visitor is answered %d", got.StatusCode)
	}
}

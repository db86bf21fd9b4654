package authn_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"latchkey/authn"
	"latchkey/authn/openid"
	"latchkey/internal/scriptedop"
)

func saveRequest(t *testing.T, s *site, session *authn.Session, form string) string {
	t.Helper()
	id, err := s.SaveRequest(t.Context(), session, authn.SavedRequest{
		Method: http.MethodPost, Path: localPath(t, "/transfers?to=bob"), Form: form, Demand: openid.Demand{MaxAge: time.Minute, ACR: []string{"urn:mfa"}},
	})
	if err != nil || id == "" {
		t.Fatalf("SaveRequest: %q, %v", id, err)
	}
	return id
}

// savedForm returns the form that a cookie's session keeps under an id, or "".
func savedForm(t *testing.T, s *site, cookie, name, id string) string {
	t.Helper()
	h, _ := s.SavedRequest(s.wantPerson(t, cookie, name), id)
	return h.Form
}

func TestSavedRequest(t *testing.T) {
	t.Parallel()
	for name, s := range newSites(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alice := newVisitor(t)
			session, first := alice.signIn(t, s, signInOf("alice"))
			saveValue(t, s, alice, "note", "a private note")
			id := saveRequest(t, s, session, "amount=5")
			h, ok := s.SavedRequest(s.wantPerson(t, first, "alice"), id)
			if !ok || h.Method != http.MethodPost || h.Path.String() != "/transfers?to=bob" || h.Form != "amount=5" ||
				h.Demand.MaxAge != time.Minute || len(h.Demand.ACR) != 1 || h.Demand.ACR[0] != "urn:mfa" {
				t.Errorf("the saved request is %+v", h)
			}
			if form := savedForm(t, s, first, "alice", "another"); form != "" {
				t.Errorf("another id has the form %q", form)
			}

			_, second := alice.signIn(t, s, signInOf("alice"))
			if second == first {
				t.Fatal("SE-01: the cookie has not changed")
			}
			s.wantPerson(t, first, "")
			if form := savedForm(t, s, second, "alice", id); form != "amount=5" {
				t.Errorf("after signing in again, the form is %q", form)
			}
			if got := loadValues(t, s, alice); got["note"] != "a private note" {
				t.Errorf("after signing in again the values are %v", got)
			}

			_, third := alice.signIn(t, s, signInOf("bob"))
			if form := savedForm(t, s, third, "bob", id); form != "" {
				t.Errorf("SE-11: another person finds %q", form)
			}
			if got := loadValues(t, s, alice); len(got) > 0 {
				t.Errorf("SE-11: another person finds %v", got)
			}
			s.wantPerson(t, second, "")
		})
	}
}

// TestTakeRequest takes a request in many places at once, on two nodes.
func TestTakeRequest(t *testing.T) {
	t.Parallel()
	for name, s := range newSites(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			session, cookie := newVisitor(t).signIn(t, s, signInOf("alice"))
			id, other := saveRequest(t, s, session, "amount=5"), saveRequest(t, s, session, "amount=6")
			node := s.with(t, func(*settings) {})
			taken := make(chan authn.SavedRequest)
			for i := range 8 {
				go func() {
					r, ok, err := []*site{s, node}[i%2].TakeRequest(t.Context(), session, id)
					if err != nil || ok != (r.Form != "") {
						t.Errorf("TakeRequest: %v, %t, %v", r, ok, err)
					}
					taken <- r
				}()
			}
			times := 0
			for range 8 {
				if r := <-taken; r.Form == "amount=5" {
					times++
				}
			}
			if times != 1 || savedForm(t, s, cookie, "alice", id) != "" || savedForm(t, s, cookie, "alice", other) != "amount=6" {
				t.Errorf("it was taken %d times, or is still there, or another one is gone", times)
			}
			s.after(time.Hour)
			if r, ok, err := s.TakeRequest(t.Context(), session, other); ok || err != nil {
				t.Errorf("after an hour: %v, %t, %v", r, ok, err)
			}
		})
	}
}

// endlessStore is a store that cannot end sessions.
type endlessStore struct{ authn.Store }

func (endlessStore) End(context.Context, authn.Key, authn.Cause, time.Time) error {
	return errors.New("not now")
}

// TestSavedRequestHasOneSession signs in again while the store does not end the previous session.
// Only the new one has the request.
func TestSavedRequestHasOneSession(t *testing.T) {
	t.Parallel()
	s := newSiteOn(t, endlessStore{authn.NewMemoryStore()})
	alice := newVisitor(t)
	session, first := alice.signIn(t, s, signInOf("alice"))
	id := saveRequest(t, s, session, "amount=5")
	_, second := alice.signIn(t, s, signInOf("alice"))
	if before, now := savedForm(t, s, first, "alice", id), savedForm(t, s, second, "alice", id); before != "" || now != "amount=5" {
		t.Errorf("the previous session has %q, and the new one %q", before, now)
	}
}

// createlessStore accepts no new session while it is full.
type createlessStore struct {
	authn.Store
	full *atomic.Bool
}

func (s createlessStore) Create(ctx context.Context, r authn.Record) error {
	if s.full.Load() {
		return errors.New("no space left")
	}
	return s.Store.Create(ctx, r)
}

// TestSavedRequestOutlivesAFailedSignIn signs in again while the store accepts no new session. The request
// still waits in the previous one.
func TestSavedRequestOutlivesAFailedSignIn(t *testing.T) {
	t.Parallel()
	full := new(atomic.Bool)
	s := newSiteOn(t, createlessStore{authn.NewMemoryStore(), full})
	alice := newVisitor(t)
	session, first := alice.signIn(t, s, signInOf("alice"))
	id := saveRequest(t, s, session, "amount=5")
	full.Store(true)
	alice.visit(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := s.Start(w, r, signInOf("alice")); openid.ReasonOf(err) != authn.ReasonStoreUnavailable {
			t.Errorf("Start: %v", err)
		}
	})
	if got := savedForm(t, s, first, "alice", id); got != "amount=5" {
		t.Errorf("the session has %q", got)
	}
	full.Store(false)
	if _, second := alice.signIn(t, s, signInOf("alice")); savedForm(t, s, second, "alice", id) != "amount=5" {
		t.Error("the next session does not have the request")
	}
}

// TestOtherMethodsAreNotContinued saves requests that no form can send.
func TestOtherMethodsAreNotContinued(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	session, cookie := newVisitor(t).signIn(t, s, signInOf("alice"))
	for method, want := range map[string]bool{"GET": true, "POST": true, "DELETE": false, "PUT": false, "PATCH": false, "post": false, "": false} {
		id, err := s.SaveRequest(t.Context(), session, authn.SavedRequest{Method: method, Path: localPath(t, "/notes/1")})
		if err != nil {
			t.Fatal(err)
		}
		_, kept := s.SavedRequest(s.wantPerson(t, cookie, "alice"), id)
		if _, taken, err := s.TakeRequest(t.Context(), session, id); err != nil || kept != want || taken != want {
			t.Errorf("%q is kept: %t, taken: %t (%v), want %t", method, kept, taken, err, want)
		}
	}
}

func TestSavedRequestsAreBounded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	session, cookie := newVisitor(t).signIn(t, s, signInOf("alice"))
	large := strings.Repeat("x", 40<<10)
	if _, err := s.SaveRequest(t.Context(), session, authn.SavedRequest{Form: large + large}); !errors.Is(err, authn.ErrRequestTooLarge) {
		t.Errorf("a form of 80 KiB: %v", err)
	}
	one := saveRequest(t, s, session, large)
	two := saveRequest(t, s, session, large)
	if savedForm(t, s, cookie, "alice", one) != "" || savedForm(t, s, cookie, "alice", two) != large {
		t.Error("a second large form does not replace the first")
	}
	var last string
	for range 10 {
		last = saveRequest(t, s, session, "small")
	}
	if savedForm(t, s, cookie, "alice", two) != "" || savedForm(t, s, cookie, "alice", last) != "small" {
		t.Error("old forms do not make room for new ones")
	}
	s.after(30*time.Minute - time.Second)
	if savedForm(t, s, cookie, "alice", last) != "small" {
		t.Error("the form is dropped too early")
	}
	s.after(30 * time.Minute)
	if savedForm(t, s, cookie, "alice", last) != "" {
		t.Error("the form is kept too long")
	}
}

// TestValuesSurviveASignIn signs in again without signing out. With form_post, the browser
// does not send the session's own cookie with the response.
func TestValuesSurviveASignIn(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"query", "form_post"} {
		for _, again := range []string{"alice", "bob"} {
			t.Run(mode+" "+again, func(t *testing.T) {
				t.Parallel()
				a := newApp(t, appOptions{secure: true, config: func(c *settings) { c.ResponseMode = mode }})
				b := a.person(t)
				finish := func() {
					t.Helper()
					request := b.begin("")
					cookies := b.cookieHeader()
					response := b.get(change(t, request, "response_mode", "")).location
					if mode == "query" {
						b.get(response)
						return
					}
					var crossSite []string
					for pair := range strings.SplitSeq(cookies, "; ") {
						if !strings.HasPrefix(pair, "__Host-session=") {
							crossSite = append(crossSite, pair)
						}
					}
					r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL+"/callback", strings.NewReader(scriptedop.Query(t, response).Encode()))
					if err != nil {
						t.Fatal(err)
					}
					r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
					r.Header.Set("Cookie", strings.Join(crossSite, "; "))
					jar := b.client.Jar
					b.client.Jar = nil
					got := b.do(r, nil)
					b.client.Jar = jar
					jar.SetCookies(r.URL, (&http.Response{Header: got.header}).Cookies())
				}
				finish()
				b.post(a.URL+"/note", url.Values{"note": {"a private note"}})
				before := b.cookieHeader()
				a.op.SignInAs(again)
				finish()
				who := b.who()
				if who.Subject != again || (who.Note == "a private note") != (again == "alice") {
					t.Errorf("%q is signed in, with the note %v", who.Subject, who.Note)
				}
				if old := b.withCookies(before, a.URL+"/me"); old.status == http.StatusOK {
					t.Error("SE-01: the first session did not end")
				}
			})
		}
	}
}

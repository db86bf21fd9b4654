package authn_test

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/sessions"

	"latchkey/authn"
)

// basket is a value of an application's own type.
type basket struct {
	Items []string
	At    time.Time
}

// saveValue sets one of the application's values in a request of its own.
func saveValue(t *testing.T, s *site, b *visitor, key, value any) {
	t.Helper()
	changeValues(t, s, b, func(v *sessions.Session) { v.Values[key] = value })
}

func changeValues(t *testing.T, s *site, b *visitor, change func(v *sessions.Session)) {
	t.Helper()
	header := b.visit(t, func(w http.ResponseWriter, r *http.Request) {
		values, err := s.Get(r, "session")
		if err != nil {
			t.Errorf("Get: %v", err)
			return
		}
		change(values)
		if err := values.Save(r, w); err != nil {
			t.Errorf("Save: %v", err)
		}
	})
	wantNoCookie(t, header)
}

func loadValues(t *testing.T, s *site, b *visitor) map[any]any {
	t.Helper()
	values, err := s.Get(b.request(t), "session")
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	return values.Values
}

func wantValues(t *testing.T, s *site, b *visitor, want map[any]any) {
	t.Helper()
	if got := loadValues(t, s, b); !reflect.DeepEqual(got, want) {
		t.Errorf("values are %.99v, want %.99v", got, want)
	}
}

func TestValuesOfAnyTypeAndSize(t *testing.T) {
	t.Parallel()
	gob.Register(basket{})
	s, alice := newSite(t), newVisitor(t)
	alice.signIn(t, s, signInOf("alice"))
	wantValues(t, s, alice, map[any]any{})
	want := map[any]any{
		"text": "red", 7: true, "bytes": []byte{0, 1}, 'r': 1.5, "empty": "",
		"own": basket{Items: []string{"a", "b"}, At: noon()}, "large": strings.Repeat("x", 1<<20),
	}
	for key, value := range want {
		saveValue(t, s, alice, key, value)
	}
	wantValues(t, s, alice, want)
	changeValues(t, s, alice, func(v *sessions.Session) {
		delete(v.Values, "large")
		v.Values["text"] = "blue"
	})
	delete(want, "large")
	want["text"] = "blue"
	wantValues(t, s, alice, want)
	s.wantPerson(t, alice.cookie(), "alice")
}

func TestValuesThatCannotBeEncoded(t *testing.T) {
	t.Parallel()
	type unknown struct{ Field int }
	s, alice := newSite(t), newVisitor(t)
	alice.signIn(t, s, signInOf("alice"))
	saveValue(t, s, alice, "colour", "red")
	alice.visit(t, func(w http.ResponseWriter, r *http.Request) {
		values, err := s.Get(r, "session")
		if err != nil {
			t.Fatal(err)
		}
		values.Values["bad"] = unknown{1}
		if err := values.Save(r, w); err == nil || !strings.Contains(err.Error(), "gob.Register") {
			t.Errorf("Save: %v, want an error with a remedy", err)
		}
	})
	wantValues(t, s, alice, map[any]any{"colour": "red"})
}

func TestFlashesAreShownOnce(t *testing.T) {
	t.Parallel()
	s, alice := newSite(t), newVisitor(t)
	alice.signIn(t, s, signInOf("alice"))
	changeValues(t, s, alice, func(v *sessions.Session) {
		v.AddFlash("saved")
		v.AddFlash("and sent")
		v.AddFlash("careful", "warnings")
	})
	var shown []any
	show := func(v *sessions.Session) { shown = v.Flashes() }
	changeValues(t, s, alice, show)
	if !reflect.DeepEqual(shown, []any{"saved", "and sent"}) {
		t.Errorf("first: %v", shown)
	}
	if changeValues(t, s, alice, show); len(shown) != 0 {
		t.Errorf("second: %v", shown)
	}
	changeValues(t, s, alice, func(v *sessions.Session) { shown = v.Flashes("warnings") })
	if !reflect.DeepEqual(shown, []any{"careful"}) {
		t.Errorf("warnings: %v", shown)
	}
}

// TestTwoSavesMergeByKey (SE-08) saves the values of two requests that loaded the same
// version.
func TestTwoSavesMergeByKey(t *testing.T) {
	t.Parallel()
	for name, loadFirst := range map[string]bool{"with a middleware that loads": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, alice := newSite(t), newVisitor(t)
			alice.signIn(t, s, signInOf("alice"))
			changeValues(t, s, alice, func(v *sessions.Session) {
				v.Values["kept"], v.Values["both"], v.Values["removed"], v.Values["changed"] = 1, 1, 1, 1
			})
			first, second := openValues(t, s, alice, loadFirst), openValues(t, s, alice, loadFirst)
			delete(first.Values, "removed")
			first.Values["both"], first.Values["first"] = 2, 2
			second.Values["both"], second.Values["changed"], second.Values["second"] = 3, 3, 3
			first.save(t)
			second.save(t)
			wantValues(t, s, alice, map[any]any{"kept": 1, "both": 3, "changed": 3, "first": 2, "second": 3})
			first.Values["again"] = true
			first.save(t)
			delete(first.Values, "again")
			first.save(t)
			first.Values["first"] = 4 // does not know what second has saved
			first.save(t)
			wantValues(t, s, alice, map[any]any{"kept": 1, "both": 3, "changed": 3, "first": 4, "second": 3})
		})
	}
}

// openedValues are the values of one request.
type openedValues struct {
	*sessions.Session
	r *http.Request
}

func openValues(t *testing.T, s *site, v *visitor, loadFirst bool) openedValues {
	t.Helper()
	r := v.request(t)
	if loadFirst {
		session, err := s.Load(r)
		if err != nil {
			t.Fatal(err)
		}
		r = r.WithContext(authn.NewContext(r.Context(), session))
	}
	values, err := s.Get(r, "session")
	if err != nil {
		t.Fatal(err)
	}
	return openedValues{values, r}
}

func (v openedValues) save(t *testing.T) {
	t.Helper()
	if err := v.Save(v.r, httptest.NewRecorder()); err != nil {
		t.Errorf("Save: %v", err)
	}
}

// TestConcurrentSavesLoseNothing (SE-08) saves different values from several goroutines.
func TestConcurrentSavesLoseNothing(t *testing.T) {
	t.Parallel()
	const workers = 10
	for _, s := range newSites(t) {
		alice := newVisitor(t)
		alice.signIn(t, s, signInOf("alice"))
		want := map[any]any{}
		var wg sync.WaitGroup
		for worker := range workers {
			want[fmt.Sprint(worker)] = worker
			wg.Go(func() { saveValue(t, s, alice, fmt.Sprint(worker), worker) })
		}
		wg.Wait()
		wantValues(t, s, alice, want)
	}
}

func TestAnUnchangedSaveWritesNothing(t *testing.T) {
	t.Parallel()
	s, alice := newSite(t), newVisitor(t)
	_, value := alice.signIn(t, s, signInOf("alice"))
	saveValue(t, s, alice, "colour", "red")
	before := version(t, s, value)
	changeValues(t, s, alice, func(*sessions.Session) {})
	if after := version(t, s, value); after != before {
		t.Errorf("version %d became %d", before, after)
	}
	saveValue(t, s, alice, "colour", "blue")
	if after := version(t, s, value); after != before+1 {
		t.Errorf("control: version %d became %d", before, after)
	}
}

// TestFragmentsFollowASave renders a fragment before and after a Save in one request: the second one belongs
// to another version of the session.
func TestFragmentsFollowASave(t *testing.T) {
	t.Parallel()
	s, alice := newSite(t), newVisitor(t)
	alice.signIn(t, s, signInOf("alice"))
	loadValues(t, s, alice) // a session is cached from its second use on
	var got strings.Builder
	alice.visit(t, func(w http.ResponseWriter, r *http.Request) {
		values, err := s.Get(r, "session")
		if err != nil {
			t.Fatal(err)
		}
		render := func(text string) {
			err := authn.FromContext(r.Context()).Fragment(&got, "colour", nil, func(w io.Writer) error {
				_, err := io.WriteString(w, text)
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
		render("red ")
		render("again ")
		values.Values["colour"] = "blue"
		if err := values.Save(r, w); err != nil {
			t.Error(err)
		}
		render("blue")
	})
	if got.String() != "red red blue" {
		t.Errorf("the fragments are %q", got.String())
	}
}

func TestMaxAgeBelowZeroEndsTheSession(t *testing.T) {
	t.Parallel()
	s, alice, bob := newSite(t), newVisitor(t), newVisitor(t)
	_, value := alice.signIn(t, s, signInOf("alice"))
	_, other := bob.signIn(t, s, signInOf("bob"))
	alice.visit(t, func(w http.ResponseWriter, r *http.Request) {
		values, err := s.Get(r, "session")
		if err != nil {
			t.Fatal(err)
		}
		values.Values["colour"] = "red"
		values.Options.MaxAge = -1
		if err := values.Save(r, w); err != nil {
			t.Errorf("Save: %v", err)
		}
	})
	if got := alice.cookie(); got != "" {
		t.Error("the cookie is still there")
	}
	s.wantPerson(t, value, "")
	s.wantPerson(t, other, "bob")
	changeValues(t, s, bob, func(v *sessions.Session) { v.Options.MaxAge = 60 })
	s.wantPerson(t, other, "bob")
}

func TestVisitorsAndOtherNames(t *testing.T) {
	t.Parallel()
	s, visitor := newSite(t), newVisitor(t)
	header := visitor.visit(t, func(w http.ResponseWriter, r *http.Request) {
		values, err := s.Get(r, "session")
		if err != nil || !values.IsNew || values.Name() != "session" {
			t.Errorf("Get: %q, IsNew %t, error %v", values.Name(), values.IsNew, err)
		}
		if err := values.Save(r, w); err != nil {
			t.Errorf("Save of nothing: %v", err)
		}
		values.AddFlash("lost")
		if err := values.Save(r, w); !errors.Is(err, authn.ErrAnonymous) {
			t.Errorf("Save: %v, want %v", err, authn.ErrAnonymous)
		}
	})
	wantNoCookie(t, header)

	alice := newVisitor(t)
	alice.signIn(t, s, signInOf("alice"))
	for _, name := range []string{"other", "Session", "__Host-session", "session "} {
		if values, err := s.New(alice.request(t), name); err == nil || values == nil || !values.IsNew {
			t.Errorf("New(%q): %v, %v", name, values, err)
		}
	}
}

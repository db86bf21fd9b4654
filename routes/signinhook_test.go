package routes_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
	"latchkey/routes"
)

// doorman is a product whose sign-in hook does what its test tells it to. Its page /values shows the
// values in the session, and a POST there sets one.
type doorman struct {
	*routes.App
	mu   sync.Mutex
	hook func(context.Context, *authn.Arrival) error
	seen []authn.Arrival
}

func (d *doorman) product() routes.Product {
	return routes.Product{
		Open: func(_ context.Context, a *routes.App) error { d.App = a; return nil },
		Routes: func(r routes.Router) {
			r.GET("/values", d.values, r.Person)
			r.POST("/values", d.setValue, r.Person)
			r.POST("/recent", func(c echo.Context) error { return c.String(http.StatusOK, "done") }, r.Recently)
		},
		SignIn: func(ctx context.Context, arrival *authn.Arrival) error {
			d.mu.Lock()
			d.seen = append(d.seen, *arrival)
			hook := d.hook
			d.mu.Unlock()
			if hook == nil {
				return nil
			}
			return hook(ctx, arrival)
		},
	}
}

// does sets what the hook does from now on.
func (d *doorman) does(hook func(context.Context, *authn.Arrival) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = hook
}

func (d *doorman) calls() []authn.Arrival {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen
}

func (d *doorman) values(c echo.Context) error {
	values, err := routes.Current(c).Values()
	if err != nil {
		return err
	}
	kept := map[string]any{}
	for key, value := range values {
		kept[key.(string)] = value
	}
	return c.JSON(http.StatusOK, kept)
}

func (d *doorman) setValue(c echo.Context) error {
	s, err := d.Sessions.Get(c.Request(), "session")
	if err != nil {
		return err
	}
	s.Values[c.FormValue("key")] = c.FormValue("value")
	return s.Save(c.Request(), c.Response())
}

// startDoorman starts the app with a sign-in hook beside a scripted provider.
func startDoorman(t *testing.T) (*apptest.Scripted, *doorman) {
	t.Helper()
	d := new(doorman)
	return startShop(t, d.product()), d
}

func adds(key string, value any) func(context.Context, *authn.Arrival) error {
	return func(_ context.Context, a *authn.Arrival) error {
		a.Values[key] = value
		return nil
	}
}

// refuses is a hook that refuses everyone.
func refuses(context.Context, *authn.Arrival) error {
	return &authn.Refusal{Heading: "The trial is over", Text: "Ask your team's owner.", Err: errors.New("plan 7 ended")}
}

// TestSignInHook shows a hook the verified identity, and puts its values into the session.
func TestSignInHook(t *testing.T) {
	t.Parallel()
	s, d := startDoorman(t)
	saysRoles(s, []string{"reader"}, nil)
	d.does(adds("user", "u-1"))
	v := s.Visitor()
	if got := v.Get("/values"); got.Body != `{"user":"u-1"}`+"\n" {
		t.Errorf("the session has %s", got.Body)
	}
	seen := d.calls()
	if len(seen) != 1 || seen[0].Identity.Issuer != s.OP.Issuer || seen[0].Identity.Subject != "alice" ||
		!authn.Includes(rolesClaim, "reader").Met(seen[0].Identity.Claims()) || seen[0].Previous != nil || seen[0].StepUp || seen[0].ReturnTo.String() != "/values" {
		t.Errorf("the hook sees %+v", seen)
	}
	s.WantNoSecrets(apptest.Answer{Response: &http.Response{Header: http.Header{}}})
}

// TestSignInHookRefuses ends a sign-in without half a session, whatever the hook does wrong, and lets
// the next one through.
func TestSignInHookRefuses(t *testing.T) {
	t.Parallel()
	released := make(chan struct{})
	t.Cleanup(func() { close(released) })
	const failed = "Your sign-in could not be finished"
	for name, tt := range map[string]struct {
		hook            func(context.Context, *authn.Arrival) error
		status          int
		heading, logged string
		slow            bool
	}{
		"a refusal": {hook: refuses, status: 403, heading: "The trial is over", logged: "plan 7 ended"},
		"a refusal with a status, in another error": {
			hook: func(context.Context, *authn.Arrival) error {
				return errors.Join(errors.New("outer"), &authn.Refusal{Status: 409, Heading: "Already here", Text: "…"})
			}, status: 409, heading: "Already here", logged: "outer",
		},
		"a refusal with the status of a success": {
			hook: func(context.Context, *authn.Arrival) error { return &authn.Refusal{Status: 200, Heading: "No"} }, status: 403, heading: "No", logged: `refused: "No"`,
		},
		"a refusal without texts": {
			hook: func(context.Context, *authn.Arrival) error { return &authn.Refusal{Err: errors.New("plan 7 ended")} }, status: 403, heading: "You have no access here", logged: "plan 7 ended",
		},
		"an error": {
			hook: func(context.Context, *authn.Arrival) error { return errors.New("the database is down") }, status: 503, heading: failed, logged: "the database is down",
		},
		"a panic": {
			hook: func(context.Context, *authn.Arrival) error { panic("secret of a panic") }, status: 503, heading: failed, logged: "panicked",
		},
		"a value that cannot be kept": {hook: adds("f", func() {}), status: 503, heading: failed, logged: "gob"},
		"no answer, and no regard for its context": {
			hook: func(context.Context, *authn.Arrival) error { <-released; return nil }, status: 503, heading: failed, logged: "deadline exceeded", slow: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tt.slow && testing.Short() {
				t.Skip("it waits for the timeout of five seconds")
			}
			s, d := startDoorman(t)
			d.does(tt.hook)
			v := s.Visitor()
			got := v.Callback(v.AuthorizationResponse("/login"))
			reason, level := authn.ReasonHookFailed, "ERROR"
			if tt.heading != failed {
				reason, level = authn.ReasonRefused, "INFO"
			}
			s.WantRefused(v, got, tt.status, reason, 1, 1)
			line := s.Logged("refused", got.Header.Get("X-Request-Id"))[0]
			logged, _ := line["error"].(string)
			if !strings.Contains(got.Body, "<h1>"+tt.heading+"</h1>") || line["level"] != level || !strings.Contains(logged, tt.logged) || line["event"] != "sign_in_failed" {
				t.Errorf("the log says %v, and the page\n%s", line, got.Body)
			}
			if strings.Contains(got.Body, tt.logged) && tt.heading == failed || strings.Contains(s.Log.String(), "secret of a panic") {
				t.Errorf("it quotes what it should not:\n%s", got.Body)
			}
			d.does(nil)
			s.SignIn(v)
		})
	}
}

// TestSignInHookAndPrevious replaces a session: that of the same person, that of another, and, if the
// hook refuses, none.
func TestSignInHookAndPrevious(t *testing.T) {
	t.Parallel()
	s, d := startDoorman(t)
	v := s.Visitor()
	d.does(adds("user", "u-1"))
	s.SignIn(v)
	v.Post("/values", url.Values{"key": {"theme"}, "value": {"dark"}})
	v.Post("/values", url.Values{"key": {"user"}, "value": {"from before"}})
	want := func(what, values string) {
		t.Helper()
		if got := v.Get("/values"); got.Body != values+"\n" {
			t.Errorf("%s: the session has %s", what, got.Body)
		}
	}
	want("before", `{"theme":"dark","user":"from before"}`)

	s.SignIn(v)
	want("the same person again, and the hook's values win", `{"theme":"dark","user":"u-1"}`)
	if seen := d.calls(); seen[1].Previous == nil || seen[1].Previous.Identity.Subject != "alice" {
		t.Errorf("the hook sees the session %v", seen[1].Previous)
	}

	d.does(refuses)
	s.OP.SignInAs("bob")
	if got := v.Callback(v.AuthorizationResponse("/login")); got.StatusCode != http.StatusForbidden {
		t.Errorf("the refusal answers %s", got.Status)
	}
	want("after a refusal", `{"theme":"dark","user":"u-1"}`)

	d.does(adds("user", "u-2"))
	s.SignIn(v)
	want("another person", `{"user":"u-2"}`)
	if seen := d.calls(); seen[3].Previous == nil || seen[3].Previous.Identity.Subject != "alice" || seen[3].Identity.Subject != "bob" {
		t.Errorf("the hook sees %v before %s", seen[3].Previous, seen[3].Identity.Subject)
	}
}

// TestSignInHookAndStepUp calls the hook at a sign-in that a page demands. After a refusal the form
// still waits.
func TestSignInHookAndStepUp(t *testing.T) {
	t.Parallel()
	s, d := startDoorman(t)
	v := s.Visitor()
	s.OP.EditIDToken(func(token *scriptedop.JWT) { token.Claims["auth_time"] = time.Now().Add(-time.Hour).Unix() })
	s.SignIn(v)
	s.OP.EditIDToken(nil)
	d.does(refuses)
	moving := v.Direct(v.Request(http.MethodPost, "/recent", url.Values{}, "Sec-Fetch-Site", "same-origin"))
	resume := moving.Next()
	if got := v.Get(resume); got.StatusCode != http.StatusForbidden || !strings.Contains(got.Body, "The trial is over") {
		t.Errorf("the refusal is %s\n%s", got.Status, got.Body)
	}
	d.does(nil)
	question := v.Get(resume)
	if end := v.Press(question, "resume-button"); end.Body != "done" {
		t.Errorf("it ends at %s with %s\n%s", end.Request.URL, end.Status, end.Body)
	}
	if seen := d.calls(); len(seen) != 3 || seen[0].StepUp || !seen[1].StepUp || !seen[2].StepUp {
		t.Errorf("the hook sees %+v", seen)
	}
}

// TestSignInHookAndRefresh refreshes the profile: the hook does not run, and the session has the new
// claims.
func TestSignInHookAndRefresh(t *testing.T) {
	t.Parallel()
	s, d := startDoorman(t)
	v := s.Visitor()
	s.SignIn(v)
	d.does(refuses)
	saysRoles(s, []string{"admin"}, nil)
	if got := v.RefreshProfile(); got.StatusCode != http.StatusOK {
		t.Fatalf("the refresh answers %s", got.Status)
	}
	if got := askAdmin(v); got.StatusCode != http.StatusOK || len(d.calls()) != 1 {
		t.Errorf("the page answers %s, and the hook was called %d times", got.Status, len(d.calls()))
	}
}

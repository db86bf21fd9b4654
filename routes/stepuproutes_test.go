package routes

import (
	"context"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"latchkey/authn"
	"latchkey/authn/openid"
)

// startSession starts a session for alice, who signed in at a moment, in the browser that has the cookie,
// and returns its new cookie.
func startSession(t *testing.T, a *App, issuer string, at time.Time, cookie *http.Cookie) *http.Cookie {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	if cookie != nil {
		r.AddCookie(cookie)
	}
	w := httptest.NewRecorder()
	if _, err := a.Sessions.Start(w, r, &authn.SignIn{SignIn: openid.SignIn{
		Identity: openid.Identity{Issuer: issuer, Subject: "alice", AuthTime: at, IDToken: openid.Claims(`{"sub":"alice"}`)}, IDToken: openid.IDToken{IssuedAt: at},
	}}); err != nil {
		t.Fatal(err)
	}
	return w.Result().Cookies()[0]
}

// next returns where a response sends the browser, or "".
func next(w *httptest.ResponseRecorder) string {
	_, rest, _ := strings.Cut(w.Body.String(), `http-equiv="refresh" content="0; url=`)
	page, _, _ := strings.Cut(rest, `"`)
	return w.Header().Get("Location") + w.Header().Get("HX-Redirect") + html.UnescapeString(page)
}

// TestSavedRequestIsSent sends requests of every kind to a product's route that demands a recent
// sign-in. Only a form comes back after the sign-in: unchanged, and once.
func TestSavedRequestIsSent(t *testing.T) {
	t.Parallel()
	const form, script, htmx = "application/x-www-form-urlencoded", "*/*", "htmx"
	for name, tt := range map[string]struct {
		method, kind string
		body         string
		status       int    // at first
		then         string // after the sign-in: "form", or the page to return to
	}{
		"a form":                 {"POST", form, "a=1&a=2&empty=&text=%3C%26%22%C3%A4", 401, "form"},
		"an empty form":          {"POST", form, "", 401, "form"},
		"a form by htmx":         {"POST", htmx, "a=1", 401, "form"},
		"a form, from a program": {"POST", "application/json", "a=1", 401, ""},
		"DELETE by htmx":         {"DELETE", htmx, "", 401, "/account"},
		"PUT by htmx":            {"PUT", htmx, "a=1", 401, "/account"},
		"PATCH by htmx":          {"PATCH", htmx, "a=1", 401, "/account"},
		"DELETE by a script":     {"DELETE", script, "", 401, ""},
		"PUT by a script":        {"PUT", script, "a=1", 401, ""},
		"PATCH by a script":      {"PATCH", script, "a=1", 401, ""},
		"DELETE by a program":    {"DELETE", "application/json", "", 401, ""},
		"a page":                 {"GET", script, "", 303, "/account/7?to=bob%20b"},
		"a fragment":             {"GET", htmx, "", 401, "/account"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, op := newApp(t)
			person := []echo.MiddlewareFunc{a.session, a.requireSession}
			var received []string
			a.echo.Any("/account/:id", func(c echo.Context) error {
				values, err := c.FormParams()
				if err != nil {
					return err
				}
				received = append(received, c.Request().Method+" "+c.Param("id")+" "+c.QueryParam("to")+" "+values.Encode()+" "+current(c).Identity.Subject)
				return c.NoContent(http.StatusNoContent)
			}, append(slices.Clone(person), a.demand(openid.Demand{MaxAge: time.Minute}))...)
			send := func(method, address, body string, cookie *http.Cookie, kind string) *httptest.ResponseRecorder {
				r := httptest.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
				r.Header.Set("Content-Type", form)
				r.Header.Set("Accept", kind)
				if kind == htmx {
					r.Header.Set("HX-Request", "true")
					r.Header.Set("HX-Current-URL", "http://example.com/account")
				}
				r.AddCookie(cookie)
				w := httptest.NewRecorder()
				a.ServeHTTP(w, r)
				return w
			}
			old := startSession(t, a, op.Issuer, time.Now().Add(-time.Hour), nil)
			w := send(tt.method, "/account/7?to=bob%20b", tt.body, old, tt.kind)
			resume := next(w)
			if w.Code != tt.status || strings.HasPrefix(resume, "/resume/") != (tt.then != "") {
				t.Fatalf("answered %d to %q\n%s", w.Code, resume, w.Body)
			}
			if tt.then == "" {
				return
			}
			recent := startSession(t, a, op.Issuer, time.Now(), old)
			page := send(http.MethodGet, resume, "", recent, "text/html")
			if tt.then != "form" {
				if page.Code != http.StatusSeeOther || page.Header().Get("Location") != tt.then {
					t.Errorf("afterwards it answers %d to %q", page.Code, page.Header().Get("Location"))
				}
			} else if page.Code != http.StatusOK || !strings.Contains(page.Body.String(), "/account/7") {
				t.Errorf("the page is %d\n%s", page.Code, page.Body)
			}
			for i := range 2 {
				want := http.StatusNotFound
				if i == 0 && tt.then == "form" {
					want = http.StatusNoContent
				}
				if got := send(http.MethodPost, resume, "another=form", recent, "text/html"); got.Code != want {
					t.Errorf("sent %d times, it answers %d\n%s", i+1, got.Code, got.Body)
				}
			}
			var want []string
			if values, _ := url.ParseQuery(tt.body); tt.then == "form" {
				values.Add("to", "bob b")
				want = []string{"POST 7 bob b " + values.Encode() + " alice"}
			}
			if !slices.Equal(received, want) {
				t.Errorf("the route received %q, want %q", received, want)
			}
		})
	}
}

// TestSavedRequestOutlivesItsBrowser ends the request that sends a form, as a second click does. The
// route's handler does not notice.
func TestSavedRequestOutlivesItsBrowser(t *testing.T) {
	t.Parallel()
	a, op := newApp(t)
	ctx, leave := context.WithCancel(t.Context())
	var ended error
	a.echo.POST("/slow", func(c echo.Context) error {
		leave()
		ended = c.Request().Context().Err()
		return c.NoContent(http.StatusNoContent)
	}, a.session, a.requireSession, a.demand(openid.Demand{MaxAge: time.Minute}))
	post := func(ctx context.Context, address string, cookie *http.Cookie) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, address, nil)
		r.AddCookie(cookie)
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		return w
	}
	old := startSession(t, a, op.Issuer, time.Now().Add(-time.Hour), nil)
	resume := next(post(t.Context(), "/slow", old))
	if resume == "" {
		t.Fatal("the form is not kept")
	}
	recent := startSession(t, a, op.Issuer, time.Now(), old)
	if w := post(ctx, resume, recent); w.Code != http.StatusNoContent || ended != nil || ctx.Err() == nil {
		t.Errorf("answered %d; the handler's context says %v", w.Code, ended)
	}
}

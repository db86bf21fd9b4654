package routes_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"latchkey/internal/apptest"
	"latchkey/internal/scriptedop"
)

// everyPage opens every page: the gallery's if there is one, those for visitors, those for
// people who are signed in, and those for failures.
func everyPage(a *apptest.App, person *apptest.Visitor, gallery []string, see func(name string, page apptest.Answer)) {
	a.T.Helper()
	visitor := a.Visitor()
	for _, piece := range gallery {
		see(piece, visitor.Get(piece))
	}
	for _, address := range []string{"/", "/signed-out", "/nothing", "/callback?state=x&state=y&code=z", "/login?iss=https%3A%2F%2Fevil.example"} {
		see("a visitor's "+address, visitor.Get(address))
	}
	see("a visitor's form", visitor.Do(visitor.Request(http.MethodPost, "/logout", url.Values{}, "Sec-Fetch-Site", "cross-site")))
	for _, address := range []string{"/dashboard", "/profile", "/sessions", "/admin", "/logout", "/nothing", "/?" + strings.Repeat("&", 100)} {
		see("a person's "+address, person.Get(address))
	}
}

// TestHomePageIsUpToDate opens the home page, which is rendered once, in each state that it has.
func TestHomePageIsUpToDate(t *testing.T) {
	t.Parallel()
	op := apptest.NewOP(t)
	op.Answer(scriptedop.Discovery, scriptedop.Status(503))
	s := apptest.StartBeside(t, op)
	const down, farewell = "Sign-in may not work right now", "You are signed out"
	check := func(name string, got apptest.Answer, says ...string) {
		t.Helper()
		for _, text := range []string{down, farewell} {
			if strings.Contains(got.Body, text) != slices.Contains(says, text) {
				t.Errorf("%s says %q: %t", name, text, strings.Contains(got.Body, text))
			}
		}
	}
	check("without the provider", s.Visitor().Get("/"), down)
	op.Answer(scriptedop.Discovery, nil)
	s.Await("/readyz", http.StatusOK)
	check("with the provider", s.Visitor().Get("/"))
	v := s.Visitor()
	s.SignIn(v)
	check("after a sign-out", v.Post("/logout", nil), farewell)
	check("another visitor", s.Visitor().Get("/"))
	check("the next time", v.Get("/"))
}

// TestKeptPagesNameNoOtherRequest sends requests that name a page to return to, as htmx does, before each
// page that is kept for later requests is rendered for the first time.
func TestKeptPagesNameNoOtherRequest(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	person := s.Visitor()
	s.SignIn(person)
	person.Get("/dashboard") // pages are kept from the next request on
	for _, who := range []struct {
		name, page string
		visitor    *apptest.Visitor
	}{
		{"a visitor", "/", s.Visitor()},
		{"a person", "/dashboard", person},
	} {
		for _, language := range []string{"en", "de"} {
			named := who.visitor.Get(who.page, "HX-Request", "true", "HX-Current-URL", s.URL+"/chosen?by=someone", "Accept-Language", language)
			if named.StatusCode != http.StatusOK {
				t.Fatalf("%s opens %s as htmx: status %d", who.name, who.page, named.StatusCode)
			}
			for range 2 {
				if next := who.visitor.Get(who.page, "Accept-Language", language); strings.Contains(next.Body, "chosen") || !strings.Contains(next.Body, "</html>") {
					t.Errorf("%s opens %s in %s, which shows the request before it:\n%s", who.name, who.page, language, next.Body)
				}
			}
		}
	}
}

// TestDevelopmentIsShown (DV-06) checks that each page and the log name the development
// provider where it is in use, and nowhere else.
func TestDevelopmentIsShown(t *testing.T) {
	t.Parallel()
	const said = "Development provider in use"
	banner := func(page apptest.Answer) *html.Node {
		return apptest.Find(apptest.Parse(t, page.Body), func(n *html.Node) bool { return n.Data == "aside" && strings.Contains(apptest.Text(n), said) })
	}
	const warning = "development provider in use: anyone on this machine can sign in as any person"

	a := apptest.Start(t)
	person := a.Visitor()
	person.SignIn("/login", apptest.Ada)
	everyPage(a, person, append(a.Gallery(), "/dev/gallery"), func(name string, page apptest.Answer) {
		aside := banner(page)
		if aside == nil {
			t.Errorf("%s (%d) does not name the development provider", name, page.StatusCode)
			return
		}
		if link := apptest.Find(aside, func(n *html.Node) bool { return n.Data == "a" }); link == nil || apptest.Attribute(link, "href") != a.Issuer {
			t.Errorf("%s does not lead to the provider", name)
		}
	})
	if lines := a.Logged(warning, ""); len(lines) != 1 || lines[0]["level"] != "WARN" || lines[0]["issuer"] != a.Issuer {
		t.Errorf("the log says %v", lines)
	}

	s := apptest.StartScripted(t)
	someone := s.Visitor()
	s.SignIn(someone)
	everyPage(s.App, someone, nil, func(name string, page apptest.Answer) {
		if !strings.Contains(page.Body, "<html") || banner(page) != nil || page.Header.Get("X-Dev-Idp") != "" {
			t.Errorf("with a real provider, %s (%d) is not a page, or names the development provider", name, page.StatusCode)
		}
	})
	if lines := s.Logged(warning, ""); len(lines) > 0 {
		t.Errorf("with a real provider, the log says %v", lines)
	}
}

// TestPagesLoadNothingFromElsewhere (HB-06) checks what each page loads or sends by itself:
// the app's own scripts and styles under hashed names, and pictures from the provider. No
// page loads anything from a third party.
func TestPagesLoadNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	person := a.Visitor()
	person.SignIn("/login", apptest.Ada)
	loaded, htmx := 0, 0
	everyPage(a, person, a.Gallery(), func(name string, page apptest.Answer) {
		for n := range apptest.Parse(t, page.Body).Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			for _, at := range n.Attr {
				loads := at.Key == "src" || at.Key == "srcset" || at.Key == "data" || at.Key == "poster" || at.Key == "background" || at.Key == "href" && n.Data != "a"
				sends := strings.HasPrefix(at.Key, "hx-") && (strings.HasPrefix(at.Val, "http") || strings.HasPrefix(at.Val, "//"))
				asset := strings.HasPrefix(at.Val, "/static/")
				if loads && asset {
					if loaded++; len(at.Val) < len("/static/x.0123456789abcdef.js") {
						t.Errorf("%s: <%s %s=%q> has no hash in its name", name, n.Data, at.Key, at.Val)
					}
				}
				if loads && strings.HasPrefix(at.Val, "/static/htmx.min.") {
					htmx++
				}
				picture := n.Data == "img" && strings.HasPrefix(at.Val, a.Issuer+"/picture/")
				if loads && !asset && !picture || sends {
					t.Errorf("%s: <%s %s=%q> belongs to another site", name, n.Data, at.Key, at.Val)
				}
			}
		}
	})
	if loaded < 100 || htmx == 0 {
		t.Errorf("the pages load only %d assets, and htmx %d times", loaded, htmx)
	}
}

// TestAssets (HB-28) loads all assets that pages link, and checks that nothing else is
// served.
func TestAssets(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	dashboard := v.SignIn("/login", apptest.Ada)
	links := 0
	for n := range apptest.Parse(t, dashboard.Body).Descendants() {
		for _, name := range []string{"src", "href"} {
			address := apptest.Attribute(n, name)
			if n.Data != "script" && n.Data != "link" && n.Data != "img" || address == "" {
				continue
			}
			links++
			if !strings.HasPrefix(address, "/static/") && !strings.HasPrefix(address, a.Issuer) {
				t.Errorf("the dashboard loads %s", address)
			}
			got := v.Get(address)
			if got.StatusCode != http.StatusOK {
				t.Errorf("%s is %d", address, got.StatusCode)
			}
			if strings.HasPrefix(address, "/static/") && !strings.Contains(got.Header.Get("Cache-Control"), "immutable") {
				t.Errorf("%s: Cache-Control is %q", address, got.Header.Get("Cache-Control"))
			}
			if len(got.Header.Values("Set-Cookie")) > 0 {
				t.Errorf("CK-07: %s sets a cookie", address)
			}
		}
	}
	if links < 4 {
		t.Errorf("the dashboard links %d assets", links)
	}
	for _, address := range []string{"/static/", "/static/app.css", "/static/..%2fmain.go", "/static/%2e%2e/main.go", "/static//app.css", "/static/%5c..%5cmain.go", "/static/.git/config"} {
		if got := v.Get(address); got.StatusCode != http.StatusNotFound {
			t.Errorf("%s is %d", address, got.StatusCode)
		}
	}
	if icon := v.Get("/favicon.ico"); icon.StatusCode != http.StatusOK || !strings.HasPrefix(icon.Header.Get("Content-Type"), "image/svg+xml") {
		t.Errorf("/favicon.ico is %d %s", icon.StatusCode, icon.Header.Get("Content-Type"))
	}
	if icon := v.Get("/apple-touch-icon.png"); icon.StatusCode != http.StatusOK || icon.Header.Get("Content-Type") != "image/png" {
		t.Errorf("/apple-touch-icon.png is %d %s", icon.StatusCode, icon.Header.Get("Content-Type"))
	}
}

package app

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// everyPage opens what pages there are, those of the gallery too where there is one: what a
// visitor sees, what a person sees, and what either sees when something goes wrong.
func (a *app) everyPage(person *visitor, gallery []string, see func(name string, page answer)) {
	a.t.Helper()
	visitor := a.visitor()
	for _, piece := range gallery {
		see(piece, visitor.get(piece))
	}
	for _, address := range []string{"/", "/signed-out", "/nothing", "/callback?state=x&state=y&code=z", "/login?iss=https%3A%2F%2Fevil.example"} {
		see("a visitor's "+address, visitor.get(address))
	}
	see("a visitor's form", visitor.do(visitor.request(http.MethodPost, "/logout", url.Values{}, "Sec-Fetch-Site", "cross-site")))
	for _, address := range []string{"/dashboard", "/profile", "/sessions", "/admin", "/logout", "/nothing", "/?" + strings.Repeat("&", 100)} {
		see("a person's "+address, person.get(address))
	}
}

// TestDevelopmentIsShown (DV-06) looks at the app beside the development provider: each of
// its pages says so, and so does the log. Beside a real provider none does.
func TestDevelopmentIsShown(t *testing.T) {
	t.Parallel()
	const said = "Development provider in use"
	banner := func(page answer) *html.Node {
		return find(parse(t, page.body), func(n *html.Node) bool { return n.Data == "aside" && strings.Contains(text(n), said) })
	}
	const warning = "development provider in use: anybody on this machine signs in as anybody"

	a := startApp(t)
	person := a.visitor()
	person.signIn("/login", ada)
	a.everyPage(person, append(a.gallery(), "/dev/gallery"), func(name string, page answer) {
		aside := banner(page)
		if aside == nil {
			t.Errorf("%s (%d) does not say so", name, page.StatusCode)
			return
		}
		if link := find(aside, func(n *html.Node) bool { return n.Data == "a" }); link == nil || attribute(link, "href") != a.issuer {
			t.Errorf("%s does not lead to the provider", name)
		}
	})
	if lines := a.logged(warning, ""); len(lines) != 1 || lines[0]["level"] != "WARN" || lines[0]["issuer"] != a.issuer {
		t.Errorf("the log says %v", lines)
	}

	s := startScripted(t)
	someone := s.visitor()
	s.signInNow(someone)
	s.everyPage(someone, nil, func(name string, page answer) {
		if !strings.Contains(page.body, "<html") || banner(page) != nil || page.Header.Get("X-Dev-Idp") != "" {
			t.Errorf("beside a real provider %s (%d) is none, or says that it is development", name, page.StatusCode)
		}
	})
	if lines := s.logged(warning, ""); len(lines) > 0 {
		t.Errorf("beside a real provider the log says %v", lines)
	}
}

// TestPagesLoadNothingFromElsewhere (HB-06) looks at what each page loads or sends by
// itself: scripts and styles of ours under names that change with their content, and
// pictures of the provider's. Nothing is loaded from a third party, htmx least of all.
func TestPagesLoadNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	person := a.visitor()
	person.signIn("/login", ada)
	loaded, htmx := 0, 0
	a.everyPage(person, a.gallery(), func(name string, page answer) {
		for n := range parse(t, page.body).Descendants() {
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
				picture := n.Data == "img" && strings.HasPrefix(at.Val, a.issuer+"/picture/")
				if loads && !asset && !picture || sends {
					t.Errorf("%s: <%s %s=%q> is of somebody else", name, n.Data, at.Key, at.Val)
				}
			}
		}
	})
	if loaded < 100 || htmx == 0 {
		t.Errorf("only %d assets were seen, and htmx on %d pages", loaded, htmx)
	}
}

package app

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// parse reads a page.
func parse(t *testing.T, page string) *html.Node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// find returns the first element that matches, or nil.
func find(root *html.Node, match func(*html.Node) bool) *html.Node {
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && match(n) {
			return n
		}
	}
	return nil
}

func byID(root *html.Node, id string) *html.Node {
	return find(root, func(n *html.Node) bool { return attribute(n, "id") == id })
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// text returns what a reader sees of an element.
func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		hidden := d.Parent != nil && (d.Parent.Data == "template" || d.Parent.Data == "script")
		if d.Type == html.TextNode && !hidden {
			b.WriteString(d.Data)
			b.WriteByte(' ')
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// press submits the form of a button, as a browser without JavaScript does, with
// fields beside those that the page fills in.
func (v *visitor) press(page answer, buttonID string, fields ...string) answer {
	v.t.Helper()
	return v.do(v.submission(page, buttonID, fields...))
}

// submission is the request that pressing a button makes.
func (v *visitor) submission(page answer, buttonID string, fields ...string) *http.Request {
	v.t.Helper()
	root := parse(v.t, page.body)
	button := byID(root, buttonID)
	if button == nil {
		v.t.Fatalf("%s has no button %q:\n%s", page.Request.URL, buttonID, page.body)
	}
	form := button.Parent
	if owner := attribute(button, "form"); owner != "" {
		form = byID(root, owner)
	}
	for form != nil && form.Data != "form" {
		form = form.Parent
	}
	if form == nil {
		v.t.Fatalf("the button %q is in no form", buttonID)
	}
	values := hiddenFields(form)
	if name := attribute(button, "name"); name != "" {
		values.Set(name, attribute(button, "value"))
	}
	for i := 0; i+1 < len(fields); i += 2 {
		values.Set(fields[i], fields[i+1])
	}
	return v.request(http.MethodPost, v.action(page, form), values, "Sec-Fetch-Site", "same-origin")
}

// submitForm submits the one form of a page of another site, as that page's script does.
func (v *visitor) submitForm(page answer) answer {
	v.t.Helper()
	form := find(parse(v.t, page.body), func(n *html.Node) bool { return n.Data == "form" })
	if form == nil {
		v.t.Fatalf("%s has no form:\n%s", page.Request.URL, page.body)
	}
	origin := page.Request.URL.Scheme + "://" + page.Request.URL.Host
	return v.do(v.request(http.MethodPost, v.action(page, form), hiddenFields(form), "Sec-Fetch-Site", "cross-site", "Origin", origin))
}

// hiddenFields are what a page fills into a form itself.
func hiddenFields(form *html.Node) url.Values {
	values := url.Values{}
	for n := range form.Descendants() {
		if n.Type == html.ElementNode && n.Data == "input" && attribute(n, "type") == "hidden" {
			values.Add(attribute(n, "name"), attribute(n, "value"))
		}
	}
	return values
}

// action is where a form of a page is sent.
func (v *visitor) action(page answer, form *html.Node) string {
	v.t.Helper()
	address, err := page.Request.URL.Parse(attribute(form, "action"))
	if err != nil {
		v.t.Fatal(err)
	}
	return address.String()
}

// signIn signs in as one of the sample people, from a page of the app's, and returns
// the page that it ends on.
func (v *visitor) signIn(from, subject string) answer {
	v.t.Helper()
	page := v.get(from)
	if !strings.HasPrefix(page.Request.URL.String(), v.app.issuer) {
		v.t.Fatalf("%s leads to %s with %d, not to the provider", from, page.Request.URL.Path, page.StatusCode)
	}
	return v.press(page, "person-"+subject)
}

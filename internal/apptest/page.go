package apptest

import (
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// Node is an element of a page, or a text in it.
type Node = html.Node

// Parse reads a page.
func Parse(t *testing.T, page string) *Node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// Find returns the first element below root that matches, or nil.
func Find(root *Node, match func(*Node) bool) *Node {
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && match(n) {
			return n
		}
	}
	return nil
}

// ByID returns the element with an id, or nil.
func ByID(root *Node, id string) *Node {
	return Find(root, func(n *Node) bool { return Attribute(n, "id") == id })
}

// Attribute returns an attribute of an element, or "".
func Attribute(n *Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// Text returns the text that a reader sees in an element, with single spaces.
func Text(n *Node) string {
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

// Link returns where the link of a page with this text leads.
func Link(t *testing.T, page Answer, label string) string {
	t.Helper()
	link := Find(Parse(t, page.Body), func(n *Node) bool { return n.Data == "a" && Text(n) == label })
	if link == nil {
		t.Fatalf("the page has no link %q:\n%s", label, page.Body)
	}
	return Attribute(link, "href")
}

// hiddenFields returns the values that a page fills into a form.
func hiddenFields(form *Node) url.Values {
	values := url.Values{}
	for n := range form.Descendants() {
		if n.Type == html.ElementNode && n.Data == "input" && Attribute(n, "type") == "hidden" {
			values.Add(Attribute(n, "name"), Attribute(n, "value"))
		}
	}
	return values
}

// Query returns the query of an address.
func Query(t testing.TB, address string) url.Values {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// WithQuery returns an address with its query changed.
func WithQuery(t testing.TB, address string, change func(url.Values)) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	values := u.Query()
	change(values)
	u.RawQuery = values.Encode()
	return u.String()
}

// SessionID returns the provider's session id, which the dashboard shows among the claims.
func SessionID(t *testing.T, dashboard Answer) string {
	t.Helper()
	_, rest, ok := strings.Cut(Text(Parse(t, dashboard.Body)), `"sid": "`)
	sid, _, _ := strings.Cut(rest, `"`)
	if !ok || sid == "" {
		t.Fatal("the dashboard shows no sid")
	}
	return sid
}

package routes_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

// returnPaths returns a list of return paths from authn's test corpus.
func returnPaths(t *testing.T, list string) (paths []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "returntocorpus_test.go", apptest.ReadFile(t, "authn/returntocorpus_test.go"), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, declaration := range file.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok || function.Name.Name != list {
			continue
		}
		ast.Inspect(function, func(n ast.Node) bool {
			entry, ok := n.(*ast.CompositeLit)
			if !ok || entry.Type != nil {
				return true
			}
			if literal, ok := entry.Elts[0].(*ast.BasicLit); ok {
				path, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				paths = append(paths, path)
			}
			return false
		})
	}
	if len(paths) < 60 {
		t.Fatalf("%s has %d paths", list, len(paths))
	}
	return paths
}

// TestOpenRedirects (HB-20, AR-08, HB-22) sends hundreds of addresses to every request that
// takes one. A refused address leads to the dashboard, and an address of the app to itself.
func TestOpenRedirects(t *testing.T) {
	t.Parallel()
	s, _ := apptest.Assemble(t, "SESSION_LIMIT=1000")
	person := s.Visitor()
	s.SignIn(person)
	for list, ours := range map[string]bool{"refusedPaths": false, "localPaths": true} {
		for _, path := range returnPaths(t, list) {
			door := &door{s, person, path, "/dashboard", ours}
			if ours && path != "/" && !strings.HasPrefix(path, "/?") {
				door.want = strings.ReplaceAll(path, " ", "%20")
			}
			door.login()
			door.thirdParty()
			door.signedOut()
			door.sessionEnded()
			door.htmx()
			door.referrer()
			door.deepLink()
			door.resume()
		}
	}
}

// door is an address that a request carries, and the address that it must lead to.
type door struct {
	*apptest.Scripted
	person     *apptest.Visitor
	path, want string
	ours       bool
}

func (d *door) check(where, got string) {
	d.T.Helper()
	if got != d.want {
		d.T.Errorf("HB-20: %s: %q leads to %q, want %q", where, d.path, got, d.want)
	}
}

// returnTo returns the return path of a link to /login.
func (d *door) returnTo(login string) string {
	d.T.Helper()
	if login == "/login" {
		return "/dashboard"
	}
	return apptest.Query(d.T, login).Get("return_to")
}

// login completes a sign-in, and checks where the callback redirects to.
func (d *door) login() {
	d.T.Helper()
	v := d.Visitor()
	response := v.AuthorizationResponse("/login?" + url.Values{"return_to": {d.path}}.Encode())
	done := v.Callback(response + "&" + url.Values{"return_to": {"https://evil.example"}}.Encode())
	d.check("/login", done.Header.Get("Location"))
}

// thirdParty starts a sign-in from another site. It must name a complete address of the
// app.
func (d *door) thirdParty() {
	d.T.Helper()
	v := d.Visitor()
	for _, prefix := range []string{"", d.URL} {
		got := v.Direct(v.Request(http.MethodGet, "/login?"+url.Values{"iss": {d.OP.Issuer}, "target_link_uri": {prefix + d.path}}.Encode(), nil))
		if accepted := got.StatusCode == http.StatusSeeOther; accepted && !d.ours && d.path != "" && !strings.HasPrefix(d.path, "/?") && d.path != "/" {
			d.T.Errorf("HB-20: target_link_uri %q is taken", prefix+d.path)
		} else if !accepted && got.StatusCode != http.StatusBadRequest {
			d.T.Errorf("HB-20: target_link_uri %q is answered %d", prefix+d.path, got.StatusCode)
		}
	}
}

func (d *door) signedOut() {
	d.T.Helper()
	page := d.Visitor().Get("/signed-out?" + url.Values{"because": {"expired"}, "return_to": {d.path}}.Encode())
	d.check("/signed-out", d.returnTo(apptest.Attribute(apptest.ByID(apptest.Parse(d.T, page.Body), "qsLoginBtn"), "href")))
}

func (d *door) sessionEnded() {
	d.T.Helper()
	v := d.Visitor()
	got := v.Direct(v.Request(http.MethodGet, "/session/ended?"+url.Values{"return_to": {d.path}}.Encode(), nil))
	location := got.Header.Get("Location")
	if !strings.HasPrefix(location, "/signed-out") {
		d.T.Errorf("HB-20: /session/ended: %q leads to %q", d.path, location)
		return
	}
	back := apptest.Query(d.T, location).Get("return_to")
	if back == "" {
		back = "/dashboard"
	}
	d.check("/session/ended", back)
}

// htmx sends the address as that of the page, if a header can hold it.
func (d *door) htmx() {
	d.T.Helper()
	if !isHeader(d.path) {
		return
	}
	v := d.Visitor()
	got := v.Direct(v.Request(http.MethodGet, "/profile", nil, "HX-Request", "true", "HX-Current-URL", d.path))
	back := d.returnTo(got.Header.Get("HX-Redirect"))
	if got.StatusCode != http.StatusUnauthorized || !d.local(back) {
		d.T.Errorf("HB-22: HX-Current-URL %q is answered %d and leads to %q", d.path, got.StatusCode, back)
	}
}

func (d *door) referrer() {
	d.T.Helper()
	if !isHeader(d.path) {
		return
	}
	v := d.person
	got := v.Direct(v.Request(http.MethodPost, "/session/extend", url.Values{}, "Sec-Fetch-Site", "same-origin", "Referer", d.path))
	if location := got.Header.Get("Location"); !d.local(location) {
		d.T.Errorf("HB-20: Referer %q leads to %q", d.path, location)
	}
}

// deepLink requests the address itself, if a client can.
func (d *door) deepLink() {
	d.T.Helper()
	v := d.Visitor()
	req := v.Request(http.MethodGet, "/", nil)
	opaque, rawQuery, _ := strings.Cut(d.path, "?")
	if !strings.HasPrefix(opaque, "/") || !isHeader(opaque) || strings.ContainsAny(opaque, " #") {
		return
	}
	if strings.HasPrefix(opaque, "//") {
		opaque = "//" + req.URL.Host + opaque
	}
	req.URL = &url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host, Opaque: opaque, RawQuery: url.PathEscape(rawQuery)}
	got := v.Direct(req)
	if location := got.Header.Get("Location"); location != "" && !strings.HasPrefix(location, "/login") {
		d.T.Errorf("HB-20: the link %q is answered %d to %q", d.path, got.StatusCode, location)
	}
}

// resume checks that /resume takes no address from a request.
func (d *door) resume() {
	d.T.Helper()
	got := d.person.Direct(d.person.Request(http.MethodGet, "/resume/"+url.PathEscape(strings.ReplaceAll(d.path, "/", "%2f"))+"?"+url.Values{"return_to": {d.path}, "url": {d.path}}.Encode(), nil))
	if got.Header.Get("Location") != "" || (got.StatusCode != http.StatusNotFound && got.StatusCode != http.StatusBadRequest) {
		d.T.Errorf("HB-20: /resume with %q is answered %d to %q", d.path, got.StatusCode, got.Header.Get("Location"))
	}
}

// local reports whether an address on a page of the app stays on the app.
func (d *door) local(address string) bool {
	u, err := url.Parse(address)
	path, _, _ := strings.Cut(address, "?")
	return err == nil && u.Scheme == "" && u.Host == "" && strings.HasPrefix(address, "/") && !strings.HasPrefix(address, "//") &&
		!strings.Contains(path, `\`) && !strings.ContainsAny(address, "\t\r\n")
}

// isHeader reports whether a header or a request line can hold a text.
func isHeader(text string) bool {
	return !slices.ContainsFunc([]byte(text), func(c byte) bool { return c < ' ' || c >= 0x7f })
}

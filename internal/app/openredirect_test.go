package app

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
)

// returnPaths reads a list of authn's corpus: what a return path can look like.
func returnPaths(t *testing.T, list string) (paths []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "authn/returntocorpus_test.go", nil, 0)
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

// TestOpenRedirects (HB-20, AR-08, HB-22) sends hundreds of addresses into every door that
// takes one. A refused one leads to the dashboard; one of ours leads where it says.
func TestOpenRedirects(t *testing.T) {
	t.Parallel()
	s, _ := assembleScripted(t, "SESSION_LIMIT=1000")
	person := s.visitor()
	s.signInNow(person)
	for list, ours := range map[string]bool{"refusedPaths": false, "localPaths": true} {
		for _, path := range returnPaths(t, list) {
			door := &door{s, person, path, "/dashboard"}
			if ours && path != "/" && !strings.HasPrefix(path, "/?") {
				door.want = path
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

// door is an address that comes in, and where it must lead.
type door struct {
	*scriptedApp
	person     *visitor
	path, want string
}

func (d *door) check(where, got string) {
	d.t.Helper()
	if got != d.want {
		d.t.Errorf("HB-20: %s: %q leads to %q, want %q", where, d.path, got, d.want)
	}
}

// returnTo reads where a link to /login comes back to.
func (d *door) returnTo(login string) string {
	d.t.Helper()
	if login == "/login" {
		return "/dashboard"
	}
	return query(d.t, login).Get("return_to")
}

// login goes through the whole sign-in: what the callback redirects to counts.
func (d *door) login() {
	d.t.Helper()
	v := d.visitor()
	response := v.authorizationResponse("/login?" + url.Values{"return_to": {d.path}}.Encode())
	done := v.callback(response + "&" + url.Values{"return_to": {"https://evil.example"}}.Encode())
	d.check("/login", done.Header.Get("Location"))
}

// thirdParty is a sign-in that another site starts: it names a whole address of ours, or
// nothing is done.
func (d *door) thirdParty() {
	d.t.Helper()
	v := d.visitor()
	for _, prefix := range []string{"", d.url} {
		got := v.direct(v.request(http.MethodGet, "/login?"+url.Values{"iss": {d.op.Issuer}, "target_link_uri": {prefix + d.path}}.Encode(), nil))
		if accepted := got.StatusCode == http.StatusSeeOther; accepted && d.want != d.path && d.path != "" && !strings.HasPrefix(d.path, "/?") && d.path != "/" {
			d.t.Errorf("HB-20: target_link_uri %q is taken", prefix+d.path)
		} else if !accepted && got.StatusCode != http.StatusBadRequest {
			d.t.Errorf("HB-20: target_link_uri %q is answered %d", prefix+d.path, got.StatusCode)
		}
	}
}

func (d *door) signedOut() {
	d.t.Helper()
	page := d.visitor().get("/signed-out?" + url.Values{"because": {"expired"}, "return_to": {d.path}}.Encode())
	d.check("/signed-out", d.returnTo(attribute(byID(parse(d.t, page.body), "qsLoginBtn"), "href")))
}

func (d *door) sessionEnded() {
	d.t.Helper()
	v := d.visitor()
	got := v.direct(v.request(http.MethodGet, "/session/ended?"+url.Values{"return_to": {d.path}}.Encode(), nil))
	location := got.Header.Get("Location")
	if !strings.HasPrefix(location, "/signed-out") {
		d.t.Errorf("HB-20: /session/ended: %q leads to %q", d.path, location)
		return
	}
	back := query(d.t, location).Get("return_to")
	if back == "" {
		back = "/dashboard"
	}
	d.check("/session/ended", back)
}

// htmx says on which page it is; where that cannot be a header, nobody can send it.
func (d *door) htmx() {
	d.t.Helper()
	if !isHeader(d.path) {
		return
	}
	v := d.visitor()
	got := v.direct(v.request(http.MethodGet, "/profile", nil, "HX-Request", "true", "HX-Current-URL", d.path))
	back := d.returnTo(got.Header.Get("HX-Redirect"))
	if got.StatusCode != http.StatusUnauthorized || !d.local(back) {
		d.t.Errorf("HB-22: HX-Current-URL %q is answered %d and leads to %q", d.path, got.StatusCode, back)
	}
}

func (d *door) referrer() {
	d.t.Helper()
	if !isHeader(d.path) {
		return
	}
	v := d.person
	got := v.direct(v.request(http.MethodPost, "/session/extend", url.Values{}, "Sec-Fetch-Site", "same-origin", "Referer", d.path))
	if location := got.Header.Get("Location"); !d.local(location) {
		d.t.Errorf("HB-20: Referer %q leads to %q", d.path, location)
	}
}

// deepLink asks for the address itself. What no client can send is left out.
func (d *door) deepLink() {
	d.t.Helper()
	v := d.visitor()
	req := v.request(http.MethodGet, "/", nil)
	opaque, rawQuery, _ := strings.Cut(d.path, "?")
	if !strings.HasPrefix(opaque, "/") || !isHeader(opaque) || strings.ContainsAny(opaque, " #") {
		return
	}
	if strings.HasPrefix(opaque, "//") {
		opaque = "//" + req.URL.Host + opaque
	}
	req.URL = &url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host, Opaque: opaque, RawQuery: url.PathEscape(rawQuery)}
	got := v.direct(req)
	if location := got.Header.Get("Location"); location != "" && !strings.HasPrefix(location, "/login") {
		d.t.Errorf("HB-20: the link %q is answered %d to %q", d.path, got.StatusCode, location)
	}
}

// resume knows what it has kept, and takes no address from anybody.
func (d *door) resume() {
	d.t.Helper()
	got := d.person.direct(d.person.request(http.MethodGet, "/resume/"+url.PathEscape(strings.ReplaceAll(d.path, "/", "%2f"))+"?"+url.Values{"return_to": {d.path}, "url": {d.path}}.Encode(), nil))
	if got.Header.Get("Location") != "" || (got.StatusCode != http.StatusNotFound && got.StatusCode != http.StatusBadRequest) {
		d.t.Errorf("HB-20: /resume with %q is answered %d to %q", d.path, got.StatusCode, got.Header.Get("Location"))
	}
}

// local says whether a browser on a page of ours stays on this app with an address.
func (d *door) local(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "" && u.Host == "" && strings.HasPrefix(address, "/") && !strings.HasPrefix(address, "//") &&
		!strings.ContainsAny(address, "\\\t\r\n")
}

// isHeader says whether a text can be sent in a header or a request line.
func isHeader(text string) bool {
	return !slices.ContainsFunc([]byte(text), func(c byte) bool { return c < ' ' || c >= 0x7f })
}

package devop_test

import (
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestEveryAnswerSaysWhatItIs (DV-06) requests every route, and some that do not exist,
// with every method, both with and without an active fault. Each response names the
// development provider in a header, and each page shows the banner.
func TestEveryAnswerSaysWhatItIs(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("provider.go")
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{"/nothing", "/sign-in/", "//", "/picture/dev%7Cada"}
	for _, route := range regexp.MustCompile(`\b(?:handle|called|form)\((?:"[A-Z]+", )?"(/[^"]+)"`).FindAllStringSubmatch(string(source), -1) {
		paths = append(paths, strings.NewReplacer("{$}", "", "{sub}", "nobody").Replace(route[1]))
	}
	if len(paths) < 20 {
		t.Fatalf("the route table has only %v", paths)
	}
	p := start(t, nil)
	for _, asset := range regexp.MustCompile(`(?:href|src)="(/[\w.]+\.(?:css|js|svg))"`).FindAllStringSubmatch(p.get("/").body, -1) {
		paths = append(paths, asset[1])
	}
	pages := 0
	look := func(name string, r reply) {
		t.Helper()
		if got := r.header["X-Dev-Idp"]; len(got) != 1 || got[0] != "1" {
			t.Errorf("%s (%d): X-Dev-IdP is %q", name, r.status, got)
		}
		if strings.HasPrefix(r.header.Get("Content-Type"), "text/html") && r.body != "" && r.status/100 != 3 {
			if pages++; !strings.Contains(r.body, `<strong>Development only.</strong>`) {
				t.Errorf("%s (%d) has no banner", name, r.status)
			}
		}
	}
	for _, state := range []string{"working", "faulty"} {
		for _, path := range paths {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"} {
				look(state+" "+method+" "+path, p.do(p.browser, p.request(method, path, nil)))
			}
			look(state+" oversized body for "+path, p.post(path, url.Values{"state": {strings.Repeat("x", 65<<10)}}))
			foreign := p.request(http.MethodGet, path, nil)
			foreign.Host = "evil.example"
			look(state+" for another host "+path, p.do(p.browser, foreign))
			cross := p.request(http.MethodPost, path, url.Values{})
			cross.Header.Set("Sec-Fetch-Site", "cross-site")
			look(state+" from another site "+path, p.do(p.browser, cross))
		}
		look(state+" sign in", p.authorize(url.Values{"prompt": {"login"}}))
		look(state+" form post", p.post("/sign-in", url.Values{"request": {p.signInPage(url.Values{"response_mode": {"form_post"}, "prompt": {"login"}})}, "sub": {"dev|ada"}}))
		look(state+" to the client", p.authorize(url.Values{"prompt": {"none"}}))
		look(state+" signed in", p.get("/"))
		look(state+" sign out?", p.get("/end_session"))
		look(state+" trouble", p.post("/trouble", url.Values{"make": {"clock"}}))
	}
	if pages < 20 {
		t.Errorf("only %d of the responses are pages", pages)
	}
}

package devop_test

import (
	"encoding/xml"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"latchkey/authn/devop"
)

func TestMetadata(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{"", "/", "/tenant", "/a/b/"} {
		issuer := ""
		p := start(t, func(cfg *devop.Config) {
			cfg.Issuer += suffix
			issuer = cfg.Issuer
		})
		doc := p.object(p.get("/.well-known/openid-configuration").body)
		if doc["issuer"] != issuer {
			t.Errorf("issuer is %v, want %s", doc["issuer"], issuer)
		}
		for member, path := range map[string]string{
			"authorization_endpoint": "/authorize", "token_endpoint": "/token", "userinfo_endpoint": "/userinfo", "jwks_uri": "/jwks",
			"end_session_endpoint": "/end_session", "revocation_endpoint": "/revoke", "pushed_authorization_request_endpoint": "/par",
		} {
			if doc[member] != p.issuer+path {
				t.Errorf("%s is %v", member, doc[member])
			}
		}
		for _, member := range []string{"authorization_response_iss_parameter_supported", "backchannel_logout_supported", "backchannel_logout_session_supported"} {
			if doc[member] != true {
				t.Errorf("%s is %v", member, doc[member])
			}
		}
		if !slices.Contains(doc["scopes_supported"].([]any), any("offline_access")) {
			t.Error("offline_access is not listed")
		}
		claims := p.verify("JWT", p.tokens(nil)["id_token"])
		if claims["iss"] != doc["issuer"] {
			t.Errorf("iss is %v, issuer is %v", claims["iss"], doc["issuer"])
		}
	}
}

func TestHostIsTheIssuers(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	for _, host := range []string{"evil.test", "localhost:3001", "127.0.0.1"} {
		req := p.request("GET", "/", nil)
		req.Host = host
		if r := p.do(p.browser, req); r.status != http.StatusMisdirectedRequest || r.header.Get("X-Dev-IdP") != "1" {
			t.Errorf("%s: %d", host, r.status)
		}
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	for path, allow := range map[string]string{
		"/token": "POST", "/par": "POST", "/revoke": "POST", "/sign-in": "POST", "/sign-out": "POST",
		"/authorize": "GET, HEAD, POST", "/userinfo": "GET, HEAD, POST", "/end_session": "GET, HEAD, POST",
		"/jwks": "GET, HEAD", "/v2/logout": "GET, HEAD", "/": "GET, HEAD",
	} {
		r := p.do(p.browser, p.request("DELETE", path, nil))
		if r.status != http.StatusMethodNotAllowed || r.header.Get("Allow") != allow {
			t.Errorf("%s: %d, Allow %q", path, r.status, r.header.Get("Allow"))
		}
	}
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	for _, path := range []string{"/token", "/par", "/revoke", "/authorize", "/sign-in", "/end_session", "/sign-out"} {
		for size, tooLarge := range map[int]bool{60 << 10: false, 65 << 10: true} {
			r := p.post(path, url.Values{"state": {strings.Repeat("x", size)}})
			if (r.status == http.StatusRequestEntityTooLarge) != tooLarge {
				t.Errorf("%s with %d bytes: %d", path, size, r.status)
			}
		}
	}
}

var inline = regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|javascript:|<script(?:>|\s[^>]*>[^<])`)

// TestPages checks every page for what the content security policy would block.
func TestPages(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	formPost := p.post("/sign-in", url.Values{"request": {p.signInPage(url.Values{"response_mode": {"form_post"}})}, "sub": {"dev|markup"}})
	pages := map[string]reply{
		"form post":    formPost,
		"index":        p.get("/"),
		"sign in":      p.authorize(url.Values{"prompt": {"login"}}),
		"hint":         p.authorize(url.Values{"prompt": {"login"}, "login_hint": {"dev|markup"}}),
		"error":        p.authorize(url.Values{"client_id": {"<script>"}}),
		"confirm":      p.get("/end_session"),
		"invalid form": p.post("/sign-in", url.Values{"request": {p.signInPage(url.Values{"prompt": {"login"}})}, "claims": {"<"}}),
		"signed out":   p.get("/v2/logout"),
	}
	pages["nobody"] = p.get("/")
	for name, page := range pages {
		t.Run(name, func(t *testing.T) {
			if found := inline.FindString(page.body); found != "" {
				t.Errorf("inline: %q", found)
			}
			csp := page.header.Get("Content-Security-Policy")
			for _, want := range []string{"default-src 'none'", "style-src 'self'", "frame-ancestors 'none'", "form-action 'self' http://127.0.0.1:9"} {
				if !strings.Contains(csp, want) {
					t.Errorf("the policy lacks %s: %s", want, csp)
				}
			}
			if strings.Contains(csp, "unsafe") || (name != "form post" && strings.Contains(csp, "script-src")) {
				t.Errorf("the policy allows too much: %s", csp)
			}
			for header, want := range map[string]string{
				"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Dev-Idp": "1",
			} {
				if page.header.Get(header) != want {
					t.Errorf("%s is %q", header, page.header.Get(header))
				}
			}
			if !strings.Contains(page.body, "<main>") || !strings.Contains(page.body, "<h1") || !strings.Contains(page.body, "Development only") {
				t.Error("no main, h1 or banner")
			}
		})
	}
}

func TestAssets(t *testing.T) {
	t.Parallel()
	p := start(t, func(cfg *devop.Config) { cfg.Issuer += "/tenant" })
	page := p.post("/sign-in", url.Values{"request": {p.signInPage(url.Values{"response_mode": {"form_post"}})}, "sub": {"dev|ada"}}).body
	for attribute, kind := range map[string]string{
		`href="/tenant(/devop\.[0-9a-f]{12}\.css)"`: "text/css", `src="/tenant(/formpost\.[0-9a-f]{12}\.js)"`: "text/javascript",
		`href="/tenant(/icon\.[0-9a-f]{12}\.svg)"`: "image/svg+xml",
	} {
		found := regexp.MustCompile(attribute).FindStringSubmatch(page)
		if found == nil {
			t.Errorf("no %s", attribute)
			continue
		}
		r := p.get(found[1])
		if r.status != http.StatusOK || !strings.HasPrefix(r.header.Get("Content-Type"), kind) || !strings.Contains(r.header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", found[1], r.status, r.header)
		}
	}
}

func TestPictures(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	for _, sub := range []string{"dev|ada", "dev|rtl", "dev|markup"} {
		r := p.get("/picture/" + url.PathEscape(sub))
		if r.status != http.StatusOK || r.header.Get("Content-Type") != "image/svg+xml" || r.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", sub, r.status, r.header)
		}
		if err := xml.Unmarshal([]byte(r.body), new(struct{})); err != nil {
			t.Errorf("%s: %v", sub, err)
		}
	}
	if r := p.get("/picture/nobody"); r.status != http.StatusNotFound {
		t.Errorf("unknown subject: %d", r.status)
	}
}

func TestSamplePeople(t *testing.T) {
	t.Parallel()
	p := start(t, nil)
	for _, sub := range []string{"dev|ada", "dev|long", "dev|bare", "dev|unverified", "dev|rtl", "dev|markup", "dev|roles"} {
		_, tokens := p.call("/token", exchange(p.signIn(sub, url.Values{"prompt": {"login"}}).Get("code")))
		claims := p.verify("JWT", tokens["id_token"])
		if claims["sub"] != sub {
			t.Errorf("signed in %v as %v", sub, claims["sub"])
		}
		if roles, _ := claims["https://latchkey.example/roles"].([]any); (len(roles) == 60) != (sub == "dev|roles") {
			t.Errorf("%s has %d roles", sub, len(roles))
		}
		if (claims["email_verified"] == true) == (sub == "dev|unverified") || (claims["name"] == nil) != (sub == "dev|bare") {
			t.Errorf("%s: %v", sub, claims)
		}
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	p := start(t, func(cfg *devop.Config) { cfg.DataDir = dir })
	id := p.signInPage(nil)
	p.post("/sign-in", url.Values{"request": {id}, "email": {"zoe@example.test"}, "claims": {`{"n": 12345678901234567890}`}})
	_, tokens := p.call("/token", exchange(p.response(p.authorize(nil)).Get("code")))
	waiting := p.signInPage(url.Values{"prompt": {"login"}})
	code := p.response(p.authorize(nil)).Get("code")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "devop.json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cookies := p.browser.Jar.Cookies(p.request("GET", "/", nil).URL)
	for name, secret := range map[string]string{
		"refresh token": tokens["refresh_token"].(string), "access token": tokens["access_token"].(string), "code": code, "cookie": cookies[0].Value,
	} {
		if strings.Contains(string(data), secret) {
			t.Errorf("the %s is in the file", name)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("the directory holds %d files", len(entries))
	}

	issuer := p.issuer
	next, err := devop.New(devop.Config{Issuer: issuer, DataDir: dir, Clients: []devop.Client{
		{ID: "app", Secret: "app s:cret+%", RedirectURIs: []string{redirectURI}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	p.serve(next)
	if v := p.response(p.authorize(url.Values{"prompt": {"none"}})); v.Get("code") == "" {
		t.Errorf("the restart signed the person out: %v", v)
	}
	if r := p.userinfo(tokens["access_token"]); !strings.Contains(r.body, `"sub":"dev|zoe@example.test"`) || !strings.Contains(r.body, `"n":12345678901234567890`) {
		t.Errorf("userinfo: %d %s", r.status, r.body)
	}
	p.verify("JWT", tokens["id_token"])
	if r, _ := p.refresh(tokens["refresh_token"]); r.status != http.StatusOK {
		t.Errorf("refresh: %s", r.body)
	}
	if r, _ := p.call("/token", exchange(code)); r.status != http.StatusOK {
		t.Errorf("code: %s", r.body)
	}
	p.response(p.post("/sign-in", url.Values{"request": {waiting}, "sub": {"dev|ada"}}))
}

func TestStateIsSavedSoon(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, func(cfg *devop.Config) { cfg.DataDir = dir })
	p.SetPerson(devop.Person{Subject: "dev|saved"})
	const limit = 20 * time.Second
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if data, _ := os.ReadFile(filepath.Join(dir, "devop.json")); strings.Contains(string(data), "dev|saved") {
			return
		}
	}
	t.Errorf("not saved within %v", limit)
}

// TestNothingIsSavedAfterClose changes the state of a closed provider, in a synctest
// bubble. A closed provider no longer owns its directory.
func TestNothingIsSavedAfterClose(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p, err := devop.New(devop.Config{Issuer: "http://127.0.0.1:1", DataDir: dir, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		p.SetPerson(devop.Person{Subject: "dev|before"})
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		p.SetPerson(devop.Person{Subject: "dev|after"})
		time.Sleep(time.Minute)
	})
	data, err := os.ReadFile(filepath.Join(dir, "devop.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), "dev|before") || strings.Contains(string(data), "dev|after") {
		t.Error("the state before Close is not saved, or the state after it is")
	}
}

func TestDataDirCannotBeUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "devop.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, file} {
		if _, err := devop.New(devop.Config{Issuer: "http://127.0.0.1:1", DataDir: dir}); err == nil {
			t.Errorf("%s was accepted", dir)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	p := start(t, func(cfg *devop.Config) { cfg.DataDir = t.TempDir() })
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			mine := *p
			mine.browser = newBrowser(t)
			tokens := mine.tokens(nil)
			p.SetPerson(devop.Person{Subject: "dev|ada", Name: "Ada", Claims: map[string]any{"a": []any{1}}})
			mine.userinfo(tokens["access_token"])
			mine.refresh(tokens["refresh_token"])
			mine.get("/end_session?id_token_hint=" + tokens["id_token"].(string))
		})
	}
	wg.Wait()

	// At most one of many concurrent requests gets tokens for a code.
	body := exchange(p.signIn("dev|ada", nil).Get("code"))
	won := make(chan int, 8)
	for range 8 {
		wg.Go(func() {
			r, _ := p.call("/token", body)
			won <- r.status
		})
	}
	wg.Wait()
	close(won)
	count := 0
	for status := range won {
		if status == http.StatusOK {
			count++
		}
	}
	if count > 1 {
		t.Errorf("%d requests got tokens for one code", count)
	}
}

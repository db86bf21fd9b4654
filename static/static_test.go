package static_test

import (
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"latchkey/static"
)

func newAssets(t *testing.T) *static.Assets {
	t.Helper()
	a, err := static.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ask sends a request with the target exactly as written, and returns the response.
func ask(h http.Handler, method, target string, header ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestServesAssetsUnderHashedNames(t *testing.T) {
	t.Parallel()
	a := newAssets(t)
	for name, contentType := range map[string]string{
		"app.css":     "text/css; charset=utf-8",
		"app.js":      "text/javascript; charset=utf-8",
		"htmx.min.js": "text/javascript; charset=utf-8",
		"icon.svg":    "image/svg+xml; charset=utf-8",
		"robots.txt":  "text/plain; charset=utf-8",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := a.URL(name)
			dot := strings.LastIndex(name, ".")
			if ok, _ := regexp.MatchString(`^/static/`+regexp.QuoteMeta(name[:dot])+`\.[0-9a-f]{16}`+regexp.QuoteMeta(name[dot:])+`$`, url); !ok {
				t.Errorf("URL(%q) = %q", name, url)
			}
			got := ask(a, "GET", url)
			if got.StatusCode != http.StatusOK || body(t, got) == "" {
				t.Errorf("status %d or no body", got.StatusCode)
			}
			for field, want := range map[string]string{
				"Content-Type":           contentType,
				"Cache-Control":          "public, max-age=31536000, immutable",
				"X-Content-Type-Options": "nosniff",
				"Content-Encoding":       "",
			} {
				if v := got.Header.Get(field); v != want {
					t.Errorf("%s: %q, want %q", field, v, want)
				}
			}
			head := ask(a, "HEAD", url)
			if head.StatusCode != http.StatusOK || head.ContentLength != got.ContentLength || body(t, head) != "" {
				t.Errorf("HEAD: status %d, length %d, want %d and no body", head.StatusCode, head.ContentLength, got.ContentLength)
			}
		})
	}
}

func TestServesNothingElse_HB28(t *testing.T) {
	t.Parallel()
	a := newAssets(t)
	css := a.URL("app.css")
	file := strings.TrimPrefix(css, static.Prefix)
	targets := []string{
		"/", "/static", "/static/", "/static/app.css", "/static/app.0000000000000000.css", "/static/static.go", "/static/htmx.LICENSE.txt",
		"/static/.git/config", "/static/.env", "/static/../main.go", "/static/%2e%2e/main.go", "/static/..%2fmain.go", "/static/..%5cmain.go",
		"/static//" + file, "//static/" + file, "/static/./" + file, "/static/%2e/" + file, "/static/x/../" + file, "/static/%5c" + file,
		"/static%2f" + file, strings.Replace(css, ".", "%2e", 1), css + "/", css + "%00", css + "%20", css + ".gz", strings.ToUpper(css),
	}
	for _, target := range targets {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			got := ask(a, "GET", target)
			if got.StatusCode != http.StatusNotFound || got.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("status %d, Cache-Control %q", got.StatusCode, got.Header.Get("Cache-Control"))
			}
		})
	}
	if got := ask(a, "GET", css+"?v=1"); got.StatusCode != http.StatusOK {
		t.Errorf("the exact name with a query: status %d", got.StatusCode)
	}
}

func TestServesOnlyGetAndHead(t *testing.T) {
	t.Parallel()
	a := newAssets(t)
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE"} {
		got := ask(a, method, a.URL("app.css"))
		if got.StatusCode != http.StatusMethodNotAllowed || got.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: status %d, Allow %q", method, got.StatusCode, got.Header.Get("Allow"))
		}
	}
}

func TestCompressesIfTheClientAllowsIt(t *testing.T) {
	t.Parallel()
	a := newAssets(t)
	plain := body(t, ask(a, "GET", a.URL("app.css")))
	cases := map[string]struct {
		accept []string
		gzip   bool
	}{
		"no header":                {nil, false},
		"empty":                    {[]string{""}, false},
		"gzip":                     {[]string{"gzip"}, true},
		"in upper case":            {[]string{"GZIP"}, true},
		"as browsers send it":      {[]string{"gzip, deflate, br, zstd"}, true},
		"in a second field":        {[]string{"br", "gzip"}, true},
		"weighted":                 {[]string{"br;q=1, gzip;q=0.2"}, true},
		"weighted, with spaces":    {[]string{"gzip ; q = 0.2"}, true},
		"refused":                  {[]string{"gzip;q=0"}, false},
		"refused, more digits":     {[]string{"gzip;q=0.000, br"}, false},
		"any":                      {[]string{"*"}, true},
		"any, but not gzip":        {[]string{"*, gzip;q=0"}, false},
		"none but gzip":            {[]string{"*;q=0, gzip"}, true},
		"nothing":                  {[]string{"*;q=0"}, false},
		"only identity":            {[]string{"identity"}, false},
		"another, named alike":     {[]string{"gzipped"}, false},
		"weight that is no number": {[]string{"gzip;q=x"}, false},
		"weight above one":         {[]string{"gzip;q=2"}, false},
		"weight NaN":               {[]string{"gzip;q=NaN"}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var header []string
			for _, v := range c.accept {
				header = append(header, "Accept-Encoding", v)
			}
			got := ask(a, "GET", a.URL("app.css"), header...)
			if v := got.Header.Get("Vary"); v != "Accept-Encoding" {
				t.Errorf("Vary: %q", v)
			}
			if compressed := got.Header.Get("Content-Encoding") == "gzip"; compressed != c.gzip {
				t.Fatalf("compressed: %v, want %v", compressed, c.gzip)
			}
			if !c.gzip {
				return
			}
			if got.ContentLength <= 0 || got.ContentLength >= int64(len(plain)) {
				t.Errorf("length %d of %d", got.ContentLength, len(plain))
			}
			z, err := gzip.NewReader(got.Body)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(z); err != nil || string(b) != plain {
				t.Errorf("the unpacked body differs: %v", err)
			}
		})
	}
}

func TestAnswersNotModified(t *testing.T) {
	t.Parallel()
	a := newAssets(t)
	url := a.URL("app.js")
	plain := ask(a, "GET", url).Header.Get("ETag")
	packed := ask(a, "GET", url, "Accept-Encoding", "gzip").Header.Get("ETag")
	if plain == "" || plain == packed {
		t.Fatalf("entity tags %q and %q", plain, packed)
	}
	cases := map[string]struct {
		ifNoneMatch, accept string
		status              int
	}{
		"the plain form":             {plain, "identity", http.StatusNotModified},
		"the packed form":            {packed, "gzip", http.StatusNotModified},
		"weak, in a list":            {`"x", W/` + plain, "identity", http.StatusNotModified},
		"any":                        {"*", "identity", http.StatusNotModified},
		"another":                    {`"x"`, "identity", http.StatusOK},
		"the packed form, now plain": {packed, "identity", http.StatusOK},
		"the plain form, now packed": {plain, "gzip", http.StatusOK},
		"the tag without its quotes": {strings.Trim(plain, `"`), "identity", http.StatusOK},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ask(a, "GET", url, "If-None-Match", c.ifNoneMatch, "Accept-Encoding", c.accept)
			if got.StatusCode != c.status {
				t.Fatalf("status %d, want %d", got.StatusCode, c.status)
			}
			if got.StatusCode != http.StatusNotModified {
				return
			}
			if body(t, got) != "" || got.Header.Get("ETag") == "" || got.Header.Get("Cache-Control") == "" || got.Header.Get("Vary") == "" {
				t.Errorf("body, or no ETag, Cache-Control or Vary: %v", got.Header)
			}
		})
	}
}

func TestUnhashedIsCachedForADay(t *testing.T) {
	t.Parallel()
	a := newAssets(t)
	got := ask(a.Unhashed("icon.svg"), "GET", "/favicon.ico")
	if got.StatusCode != http.StatusOK || got.Header.Get("Content-Type") != "image/svg+xml; charset=utf-8" || got.Header.Get("Cache-Control") != "public, max-age=86400" {
		t.Errorf("status %d, %v", got.StatusCode, got.Header)
	}
	if got := ask(a.Unhashed("robots.txt"), "GET", "/robots.txt"); !strings.HasPrefix(body(t, got), "User-agent: *\n") {
		t.Error("robots.txt is not what was embedded")
	}
}

func TestURLPanicsOnUnknownName(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	newAssets(t).URL("missing.css")
}

// TestHtmxIsPinned_HB06 (HB-06) compares htmx.min.js with the hash of the official release.
func TestHtmxIsPinned_HB06(t *testing.T) {
	t.Parallel()
	const pinned = "Qp9rdC8H7EqOoX+nR0P3RPG2Noji+qdwJlGpfzwQJsfOpp3sGwIdSP9xO3+UlEhn"
	a := newAssets(t)
	sum := sha512.Sum384([]byte(body(t, ask(a, "GET", a.URL("htmx.min.js")))))
	if got := base64.StdEncoding.EncodeToString(sum[:]); got != pinned {
		t.Errorf("sha384-%s, want that of htmx 4.0.1, sha384-%s", got, pinned)
	}
}

// TestHtmxInBrotli_HB06 (HB-06) decodes the form that browsers get. It is as pinned as the plain one, which
// comes to those that cannot read it.
func TestHtmxInBrotli_HB06(t *testing.T) {
	t.Parallel()
	decode, err := exec.LookPath("brotli")
	if err != nil && os.Getenv("CI") != "" {
		t.Fatal("brotli is not installed")
	} else if err != nil {
		t.Skip("brotli is not installed: install Debian's package brotli")
	}
	a := newAssets(t)
	plain := ask(a, "GET", a.URL("htmx.min.js"))
	for accepted, want := range map[string]string{"gzip, deflate, br, zstd": "br", "gzip, br;q=0": "gzip", "identity": ""} {
		got := ask(a, "GET", a.URL("htmx.min.js"), "Accept-Encoding", accepted)
		if coding := got.Header.Get("Content-Encoding"); coding != want || (want != "") == (got.Header.Get("ETag") == plain.Header.Get("ETag")) {
			t.Errorf("%q is answered in %q with the tag %s", accepted, coding, got.Header.Get("ETag"))
		}
		if want == "br" {
			decoded := exec.CommandContext(t.Context(), decode, "-dc")
			decoded.Stdin = got.Body
			if text, err := decoded.Output(); err != nil || string(text) != body(t, plain) {
				t.Errorf("it decodes to another text: %v", err)
			}
		}
	}
}

// TestAssetsCallNoThirdParty_HB06 (HB-06) searches our own assets. TestPagesLoadNothingFromElsewhere
// checks what the pages load.
func TestAssetsCallNoThirdParty_HB06(t *testing.T) {
	t.Parallel()
	a := newAssets(t)
	elsewhere := regexp.MustCompile(`(?i)https?://|url\(|@import|\beval\(|innerHTML|document\.write|localStorage|sessionStorage`)
	for _, name := range []string{"app.css", "front.css", "devices.css", "profile.css", "app.js", "claims.js", "devices.js", "session.js", "reload.js"} {
		if found := elsewhere.FindString(body(t, ask(a, "GET", a.URL(name)))); found != "" {
			t.Errorf("%s has %q", name, found)
		}
	}
}

func TestAssetsAreServedWithoutComments(t *testing.T) {
	t.Parallel()
	a := newAssets(t)
	for _, name := range []string{"app.css", "front.css", "devices.css", "profile.css", "app.js", "claims.js", "devices.js", "reload.js", "session.js"} {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(source), "`") {
			t.Errorf("%s has a template literal, whose lines would be trimmed", name)
		}
		served := body(t, ask(a, "GET", a.URL(name)))
		for line := range strings.Lines(served) {
			if strings.HasPrefix(line, "//") || strings.Contains(line, "/*") || strings.TrimLeft(line, " \t\n") != line {
				t.Errorf("%s holds the line %q", name, line)
			}
		}
		if len(served) < len(source)/2 {
			t.Errorf("%s has %d bytes, but only %d are served", name, len(source), len(served))
		}
	}
}

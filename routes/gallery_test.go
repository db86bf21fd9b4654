package routes_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

var inlineCode = regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|hx-on|\bjs:|hx-vals|<script>|<iframe|<base`)

// TestGallery (HB-01, HB-05) opens every piece of the gallery, and finds one for every
// reason that packages authn and openid refuse for.
func TestGallery(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	all := a.Gallery()
	for _, piece := range append(all, "/dev/gallery") {
		got := v.Get(piece)
		if got.StatusCode != http.StatusOK || !strings.Contains(got.Body, "<h1") {
			t.Errorf("%s is %d", piece, got.StatusCode)
		}
		apptest.CheckHeaders(t, piece, got)
		if found := inlineCode.FindString(got.Body); found != "" && (found != "<iframe" || piece != "/dev/gallery") {
			t.Errorf("HB-05: %s has %q", piece, found)
		}
		if strings.Contains(got.Body, "/static/session.") {
			t.Errorf("%s watches a session although it has none", piece)
		}
	}
	if got := v.Get("/dev/gallery/home/nothing"); got.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown piece is %d", got.StatusCode)
	}
	source := slices.Concat(apptest.ReadFile(t, "authn/errors.go"), apptest.ReadFile(t, "authn/openid/errors.go"))
	said := strings.Join(all, " ")
	for _, m := range regexp.MustCompile(`Reason = "(\w+)"`).FindAllSubmatch(source, -1) {
		switch string(m[1]) {
		case "provider_declined": // by its codes
			continue
		case "logout_token_invalid", "access_token_invalid", "use_dpop_nonce", "invalid_dpop_proof", "too_many_calls": // to programs alone
			continue
		}
		if !strings.Contains(said, "/failure/"+string(m[1])) {
			t.Errorf("the gallery has no page for %s", m[1])
		}
	}
}

// TestGalleryFrames checks that the gallery can frame its pieces, that another site cannot, and that
// the view of a piece leads to its neighbours.
func TestGalleryFrames(t *testing.T) {
	t.Parallel()
	a := apptest.Start(t)
	v := a.Visitor()
	for name, c := range map[string]struct{ path, dest, options, ancestors string }{
		"a piece, framed":    {"/dev/gallery/home/default", "iframe", "SAMEORIGIN", "frame-ancestors 'self'"},
		"a piece, by itself": {"/dev/gallery/home/default", "document", "DENY", "frame-ancestors 'none'"},
		"the gallery":        {"/dev/gallery", "iframe", "DENY", "frame-ancestors 'none'"},
		"another page":       {"/", "iframe", "DENY", "frame-ancestors 'none'"},
	} {
		got := v.Get(c.path, "Sec-Fetch-Dest", c.dest)
		if options, policy := got.Header.Get("X-Frame-Options"), got.Header.Get("Content-Security-Policy"); options != c.options || !strings.Contains(policy, c.ancestors) {
			t.Errorf("%s: %s, %s", name, options, policy)
		}
	}
	first := v.Get("/dev/gallery?group=home&name=default&theme=dark&width=390")
	if first.StatusCode != http.StatusOK || !strings.Contains(first.Header.Get("Content-Security-Policy"), "frame-src 'self'") {
		t.Fatalf("the view is %d", first.StatusCode)
	}
	for _, want := range []string{`<iframe class="theme-dark" src="/dev/gallery/home/default" title="default" width="390"`, "group=home&amp;name=sign-in+down&amp;theme=dark&amp;width=390", "width=1280"} {
		if !strings.Contains(first.Body, want) {
			t.Errorf("the view lacks %s:\n%s", want, first.Body)
		}
	}
	if strings.Contains(first.Body, "Previous") {
		t.Error("there is a piece before the first")
	}
	for _, query := range []string{"name=nothing&group=home&width=390&theme=dark", "name=default&group=home&width=391&theme=dark", "name=default&group=home&width=390&theme=x"} {
		if got := v.Get("/dev/gallery?" + query); got.StatusCode != http.StatusNotFound {
			t.Errorf("%s is %d", query, got.StatusCode)
		}
	}
}

// TestNoGalleryWithARealProvider checks that there is no gallery in production.
func TestNoGalleryWithARealProvider(t *testing.T) {
	t.Parallel()
	v := apptest.StartScripted(t).Visitor()
	for _, address := range []string{"/dev/gallery", "/dev/gallery/home/default"} {
		if got := v.Get(address); got.StatusCode != http.StatusNotFound {
			t.Errorf("%s is %d", address, got.StatusCode)
		}
	}
}

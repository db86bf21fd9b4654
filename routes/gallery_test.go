package routes_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

var inlineCode = regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|hx-on|\bjs:|hx-vals|<script>|<iframe|<base`)

// TestGallery (HB-01, HB-05) opens every piece of the gallery, and finds one for every
// reason that authn refuses for.
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
		if found := inlineCode.FindString(got.Body); found != "" {
			t.Errorf("HB-05: %s has %q", piece, found)
		}
		if strings.Contains(got.Body, "/static/session.") {
			t.Errorf("%s watches a session although it has none", piece)
		}
	}
	if got := v.Get("/dev/gallery/home/nothing"); got.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown piece is %d", got.StatusCode)
	}
	source := apptest.ReadFile(t, "authn/errors.go")
	said := strings.Join(all, " ")
	for _, m := range regexp.MustCompile(`Reason = "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		switch m[1] {
		case "provider_declined", "logout_token_invalid", "access_token_invalid": // by its codes; to programs alone
			continue
		}
		if !strings.Contains(said, "/failure/"+m[1]) {
			t.Errorf("the gallery has no page for %s", m[1])
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

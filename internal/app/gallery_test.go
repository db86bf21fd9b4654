package app

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// gallery lists the addresses of the gallery's pieces.
func (a *app) gallery() (pieces []string) {
	a.t.Helper()
	index := a.visitor().get("/dev/gallery")
	for n := range parse(a.t, index.body).Descendants() {
		if n.Type == html.ElementNode && n.Data == "a" && strings.HasPrefix(attribute(n, "href"), "/dev/gallery/") {
			pieces = append(pieces, attribute(n, "href"))
		}
	}
	if len(pieces) < 50 {
		a.t.Fatalf("the gallery has %d pieces:\n%s", len(pieces), index.body)
	}
	return pieces
}

var inlineCode = regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|hx-on|\bjs:|hx-vals|<script>|<iframe|<base`)

// TestGallery (HB-01, HB-05) opens every piece, and finds one for every reason that authn refuses for.
func TestGallery(t *testing.T) {
	t.Parallel()
	a := startApp(t)
	v := a.visitor()
	all := a.gallery()
	for _, piece := range append(all, "/dev/gallery") {
		got := v.get(piece)
		if got.StatusCode != http.StatusOK || !strings.Contains(got.body, "<h1") {
			t.Errorf("%s is %d", piece, got.StatusCode)
		}
		checkHeaders(t, piece, got)
		if found := inlineCode.FindString(got.body); found != "" {
			t.Errorf("HB-05: %s has %q", piece, found)
		}
		if strings.Contains(got.body, "/static/session.") {
			t.Errorf("%s asks after a session that is not there", piece)
		}
	}
	if got := v.get("/dev/gallery/home/nothing"); got.StatusCode != http.StatusNotFound {
		t.Errorf("a piece that is not there is %d", got.StatusCode)
	}
	source, err := os.ReadFile("authn/errors.go")
	if err != nil {
		t.Fatal(err)
	}
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

// TestNoGalleryBesideARealProvider looks for it in production.
func TestNoGalleryBesideARealProvider(t *testing.T) {
	t.Parallel()
	v := startScripted(t).visitor()
	for _, address := range []string{"/dev/gallery", "/dev/gallery/home/as%20ever"} {
		if got := v.get(address); got.StatusCode != http.StatusNotFound {
			t.Errorf("%s is %d", address, got.StatusCode)
		}
	}
}

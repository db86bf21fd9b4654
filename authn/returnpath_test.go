package authn_test

import (
	"net/url"
	"strings"
	"testing"

	"latchkey/authn"
)

// TestReturnPaths (HB-20) parses the paths that must be refused and those that must be
// accepted.
func TestReturnPaths(t *testing.T) {
	t.Parallel()
	for _, c := range refusedPaths() {
		if got, ok := authn.ParseReturnPath(c.raw); ok || !got.IsZero() || got.String() != "/" {
			t.Errorf("HB-20 %q was accepted as a local path, but a browser goes to %q", c.raw, c.browser)
		}
		wantBrowser(t, c)
	}
	for _, c := range localPaths() {
		if got, ok := authn.ParseReturnPath(c.raw); !ok || got.String() != unspaced(c.raw) {
			t.Errorf("HB-20 %q became %q, accepted: %t", c.raw, got, ok)
		}
		if !strings.HasPrefix(c.browser, origin) {
			t.Errorf("HB-20 %q leads to %q, so it does not belong on this list", c.raw, c.browser)
		}
		wantBrowser(t, c)
	}
}

// unspaced returns a path as it is in an address.
func unspaced(path string) string { return strings.ReplaceAll(path, " ", "%20") }

// wantBrowser checks the model of a browser that the fuzz target relies on.
func wantBrowser(t *testing.T, c returnPath) {
	t.Helper()
	if got, want := stays(c.raw), strings.HasPrefix(c.browser, origin) && !strings.HasPrefix(c.raw, "//"); got != want {
		t.Errorf("by the model of a browser, %q stays on the origin: %t, want %t", c.raw, got, want)
	}
}

// stays reports whether a browser that is redirected to a reference from a page of this
// origin stays on the origin, by the parsing rules of the WHATWG URL standard. A reference
// that names an authority counts as leaving, even if the authority is this one.
func stays(reference string) bool {
	reference = strings.TrimFunc(reference, func(r rune) bool { return r <= ' ' })
	reference = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(reference)
	path, _, _ := strings.Cut(reference, "#")
	path, _, _ = strings.Cut(path, "?")
	path = strings.ReplaceAll(path, `\`, "/")
	if scheme, rest, ok := strings.Cut(path, ":"); ok && isScheme(scheme) {
		// "https:a" from a page with that scheme is relative.
		if !strings.EqualFold(scheme, "https") {
			return false
		}
		path = rest
		if strings.HasPrefix(path, "//app.example/") {
			return true
		}
	}
	return !strings.HasPrefix(path, "//")
}

func isScheme(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	s = strings.ToLower(s)
	return s != "" && strings.Contains(letters, s[:1]) && strings.Trim(s, letters+"0123456789+-.") == ""
}

func FuzzReturnPath(f *testing.F) {
	for _, c := range append(refusedPaths(), localPaths()...) {
		f.Add(c.raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		parsed, ok := authn.ParseReturnPath(raw)
		got := parsed.String()
		if (ok && got != unspaced(raw)) || (!ok && (got != "/" || !parsed.IsZero())) {
			t.Fatalf("%q became %q, accepted: %t", raw, got, ok)
		}
		if again, ok := authn.ParseReturnPath(got); !ok || again.String() != got {
			t.Fatalf("%q became %q, and that became %q, accepted: %t", raw, got, again, ok)
		}
		if len(got) > 2048 || !strings.HasPrefix(got, "/") || !stays(got) {
			t.Fatalf("%q leads a browser elsewhere", got)
		}
		u, err := url.Parse(got)
		if err != nil || strings.ContainsAny(u.Path, "\r\n\t\x00") || !stays(u.Path) {
			t.Fatalf("%q leads a browser elsewhere once it is decoded: %v", got, err)
		}
		base := &url.URL{Scheme: "https", Host: "app.example", Path: "/login"}
		if to := base.ResolveReference(u); to.Host != base.Host || to.Scheme != base.Scheme || to.EscapedPath() != u.EscapedPath() {
			t.Fatalf("%q resolves to %s", got, to)
		}
	})
}

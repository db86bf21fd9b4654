package authn

import (
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxReturnPath bounds a return path, which travels in a cookie and, escaped, in the address of
// the sign-in page.
const maxReturnPath = 2048

// ReturnPath is a path of this application, with its query, to return to after a sign-in. A
// browser that follows it stays on this origin (RFC 9700 section 4.11). The zero ReturnPath is
// "/".
type ReturnPath struct{ path string }

// ParseReturnPath returns raw as a ReturnPath, with each space as %20. It reports false, and
// returns the zero ReturnPath, for anything else than a path of this application: another host in
// any of the spellings that browsers understand, a scheme, a control character, a path with dot
// segments, or more than 2 KiB.
func ParseReturnPath(raw string) (p ReturnPath, ok bool) {
	raw = strings.ReplaceAll(raw, " ", "%20") // at the end, a browser would drop it
	if !isLocalPath(raw) {
		return ReturnPath{}, false
	}
	return ReturnPath{raw}, true
}

// String returns the path with its query.
func (p ReturnPath) String() string {
	if p.path == "" {
		return "/"
	}
	return p.path
}

// IsZero reports whether p is the zero ReturnPath.
func (p ReturnPath) IsZero() bool { return p.path == "" }

func isLocalPath(raw string) bool {
	path, _, _ := strings.Cut(raw, "?")
	// Browsers drop some control characters, and only then look for a host.
	if len(raw) > maxReturnPath || !strings.HasPrefix(raw, "/") || !utf8.ValidString(raw) ||
		strings.ContainsFunc(raw, unicode.IsControl) || strings.Contains(raw, "#") || strings.Contains(path, `\`) {
		return false
	}
	// The decoded path counts, because a proxy in between may decode it, and "/%2fevil" must not
	// become "//evil". To a browser a backslash is a slash. Dot segments can lead to "//evil", too;
	// browsers resolve them before they request a page, so no page has them.
	decoded, err := url.PathUnescape(path)
	if err != nil || strings.ContainsFunc(decoded, unicode.IsControl) {
		return false
	}
	decoded = strings.ReplaceAll(decoded, `\`, "/")
	segments := strings.Split(decoded, "/")
	return !strings.HasPrefix(decoded, "//") && !slices.Contains(segments, ".") && !slices.Contains(segments, "..")
}

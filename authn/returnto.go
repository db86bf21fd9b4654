package authn

import (
	"net/url"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxReturnPath bounds a return path: it travels in a cookie.
const maxReturnPath = 1024

// LocalPath returns raw if it is a path of this application, with its query, and
// "/" if it is anything else: another host in any of the spellings that browsers
// understand, a scheme, a control character, a path that changes when cleaned, or
// more than 1 KiB. A browser that follows the result stays on this origin
// (RFC 9700 section 4.11).
func LocalPath(raw string) string {
	if !isLocalPath(raw) {
		return "/"
	}
	return raw
}

func isLocalPath(raw string) bool {
	if len(raw) > maxReturnPath || !strings.HasPrefix(raw, "/") {
		return false
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || u.Fragment != "" {
		return false
	}
	// The decoded path is looked at too: a proxy in between may decode it, and
	// "/%2fevil" must not become "//evil".
	for _, form := range []string{raw, u.Path} {
		if strings.HasPrefix(form, "//") || strings.ContainsFunc(form, notInPath) {
			return false
		}
	}
	// "/a/..//evil" and "/./" + "/evil" are somewhere else once they are resolved.
	cleaned := path.Clean(u.Path)
	return u.Path == cleaned || u.Path == cleaned+"/"
}

// notInPath names what has no business in a path of ours: backslashes, which
// browsers read as slashes, spaces of any script, controls, which browsers drop, and
// what is not UTF-8.
func notInPath(r rune) bool {
	return r == '\\' || r == '\ufeff' || r == utf8.RuneError || unicode.IsSpace(r) || unicode.IsControl(r)
}

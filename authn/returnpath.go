package authn

import (
	"net/url"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxReturnPath bounds a return path, which travels in a cookie.
const maxReturnPath = 1024

// ReturnPath is a path of this application, with its query, to return to after a sign-in. A
// browser that follows it stays on this origin (RFC 9700 section 4.11). The zero ReturnPath is
// "/".
type ReturnPath struct{ path string }

// ParseReturnPath returns raw as a ReturnPath. It reports false, and returns the zero
// ReturnPath, for anything else than a path of this application: another host in any of the
// spellings that browsers understand, a scheme, a control character, a path that changes when
// cleaned, or more than 1 KiB.
func ParseReturnPath(raw string) (p ReturnPath, ok bool) {
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
	if len(raw) > maxReturnPath || !strings.HasPrefix(raw, "/") {
		return false
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || u.Fragment != "" {
		return false
	}
	// The decoded path is checked too: a proxy in between may decode it, and "/%2fevil" must
	// not become "//evil".
	for _, form := range []string{raw, u.Path} {
		if strings.HasPrefix(form, "//") || strings.ContainsFunc(form, notInPath) {
			return false
		}
	}
	// "/a/..//evil" and "/./" + "/evil" are somewhere else once they are resolved.
	cleaned := path.Clean(u.Path)
	return u.Path == cleaned || u.Path == cleaned+"/"
}

// notInPath reports whether a rune may not be in a path of this application: backslashes, which
// browsers read as slashes; spaces of any script; controls, which browsers drop; and what is
// not UTF-8.
func notInPath(r rune) bool {
	return r == '\\' || r == '\ufeff' || r == utf8.RuneError || unicode.IsSpace(r) || unicode.IsControl(r)
}

package authn

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// cookies writes and reads the cookies of this package. With https they have the __Host- prefix,
// so that no sibling host and no plain connection can plant one (RFC 6265bis section 4.1.3.2).
// On http, which is loopback only, they have neither the prefix nor Secure: Safari stores no
// Secure cookie there.
type cookies struct{ secure bool }

func (c cookies) name(base string) string {
	if c.secure {
		return "__Host-" + base
	}
	return base
}

// set sends a cookie with a lifetime in whole seconds. No cache may store a response that
// carries a cookie.
func (c cookies) set(w http.ResponseWriter, base, value string, life time.Duration, site http.SameSite) {
	http.SetCookie(w, &http.Cookie{
		Name: c.name(base), Value: value, Path: "/", MaxAge: int(life / time.Second),
		Secure: c.secure, HttpOnly: true, SameSite: site,
	})
	private(w)
}

// clear deletes a cookie. The attributes are those that it was set with: Chromium ignores a
// deletion without Secure.
func (c cookies) clear(w http.ResponseWriter, base string, site http.SameSite) {
	http.SetCookie(w, &http.Cookie{
		Name: c.name(base), Path: "/", MaxAge: -1,
		Secure: c.secure, HttpOnly: true, SameSite: site,
	})
	private(w)
}

// get returns the value of a cookie that the browser sent exactly once. Two with the same name
// mean that another site could set one of them.
func (c cookies) get(r *http.Request, base string) (string, bool) {
	value, n := findCookie(r, c.name(base))
	return value, n == 1
}

// sent reports whether the browser sent the cookie at all.
func (c cookies) sent(r *http.Request, base string) bool {
	_, n := findCookie(r, c.name(base))
	return n > 0
}

// findCookie returns the value of the last cookie with a name, and how many there are. Every request
// looks for the session's cookie, so it reads the header without parsing all cookies. Like net/http,
// it ignores only spaces and tabs around the name: if it ignored other white space, a page of another
// host of the domain could set a cookie that is not __Host- to the browser, but is to us.
func findCookie(r *http.Request, name string) (value string, n int) {
	for _, header := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(header, ";") {
			if key, v, ok := strings.Cut(textproto.TrimString(pair), "="); ok && textproto.TrimString(key) == name {
				value, n = v, n+1
			}
		}
	}
	return value, n
}

func private(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if !slices.Contains(h.Values("Vary"), "Cookie") {
		h.Add("Vary", "Cookie")
	}
}

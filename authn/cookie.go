package authn

import (
	"cmp"
	"iter"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"
)

// cookies writes and reads the cookies of this package. With https their names have the prefix
// __Host-, so that no sibling host and no plain connection can plant one (RFC 6265bis section
// 4.1.3.2). On http, which is loopback only, they have neither the prefix nor Secure, because Safari
// stores no Secure cookie there. Their names end in the app's port instead: all ports of a host share
// its cookies (RFC 6265 section 8.5), and on localhost the other ports are other applications.
//
// Other applications of the host may use any name, so a cookie that a request sends is only deleted if its
// value has the form that this package writes. The end of a session deletes its cookies whatever their
// values are.
type cookies struct {
	secure         bool
	prefix, suffix string // around the base of each name
}

// newCookies returns the cookies of an app that the browser comes back to at a URL.
func newCookies(redirectURL string) cookies {
	u, err := url.Parse(redirectURL)
	if err != nil || u.Scheme == "https" {
		return cookies{secure: true, prefix: "__Host-"}
	}
	return cookies{suffix: "_" + cmp.Or(u.Port(), "80")}
}

func (c cookies) name(base string) string { return c.prefix + base + c.suffix }

// base returns the base of a cookie's name, and whether the name is one of this app.
func (c cookies) base(name string) (string, bool) {
	base, hasPrefix := strings.CutPrefix(name, c.prefix)
	base, hasSuffix := strings.CutSuffix(base, c.suffix)
	return base, hasPrefix && hasSuffix
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
func (c cookies) get(r *http.Request, base string) (value string, ok bool) {
	n := 0
	for value = range sentCookies(r, c.name(base)) {
		n++
	}
	return value, n == 1
}

// sent reports whether the browser sent a cookie with a value of this form.
func (c cookies) sent(r *http.Request, base string, form func(value string) bool) bool {
	for value := range sentCookies(r, c.name(base)) {
		if form(value) {
			return true
		}
	}
	return false
}

// sentCookies yields the values of the cookies with a name. Every request looks for the session's
// cookie, so sentCookies reads the header without parsing all cookies. Like net/http, it ignores only
// spaces and tabs around the name. If it ignored other white space, another host of the domain could
// set a cookie that this package takes for a __Host- cookie, although the browser does not.
func sentCookies(r *http.Request, name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, header := range r.Header["Cookie"] {
			for pair := range strings.SplitSeq(header, ";") {
				key, value, ok := strings.Cut(textproto.TrimString(pair), "=")
				if ok && textproto.TrimString(key) == name && !yield(value) {
					return
				}
			}
		}
	}
}

func private(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if !slices.Contains(h.Values("Vary"), "Cookie") {
		h.Add("Vary", "Cookie")
	}
}

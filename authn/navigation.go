package authn

import (
	"net/http"
	"strings"
)

// IsNavigation reports whether a request is a person going to a page: not a part of
// a page, a frame, a script's fetch or a prefetch. Such a request must not start a
// sign-in. A browser too old to say what it is doing is believed.
func IsNavigation(r *http.Request) bool {
	h := r.Header
	purpose := strings.ToLower(h.Get("Sec-Purpose") + h.Get("Purpose") + h.Get("X-Moz"))
	if strings.Contains(purpose, "prefetch") || h.Get("HX-Request") != "" {
		return false
	}
	dest, mode := h.Get("Sec-Fetch-Dest"), h.Get("Sec-Fetch-Mode")
	return (dest == "" || dest == "document") && (mode == "" || mode == "navigate")
}

package routes_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"latchkey/internal/apptest"
)

// TestProtectedPaths (SE-15, SE-16) tries to bypass the checks before a route, as a visitor
// and as a person without the role.
func TestProtectedPaths(t *testing.T) {
	t.Parallel()
	s := apptest.StartScripted(t)
	saysRoles(s, []string{"reader"}, nil)
	anonymous, reader := s.Visitor(), s.Visitor()
	s.SignIn(reader)
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "X"}
	headers := [][]string{
		nil,
		{"HX-Request", "true"},
		{"Accept", "application/json"},
		{"User-Agent", "GoogleHC/1.0"},
		{"User-Agent", "kube-probe/1.30"},
		{"X-Forwarded-Uri", "/healthz"},
		{"X-Original-URL", "/healthz"},
		{"X-Rewrite-URL", "/healthz"},
		{"X-Forwarded-Prefix", "/static"},
		{"X-HTTP-Method-Override", "GET"},
		{"X-Forwarded-For", "127.0.0.1"},
		{"X-Forwarded-User", "admin"},
		{"X_Forwarded_Email", "admin@corp.example"},
		{"Remote-User", "admin"},
		{"X-Forwarded-Email", "admin@corp.example"},
		{"Authorization", "Basic YWRtaW46YWRtaW4="},
		{"Authorization", "Bearer x"},
		{"Sec-Fetch-Site", "same-origin"},
		{"Referer", s.URL + "/admin"},
	}
	for _, page := range []string{"/admin", "/dashboard", "/profile", "/profile/refresh", "/sessions", "/sessions/x/end", "/sessions/end-others", "/resume/x", "/api/me"} {
		for _, path := range spellings(page) {
			for _, method := range methods {
				wantNothing(s, anonymous, method, path, nil)
				if page == "/admin" {
					wantNothing(s, reader, method, path, nil)
				}
			}
		}
		for _, header := range headers {
			wantNothing(s, anonymous, http.MethodGet, page, header)
			wantNothing(s, anonymous, http.MethodPost, page, header)
			if page == "/admin" {
				wantNothing(s, reader, http.MethodGet, page, header)
			}
		}
	}
}

// spellings returns spellings of a path that some router or proxy may read as another path.
func spellings(page string) []string {
	name := strings.TrimPrefix(page, "/")
	return []string{
		page, page + "/", "/" + page, "/./" + name, "/x/.." + page, "/static/.." + page, "/static/..%2f" + name, "/healthz/.." + page,
		"/%2f" + name, "/%2e" + page, strings.ToUpper(page), "/" + strings.ToUpper(name[:1]) + name[1:], page + "%00", page + "%20", page + ";x=1",
		"/;x" + page, page + "%23", page + "%3f", page + "?/healthz", page + "?_method=GET", page + "?x=/static/", page + ".json", page + "%2f", page + "/..;/",
		strings.Replace(page, "a", "%61", 1), strings.Replace(page, "e", "%65", 1), strings.Replace(page, "e", "%2565", 1), `\` + name, "/healthz" + page, "/login;" + page,
	}
}

// wantNothing checks that an answer shows nothing of a protected page.
func wantNothing(s *apptest.Scripted, v *apptest.Visitor, method, path string, headers []string) {
	s.T.Helper()
	req := v.Request(method, "/", nil, headers...)
	// Send the path unchanged. To net/url, two leading slashes begin a host.
	opaque, query, _ := strings.Cut(path, "?")
	if strings.HasPrefix(opaque, "//") {
		opaque = "//" + req.URL.Host + opaque
	}
	req.URL = &url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host, Opaque: opaque, RawQuery: query}
	got := v.Direct(req)
	for _, secret := range []string{"Session store", "alice@example.com", "qsLogoutBtn"} {
		protected := secret != "Session store" && got.StatusCode >= 403 && got.StatusCode <= 405 // the header of such a page shows the person
		if strings.Contains(got.Body, secret) && !protected {
			s.T.Errorf("SE-15: %s %s with %v is answered %d with %q", method, path, headers, got.StatusCode, secret)
		}
	}
	switch got.StatusCode {
	case 303, 400, 401, 403, 404, 405, 501:
	default:
		s.T.Errorf("SE-15: %s %s with %v is answered %d", method, path, headers, got.StatusCode)
	}
}

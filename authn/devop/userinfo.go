package devop

import (
	"net/http"
	"slices"
	"strings"
)

// userinfo returns the provider's current claims about the person (OpenID Connect Core 1.0
// section 5.3). It accepts the token in the Authorization header only (RFC 6750 section
// 2.1, RFC 9700 section 4.3.2).
func (p *Provider) userinfo(w http.ResponseWriter, r *http.Request) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		// RFC 6750 section 3.1: no error code if the request has no token.
		w.Header().Set("WWW-Authenticate", `Bearer realm="devop"`)
		writeJSON(w, http.StatusUnauthorized, oauthError{Code: "invalid_token", Description: "a bearer token is required"})
		return
	}
	subject, scope, ok := p.records.access(token)
	person, known := p.records.person(subject)
	if !ok || !known {
		const description = "the access token is unknown, expired or revoked"
		w.Header().Set("WWW-Authenticate", `Bearer realm="devop", error="invalid_token", error_description="`+description+`"`)
		writeJSON(w, http.StatusUnauthorized, oauthError{"invalid_token", description})
		return
	}
	if p.workbench.happens(faultUserinfo) {
		http.Error(w, "failed on purpose", http.StatusInternalServerError)
		return
	}
	if !slices.Contains(scope, "openid") {
		w.Header().Set("WWW-Authenticate", `Bearer realm="devop", error="insufficient_scope", scope="openid"`)
		writeJSON(w, http.StatusForbidden, oauthError{"insufficient_scope", "the access token does not have the openid scope"})
		return
	}
	writeJSON(w, http.StatusOK, person.claims(scope))
}

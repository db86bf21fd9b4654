package devop

import (
	"errors"
	"net/http"
	"slices"
	"strings"
)

// userinfo returns the provider's current claims about the person (OpenID Connect Core 1.0
// section 5.3). It accepts the token in the Authorization header only (RFC 6750 section
// 2.1, RFC 9700 section 4.3.2), with a proof if it is bound to a key (RFC 9449 section 7), and from a client
// that presents the certificate that it is bound to (RFC 8705 section 3).
func (p *Provider) userinfo(w http.ResponseWriter, r *http.Request) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	proven := strings.EqualFold(scheme, "DPoP")
	if !proven && !strings.EqualFold(scheme, "Bearer") {
		// RFC 6750 section 3.1: no error code if the request has no token.
		w.Header().Set("WWW-Authenticate", `Bearer realm="devop"`)
		writeJSON(w, http.StatusUnauthorized, oauthError{Code: "invalid_token", Description: "a bearer token is required"})
		return
	}
	subject, found, ok := p.records.access(token)
	person, known := p.records.person(subject)
	scope := found.Scope
	if ok && proven {
		thumbprint, err := p.checkProof(w, r, nonceOfUserinfo, "/userinfo", token)
		var refusal oauthError
		if errors.As(err, &refusal) {
			w.Header().Set("WWW-Authenticate", `DPoP realm="devop", error="`+refusal.Code+`", algs="ES256 EdDSA PS256"`)
			writeJSON(w, http.StatusUnauthorized, refusal)
			return
		}
		ok = thumbprint == found.Bound.Key
	}
	ok = ok && (found.Bound.Certificate == "" || found.Bound.Certificate == presented(r))
	if !ok || !known || proven != (found.Bound.Key != "") {
		const description = "the access token is unknown, expired, revoked or bound to another key"
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

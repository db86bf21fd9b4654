package devop

import (
	"net/http"
	"net/url"
	"strings"
)

const requestURIPrefix = "urn:ietf:params:oauth:request_uri:"

// pushRequest accepts an authorization request directly from its client (RFC 9126 section
// 2) and checks it as the authorization endpoint does.
func (p *Provider) pushRequest(w http.ResponseWriter, r *http.Request) {
	client, values, err := p.authenticate(r)
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	if values.Has("request_uri") {
		p.writeError(w, r, fail("invalid_request", "a pushed request cannot contain request_uri"))
		return
	}
	for _, name := range []string{"client_secret", "client_assertion", "client_assertion_type"} {
		values.Del(name)
	}
	values.Set("client_id", client.ID)
	if values, err = p.openRequest(values); err != nil {
		p.writeError(w, r, err)
		return
	}
	a, reason := p.redirectTarget(values)
	if reason != "" {
		p.writeError(w, r, fail("invalid_request", reason))
		return
	}
	if err := p.readAuthorization(a); err != nil {
		p.writeError(w, r, err)
		return
	}
	id := p.records.addRequest(request{Client: client.ID, Pushed: true, Values: values, Expires: p.now().Add(pushedTTL)})
	writeJSON(w, http.StatusCreated, map[string]any{
		"request_uri": requestURIPrefix + id,
		"expires_in":  int(pushedTTL.Seconds()),
	})
}

// pushedRequest returns the parameters that were pushed. It ignores parameters sent
// alongside request_uri (RFC 9126 section 4).
func (p *Provider) pushedRequest(values url.Values) (url.Values, bool) {
	id, ok := strings.CutPrefix(values.Get("request_uri"), requestURIPrefix)
	if !ok || len(values["request_uri"]) != 1 || len(values["client_id"]) != 1 {
		return nil, false
	}
	return p.records.takePushed(id, values.Get("client_id"))
}

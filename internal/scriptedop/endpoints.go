package scriptedop

import (
	"crypto/rand"
	"html"
	"net/http"
	"net/url"
	"strings"
)

// Correct returns the endpoint's own answer, for a test that only delays it or gives it
// some of the time.
func (p *Provider) Correct(e Endpoint) http.HandlerFunc {
	documents := map[Endpoint]func(*http.Request) (map[string]any, *fault){
		Discovery: p.discovery, JWKS: p.jwks, Token: p.token, UserInfo: p.userInfo, PAR: p.push, Revoke: p.revoke,
	}
	if document, ok := documents[e]; ok {
		return func(w http.ResponseWriter, r *http.Request) { p.answerJSON(w, r, e, document) }
	}
	switch e {
	case Authorize:
		return p.authorize
	case EndSession:
		return p.endSession
	default:
		return http.NotFound
	}
}

func (p *Provider) answerJSON(w http.ResponseWriter, r *http.Request, e Endpoint, document func(*http.Request) (map[string]any, *fault)) {
	body, refused := document(r)
	status := http.StatusOK
	switch {
	case refused != nil:
		status, body = refused.status, map[string]any{"error": refused.code}
	case e == PAR:
		status = http.StatusCreated
		fallthrough
	default:
		p.edit(e, body)
	}
	w.Header().Set("Cache-Control", "no-store")
	if nonce := p.nonce(e); nonce != "" {
		w.Header().Set("DPoP-Nonce", nonce)
	}
	if refused != nil && e == UserInfo {
		refuse(w, refused)
		return
	}
	JSON(status, body)(w, r)
}

func (p *Provider) edit(e Endpoint, document map[string]any) {
	p.mu.Lock()
	change := p.edits[e]
	p.mu.Unlock()
	if change != nil {
		change(document)
	}
}

// discovery serves the metadata (OpenID Connect Discovery 1.0 section 4).
func (p *Provider) discovery(*http.Request) (map[string]any, *fault) {
	p.mu.Lock()
	algorithms := make([]string, len(p.keys))
	for i, key := range p.keys {
		algorithms[i] = key.Algorithm
	}
	p.mu.Unlock()
	document := map[string]any{
		"issuer":                                p.Issuer,
		"authorization_endpoint":                p.URL(Authorize),
		"token_endpoint":                        p.URL(Token),
		"userinfo_endpoint":                     p.URL(UserInfo),
		"jwks_uri":                              p.URL(JWKS),
		"end_session_endpoint":                  p.URL(EndSession),
		"revocation_endpoint":                   p.URL(Revoke),
		"pushed_authorization_request_endpoint": p.URL(PAR),
		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query", "form_post", "jwt", "query.jwt", "form_post.jwt"},
		"grant_types_supported":                 []string{"authorization_code", "refresh_token"},
		"subject_types_supported":               []string{"public"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
		"id_token_signing_alg_values_supported": algorithms,
		"code_challenge_methods_supported":      []string{"S256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
		"backchannel_logout_supported":          true,
		"backchannel_logout_session_supported":  true,

		"authorization_response_iss_parameter_supported": true,
	}
	p.mu.Lock()
	byKey, byCertificate := p.clientKey.Private != nil, p.clientCertificate != nil
	p.mu.Unlock()
	switch {
	case byCertificate:
		document["token_endpoint_auth_methods_supported"] = []string{"tls_client_auth", "self_signed_tls_client_auth"}
	case byKey:
		document["token_endpoint_auth_methods_supported"] = []string{"private_key_jwt"}
	}
	if aliases := p.aliases(); aliases != nil {
		document["mtls_endpoint_aliases"], document["tls_client_certificate_bound_access_tokens"] = aliases, true
	}
	if p.dpop {
		document["dpop_signing_alg_values_supported"] = []string{"ES256", "PS256", "EdDSA"}
	}
	return document, nil
}

func (p *Provider) jwks(*http.Request) (map[string]any, *fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	keys := make([]any, len(p.keys))
	for i, key := range p.keys {
		keys[i] = key.JWK()
	}
	return map[string]any{"keys": keys}, nil
}

// authorize signs the person in and redirects the browser to the client immediately (OpenID
// Connect Core 1.0 section 3.1.2.5).
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	request := r.Form
	if uri := request.Get("request_uri"); uri != "" {
		p.mu.Lock()
		request = p.pushed[uri]
		delete(p.pushed, uri)
		p.mu.Unlock()
	} else {
		opened, err := p.openRequest(request)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		request = opened
	}
	target, err := url.Parse(request.Get("redirect_uri"))
	if err != nil || !target.IsAbs() || request.Get("client_id") != p.ClientID || request.Get("response_type") != "code" {
		http.Error(w, "not an authorization request from the client", http.StatusBadRequest)
		return
	}
	response := map[string]any{"code": p.grant(request), "iss": p.Issuer}
	if state := request.Get("state"); state != "" {
		response["state"] = state
	}
	p.edit(Authorize, response)
	mode := request.Get("response_mode")
	parameters := make(url.Values)
	if strings.HasSuffix(mode, "jwt") {
		parameters.Set("response", p.signedResponse(response))
	} else {
		for name, value := range response {
			parameters.Set(name, value.(string))
		}
	}
	if strings.HasPrefix(mode, "form_post") {
		writeForm(w, target.String(), parameters)
		return
	}
	query := target.Query()
	for name := range parameters {
		query.Set(name, parameters.Get(name))
	}
	target.RawQuery = query.Encode()
	http.Redirect(w, r, target.String(), http.StatusSeeOther)
}

// writeForm answers with a page that posts the response to the client (OAuth 2.0 Form
// Post Response Mode section 2).
func writeForm(w http.ResponseWriter, action string, parameters url.Values) {
	var page strings.Builder
	page.WriteString(`<!DOCTYPE html><body onload="document.forms[0].submit()"><form method="post" action="` + html.EscapeString(action) + `">`)
	for name := range parameters {
		page.WriteString(`<input type="hidden" name="` + html.EscapeString(name) + `" value="` + html.EscapeString(parameters.Get(name)) + `">`)
	}
	page.WriteString(`</form>`)
	Body(http.StatusOK, "text/html; charset=utf-8", page.String())(w, nil)
}

// push accepts an authorization request from the client itself (RFC 9126 section 2).
func (p *Provider) push(r *http.Request) (map[string]any, *fault) {
	if refused := p.authenticate(r); refused != nil {
		return nil, refused
	}
	request, err := p.openRequest(r.PostForm)
	if err != nil {
		return nil, &fault{http.StatusBadRequest, "invalid_request_object"}
	}
	uri := "urn:ietf:params:oauth:request_uri:" + rand.Text()
	p.mu.Lock()
	p.pushed[uri] = request
	p.mu.Unlock()
	return map[string]any{"request_uri": uri, "expires_in": 60}, nil
}

// userInfo serves the claims of the access token's person (OpenID Connect Core 1.0 section
// 5.3).
func (p *Provider) userInfo(r *http.Request) (map[string]any, *fault) {
	_, access, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	p.mu.Lock()
	certificate := p.bound[access]
	p.mu.Unlock()
	g, refused := p.admit(r, UserInfo, p.URL(UserInfo), p.nonce(UserInfo))
	if refused == nil && certificate != "" && certificate != presented(r) {
		refused = &fault{http.StatusUnauthorized, "invalid_token"}
	}
	if refused != nil {
		return nil, refused
	}
	return map[string]any{
		"sub": g.subject, "name": strings.ToUpper(g.subject[:1]) + g.subject[1:] + " Example",
		"email": g.subject + "@example.com", "email_verified": true,
	}, nil
}

// RevokeAccessTokens makes the provider refuse all access tokens issued so far.
func (p *Provider) RevokeAccessTokens() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.access)
}

// revoke serves the revocation endpoint (RFC 7009).
func (p *Provider) revoke(r *http.Request) (map[string]any, *fault) {
	if refused := p.authenticate(r); refused != nil {
		return nil, refused
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, issued := range []map[string]*grant{p.access, p.refresh} {
		if g := issued[r.PostForm.Get("token")]; g != nil {
			g.revoked = true
		}
	}
	return map[string]any{}, nil
}

// endSession serves the logout endpoint (OpenID Connect RP-Initiated Logout 1.0).
func (p *Provider) endSession(w http.ResponseWriter, r *http.Request) {
	target, err := url.Parse(r.Form.Get("post_logout_redirect_uri"))
	if err != nil || !target.IsAbs() {
		Body(http.StatusOK, "text/plain", "You are signed out.")(w, r)
		return
	}
	query := target.Query()
	if state := r.Form.Get("state"); state != "" {
		query.Set("state", state)
	}
	target.RawQuery = query.Encode()
	http.Redirect(w, r, target.String(), http.StatusSeeOther)
}

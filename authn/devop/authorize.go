package devop

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// authorization is an authorization request (OpenID Connect Core 1.0 section 3.1.2.1).
type authorization struct {
	values       url.Values
	client       Client
	redirectURI  string
	responseMode string // query or form_post
	signed       bool   // whether the response is signed
	scope        []string
	api          string // that the access token is for; "" for the provider alone
	prompt       []string
	maxAge       time.Duration // -1: any
	hint         string        // sub of the ID token hint
}

func supportedResponseModes() []string {
	return []string{"query", "form_post", "jwt", "query.jwt", "form_post.jwt"}
}

func supportedPrompts() []string { return []string{"none", "login", "select_account", "consent"} }

// authorize answers an authorization request: immediately if the browser is already signed
// in to the provider, otherwise with the sign-in page.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	values, err := readForm(r)
	if err != nil {
		p.refuseForm(w, r, err)
		return
	}
	if values.Has("request_uri") {
		pushed, ok := p.pushedRequest(values)
		if !ok {
			p.refuse(w, r, "The request_uri is unknown, already used, older than 90 seconds, or another client's.")
			return
		}
		values = pushed
	} else if values, err = p.openRequest(values); err != nil {
		p.refuse(w, r, err.Error())
		return
	}
	a, reason := p.redirectTarget(values)
	if reason != "" {
		p.refuse(w, r, reason)
		return
	}
	if err := p.readAuthorization(a); err != nil {
		p.answerError(w, r, a, err)
		return
	}
	if err := p.refusal(); err != nil {
		p.answerError(w, r, a, err)
		return
	}
	signedIn, ok := p.currentSession(r)
	if ok {
		_, ok = p.records.person(signedIn.Subject)
	}
	switch ok = ok && a.acceptsSession(signedIn, p.now()); {
	case ok:
		p.answerCode(w, r, a, signedIn)
	case slices.Contains(a.prompt, "none"):
		p.answerError(w, r, a, fail("login_required", "no suitable person is signed in to the provider in this browser"))
	default:
		id := p.records.addRequest(request{Client: a.client.ID, Values: values, Expires: p.now().Add(signInTTL)})
		p.page(w, r, http.StatusOK, signInPage(p.signInProps(id, a)))
	}
}

// redirectTarget finds the client and checks the redirect URI. Until both are known, there
// is nowhere to send an error (RFC 6749 section 4.1.2.1), so it returns the reason for
// refusing the request, or "".
func (p *Provider) redirectTarget(values url.Values) (*authorization, string) {
	if len(values["client_id"]) != 1 {
		return nil, "The authorization request needs exactly one client_id."
	}
	client, ok := p.client(values.Get("client_id"))
	if !ok {
		return nil, "No client is registered with this client_id."
	}
	if len(values["redirect_uri"]) != 1 {
		return nil, "The authorization request needs exactly one redirect_uri."
	}
	// RFC 9700 section 2.1: compare redirect URIs as exact strings.
	if !slices.Contains(client.RedirectURIs, values.Get("redirect_uri")) {
		return nil, "The redirect_uri is not registered for this client. It must match a registered one exactly."
	}
	mode, signed := signedMode(values.Get("response_mode"))
	return &authorization{values: values, client: client, redirectURI: values.Get("redirect_uri"), responseMode: mode, signed: signed}, ""
}

// readAuthorization checks the rest of the request. Its errors go to the client.
func (p *Provider) readAuthorization(a *authorization) error {
	if err := checkSingle(a.values); err != nil {
		return err
	}
	v := a.values
	switch {
	case len(v.Encode()) > maxRequest:
		return fail("invalid_request", "the request is too long")
	case v.Has("request"):
		return fail("request_not_supported", "request objects are not supported")
	case v.Has("registration"):
		return fail("registration_not_supported", "the registration parameter is not supported")
	case v.Get("response_type") == "":
		return fail("invalid_request", "response_type is missing")
	case v.Get("response_type") != "code":
		return fail("unsupported_response_type", "response_type must be code")
	case v.Has("response_mode") && !slices.Contains(supportedResponseModes(), v.Get("response_mode")):
		return fail("invalid_request", "response_mode is none of the supported ones")
	}
	if err := checkChallenge(v); err != nil {
		return err
	}
	if err := a.readScope(); err != nil {
		return err
	}
	return p.readInteraction(a)
}

// readScope reads the scopes and the API that they are for. Scopes that the provider does not know
// are those of the API. Without an API they are unknown, and ignored (OpenID Connect Core 1.0 section
// 3.1.2.1).
func (a *authorization) readScope() (err error) {
	if a.api, err = readAPI(a.values); err != nil {
		return err
	}
	for scope := range strings.FieldsSeq(a.values.Get("scope")) {
		switch {
		case !isScope(scope):
			return fail("invalid_scope", "a scope contains a character that RFC 6749 section 3.3 does not allow")
		case (a.api != "" || slices.Contains(supportedScopes(), scope)) && !slices.Contains(a.scope, scope):
			a.scope = append(a.scope, scope)
		}
	}
	if !slices.Contains(a.scope, "openid") {
		return fail("invalid_scope", "scope must include openid")
	}
	return nil
}

// isScope checks the syntax of RFC 6749 section 3.3.
func isScope(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' })
}

// readAPI returns the API that an access token is requested for, or "": audience, as Auth0 names it, or
// the first resource (RFC 8707 section 2), each of which is an absolute URI without a fragment.
func readAPI(v url.Values) (string, error) {
	if v.Get("resource") != "" && v.Get("audience") != "" {
		return "", fail("invalid_request", "the request has both an audience and a resource")
	}
	for _, resource := range v["resource"] {
		if u, err := url.Parse(resource); resource != "" && (err != nil || !u.IsAbs() || strings.Contains(resource, "#")) {
			return "", fail("invalid_target", "resource is not an absolute URI without a fragment")
		}
	}
	return cmp.Or(v.Get("resource"), v.Get("audience")), nil
}

// checkChallenge requires PKCE with S256 from every client (RFC 9700 section 2.1.1, RFC
// 7636 section 4.3).
func checkChallenge(v url.Values) error {
	challenge, err := base64.RawURLEncoding.Strict().DecodeString(v.Get("code_challenge"))
	switch {
	case v.Get("code_challenge") == "":
		return fail("invalid_request", "code_challenge is missing: PKCE is required")
	case v.Get("code_challenge_method") != "S256":
		return fail("invalid_request", "code_challenge_method must be S256")
	case err != nil || len(challenge) != 32:
		return fail("invalid_request", "code_challenge is not a base64url-encoded SHA-256 hash")
	}
	return nil
}

// readInteraction reads the parameters that decide whether the person sees the sign-in
// page.
func (p *Provider) readInteraction(a *authorization) error {
	a.prompt = strings.Fields(a.values.Get("prompt"))
	for _, prompt := range a.prompt {
		if !slices.Contains(supportedPrompts(), prompt) {
			return fail("invalid_request", "prompt contains an unknown value")
		}
		if prompt == "none" && len(a.prompt) > 1 {
			return fail("invalid_request", "prompt=none cannot be combined with other values")
		}
	}
	a.maxAge = -1
	if raw := a.values.Get("max_age"); raw != "" {
		seconds, err := strconv.ParseUint(raw, 10, 31)
		if err != nil {
			return fail("invalid_request", "max_age must be a number of seconds")
		}
		a.maxAge = time.Duration(seconds) * time.Second
	}
	if raw := a.values.Get("id_token_hint"); raw != "" {
		hint, err := p.readHint(raw)
		if err != nil {
			return fail("invalid_request", "id_token_hint is not an ID token of this provider")
		}
		a.hint = hint.Subject
	}
	return nil
}

// acceptsSession reports whether s satisfies the request, so that the person need not sign
// in again.
func (a *authorization) acceptsSession(s session, now time.Time) bool {
	switch {
	case len(a.prompt) > 0 && a.prompt[0] != "none":
		return false
	case a.maxAge == 0 || (a.maxAge > 0 && now.Sub(s.AuthTime) > a.maxAge):
		return false
	}
	return a.hint == "" || a.hint == s.Subject
}

// answerCode sends an authorization code to the client.
func (p *Provider) answerCode(w http.ResponseWriter, r *http.Request, a *authorization, s session) {
	acr, _, _ := strings.Cut(a.values.Get("acr_values"), " ")
	code := p.records.addGrant(grant{
		Client: a.client.ID, Subject: s.Subject, SID: s.SID, AuthTime: s.AuthTime,
		Scope: a.scope, Audience: a.api, ACR: acr, Nonce: a.values.Get("nonce"),
		Organization: a.values.Get("organization"), RedirectURI: a.redirectURI, Challenge: a.values.Get("code_challenge"),
	})
	p.cfg.Log.Info("development provider: signed in", "sub", s.Subject, "client", a.client.ID)
	p.answer(w, r, a, url.Values{"code": {code}})
}

// answerError sends an error to the client.
func (p *Provider) answerError(w http.ResponseWriter, r *http.Request, a *authorization, err error) {
	e, ok := err.(oauthError)
	if !ok {
		e = oauthError{"server_error", "see the provider's log"}
	}
	p.cfg.Log.Warn("development provider: authorization refused", "client", a.client.ID, "error", err)
	p.answer(w, r, a, url.Values{"error": {e.Code}, "error_description": {e.Description}})
}

// answer sends an authorization response. Every response carries iss (RFC 9207 section 2)
// and the request's state, unchanged.
func (p *Provider) answer(w http.ResponseWriter, r *http.Request, a *authorization, values url.Values) {
	values.Set("iss", p.cfg.Issuer)
	if state := a.values["state"]; len(state) == 1 && state[0] != "" {
		values.Set("state", state[0])
	}
	if p.workbench.happens(faultState) {
		values.Set("state", rand.Text())
	}
	if a.signed {
		var err error
		if values, err = p.signResponse(a.client, values); err != nil {
			p.cfg.Log.Error("development provider: response not signed", "error", err)
			http.Error(w, "The response cannot be signed.", http.StatusInternalServerError)
			return
		}
	} else {
		p.workbench.happens(faultResponse) // nothing to forge
	}
	if a.responseMode == "form_post" {
		// OAuth 2.0 Form Post Response Mode section 2. This provider serves the page's
		// script.
		w.Header().Set("Content-Security-Policy", p.csp+"; script-src 'self'")
		p.page(w, r, http.StatusOK, formPostPage(p.frame(), a.redirectURI, values))
		return
	}
	// RFC 9700 section 4.12: never use 307, which would repeat a POST.
	redirect(w, a.redirectURI, values)
}

// redirect sends the browser to uri with values added to its query.
func redirect(w http.ResponseWriter, uri string, values url.Values) {
	if len(values) > 0 {
		separator := "?"
		if strings.Contains(uri, "?") {
			separator = "&"
		}
		uri += separator + values.Encode()
	}
	w.Header().Set("Location", uri)
	w.WriteHeader(http.StatusSeeOther)
}

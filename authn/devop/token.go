package devop

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// token serves the token endpoint (RFC 6749 section 3.2).
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	client, values, err := p.authenticate(r)
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	bound, err := p.confirm(w, r, client)
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	var answer map[string]any
	switch values.Get("grant_type") {
	case "authorization_code":
		answer, err = p.exchangeCode(r, client, values, bound)
	case "refresh_token":
		answer, err = p.exchangeRefresh(client, values, bound)
	case "client_credentials":
		answer, err = p.clientCredentials(client, values, bound)
	case "":
		err = fail("invalid_request", "grant_type is missing")
	default:
		err = fail("unsupported_grant_type", "grant_type must be authorization_code, refresh_token or client_credentials")
	}
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// authenticate reads a form that a client sent and checks the client's assertion or secret, which must
// be given in exactly one way (RFC 6749 section 2.3), or the certificate if there is neither.
func (p *Provider) authenticate(r *http.Request) (Client, url.Values, error) {
	values, err := readForm(r)
	if err != nil {
		return Client{}, nil, err
	}
	if err := checkSingle(values); err != nil {
		return Client{}, nil, err
	}
	if values.Has("client_assertion") {
		client, err := p.checkAssertion(r, values)
		return client, values, err
	}
	id, secret := values.Get("client_id"), values.Get("client_secret")
	if r.Header.Get("Authorization") != "" {
		user, password, ok := r.BasicAuth()
		user, errID := url.QueryUnescape(user)
		password, errSecret := url.QueryUnescape(password)
		switch {
		case !ok || errID != nil || errSecret != nil:
			return Client{}, nil, fail("invalid_client", "the Authorization header cannot be parsed")
		case values.Has("client_secret"):
			return Client{}, nil, fail("invalid_request", "the client used two authentication methods")
		case id != "" && id != user:
			return Client{}, nil, fail("invalid_request", "client_id differs from the client that authenticated")
		}
		id, secret = user, password
	} else if !values.Has("client_secret") && presented(r) != "" {
		client, err := p.checkCertificate(r, id)
		return client, values, err
	}
	client, ok := p.client(id)
	// Compare hashes, so that the timing does not reveal the secret's length.
	want, got := sha256.Sum256([]byte(client.Secret)), sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 || !ok || client.Secret == "" {
		return Client{}, nil, fail("invalid_client", "unknown client or wrong secret")
	}
	return client, values, nil
}

// exchangeCode exchanges an authorization code for tokens (RFC 6749 section 4.1.3). Even a
// code that fails a check is spent.
func (p *Provider) exchangeCode(r *http.Request, client Client, v url.Values, bound confirmation) (map[string]any, error) {
	code := v.Get("code")
	if code == "" {
		return nil, fail("invalid_request", "code is missing")
	}
	g, err := p.records.redeemCode(code, client.ID)
	if err != nil {
		return nil, err
	}
	if err := g.checkRedeem(v); err != nil {
		return nil, err
	}
	refresh := ""
	if slices.Contains(g.Scope, "offline_access") {
		if refresh, err = p.records.firstRefresh(code); err != nil {
			return nil, err
		}
	}
	if p.workbench.happens(faultSlow) {
		p.delay(r)
	}
	return p.issue(p.spoiled(tokens{grant: g, scope: g.Scope, source: code, refresh: refresh, nonce: g.Nonce, bound: bound, at: p.now()}))
}

// checkRedeem compares a token request with the authorization request.
func (g grant) checkRedeem(v url.Values) error {
	if v.Get("redirect_uri") != g.RedirectURI {
		return fail("invalid_grant", "redirect_uri differs from that of the authorization request")
	}
	if !isVerifier(v.Get("code_verifier")) {
		return fail("invalid_grant", "code_verifier is missing or malformed")
	}
	sum := sha256.Sum256([]byte(v.Get("code_verifier")))
	challenge := base64.RawURLEncoding.EncodeToString(sum[:])
	if subtle.ConstantTimeCompare([]byte(challenge), []byte(g.Challenge)) != 1 { // RFC 7636 section 4.6
		return fail("invalid_grant", "code_verifier does not match the code_challenge")
	}
	return nil
}

// isVerifier checks the syntax of RFC 7636 section 4.1.
func isVerifier(s string) bool {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
	return len(s) >= 43 && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(allowed, r) })
}

// exchangeRefresh exchanges a refresh token for new tokens (RFC 6749 section 6), including
// a new refresh token (RFC 9700 section 4.14.2). The request may name another API than the sign-in did
// (RFC 8707 section 2.2), and the access token is for that one alone.
func (p *Provider) exchangeRefresh(client Client, v url.Values, bound confirmation) (map[string]any, error) {
	if v.Get("refresh_token") == "" {
		return nil, fail("invalid_request", "refresh_token is missing")
	}
	if p.workbench.happens(faultRefresh) {
		return nil, errGrant
	}
	api, err := readAPI(v)
	if err != nil {
		return nil, err
	}
	scope := strings.Fields(v.Get("scope"))
	g, next, err := p.records.rotateRefresh(v.Get("refresh_token"), client.ID, func(g grant) error {
		for _, s := range scope {
			if !slices.Contains(g.Scope, s) {
				return fail("invalid_scope", "scope exceeds what was granted")
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(scope) == 0 {
		scope = g.Scope
	}
	g.Audience = cmp.Or(api, g.Audience)
	// OpenID Connect Core 1.0 section 12.2: a refreshed ID token has no nonce.
	return p.issue(tokens{grant: g, scope: scope, source: next, refresh: next, bound: bound, at: p.now()})
}

// clientCredentials gives a client an access token for itself (RFC 6749 section 4.4), for
// the API and with the scope that it names. The subject has the form that Auth0 uses.
// Clients that people sign in to cannot use this grant.
func (p *Provider) clientCredentials(client Client, v url.Values, bound confirmation) (map[string]any, error) {
	switch {
	case len(client.RedirectURIs) > 0:
		return nil, fail("unauthorized_client", "a client that people sign in to cannot use client_credentials")
	case v.Get("audience") == "":
		return nil, fail("invalid_request", "audience is missing")
	}
	scope := strings.Fields(v.Get("scope"))
	access, err := p.accessToken(grant{
		Client: client.ID, Subject: client.ID + "@clients", Audience: v.Get("audience"),
	}, scope, bound)
	if err != nil {
		return nil, errors.Join(errServer, err)
	}
	return map[string]any{
		"access_token": access, "token_type": tokenType(bound), "expires_in": int(tokenTTL.Seconds()), "scope": strings.Join(scope, " "),
	}, nil
}

// tokens is what a token response is made from.
type tokens struct {
	grant  grant
	scope  []string
	source string // the code or refresh token that the access token is issued for
	// refresh and nonce are omitted if empty.
	refresh, nonce string
	bound          confirmation // of the access token
	at             time.Time    // when the ID token is issued
}

// spoiled applies the active faults to t.
func (p *Provider) spoiled(t tokens) tokens {
	if p.workbench.happens(faultNonce) {
		t.nonce = rand.Text()
	}
	if p.workbench.happens(faultBearer) {
		t.bound.Key = ""
	}
	if p.workbench.happens(faultExpired) {
		t.at = t.at.Add(-tokenTTL - time.Hour)
	}
	return t
}

// issue makes the token response (OpenID Connect Core 1.0 section 3.1.3.3).
func (p *Provider) issue(t tokens) (map[string]any, error) {
	g, scope := t.grant, t.scope
	person, ok := p.records.person(g.Subject)
	if !ok {
		return nil, errGrant
	}
	now := p.now()
	access, err := p.accessToken(g, scope, t.bound)
	if err != nil {
		return nil, errors.Join(errServer, err)
	}
	if err := p.records.addAccess(t.source, access, accessToken{Scope: scope, Bound: t.bound, Expires: now.Add(tokenTTL)}); err != nil {
		return nil, err
	}
	answer := map[string]any{
		"access_token": access,
		"token_type":   tokenType(t.bound),
		"expires_in":   int(tokenTTL.Seconds()),
		"scope":        strings.Join(scope, " "),
	}
	if t.refresh != "" {
		answer["refresh_token"] = t.refresh
	}
	if !slices.Contains(scope, "openid") { // a refresh can request a narrower scope
		return answer, nil
	}
	claims := person.claims(scope)
	claims["iss"], claims["sub"], claims["aud"] = p.cfg.Issuer, g.Subject, g.Client
	claims["iat"], claims["exp"] = t.at.Unix(), t.at.Add(tokenTTL).Unix()
	claims["auth_time"], claims["sid"] = g.AuthTime.Unix(), g.SID
	claims["amr"] = []string{"user"} // RFC 8176 section 2: someone was present, and proved nothing
	claims["at_hash"] = leftHalf(access)
	if t.nonce != "" {
		claims["nonce"] = t.nonce
	}
	if g.ACR != "" {
		claims["acr"] = g.ACR
	}
	addOrganization(claims, g.Organization)
	if answer["id_token"], err = p.sign("JWT", claims); err != nil {
		return nil, errors.Join(errServer, err)
	}
	return answer, nil
}

// tokenType returns the type of an access token (RFC 6750 section 6.1.1, RFC 9449 section 5). One that is
// bound to a certificate alone is a bearer token (RFC 8705 section 3).
func tokenType(bound confirmation) string {
	if bound.Key != "" {
		return "DPoP"
	}
	return "Bearer"
}

// addOrganization asserts that the person belongs to the requested organization, as Auth0
// does: by id, or by lower-case name.
func addOrganization(claims map[string]any, asked string) {
	switch {
	case strings.HasPrefix(asked, "org_"):
		claims["org_id"] = asked
	case asked != "":
		claims["org_name"] = strings.ToLower(asked)
	}
}

// accessToken makes an access token: a JWT if the client named an API (RFC 9068 section 2),
// otherwise a random string for userinfo.
func (p *Provider) accessToken(g grant, scope []string, bound confirmation) (string, error) {
	if g.Audience == "" {
		return rand.Text(), nil
	}
	now, audience := p.now(), []string{g.Audience}
	if slices.Contains(scope, "openid") {
		audience = append(audience, p.url("/userinfo"))
	}
	claims := map[string]any{
		"iss": p.cfg.Issuer, "sub": g.Subject, "aud": audience, "client_id": g.Client,
		"iat": now.Unix(), "exp": now.Add(tokenTTL).Unix(), "jti": rand.Text(),
		"scope": strings.Join(scope, " "),
	}
	if bound != (confirmation{}) {
		claims["cnf"] = bound
	}
	if !g.AuthTime.IsZero() {
		claims["auth_time"] = g.AuthTime.Unix()
	}
	if g.ACR != "" {
		claims["acr"] = g.ACR
	}
	return p.sign("at+jwt", claims)
}

// revoke serves the revocation endpoint (RFC 7009 section 2). Revoking an unknown token
// succeeds.
func (p *Provider) revoke(w http.ResponseWriter, r *http.Request) {
	client, values, err := p.authenticate(r)
	if err == nil && values.Get("token") == "" {
		err = fail("invalid_request", "token is missing")
	}
	if err == nil {
		err = p.records.revoke(values.Get("token"), client.ID)
	}
	if err != nil {
		p.writeError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

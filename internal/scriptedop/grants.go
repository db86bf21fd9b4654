package scriptedop

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	accessTokenLifetime = time.Hour
	idTokenLifetime     = 5 * time.Minute
	logoutTokenLifetime = 2 * time.Minute
	responseLifetime    = 10 * time.Minute
)

// grant is one sign-in, and what was issued for it.
type grant struct {
	request  url.Values // the authorization request
	subject  string
	sid      string
	authTime time.Time
	// used has the time when each code or refresh token was redeemed. Redeeming one again
	// revokes the grant (RFC 6749 section 4.1.2, RFC 9700 section 4.14).
	used    map[string]time.Time
	revoked bool
	// thumbprint is that of the key that the tokens are bound to; "" for bearer tokens.
	thumbprint string
}

// fault is an OAuth error response (RFC 6749 section 5.2).
type fault struct {
	status int
	code   string
}

// grant starts a grant and returns its code.
func (p *Provider) grant(request url.Values) string {
	p.secret(request.Get("nonce"), request.Get("state"))
	code := p.issue("code")
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = &grant{
		request: request, subject: p.subject, sid: "sid-" + rand.Text(), authTime: p.now(), used: make(map[string]time.Time),
	}
	p.codes[code] = p.last
	return code
}

// issue makes a secret value.
func (p *Provider) issue(kind string) string {
	value := kind + "-" + rand.Text()
	p.secret(value)
	return value
}

// token serves the token endpoint (OpenID Connect Core 1.0 sections 3.1.3 and 12).
func (p *Provider) token(r *http.Request) (map[string]any, *fault) {
	if refused := p.authenticate(r); refused != nil {
		return nil, refused
	}
	thumbprint := ""
	if p.dpop && (r.Header.Get("DPoP") != "" || !p.mixed) {
		var refused *fault
		if thumbprint, refused = p.checkProof(r, Token, p.URL(Token), "", p.nonce(Token)); refused != nil {
			return nil, refused
		}
	}
	invalid := &fault{http.StatusBadRequest, "invalid_grant"}
	if p.aliases() != nil && presented(r) == "" {
		return nil, &fault{http.StatusBadRequest, "invalid_request"} // no token without a certificate to bind it to
	}
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		g := p.redeem(p.codes, r.PostForm.Get("code"), 0)
		if g == nil || r.PostForm.Get("redirect_uri") != g.request.Get("redirect_uri") || !proves(r.PostForm.Get("code_verifier"), g.request.Get("code_challenge")) {
			return nil, invalid
		}
		g.thumbprint = thumbprint
		return p.tokens(g, g.request.Get("nonce"), presented(r)), nil
	case "refresh_token":
		g := p.redeem(p.refresh, r.PostForm.Get("refresh_token"), p.overlap)
		if g == nil || g.thumbprint != thumbprint {
			return nil, invalid
		}
		return p.tokens(g, "", presented(r)), nil
	default:
		return nil, &fault{http.StatusBadRequest, "unsupported_grant_type"}
	}
}

// redeem returns the grant that a code or refresh token belongs to. A value can be redeemed
// once, and again until the overlap has passed.
func (p *Provider) redeem(issued map[string]*grant, value string, overlap time.Duration) *grant {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	g := issued[value]
	if g == nil || g.revoked {
		return nil
	}
	redeemed, used := g.used[value]
	if used && now.Sub(redeemed) >= overlap {
		g.revoked = true
		return nil
	}
	if !used {
		g.used[value] = now
	}
	return g
}

// proves reports whether the verifier matches the challenge (RFC 7636 section 4.6).
func proves(verifier, challenge string) bool {
	if challenge == "" {
		return verifier == ""
	}
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:]) == challenge
}

// tokens issues tokens for a grant. The access token is bound to a certificate, unless its thumbprint is "".
func (p *Provider) tokens(g *grant, nonce, certificate string) map[string]any {
	access := p.issue("access")
	response := map[string]any{
		"access_token": access, "token_type": "Bearer", "expires_in": int(accessTokenLifetime / time.Second),
		"id_token": p.idToken(g, nonce, access), "scope": g.request.Get("scope"),
	}
	if g.thumbprint != "" {
		response["token_type"] = "DPoP"
	}
	refresh := ""
	if slices.Contains(strings.Fields(g.request.Get("scope")), "offline_access") {
		refresh = p.issue("refresh")
		response["refresh_token"] = refresh
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.access[access], p.bound[access] = g, certificate
	if refresh != "" {
		p.refresh[refresh] = g
	}
	return response
}

// authenticate checks the client's credentials: its assertion if it has a key, otherwise
// its secret, in the header or the body but not in both (RFC 6749 section 2.3).
func (p *Provider) authenticate(r *http.Request) *fault {
	invalid := &fault{http.StatusUnauthorized, "invalid_client"}
	p.mu.Lock()
	key, certificate := p.clientKey, p.clientCertificate
	p.mu.Unlock()
	if certificate != nil {
		return p.authenticateByCertificate(r, certificate)
	}
	if key.Private != nil {
		if err := p.verifyAssertion(r, key); err != nil {
			return invalid
		}
		return nil
	}
	id, secret := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	if user, password, ok := r.BasicAuth(); ok {
		if secret != "" {
			return &fault{http.StatusBadRequest, "invalid_request"}
		}
		var err error
		if id, err = url.QueryUnescape(user); err != nil {
			return invalid
		}
		if secret, err = url.QueryUnescape(password); err != nil {
			return invalid
		}
	}
	if id != p.ClientID || secret != p.ClientSecret || r.PostForm.Has("client_assertion") {
		return invalid
	}
	return nil
}

package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"latchkey/authn/openid"
)

// unregistered is an origin that no application can be registered with: nobody has a host of this
// domain (RFC 2606 section 2). The provider's answer to it shows whether its answer to the app's own
// address means anything.
const unregistered = "https://unregistered.invalid"

// maxCode bounds an error code in the report.
const maxCode = 64

// checkClient redeems a code that cannot exist: a provider that accepts the client refuses only the
// code (RFC 6749 section 5.2).
func (e *Examination) checkClient(ctx context.Context, m *openid.Metadata) Finding {
	resp, err := e.provider.Post(ctx, m.TokenEndpoint, url.Values{
		"grant_type": {"authorization_code"}, "code": {"none-" + openid.RandomToken()},
		"redirect_uri": {e.urls.Callback}, "code_verifier": {openid.RandomToken()},
	})
	if err != nil {
		return e.explain("the token endpoint", err, "")
	}
	defer resp.Body.Close()
	var answer struct {
		Error string `json:"error"`
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return e.explain("the token endpoint", err, "")
	}
	_ = json.Unmarshal(body, &answer) // a body that is not JSON has no code
	code, status := openid.Quote(answer.Error, maxCode), resp.StatusCode
	said := fmt.Sprintf("%d %s", status, code)
	switch {
	case status == http.StatusTooManyRequests || status >= 500:
		return failed(Provider, fmt.Sprintf("the token endpoint answered %d", status), "ask again later; if it persists, see the provider's log")
	case code == "invalid_grant":
		e.clientKnown = true
		return ok("the provider accepts the client with %s: it refused only a code that does not exist", e.provider.ClientAuth())
	case code == "unauthorized_client":
		return failed(Configuration, "the provider knows the client, and does not let it redeem codes ("+said+")",
			"allow the authorization code grant for the application at the provider")
	case code == "invalid_client" || status == http.StatusUnauthorized && answer.Error != "": // Auth0 says access_denied
		return failed(Configuration, fmt.Sprintf("the provider does not accept the client with %s (%s)", e.provider.ClientAuth(), said), e.clientRemedy(m))
	case status < 300:
		return warning(Provider, fmt.Sprintf("the provider accepted a code that does not exist (%d), so it would accept any client", status),
			"do not use such a provider for real data")
	}
	return warning(Provider, "inconclusive: the provider answered "+said+" instead of invalid_grant", "sign in once to see whether it accepts the client")
}

// clientRemedy says what the provider may not know about the client.
func (e *Examination) clientRemedy(m *openid.Metadata) string {
	method := e.provider.ClientAuth()
	remedy := "copy AUTH0_CLIENT_ID and AUTH0_CLIENT_SECRET again, whole and from one application"
	if method == openid.PrivateKeyJWT {
		remedy = "register the public key below for the application of AUTH0_CLIENT_ID, under this key id"
	}
	switch method {
	case openid.TLSClientAuth:
		remedy = "register the subject below as tls_client_auth_subject_dn, and have the provider trust the certificate's authority"
	case openid.SelfSignedTLSClientAuth:
		remedy = "register the certificate below for the application of AUTH0_CLIENT_ID"
	}
	if listed := m.TokenEndpointAuthMethods; len(listed) > 0 && !slices.Contains(listed, method) {
		return fmt.Sprintf("set CLIENT_AUTH to one of %.200q, which the provider offers; or %s", strings.Join(listed, ","), remedy)
	}
	return remedy + "; and see that the application is set to " + method + " at the provider"
}

// reply is what a browser gets from the provider.
type reply struct {
	status   int
	location *url.URL // nil if it is no redirect
}

// browse fetches an address as a browser that has never been there, and follows nothing.
func (e *Examination) browse(ctx context.Context, address string) (reply, error) {
	resp, err := e.provider.Get(ctx, address)
	if err != nil {
		return reply{}, err
	}
	resp.Body.Close()
	r := reply{status: resp.StatusCode}
	if location, err := resp.Location(); err == nil && resp.StatusCode < 400 {
		r.location = location
	}
	return r, nil
}

// leadsTo reports whether the reply redirects to an address, with any query. An origin alone has the
// path "/" (RFC 3986 section 6.2.3), which some providers write.
func (r reply) leadsTo(address string) bool {
	u, err := url.Parse(address)
	return err == nil && r.location != nil && r.location.Scheme == u.Scheme && r.location.Host == u.Host && cmp.Or(r.location.Path, "/") == cmp.Or(u.Path, "/")
}

// refuses reports whether the reply is an error, by its status or by a redirect to the provider's own
// error page.
func (r reply) refuses() bool {
	if r.status >= 400 {
		return true
	}
	if r.location == nil {
		return false
	}
	query := r.location.Query()
	return query.Has("error") || query.Has("authError") || slices.Contains(strings.Split(r.location.Path, "/"), "error")
}

// overloaded reports whether the provider could not answer.
func (r reply) overloaded() bool { return r.status >= 500 || r.status == http.StatusTooManyRequests }

// authorize sends a silent authorization request with a redirect URI. The response goes to that
// address, if the provider knows it.
func (e *Examination) authorize(ctx context.Context, redirectURL string) (reply, error) {
	location, err := e.provider.AuthorizationURL(ctx, openid.AuthorizationRequest{
		State: openid.RandomToken(), Nonce: openid.RandomToken(), Verifier: openid.RandomToken(),
		Silent: true, RedirectURL: redirectURL,
	})
	if status, refused := statusOf(err); refused { // of the pushed request
		return reply{status: status}, nil
	}
	if err != nil {
		return reply{}, err
	}
	return e.browse(ctx, location)
}

// checkCallback checks whether the provider knows the redirect URI. A provider must not redirect to
// one that it does not know (RFC 6749 section 3.1.2.4).
func (e *Examination) checkCallback(ctx context.Context, m *openid.Metadata) Finding {
	if e.provider.Pushes(m) && m.PushedAuthorizationRequestEndpoint == "" {
		return skipped("no authorization request can be made: the provider accepts no pushed request")
	}
	address := e.urls.Callback
	r, err := e.authorize(ctx, address)
	switch {
	case err != nil:
		return e.explain("the authorization endpoint", err, "")
	case r.leadsTo(address):
		code := r.location.Query().Get("error")
		if e.provider.SignedResponses() {
			response, err := e.provider.AuthorizationResponse(ctx, r.location.Query())
			if err != nil {
				return failed(Configuration, "the provider knows "+address+", and its response cannot be used: "+err.Error(),
					"have the provider sign authorization responses for this client, with an algorithm of AUTHORIZATION_SIGNED_RESPONSE_ALG or ID_TOKEN_ALG; or set RESPONSE_MODE to query")
			}
			code = response.ErrorCode()
		}
		e.response = cmp.Or(code, "none")
		if other, err := e.authorize(ctx, unregistered+"/callback"); err == nil && other.leadsTo(unregistered+"/callback") {
			return warning(Configuration, "the provider sends authorization responses to any address",
				"register one address alone, "+address+", as "+e.provider.Preset().CallbackName())
		}
		return ok("the provider knows %s", address)
	case r.overloaded():
		return failed(Provider, fmt.Sprintf("the authorization endpoint answered %d", r.status), "ask again later; if it persists, see the provider's log")
	}
	registered := address + " at the provider, to the letter, as " + e.provider.Preset().CallbackName()
	remedy := "register " + registered
	if r.refuses() {
		found := fmt.Sprintf("the provider does not know %s (it answered %d and did not go there)", address, r.status)
		if !e.clientKnown {
			found = fmt.Sprintf("the provider does not know %s, or not the client id (it answered %d and did not go there)", address, r.status)
			remedy += "; and see that AUTH0_CLIENT_ID is that of the application"
		}
		return failed(Configuration, found, remedy)
	}
	if other, err := e.authorize(ctx, unregistered+"/callback"); err == nil && other.refuses() && !other.overloaded() {
		return ok("the provider knows %s: it refuses another (%d) and not this one (%d)", address, other.status, r.status)
	}
	return warning(Configuration, "inconclusive: the provider answers alike whatever the address", "look for "+registered)
}

// checkAuthorizationRequest examines the error in the response that checkCallback has received. Nobody
// is signed in there, so the only expected error is one that says so.
func (e *Examination) checkAuthorizationRequest(context.Context, *openid.Metadata) Finding {
	code := openid.Quote(e.response, maxCode)
	said := "the provider refuses the authorization request (" + code + ")"
	switch {
	case e.response == "":
		return skipped("the provider sent no authorization response")
	case e.response == "none":
		return ok("the provider accepts it, and signs someone in without asking")
	}
	switch code {
	case "login_required", "interaction_required", "account_selection_required", "consent_required":
		return ok("the provider accepts it, and needs someone to sign in (%s)", code)
	case "invalid_scope":
		return failed(Configuration, said, "ask in AUTH0_SCOPES only for what the provider lets this application have")
	case "invalid_target":
		return failed(Configuration, said, "set AUTH0_AUDIENCE to the identifier of an API that the provider knows, or remove it")
	case "unauthorized_client", "unsupported_response_type":
		return failed(Configuration, said, "allow the authorization code flow for the application at the provider")
	case "server_error", "temporarily_unavailable":
		return failed(Provider, said, "ask again later; if it persists, see the provider's log")
	case "access_denied":
		return failed(Configuration, said, "see that AUTH0_AUDIENCE and AUTH0_SCOPES are known at the provider and granted to the application; its log says more")
	}
	return warning(Provider, said+", which may be for prompt=none", "sign in once; if that fails too, the provider's log says why")
}

// checkSignOut checks whether the provider knows where the browser comes back to after a sign-out
// (OpenID Connect RP-Initiated Logout 1.0 section 3). Nobody is signed in there, so nobody is signed
// out.
func (e *Examination) checkSignOut(ctx context.Context, m *openid.Metadata) Finding {
	address := e.urls.SignedOut
	request, _ := e.provider.EndSessionURL(openid.EndSessionRequest{ReturnTo: address})
	if request == "" {
		return warning(Provider, "the provider has no end_session_endpoint: people stay signed in there when they sign out here",
			"there is nothing to register; the page after sign-out tells them")
	}
	r, err := e.browse(ctx, request)
	switch {
	case err != nil:
		return e.explain("the end-session endpoint", err, "")
	case r.overloaded():
		return failed(Provider, fmt.Sprintf("the end-session endpoint answered %d", r.status), "ask again later; if it persists, see the provider's log")
	case r.refuses():
		return e.explainSignOutRefusal(ctx, m, r)
	}
	other := e.signOut(ctx, unregistered+"/signed-out")
	registered := address + " at the provider, to the letter, as " + e.provider.Preset().SignOutName()
	switch {
	case other.leadsTo(unregistered + "/signed-out"):
		return warning(Configuration, "the provider sends people to any address after a sign-out", "register one address alone, "+address+", as "+e.provider.Preset().SignOutName())
	case r.leadsTo(address):
		return ok("the provider knows %s", address)
	case other.refuses():
		return ok("the provider knows %s: it refuses another (%d) and not this one (%d)", address, other.status, r.status)
	}
	return warning(Configuration, "inconclusive: the provider answers alike whatever the address", "look for "+registered)
}

// explainSignOutRefusal distinguishes an unknown address from a provider that refuses every request
// without an ID token, as that of an examination is.
func (e *Examination) explainSignOutRefusal(ctx context.Context, m *openid.Metadata, r reply) Finding {
	address := e.urls.SignedOut
	registered := address + " at the provider, to the letter, as " + e.provider.Preset().SignOutName()
	if nowhere := e.signOut(ctx, ""); !nowhere.refuses() {
		return failed(Configuration, fmt.Sprintf("the provider does not know %s (it answered %d)", address, r.status),
			"register "+registered+"; or set AUTH0_LOGOUT_URL to the address of this app that is registered there")
	}
	return warning(Configuration, fmt.Sprintf("inconclusive: the provider refuses a sign-out without a session (%d), whatever the address", r.status), "look for "+registered)
}

// signOut sends a request that signs nobody out, to come back to an address, or to none if it is
// "". No response counts as a refusal.
func (e *Examination) signOut(ctx context.Context, returnTo string) reply {
	request, _ := e.provider.EndSessionURL(openid.EndSessionRequest{ReturnTo: returnTo})
	r, err := e.browse(ctx, request)
	if err != nil {
		return reply{status: http.StatusBadGateway}
	}
	return r
}

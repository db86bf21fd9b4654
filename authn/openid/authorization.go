package openid

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// AuthorizationRequest is what an authorization request asks for, beside what the
// configuration says (OpenID Connect Core 1.0 section 3.1.2.1).
type AuthorizationRequest struct {
	State    string // RFC 6749 section 10.12
	Nonce    string
	Verifier string // of PKCE, RFC 7636 section 4.1
	Demand   Demand
	// Link is the query of the link that starts the sign-in. The hints that a link may give
	// are passed on, and nothing else.
	Link url.Values
	// SwitchAccount asks the provider to let the person choose who signs in, even if it
	// knows who they are.
	SwitchAccount bool
	// Silent asks the provider to answer at once, by redirect and without a page of its own
	// (prompt=none).
	Silent bool
	// RedirectURL is used instead of the configured one unless it is "".
	RedirectURL string
}

// hints are the parameters that a link to the sign-in page may pass on to every provider; a
// preset has more. Everything else in an authorization request is this client's to say: a link
// must not be able to ask for another scope or redirect URI.
var hints = []string{"screen_hint", "login_hint", "connection", "organization", "invitation", "ui_locales"}

// maxHintBytes bounds a hint.
const maxHintBytes = 512

// Hint returns a hint of a link, or "" if it has none or one that is too long.
func Hint(link url.Values, name string) string {
	if value := link.Get(name); len(value) <= maxHintBytes {
		return value
	}
	return ""
}

// AuthorizationURL returns the authorization request as the URL to redirect the browser to. The request
// is pushed first if the provider or the configuration requires it (RFC 9126). The error is an *Error
// with ReasonProviderUnreachable or ReasonProviderMisconfigured.
func (p *Provider) AuthorizationURL(ctx context.Context, request AuthorizationRequest) (string, error) {
	m, err := p.discovery.wait(ctx)
	if err != nil {
		return "", err
	}
	full, err := url.Parse(p.oauth2Config(m).AuthCodeURL(request.State, p.parameters(m, request)...))
	if err != nil {
		return "", refuse(ReasonProviderMisconfigured, "authorization endpoint: %w", err)
	}
	query := full.Query()
	if len(p.cfg.Resources) > 0 {
		query["resource"] = p.cfg.Resources // RFC 8707 section 2.1: once for each API
	}
	if p.Pushes(m) {
		return p.push(ctx, m, query)
	}
	if p.requests != nil {
		if query, err = p.signedRequest(m, query); err != nil {
			return "", err
		}
	}
	full.RawQuery = query.Encode()
	return full.String(), nil
}

func (p *Provider) parameters(m *Metadata, request AuthorizationRequest) []oauth2.AuthCodeOption {
	parameters := []oauth2.AuthCodeOption{oidc.Nonce(request.Nonce), oauth2.S256ChallengeOption(request.Verifier)}
	set := func(name, value string) {
		if value != "" {
			parameters = append(parameters, oauth2.SetAuthURLParam(name, value))
		}
	}
	set("audience", p.cfg.Audience)
	set("redirect_uri", request.RedirectURL)
	if request.Demand.MaxAge > 0 {
		set("max_age", strconv.FormatInt(int64(request.Demand.MaxAge/time.Second), 10))
	}
	set("acr_values", strings.Join(request.Demand.ACR, " "))
	switch {
	case request.Silent:
		set("prompt", "none")
	case request.SwitchAccount:
		set("prompt", p.switchPrompt(m))
	}
	set("response_mode", p.responseMode(request.Silent))
	// Some providers need parameters of their own where the standard has offline_access.
	if slices.Contains(p.cfg.Scopes, "offline_access") && !slices.Contains(m.ScopesSupported, "offline_access") {
		for name := range p.preset.offline {
			set(name, p.preset.offline.Get(name))
		}
	}
	for _, name := range p.preset.passes() {
		set(name, Hint(request.Link, name))
	}
	return parameters
}

// responseMode returns the response mode to ask for, or "" for the default one of the code flow. A
// silent request is answered by redirect.
func (p *Provider) responseMode(silent bool) string {
	switch {
	case silent && p.SignedResponses():
		return "jwt"
	case silent || p.cfg.ResponseMode == "query":
		return ""
	default:
		return p.cfg.ResponseMode
	}
}

// switchPrompt returns the prompt with which a provider asks who signs in (OpenID Connect Core
// 1.0 section 3.1.2.1). select_account asks just that, but not every provider has it, and some
// refuse the whole request for it; login is one that every provider must know (section 15.1).
func (p *Provider) switchPrompt(m *Metadata) string {
	if p.preset.selectsAccount || slices.Contains(m.PromptsSupported, "select_account") {
		return "select_account"
	}
	return "login"
}

// scopes returns the configured scopes. It leaves out offline_access if the provider does not
// offer it: some refuse the whole request for it.
func (p *Provider) scopes(m *Metadata) []string {
	return slices.DeleteFunc(slices.Clone(p.cfg.Scopes), func(scope string) bool {
		return scope == "offline_access" && !slices.Contains(m.ScopesSupported, scope) && !p.preset.mayOfferOffline(m)
	})
}

// mayOfferOffline reports whether the provider may know offline_access because its metadata, which
// need not list scopes (OpenID Connect Discovery 1.0 section 3), lists none.
func (p Preset) mayOfferOffline(m *Metadata) bool {
	return len(m.ScopesSupported) == 0 && p.offline == nil
}

// Pushes reports whether authorization requests are pushed to a provider with this metadata.
func (p *Provider) Pushes(m *Metadata) bool {
	switch p.cfg.PushedAuthorizationRequests {
	case "always":
		return true
	case "never":
		return false
	default:
		return m.RequirePushedAuthorizationRequests
	}
}

// push sends the authorization request to the provider directly and returns the short request
// that the browser carries instead (RFC 9126). If that fails there is no fallback to the plain
// request: it would let anyone who can disturb one call take the protection away.
func (p *Provider) push(ctx context.Context, m *Metadata, request url.Values) (string, error) {
	if m.PushedAuthorizationRequestEndpoint == "" {
		return "", refuse(ReasonProviderMisconfigured, "the provider has no pushed authorization request endpoint")
	}
	form := request
	if p.requests != nil {
		// RFC 9126 section 3: nothing else but what authenticates the client is beside it.
		object, err := p.requestObject(request)
		if err != nil {
			return "", err
		}
		form = url.Values{"client_id": {p.cfg.ClientID}, "request": {object}}
	}
	resp, err := p.Post(calling(ctx, "pushed_authorization"), m.PushedAuthorizationRequestEndpoint, form)
	if err != nil {
		return "", refuse(ReasonProviderUnreachable, "pushed authorization request: %w", err)
	}
	switch {
	case resp.StatusCode == http.StatusCreated: // RFC 9126 section 2.2
		resp.StatusCode = http.StatusOK
	case resp.StatusCode >= 400: // section 2.3
		return "", p.pushRefused(resp, request)
	}
	body, err := readJSON(resp)
	if err != nil {
		return "", refuse(ReasonProviderUnreachable, "pushed authorization request: %w", err)
	}
	var pushed struct {
		RequestURI string `json:"request_uri"`
	}
	if err := json.Unmarshal(body, &pushed); err != nil || pushed.RequestURI == "" {
		return "", refuse(ReasonProviderUnreachable, "pushed authorization request: no request_uri in the response")
	}
	location, err := url.Parse(m.AuthorizationEndpoint)
	if err != nil {
		return "", refuse(ReasonProviderMisconfigured, "authorization endpoint: %w", err)
	}
	query := location.Query()
	query.Set("client_id", p.cfg.ClientID)
	query.Set("request_uri", pushed.RequestURI)
	location.RawQuery = query.Encode()
	return location.String(), nil
}

func (p *Provider) pushRefused(resp *http.Response, request url.Values) error {
	defer resp.Body.Close()
	var answer struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = json.NewDecoder(resp.Body).Decode(&answer) // a body that is not JSON has no code
	e := refuse(ReasonProviderUnreachable, "pushed authorization request: %w", &StatusError{Status: resp.StatusCode})
	return e.describe(answer.Error, answer.Description, request.Get("state"), request.Get("nonce"), string(p.cfg.ClientSecret))
}

// AuthorizationResponse is what the provider answers to an authorization request (OpenID
// Connect Core 1.0 section 3.1.2.5).
type AuthorizationResponse struct {
	// State is "" in a response that no request of this client has caused.
	State              string
	code               string
	error, description string // RFC 6749 section 4.1.2.1
	issuer             string
	hasIssuer          bool
}

// HasCode reports whether the response has an authorization code.
func (r AuthorizationResponse) HasCode() bool { return r.code != "" }

// ErrorCode returns the error code of the response, or "".
func (r AuthorizationResponse) ErrorCode() string { return r.error }

// StartsOver reports whether the provider answers that the sign-in has to be started again.
// Keycloak does so if the person has signed in there meanwhile, in another tab, and then
// continues in a tab that the browser has restored (its Constants.AUTHENTICATION_EXPIRED_MESSAGE).
func (r AuthorizationResponse) StartsOver() bool {
	return r.error == "temporarily_unavailable" && r.description == "authentication_expired"
}

// AuthorizationResponse reads the response to an authorization request. If responses are signed, it
// verifies the signature first, and reads nothing else. It refuses a response in which a parameter
// appears twice (RFC 6749 section 3.1): nothing in it can be trusted. The error is an *Error with
// ReasonResponseMalformed, ReasonResponseInvalid, or a reason of Metadata.
func (p *Provider) AuthorizationResponse(ctx context.Context, parameters url.Values) (AuthorizationResponse, error) {
	if p.SignedResponses() {
		signed, err := p.openResponse(ctx, parameters)
		if err != nil {
			return AuthorizationResponse{}, err
		}
		parameters = signed
	}
	for _, name := range []string{"state", "code", "iss", "error"} {
		if len(parameters[name]) > 1 {
			return AuthorizationResponse{}, refuse(ReasonResponseMalformed, "%s appears more than once", name)
		}
	}
	return AuthorizationResponse{
		State: parameters.Get("state"), code: parameters.Get("code"),
		error: parameters.Get("error"), description: parameters.Get("error_description"),
		issuer: parameters.Get("iss"), hasIssuer: parameters.Has("iss"),
	}, nil
}

// Code returns the authorization code of a response, once the response is known to belong to
// a request of this client. The error is an *Error with ReasonIssuerMismatch, ReasonResponseMalformed or
// ReasonDeclined, or a reason of Metadata.
func (p *Provider) Code(ctx context.Context, r AuthorizationResponse) (string, error) {
	m, err := p.discovery.wait(ctx)
	if err != nil {
		return "", err
	}
	// RFC 9207 section 2.4: the response must come from the provider that was asked, and a
	// provider that announces iss must send it. Every one that follows FAPI 2.0 does (Security
	// Profile section 5.3.2.2).
	if (r.hasIssuer && r.issuer != p.cfg.Issuer && !p.HasIssuer(r.issuer)) || (!r.hasIssuer && (m.ResponseIssuerSupported || p.cfg.Profile != "")) {
		return "", refuse(ReasonIssuerMismatch, "the response has no iss, or another issuer's")
	}
	switch {
	case (r.code == "") == (r.error == ""):
		return "", refuse(ReasonResponseMalformed, "the response must have exactly one of code and error")
	case r.error != "":
		return "", (&Error{Reason: ReasonDeclined}).describe(r.error, r.description, r.State)
	}
	return r.code, nil
}

// Demand is what a page asks of the sign-in behind a session: that it is recent, or that it
// was made in a certain way. The zero Demand asks for nothing.
type Demand struct {
	// MaxAge is how long ago the person may have authenticated: max_age of OpenID Connect
	// Core 1.0 section 3.1.2.1, in whole seconds. 0 asks for nothing.
	MaxAge time.Duration
	// ACR lists the authentication context classes of which one is needed: acr_values of
	// the same section, the preferred first.
	ACR []string
}

// Met reports whether a sign-in meets the demand. If the provider does not say when it took
// place, it is not recent.
func (d Demand) Met(i Identity, now time.Time) bool {
	return d.recent(i.AuthTime, now) && d.strong(i.ACR())
}

// recent allows for the clocks' difference as the ID token's other times do.
func (d Demand) recent(authTime, now time.Time) bool {
	if d.MaxAge == 0 {
		return true
	}
	return !authTime.IsZero() && now.Sub(authTime) <= d.MaxAge+Leeway && authTime.Sub(now) <= Leeway
}

func (d Demand) strong(acr string) bool {
	return len(d.ACR) == 0 || slices.Contains(d.ACR, acr)
}

package openid

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Metadata is the part of a provider's discovery document that this package uses (OpenID
// Connect Discovery 1.0 section 3, RFC 8414 section 2). UnmarshalJSON has the members' names.
type Metadata struct {
	Issuer                             string
	AuthorizationEndpoint              string
	TokenEndpoint                      string
	UserInfoEndpoint                   string
	JWKSURI                            string
	EndSessionEndpoint                 string
	RevocationEndpoint                 string
	PushedAuthorizationRequestEndpoint string
	RequirePushedAuthorizationRequests bool
	ResponseIssuerSupported            bool
	ScopesSupported                    []string
	IDTokenAlgorithms                  []string
	PromptsSupported                   []string
	BackchannelLogoutSupported         bool
	BackchannelLogoutSessionSupported  bool
	ChallengeMethods                   []string
	TokenEndpointAuthMethods           []string
	DPoPAlgorithms                     []string
	CertificateBoundAccessTokens       bool
	RequestObjectAlgorithms            []string
	ResponseModes                      []string
	ResponseAlgorithms                 []string

	mtlsAliases map[string]string // by the name of the endpoint; see useAliases
}

// UnmarshalJSON implements json.Unmarshaler. It refuses a document in which a member is not of its
// type if a sign-in depends on it: an address, or what the provider requires or promises to do. An
// informative member of the wrong type counts as absent.
func (m *Metadata) UnmarshalJSON(document []byte) error {
	var members strictClaims // names are case-sensitive, unlike in a struct
	if err := json.Unmarshal(document, &members); err != nil {
		return errors.New("not a JSON object")
	}
	var faults []error
	text := func(name string) string {
		s, err := members.string(name)
		faults = append(faults, err)
		return s
	}
	flag := func(name string) bool {
		b, err := members.bool(name)
		faults = append(faults, err)
		return b
	}
	*m = Metadata{
		Issuer:                             text("issuer"),
		AuthorizationEndpoint:              text("authorization_endpoint"),
		TokenEndpoint:                      text("token_endpoint"),
		UserInfoEndpoint:                   text("userinfo_endpoint"),
		JWKSURI:                            text("jwks_uri"),
		EndSessionEndpoint:                 text("end_session_endpoint"),
		RevocationEndpoint:                 text("revocation_endpoint"),
		PushedAuthorizationRequestEndpoint: text("pushed_authorization_request_endpoint"),
		RequirePushedAuthorizationRequests: flag("require_pushed_authorization_requests"),
		ResponseIssuerSupported:            flag("authorization_response_iss_parameter_supported"),
	}
	m.BackchannelLogoutSupported, _ = members.bool("backchannel_logout_supported")
	m.BackchannelLogoutSessionSupported, _ = members.bool("backchannel_logout_session_supported")
	m.ScopesSupported, _ = stringList(members["scopes_supported"])
	m.IDTokenAlgorithms, _ = stringList(members["id_token_signing_alg_values_supported"])
	m.PromptsSupported, _ = stringList(members["prompt_values_supported"])
	m.ChallengeMethods, _ = stringList(members["code_challenge_methods_supported"])
	m.TokenEndpointAuthMethods, _ = stringList(members["token_endpoint_auth_methods_supported"])
	m.DPoPAlgorithms, _ = stringList(members["dpop_signing_alg_values_supported"])
	m.RequestObjectAlgorithms, _ = stringList(members["request_object_signing_alg_values_supported"])
	m.ResponseModes, _ = stringList(members["response_modes_supported"])
	m.ResponseAlgorithms, _ = stringList(members["authorization_signing_alg_values_supported"])
	m.CertificateBoundAccessTokens, _ = members.bool("tls_client_certificate_bound_access_tokens")
	if members.has("mtls_endpoint_aliases") {
		if err := json.Unmarshal(members["mtls_endpoint_aliases"], &m.mtlsAliases); err != nil {
			faults = append(faults, errors.New("mtls_endpoint_aliases is not an object of addresses"))
		}
	}
	return errors.Join(faults...)
}

// IssuerError means that the provider's issuer is not the configured one.
type IssuerError struct {
	Provider, Configured string

	hint string // of the preset
}

func (e *IssuerError) Error() string {
	text := fmt.Sprintf("the provider calls itself %q, the configuration says %q", e.Provider, e.Configured)
	if remedy := e.Remedy(); remedy != "" {
		text += "; " + remedy
	}
	return text
}

// Remedy says what to look for, or "".
func (e *IssuerError) Remedy() string {
	var hints []string
	if strings.TrimSuffix(e.Provider, "/") == strings.TrimSuffix(e.Configured, "/") {
		hints = append(hints, "the slash at the end counts")
	}
	if e.hint != "" {
		hints = append(hints, e.hint)
	}
	return strings.Join(hints, "; ")
}

// validate checks the document: an issuer that is not exactly the configured one is a mix-up
// or a misspelling (OpenID Connect Discovery 1.0 section 4.3), and an endpoint that is not
// https would be given codes, tokens and the client secret.
func (m *Metadata) validate(cfg Config) error {
	if err := m.checkIssuer(cfg); err != nil {
		return err
	}
	var unproven error
	if cfg.DPoP {
		_, unproven = m.proofAlgorithm()
	}
	return errors.Join(m.checkAlgorithms(cfg.IDTokenAlgorithms), unproven, m.checkEndpoints(cfg))
}

func (m *Metadata) checkIssuer(cfg Config) error {
	want := cmp.Or(cfg.issuerTemplate(), cfg.Issuer)
	if m.Issuer == want {
		return nil
	}
	return &IssuerError{Provider: m.Issuer, Configured: want, hint: cfg.Preset().Hint}
}

// CheckIssuer returns an *IssuerError if metadata is that of another issuer.
func (p *Provider) CheckIssuer(m *Metadata) error { return m.checkIssuer(p.cfg) }

// CheckEndpoints returns an error that joins one for each endpoint that cannot be used.
func (p *Provider) CheckEndpoints(m *Metadata) error { return m.checkEndpoints(p.cfg) }

// Algorithms returns the configured algorithms that the provider says it signs ID tokens with;
// all of them if it does not say. The error says that there is none: every sign-in would fail
// at its end.
func (p *Provider) Algorithms(m *Metadata) ([]string, error) {
	return m.algorithms(p.cfg.IDTokenAlgorithms), m.checkAlgorithms(p.cfg.IDTokenAlgorithms)
}

// algorithms narrows the allowed algorithms. Metadata takes away and never adds: what is
// allowed is for the configuration to say (RFC 8725 section 3.1).
func (m *Metadata) algorithms(allowed []string) []string {
	if len(m.IDTokenAlgorithms) == 0 {
		return allowed
	}
	return slices.DeleteFunc(slices.Clone(allowed), func(alg string) bool { return !slices.Contains(m.IDTokenAlgorithms, alg) })
}

func (m *Metadata) checkAlgorithms(allowed []string) error {
	if len(m.algorithms(allowed)) > 0 {
		return nil
	}
	return fmt.Errorf("the provider signs ID tokens with %.300q, the configuration (ID_TOKEN_ALG) allows %q",
		strings.Join(m.IDTokenAlgorithms, ","), strings.Join(allowed, ","))
}

func (m *Metadata) checkEndpoints(cfg Config) error {
	// A browser goes to those of the front channel, this app calls the others.
	front := endpointRule{plain: strings.HasPrefix(cfg.Issuer, "http://"), hints: cfg.Preset().passes()}
	back := front
	if cfg.BackchannelOrigin != "" {
		back.origin, _ = url.Parse(cfg.BackchannelOrigin) // Faults has parsed it
	}
	endpoints := []struct {
		name, value string
		required    bool
		rule        endpointRule
	}{
		{"authorization_endpoint", m.AuthorizationEndpoint, true, front},
		{"token_endpoint", m.TokenEndpoint, true, back},
		{"jwks_uri", m.JWKSURI, true, back},
		{"userinfo_endpoint", m.UserInfoEndpoint, cfg.UserInfoRequired, back},
		{"end_session_endpoint", m.EndSessionEndpoint, false, front},
		{"revocation_endpoint", m.RevocationEndpoint, false, back},
		{"pushed_authorization_request_endpoint", m.PushedAuthorizationRequestEndpoint, m.RequirePushedAuthorizationRequests, back},
	}
	var faults []error
	for _, e := range endpoints {
		if e.value == "" && !e.required {
			continue
		}
		if err := e.rule.check(e.value); err != nil {
			faults = append(faults, fmt.Errorf("%s %w", e.name, err))
		}
	}
	if cfg.ClientCertificate != nil && strings.HasPrefix(m.TokenEndpoint, "http://") {
		faults = append(faults, errors.New("token_endpoint is not https, and the client has a certificate to present"))
	}
	return errors.Join(faults...)
}

// endpointRule says which endpoints are accepted.
type endpointRule struct {
	plain bool // plain http, on loopback
	// origin is that of the back channel, which some providers name for what this app calls;
	// nil if there is none.
	origin *url.URL
	hints  []string // the parameters that a link may pass on
}

// check accepts an absolute https URL without credentials or fragment; plain http too, on
// loopback, if the issuer itself is plain http; and a URL of the configured back channel.
func (r endpointRule) check(raw string) error {
	if raw == "" {
		return errors.New("is missing")
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return errors.New("is not an absolute URL")
	case u.User != nil || strings.Contains(raw, "#"):
		return errors.New("has credentials or a fragment")
	case u.Scheme == "https", u.Scheme == "http" && r.plain && IsLoopback(u.Hostname()):
	case r.origin != nil && sameOrigin(u, r.origin):
	default:
		return errors.New("is not https")
	}
	// x/oauth2 appends its parameters to the endpoint's own query (RFC 6749 section 3.1
	// allows one), which must not override them.
	own, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("has a query that cannot be read")
	}
	for _, name := range slices.Concat(r.hints, []string{
		"client_id", "redirect_uri", "response_type", "response_mode", "state", "scope", "nonce", "code_challenge",
		"code_challenge_method", "prompt", "max_age", "acr_values", "audience", "request", "request_uri",
	}) {
		if own.Has(name) {
			return fmt.Errorf("has the parameter %s", name)
		}
	}
	return nil
}

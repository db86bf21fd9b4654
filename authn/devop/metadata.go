package devop

import (
	"net/http"
)

// metadata serves the discovery document (OpenID Connect Discovery 1.0 section 3,
// with the members of RFC 8414, RFC 8705, RFC 9126, RFC 9207 and the two logout standards).
func (p *Provider) metadata(w http.ResponseWriter, _ *http.Request) {
	authMethods := []string{"client_secret_basic", "client_secret_post", "private_key_jwt"}
	aliases := make(map[string]string) // RFC 8705 section 5
	if origin := p.cfg.MutualTLSOrigin; origin != "" {
		authMethods = append(authMethods, "tls_client_auth", "self_signed_tls_client_auth")
		aliases["pushed_authorization_request_endpoint"] = origin + p.base + "/par"
		aliases["token_endpoint"] = origin + p.base + "/token"
		aliases["userinfo_endpoint"] = origin + p.base + "/userinfo"
		aliases["revocation_endpoint"] = origin + p.base + "/revoke"
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                p.cfg.Issuer,
		"authorization_endpoint":                p.url("/authorize"),
		"pushed_authorization_request_endpoint": p.url("/par"),
		"token_endpoint":                        p.url("/token"),
		"userinfo_endpoint":                     p.url("/userinfo"),
		"jwks_uri":                              p.url("/jwks"),
		"revocation_endpoint":                   p.url("/revoke"),
		"end_session_endpoint":                  p.url("/end_session"),

		"scopes_supported":         supportedScopes(),
		"claims_supported":         supportedClaims(),
		"response_types_supported": []string{"code"},
		"response_modes_supported": supportedResponseModes(),
		"grant_types_supported":    []string{"authorization_code", "refresh_token", "client_credentials"},
		"prompt_values_supported":  supportedPrompts(),
		"subject_types_supported":  []string{"public"},

		"id_token_signing_alg_values_supported":            []string{p.cfg.SigningAlgorithm},
		"authorization_signing_alg_values_supported":       []string{p.cfg.SigningAlgorithm},
		"token_endpoint_auth_signing_alg_values_supported": clientAlgorithms(),
		"request_object_signing_alg_values_supported":      clientAlgorithms(),
		"dpop_signing_alg_values_supported":                proofAlgorithms(),
		"code_challenge_methods_supported":                 []string{"S256"},
		"token_endpoint_auth_methods_supported":            authMethods,
		"revocation_endpoint_auth_methods_supported":       authMethods,
		"authorization_response_iss_parameter_supported":   true,
		"require_pushed_authorization_requests":            false,
		"claims_parameter_supported":                       false,
		"request_parameter_supported":                      true,
		"request_uri_parameter_supported":                  false,
		"backchannel_logout_supported":                     true,
		"backchannel_logout_session_supported":             true,
		"mtls_endpoint_aliases":                            aliases,
		"tls_client_certificate_bound_access_tokens":       p.cfg.MutualTLSOrigin != "",
	})
}

// jwks serves the public keys: the current one and the previous one.
func (p *Provider) jwks(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, publicKeys(p.records.keys(), p.cfg.SigningAlgorithm))
}

package openid

import (
	"fmt"
	"slices"
	"strings"
)

// The profiles of FAPI 2.0: the Security Profile, and with it Message Signing.
const (
	ProfileFAPI2               = "fapi2"
	ProfileFAPI2MessageSigning = "fapi2-message-signing"
)

// ProfileAlgorithms returns the algorithms that FAPI 2.0 allows (Security Profile section 5.4.1).
func ProfileAlgorithms() []string { return []string{"PS256", "ES256", "EdDSA"} }

// addProfileFaults adds a fault for each setting that falls short of the profile. The sections are
// those of the FAPI 2.0 Security Profile, unless Message Signing is named.
func (c Config) addProfileFaults(f *Faults) {
	if c.Profile == "" {
		return
	}
	f.OneOf("Profile", c.Profile, ProfileFAPI2, ProfileFAPI2MessageSigning)
	demand := func(met bool, field, problem, remedy string) {
		if !met {
			f.Add(field, problem+", which the profile "+c.Profile+" does not allow", remedy)
		}
	}
	allowed := strings.Join(ProfileAlgorithms(), ", ")
	// Section 5.3.2.2: the request is pushed, by a client that has authenticated (5.3.3.1) with a key of its own.
	demand(c.PushedAuthorizationRequests == "always", "PushedAuthorizationRequests", fmt.Sprintf("is %q", c.PushedAuthorizationRequests), "use always")
	demand(c.ClientAuth == PrivateKeyJWT || c.authenticatesByCertificate(), "ClientAuth", fmt.Sprintf("is %q", c.ClientAuth),
		"use "+strings.Join([]string{PrivateKeyJWT, TLSClientAuth, SelfSignedTLSClientAuth}, ", "))
	// Section 5.3.3.1: access tokens are of use to their holder alone.
	demand(c.DPoP || c.ClientCertificate != nil, "DPoP", "is off, so that access tokens would be bearer tokens", "turn it on, or name a client certificate and its key")
	// Section 5.4.1.
	for _, alg := range c.IDTokenAlgorithms {
		demand(slices.Contains(ProfileAlgorithms(), alg), "IDTokenAlgorithms", fmt.Sprintf("has %q", alg), "choose from: "+allowed)
	}
	for _, alg := range c.ResponseAlgorithms {
		demand(slices.Contains(ProfileAlgorithms(), alg), "ResponseAlgorithms", fmt.Sprintf("has %q", alg), "choose from: "+allowed)
	}
	if c.signs() && c.SigningKey != nil {
		if jwk, err := c.signingJWK(); err == nil {
			demand(slices.Contains(ProfileAlgorithms(), jwk.Algorithm), "SigningAlgorithm", fmt.Sprintf("the key signs with %q", jwk.Algorithm),
				"use PS256 with an RSA key, or a P-256 or Ed25519 key")
		}
	}
	// Section 5.2.1: TLS everywhere. Only loopback may do without, for the provider and for this app, whether or
	// not there is a profile.
	demand(!strings.HasPrefix(c.BackchannelOrigin, "http://"), "BackchannelOrigin", "is plain http", "write an https origin")
	if c.Profile == ProfileFAPI2MessageSigning {
		// Message Signing sections 5.3.2 and 5.4.2.
		demand(c.RequestObject, "RequestObject", "is off", "turn it on")
		demand(strings.HasSuffix(c.ResponseMode, "jwt"), "ResponseMode", fmt.Sprintf("is %q", c.ResponseMode), "use jwt, or form_post.jwt on https")
	}
}

// Profile returns the profile that the configuration follows, or "".
func (p *Provider) Profile() string { return p.cfg.Profile }

// ProfileGaps returns what a provider with this metadata lacks for the profile. A feature that the
// metadata does not mention counts as present, unless silence means that the provider lacks it.
func (p *Provider) ProfileGaps(m *Metadata) (gaps []string) {
	demand := func(met bool, gap string) {
		if !met {
			gaps = append(gaps, gap)
		}
	}
	mayHave := func(listed []string, wanted ...string) bool {
		return len(listed) == 0 || slices.ContainsFunc(wanted, func(one string) bool { return slices.Contains(listed, one) })
	}
	algorithm := ""
	if key, ok := p.PublicKey(); ok {
		algorithm = key.Algorithm
	}
	demand(m.PushedAuthorizationRequestEndpoint != "", "pushed authorization requests")
	demand(mayHave(m.TokenEndpointAuthMethods, p.cfg.ClientAuth), "client authentication with "+p.cfg.ClientAuth)
	demand(mayHave(m.IDTokenAlgorithms, ProfileAlgorithms()...), "ID tokens signed with "+strings.Join(ProfileAlgorithms(), ", "))
	demand(mayHave(m.ChallengeMethods, "S256"), "PKCE with S256")
	// RFC 9207 section 3: it is absent unless it is announced. A signed response has the issuer in it.
	demand(m.ResponseIssuerSupported || p.SignedResponses(), "iss in the authorization response")
	if p.cfg.DPoP {
		demand(len(m.DPoPAlgorithms) > 0, "access tokens bound by DPoP")
	} else {
		demand(m.CertificateBoundAccessTokens, "access tokens bound to a certificate")
	}
	if p.SignsRequests() {
		demand(mayHave(m.RequestObjectAlgorithms, algorithm), "request objects signed with "+algorithm)
	}
	if p.SignedResponses() {
		demand(mayHave(m.ResponseModes, p.cfg.ResponseMode), "the response mode "+p.cfg.ResponseMode)
		demand(mayHave(m.ResponseAlgorithms, ProfileAlgorithms()...), "responses signed with "+strings.Join(ProfileAlgorithms(), ", "))
	}
	return gaps
}

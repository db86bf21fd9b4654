package app

import (
	"crypto/rsa"

	"latchkey/authn/openid"
)

// followProfile sets the variables that follow from PROFILE, where the operator has said nothing: neither
// for this provider nor for all of them, whose variables are in set.
func (p *provider) followProfile(set map[string]bool) {
	if p.Profile == "" {
		return
	}
	p.followed = make(map[string]bool)
	follow := func(variable string, change func()) {
		if !p.set[variable] && !set[variable] {
			p.followed[variable] = true
			change()
		}
	}
	follow("PUSHED_AUTHORIZATION_REQUESTS", func() { p.PushedAuthorizationRequests = "always" })
	follow("ID_TOKEN_ALG", func() { p.IDTokenAlgorithms = openid.ProfileAlgorithms() })
	follow("CLIENT_AUTH", func() { p.ClientAuth = openid.PrivateKeyJWT })
	if p.ClientCertFile == "" { // access tokens are bound to the certificate, or else by DPoP
		follow("DPOP", func() { p.DPoP = "on" })
	}
	if p.Profile == openid.ProfileFAPI2MessageSigning {
		follow("REQUEST_OBJECT", func() { p.RequestObject = "on" })
		follow("RESPONSE_MODE", func() { p.ResponseMode = "jwt" })
	}
	if _, isRSA := p.parsedSigningKey.(*rsa.PrivateKey); isRSA {
		follow("CLIENT_SIGNING_ALG", func() { p.SigningAlgorithm = "PS256" }) // and not RS256
	}
}

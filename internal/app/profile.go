package app

import (
	"crypto/rsa"

	"latchkey/authn/openid"
)

// followProfile sets the variables that follow from PROFILE, where the operator has said nothing.
func (c *Config) followProfile() {
	if c.Profile == "" {
		return
	}
	follow := func(variable string, set func()) {
		if !c.set[variable] {
			c.followed[variable] = true
			set()
		}
	}
	follow("PUSHED_AUTHORIZATION_REQUESTS", func() { c.PushedAuthorizationRequests = "always" })
	follow("ID_TOKEN_ALG", func() { c.IDTokenAlgorithms = openid.ProfileAlgorithms() })
	follow("CLIENT_AUTH", func() { c.ClientAuth = openid.PrivateKeyJWT })
	if c.ClientCertFile == "" { // access tokens are bound to the certificate, or else by DPoP
		follow("DPOP", func() { c.DPoP = "on" })
	}
	if c.Profile == openid.ProfileFAPI2MessageSigning {
		follow("REQUEST_OBJECT", func() { c.RequestObject = "on" })
		follow("RESPONSE_MODE", func() { c.ResponseMode = "jwt" })
	}
	if _, isRSA := c.parsedSigningKey.(*rsa.PrivateKey); isRSA {
		follow("CLIENT_SIGNING_ALG", func() { c.SigningAlgorithm = "PS256" }) // and not RS256
	}
}

package authn

import (
	"cmp"
	"encoding/json"
	"net/url"
)

// Registration is something that the provider has to know of this application.
type Registration struct {
	// Name is what the provider calls it; where that is not known, its name in OpenID
	// Connect Dynamic Client Registration 1.0 section 2.
	Name  string `json:"name"`
	Value string `json:"value"`
}

// callbackName is what the provider calls the list of redirect URIs.
func (p preset) callbackName() string { return cmp.Or(p.callbacks, "redirect_uris") }

// signOutName is what it calls the list of addresses that it comes back to after sign-out.
func (p preset) signOutName() string { return cmp.Or(p.signOuts, "post_logout_redirect_uris") }

// ProviderName is that of a known provider, and "" of any other.
func (e *Examination) ProviderName() string { return e.rp.preset.name }

// Registrations are what has to be registered at the provider, in its own words.
// backchannelLogout is where this application takes logout tokens.
func (e *Examination) Registrations(backchannelLogout string) []Registration {
	known := e.rp.preset
	list := []Registration{{known.callbackName(), e.rp.cfg.RedirectURL}}
	if known.name == "" || known.signOuts != "" {
		list = append(list, Registration{known.signOutName(), e.rp.cfg.PostLogoutRedirectURL})
	}
	if m := e.metadata; m != nil && (m.BackchannelLogoutSupported || m.BackchannelLogoutSessionSupported) && !e.outOfReach() {
		list = append(list, Registration{"backchannel_logout_uri", backchannelLogout})
	}
	if e.rp.cfg.ClientAuth == PrivateKeyJWT {
		list = append(list, e.keyRegistrations()...)
	}
	return list
}

// keyRegistrations are the public half of the signing key, and how it is called.
func (e *Examination) keyRegistrations() []Registration {
	jwk, err := e.rp.cfg.signingJWK()
	if err != nil {
		return nil // NewRelyingParty has made a signer of it
	}
	public, err := json.Marshal(jwk.Public())
	if err != nil {
		return nil
	}
	return []Registration{
		{"key id (kid)", jwk.KeyID}, {"token_endpoint_auth_signing_alg", jwk.Algorithm}, {"public key (jwk)", string(public)},
	}
}

// outOfReach reports whether the provider cannot call this application: it is elsewhere,
// and the application on loopback.
func (e *Examination) outOfReach() bool {
	own, err := url.Parse(e.rp.cfg.RedirectURL)
	issuer, issuerErr := url.Parse(e.rp.cfg.Issuer)
	return err == nil && issuerErr == nil && IsLoopback(own.Hostname()) && !IsLoopback(issuer.Hostname())
}

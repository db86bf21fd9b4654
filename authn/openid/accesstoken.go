package openid

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// AccessToken is what an accepted access token says.
type AccessToken struct {
	Issuer, Subject string
	// ClientID is the client that it was issued to: this one, or another.
	ClientID string
	// Scopes are what its holder may do.
	Scopes []string
	// Expires is when it expires, by the provider's clock.
	Expires time.Time
	// Claims are all of its claims.
	Claims Claims
	// Confirmation says which keys it is bound to. The sender has them.
	Confirmation Confirmation
	// Proof is the DPoP proof that came with it; nil with a bearer token.
	Proof *Proof
}

// Profile returns the standard claims of the token's subject. Most access tokens have none.
func (t *AccessToken) Profile() Profile { return Identity{IDToken: t.Claims}.profile() }

// VerifyAccessToken does the checks of RFC 9068 section 4: the token is a JWT of the
// provider's, for Config.Audience and valid now. The provider is not asked, so a revoked token
// is good until it expires.
//
// RFC 9068 requires typ at+jwt. Auth0's own profile, Keycloak and others send JWT, or no typ
// at all, and a token of another kind must not pass for an access token. So such a token needs
// a claim that an ID token and a logout token never have: a scope, or Auth0's gty
// (auth0.com/docs, "Access Token Profiles"), which a program's token has even if no scope was
// granted. Its audience may not be this client itself.
//
// If the token is bound to a key, the sender has to have it, as a DPoP proof (RFC 9449 section
// 4.3) or the certificate of the connection (RFC 8705 section 3) shows. Whether a proof has been
// sent before, and has the right nonce, is for the caller to check.
//
// The error is an *Error with ReasonAccessTokenInvalid, ReasonProofInvalid, ReasonProviderUnreachable or
// ReasonProviderMisconfigured.
func (p *Provider) VerifyAccessToken(ctx context.Context, sent Presented) (*AccessToken, error) {
	if p.cfg.Audience == "" {
		return nil, refuse(ReasonAccessTokenInvalid, "no audience is configured, so no access token is for this application")
	}
	var proof *signedProof
	if sent.DPoP {
		var err error
		if proof, err = p.readProof(sent); err != nil {
			return nil, withReason(ReasonProofInvalid, err)
		}
	}
	signed, err := p.verify(ctx, sent.Token, p.accessTokens)
	if err != nil {
		return nil, err
	}
	t, err := p.readAccessToken(signed)
	if err == nil {
		err = t.checkPossession(proof, sent.Certificate)
	}
	if err != nil {
		return nil, withReason(ReasonAccessTokenInvalid, err)
	}
	if proof != nil {
		// Only now: before, anyone could have this signature computed, with a key of their own.
		if err := proof.verify(); err != nil {
			return nil, withReason(ReasonProofInvalid, err)
		}
		t.Proof = &proof.Proof
	}
	return t, nil
}

func (p *Provider) readAccessToken(signed *signedToken) (*AccessToken, error) {
	c, t := signed.claims, &AccessToken{Issuer: signed.by.issuer, Expires: signed.expires, Claims: signed.payload}
	if !signed.typed {
		if err := p.checkUntypedAccessToken(c); err != nil {
			return nil, err
		}
	}
	var err error
	if t.Subject, err = c.string("sub"); err != nil || !validSubject(t.Subject) {
		return nil, errors.New("sub is missing or not a subject")
	}
	if t.ClientID, err = clientOf(c); err != nil {
		return nil, err
	}
	if t.Confirmation, err = c.confirmation(); err != nil {
		return nil, err
	}
	scope, err := c.string("scope") // RFC 9068 section 2.2.3
	t.Scopes = strings.Fields(scope)
	return t, err
}

// checkUntypedAccessToken checks what a token has instead of the typ of an access token.
func (p *Provider) checkUntypedAccessToken(c strictClaims) error {
	aud, err := c.audience()
	switch {
	case err != nil:
		return err
	case slices.Contains(aud, p.cfg.ClientID):
		return errors.New("aud names this client, as an ID token does, and typ is not at+jwt")
	case !c.has("scope") && !c.has("gty"):
		return errors.New("has neither scope nor gty, and typ is not at+jwt")
	}
	return nil
}

// clientOf returns the client that a token was issued to: client_id (RFC 9068 section 2.2),
// which some providers call azp. If a token has both they must be equal.
func clientOf(c strictClaims) (string, error) {
	id, err := c.string("client_id")
	if err != nil {
		return "", err
	}
	azp, err := c.string("azp")
	switch {
	case err != nil:
		return "", err
	case c.has("client_id") && c.has("azp") && id != azp:
		return "", errors.New("client_id and azp are two clients")
	case id+azp == "":
		return "", errors.New("has neither client_id nor azp")
	case id == "":
		return azp, nil
	}
	return id, nil
}

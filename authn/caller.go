package authn

import (
	"context"
	"time"

	"latchkey/authn/openid"
)

// Caller is who a request to an API comes from: a person who is signed in, or the holder of an
// access token. Exactly one of Session and Token is set.
type Caller struct {
	Session *Session
	Token   *openid.AccessToken
}

// Issuer returns the issuer that identifies the caller.
func (c *Caller) Issuer() string {
	if c.Token != nil {
		return c.Token.Issuer
	}
	return c.Session.Identity.Issuer
}

// Subject returns the Issuer's identifier of the caller. With a token that a client got for
// itself it is the client's.
func (c *Caller) Subject() string {
	if c.Token != nil {
		return c.Token.Subject
	}
	return c.Session.Identity.Subject
}

// Profile returns the standard claims of the caller. Most access tokens have none.
func (c *Caller) Profile() openid.Profile {
	if c.Token != nil {
		return c.Token.Profile()
	}
	return c.Session.Identity.Profile
}

// Claims returns what the provider says of the caller: in the access token, or in the ID token
// and userinfo of the sign-in.
func (c *Caller) Claims() []openid.SourcedClaim {
	if c.Token == nil {
		return c.Session.Claims()
	}
	var list []openid.SourcedClaim
	for _, claim := range c.Token.Claims.List() {
		list = append(list, openid.SourcedClaim{Claim: claim, Source: openid.SourceAccessToken})
	}
	return list
}

// Expires returns when the access token expires or, without one, when the session ends if the person does
// nothing more.
func (c *Caller) Expires() time.Time {
	if c.Token != nil {
		return c.Token.Expires
	}
	return c.Session.IdleUntil
}

// Scopes returns the scopes of the access token: the one that was sent, or the session's.
func (c *Caller) Scopes() []string {
	if c.Token != nil {
		return c.Token.Scopes
	}
	return c.Session.Scopes()
}

// CallerKey is the key of a context's *Caller, for a context type that carries it itself.
type CallerKey struct{}

// CallerFrom returns the caller that a context carries, or nil.
func CallerFrom(ctx context.Context) *Caller {
	c, _ := ctx.Value(CallerKey{}).(*Caller)
	return c
}

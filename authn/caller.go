package authn

import (
	"context"
	"time"
)

// Caller is who a request to an API comes from: a person who is signed in, or whoever
// holds an access token. Exactly one of Session and Token is set.
type Caller struct {
	Session *Session
	Token   *AccessToken
}

// Issuer is who vouches for the caller.
func (c *Caller) Issuer() string {
	if c.Token != nil {
		return c.Token.Issuer
	}
	return c.Session.Identity.Issuer
}

// Subject is who the caller is, by the Issuer's name for them. With a token that a client
// got for itself it is the client.
func (c *Caller) Subject() string {
	if c.Token != nil {
		return c.Token.Subject
	}
	return c.Session.Identity.Subject
}

// Profile is what is known of a person. Most access tokens say nothing of it.
func (c *Caller) Profile() Profile {
	if c.Token != nil {
		return Identity{IDToken: c.Token.Claims}.profile()
	}
	return c.Session.Identity.Profile
}

// Claims are what the provider says of the caller: in the access token, or else in the ID
// token and userinfo of the sign-in.
func (c *Caller) Claims() []SourcedClaim {
	if c.Token == nil {
		return c.Session.Identity.Claims()
	}
	var list []SourcedClaim
	for _, claim := range c.Token.Claims.List() {
		list = append(list, SourcedClaim{claim, SourceAccessToken})
	}
	return list
}

// Expires is when the caller must prove anew who it is.
func (c *Caller) Expires() time.Time {
	if c.Token != nil {
		return c.Token.Expires
	}
	return c.Session.IdleUntil
}

// Scopes are those of the access token: of the one that was sent, or of the one that
// belongs to the session.
func (c *Caller) Scopes() []string {
	if c.Token != nil {
		return c.Token.Scopes
	}
	return c.Session.Scopes()
}

type callerContextKey struct{}

// WithCaller returns a context that carries the caller of a request.
func WithCaller(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerContextKey{}, c)
}

// CallerFrom returns the caller that WithCaller put there, or nil.
func CallerFrom(ctx context.Context) *Caller {
	c, _ := ctx.Value(callerContextKey{}).(*Caller)
	return c
}

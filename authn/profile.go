package authn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"latchkey/authn/openid"
)

const (
	// A session may ask for the profile maxAsked times in askedWindow, and its sign-in counts as the
	// first time. Auth0 allows five userinfo calls a minute per user.
	maxAsked    = 4
	askedWindow = time.Minute
)

// TooSoonError says that the session has asked the provider about its person as often as allowed
// within the last minute.
type TooSoonError struct {
	// Wait is the time until it may be asked again.
	Wait time.Duration
}

func (e *TooSoonError) Error() string { return "authn: the profile was refreshed too often" }

// RefreshProfile asks the provider for the current claims of the session's person, and returns
// the updated session with the changes. It never moves the session's end, and never makes it
// another person's.
//
// On an error the session is as it was, unless the *openid.Error has ReasonSessionEnded. The
// other errors are a *TooSoonError and an *openid.Error with openid.ReasonProviderUnreachable,
// openid.ReasonProviderMisconfigured, ReasonRefreshRefused, ReasonRefreshFailed,
// openid.ReasonUserInfoFailed, openid.ReasonTooLarge or ReasonStoreUnavailable.
func (ts *TokenSource) RefreshProfile(ctx context.Context, session *Session) (*Session, error) {
	begun := ts.now()
	return ts.once(ctx, &ts.profiles, string(session.record.Key[:]), func(ctx context.Context) (*Session, error) {
		return ts.refreshProfile(ctx, session, begun)
	})
}

func (ts *TokenSource) refreshProfile(ctx context.Context, session *Session, begun time.Time) (*Session, error) {
	m, err := ts.provider(session).Metadata(ctx)
	if err != nil {
		return nil, err
	}
	session, err = ts.admit(ctx, session, begun)
	switch {
	case errors.Is(err, errJustRefreshed):
		return session, nil
	case err != nil:
		return nil, err
	}
	session = ts.latest(session)
	if m.UserInfoEndpoint == "" {
		return ts.refreshIDToken(ctx, session)
	}
	known := session.Identity.UserInfo // without what a new ID token will remove
	session, claims, err := ts.userInfo(ctx, session)
	switch {
	case session == nil:
		return nil, err
	case openid.ReasonOf(err) == openid.ReasonUserInfoMismatch:
		return nil, ts.end(ctx, session, session.tokens, err)
	case err != nil:
		return nil, err
	case len(session.Identity.IDToken)+len(claims) > openid.MaxClaimsBytes:
		return nil, &openid.Error{Reason: openid.ReasonTooLarge, Err: fmt.Errorf("%d bytes of userinfo", len(claims))}
	}
	return ts.sessions.Update(context.WithoutCancel(ctx), session, func(s *Session) error {
		s.Changes = openid.Changes(known, claims)
		s.ProfileAt = ts.now()
		s.Identity.SetUserInfo(claims)
		return nil
	})
}

// userInfo returns the current userinfo, and the session with the tokens that it took. The session is nil
// if they could not be refreshed.
func (ts *TokenSource) userInfo(ctx context.Context, session *Session) (*Session, openid.Claims, error) {
	before := session.tokens
	refresh := ts.fresh
	if before.Expires.IsZero() && before.Refresh != "" {
		// A token of unknown lifetime is refreshed now: otherwise nothing would ever show
		// whether the provider still issues new ones.
		refresh = ts.refresh
	}
	session, err := refresh(ctx, session, signInAPI)
	if err != nil {
		return nil, nil, err
	}
	claims, err := ts.provider(session).UserInfo(ctx, session.tokens, session.Identity.Subject)
	if errors.Is(err, openid.ErrUnauthorized) && session.tokens.Same(before) {
		if session, err = ts.refresh(ctx, session, signInAPI); err != nil {
			return nil, nil, err
		}
		claims, err = ts.provider(session).UserInfo(ctx, session.tokens, session.Identity.Subject)
	}
	return session, claims, err
}

// refreshIDToken refreshes the profile from a provider without userinfo: its current claims are
// in the ID token that comes with new tokens.
func (ts *TokenSource) refreshIDToken(ctx context.Context, session *Session) (*Session, error) {
	before := session.Identity.IDToken
	session, err := ts.refresh(ctx, session, signInAPI)
	if err != nil {
		return nil, err
	}
	return ts.sessions.Update(context.WithoutCancel(ctx), session, func(s *Session) error {
		s.Changes = slices.DeleteFunc(openid.Changes(before, s.Identity.IDToken), func(c openid.Change) bool {
			return openid.SignedOnly(c.Name)
		})
		s.ProfileAt = ts.now()
		return nil
	})
}

// errJustRefreshed says that another request has refreshed the profile.
var errJustRefreshed = errors.New("authn: the profile was refreshed meanwhile")

// admit counts the request against the provider's limit. A request that began before the
// provider last answered, here or on another node, shares that answer.
func (ts *TokenSource) admit(ctx context.Context, session *Session, begun time.Time) (*Session, error) {
	return ts.sessions.Update(ctx, session, func(s *Session) error {
		now := ts.now()
		if s.ProfileAt.After(begun) {
			return errJustRefreshed
		}
		s.asked = slices.DeleteFunc(s.asked, func(t time.Time) bool { return now.Sub(t) >= askedWindow })
		if len(s.asked) >= maxAsked {
			return &TooSoonError{Wait: askedWindow - now.Sub(s.asked[0])}
		}
		s.asked = append(s.asked, now)
		return nil
	})
}

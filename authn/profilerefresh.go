package authn

import (
	"context"
	"errors"
	"slices"
	"time"
)

const (
	// A person can ask for their profile so often in so long. Auth0 takes five
	// userinfo calls a minute per user; the sign-in's own counts.
	maxAsked    = 4
	askedWindow = time.Minute
)

// TooSoonError says that the provider was asked about this person often enough
// within the last minute.
type TooSoonError struct {
	// Wait is how long until it may be asked again.
	Wait time.Duration
}

func (e *TooSoonError) Error() string { return "authn: the profile was refreshed too often" }

// RefreshProfile asks the provider what it says of the session's person now and
// returns the session as it is after that, with what changed. It never moves the
// session's end, and never makes it somebody else's.
//
// On an error the session is as it was, except for an *Error of ReasonSessionEnded:
// then the provider, or somebody else, has ended it. The other errors are a
// TooSoonError and an *Error of ReasonProviderUnreachable, ReasonProviderMisconfigured,
// ReasonRefreshRefused, ReasonRefreshFailed, ReasonUserInfoFailed, ReasonTooLarge or
// ReasonStoreUnavailable.
func (ts *TokenSource) RefreshProfile(ctx context.Context, session *Session) (*Session, error) {
	begun := ts.rp.cfg.Now()
	return ts.once(ctx, &ts.profiles, session, func(ctx context.Context) (*Session, error) {
		return ts.refreshProfile(ctx, session, begun)
	})
}

func (ts *TokenSource) refreshProfile(ctx context.Context, session *Session, begun time.Time) (*Session, error) {
	m, err := ts.rp.provider.wait(ctx)
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
	session = ts.newest(session)
	if m.UserInfoEndpoint == "" {
		return ts.refreshIDToken(ctx, session)
	}
	before := session.tokens
	if before.Expires.IsZero() && before.Refresh != "" {
		// A token of which nobody said how long it lives is replaced when a person asks:
		// it would never be tried whether the provider still gives out new ones.
		session, err = ts.renew(ctx, session)
	} else {
		session, err = ts.usable(ctx, session)
	}
	if err != nil {
		return nil, err
	}
	claims, err := ts.rp.userInfo(ctx, m, session.tokens.Access, session.Identity.Subject)
	if errors.Is(err, errUnauthorized) && session.tokens.same(before) {
		if session, err = ts.renew(ctx, session); err != nil {
			return nil, err
		}
		claims, err = ts.rp.userInfo(ctx, m, session.tokens.Access, session.Identity.Subject)
	}
	switch {
	case ReasonOf(err) == ReasonUserInfoMismatch:
		return nil, ts.end(ctx, session, session.tokens, err)
	case err != nil:
		return nil, err
	case len(session.Identity.IDToken)+len(claims) > maxClaimsBytes:
		return nil, refuse(ReasonTooLarge, "%d bytes of userinfo", len(claims))
	}
	return ts.sessions.Update(context.WithoutCancel(ctx), session, func(s *Session) error {
		s.Changes = changes(s.Identity.UserInfo, claims)
		s.ProfileAt = ts.rp.cfg.Now()
		s.Identity.hear(claims)
		return nil
	})
}

// refreshIDToken is the way of a provider without userinfo: what it says now is in the
// ID token that comes with new tokens.
func (ts *TokenSource) refreshIDToken(ctx context.Context, session *Session) (*Session, error) {
	before := session.Identity.IDToken
	session, err := ts.renew(ctx, session)
	if err != nil {
		return nil, err
	}
	return ts.sessions.Update(context.WithoutCancel(ctx), session, func(s *Session) error {
		s.Changes = slices.DeleteFunc(changes(before, s.Identity.IDToken), func(c Change) bool {
			return slices.Contains(signedOnly, c.Name)
		})
		s.ProfileAt = ts.rp.cfg.Now()
		s.Identity.Profile = s.Identity.profile()
		return nil
	})
}

// errJustRefreshed says that another request has done what this one asks for.
var errJustRefreshed = errors.New("authn: the profile was refreshed meanwhile")

// admit counts the request against what the provider bears. One that had begun before the
// provider last answered, here or on another node, shares that answer.
func (ts *TokenSource) admit(ctx context.Context, session *Session, begun time.Time) (*Session, error) {
	return ts.sessions.Update(ctx, session, func(s *Session) error {
		now := ts.rp.cfg.Now()
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

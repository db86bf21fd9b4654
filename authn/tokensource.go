package authn

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// refreshEarly is how long before its expiry an access token is replaced.
	refreshEarly = time.Minute
	// A person can ask for their profile so often in so long. Auth0 takes five
	// userinfo calls a minute per user; the sign-in's own counts.
	maxAsked    = 4
	askedWindow = time.Minute
)

// TokenSource keeps the provider's tokens of a session usable and asks the provider
// in its name. Whatever it does for one session it does once at a time: a refresh
// token that rotates is withdrawn, with all that came of it, when it is used twice
// (RFC 9700 section 4.14).
type TokenSource struct {
	rp       *RelyingParty
	sessions *Sessions
	flights  singleflight.Group
	underway sync.WaitGroup

	mu sync.Mutex
	// unsaved are tokens that the store would not take. The ones it still has are worth
	// nothing any more: to use them again would withdraw these.
	unsaved map[Key]Tokens
}

// maxUnsaved bounds how many sessions' tokens wait for the store.
const maxUnsaved = 10_000

// NewTokenSource returns the token source for the sessions of a relying party.
func NewTokenSource(rp *RelyingParty, sessions *Sessions) *TokenSource {
	return &TokenSource{rp: rp, sessions: sessions, unsaved: make(map[Key]Tokens)}
}

// Wait waits for what is under way, callbackTimeout at most: a token that the provider
// has just given out must be saved before the program ends.
func (ts *TokenSource) Wait() { ts.underway.Wait() }

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
	flight := ts.flights.DoChan(string(session.record.Key[:]), func() (any, error) {
		// It goes on when the person who asked is gone: the tokens may be new by then.
		ts.underway.Add(1)
		defer ts.underway.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callbackTimeout)
		defer cancel()
		return ts.refreshProfile(ctx, session)
	})
	select {
	case result := <-flight:
		refreshed, _ := result.Val.(*Session)
		return refreshed, result.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (ts *TokenSource) refreshProfile(ctx context.Context, session *Session) (*Session, error) {
	m, err := ts.rp.provider.wait(ctx)
	if err != nil {
		return nil, err
	}
	if session, err = ts.admit(ctx, session); err != nil {
		return nil, err
	}
	if session, err = ts.settle(ctx, session); err != nil {
		return nil, err
	}
	if m.UserInfoEndpoint == "" {
		return ts.refreshIDToken(ctx, m, session)
	}
	renewed := false
	if ts.due(session.tokens) {
		if session, err = ts.renew(ctx, m, session); err != nil {
			return nil, err
		}
		renewed = true
	}
	claims, err := ts.rp.userInfo(ctx, m, session.tokens.Access, session.Identity.Subject)
	if errors.Is(err, errUnauthorized) && !renewed {
		if session, err = ts.renew(ctx, m, session); err != nil {
			return nil, err
		}
		claims, err = ts.rp.userInfo(ctx, m, session.tokens.Access, session.Identity.Subject)
	}
	switch {
	case ReasonOf(err) == ReasonUserInfoMismatch:
		return nil, ts.end(ctx, session, err)
	case err != nil:
		return nil, err
	case len(session.Identity.IDToken)+len(claims) > maxClaimsBytes:
		return nil, refuse(ReasonTooLarge, "%d bytes of userinfo", len(claims))
	}
	return ts.sessions.Update(context.WithoutCancel(ctx), session, func(s *Session) {
		s.Changes = changes(s.Identity.UserInfo, claims)
		s.ProfileAt = ts.rp.cfg.Now()
		s.Identity.UserInfo = claims
		s.Identity.Profile = s.Identity.profile()
	})
}

// due reports whether the access token is to be replaced before it is used. One of
// which the provider did not say how long it lives is, where that is possible: it
// would count as valid for ever.
func (ts *TokenSource) due(tokens Tokens) bool {
	if tokens.Expires.IsZero() {
		return tokens.Refresh != ""
	}
	return ts.rp.cfg.Now().After(tokens.Expires.Add(-refreshEarly))
}

// refreshIDToken is the way of a provider without userinfo: what it says now is in the
// ID token that comes with new tokens.
func (ts *TokenSource) refreshIDToken(ctx context.Context, m *Metadata, session *Session) (*Session, error) {
	before := session.Identity.IDToken
	session, err := ts.renew(ctx, m, session)
	if err != nil {
		return nil, err
	}
	return ts.sessions.Update(context.WithoutCancel(ctx), session, func(s *Session) {
		s.Changes = slices.DeleteFunc(changes(before, s.Identity.IDToken), func(c Change) bool {
			return slices.Contains(signedOnly, c.Name)
		})
		s.ProfileAt = ts.rp.cfg.Now()
		s.Identity.Profile = s.Identity.profile()
	})
}

// admit counts the request against what the provider bears.
func (ts *TokenSource) admit(ctx context.Context, session *Session) (*Session, error) {
	var tooSoon *TooSoonError
	admitted, err := ts.sessions.Update(ctx, session, func(s *Session) {
		now := ts.rp.cfg.Now()
		s.asked = slices.DeleteFunc(s.asked, func(t time.Time) bool { return now.Sub(t) >= askedWindow })
		if tooSoon = nil; len(s.asked) >= maxAsked {
			tooSoon = &TooSoonError{Wait: askedWindow - now.Sub(s.asked[0])}
			return
		}
		s.asked = append(s.asked, now)
	})
	if err != nil {
		return nil, err
	}
	if tooSoon != nil {
		return nil, tooSoon
	}
	return admitted, nil
}

// renew refreshes the tokens and saves them before anything relies on them: the old
// refresh token is worth nothing any more.
func (ts *TokenSource) renew(ctx context.Context, m *Metadata, session *Session) (*Session, error) {
	if session.tokens.Refresh == "" {
		return nil, refuse(ReasonRefreshRefused, "the access token is used up and there is no refresh token")
	}
	tokens, err := ts.rp.refresh(ctx, m, session.tokens)
	if e, ok := errors.AsType[*Error](err); ok && e.Code == "invalid_grant" {
		return nil, ts.end(ctx, session, err)
	}
	if err != nil {
		return nil, refreshFailed(err)
	}
	verified := &idToken{claims: session.Identity.IDToken}
	if tokens.IDToken != session.tokens.IDToken {
		fresh, err := ts.sameIdentity(ctx, session, tokens)
		switch {
		case err == nil:
			verified = fresh
		case ReasonOf(err) == ReasonProviderUnreachable, ReasonOf(err) == ReasonProviderMisconfigured:
			// Without keys nobody can tell. The new tokens must be kept, the ID token need not.
			tokens.IDToken = session.tokens.IDToken
		default:
			return nil, ts.end(ctx, session, err)
		}
	}
	return ts.save(ctx, session, tokens, verified)
}

// refreshFailed tells a refresh that did not work from a sign-in that did not: to the
// person these are different things.
func refreshFailed(err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Reason == ReasonProviderUnreachable {
		return err
	}
	return &Error{Reason: ReasonRefreshFailed, Code: e.Code, Err: err}
}

// save stores new tokens. It does not give up when time has run out for the rest: from
// now on these tokens are the only ones.
func (ts *TokenSource) save(ctx context.Context, session *Session, tokens Tokens, verified *idToken) (*Session, error) {
	saved, err := ts.sessions.Update(context.WithoutCancel(ctx), session, func(s *Session) {
		s.tokens = tokens
		s.Identity.IDToken = verified.claims
		s.endBy(verified.sessionExpiry)
	})
	ts.mu.Lock()
	defer ts.mu.Unlock()
	switch ReasonOf(err) {
	case ReasonSessionEnded:
		// Signed out while the provider was being asked: the new token must not
		// outlive the session.
		delete(ts.unsaved, session.record.Key)
		ended := &Session{record: session.record, tokens: tokens}
		ts.underway.Go(func() { ts.rp.RevokeTokens(ctx, ended) })
	case ReasonStoreUnavailable:
		if len(ts.unsaved) < maxUnsaved {
			ts.unsaved[session.record.Key] = tokens
		}
	case "":
		delete(ts.unsaved, session.record.Key)
	}
	return saved, err
}

// settle saves tokens that the store would not take before.
func (ts *TokenSource) settle(ctx context.Context, session *Session) (*Session, error) {
	ts.mu.Lock()
	tokens, waiting := ts.unsaved[session.record.Key]
	ts.mu.Unlock()
	if !waiting {
		return session, nil
	}
	return ts.save(ctx, session, tokens, &idToken{claims: session.Identity.IDToken})
}

// sameIdentity verifies an ID token that came with a refresh: it must be of the same
// issuer and subject, for the same client, and of the same sign-in (OpenID Connect
// Core 1.0 section 12.2).
func (ts *TokenSource) sameIdentity(ctx context.Context, session *Session, tokens Tokens) (*idToken, error) {
	verified, err := ts.rp.verifyIDToken(ctx, string(tokens.IDToken), idTokenCheck{
		nonce: session.nonce, refreshed: true, accessToken: string(tokens.Access),
	})
	if err != nil {
		return nil, err
	}
	if verified.subject != session.Identity.Subject {
		return nil, errors.New("the refreshed ID token is of another subject")
	}
	if !verified.authTime.IsZero() && !session.Identity.AuthTime.IsZero() && !verified.authTime.Equal(session.Identity.AuthTime) {
		return nil, errors.New("the refreshed ID token is of another sign-in")
	}
	return verified, nil
}

// end ends a session that must not go on, and returns the error that says so.
func (ts *TokenSource) end(ctx context.Context, session *Session, cause error) error {
	ts.rp.cfg.Log.WarnContext(ctx, "session ended by refresh", "session", session.LogID(), "reason", ReasonOf(cause), "error", cause)
	if err := ts.sessions.End(ctx, session); err != nil {
		return err
	}
	return &Error{Reason: ReasonSessionEnded, Err: cause}
}

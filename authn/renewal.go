package authn

import (
	"context"
	"errors"
	"time"
)

// unsavedTokens are new tokens that the store would not take. The ones that it still has
// are worth nothing any more: to use them again would withdraw these.
type unsavedTokens struct {
	tokens   Tokens
	verified *idToken
	holder   string // of the lease
}

// maxUnsaved bounds how many sessions' tokens wait for the store.
const maxUnsaved = 10_000

// renew refreshes the tokens of a session, whose own were found wanting, and returns the
// session with new ones: those of another request, or another node, if one has refreshed
// them since the session was loaded. They are saved before anything relies on them: the old
// refresh token is worth nothing any more.
func (ts *TokenSource) renew(ctx context.Context, seen *Session) (*Session, error) {
	return ts.once(ctx, &ts.renewals, seen, func(ctx context.Context) (*Session, error) {
		m, err := ts.rp.provider.wait(ctx)
		if err != nil {
			return nil, err
		}
		if settled, err := ts.settle(ctx, seen); err != nil || (settled != nil && settled.tokens.Access != seen.tokens.Access) {
			return settled, err
		}
		session, holder, err := ts.acquire(ctx, seen)
		if err != nil || holder == "" {
			return session, err
		}
		held, stop := context.WithCancel(ctx)
		defer stop()
		ts.underway.Go(func() { ts.keep(held, session, holder) })
		return ts.refresh(ctx, m, session, holder)
	})
}

// refresh uses the refresh token, as the holder of the lease.
func (ts *TokenSource) refresh(ctx context.Context, m *Metadata, session *Session, holder string) (*Session, error) {
	tokens, err := ts.rp.refresh(ctx, m, session.tokens)
	if err != nil {
		e, _ := errors.AsType[*Error](err)
		if e != nil && e.Code == "invalid_grant" {
			return nil, ts.end(ctx, session, err)
		}
		// Whatever else it is, a provider that is down or one that no longer knows this
		// client, it is not the person's fault, and their session stays.
		var asked time.Duration
		if e != nil {
			asked = e.RetryAfter
		}
		ts.release(ctx, session, holder, asked)
		return nil, refreshFailed(err)
	}
	fresh := unsavedTokens{tokens: tokens, verified: &idToken{claims: session.Identity.IDToken}, holder: holder}
	if tokens.IDToken != session.tokens.IDToken {
		verified, err := ts.sameIdentity(ctx, session, tokens)
		switch {
		case err == nil:
			fresh.verified = verified
		case ReasonOf(err) == ReasonProviderUnreachable, ReasonOf(err) == ReasonProviderMisconfigured:
			// Without keys nobody can tell. The new tokens must be kept, the ID token need not.
			fresh.tokens.IDToken = session.tokens.IDToken
		default:
			return nil, ts.end(ctx, session, err)
		}
	}
	return ts.save(ctx, session, fresh)
}

// save stores new tokens. It does not give up when time has run out for the rest: from
// now on these tokens are the only ones.
func (ts *TokenSource) save(ctx context.Context, session *Session, fresh unsavedTokens) (*Session, error) {
	saved, err := ts.sessions.Update(context.WithoutCancel(ctx), session, func(s *Session) error {
		if s.lease.holder != fresh.holder {
			return errLeaseLost
		}
		s.tokens, s.lease, s.retry = fresh.tokens, lease{}, retry{}
		s.Identity.renew(fresh.verified.claims)
		s.endBy(fresh.verified.sessionExpiry)
		return nil
	})
	ts.mu.Lock()
	defer ts.mu.Unlock()
	switch {
	case ReasonOf(err) == ReasonSessionEnded:
		// Signed out while the provider was being asked: the new token must not
		// outlive the session.
		delete(ts.unsaved, session.record.Key)
		ended := &Session{record: session.record, tokens: fresh.tokens}
		ts.underway.Go(func() { ts.rp.RevokeTokens(ctx, ended) })
	case ReasonOf(err) == ReasonStoreUnavailable:
		if len(ts.unsaved) < maxUnsaved {
			ts.unsaved[session.record.Key] = fresh
		}
	default:
		delete(ts.unsaved, session.record.Key)
	}
	if errors.Is(err, errLeaseLost) {
		// Another node took this one for dead and refreshed too; what it saved is newer.
		ts.rp.cfg.Log.WarnContext(ctx, "refreshed tokens dropped", "session", session.LogID(), "error", err)
		return saved, nil
	}
	return saved, err
}

// settle saves tokens that the store would not take before. It returns nil where there are
// none.
func (ts *TokenSource) settle(ctx context.Context, session *Session) (*Session, error) {
	ts.mu.Lock()
	waiting, ok := ts.unsaved[session.record.Key]
	ts.mu.Unlock()
	if !ok {
		return nil, nil
	}
	return ts.save(ctx, session, waiting)
}

// newest returns the session with the tokens that wait for the store, if there are any.
func (ts *TokenSource) newest(session *Session) *Session {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	waiting, ok := ts.unsaved[session.record.Key]
	if !ok {
		return session
	}
	current := *session
	current.tokens = waiting.tokens
	return &current
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

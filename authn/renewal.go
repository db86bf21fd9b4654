package authn

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// saveInterval is how often the store is asked to take what it would not take.
const saveInterval = time.Second

// maxUnsaved bounds how many sessions' tokens wait for the store.
const maxUnsaved = 10_000

// newTokens are what came of a refresh. Those that the store would not take wait in
// memory: the ones that it still has are worth nothing any more, and to use them again
// would withdraw these.
type newTokens struct {
	session  *Session // with the tokens that they replace, and no more than to find it
	tokens   Tokens
	verified *idToken
	holder   string // of the lease
}

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
		if waiting, ok := ts.waiting(seen); ok {
			settled, err := ts.save(ctx, waiting)
			if err != nil || !settled.tokens.same(seen.tokens) {
				return settled, err
			}
		}
		for {
			session, err := ts.renewNow(ctx, m, seen)
			if !errors.Is(err, errLeaseLost) {
				return session, err
			}
		}
	})
}

// renewNow takes the lease and refreshes. It returns errLeaseLost where another node has
// taken over and is not done.
func (ts *TokenSource) renewNow(ctx context.Context, m *Metadata, seen *Session) (*Session, error) {
	session, holder, err := ts.acquire(ctx, seen)
	if err != nil || holder == "" {
		return session, err
	}
	held, stop := context.WithCancel(ctx)
	defer stop()
	ts.underway.Go(func() { ts.keep(held, session, holder) })
	return ts.refresh(ctx, m, session, holder)
}

// refresh uses the refresh token, as the holder of the lease.
func (ts *TokenSource) refresh(ctx context.Context, m *Metadata, session *Session, holder string) (*Session, error) {
	tokens, err := ts.rp.refresh(ctx, m, session.tokens)
	if err != nil {
		return ts.notRefreshed(ctx, session, holder, err)
	}
	ts.rp.cfg.Statistics.Refreshes.Add(Refreshed)
	ts.rp.cfg.Log.InfoContext(ctx, "tokens refreshed", "session", session.LogID(), "issuer", ts.rp.cfg.Issuer)
	fresh := newTokens{
		session: &Session{record: session.record, secret: session.secret, tokens: session.tokens},
		tokens:  tokens, verified: &idToken{claims: session.Identity.IDToken}, holder: holder,
	}
	if tokens.IDToken != session.tokens.IDToken {
		verified, err := ts.sameIdentity(ctx, session, tokens)
		switch {
		case err == nil:
			fresh.verified = verified
		case ReasonOf(err) == ReasonProviderUnreachable, ReasonOf(err) == ReasonProviderMisconfigured:
			// Without keys nobody can tell. The new tokens must be kept, the ID token need not.
			fresh.tokens.IDToken = session.tokens.IDToken
		default:
			return nil, ts.end(ctx, session, tokens, err)
		}
	}
	saved, err := ts.save(ctx, fresh)
	if _, ok := ts.waiting(session); ok && ReasonOf(err) == ReasonStoreUnavailable {
		return ts.newest(session), nil
	}
	return saved, err
}

// notRefreshed is what follows where the provider has given out no tokens.
func (ts *TokenSource) notRefreshed(ctx context.Context, session *Session, holder string, cause error) (*Session, error) {
	e, _ := errors.AsType[*Error](cause)
	if e != nil && e.Code == "invalid_grant" {
		ts.rp.cfg.Statistics.Refreshes.Add(RefreshRefused)
		return ts.refused(ctx, session, holder, cause)
	}
	ts.rp.cfg.Statistics.Refreshes.Add(RefreshFailed)
	// Whatever else it is, a provider that is down or one that no longer knows this
	// client, it is not the person's fault, and their session stays.
	var asked time.Duration
	if e != nil {
		asked = e.RetryAfter
		if e.Code == "invalid_client" || e.Code == "unauthorized_client" {
			ts.rp.cfg.Log.ErrorContext(ctx, "the provider refuses this client: nobody's tokens can be refreshed", "code", e.Code)
		}
	}
	ts.release(ctx, session, holder, asked)
	return nil, refreshFailed(cause)
}

// refused ends a session whose refresh token the provider does not take any more, unless
// the token is not the session's any more either: a node that took this one for dead, or
// that this one took for dead, may have traded it in.
func (ts *TokenSource) refused(ctx context.Context, session *Session, holder string, cause error) (*Session, error) {
	current, err := ts.sessions.Update(context.WithoutCancel(ctx), session, func(s *Session) error {
		switch {
		case !s.tokens.same(session.tokens):
			return errRenewed
		case s.lease.holder != holder:
			return errLeaseLost
		}
		s.lease.until = ts.rp.cfg.Now().Add(leaseLifetime) // until it has ended
		return nil
	})
	switch {
	case errors.Is(err, errRenewed):
		return current, nil
	case err != nil:
		return nil, err
	}
	return nil, ts.end(ctx, current, Tokens{}, cause)
}

// save stores new tokens. It does not give up when time has run out for the rest: from
// now on these tokens are the only ones. Where the store does not take them they wait. A
// node that has lost the lease still saves them as long as no other has saved any.
func (ts *TokenSource) save(ctx context.Context, fresh newTokens) (*Session, error) {
	session := fresh.session
	saved, err := ts.sessions.Update(context.WithoutCancel(ctx), session, func(s *Session) error {
		mine := s.lease.holder == fresh.holder
		if !mine && !s.tokens.same(session.tokens) {
			return errRenewed
		}
		if mine {
			s.lease = lease{}
		}
		s.tokens, s.retry = fresh.tokens, retry{}
		s.Identity.renew(fresh.verified.claims)
		s.endBy(fresh.verified.sessionExpiry)
		return nil
	})
	switch {
	case ReasonOf(err) == ReasonStoreUnavailable:
		ts.wait(ctx, fresh, err)
		return nil, err
	case ReasonOf(err) == ReasonSessionEnded:
		// Signed out while the provider was being asked: the new token must not
		// outlive the session.
		ts.revoke(ctx, session, fresh.tokens)
	case errors.Is(err, errRenewed):
		if !saved.tokens.same(fresh.tokens) {
			ts.rp.cfg.Log.WarnContext(ctx, "refreshed tokens dropped: another node's are newer", "session", session.LogID())
		}
		err = nil
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if _, waited := ts.unsaved[session.record.Key]; waited && err == nil {
		ts.rp.cfg.Log.InfoContext(ctx, "refreshed tokens saved after all", "session", session.LogID())
	}
	delete(ts.unsaved, session.record.Key)
	return saved, err
}

// wait keeps new tokens in memory until the store takes them.
func (ts *TokenSource) wait(ctx context.Context, fresh newTokens, cause error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	key := fresh.session.record.Key
	if _, known := ts.unsaved[key]; known {
		return
	}
	if len(ts.unsaved) >= maxUnsaved {
		ts.rp.cfg.Log.ErrorContext(ctx, "refreshed tokens lost: the store does not take them", "session", fresh.session.LogID(), "error", cause)
		return
	}
	ts.unsaved[key] = fresh
	ts.rp.cfg.Log.ErrorContext(ctx, "refreshed tokens kept in memory: the store does not take them", "session", fresh.session.LogID(), "error", cause)
}

// saveWaiting saves what waits for the store, as far as it goes.
func (ts *TokenSource) saveWaiting(ctx context.Context) {
	ts.mu.Lock()
	list := slices.Collect(maps.Values(ts.unsaved))
	ts.mu.Unlock()
	for _, fresh := range list {
		if _, err := ts.save(ctx, fresh); ReasonOf(err) == ReasonStoreUnavailable {
			return // nor will it take the others
		}
	}
}

// waiting returns a session's tokens that wait for the store, if there are any.
func (ts *TokenSource) waiting(session *Session) (newTokens, bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	fresh, ok := ts.unsaved[session.record.Key]
	return fresh, ok
}

// newest returns the session with the tokens that wait for the store, if there are any.
func (ts *TokenSource) newest(session *Session) *Session {
	fresh, ok := ts.waiting(session)
	if !ok {
		return session
	}
	current := *session
	current.tokens = fresh.tokens
	current.lease = lease{}
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

package authn

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"latchkey/authn/openid"
)

// saveInterval is how often the store is asked to accept the tokens that it did not accept.
const saveInterval = time.Second

// maxUnsaved bounds how many sessions' tokens are kept in memory until the store accepts them.
const maxUnsaved = 10_000

// newTokens are the outcome of a refresh. If the store does not accept them they are kept in
// memory: the provider no longer accepts the ones that the store still has, and using those
// again would revoke the new ones.
type newTokens struct {
	session *Session // with the tokens that they replace, and only what is needed to find it
	tokens  openid.Tokens
	idToken *openid.IDToken // nil if the old one stays
	backoff backoff
	other   *heldToken // the outcome for another API; nil if there is none
	holder  string     // of the lease
}

// refresh returns the session with a new access token for an API. If another request or another node has
// refreshed the token since the session was loaded, it returns that one. New tokens are saved before
// anything relies on them, because the provider no longer accepts the old refresh token.
func (ts *TokenSource) refresh(ctx context.Context, seen *Session, api openid.API) (*Session, error) {
	key := string(seen.record.Key[:]) + api.Audience + " " + api.Scope
	return ts.once(ctx, &ts.refreshes, key, func(ctx context.Context) (*Session, error) {
		if _, err := ts.provider(seen).Metadata(ctx); err != nil {
			return nil, err
		}
		if unsaved, ok := ts.unsavedTokens(seen); ok {
			saved, err := ts.save(ctx, unsaved)
			if err != nil || saved.replaced(seen, api) {
				return saved, err
			}
		}
		full, err := ts.sessions.withTokens(ctx, seen)
		if err != nil || !full.held(api).tokens.Obtained.Equal(seen.held(api).tokens.Obtained) {
			return full, err // it has been refreshed since
		}
		seen = full
		for {
			session, err := ts.refreshUnderLease(ctx, seen, api)
			if !errors.Is(err, errLeaseLost) {
				return session, err
			}
		}
	})
}

// refreshUnderLease acquires the lease and refreshes. It returns errLeaseLost if another node
// has acquired the lease and is not done.
func (ts *TokenSource) refreshUnderLease(ctx context.Context, seen *Session, api openid.API) (*Session, error) {
	session, holder, err := ts.acquireLease(ctx, seen, api)
	if err != nil || holder == "" {
		return session, err
	}
	holding, stop := context.WithCancel(ctx)
	defer stop()
	ts.background("lease renewal", func() { ts.renewLease(holding, session, holder) })
	if api != signInAPI {
		return ts.useRefreshTokenFor(ctx, session, api, holder)
	}
	return ts.useRefreshToken(ctx, session, holder, nil)
}

// useRefreshToken uses the refresh token, as the holder of the lease. other is saved with the new tokens.
func (ts *TokenSource) useRefreshToken(ctx context.Context, session *Session, holder string, other *heldToken) (*Session, error) {
	tokens, err := ts.provider(session).Refresh(ctx, session.tokens)
	if err != nil {
		return ts.notRefreshed(ctx, session, signInAPI, holder, tokens.Refresh, err)
	}
	ts.count(session, refreshed)
	ts.log.InfoContext(ctx, "tokens refreshed", "session", session.LogID(), "issuer", session.Identity.Issuer)
	fresh := replacing(session, tokens, holder)
	fresh.other = other
	if tokens.IDToken != session.tokens.IDToken {
		idToken, err := ts.provider(session).VerifyRefreshedIDToken(ctx, tokens, session.Identity, session.nonce)
		switch reason := openid.ReasonOf(err); {
		case err == nil:
			fresh.idToken = idToken
		case reason == openid.ReasonProviderUnreachable, reason == openid.ReasonProviderMisconfigured, errors.Is(err, openid.ErrIDTokenUnusable):
			// Without keys nobody can tell whose it is, and a clock or an algorithm that is wrong
			// is not the person's fault. The new tokens must be kept, the ID token need not.
			ts.log.ErrorContext(ctx, "refreshed ID token not used, the old one stays", "session", session.LogID(), "reason", reason, "error", err)
			fresh.tokens.IDToken = session.tokens.IDToken
		default:
			return nil, ts.end(ctx, session, tokens, err)
		}
	}
	return ts.saveOrKeep(ctx, session, fresh)
}

// useRefreshTokenFor does the same for another API. Of the session's own tokens only the refresh token
// changes.
func (ts *TokenSource) useRefreshTokenFor(ctx context.Context, session *Session, api openid.API, holder string) (*Session, error) {
	issued, err := ts.provider(session).RefreshFor(ctx, session.tokens, api)
	if e, _ := errors.AsType[*openid.Error](err); e != nil && e.Code == "invalid_grant" {
		// Some providers also answer invalid_grant if this person may not use the API, as Microsoft Entra
		// ID does if consent is missing. A refresh without the API shows whether the grant has ended.
		failed := session.held(api).failed(ts.now(), e.RetryAfter)
		if _, err := ts.useRefreshToken(ctx, session, holder, &failed); err != nil {
			return nil, err
		}
		return nil, &openid.Error{Reason: openid.ReasonAPIRefused, Code: e.Code, Description: e.Description, Err: e.Err}
	}
	if err != nil {
		return ts.notRefreshed(ctx, session, api, holder, issued.Refresh, err)
	}
	ts.count(session, refreshed)
	ts.log.InfoContext(ctx, "tokens refreshed", "session", session.LogID(), "issuer", session.Identity.Issuer, "api", api.String())
	tokens := session.tokens
	tokens.Refresh, issued.Refresh = issued.Refresh, ""
	fresh := replacing(session, tokens, holder)
	fresh.backoff, fresh.other = session.backoff, &heldToken{api: api, tokens: issued}
	return ts.saveOrKeep(ctx, session, fresh)
}

// saveOrKeep saves new tokens of a session. If the store does not accept them, it returns the session as
// it will be.
func (ts *TokenSource) saveOrKeep(ctx context.Context, session *Session, fresh newTokens) (*Session, error) {
	saved, err := ts.save(ctx, fresh)
	if _, ok := ts.unsavedTokens(session); ok && openid.ReasonOf(err) == ReasonStoreUnavailable {
		return ts.latest(session), nil
	}
	return saved, err
}

// replacing returns new tokens in place of a session's, without a new ID token.
func replacing(session *Session, tokens openid.Tokens, holder string) newTokens {
	return newTokens{
		session: &Session{Identity: openid.Identity{Issuer: session.Identity.Issuer}, record: session.record, secret: session.secret, tokens: session.tokens, apis: session.apis},
		tokens:  tokens, holder: holder,
	}
}

// notRefreshed handles a refresh for which the provider has issued no tokens that can be used,
// except for a refresh token, if rotated is not "".
func (ts *TokenSource) notRefreshed(ctx context.Context, session *Session, api openid.API, holder string, rotated openid.Secret, cause error) (*Session, error) {
	e, _ := errors.AsType[*openid.Error](cause)
	if e != nil && e.Code == "invalid_grant" {
		ts.count(session, refreshRefused)
		return ts.endRefused(ctx, session, holder, cause)
	}
	ts.count(session, refreshFailed)
	// Anything else, such as a provider that is down or no longer knows this client, is not
	// the person's fault, and their session stays.
	var retryAfter time.Duration
	if e != nil {
		retryAfter = e.RetryAfter
		if e.Code == "invalid_client" || e.Code == "unauthorized_client" {
			ts.log.ErrorContext(ctx, "the provider refuses this client: no tokens can be refreshed", "code", e.Code)
		}
	}
	if openid.ReasonOf(cause) != openid.ReasonAPIRefused {
		api = signInAPI // the provider would not answer for another API either
	}
	if rotated != "" {
		tokens := session.tokens
		tokens.Refresh = rotated
		kept := replacing(session, tokens, holder)
		failed := session.held(api).failed(ts.now(), retryAfter)
		if kept.backoff = failed.backoff; api != signInAPI {
			kept.backoff, kept.other = session.backoff, &failed
		}
		_, _ = ts.save(ctx, kept) // save logs what it cannot do
		return nil, failedRefresh(cause)
	}
	ts.releaseLease(ctx, session, api, holder, retryAfter)
	return nil, failedRefresh(cause)
}

// endRefused ends a session whose refresh token the provider no longer accepts, unless the token
// is no longer the session's: a node that took this one for dead, or that this one took for
// dead, may have exchanged it.
func (ts *TokenSource) endRefused(ctx context.Context, session *Session, holder string, cause error) (*Session, error) {
	current, err := ts.sessions.Update(context.WithoutCancel(ctx), session, func(s *Session) error {
		switch {
		case s.replaced(session, signInAPI):
			return errRefreshed
		case s.lease.holder != holder || !s.tokens.Same(session.tokens):
			return errLeaseLost
		}
		s.lease.until = ts.now().Add(leaseLifetime) // until it has ended
		return nil
	})
	switch {
	case errors.Is(err, errRefreshed):
		return current, nil
	case err != nil:
		return nil, err
	}
	return nil, ts.end(ctx, current, openid.Tokens{}, cause)
}

// save stores new tokens. It ignores the end of ctx: from now on these tokens are the only
// ones. If the store does not accept them they stay in memory. A node that has lost the lease
// still saves them as long as no other node has saved any.
func (ts *TokenSource) save(ctx context.Context, fresh newTokens) (*Session, error) {
	session := fresh.session
	saved, err := ts.sessions.Update(context.WithoutCancel(ctx), session, func(s *Session) error {
		mine := s.lease.holder == fresh.holder
		if !mine && !s.tokens.Same(session.tokens) {
			return errRefreshed
		}
		if mine {
			s.lease = lease{}
		}
		s.tokens, s.backoff = fresh.tokens, fresh.backoff
		if fresh.other != nil {
			s.hold(*fresh.other)
		}
		if fresh.idToken != nil {
			s.Identity.SetIDToken(fresh.idToken)
			s.endBy(fresh.idToken.SessionExpiry)
		}
		return nil
	})
	switch {
	case openid.ReasonOf(err) == ReasonStoreUnavailable:
		ts.keepUnsaved(ctx, fresh, err)
		return nil, err
	case openid.ReasonOf(err) == ReasonSessionEnded:
		// The person signed out meanwhile: the new tokens must not outlive the session.
		ts.revoke(ctx, session, fresh.tokens)
	case errors.Is(err, errRefreshed):
		if !saved.tokens.Same(fresh.tokens) {
			ts.log.WarnContext(ctx, "refreshed tokens dropped: another node's are newer", "session", session.LogID())
		}
		err = nil
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	// Another request may have used these tokens meanwhile, and keep newer ones.
	if waiting, ok := ts.unsaved[session.record.Key]; ok && waiting.tokens.Same(fresh.tokens) {
		delete(ts.unsaved, session.record.Key)
		if err == nil {
			ts.log.InfoContext(ctx, "refreshed tokens saved after all", "session", session.LogID())
		}
	}
	return saved, err
}

// keepUnsaved keeps new tokens in memory until the store accepts them.
func (ts *TokenSource) keepUnsaved(ctx context.Context, fresh newTokens, cause error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	key := fresh.session.record.Key
	waiting, known := ts.unsaved[key]
	if known && !waiting.tokens.Same(fresh.session.tokens) {
		return // it is these tokens, or newer ones
	}
	if !known && len(ts.unsaved) >= maxUnsaved {
		ts.log.ErrorContext(ctx, "refreshed tokens lost: the store does not accept them", "session", fresh.session.LogID(), "error", cause)
		return
	}
	ts.unsaved[key] = fresh
	ts.log.ErrorContext(ctx, "refreshed tokens kept in memory: the store does not accept them", "session", fresh.session.LogID(), "error", cause)
}

// saveUnsaved saves the tokens that the store did not accept, until it fails again.
func (ts *TokenSource) saveUnsaved(ctx context.Context) {
	defer openid.RecoverPanic(ts.log, "saving refreshed tokens")
	ts.mu.Lock()
	list := slices.Collect(maps.Values(ts.unsaved))
	ts.mu.Unlock()
	for _, fresh := range list {
		if _, err := ts.save(ctx, fresh); openid.ReasonOf(err) == ReasonStoreUnavailable {
			return // nor would it accept the others
		}
	}
}

// unsavedTokens returns a session's tokens that the store did not accept, if there are any.
func (ts *TokenSource) unsavedTokens(session *Session) (newTokens, bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	fresh, ok := ts.unsaved[session.record.Key]
	return fresh, ok
}

// latest returns the session with the tokens that the store did not accept, if there are any.
func (ts *TokenSource) latest(session *Session) *Session {
	fresh, ok := ts.unsavedTokens(session)
	if !ok {
		return session
	}
	current := *session
	current.tokens, current.partial, current.hasRefreshToken = fresh.tokens, false, false
	current.apis = fresh.session.apis
	if fresh.other != nil {
		current.hold(*fresh.other)
	}
	current.lease = lease{}
	return &current
}

func (ts *TokenSource) count(session *Session, outcome string) {
	ts.rps.First().cfg.Metrics.GetOrCreateCounter(tokenRefreshes(ts.provider(session), outcome)).Inc()
}

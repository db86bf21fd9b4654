package authn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"latchkey/authn/openid"
)

const (
	// refreshEarly is how long before its expiry an access token is refreshed; for one with a
	// lifetime below four times that, a quarter of its lifetime.
	refreshEarly = time.Minute
	// unknownLifetime is how long an access token is used if the provider does not say when
	// it expires.
	unknownLifetime = 5 * time.Minute
)

// TokenSource keeps a session's tokens fresh and uses them to ask the provider. Only one request at a time
// uses the refresh token of a session, on any number of nodes: a provider that rotates refresh tokens
// revokes the whole grant if one is used twice (RFC 9700 section 4.14).
type TokenSource struct {
	rps        *RelyingParties
	sessions   *Sessions
	now        func() time.Time
	log        *slog.Logger
	transports Transports         // of calls to APIs
	profiles   singleflight.Group // of RefreshProfile
	refreshes  singleflight.Group // of refresh
	underway   sync.WaitGroup

	mu      sync.Mutex
	unsaved map[Key]newTokens
}

// NewTokenSource returns the token source for the sessions of relying parties.
func NewTokenSource(rps *RelyingParties, sessions *Sessions) *TokenSource {
	cfg := rps.First().cfg
	return &TokenSource{
		rps: rps, transports: apiTransports(rps), sessions: sessions, now: cfg.Now, log: cfg.Log,
		unsaved: make(map[Key]newTokens),
	}
}

// provider returns the provider of a session.
func (ts *TokenSource) provider(s *Session) *openid.Provider {
	return ts.rps.Of(s.Identity.Issuer).provider
}

// apiTransports returns the default transport, with the certificate of each client that has one. A program
// that has put another kind of transport in its place sees to certificates itself.
func apiTransports(rps *RelyingParties) Transports {
	if base, ok := http.DefaultTransport.(*http.Transport); ok {
		return rps.Transports(base)
	}
	return Transports{rps: rps, other: http.DefaultTransport}
}

// Run saves the tokens that the store did not accept, once it accepts them, until ctx ends.
func (ts *TokenSource) Run(ctx context.Context) {
	for pause(ctx, saveInterval) {
		ts.saveUnsaved(ctx)
	}
}

// Wait waits for work that is under way, and tries once more to save the tokens that the store did not
// accept: a token that the provider has issued must be saved before the program ends. Each step has a
// limit of its own: callbackTimeout for what the provider is asked, writeTimeout for a save, two seconds
// for a revocation.
func (ts *TokenSource) Wait() {
	ts.underway.Wait()
	ts.saveUnsaved(context.Background())
	ts.underway.Wait() // for the revocation of tokens that could not be saved
}

// Token returns the access token of the session that the context carries; see [APITokens.Token].
func (ts *TokenSource) Token(ctx context.Context) (*oauth2.Token, error) {
	return ts.For(signInAPI).Token(ctx)
}

// Source returns an oauth2.TokenSource for the session that the context carries. It calls
// Token, as long as the context is alive.
func (ts *TokenSource) Source(ctx context.Context) oauth2.TokenSource {
	return ts.For(signInAPI).Source(ctx)
}

// Client returns an HTTP client that sends the session's access token; see [APITokens.Client].
func (ts *TokenSource) Client(ctx context.Context) *http.Client { return ts.For(signInAPI).Client(ctx) }

// fresh returns the session with an access token for an API that can be used now.
func (ts *TokenSource) fresh(ctx context.Context, session *Session, api openid.API) (*Session, error) {
	if !ts.due(session, api) {
		return session, nil
	}
	refreshed, err := ts.refresh(ctx, session, api)
	if err == nil && !ts.usable(refreshed, api) {
		// Another request has replaced the token of this snapshot, and the one that it obtained is over too.
		refreshed, err = ts.refresh(ctx, refreshed, api)
	}
	switch {
	case err == nil:
		return refreshed, nil
	case openid.ReasonOf(err) == ReasonSessionEnded || !ts.usable(session, api):
		return nil, err
	}
	ts.log.WarnContext(ctx, "access token not refreshed yet", "session", session.LogID(), "reason", openid.ReasonOf(err), "error", err)
	return session, nil
}

// due reports whether the access token should be refreshed before it is used. One that has not
// expired is used as it is if it cannot be refreshed now.
func (ts *TokenSource) due(session *Session, api openid.API) bool {
	now, held := ts.now(), session.held(api)
	tokens := held.tokens
	switch {
	case !ts.usable(session, api):
		return true
	case !session.Renewable(), now.Before(session.lease.until), held.backoff.remaining(now) > 0:
		return false
	case tokens.Expires.IsZero():
		return now.Sub(tokens.Obtained) >= unknownLifetime
	}
	early := min(refreshEarly, tokens.Expires.Sub(tokens.Obtained)/4)
	return now.After(tokens.Expires.Add(-early))
}

// usable reports whether the session has an access token for an API that has not expired.
func (ts *TokenSource) usable(session *Session, api openid.API) bool {
	tokens := session.held(api).tokens
	if api != signInAPI && tokens.Access == "" && !session.partial {
		return false
	}
	return tokens.Expires.IsZero() || ts.now().Before(tokens.Expires)
}

// end ends a session that must not go on, and returns the error that says so. Its tokens must
// not outlive it.
func (ts *TokenSource) end(ctx context.Context, session *Session, tokens openid.Tokens, cause error) error {
	ts.log.WarnContext(ctx, "session ended by refresh", "session", session.LogID(), "reason", openid.ReasonOf(cause), "error", cause)
	if err := ts.sessions.End(ctx, session, CauseRefresh); err != nil {
		return err
	}
	ts.revoke(ctx, session, tokens)
	return sessionEnded(cause)
}

// revoke revokes the tokens of a session that has ended, in the background.
func (ts *TokenSource) revoke(ctx context.Context, session *Session, tokens openid.Tokens) {
	ended := &Session{Identity: openid.Identity{Issuer: session.Identity.Issuer}, record: session.record, tokens: tokens}
	ts.background("revocation", func() { ts.rps.Of(ended.Identity.Issuer).RevokeTokens(ctx, ended) })
}

// background runs work that Wait waits for. A panic ends the work and not the process.
func (ts *TokenSource) background(name string, work func()) {
	ts.underway.Go(func() {
		defer openid.RecoverPanic(ts.log, name)
		work()
	})
}

// errPanicked says that work that several requests share has panicked.
var errPanicked = errors.New("authn: a refresh panicked")

// once runs work unless a run with the same key is under way in this process, and returns a
// copy of the result to each caller. The work goes on when the callers are gone: the tokens may
// be new by then.
func (ts *TokenSource) once(ctx context.Context, group *singleflight.Group, key string, work func(context.Context) (*Session, error)) (*Session, error) {
	type result struct {
		session *Session
		err     error
	}
	done := make(chan result, 1)
	// The count starts here and not in the work itself: Wait must know of it as soon as the
	// caller can be gone.
	ts.background("refresh", func() {
		shared, err, _ := group.Do(key, func() (shared any, err error) {
			err = errPanicked // unless work returns
			defer openid.RecoverPanic(ts.log, "refresh")
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callbackTimeout)
			defer cancel()
			return work(ctx)
		})
		if s, _ := shared.(*Session); s != nil {
			snapshot := *s
			done <- result{&snapshot, err}
			return
		}
		done <- result{nil, err}
	})
	select {
	case r := <-done:
		return r.session, r.err
	case <-ctx.Done():
		return nil, interrupted("the refresh", ctx)
	}
}

// failedRefresh distinguishes a failed refresh from a failed sign-in, which mean different
// things to the person.
func failedRefresh(err error) error {
	e, ok := errors.AsType[*openid.Error](err)
	if !ok || e.Reason == openid.ReasonProviderUnreachable || e.Reason == openid.ReasonAPIRefused {
		return err
	}
	return &openid.Error{Reason: ReasonRefreshFailed, Code: e.Code, Err: err}
}

// interrupted is the error of a caller that stops waiting.
func interrupted(waitingFor string, ctx context.Context) error {
	return &openid.Error{Reason: openid.ReasonProviderUnreachable, Err: fmt.Errorf("waiting for %s: %w", waitingFor, ctx.Err())}
}

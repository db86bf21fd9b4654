package authn

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

const (
	// refreshEarly is how long before its expiry an access token is replaced; of one that
	// lives shorter than four times that, a quarter of its life.
	refreshEarly = time.Minute
	// unknownLifetime is how long an access token is used of which the provider did not
	// say how long it lives.
	unknownLifetime = 5 * time.Minute
)

// TokenSource keeps the provider's tokens of a session usable and asks the provider
// in its name. Whatever it does for one session it does once at a time, on however many
// nodes: a refresh token that rotates is withdrawn, with all that came of it, when it is
// used twice (RFC 9700 section 4.14).
type TokenSource struct {
	rp       *RelyingParty
	sessions *Sessions
	profiles singleflight.Group // of RefreshProfile
	renewals singleflight.Group // of renew
	underway sync.WaitGroup

	mu      sync.Mutex
	unsaved map[Key]newTokens
}

// NewTokenSource returns the token source for the sessions of a relying party.
func NewTokenSource(rp *RelyingParty, sessions *Sessions) *TokenSource {
	return &TokenSource{rp: rp, sessions: sessions, unsaved: make(map[Key]newTokens)}
}

// Run saves the tokens that the store would not take, when it takes them again, until ctx
// ends.
func (ts *TokenSource) Run(ctx context.Context) {
	for pause(ctx, saveInterval) {
		ts.saveWaiting(ctx)
	}
}

// Wait waits for what is under way, callbackTimeout at most, and tries once more to save
// what the store would not take: a token that the provider has given out must be saved
// before the program ends.
func (ts *TokenSource) Wait() {
	ts.underway.Wait()
	ts.saveWaiting(context.Background())
	ts.underway.Wait() // for the revocation of what is not saved any more
}

// Token returns an access token of the session that the context carries. It is refreshed
// first if it is about to expire; where that cannot be done, it serves for as long as it
// lives.
//
// It returns ErrAnonymous where the context carries no session. The other errors are an
// *Error of ReasonSessionEnded, where the provider has ended the session or somebody else
// has; ReasonRefreshRefused, where there is no refresh token; ReasonProviderUnreachable,
// ReasonProviderMisconfigured, ReasonRefreshFailed or ReasonStoreUnavailable, where it is
// worth trying again.
func (ts *TokenSource) Token(ctx context.Context) (*oauth2.Token, error) {
	session := FromContext(ctx)
	if session == nil {
		return nil, ErrAnonymous
	}
	session, err := ts.usable(ctx, ts.newest(session))
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{
		AccessToken: string(session.tokens.Access), TokenType: "Bearer", Expiry: session.tokens.Expires,
	}, nil
}

// usable returns the session with an access token that can be used now.
func (ts *TokenSource) usable(ctx context.Context, session *Session) (*Session, error) {
	if !ts.due(session) {
		return session, nil
	}
	renewed, err := ts.renew(ctx, session)
	switch {
	case err == nil:
		return renewed, nil
	case ReasonOf(err) == ReasonSessionEnded || ts.expired(session.tokens):
		return nil, err
	}
	ts.rp.cfg.Log.WarnContext(ctx, "access token not refreshed yet", "session", session.LogID(), "reason", ReasonOf(err), "error", err)
	return session, nil
}

// Source returns the token source of the session that the context carries, in x/oauth2's
// form. It asks Token, as long as the context lives.
func (ts *TokenSource) Source(ctx context.Context) oauth2.TokenSource { return boundSource{ctx, ts} }

type boundSource struct {
	ctx context.Context
	ts  *TokenSource
}

func (s boundSource) Token() (*oauth2.Token, error) { return s.ts.Token(s.ctx) }

// Client returns an HTTP client that sends the session's access token along (RFC 6750
// section 2.1), for calls to the API that it is for. Each call asks Token. The client
// follows no redirects: the token would go to wherever they lead.
func (ts *TokenSource) Client(ctx context.Context) *http.Client {
	return &http.Client{
		// oauth2.NewClient would keep the first token until ten seconds before its end.
		Transport:     &oauth2.Transport{Source: ts.Source(ctx)},
		Timeout:       callbackTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// due reports whether the access token is to be replaced before it is used. One that
// lives is used as it is where nothing better can be had just now.
func (ts *TokenSource) due(session *Session) bool {
	now, tokens := ts.rp.cfg.Now(), session.tokens
	switch {
	case ts.expired(tokens):
		return true
	case tokens.Refresh == "", now.Before(session.lease.until), session.retry.wait(now) > 0:
		return false
	case tokens.Expires.IsZero():
		return now.Sub(tokens.Obtained) >= unknownLifetime
	}
	early := min(refreshEarly, tokens.Expires.Sub(tokens.Obtained)/4)
	return now.After(tokens.Expires.Add(-early))
}

func (ts *TokenSource) expired(tokens Tokens) bool {
	return !tokens.Expires.IsZero() && !ts.rp.cfg.Now().Before(tokens.Expires)
}

// end ends a session that must not go on, and returns the error that says so. Its tokens,
// where the provider still honours them, must not outlive it.
func (ts *TokenSource) end(ctx context.Context, session *Session, tokens Tokens, cause error) error {
	ts.rp.cfg.Log.WarnContext(ctx, "session ended by refresh", "session", session.LogID(), "reason", ReasonOf(cause), "error", cause)
	if err := ts.sessions.End(ctx, session, CauseRefresh); err != nil {
		return err
	}
	ts.revoke(ctx, session, tokens)
	return &Error{Reason: ReasonSessionEnded, Err: cause}
}

// revoke withdraws tokens of a session that has ended, while nobody waits for it.
func (ts *TokenSource) revoke(ctx context.Context, session *Session, tokens Tokens) {
	ended := &Session{record: session.record, tokens: tokens}
	ts.underway.Go(func() { ts.rp.RevokeTokens(ctx, ended) })
}

// errPanicked says that work that several requests share has panicked.
var errPanicked = errors.New("authn: a refresh panicked")

// once runs work for a session as long as no other run is under way for it in this
// process, and gives everybody who asked a copy of its result. It goes on when whoever
// asked is gone: the tokens may be new by then.
func (ts *TokenSource) once(ctx context.Context, group *singleflight.Group, session *Session, work func(context.Context) (*Session, error)) (*Session, error) {
	type result struct {
		session *Session
		err     error
	}
	done := make(chan result, 1)
	// Counted here and not by the work itself: Wait must know of it as soon as whoever
	// asked can be gone.
	ts.underway.Go(func() {
		shared, err, _ := group.Do(string(session.record.Key[:]), func() (shared any, err error) {
			err = errPanicked // unless work returns
			defer survive(ts.rp.cfg.Log, "refresh")
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
		return nil, refuse(ReasonProviderUnreachable, "waiting for the refresh: %w", ctx.Err())
	}
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

package authn

import (
	"context"
	"crypto/rand"
	"errors"
	"math"
	mathrand "math/rand/v2"
	"time"
)

const (
	// A lease outlives a holder that has died by so much. One that works on renews it.
	leaseLifetime = 6 * time.Second
	leaseRenewal  = 2 * time.Second
	// leaseLook is how often another node looks whether the holder is done.
	leaseLook = 50 * time.Millisecond
	// leaseForgotten is how long a lease must have run out to be worth nothing at first
	// sight. Until then the two nodes' clocks may differ.
	leaseForgotten = 5 * time.Minute
)

// lease says who may use a session's refresh token. It is kept in the record itself and
// taken by compare-and-swap, so that it holds on every node, and fences: whoever has lost
// it saves nothing over what its next holder has saved.
type lease struct {
	holder string
	until  time.Time
}

// watch is what a node has seen of another's lease, and since when.
type watch struct {
	lease lease
	since time.Time
}

// lives reports whether a lease's holder is at work. That is judged by one clock alone, the
// watching node's own: a holder renews its lease, and one that has not done so for as long
// as the lease lasts has died.
func (w *watch) lives(l lease, now time.Time) bool {
	if l.holder != w.lease.holder || !l.until.Equal(w.lease.until) {
		*w = watch{l, now}
	}
	return l.holder != "" && now.Sub(w.since) < leaseLifetime && now.Sub(l.until) < leaseForgotten
}

// retry says when the refresh token may be used again after it could not be.
type retry struct {
	failures byte
	at       time.Time
}

const (
	firstRefreshRetry = 2 * time.Second
	lastRefreshRetry  = time.Minute
)

// wait returns how long the refresh token is to be left alone. A wait that is longer than
// any is comes of a clock that was wrong.
func (r retry) wait(now time.Time) time.Duration {
	wait := r.at.Sub(now)
	if wait > lastRefreshRetry+lastRefreshRetry/4 {
		return 0
	}
	return max(wait, 0)
}

// failed returns the wait after one more failure: each twice the one before, unless the
// provider asks for more.
func (r retry) failed(now time.Time, asked time.Duration) retry {
	wait := min(firstRefreshRetry<<min(r.failures, 8), lastRefreshRetry)
	wait += mathrand.N(wait / 4) // many sessions may have failed at the same time
	return retry{failures: min(r.failures, math.MaxUint8-1) + 1, at: now.Add(max(wait, asked))}
}

var (
	// errRenewed says that the tokens that were found wanting have been replaced already.
	errRenewed = errors.New("authn: the tokens are new")
	// errLeased says that another node uses the refresh token.
	errLeased = errors.New("authn: another node refreshes the tokens")
	// errLeaseLost says that another node has taken over.
	errLeaseLost = errors.New("authn: another node has taken over the refresh")
)

// acquire takes the lease on a session's tokens and returns its holder's name. Where the
// tokens of seen have been replaced meanwhile it returns the session that has them, and no
// holder.
func (ts *TokenSource) acquire(ctx context.Context, seen *Session) (session *Session, holder string, err error) {
	holder = rand.Text()
	var other watch
	for {
		session, err = ts.sessions.Update(ctx, seen, func(s *Session) error {
			now := ts.rp.cfg.Now()
			switch {
			case !s.tokens.same(seen.tokens):
				return errRenewed
			case s.tokens.Refresh == "":
				return refuse(ReasonRefreshRefused, "the access token is used up and there is no refresh token")
			case other.lives(s.lease, now):
				return errLeased
			case s.retry.wait(now) > 0:
				return &Error{
					Reason: ReasonProviderUnreachable, RetryAfter: s.retry.wait(now),
					Err: errors.New("the last refresh failed a moment ago"),
				}
			}
			s.lease = lease{holder, now.Add(leaseLifetime)}
			return nil
		})
		switch {
		case err == nil:
			return session, holder, nil
		case errors.Is(err, errRenewed):
			return session, "", nil
		case !errors.Is(err, errLeased) && ctx.Err() == nil:
			return nil, "", err
		case !pause(ctx, leaseLook):
			return nil, "", refuse(ReasonProviderUnreachable, "waiting for another node's refresh: %w", ctx.Err())
		}
	}
}

// keep renews a lease until ctx ends, or another node has it.
func (ts *TokenSource) keep(ctx context.Context, session *Session, holder string) {
	for pause(ctx, leaseRenewal) {
		_, err := ts.sessions.Update(ctx, session, func(s *Session) error {
			if s.lease.holder != holder {
				return errLeaseLost
			}
			s.lease.until = ts.rp.cfg.Now().Add(leaseLifetime)
			return nil
		})
		switch {
		case ctx.Err() != nil, errors.Is(err, errLeaseLost), ReasonOf(err) == ReasonSessionEnded:
			return
		case err != nil:
			ts.rp.cfg.Log.WarnContext(ctx, "lease on the tokens not renewed", "session", session.LogID(), "error", err)
		}
	}
}

// release gives a lease back after a refresh that failed, and notes when to try again.
// Where that cannot be noted the lease runs out by itself.
func (ts *TokenSource) release(ctx context.Context, session *Session, holder string, asked time.Duration) {
	_, err := ts.sessions.Update(context.WithoutCancel(ctx), session, func(s *Session) error {
		if s.lease.holder != holder {
			return errLeaseLost
		}
		s.lease, s.retry = lease{}, s.retry.failed(ts.rp.cfg.Now(), asked)
		return nil
	})
	if err != nil && ReasonOf(err) != ReasonSessionEnded {
		ts.rp.cfg.Log.WarnContext(ctx, "lease on the tokens not given back", "session", session.LogID(), "error", err)
	}
}

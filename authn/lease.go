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
	// A lease outlives a holder that has died by so much. One that works on renews it; the
	// nodes' clocks may differ by what lies between.
	leaseLifetime = 6 * time.Second
	leaseRenewal  = 2 * time.Second
	// leaseLook is how often another node looks whether the holder is done.
	leaseLook = 50 * time.Millisecond
)

// lease says who may use a session's refresh token. It is kept in the record itself and
// taken by compare-and-swap, so that it holds on every node, and fences: whoever has lost
// it cannot save what came of the refresh.
type lease struct {
	holder string
	until  time.Time
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
	errLeaseLost = errors.New("authn: the lease on the tokens was lost")
)

// acquire takes the lease on a session's tokens and returns its holder's name. Where the
// tokens of seen have been replaced meanwhile it returns the session that has them, and no
// holder.
func (ts *TokenSource) acquire(ctx context.Context, seen *Session) (session *Session, holder string, err error) {
	holder = rand.Text()
	for {
		session, err = ts.sessions.Update(ctx, seen, func(s *Session) error {
			now := ts.rp.cfg.Now()
			switch {
			case s.tokens.Access != seen.tokens.Access:
				return errRenewed
			case s.tokens.Refresh == "":
				return refuse(ReasonRefreshRefused, "the access token is used up and there is no refresh token")
			case now.Before(s.lease.until):
				return errLeased
			case now.Before(s.retry.at):
				return &Error{
					Reason: ReasonProviderUnreachable, RetryAfter: s.retry.at.Sub(now),
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
		case !errors.Is(err, errLeased):
			return nil, "", err
		case !pause(ctx, leaseLook):
			return nil, "", refuse(ReasonProviderUnreachable, "waiting for another node's refresh: %w", ctx.Err())
		}
	}
}

// keep renews a lease until ctx ends.
func (ts *TokenSource) keep(ctx context.Context, session *Session, holder string) {
	for pause(ctx, leaseRenewal) {
		_, err := ts.sessions.Update(ctx, session, func(s *Session) error {
			if s.lease.holder != holder {
				return errLeaseLost
			}
			s.lease.until = ts.rp.cfg.Now().Add(leaseLifetime)
			return nil
		})
		if err != nil && ctx.Err() == nil {
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

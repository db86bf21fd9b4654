package authn

import (
	"context"
	"crypto/rand"
	"errors"
	"math"
	mathrand "math/rand/v2"
	"time"

	"latchkey/authn/openid"
)

const (
	// leaseLifetime is how long a lease lasts after its holder dies. A live holder renews it.
	leaseLifetime = 6 * time.Second
	leaseRenewal  = 2 * time.Second
	// leasePoll is how often another node checks whether the holder is done.
	leasePoll = 50 * time.Millisecond
	// A lease that expired this long ago is treated as dead at once. A more recent expiry may only mean
	// that the nodes' clocks differ.
	leaseForgotten = 5 * time.Minute
)

// lease says which node may use a session's refresh token. It is kept in the record itself and
// acquired by compare-and-swap, so that it holds on every node. It is a fence, too: a node that
// has lost it saves nothing over what the next holder has saved.
type lease struct {
	holder string
	until  time.Time
}

// observedLease is another node's lease, and since when it has not been renewed.
type observedLease struct {
	lease lease
	since time.Time
}

// alive reports whether a lease's holder is at work. The observing node goes by its own clock
// alone: a holder renews its lease, and one that has not done so for the lease's lifetime has
// died.
func (o *observedLease) alive(l lease, now time.Time) bool {
	if l.holder != o.lease.holder || !l.until.Equal(o.lease.until) {
		*o = observedLease{l, now}
	}
	return l.holder != "" && now.Sub(o.since) < leaseLifetime && now.Sub(l.until) < leaseForgotten
}

// backoff says when the refresh token may be used again after a refresh has failed.
type backoff struct {
	failures byte
	until    time.Time
}

const (
	firstRefreshRetry = 2 * time.Second
	lastRefreshRetry  = time.Minute
)

// remaining returns how long to wait before the refresh token may be used. A wait longer than next
// ever sets means that a clock was wrong, so it is ignored.
func (b backoff) remaining(now time.Time) time.Duration {
	wait := b.until.Sub(now)
	if wait > lastRefreshRetry+lastRefreshRetry/4 {
		return 0
	}
	return max(wait, 0)
}

// next returns the backoff after one more failure: twice the one before, unless the provider
// asks for more.
func (b backoff) next(now time.Time, retryAfter time.Duration) backoff {
	wait := min(firstRefreshRetry<<min(b.failures, 8), lastRefreshRetry)
	wait += mathrand.N(wait / 4) // many sessions may have failed at the same time
	return backoff{failures: min(b.failures, math.MaxUint8-1) + 1, until: now.Add(max(wait, retryAfter))}
}

var (
	// errRefreshed says that the tokens have been replaced already.
	errRefreshed = errors.New("authn: the tokens have been refreshed already")
	// errLeased says that another node uses the refresh token.
	errLeased = errors.New("authn: another node refreshes the tokens")
	// errLeaseLost says that another node has acquired the lease.
	errLeaseLost = errors.New("authn: another node has acquired the lease")
)

// acquireLease acquires the lease on a session's tokens and returns its holder's name. If the
// access token of seen for the API has been replaced meanwhile it returns the session that has the new
// one, and no holder.
func (ts *TokenSource) acquireLease(ctx context.Context, seen *Session, api openid.API) (session *Session, holder string, err error) {
	holder = rand.Text()
	var other observedLease
	for {
		session, err = ts.sessions.Update(ctx, seen, func(s *Session) error {
			now := ts.now()
			refusedFor, wait := s.held(api).backoff.remaining(now), s.backoff.remaining(now)
			switch {
			case s.replaced(seen, api):
				return errRefreshed
			case s.tokens.Refresh == "" && api != signInAPI:
				return &openid.Error{Reason: openid.ReasonAPIRefused, Err: errors.New("there is no refresh token, so no access token for another API can be requested")}
			case s.tokens.Refresh == "":
				return &openid.Error{Reason: ReasonRefreshRefused, Err: errors.New("the access token has expired and there is no refresh token")}
			case other.alive(s.lease, now):
				return errLeased
			case wait > 0:
				return &openid.Error{Reason: openid.ReasonProviderUnreachable, RetryAfter: wait, Err: errors.New("the last refresh failed a moment ago")}
			case refusedFor > 0:
				return &openid.Error{Reason: openid.ReasonAPIRefused, RetryAfter: refusedFor, Err: errors.New("the provider refused a token for this API a moment ago")}
			}
			s.lease = lease{holder, now.Add(leaseLifetime)}
			return nil
		})
		switch {
		case err == nil:
			return session, holder, nil
		case errors.Is(err, errRefreshed):
			return session, "", nil
		case !errors.Is(err, errLeased) && ctx.Err() == nil:
			return nil, "", err
		case !pause(ctx, leasePoll):
			return nil, "", interrupted("another node's refresh", ctx)
		}
	}
}

// renewLease renews a lease until ctx ends, or another node has it.
func (ts *TokenSource) renewLease(ctx context.Context, session *Session, holder string) {
	for pause(ctx, leaseRenewal) {
		_, err := ts.sessions.Update(ctx, session, func(s *Session) error {
			if s.lease.holder != holder {
				return errLeaseLost
			}
			s.lease.until = ts.now().Add(leaseLifetime)
			return nil
		})
		switch {
		case ctx.Err() != nil, errors.Is(err, errLeaseLost), openid.ReasonOf(err) == ReasonSessionEnded:
			return
		case err != nil:
			ts.log.WarnContext(ctx, "lease on the tokens not renewed", "session", session.LogID(), "error", err)
		}
	}
}

// releaseLease releases a lease after a refresh that failed, and notes when to try again. If
// that cannot be saved the lease expires by itself.
func (ts *TokenSource) releaseLease(ctx context.Context, session *Session, api openid.API, holder string, retryAfter time.Duration) {
	_, err := ts.sessions.Update(context.WithoutCancel(ctx), session, func(s *Session) error {
		if s.lease.holder != holder {
			return errLeaseLost
		}
		s.lease = lease{}
		s.hold(s.held(api).failed(ts.now(), retryAfter))
		return nil
	})
	if err != nil && openid.ReasonOf(err) != ReasonSessionEnded {
		ts.log.WarnContext(ctx, "lease on the tokens not released", "session", session.LogID(), "error", err)
	}
}

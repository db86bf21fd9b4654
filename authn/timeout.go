package authn

import (
	"context"
	"errors"
	"time"

	"latchkey/authn/openid"
)

const (
	// LastSeen moves once in touchInterval at most, or in that fraction of the idle timeout
	// if it is shorter.
	touchInterval = time.Minute
	touchFraction = 10
	// warnBefore is how long before its end the pages of a session warn of it. People need 20
	// seconds at least to read the warning and press a button (WCAG 2.2, 2.2.1), which is a
	// third of an idle timeout of a minute.
	warnBefore   = 2 * time.Minute
	warnFraction = 3
)

// timed sets the times of a session that are stored beside its sealed part. A session whose idle
// timeout is over is an *EndedError.
func (s *Sessions) timed(session *Session, record Record) (*Session, error) {
	record.Sealed = nil
	session.record, session.LastSeen = record, record.LastSeen
	session.IdleUntil = s.idleUntil(record.LastSeen, session.Expires)
	if !s.now().Before(session.IdleUntil) { // which is never after Expires
		return nil, &EndedError{CauseUnknown}
	}
	return session, nil
}

// Touch notes that the person is active, at most once a minute, which restarts the idle
// timeout. It also seals the session again if its application secret is being replaced. A
// failure is logged, and the next request tries again.
func (s *Sessions) Touch(ctx context.Context, session *Session) {
	now := s.now()
	if session.stale {
		if _, err := s.Update(ctx, session, func(*Session) error { return nil }); err != nil {
			s.log.WarnContext(ctx, "session not sealed again", "session", session.LogID(), "error", err)
		}
	}
	if now.Sub(session.LastSeen) < min(touchInterval, s.idle/touchFraction) {
		return
	}
	if err := s.touch(ctx, session, now); err != nil {
		s.log.WarnContext(ctx, "session not touched", "session", session.LogID(), "error", err)
	}
}

// Extend restarts the idle timeout now, because the person asks for it. The *openid.Error has
// ReasonSessionEnded or ReasonStoreUnavailable.
func (s *Sessions) Extend(ctx context.Context, session *Session) error {
	err := s.touch(ctx, session, s.now())
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNotFound):
		return sessionEnded(err)
	default:
		return unavailable(err)
	}
}

func (s *Sessions) touch(ctx context.Context, session *Session, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	until := s.idleUntil(now, session.Expires)
	if err := s.store.Touch(ctx, session.record.Key, now, until); err != nil {
		return err
	}
	session.LastSeen, session.IdleUntil = now, until
	s.watchers.wake(session.record.Key)
	return nil
}

// Expiry is what a page can tell a person about the end of their session.
type Expiry struct {
	// Ends is when the session ends if the person does nothing more.
	Ends time.Time
	// Near says that it is time to warn them.
	Near bool
	// Extendable says that Extend moves the end. Near the absolute timeout only a new sign-in
	// helps.
	Extendable bool
}

func (s *Sessions) expiry(idleUntil, expires time.Time) Expiry {
	lead := min(warnBefore, s.idle/warnFraction)
	near := func(end time.Time) bool { return end.Sub(s.now()) <= lead }
	return Expiry{Ends: idleUntil, Near: near(idleUntil), Extendable: !near(expires)}
}

// Equal reports whether two expiries are the same.
func (e Expiry) Equal(other Expiry) bool {
	return e.Ends.Equal(other.Ends) && e.Near == other.Near && e.Extendable == other.Extendable
}

// idleUntil returns when a session ends if the person does nothing after lastSeen.
func (s *Sessions) idleUntil(lastSeen, expires time.Time) time.Time {
	until := lastSeen.Add(s.idle)
	if until.After(expires) {
		return expires
	}
	return until
}

// Sweep drops expired sessions periodically, and opened ones that are not in use, until ctx ends.
func (s *Sessions) Sweep(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		s.sweep(ctx)
	}
}

func (s *Sessions) sweep(ctx context.Context) {
	defer openid.RecoverPanic(s.log, "sweep")
	s.cache.age()
	if n, err := s.store.Sweep(ctx, s.now()); err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "expired sessions not swept", "error", err)
	} else if n > 0 {
		s.metrics.GetOrCreateCounter(sessionsEndedBy("expired")).Add(n)
		s.log.InfoContext(ctx, "expired sessions swept", "sessions", n)
	}
}

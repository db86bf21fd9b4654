package authn

import (
	"context"
	"errors"
	"time"
)

const (
	// touchInterval is how often LastSeen moves at most, and touchFraction of the idle
	// lifetime where that is shorter.
	touchInterval = time.Minute
	touchFraction = 10
	// warnBefore is how long before its end the pages of a session say so. People need 20
	// seconds at least to read it and press a button (WCAG 2.2, 2.2.1), which is a third of
	// an idle lifetime of a minute.
	warnBefore   = 2 * time.Minute
	warnFraction = 3
)

// Touch notes that the person is there, at most once a minute, and so moves the idle
// end. It also seals a session anew whose application secret is being replaced. What
// fails here is logged and tried again by the next request.
func (s *Sessions) Touch(ctx context.Context, session *Session) {
	now := s.now()
	if session.stale {
		if _, err := s.Update(ctx, session, func(*Session) error { return nil }); err != nil {
			s.log.WarnContext(ctx, "session not sealed anew", "session", session.LogID(), "error", err)
		}
	}
	if now.Sub(session.LastSeen) < min(touchInterval, s.idle/touchFraction) {
		return
	}
	if err := s.touch(ctx, session, now); err != nil {
		s.log.WarnContext(ctx, "session not touched", "session", session.LogID(), "error", err)
	}
}

// Extend moves the idle end now, because the person says that they are there. The *Error is
// of ReasonSessionEnded or ReasonStoreUnavailable.
func (s *Sessions) Extend(ctx context.Context, session *Session) error {
	err := s.touch(ctx, session, s.now())
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNotFound):
		return &Error{Reason: ReasonSessionEnded, Err: err}
	default:
		return &Error{Reason: ReasonStoreUnavailable, Err: err}
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

// End ends a session in the store. After it has returned nil the cookie opens
// nothing, on no node. The session at hand then has the last tokens, for RevokeTokens. The
// *Error is of ReasonStoreUnavailable.
func (s *Sessions) End(ctx context.Context, session *Session, cause Cause) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	// Another request may have refreshed them since this one loaded the session.
	if last, err := s.load(ctx, session.record.Key, session.secret); err == nil && last != nil {
		session.tokens = last.tokens
	}
	if err := s.end(ctx, session.record.Key, cause, session.Expires); err != nil {
		return &Error{Reason: ReasonStoreUnavailable, Err: err}
	}
	return nil
}

// end ends a session in the store, and lets its open pages know at once.
func (s *Sessions) end(ctx context.Context, key Key, cause Cause, until time.Time) error {
	err := s.store.End(ctx, key, cause, until)
	if err == nil {
		s.ended(ctx, cause, key)
	}
	return err
}

// ended tells the open pages of sessions, and whoever watches the program, that they were
// ended.
func (s *Sessions) ended(ctx context.Context, cause Cause, keys ...Key) {
	s.watchers.wake(keys...)
	for _, key := range keys {
		s.statistics.SessionsEnded.Add(cause)
		s.log.InfoContext(ctx, "session ended", "session", logID(key), "cause", cause.String())
	}
}

// Outlook is what a page can tell its person of the end of their session.
type Outlook struct {
	// Ends is when the session ends if its person does nothing more.
	Ends time.Time
	// Near says that it is time to warn them.
	Near bool
	// Extendable says that they can move the end with Extend. Once the absolute end is
	// near only a new sign-in helps.
	Extendable bool
}

func (s *Sessions) outlook(idleUntil, expires time.Time) Outlook {
	lead := min(warnBefore, s.idle/warnFraction)
	near := func(end time.Time) bool { return end.Sub(s.now()) <= lead }
	return Outlook{Ends: idleUntil, Near: near(idleUntil), Extendable: !near(expires)}
}

// Equal reports whether there is nothing new to tell.
func (o Outlook) Equal(other Outlook) bool {
	return o.Ends.Equal(other.Ends) && o.Near == other.Near && o.Extendable == other.Extendable
}

// idleUntil is when a session ends whose person was last seen then.
func (s *Sessions) idleUntil(lastSeen, expires time.Time) time.Time {
	until := lastSeen.Add(s.idle)
	if until.After(expires) {
		return expires
	}
	return until
}

package authn

import (
	"context"
	"time"
)

// Sweep drops expired sessions now and then, until ctx ends.
func (s *Sessions) Sweep(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if n, err := s.store.Sweep(ctx, s.now()); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "expired sessions not swept", "error", err)
		} else if n > 0 {
			s.statistics.SessionsExpired.Add(uint64(n))
			s.log.InfoContext(ctx, "expired sessions swept", "sessions", n)
		}
	}
}

// Ready reports whether the store answers.
func (s *Sessions) Ready(ctx context.Context) error {
	s.readiness.Lock()
	defer s.readiness.Unlock()
	if now := s.now(); s.readyErr != nil || now.Sub(s.readyAt) >= readyFor {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
		defer cancel()
		err := s.store.Ping(ctx)
		if err != nil && s.readyErr == nil {
			s.log.ErrorContext(ctx, "the session store does not answer", "error", err)
		}
		s.readyAt, s.readyErr = now, err
	}
	if s.readyErr != nil {
		return &Error{Reason: ReasonStoreUnavailable, Err: s.readyErr}
	}
	return nil
}

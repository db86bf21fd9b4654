package authn

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"
)

// single runs a function once at a time, in the background: whoever asks for it while
// it runs waits for that run.
type single struct {
	mu      sync.Mutex
	current chan struct{} // closed when the run has ended; nil between runs
}

// start runs fn, or joins the run under way, and returns a channel that is closed when
// it has ended.
func (s *single) start(fn func()) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		return s.current
	}
	done := make(chan struct{})
	s.current = done
	go func() {
		defer close(done)
		fn()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.current = nil
	}()
	return done
}

// survive, deferred by what runs beside the requests, lets the process outlive a panic there,
// where no handler's recovery reaches. What a panic says may quote anything, so its type and
// the stack must do.
func survive(log *slog.Logger, work string) {
	if p := recover(); p != nil {
		log.Error("work panicked", "work", work, "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
	}
}

// running reports whether a run is under way.
func (s *single) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current != nil
}

// Waits between attempts while the provider cannot be reached.
const firstRetry, lastRetry = time.Second, 30 * time.Second

// backoff makes the waits between attempts longer and longer.
type backoff struct{ last time.Duration }

// next returns how long to wait now. Jitter keeps many instances from asking in step.
func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, firstRetry), lastRetry)
	return b.last/2 + rand.N(b.last/2)
}

// reset starts over with short waits.
func (b *backoff) reset() { b.last = 0 }

// pause waits and reports whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

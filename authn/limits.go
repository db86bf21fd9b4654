package authn

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxLimiters bounds each of the two generations of limiters in memory.
const maxLimiters = 20_000

// Limits holds the limiters of the most recent peers or people, in two generations. When young is
// full, it becomes old, and the limiters in the previous old are dropped.
type Limits[K comparable] struct {
	rate       rate.Limit
	burst      int
	mu         sync.Mutex
	young, old map[K]*rate.Limiter
}

// NewLimits returns limits that allow each key a rate a second, and a burst.
func NewLimits[K comparable](limit rate.Limit, burst int) *Limits[K] {
	return &Limits[K]{rate: limit, burst: burst, young: make(map[K]*rate.Limiter)}
}

// Take counts a request and returns how long to wait before it would be allowed, or 0.
func (l *Limits[K]) Take(key K, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter, ok := l.young[key]
	if !ok {
		if limiter, ok = l.old[key]; !ok {
			limiter = rate.NewLimiter(l.rate, l.burst)
		}
		if len(l.young) >= maxLimiters {
			l.old, l.young = l.young, make(map[K]*rate.Limiter)
		}
		l.young[key] = limiter
	}
	return take(limiter, now)
}

// take takes a token from a limiter, or returns how long to wait for one.
func take(limiter *rate.Limiter, now time.Time) time.Duration {
	if limiter.AllowN(now, 1) {
		return 0
	}
	missing := 1 - limiter.TokensAt(now)
	return max(time.Duration(missing/float64(limiter.Limit())*float64(time.Second)), time.Millisecond)
}

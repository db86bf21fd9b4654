package routes

import (
	"net/netip"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"
)

const (
	// signInRate and signInBurst limit how often one address may start or finish a sign-in. They
	// are high enough for an office behind one address on a Monday morning.
	signInRate  = rate.Limit(5) // a second
	signInBurst = 100
	// maxPeers bounds each of the two generations of limiters in memory.
	maxPeers = 20_000
)

// tooManyError says that an address has exceeded its rate.
type tooManyError struct{ wait time.Duration }

func (e *tooManyError) Error() string { return "routes: too many requests from one address" }

// limitSignIns limits how many requests to the provider one address can cause. Loopback is exempt:
// behind a local proxy that TRUSTED_PROXIES does not name, all people share one address, and a
// limit would lock them out together.
func (a *App) limitSignIns() echo.MiddlewareFunc {
	peers := &peerLimits{now: a.Now, young: make(map[netip.Prefix]*rate.Limiter)}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			address, err := netip.ParseAddr(c.RealIP())
			if err != nil || address.IsLoopback() {
				return next(c)
			}
			if wait := peers.take(network(address)); wait > 0 {
				return &tooManyError{wait}
			}
			return next(c)
		}
	}
}

// network returns the network that counts as one peer. With IPv6 a customer has a whole /64.
func network(address netip.Addr) netip.Prefix {
	address = address.Unmap()
	bits := 32
	if address.Is6() {
		bits = 64
	}
	prefix, err := address.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// peerLimits holds the limiters of the most recent peers, in two generations. When young is full,
// it becomes old, and the limiters in the previous old are dropped.
type peerLimits struct {
	now        func() time.Time
	mu         sync.Mutex
	young, old map[netip.Prefix]*rate.Limiter
}

// take counts a request and returns how long to wait before it would be allowed, or 0.
func (l *peerLimits) take(peer netip.Prefix) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter, ok := l.young[peer]
	if !ok {
		if limiter, ok = l.old[peer]; !ok {
			limiter = rate.NewLimiter(signInRate, signInBurst)
		}
		if len(l.young) >= maxPeers {
			l.old, l.young = l.young, make(map[netip.Prefix]*rate.Limiter)
		}
		l.young[peer] = limiter
	}
	now := l.now()
	reservation := limiter.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

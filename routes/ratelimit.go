package routes

import (
	"net/netip"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"
)

const (
	// signInRate and signInBurst are how often one address may begin or finish a sign-in.
	// An office behind one address must still get in on a Monday morning.
	signInRate  = rate.Limit(5) // a second
	signInBurst = 100
	// maxPeers bounds how many addresses are remembered, twice over.
	maxPeers = 20_000
)

// tooManyError says that an address sends more than it may.
type tooManyError struct{ wait time.Duration }

func (e *tooManyError) Error() string { return "routes: too many requests from one address" }

// limitSignIns bounds what one address can have us do at the provider. Loopback is exempt:
// a proxy there that is not named in TRUSTED_PROXIES would have everybody share one
// address, and lock all of them out together.
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

// network is whom an address stands for: with IPv6 one customer has a whole /64.
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

// peerLimits holds the limiters of the peers that were seen last. Beyond maxPeers it drops the
// limiters of those that were not seen for longest.
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

package routes

import (
	"errors"
	"net/netip"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"latchkey/authn"
)

const (
	// signInRate and signInBurst limit how often one address may start or finish a sign-in. They
	// are high enough for an office behind one address on a Monday morning.
	signInRate  = rate.Limit(5) // a second
	signInBurst = 100
	// One person may sign in personSignIns times at once, or signInsPerSession times for each session
	// that they may have, whichever is more, and as many times in each hour after that. Each sign-in adds
	// to the session store, whatever address it comes from. A person needs only a few in an hour.
	personSignIns, signInsPerSession = 200, 4
)

// tooManyRequests is the error of an address that has exceeded its rate.
func tooManyRequests(wait time.Duration) error {
	return &reasonError{reason: "rate_limited", err: errors.New("too many requests from one address"), wait: wait}
}

// tooManySignIns is the error of a person who has signed in too often.
func tooManySignIns(wait time.Duration) error {
	return &reasonError{reason: "person_rate_limited", err: errors.New("too many sign-ins of one person"), wait: wait}
}

// limitSignIns limits how many requests to the provider one address can cause. Loopback is exempt:
// behind a local proxy that TRUSTED_PROXIES does not name, all people share one address, and a
// limit would lock them out together.
func (a *App) limitSignIns() echo.MiddlewareFunc {
	peers := authn.NewLimits[netip.Prefix](signInRate, signInBurst)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			address, err := netip.ParseAddr(c.RealIP())
			if err != nil || address.IsLoopback() {
				return next(c)
			}
			if wait := peers.Take(network(address), a.Now()); wait > 0 {
				return tooManyRequests(wait)
			}
			return next(c)
		}
	}
}

// newPersonLimits returns the limits of people who may have this many sessions.
func newPersonLimits(sessions int) *authn.Limits[authn.Key] {
	n := max(personSignIns, signInsPerSession*sessions)
	return authn.NewLimits[authn.Key](rate.Limit(n)/3600, n) // in a second
}

// limitPerson limits how often one person may sign in. The provider has already said who it is: before
// that nobody can tell.
func (a *App) limitPerson(in *authn.SignIn) error {
	if wait := a.people.Take(authn.NewKey("person", in.Identity.Issuer, in.Identity.Subject), a.Now()); wait > 0 {
		return &authn.SignInError{ID: in.LogID(), ReturnTo: in.ReturnTo, Err: tooManySignIns(wait)}
	}
	return nil
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

package authn

import (
	"context"
	"errors"
	"net/url"
	"time"

	"golang.org/x/time/rate"

	"latchkey/authn/openid"
)

// These limits apply to each provider, and to all clients of the process together: they keep many
// addresses, each within its own limit, from using up what the provider allows this application.
// Beginning a sign-in and exchanging a code are limited separately, so that a flood of new sign-ins does
// not stop the people who come back from the provider.
const (
	signInRate  = rate.Limit(25) // a second
	signInBurst = 500
	// signInsAtOnce is how many may wait for the provider at once: four for each connection, so that a
	// provider that works gets to the last one within its time.
	signInsAtOnce = 256
)

// ClientKey is the key of the context value that holds the address of the client, a string.
type ClientKey struct{}

// throttle limits how often, and how many at once, the sign-ins of this process use the provider.
type throttle struct {
	now    func() time.Time
	local  bool // the provider is on this machine
	bucket *rate.Limiter
	slots  chan struct{}
}

func newThrottle(cfg Config, p *openid.Provider) *throttle {
	issuer, err := url.Parse(p.Issuer())
	return &throttle{
		now: cfg.Now, local: err == nil && openid.IsLoopback(issuer.Hostname()),
		bucket: rate.NewLimiter(signInRate, signInBurst), slots: make(chan struct{}, signInsAtOnce),
	}
}

// enter admits a sign-in at once or not at all. The error is an *openid.Error with ReasonTooManySignIns. The caller
// calls leave when the provider is done.
//
// A client on this machine, or of no known address, may ask a provider on this machine at any rate, in
// development or to measure the app: there is no quota to protect.
func (t *throttle) enter(ctx context.Context) (leave func(), err error) {
	select {
	case t.slots <- struct{}{}:
	default:
		return nil, &openid.Error{
			Reason: ReasonTooManySignIns, RetryAfter: openid.CallTimeout,
			Err: errors.New("as many sign-ins as allowed are waiting for the provider"),
		}
	}
	client, _ := ctx.Value(ClientKey{}).(string)
	if !t.local || (client != "" && !openid.IsLoopback(client)) {
		if wait := take(t.bucket, t.now()); wait > 0 {
			<-t.slots
			return nil, &openid.Error{
				Reason: ReasonTooManySignIns, RetryAfter: wait,
				Err: errors.New("this process has begun or completed as many sign-ins as allowed"),
			}
		}
	}
	return func() { <-t.slots }, nil
}

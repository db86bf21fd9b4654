package authn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"latchkey/authn/openid"
)

// Config describes the relying parties of an application and their sessions. Every field is needed
// unless its comment says otherwise.
type Config struct {
	// Providers are where people sign in. Each has a name and a redirect URL of its own, on one
	// origin, if there are several.
	Providers []*openid.Provider
	// Keys seals transactions and sessions; Store keeps the sessions.
	Keys  *Keys
	Store Store
	// Idle is the idle timeout of a session, and Absolute its absolute timeout.
	Idle, Absolute time.Duration
	// SessionsPerPerson is how many sessions a person may have. Starting one more ends the
	// least recently used one.
	SessionsPerPerson int
	// DeviceBound invites browsers to bind their sessions to a key of the device. It needs https.
	DeviceBound bool
	// Watchers is how many pages may watch their sessions at a time.
	Watchers int
	// CacheBytes is the approximate size limit of the cache of opened sessions and of the fragments rendered
	// from them. Zero means 16 MB, which is enough for about 250 people at a time.
	CacheBytes int
	// BoundTokens has the application's API refuse access tokens that are bound to no key.
	BoundTokens bool
	// ProofNonces demands a nonce of this application in each DPoP proof that its API accepts.
	ProofNonces bool
	// SignInHook decides whether a person whom the provider has identified may have a session.
	// Sessions.Start calls it at every sign-in, and only then. If it returns an error, or does not return
	// within five seconds, no session begins, and the browser keeps the one that it has. The person reads
	// the text of a *Refusal. SignInHook may be nil.
	SignInHook func(context.Context, *Arrival) error

	Now func() time.Time
	Log *slog.Logger
	// Metrics counts sign-ins, sessions and calls to the store; nil makes a set that nobody
	// reads.
	Metrics *metrics.Set
	// StartSpan traces the calls to the store; it may be nil.
	StartSpan openid.StartSpan
}

// Faults returns the faults of the settings, which come from an operator.
func (c Config) Faults() (f openid.Faults) {
	if c.Idle < time.Second {
		f.Add("Idle", fmt.Sprintf("is %s", c.Idle), "make it a second or more")
	}
	if c.Absolute < c.Idle {
		f.Add("Absolute", fmt.Sprintf("is %s, shorter than the idle timeout of %s", c.Absolute, c.Idle), "make it no shorter than the idle timeout")
	}
	if c.SessionsPerPerson < 1 {
		f.Add("SessionsPerPerson", fmt.Sprintf("is %d", c.SessionsPerPerson), "make it 1 or more")
	}
	return f
}

func (c Config) validate() error {
	if faults := c.Faults(); len(faults) > 0 {
		return fmt.Errorf("authn: %w", faults)
	}
	if c.Keys == nil || c.Store == nil || c.Now == nil || c.Log == nil {
		return errors.New("authn: keys, store, clock and log are needed")
	}
	return c.checkProviders()
}

// measured returns the configuration with metrics, and with a store whose calls are measured.
func (c Config) measured() Config {
	if c.Metrics == nil {
		c.Metrics = metrics.NewSet()
	}
	c.Store = newMeasuredStore(c.Store, c.Metrics, c.StartSpan)
	return c
}

// cookies returns the cookie writer.
func (c Config) cookies() cookies { return newCookies(c.Providers[0].RedirectURL()) }

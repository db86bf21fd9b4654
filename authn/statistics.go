package authn

import (
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Statistics count what a relying party and its sessions do, for whoever watches the
// program. The zero Statistics are ready to use.
type Statistics struct {
	// SignInsBegun counts the people who were sent to the provider, and SignInsCompleted
	// those who came back signed in. SignInsFailed counts what was refused, at the
	// beginning or the end.
	SignInsBegun, SignInsCompleted atomic.Uint64
	SignInsFailed                  Tally[Reason]

	SessionsStarted, SessionsExpired atomic.Uint64
	// SessionsEnded counts those that were ended before their time.
	SessionsEnded Tally[Cause]

	// Refreshes counts the uses of refresh tokens.
	Refreshes Tally[Refresh]

	LogoutTokensAccepted atomic.Uint64
	LogoutTokensRefused  Tally[Reason]

	ProviderCalls Timings[ProviderCall]
	StoreCalls    Timings[StoreCall]
	// ClockSkew is how far the provider's clock was ahead of this one when it last
	// answered, in whole seconds.
	ClockSkew atomic.Int64
}

// Refresh is what came of the use of a refresh token.
type Refresh string

// The ways in which a refresh ends.
const (
	Refreshed      Refresh = "refreshed" // there are new tokens
	RefreshRefused Refresh = "refused"   // and so the session has ended
	RefreshFailed  Refresh = "failed"    // and will be tried again
)

// Tally counts by a key that can have few values.
type Tally[K comparable] struct {
	mu     sync.Mutex
	counts map[K]uint64
}

// Add counts one more.
func (t *Tally[K]) Add(key K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = make(map[K]uint64)
	}
	t.counts[key]++
}

// All yields the keys that were counted, in no order, with their counts as they are now.
func (t *Tally[K]) All() iter.Seq2[K, uint64] {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.All(maps.Clone(t.counts))
}

// TimingBounds are the upper bounds, in seconds, of all buckets of a Timing but the last,
// which has none.
func TimingBounds() []float64 {
	return []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
}

// Timing is how long something took, over and over.
type Timing struct {
	// Buckets count how often it took so long; see TimingBounds.
	Buckets []uint64
	Count   uint64
	// Seconds is how long it took in all.
	Seconds float64
}

// Timings measure by a key that can have few values.
type Timings[K comparable] struct {
	mu     sync.Mutex
	bounds []float64
	byKey  map[K]*Timing
}

// Add notes that something took so long.
func (t *Timings[K]) Add(key K, took time.Duration) {
	seconds := took.Seconds()
	t.mu.Lock()
	defer t.mu.Unlock()
	timing, ok := t.byKey[key]
	if !ok {
		if t.byKey == nil {
			t.byKey, t.bounds = make(map[K]*Timing), TimingBounds()
		}
		timing = &Timing{Buckets: make([]uint64, len(t.bounds)+1)}
		t.byKey[key] = timing
	}
	bucket, _ := slices.BinarySearch(t.bounds, seconds)
	timing.Buckets[bucket]++
	timing.Count++
	timing.Seconds += seconds
}

// All yields the keys that were measured, in no order, with their Timing as it is now.
func (t *Timings[K]) All() iter.Seq2[K, Timing] {
	t.mu.Lock()
	defer t.mu.Unlock()
	snapshot := make(map[K]Timing, len(t.byKey))
	for key, timing := range t.byKey {
		snapshot[key] = Timing{slices.Clone(timing.Buckets), timing.Count, timing.Seconds}
	}
	return maps.All(snapshot)
}

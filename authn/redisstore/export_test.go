package redisstore

import (
	"crypto/x509"
	"time"

	"github.com/redis/rueidis"
)

// SetNow sets the store's clock.
func (s *Store) SetNow(now func() time.Time) { s.now = now }

// Trust makes connections trust only the certificates of pool.
func (o *Options) Trust(pool *x509.CertPool) { o.client.TLSConfig.RootCAs = pool }

// AllowCalls sets the limits of calls.
func (o *Options) AllowCalls(d time.Duration) { o.limits.call, o.limits.load = d, d }

// AllowSilence sets the limits after which a connection counts as lost.
func (o *Options) AllowSilence(d time.Duration) { o.limits.dial, o.limits.ping = d, d }

// Forget empties the cache.
func (s *Store) Forget() { s.cache.Flush() }

// Deafen replaces the store's connection with one that reports no changes.
func (s *Store) Deafen() {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	s.link.option.NewCacheStoreFn = func(rueidis.CacheStoreOption) rueidis.CacheStore { return deaf{tracker{s}} }
	s.link.client.Close()
	s.link.client = nil
}

type deaf struct{ tracker }

func (deaf) Delete([]rueidis.RedisMessage) {}

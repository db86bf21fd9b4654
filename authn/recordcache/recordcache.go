// Package recordcache keeps the records that a store has loaded last, so that the store need not fetch
// them for every request. The store says what has changed: then its next Load sees the change.
package recordcache

import (
	"sync"
	"time"

	"latchkey/authn"
)

// entryBytes is the approximate size of an entry without its sealed part.
const entryBytes = 400

// Config describes a cache.
type Config struct {
	// Bytes is the approximate size limit.
	Bytes int
	// For is how long a record is used after it was loaded, in case a change goes unreported. Zero means
	// until it changes or has to make room.
	For time.Duration
	// Now is the clock.
	Now func() time.Time
}

// Cache keeps records in two generations. A record that is used moves to the young generation. When
// that is full, or older than Config.For, it becomes the old one, and the previous old one is dropped.
type Cache struct {
	cfg Config

	mu         sync.RWMutex
	young, old map[authn.Key]cached
	size       int       // of young, in bytes
	began      time.Time // when young began; zero without Config.For
	fetches    map[authn.Key]*fetch
}

type cached struct {
	record authn.Record
	until  time.Time // zero if there is no limit
}

// fetch is a read of a record in progress, shared by its readers. It becomes stale if the
// record changes in the meantime, and then its result is not cached.
type fetch struct {
	readers int
	stale   bool
}

// New returns an empty cache.
func New(cfg Config) *Cache {
	c := &Cache{cfg: cfg, fetches: make(map[authn.Key]*fetch)}
	c.empty()
	return c
}

// Load returns a record of the cache, or else the one that read returns. It keeps that, unless the
// record has changed since read began.
func (c *Cache) Load(key authn.Key, read func() (authn.Record, error)) (authn.Record, error) {
	if r, ok := c.get(key); ok {
		return r, nil
	}
	var until time.Time
	if c.cfg.For > 0 {
		until = c.cfg.Now().Add(c.cfg.For)
	}
	f := c.begin(key)
	r, err := read()
	c.finish(key, f, cached{r, until}, err == nil)
	return r, err
}

func (c *Cache) get(key authn.Key) (authn.Record, bool) {
	c.mu.RLock()
	found, isYoung := c.young[key]
	ok := isYoung
	if !isYoung {
		found, ok = c.old[key]
	}
	c.mu.RUnlock()
	if !ok || (!found.until.IsZero() && !c.cfg.Now().Before(found.until)) {
		return authn.Record{}, false
	}
	if !isYoung {
		c.renew(key)
	}
	return found.record, true
}

// renew moves an entry to the young generation, if it is still cached.
func (c *Cache) renew(key authn.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if found, ok := c.old[key]; ok {
		delete(c.old, key)
		c.put(key, found)
	}
}

// begin registers a read. Call finish to end it.
func (c *Cache) begin(key authn.Key) *fetch {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.fetches[key]
	if f == nil {
		f = new(fetch)
		c.fetches[key] = f
	}
	f.readers++
	return f
}

// finish ends a read, and caches the record if it was found.
func (c *Cache) finish(key authn.Key, f *fetch, entry cached, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.readers--
	if f.stale {
		return
	}
	if f.readers == 0 {
		delete(c.fetches, key)
	}
	if found {
		c.put(key, entry)
	}
}

func (c *Cache) put(key authn.Key, entry cached) {
	if _, ok := c.young[key]; !ok {
		c.size += entryBytes + len(entry.record.Sealed)
	}
	c.young[key] = entry
	if c.size > c.cfg.Bytes/2 || c.expired() {
		c.turn()
	}
}

// Sweep drops records that are no longer used. Without it, they go when others are loaded.
func (c *Cache) Sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expired() {
		c.turn()
	}
}

// expired reports whether the young generation is older than Config.For.
func (c *Cache) expired() bool { return c.cfg.For > 0 && c.cfg.Now().Sub(c.began) >= c.cfg.For }

// turn begins another young generation.
func (c *Cache) turn() {
	c.old, c.young, c.size = c.young, make(map[authn.Key]cached), 0
	if c.cfg.For > 0 {
		c.began = c.cfg.Now()
	}
}

// Drop removes changed records and makes reads in progress stale: their results may predate
// the change.
func (c *Cache) Drop(keys ...authn.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		if found, ok := c.young[key]; ok {
			c.size -= entryBytes + len(found.record.Sealed)
		}
		delete(c.young, key)
		delete(c.old, key)
		if f := c.fetches[key]; f != nil {
			f.stale = true
			delete(c.fetches, key)
		}
	}
}

// Flush removes all records.
func (c *Cache) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.empty()
	for key, f := range c.fetches {
		f.stale = true
		delete(c.fetches, key)
	}
}

func (c *Cache) empty() {
	c.turn()
	c.old = nil
}

package redisstore

import (
	"bytes"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"latchkey/authn"
)

const (
	// cacheBytes is the approximate size limit of the cache.
	cacheBytes = 64 << 20
	// cacheFor is how long a record stays in the cache, in case the server fails to report
	// a change.
	cacheFor = time.Minute
	// entryBytes is the approximate size of an entry without its sealed part.
	entryBytes = 400
)

// cache keeps recently loaded records, in two generations. A record that is used moves to
// the young generation. When that is full, it becomes the old one, and the previous old one
// is dropped.
type cache struct {
	mu         sync.RWMutex
	young, old map[authn.Key]cached
	size       int // of young, in bytes
	fetches    map[authn.Key]*fetch
}

type cached struct {
	record authn.Record
	until  time.Time
}

// fetch is a read of a record in progress, shared by its readers. It becomes stale if the
// record changes in the meantime, and then its result is not cached.
type fetch struct {
	readers int
	stale   bool
}

func newCache() *cache {
	c := &cache{fetches: make(map[authn.Key]*fetch)}
	c.empty()
	return c
}

// get returns a copy of the record.
func (c *cache) get(key authn.Key, now time.Time) (authn.Record, bool) {
	c.mu.RLock()
	found, isYoung := c.young[key]
	ok := isYoung
	if !isYoung {
		found, ok = c.old[key]
	}
	c.mu.RUnlock()
	if !ok || !now.Before(found.until) {
		return authn.Record{}, false
	}
	if !isYoung {
		c.renew(key)
	}
	found.record.Sealed = bytes.Clone(found.record.Sealed)
	return found.record, true
}

// renew moves an entry to the young generation, if it is still cached.
func (c *cache) renew(key authn.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if found, ok := c.old[key]; ok {
		delete(c.old, key)
		c.put(key, found)
	}
}

// begin registers a read. Call finish to end it.
func (c *cache) begin(key authn.Key) *fetch {
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
func (c *cache) finish(key authn.Key, f *fetch, r authn.Record, until time.Time, found bool) {
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
		r.Sealed = bytes.Clone(r.Sealed)
		c.put(key, cached{r, until})
	}
}

func (c *cache) put(key authn.Key, entry cached) {
	if _, ok := c.young[key]; !ok {
		c.size += entryBytes + len(entry.record.Sealed)
	}
	c.young[key] = entry
	if c.size > cacheBytes/2 {
		c.old, c.young, c.size = c.young, make(map[authn.Key]cached), 0
	}
}

// drop removes changed records and makes reads in progress stale: their replies may predate
// the change.
func (c *cache) drop(keys ...authn.Key) {
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

// flush removes all records.
func (c *cache) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.empty()
	for key, f := range c.fetches {
		f.stale = true
		delete(c.fetches, key)
	}
}

func (c *cache) empty() {
	c.young, c.old, c.size = make(map[authn.Key]cached), nil, 0
}

// tracker takes the place of rueidis's cache of a connection. It stores nothing, and passes
// on which records have changed.
type tracker struct{ store *Store }

func (s *Store) trackChanges() rueidis.CacheStore { return tracker{s} }

// Flight implements rueidis.CacheStore. It finds nothing, so rueidis reads from the server.
func (tracker) Flight(string, string, time.Duration, time.Time) (rueidis.RedisMessage, rueidis.CacheEntry) {
	return rueidis.RedisMessage{}, nil
}

// Update implements rueidis.CacheStore.
func (tracker) Update(string, string, rueidis.RedisMessage) int64 { return 0 }

// Cancel implements rueidis.CacheStore.
func (tracker) Cancel(string, string, error) {}

// Delete implements rueidis.CacheStore. The named keys have changed; nil means that any key
// may have.
func (t tracker) Delete(names []rueidis.RedisMessage) {
	if names == nil {
		t.store.cache.flush()
	}
	for _, message := range names {
		name, err := message.ToString()
		if err != nil {
			continue
		}
		if key, ok := t.store.sessionKey(name); ok {
			t.store.cache.drop(key)
		}
	}
}

// Close implements rueidis.CacheStore. The connection is lost, and with it any reports of
// changes.
func (t tracker) Close(error) { t.store.cache.flush() }

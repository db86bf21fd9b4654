package redisstore

import (
	"time"

	"github.com/redis/rueidis"
)

const (
	// defaultCacheBytes is the approximate size limit of the cache if Options.CacheBytes is zero.
	defaultCacheBytes = 64 << 20
	// cacheFor is how long a record of the cache is used, in case the server fails to report a
	// change.
	cacheFor = time.Minute
)

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
		t.store.cache.Flush()
	}
	for _, message := range names {
		name, err := message.ToString()
		if err != nil {
			continue
		}
		if key, ok := t.store.sessionKey(name); ok {
			t.store.cache.Drop(key)
		}
	}
}

// Close implements rueidis.CacheStore. The connection is lost, and with it any reports of
// changes.
func (t tracker) Close(error) { t.store.cache.Flush() }

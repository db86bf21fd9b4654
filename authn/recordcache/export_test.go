package recordcache

import "latchkey/authn"

// Sealed returns how many bytes of sealed records are in the cache.
func (c *Cache) Sealed() (n int) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, generation := range []map[authn.Key]cached{c.young, c.old} {
		for _, entry := range generation {
			n += len(entry.record.Sealed)
		}
	}
	return n
}

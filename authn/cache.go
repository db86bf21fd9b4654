package authn

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"sync"

	"latchkey/authn/openid"
)

// cacheBytes bounds each of the cache's two generations, so the cache holds at most twice as much: opened
// sessions, with the fragments of pages that were rendered from them.
const cacheBytes = 8 << 20

// cache keeps opened sessions, so that a request opens and decodes its session only after a
// change. It never decides whether a session is alive: the store is asked first, and an entry
// counts only for the sealed record that it was opened from.
//
// An entry holds neither tokens nor the cookie's secret: a copy of this process's memory shows the
// cached sessions, but opens nothing in the store.
type cache struct {
	mu sync.Mutex // guards the entries, too
	// recent holds the entries that were used since the generation began, and older those of
	// the generation before, which are dropped unless they are used.
	recent, older map[Key]*cached
	bytes         int // of recent
}

type cached struct {
	cache      *cache
	session    *Session // as it was opened
	secretHash [sha256.Size]byte
	tag        [sealTag]byte
	fragments  map[string]rendered
	size       int
}

// rendered is a fragment, and the state that it shows.
type rendered struct {
	state any
	html  []byte
}

func newCache() *cache { return &cache{recent: make(map[Key]*cached)} }

// get returns a copy of the session of a record that a cookie's secret opens, or nil. The tag is
// compared because a store that has lost writes may give a version number twice.
func (c *cache) get(record Record, secret []byte) *Session {
	entry := c.find(record.Key)
	hash := sha256.Sum256(secret)
	if entry == nil || !entry.session.record.sealedAs(record) || entry.tag != tagOf(record.Sealed) ||
		subtle.ConstantTimeCompare(entry.secretHash[:], hash[:]) != 1 {
		return nil
	}
	session := *entry.session
	session.secret, session.cached = secret, entry
	return &session
}

func (c *cache) find(key Key) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	if entry, ok := c.recent[key]; ok {
		return entry
	}
	entry, ok := c.older[key]
	if ok {
		c.add(key, entry)
	}
	return entry
}

// put keeps a session that was just opened, and returns it without its tokens. Its fragments are kept from
// the next request on: where there are more people than the cache holds, most sessions are gone from it
// before they are used again.
func (c *cache) put(session *Session) *Session {
	kept := session.withoutTokens()
	entry := &cached{
		cache: c, session: kept, secretHash: sha256.Sum256(session.secret), tag: tagOf(session.record.Sealed),
		size: session.size(),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(session.record.Key, entry)
	returned := *kept
	returned.secret = session.secret
	return &returned
}

// add puts an entry into the recent generation. The caller holds the lock.
func (c *cache) add(key Key, entry *cached) {
	c.remove(key)
	c.recent[key] = entry
	c.bytes += entry.size
	if c.bytes > cacheBytes {
		c.turn()
	}
}

// turn begins another generation. The caller holds the lock.
func (c *cache) turn() { c.older, c.recent, c.bytes = c.recent, make(map[Key]*cached), 0 }

// age drops what has not been used since it was called last.
func (c *cache) age() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn()
}

// drop forgets sessions that have ended.
func (c *cache) drop(keys ...Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		c.remove(key)
	}
}

func (c *cache) remove(key Key) {
	if entry, ok := c.recent[key]; ok {
		c.bytes -= entry.size
	}
	delete(c.recent, key)
	delete(c.older, key)
}

// fragment returns a fragment of an entry, if it shows this state.
func (c *cached) fragment(name string, state any) ([]byte, bool) {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	part, ok := c.fragments[name]
	return part.html, ok && part.state == state
}

// keep keeps a fragment of an entry in the place of the one that showed another state.
func (c *cached) keep(name string, part rendered) {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	grown := len(part.html) - len(c.fragments[name].html)
	if c.fragments == nil {
		c.fragments = make(map[string]rendered)
	}
	c.fragments[name] = part
	c.size += grown
	if key := c.session.record.Key; c.cache.recent[key] == c {
		c.cache.bytes += grown
		if c.cache.bytes > cacheBytes {
			c.cache.turn()
		}
	}
}

// withoutTokens returns a copy that shares no memory with the decoded record, in which the tokens
// are.
func (s *Session) withoutTokens() *Session {
	kept := *s
	kept.partial, kept.hasRefreshToken, kept.secret, kept.record.Sealed, kept.cached = true, s.Renewable(), nil, nil, nil
	kept.tokens = openid.Tokens{Obtained: s.tokens.Obtained, Expires: s.tokens.Expires, Scope: s.tokens.Scope}
	kept.apis = make([]heldToken, len(s.apis))
	for i, held := range s.apis {
		held.tokens.Access = ""
		kept.apis[i] = held
	}
	kept.Identity.IDToken, kept.Identity.UserInfo = bytes.Clone(s.Identity.IDToken), bytes.Clone(s.Identity.UserInfo)
	kept.values, kept.claims = bytes.Clone(s.values), nil
	kept.Changes = make([]openid.Change, len(s.Changes))
	for i, change := range s.Changes {
		kept.Changes[i] = openid.Change{Name: change.Name, Before: bytes.Clone(change.Before), After: bytes.Clone(change.After)}
	}
	return &kept
}

// size estimates the memory of a session in the cache. The profile repeats some of the claims.
func (s *Session) size() int {
	n := 2048 + 2*(len(s.Identity.IDToken)+len(s.Identity.UserInfo)) + len(s.tokens.Scope) + len(s.values) + savedBytes(s.saved)
	for _, held := range s.apis {
		n += 256 + len(held.api.Audience) + len(held.api.Scope) + len(held.tokens.Scope)
	}
	for _, change := range s.Changes {
		n += len(change.Name) + len(change.Before) + len(change.After)
	}
	return n
}

// Fragment writes a part of a page, or another response, that depends on the session's version and on state,
// and on nothing else: not on the request. If the session is cached, it calls render once until one of the two
// changes; requests at the same time may each call it. state is a comparable value, or nil.
func (s *Session) Fragment(w io.Writer, name string, state any, render func(io.Writer) error) error {
	if s.cached == nil {
		return render(w)
	}
	html, ok := s.cached.fragment(name, state)
	if !ok {
		var buf bytes.Buffer
		if err := render(&buf); err != nil {
			return err
		}
		html = bytes.Clone(buf.Bytes()) // without spare capacity
		s.cached.keep(name, rendered{state, html})
	}
	_, err := w.Write(html)
	return err
}

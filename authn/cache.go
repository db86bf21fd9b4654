package authn

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"sync"

	"latchkey/authn/openid"
)

const (
	// defaultCacheBytes is the size limit of the cache if Config.CacheBytes is zero.
	defaultCacheBytes = 16 << 20
	// seenBytes is the approximate size of an entry without a session.
	seenBytes = 200
)

// cache keeps opened sessions and the fragments that were rendered from them, so that a request
// opens and decodes its session only after a change. It never decides whether a session is alive: the
// store is asked first, and an entry counts only for the sealed record that it was opened from.
//
// A session is kept when it is opened for the second time, because many are opened only once. The first
// time, the cache only remembers the key.
//
// An entry holds neither tokens nor the cookie's secret: a copy of this process's memory shows the
// cached sessions, but opens nothing in the store.
type cache struct {
	limit int // of each generation, in bytes

	mu sync.Mutex // guards the entries, too
	// recent holds the entries that were used since the generation began, and older those of
	// the generation before, which are dropped unless they are used.
	recent, older           map[Key]*cached
	recentBytes, olderBytes int
}

type cached struct {
	cache      *cache
	session    *Session // as it was opened; nil if that has happened only once
	claims     func() []openid.SourcedClaim
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

// newCache returns an empty cache that holds about this many bytes at most; zero stands for
// defaultCacheBytes.
func newCache(size int) *cache {
	return &cache{limit: cmp.Or(size, defaultCacheBytes) / 2, recent: make(map[Key]*cached)}
}

// get returns a copy of the session of a record that a cookie's secret opens, or nil. The tag is
// compared because a store that has lost writes may give a version number twice.
func (c *cache) get(record Record, secret []byte) *Session {
	entry := c.find(record.Key)
	hash := sha256.Sum256(secret)
	if entry == nil || entry.session == nil || !entry.session.record.sealedAs(record) || entry.tag != tagOf(record.Sealed) ||
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

// put keeps a session that was just opened, if it had been opened before, and returns it without its
// tokens.
func (c *cache) put(session *Session) *Session {
	kept := session.withoutTokens()
	returned := *kept
	returned.secret = session.secret
	key := session.record.Key
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.recent[key] == nil && c.older[key] == nil {
		c.add(key, &cached{size: seenBytes})
		return &returned
	}
	returned.cached = &cached{
		cache: c, session: kept, claims: sync.OnceValue(kept.Identity.Claims),
		secretHash: sha256.Sum256(session.secret), tag: tagOf(session.record.Sealed), size: session.size(),
	}
	c.add(key, returned.cached)
	return &returned
}

// add puts an entry into the recent generation. The caller holds the lock.
func (c *cache) add(key Key, entry *cached) {
	c.remove(key)
	c.recent[key] = entry
	c.grow(entry.size)
}

// grow counts more bytes in the recent generation, and begins another one if it is full. The caller
// holds the lock.
func (c *cache) grow(bytes int) {
	if c.recentBytes += bytes; c.recentBytes > c.limit {
		c.turn()
	}
}

// turn begins another generation. The caller holds the lock.
func (c *cache) turn() {
	c.older, c.olderBytes = c.recent, c.recentBytes
	c.recent, c.recentBytes = make(map[Key]*cached), 0
}

// age drops what has not been used since it was called last.
func (c *cache) age() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn()
}

// size returns the approximate size of the cache in bytes.
func (c *cache) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recentBytes + c.olderBytes
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
		c.recentBytes -= entry.size
		delete(c.recent, key)
	}
	if entry, ok := c.older[key]; ok {
		c.olderBytes -= entry.size
		delete(c.older, key)
	}
}

// fragment returns a fragment of an entry, if it shows this state.
func (c *cached) fragment(name string, state any) ([]byte, bool) {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	part, ok := c.fragments[name]
	return part.html, ok && part.state == state
}

// keep keeps a copy of a fragment, in the place of one for another state.
func (c *cached) keep(name string, state any, html []byte) {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	grown := len(html) - len(c.fragments[name].html)
	if c.size+grown > c.cache.limit/4 {
		return // it would take the room of too many people
	}
	if c.fragments == nil {
		c.fragments = make(map[string]rendered)
	}
	c.fragments[name] = rendered{state, bytes.Clone(html)}
	c.size += grown
	switch key := c.session.record.Key; c {
	case c.cache.recent[key]:
		c.cache.grow(grown)
	case c.cache.older[key]:
		c.cache.olderBytes += grown
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

// size estimates the memory that a session takes in the cache. A claim is there up to three times: as JSON,
// in the list of claims and in the profile.
func (s *Session) size() int {
	n := 2048 + len(s.tokens.Scope) + len(s.values) + savedBytes(s.saved)
	for _, claims := range []openid.Claims{s.Identity.IDToken, s.Identity.UserInfo} {
		n += 3*len(claims) + 64*bytes.Count(claims, []byte(":"))
	}
	for _, held := range s.apis {
		n += 256 + len(held.api.Audience) + len(held.api.Scope) + len(held.tokens.Scope)
	}
	for _, change := range s.Changes {
		n += 80 + len(change.Name) + len(change.Before) + len(change.After)
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
		html = buf.Bytes()
		s.cached.keep(name, state, html)
	}
	_, err := w.Write(html)
	return err
}

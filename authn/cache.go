package authn

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"sync"

	"latchkey/authn/openid"
)

// cacheBytes bounds the opened sessions that a process keeps, with the fragments of pages that
// were rendered from them. The cache holds twice as much at most.
const cacheBytes = 16 << 20

// cache keeps opened sessions, so that a request opens and decodes its session only after a
// change. It never decides whether a session is alive: the store is asked first, and an entry
// counts for the record's version alone.
//
// An entry holds neither tokens nor the cookie's secret: a copy of this process's memory opens
// nothing in the store that it does not show already.
type cache struct {
	mu sync.Mutex
	// recent holds the entries that were used since the generation began, and older those of
	// the generation before, which are dropped unless they are used.
	recent, older map[Key]*cached
	bytes         int // of recent
}

type cached struct {
	session   *Session // as opened, for the version of its record
	secret    [sha256.Size]byte
	fragments *fragments
}

func newCache() *cache { return &cache{recent: make(map[Key]*cached)} }

// get returns a copy of the session of a record that a cookie's secret opens, or nil.
func (c *cache) get(record Record, secret []byte) *Session {
	entry := c.find(record.Key)
	hash := sha256.Sum256(secret)
	if entry == nil || entry.session.record.Version != record.Version || subtle.ConstantTimeCompare(entry.secret[:], hash[:]) != 1 {
		return nil
	}
	session := *entry.session
	session.secret, session.fragments = secret, entry.fragments
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

// put keeps a session that was just opened.
func (c *cache) put(session *Session) {
	entry := &cached{session: session.withoutTokens(), secret: sha256.Sum256(session.secret)}
	entry.fragments = &fragments{cache: c}
	session.fragments = entry.fragments
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(session.record.Key, entry)
}

// add puts an entry into the recent generation, and begins another when that is full. The caller
// holds the lock.
func (c *cache) add(key Key, entry *cached) {
	if c.bytes > cacheBytes {
		c.older, c.recent, c.bytes = c.recent, make(map[Key]*cached), 0
	}
	c.recent[key] = entry
	c.bytes += entry.session.size() + entry.fragments.bytes()
}

// drop forgets sessions that have ended.
func (c *cache) drop(keys ...Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		delete(c.recent, key)
		delete(c.older, key)
	}
}

// grow counts bytes that were added to an entry.
func (c *cache) grow(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes += n
}

// withoutTokens returns a copy that shares no memory with the decoded record, in which the tokens
// are.
func (s *Session) withoutTokens() *Session {
	kept := *s
	kept.partial, kept.hasRefreshToken, kept.secret, kept.fragments = true, s.renewable(), nil, nil
	kept.tokens = openid.Tokens{Obtained: s.tokens.Obtained, Expires: s.tokens.Expires, Scope: s.tokens.Scope}
	kept.Identity.IDToken, kept.Identity.UserInfo = bytes.Clone(s.Identity.IDToken), bytes.Clone(s.Identity.UserInfo)
	kept.values, kept.claims = bytes.Clone(s.values), nil
	kept.Changes = make([]openid.Change, len(s.Changes))
	for i, change := range s.Changes {
		kept.Changes[i] = openid.Change{Name: change.Name, Before: bytes.Clone(change.Before), After: bytes.Clone(change.After)}
	}
	return &kept
}

// size estimates the memory of a session.
func (s *Session) size() int {
	n := 1024 + len(s.Identity.IDToken) + len(s.Identity.UserInfo) + len(s.values) + savedBytes(s.saved)
	for _, change := range s.Changes {
		n += len(change.Name) + len(change.Before) + len(change.After)
	}
	return n
}

// fragments are parts of pages that were rendered from a session, by name.
type fragments struct {
	cache *cache
	mu    sync.Mutex
	named map[string]rendered
}

type rendered struct {
	state any
	html  []byte
}

// Fragment returns a part of a page that depends on the session's version and on state, and on
// nothing else: not on the request. If the session is cached, it calls render once until one of the
// two changes. state is a comparable value, or nil.
func (s *Session) Fragment(name string, state any, render func() ([]byte, error)) ([]byte, error) {
	f := s.fragments
	if f == nil {
		return render()
	}
	f.mu.Lock()
	old, ok := f.named[name]
	f.mu.Unlock()
	if ok && old.state == state {
		return old.html, nil
	}
	html, err := render()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.named == nil {
		f.named = make(map[string]rendered)
	}
	f.cache.grow(len(html) - len(f.named[name].html))
	f.named[name] = rendered{state, html}
	return html, nil
}

func (f *fragments) bytes() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, part := range f.named {
		n += len(part.html)
	}
	return n
}

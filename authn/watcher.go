package authn

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// The tabs of a browser share one watcher. If they cannot, a browser opens six
	// connections to a host.
	watchersPerSession = 6
	watchersPerPerson  = 5 * watchersPerSession
)

// ErrTooManyWatchers says that a session, its person or the process has as many watchers as
// allowed.
var ErrTooManyWatchers = errors.New("authn: too many pages watch their sessions")

// Watcher watches a session for an open page, which must not keep showing what belongs to a
// session that has ended. Watching does not restart the idle timeout.
type Watcher struct {
	sessions   *Sessions
	key, owner Key
	person     names // of the session's person
	secret     []byte
	// expires is the absolute end as of version.
	expires time.Time
	version uint64
	wake    chan struct{}
}

// Watch returns a watcher, which must be closed, or ErrTooManyWatchers.
func (s *Sessions) Watch(session *Session) (*Watcher, error) {
	w := &Watcher{
		sessions: s, key: session.record.Key, owner: session.record.Owner, secret: session.secret,
		person:  s.keys.owner(session.Identity.Issuer, session.Identity.Subject),
		expires: session.Expires, version: session.record.Version, wake: make(chan struct{}, 1),
	}
	if !s.watchers.add(w) {
		return nil, ErrTooManyWatchers
	}
	return w, nil
}

// Watching returns the number of watchers.
func (s *Sessions) Watching() int {
	s.watchers.mu.Lock()
	defer s.watchers.mu.Unlock()
	return s.watchers.total
}

// Close stops watching.
func (w *Watcher) Close() { w.sessions.watchers.remove(w) }

// Wake returns a channel that receives when this process ends the session or moves its end: it is time
// to call Check. What other processes do shows only at the next Check.
func (w *Watcher) Wake() <-chan struct{} { return w.wake }

// Check returns the expiry of the session as it is in the store, or an *EndedError, of
// CauseUnknown if it has expired. Any other error, an *openid.Error with ReasonStoreUnavailable,
// means that nobody can tell now.
//
// It opens the record only if that has been saved since: there may be thousands of watchers.
func (w *Watcher) Check(ctx context.Context) (Expiry, error) {
	record, err := w.sessions.store.Load(ctx, w.key)
	if err != nil {
		return Expiry{}, loadError(err)
	}
	if record.Version != w.version {
		session, err := w.sessions.decode(record, w.secret)
		if err != nil {
			return Expiry{}, &EndedError{CauseUnknown}
		}
		w.expires, w.version = session.Expires, record.Version
	}
	idleUntil := w.sessions.idleUntil(record.LastSeen, w.expires)
	if !w.sessions.now().Before(idleUntil) {
		return Expiry{}, &EndedError{CauseUnknown}
	}
	return w.sessions.expiry(idleUntil, w.expires), nil
}

// Own lists the sessions of the session's person, as Sessions.Own does.
func (w *Watcher) Own(ctx context.Context) ([]OwnSession, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	records, err := w.sessions.liveRecords(ctx, w.person)
	if err != nil {
		return nil, err
	}
	return ownSessions(records, w.key), nil
}

// watchers are the watchers of this process.
type watchers struct {
	limit int

	mu        sync.Mutex
	total     int
	bySession map[Key]map[*Watcher]struct{}
	byOwner   map[Key]int
}

func newWatchers(limit int) *watchers {
	return &watchers{limit: limit, bySession: make(map[Key]map[*Watcher]struct{}), byOwner: make(map[Key]int)}
}

func (ws *watchers) add(w *Watcher) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.total >= ws.limit || len(ws.bySession[w.key]) >= watchersPerSession || ws.byOwner[w.owner] >= watchersPerPerson {
		return false
	}
	if ws.bySession[w.key] == nil {
		ws.bySession[w.key] = make(map[*Watcher]struct{})
	}
	ws.bySession[w.key][w] = struct{}{}
	ws.byOwner[w.owner]++
	ws.total++
	return true
}

func (ws *watchers) remove(w *Watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if _, ok := ws.bySession[w.key][w]; !ok {
		return
	}
	if delete(ws.bySession[w.key], w); len(ws.bySession[w.key]) == 0 {
		delete(ws.bySession, w.key)
	}
	if ws.byOwner[w.owner]--; ws.byOwner[w.owner] == 0 {
		delete(ws.byOwner, w.owner)
	}
	ws.total--
}

// wake tells the watchers of sessions to look. One that has not looked since it was last told
// is not told again.
func (ws *watchers) wake(keys ...Key) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, key := range keys {
		for w := range ws.bySession[key] {
			select {
			case w.wake <- struct{}{}:
			default:
			}
		}
	}
}

package authn

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	sessionCookie  = "session"
	sessionPurpose = "session"
	// Bounds on the calls to the store; a request that waits longer is answered as an
	// outage. To begin, change or end a session is rare and worth a slow disk's time.
	readTimeout  = time.Second
	writeTimeout = 2 * time.Second
	// readyFor is how long an answer of Ready stands: anybody can ask.
	readyFor = time.Second
)

// Sessions starts, loads, changes and ends sessions. It alone writes the session
// cookie, and it is the sessions.Store of gorilla's for an application's own values.
//
// The cookie holds an id and a secret and never grows. The store finds the record
// by the hash of the id; the record is sealed under a key that takes both the
// application's secret and the cookie's, so that a stolen store opens nothing, with
// the application's secret or without.
type Sessions struct {
	store          Store
	keys           *Keys
	cookies        cookies
	issuer         string
	idle, absolute time.Duration
	perPerson      int
	now            func() time.Time
	log            *slog.Logger
	watchers       *watchers
	statistics     *Statistics
	// unopened is set once the log says that a session could not be opened.
	unopened atomic.Bool

	readiness sync.Mutex
	readyAt   time.Time
	readyErr  error
}

// NewSessions returns the sessions that cfg's Store keeps.
func NewSessions(cfg Config) (*Sessions, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg = cfg.measured()
	return &Sessions{
		store: cfg.Store, keys: cfg.Keys, cookies: cookies{secure: cfg.Secure}, issuer: cfg.Issuer,
		idle: cfg.Idle, absolute: cfg.Absolute, perPerson: cfg.SessionsPerPerson, now: cfg.Now, log: cfg.Log,
		watchers:   newWatchers(cfg.Watchers),
		statistics: cfg.Statistics,
	}, nil
}

// Load returns the session that a request's cookie opens, or nil for a visitor: no
// cookie, or one that is unknown, ended, expired or made up. An error, of
// ReasonStoreUnavailable, means that nobody can tell; it must not be taken for nil.
func (s *Sessions) Load(r *http.Request) (*Session, error) {
	value, ok := s.cookies.get(r, sessionCookie)
	if !ok {
		return nil, nil
	}
	id, secret, ok := splitCookie(value)
	if !ok {
		return nil, nil
	}
	return s.load(r.Context(), NewKey(sessionPurpose, id), secret)
}

func (s *Sessions) load(ctx context.Context, key Key, secret []byte) (*Session, error) {
	session, err := s.find(ctx, key, secret)
	if _, ended := errors.AsType[*EndedError](err); ended {
		return nil, nil
	}
	return session, err
}

// find returns a session, or an *EndedError where there is none: of CauseUnknown if it was
// not ended by anybody, or nobody remembers.
func (s *Sessions) find(ctx context.Context, key Key, secret []byte) (*Session, error) {
	record, err := s.record(ctx, key)
	if err != nil {
		return nil, err
	}
	session, err := s.open(record, secret)
	if err != nil {
		// A wrong cookie secret, a replaced application secret, a damaged record:
		// for the person all of them mean to sign in again. The operator hears of it once:
		// with the secret gone, everybody's comes here.
		level := slog.LevelDebug
		if s.unopened.CompareAndSwap(false, true) {
			level = slog.LevelWarn
		}
		s.log.Log(ctx, level, "session not opened", "error", err)
		return nil, &EndedError{CauseUnknown}
	}
	if !s.now().Before(session.IdleUntil) { // which is never after Expires
		return nil, &EndedError{CauseUnknown}
	}
	return session, nil
}

// record loads a session's record, or returns an *EndedError as find does.
func (s *Sessions) record(ctx context.Context, key Key) (Record, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	record, err := s.store.Load(ctx, key)
	if ended, ok := errors.AsType[*EndedError](err); ok {
		return Record{}, ended
	}
	if errors.Is(err, ErrNotFound) {
		return Record{}, &EndedError{CauseUnknown}
	}
	if err != nil {
		return Record{}, &Error{Reason: ReasonStoreUnavailable, Err: err}
	}
	return record, nil
}

// Ended says why the session was ended that a request's cookie names, or CauseUnknown. It
// is for a page that tells its person; who could not open the session learns nothing else
// of it.
func (s *Sessions) Ended(r *http.Request) Cause {
	value, ok := s.cookies.get(r, sessionCookie)
	if !ok {
		return CauseUnknown
	}
	id, _, ok := splitCookie(value)
	if !ok {
		return CauseUnknown
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	_, err := s.store.Load(ctx, NewKey(sessionPurpose, id))
	if ended, ok := errors.AsType[*EndedError](err); ok {
		return ended.Cause
	}
	return CauseUnknown
}

// Stale reports whether the browser sent a session cookie that Load opened nothing
// with.
func (s *Sessions) Stale(r *http.Request, loaded *Session) bool {
	return loaded == nil && s.cookies.sent(r, sessionCookie)
}

// Clear deletes the session cookie.
func (s *Sessions) Clear(w http.ResponseWriter) {
	s.cookies.clear(w, sessionCookie, http.SameSiteLaxMode)
}

// Update applies change to the session as it is now in the store and saves it,
// again if somebody else saves first: change may run more than once. It returns the
// session as saved. Where change returns an error nothing is saved: Update returns that
// error as it is, and the session as it was found. An *Error of ReasonSessionEnded says
// that it has ended, and what has ended is never written back.
func (s *Sessions) Update(ctx context.Context, session *Session, change func(*Session) error) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	for attempt := 0; ; attempt++ {
		fresh, err := s.load(ctx, session.record.Key, session.secret)
		if err != nil {
			return nil, err
		}
		if fresh == nil {
			return nil, &Error{Reason: ReasonSessionEnded, Err: ErrNotFound}
		}
		if err := change(fresh); err != nil {
			return fresh, err
		}
		record, err := s.seal(fresh)
		if err != nil {
			return nil, err
		}
		switch err := s.store.Save(ctx, record); {
		case err == nil:
			fresh.record.Version++
			fresh.stale = false
			return fresh, nil
		case errors.Is(err, ErrConflict):
			// Writers that come together would meet again and again.
			if !pause(ctx, rand.N(time.Duration(attempt+1)*time.Millisecond)) {
				return nil, &Error{Reason: ReasonStoreUnavailable, Err: err}
			}
		case errors.Is(err, ErrNotFound):
			return nil, &Error{Reason: ReasonSessionEnded, Err: err}
		default:
			return nil, &Error{Reason: ReasonStoreUnavailable, Err: err}
		}
	}
}

// seal makes the record of a session, bound to its key: a record that is stored
// under another session's key does not open.
func (s *Sessions) seal(session *Session) (Record, error) {
	sealed, err := s.keys.seal(sessionPurpose, session.secret, session.encode(), sealContext(sessionFormat, session.record.Key))
	if err != nil {
		return Record{}, err
	}
	record := session.record
	record.LastSeen, record.Expires = session.LastSeen, session.IdleUntil
	record.Sealed = append([]byte{sessionFormat}, sealed...)
	return record, nil
}

func (s *Sessions) open(record Record, secret []byte) (*Session, error) {
	if len(record.Sealed) == 0 {
		return nil, errEncoding
	}
	format := record.Sealed[0]
	plain, current, err := s.keys.open(sessionPurpose, secret, record.Sealed[1:], sealContext(format, record.Key))
	if err != nil {
		return nil, err
	}
	session, err := decodeSession(format, plain)
	if err != nil {
		return nil, err
	}
	// Another provider's word counts for nothing here, not even with the same store and
	// keys: it may be the development provider's, or the one of before a change.
	if session.Identity.Issuer != s.issuer {
		return nil, errors.New("the session is of another issuer")
	}
	record.Sealed = nil
	session.record, session.secret, session.stale = record, secret, !current
	// The lifetimes count as they are configured now, where that is the shorter.
	if limit := session.Started.Add(s.absolute); limit.Before(session.Expires) {
		session.Expires = limit
	}
	session.LastSeen = record.LastSeen
	session.IdleUntil = s.idleUntil(record.LastSeen, session.Expires)
	return session, nil
}

func sealContext(format byte, key Key) []byte { return append([]byte{format}, key[:]...) }

// splitCookie takes the cookie's value apart.
func splitCookie(value string) (id string, secret []byte, ok bool) {
	id, rest, ok := strings.Cut(value, ".")
	if !ok || len(id) != 43 || len(rest) != 43 {
		return "", nil, false
	}
	for _, part := range []string{id, rest} {
		if _, err := base64.RawURLEncoding.DecodeString(part); err != nil {
			return "", nil, false
		}
	}
	return id, []byte(rest), true
}

// OwnerKey names a person in the store.
func OwnerKey(issuer, subject string) Key { return NewKey("owner", issuer, subject) }

// ProviderSessionKey names the provider's session in the store.
func ProviderSessionKey(issuer, sid string) Key { return NewKey("provider session", issuer, sid) }

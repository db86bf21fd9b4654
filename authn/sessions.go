package authn

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/sync/singleflight"

	"latchkey/authn/openid"
)

const (
	sessionCookie  = "session"
	sessionPurpose = "session"
	// readTimeout bounds a call that reads the store. A request that waits longer is answered as an outage.
	readTimeout = time.Second
	// writeTimeout does so for a call that begins, changes or ends a session. These are rare, so a slow
	// disk may take its time: a sign-in that fails here has used up its code.
	writeTimeout = 5 * time.Second
	// logoutTimeout bounds the end of a session that the provider asks for in a frame of the browser.
	logoutTimeout = 2 * time.Second
	// readyFor is how long an answer of Ready stands: anyone can ask.
	readyFor = time.Second
)

// Sessions starts, loads, changes and ends sessions. It alone writes the session cookie, and it
// is gorilla's sessions.Store for an application's own values.
//
// The cookie holds an id and a secret and never grows. The store finds the record by the hash
// of the id. The record is sealed under a key derived from both the application's secret and
// the cookie's, so that a stolen store opens nothing, with the application's secret or without.
type Sessions struct {
	store          Store
	keys           *Keys
	cookies        cookies
	providers      []*openid.Provider
	idle, absolute time.Duration
	perPerson      int
	bindsDevices   bool
	hook           func(context.Context, *Arrival) error
	now            func() time.Time
	log            *slog.Logger
	metrics        *metrics.Set
	watchers       *watchers
	cache          *cache
	// unopened is set once the log says that a session could not be opened.
	unopened atomic.Bool

	readiness readiness
}

// readiness is the last answer of Ready.
type readiness struct {
	flight singleflight.Group

	mu  sync.Mutex
	at  time.Time
	err error
}

// NewSessions returns the sessions that cfg's Store keeps.
func NewSessions(cfg Config) (*Sessions, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg = cfg.measured()
	countSessions(cfg.Metrics)
	cookies, cache := cfg.cookies(), newCache(cfg.CacheBytes)
	cfg.Metrics.GetOrCreateGauge(sessionCacheBytes, func() float64 { return float64(cache.size()) })
	cfg.Metrics.GetOrCreateGauge(sessionCacheLimit, func() float64 { return float64(2 * cache.limit) })
	return &Sessions{
		store: cfg.Store, keys: cfg.Keys, cookies: cookies, providers: cfg.Providers,
		idle: cfg.Idle, absolute: cfg.Absolute, perPerson: cfg.SessionsPerPerson, hook: cfg.SignInHook,
		bindsDevices: cfg.DeviceBound && cookies.secure,
		now:          cfg.Now, log: cfg.Log, metrics: cfg.Metrics, watchers: newWatchers(cfg.Watchers), cache: cache,
	}, nil
}

// providerOf returns the provider of an issuer, or nil if none is configured.
func (s *Sessions) providerOf(issuer string) *openid.Provider {
	for _, p := range s.providers {
		if p.HasIssuer(issuer) {
			return p
		}
	}
	return nil
}

// PerPerson returns how many sessions a person may have.
func (s *Sessions) PerPerson() int { return s.perPerson }

// Load returns the session that a request's cookie opens. It returns nil for a visitor, who has no
// cookie or one that is unknown, ended, expired or forged. It returns an *openid.Error with
// ReasonStoreUnavailable if the store cannot tell, and ErrRenewalNeeded if the session is alive but the
// browser has to prove its key first. Neither error means that the request comes from a visitor.
//
// The session of a GET or HEAD request lacks its tokens; TokenSource.Token fetches them.
//
// Load does not depend on whether the request is cancelled: the store answers in time in any case, and
// a client that has closed only its sending side still reads.
func (s *Sessions) Load(r *http.Request) (*Session, error) {
	key, secret, ok := s.cookie(r)
	if !ok {
		return nil, nil
	}
	load := s.load
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		load = s.loadCached // the others, such as a sign-out, may need the tokens
	}
	session, err := load(context.WithoutCancel(r.Context()), key, secret)
	if _, ended := errors.AsType[*EndedError](err); ended {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s.proven(r, session)
}

// loadCached returns a session as load does, but without its tokens. The store decides whether the
// session is alive; the cache saves opening a version that was opened before.
func (s *Sessions) loadCached(ctx context.Context, key Key, secret []byte) (*Session, error) {
	record, err := s.store.Load(ctx, key)
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			s.cache.drop(key)
		}
		return nil, loadError(err)
	}
	session := s.cache.get(record, secret)
	if session == nil {
		opened, err := s.open(ctx, record, secret)
		if err != nil {
			return nil, err
		}
		session = s.cache.put(opened)
	}
	return s.timed(session, record)
}

// load returns a session with its tokens, or an *EndedError if there is none: of CauseUnknown if
// nobody ended it, or if that is forgotten.
func (s *Sessions) load(ctx context.Context, key Key, secret []byte) (*Session, error) {
	record, err := s.store.Load(ctx, key)
	if err != nil {
		return nil, loadError(err)
	}
	session, err := s.open(ctx, record, secret)
	if err != nil {
		return nil, err
	}
	session.tokens.IDToken = openid.Secret(withPayload(string(session.tokens.IDToken), session.Identity.IDToken))
	return s.timed(session, record)
}

// loadError turns an error of Store.Load into one of load.
func loadError(err error) error {
	if ended, ok := errors.AsType[*EndedError](err); ok {
		return ended
	}
	if errors.Is(err, ErrNotFound) {
		return &EndedError{CauseUnknown}
	}
	return unavailable(err)
}

// cookie returns the key of the session that a request's cookie names, and the cookie's
// secret.
func (s *Sessions) cookie(r *http.Request) (key Key, secret []byte, ok bool) {
	value, ok := s.cookies.get(r, sessionCookie)
	if !ok {
		return Key{}, nil, false
	}
	id, rest, ok := parseSessionCookie(value)
	if !ok {
		return Key{}, nil, false
	}
	return NewKey(sessionPurpose, id), []byte(rest), true
}

// parseSessionCookie returns the parts of a session cookie's value.
func parseSessionCookie(value string) (id, secret string, ok bool) {
	id, secret, ok = strings.Cut(value, ".")
	return id, secret, ok && isToken(id) && isToken(secret)
}

// isToken reports whether a text looks like one of openid.RandomToken: 256 bits in base64url.
func isToken(text string) bool {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return len(text) == 43 && strings.Trim(text, alphabet) == ""
}

// EndCause returns why the session that a request's cookie names was ended, or CauseUnknown. It
// is for a page that tells the person; without the cookie's secret, nobody learns anything else
// about the session.
func (s *Sessions) EndCause(r *http.Request) Cause {
	key, _, ok := s.cookie(r)
	if !ok {
		return CauseUnknown
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), readTimeout)
	defer cancel()
	_, err := s.store.Load(ctx, key)
	if ended, ok := errors.AsType[*EndedError](err); ok {
		return ended.Cause
	}
	return CauseUnknown
}

// SentCookie reports whether a request has a session cookie. A value that this package cannot have
// written belongs to another application, and does not count.
func (s *Sessions) SentCookie(r *http.Request) bool {
	return s.cookies.sent(r, sessionCookie, func(value string) bool {
		_, _, ok := parseSessionCookie(value)
		return ok
	})
}

// Clear deletes the session cookie, and the one that proves its key.
func (s *Sessions) Clear(w http.ResponseWriter) {
	s.cookies.clear(w, sessionCookie, http.SameSiteLaxMode)
	if s.bindsDevices {
		s.cookies.clear(w, boundCookie, http.SameSiteLaxMode)
	}
}

// Update applies change to the session as it is now in the store and saves it. If another
// writer saves first it tries again, so change may run more than once. It returns the session
// as saved. If change returns an error nothing is saved: Update returns that error as it is,
// and the session as it was found. An *openid.Error with ReasonSessionEnded says that the session
// has ended; an ended session is never written back.
func (s *Sessions) Update(ctx context.Context, session *Session, change func(*Session) error) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	for attempt := 0; ; attempt++ {
		fresh, err := s.load(ctx, session.record.Key, session.secret)
		if _, ended := errors.AsType[*EndedError](err); ended {
			return nil, sessionEnded(err)
		}
		if err != nil {
			return nil, err
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
			record.Version, record.Sealed = record.Version+1, nil
			fresh.record, fresh.stale = record, false
			return fresh, nil
		case errors.Is(err, ErrConflict):
			// Without a random pause, concurrent writers would conflict again and again.
			if !pause(ctx, rand.N(time.Duration(attempt+1)*time.Millisecond)) {
				return nil, unavailable(fmt.Errorf("%w: %w", err, ctx.Err()))
			}
		case errors.Is(err, ErrNotFound):
			return nil, sessionEnded(err)
		default:
			return nil, unavailable(err)
		}
	}
}

// seal returns the record of a session, under the current names of its person and its provider
// session.
func (s *Sessions) seal(session *Session) (Record, error) {
	record := session.record
	record.Owner, record.ProviderSession = s.keys.indexes(&session.Identity)
	sealed, err := s.keys.seal(sessionPurpose, session.secret, session.encode(), sealContext(sessionFormat, record))
	if err != nil {
		return Record{}, err
	}
	record.LastSeen, record.Expires = session.LastSeen, session.IdleUntil
	record.Sealed = append([]byte{sessionFormat}, sealed...)
	return record, nil
}

// open opens and decodes the sealed part of a record. A session that does not open is an
// *EndedError: a wrong cookie secret, a replaced application secret and a damaged record all mean
// that the person has to sign in again. The log warns of it once, because it happens to everyone
// if the application secret is lost.
func (s *Sessions) open(ctx context.Context, record Record, secret []byte) (*Session, error) {
	session, err := s.decode(record, secret)
	if err != nil {
		level := slog.LevelDebug
		if s.unopened.CompareAndSwap(false, true) {
			level = slog.LevelWarn
		}
		s.log.Log(ctx, level, "session not opened", "error", err)
		return nil, &EndedError{CauseUnknown}
	}
	return session, nil
}

func (s *Sessions) decode(record Record, secret []byte) (*Session, error) {
	if len(record.Sealed) == 0 {
		return nil, errEncoding
	}
	format := record.Sealed[0]
	plain, current, err := s.keys.open(sessionPurpose, secret, record.Sealed[1:], sealContext(format, record))
	if err != nil {
		return nil, err
	}
	session, err := decodeSession(format, plain)
	if err != nil {
		return nil, err
	}
	// A session of another issuer does not count, even with the same store and keys: it may
	// be the development provider's, or that of a provider before a change.
	if s.providerOf(session.Identity.Issuer) == nil {
		return nil, errors.New("the session is of another issuer")
	}
	owner, providerSession := s.keys.indexes(&session.Identity)
	session.stale = !current || record.Owner != owner || record.ProviderSession != providerSession
	session.person = personID(owner)
	session.record, session.secret = record, secret
	// A timeout that has been shortened since counts for old sessions, too.
	if limit := session.Started.Add(s.absolute); limit.Before(session.Expires) {
		session.Expires = limit
	}
	return session, nil
}

// withTokens returns a session with its tokens: itself, or as it is in the store now. The
// *openid.Error has ReasonSessionEnded or ReasonStoreUnavailable.
func (s *Sessions) withTokens(ctx context.Context, session *Session) (*Session, error) {
	if !session.partial {
		return session, nil
	}
	return s.current(ctx, session)
}

// current returns a session as it is in the store now. The errors are those of withTokens.
func (s *Sessions) current(ctx context.Context, session *Session) (*Session, error) {
	full, err := s.load(ctx, session.record.Key, session.secret)
	if _, ended := errors.AsType[*EndedError](err); ended {
		return nil, sessionEnded(err)
	}
	return full, err
}

// sealContext returns the values that a record's sealed part is bound to. The sealed part does not open
// if the key, the owner, the provider session or the time of sign-in has been changed: otherwise a
// changed record could escape a revocation.
func sealContext(format byte, r Record) []byte {
	b := append([]byte{format}, r.Key[:]...)
	if format < boundSessionFormat {
		return b
	}
	b = append(append(b, r.Owner[:]...), r.ProviderSession[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(r.SignedIn.UnixMicro())) // stores keep microseconds
}

// Ready returns nil if the store answers. During an outage all callers share one Ping, so that none waits
// longer than readTimeout.
func (s *Sessions) Ready(ctx context.Context) error {
	r, now := &s.readiness, s.now()
	r.mu.Lock()
	fresh := r.err == nil && now.Sub(r.at) < readyFor
	r.mu.Unlock()
	if fresh {
		return nil
	}
	_, err, _ := r.flight.Do("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
		defer cancel()
		err := s.store.Ping(ctx)
		r.mu.Lock()
		defer r.mu.Unlock()
		if err != nil && r.err == nil {
			s.log.ErrorContext(ctx, "the session store does not answer", "error", err)
		}
		r.at, r.err = now, err
		return nil, err
	})
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// pause waits and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

package authn

import (
	"context"
	"encoding/hex"
	"strings"
	"time"
)

// Session is what is known of one sign-in: a snapshot that belongs to one request. To
// change it is to ask Sessions for an Update, which returns the next one; Touch and a Save
// of an application's values bring the snapshot at hand up to date.
type Session struct {
	Identity Identity
	// Started is when the session began, by this application's clock.
	Started time.Time
	// Expires is the absolute end, which nothing moves. IdleUntil is when it ends
	// if its person does nothing more; it is never later.
	Expires, IdleUntil time.Time
	LastSeen           time.Time
	// ProfileAt is when the provider was last asked about the person, and Changes is
	// what it then said otherwise than before.
	ProfileAt time.Time
	Changes   []Change

	tokens Tokens
	// nonce is that of the sign-in; a refreshed ID token may repeat it.
	nonce string
	// asked are the moments of the last profile refreshes, the newest last.
	asked []time.Time
	// values is the application's own map, as gorilla's session has it, in gob.
	values []byte
	// lease is who uses the refresh token just now, and retry when it may be used again
	// after that has failed.
	lease lease
	retry retry
	// held are requests that wait for the person to sign in anew, the newest last.
	held []Held

	record Record // without its sealed part
	secret []byte // the cookie's; opens the record
	stale  bool   // sealed under a secret that is being replaced
}

// LogID names the session in logs: enough to follow it, too little to find it.
func (s *Session) LogID() string { return logID(s.record.Key) }

func logID(key Key) string { return hex.EncodeToString(key[:4]) }

// Scopes are those of the session's access token, where the provider says them.
func (s *Session) Scopes() []string { return strings.Fields(s.tokens.Scope) }

// PersonID names the person to their own pages, and in logs: the same in all of their
// sessions, another for everybody else.
func (s *Session) PersonID() string { return hex.EncodeToString(s.record.Owner[:8]) }

// endBy moves the absolute end forward to when the provider's session ends, if it says
// so and it is earlier.
func (s *Session) endBy(t time.Time) {
	if !t.IsZero() && t.Before(s.Expires) {
		s.Expires = t
	}
}

type sessionContextKey struct{}

// NewContext returns a context that carries the session of a request.
func NewContext(ctx context.Context, s *Session) context.Context {
	return context.WithValue(ctx, sessionContextKey{}, s)
}

// FromContext returns the session that NewContext put there, or nil: the visitor
// has not signed in.
func FromContext(ctx context.Context) *Session {
	s, _ := ctx.Value(sessionContextKey{}).(*Session)
	return s
}

// sessionFormat is the version of what follows. A record of an older version is read, and
// written anew when it is next saved; one of a newer version reads as no session at all: it
// was written by a program that knows more.
const (
	sessionFormat       = 2
	oldestSessionFormat = 1 // without what encodeSince2 writes
)

func (s *Session) encode() []byte {
	var e encoder
	i := &s.Identity
	e.string(i.Issuer)
	e.string(i.Subject)
	e.string(i.SID)
	e.time(i.AuthTime)
	e.bytes(i.IDToken)
	e.bytes(i.UserInfo)
	e.string(i.Profile.Name)
	e.string(i.Profile.Email)
	e.bool(i.Profile.EmailVerified)
	e.string(i.Profile.Picture)
	e.string(string(s.tokens.Access))
	e.string(string(s.tokens.Refresh))
	e.string(string(s.tokens.IDToken))
	e.time(s.tokens.Expires)
	e.string(s.tokens.Scope)
	e.string(s.nonce)
	e.time(s.Started)
	e.time(s.Expires)
	e.time(s.ProfileAt)
	e.byte(byte(len(s.asked)))
	for _, t := range s.asked {
		e.time(t)
	}
	e.byte(byte(min(len(s.Changes), maxChanges)))
	for _, c := range s.Changes[:min(len(s.Changes), maxChanges)] {
		e.string(c.Name)
		e.bytes(c.Before)
		e.bytes(c.After)
	}
	e.bytes(s.values)
	s.encodeSince2(&e)
	return e.buf
}

func (s *Session) encodeSince2(e *encoder) {
	e.byte(byte(len(s.held)))
	for _, h := range s.held {
		h.encode(e)
	}
	e.time(s.tokens.Obtained)
	e.string(s.lease.holder)
	e.time(s.lease.until)
	e.byte(s.retry.failures)
	e.time(s.retry.at)
}

func (s *Session) decodeSince2(d *decoder) {
	for range d.byte() {
		s.held = append(s.held, decodeHeld(d))
	}
	s.tokens.Obtained = d.time()
	s.lease = lease{holder: d.string(), until: d.time()}
	s.retry = retry{failures: d.byte(), at: d.time()}
}

// maxChanges bounds how many changes are remembered of a refresh.
const maxChanges = 100

func decodeSession(format byte, b []byte) (*Session, error) {
	if format < oldestSessionFormat || format > sessionFormat {
		return nil, errEncoding
	}
	d := decoder{buf: b}
	s := &Session{
		Identity: Identity{
			Issuer: d.string(), Subject: d.string(), SID: d.string(), AuthTime: d.time(),
			IDToken: d.bytes(), UserInfo: d.bytes(),
			Profile: Profile{Name: d.string(), Email: d.string(), EmailVerified: d.bool(), Picture: d.string()},
		},
		tokens: Tokens{
			Access: Secret(d.string()), Refresh: Secret(d.string()), IDToken: Secret(d.string()),
			Expires: d.time(), Scope: d.string(),
		},
		nonce:   d.string(),
		Started: d.time(), Expires: d.time(), ProfileAt: d.time(),
	}
	for range d.byte() {
		s.asked = append(s.asked, d.time())
	}
	for range d.byte() {
		s.Changes = append(s.Changes, Change{Name: d.string(), Before: d.bytes(), After: d.bytes()})
	}
	s.values = d.bytes()
	if format >= 2 {
		s.decodeSince2(&d)
	}
	return s, d.err()
}

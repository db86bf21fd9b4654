package authn

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"latchkey/authn/openid"
)

// Session is a snapshot of a session that belongs to one request. Sessions.Update changes the
// session and returns the next snapshot; Touch and a Save of an application's values update
// this one.
type Session struct {
	Identity openid.Identity
	// Started is when the session began, by this application's clock.
	Started time.Time
	// Expires is the absolute end, which nothing postpones. IdleUntil is when the session
	// ends if the person does nothing more; it is never later.
	Expires, IdleUntil time.Time
	LastSeen           time.Time
	// ProfileAt is when the provider was last asked about the person, and Changes lists the
	// claims that had changed then.
	ProfileAt time.Time
	Changes   []openid.Change

	tokens openid.Tokens
	// partial says that the session comes from the cache: its tokens lack the tokens themselves,
	// and hasRefreshToken says whether there is one.
	partial, hasRefreshToken bool
	// nonce is that of the sign-in; a refreshed ID token may repeat it.
	nonce string
	// asked holds the times of the sign-in and of the profile refreshes in the last minute, the newest
	// last; see askedWindow.
	asked []time.Time
	// values are the application's own, in gob.
	values []byte
	// apis holds the access tokens for other APIs, the newest last.
	apis []heldToken
	// lease says who uses the refresh token now, and backoff when it may be used again after
	// that has failed.
	lease   lease
	backoff backoff
	// saved holds the requests that wait until the person has signed in again, the newest
	// last.
	saved []SavedRequest
	// deviceKey is the key that the session is bound to, or nil, and provenUntil is when the proof of
	// it expires that came with the request.
	deviceKey   openid.DeviceKey
	provenUntil time.Time

	person string                // PersonID
	claims []openid.SourcedClaim // of Identity, once Claims has been called

	record Record  // without its sealed part
	secret []byte  // the cookie's, which opens the record
	stale  bool    // sealed under a secret that is being replaced
	cached *cached // the entry of this version; nil if there is none
}

// LogID names the session in logs and for operators, who can end it by this name. It is the beginning of
// the session's key in the store, and opens nothing.
func (s *Session) LogID() string { return logID(s.record.Key) }

func logID(key Key) string { return hex.EncodeToString(key[:4]) }

// Scopes returns the scopes of the session's access token, if the provider says them.
func (s *Session) Scopes() []string { return strings.Fields(s.tokens.Scope) }

// TokenExpires returns when the session's access token expires; zero if the provider does not say.
func (s *Session) TokenExpires() time.Time { return s.tokens.Expires }

// Claims lists every claim of the session's person once; see openid.Identity.Claims. Requests share
// the values: they must not be changed.
func (s *Session) Claims() []openid.SourcedClaim {
	if s.cached != nil {
		return slices.Clone(s.cached.claims())
	}
	if s.claims == nil {
		s.claims = s.Identity.Claims()
	}
	return slices.Clone(s.claims)
}

// Renewable reports whether the session has a refresh token.
func (s *Session) Renewable() bool { return s.hasRefreshToken || s.tokens.Refresh != "" }

// PersonID names the person to their own pages and in logs. All of their sessions have the
// same, until the application's secret is replaced.
func (s *Session) PersonID() string { return s.person }

// endBy moves the absolute end to when the provider's session ends, if that is earlier.
func (s *Session) endBy(t time.Time) {
	if !t.IsZero() && t.Before(s.Expires) {
		s.Expires = t
	}
}

// Format implements fmt.Formatter for every verb: fmt would print the secrets in unexported
// fields without calling their methods.
func (s Session) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "session "+s.LogID()) }

// SessionKey is the key of a context's *Session, for a context type that carries it itself.
type SessionKey struct{}

// NewContext returns a context that carries the session of a request.
func NewContext(ctx context.Context, s *Session) context.Context {
	return context.WithValue(ctx, SessionKey{}, s)
}

// FromContext returns the session that a context carries, or nil if the visitor has not signed
// in.
func FromContext(ctx context.Context) *Session {
	s, _ := ctx.Value(SessionKey{}).(*Session)
	return s
}

// sessionFormat is the version of the encoding. A record of an older version is read, and
// written in this version when it is next saved. One of a newer version, which a newer program
// wrote, opens no session.
const (
	sessionFormat       = 4 // before that, with the whole ID token (see withoutPayload) and without the fields of encodeSince4
	boundSessionFormat  = 3 // the first one that is bound to more than its key; see sealContext
	oldestSessionFormat = 1 // without the fields of encodeSince2
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
	e.string(withoutPayload(string(s.tokens.IDToken), i.IDToken))
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
	s.encodeSince4(&e)
	s.encodeOptional(&e)
	return e.buf
}

func (s *Session) encodeSince2(e *encoder) {
	e.byte(byte(len(s.saved)))
	for _, h := range s.saved {
		h.encode(e)
	}
	e.time(s.tokens.Obtained)
	e.string(s.lease.holder)
	e.time(s.lease.until)
	e.byte(s.backoff.failures)
	e.time(s.backoff.until)
}

func (s *Session) decodeSince2(d *decoder) {
	for range d.byte() {
		s.saved = append(s.saved, decodeSavedRequest(d))
	}
	s.tokens.Obtained = d.time()
	s.lease = lease{holder: d.string(), until: d.time()}
	s.backoff = backoff{failures: d.byte(), until: d.time()}
}

// The fields that a record has only if they are not empty, each after its tag, at its end. A program that
// does not know one of them opens no such record: it would save it without the field.
const (
	optionalProofKey  = 'p'
	optionalDeviceKey = 'd'
)

func (s *Session) encodeOptional(e *encoder) {
	if s.tokens.ProofKey != "" {
		e.byte(optionalProofKey)
		e.string(string(s.tokens.ProofKey))
	}
	if s.Bound() {
		e.byte(optionalDeviceKey)
		e.bytes(s.deviceKey)
	}
}

func (s *Session) decodeOptional(d *decoder) {
	for len(d.buf) > 0 && !d.bad {
		switch d.byte() {
		case optionalProofKey:
			s.tokens.ProofKey = openid.Secret(d.string())
		case optionalDeviceKey:
			s.deviceKey = bytes.Clone(d.bytes())
		default:
			d.bad = true
		}
	}
}

// maxChanges bounds how many changes of a refresh are kept.
const maxChanges = 100

// decodeSession returns a session whose ID token may lack its payload; see withPayload.
func decodeSession(format byte, b []byte) (*Session, error) {
	if format < oldestSessionFormat || format > sessionFormat {
		return nil, errEncoding
	}
	d := decoder{buf: b}
	s := &Session{
		Identity: openid.Identity{
			Issuer: d.string(), Subject: d.string(), SID: d.string(), AuthTime: d.time(),
			IDToken: d.bytes(), UserInfo: d.bytes(),
			Profile: openid.Profile{Name: d.string(), Email: d.string(), EmailVerified: d.bool(), Picture: d.string()},
		},
		tokens: openid.Tokens{
			Access: openid.Secret(d.string()), Refresh: openid.Secret(d.string()), IDToken: openid.Secret(d.string()),
			Expires: d.time(), Scope: d.string(),
		},
		nonce:   d.string(),
		Started: d.time(), Expires: d.time(), ProfileAt: d.time(),
	}
	for range d.byte() {
		s.asked = append(s.asked, d.time())
	}
	for range d.byte() {
		s.Changes = append(s.Changes, openid.Change{Name: d.string(), Before: d.bytes(), After: d.bytes()})
	}
	s.values = d.bytes()
	if format >= 2 {
		s.decodeSince2(&d)
	}
	if format >= 4 {
		s.decodeSince4(&d)
		s.decodeOptional(&d)
	}
	return s, d.err()
}

// withoutPayload returns an ID token without its payload, as in a detached JWS (RFC 7515 appendix F), if
// its claims are those of the session, as they are until a refresh changes either.
func withoutPayload(token string, claims openid.Claims) string {
	return strings.Replace(token, payloadOf(claims), "..", 1)
}

// withPayload returns the token that withoutPayload was given. No verified token has an empty payload.
func withPayload(token string, claims openid.Claims) string {
	return strings.Replace(token, "..", payloadOf(claims), 1)
}

func payloadOf(claims openid.Claims) string {
	return "." + base64.RawURLEncoding.EncodeToString(claims) + "."
}

package authn

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"time"

	"latchkey/authn/openid"
)

// A session can be bound to a key that never leaves the browser's machine (Device Bound Session
// Credentials, a W3C draft). The session cookie of a bound session opens nothing by itself: the request
// also needs a second cookie, which is valid for minutes, and which the browser renews by proving that
// it has the key. A copy of both cookies is useless once the second one has expired.
//
// If a browser does not support such keys, the session cookie alone opens its session.
const (
	boundCookie = "bound"
	// proofLifetime is how long a proof counts. The browser drops the cookie a little earlier, and so
	// before any node refuses it, if their clocks differ by openid.Leeway.
	proofLifetime  = 10 * time.Minute
	cookieLifetime = proofLifetime - openid.Leeway
	// registrationLifetime is how long after the sign-in a browser may register its key.
	registrationLifetime = time.Minute
	// settling is the time after the sign-in in which the session cookie alone opens a session that
	// is bound already: the first page, and what it loads, is requested while the browser registers.
	// A thief who copies the cookies in that time has the second one, too, and for longer.
	settling = registrationLifetime + openid.Leeway
	// challengeLifetime is how long a browser may keep a challenge for its next proof. It outlasts a
	// proof, so that the renewals of a page in use take one request each.
	challengeLifetime = proofLifetime + 5*time.Minute

	registrationPurpose = "device registration"
	bindingPurpose      = "device binding"
)

var (
	// ErrRenewalNeeded says that a request has the cookie of a bound session, but no cookie that
	// proves the key: the session lives, and opens as soon as the browser has renewed that cookie.
	ErrRenewalNeeded = errors.New("authn: the browser has to prove the key of the session first")
	// ErrProofNeeded says that a renewal has no proof, or one of a challenge that is too old: the
	// browser has to answer the challenge that comes with the error.
	ErrProofNeeded = errors.New("authn: the browser has to answer a challenge")
	// ErrNotBound says that a browser tries to renew a bound session that has ended, or never existed.
	ErrNotBound = errors.New("authn: there is no such bound session")
)

// ProofError says that a proof of a key was refused. Session and Person are the session's names in
// logs, or empty if it is not known.
type ProofError struct {
	Session, Person string
	Err             error
}

func (e *ProofError) Error() string { return "authn: device proof refused: " + e.Err.Error() }

// Unwrap returns what is wrong with the proof.
func (e *ProofError) Unwrap() error { return e.Err }

// DeviceOffer is what a browser needs to register a key. The authorization is a secret.
type DeviceOffer struct{ Challenge, Authorization string }

// DeviceChallenge is the challenge of the next proof, and the name that the browser has for the
// session, which opens nothing.
type DeviceChallenge struct{ Session, Challenge string }

// BindsDevices reports whether the application invites browsers to bind their sessions. It does not do
// so on plain http, where browsers ignore the invitation.
func (s *Sessions) BindsDevices() bool { return s.bindsDevices }

// BoundCookie returns the name of the cookie that proves the key.
func (s *Sessions) BoundCookie() string { return s.cookies.name(boundCookie) }

// Bound reports whether the session is bound to a key.
func (s *Session) Bound() bool { return len(s.deviceKey) > 0 }

// ProvenUntil returns when the request's proof of the session's key expires; zero if the session is not
// bound.
func (s *Session) ProvenUntil() time.Time { return s.provenUntil }

// proven returns the session if it is not bound, or if the request proves its key.
func (s *Sessions) proven(r *http.Request, session *Session) (*Session, error) {
	if !s.bindsDevices || !session.Bound() {
		return session, nil
	}
	session.provenUntil = session.Started.Add(settling)
	if value, ok := s.cookies.get(r, boundCookie); ok {
		if until := s.keys.provenUntil(session, value); until.After(session.provenUntil) {
			session.provenUntil = until
		}
	}
	if !s.now().Before(session.provenUntil) {
		return nil, ErrRenewalNeeded
	}
	return session, nil
}

// OfferDevice returns what a browser needs to register a key for the session that has just started.
// The request that registers it comes without the session cookie, because the provider's site began
// the navigation, so that the authorization leads to the session.
func (s *Sessions) OfferDevice(session *Session) (DeviceOffer, error) {
	var e encoder
	e.bytes(session.record.Key[:])
	e.bytes(session.secret)
	e.time(session.Started.Add(registrationLifetime))
	sealed, err := s.keys.seal(registrationPurpose, nil, e.buf, nil)
	if err != nil {
		return DeviceOffer{}, err
	}
	return DeviceOffer{s.challenge(session).Challenge, base64.RawURLEncoding.EncodeToString(sealed)}, nil
}

// openAuthorization returns which session an authorization of OfferDevice is for.
func (s *Sessions) openAuthorization(authorization string) (key Key, secret []byte, err error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(authorization)
	if err != nil {
		return Key{}, nil, errors.New("the authorization is malformed")
	}
	plain, _, err := s.keys.open(registrationPurpose, nil, sealed, nil)
	if err != nil {
		return Key{}, nil, err
	}
	d := decoder{buf: plain}
	n := copy(key[:], d.bytes())
	secret, until := d.bytes(), d.time()
	switch {
	case d.err() != nil || n != len(key):
		return Key{}, nil, errEncoding
	case s.now().After(until.Add(openid.Leeway)):
		return Key{}, nil, errors.New("the registration comes too late")
	}
	return key, secret, nil
}

// BindDevice binds a session to the key of a proof that answers OfferDevice, and sets the cookie that
// proves it. endpoint is the address that the browser sent the proof to. It binds a session once:
// nobody can replace its key. The error is a *ProofError, or an *openid.Error with ReasonSessionEnded
// or ReasonStoreUnavailable.
func (s *Sessions) BindDevice(w http.ResponseWriter, r *http.Request, endpoint, proof string) (DeviceChallenge, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), writeTimeout)
	defer cancel()
	session, deviceKey, err := s.registration(ctx, endpoint, proof)
	if err != nil {
		return DeviceChallenge{}, err
	}
	bound, err := s.Update(ctx, session, func(fresh *Session) error {
		if fresh.Bound() {
			return errBoundAlready
		}
		fresh.deviceKey, fresh.record.Bound = deviceKey, true
		return nil
	})
	if errors.Is(err, errBoundAlready) {
		err = s.refuse(session, err)
	}
	if err != nil {
		return DeviceChallenge{}, err
	}
	s.metrics.GetOrCreateCounter(sessionsBound).Inc()
	s.log.InfoContext(ctx, "session bound to a device", "session", bound.LogID(), "person", bound.PersonID())
	s.setBoundCookie(w, bound)
	return s.challenge(bound), nil
}

// registration verifies a proof that answers OfferDevice, and uses up its challenge. It returns the session
// that the proof is for, and the key.
func (s *Sessions) registration(ctx context.Context, endpoint, proof string) (*Session, openid.DeviceKey, error) {
	p, err := openid.ParseDeviceProof(proof)
	if err != nil {
		return nil, nil, s.refuse(nil, err)
	}
	key, secret, err := s.openAuthorization(p.Authorization)
	if err != nil {
		return nil, nil, s.refuse(nil, err)
	}
	session, err := s.load(ctx, key, secret)
	if _, ended := errors.AsType[*EndedError](err); ended {
		return nil, nil, sessionEnded(err)
	}
	if err != nil {
		return nil, nil, err
	}
	deviceKey, err := p.Key()
	if err == nil {
		err = p.Verify(deviceKey, endpoint)
	}
	if err == nil && session.Bound() {
		err = errBoundAlready
	}
	if err != nil {
		return nil, nil, s.refuse(session, err)
	}
	err = s.takeChallenge(ctx, session, p.Challenge)
	if errors.Is(err, ErrProofNeeded) {
		err = s.refuse(session, err) // the browser does not register again
	}
	return session, deviceKey, err
}

var errBoundAlready = errors.New("the session is bound to a key already")

// RenewDevice checks a proof of the key of the session that a request's cookie names, and sets the
// cookie that proves it. id is the name that the browser has for the session; proof is empty if the
// browser knows no challenge. The next challenge also comes with the errors ErrProofNeeded and
// *ProofError, neither of which ends anything: a copy of the cookie must not be able to. The other
// errors are ErrNotBound, and an *openid.Error with ReasonStoreUnavailable.
func (s *Sessions) RenewDevice(w http.ResponseWriter, r *http.Request, endpoint, id, proof string) (DeviceChallenge, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), writeTimeout)
	defer cancel()
	session, err := s.LoadToEnd(r)
	switch {
	case err != nil:
		return DeviceChallenge{}, err
	case session == nil:
		// The session has ended. Leave the session cookie to the next page: this response could arrive
		// after a sign-in in another tab and delete its cookie.
		s.cookies.clear(w, boundCookie, http.SameSiteLaxMode)
		return DeviceChallenge{}, ErrNotBound
	case !session.Bound() || id != deviceSession(session):
		// Another sign-in has replaced the session. The cookie stays, because the browser may renew
		// that of the new session at the same time.
		return DeviceChallenge{}, ErrNotBound
	case proof == "":
		return s.challenge(session), ErrProofNeeded
	}
	p, err := openid.ParseDeviceProof(proof)
	if err == nil {
		err = p.Verify(session.deviceKey, endpoint)
	}
	if err != nil {
		return s.challenge(session), s.refuse(session, err)
	}
	if err := s.takeChallenge(ctx, session, p.Challenge); err != nil {
		return s.challenge(session), err
	}
	s.metrics.GetOrCreateCounter(sessionsRenewed).Inc()
	s.setBoundCookie(w, session)
	return s.challenge(session), nil
}

// LoadToEnd returns the session of a request as Load does, without its key being proven: to renew the
// proof, or to end the session. A person who signs out must be signed out.
func (s *Sessions) LoadToEnd(r *http.Request) (*Session, error) {
	key, secret, ok := s.cookie(r)
	if !ok {
		return nil, nil
	}
	session, err := s.load(context.WithoutCancel(r.Context()), key, secret)
	if _, ended := errors.AsType[*EndedError](err); ended {
		return nil, nil
	}
	return session, err
}

// ClearBound deletes a cookie that should prove the key and does not, so that the browser renews it,
// and reports whether there was one.
func (s *Sessions) ClearBound(w http.ResponseWriter, r *http.Request) bool {
	sent := s.cookies.sent(r, boundCookie, func(value string) bool {
		_, _, ok := parseBoundCookie(value)
		return ok
	})
	if sent {
		s.cookies.clear(w, boundCookie, http.SameSiteLaxMode)
	}
	return sent
}

// refuse counts a proof that is refused, and returns the error for it. The session may be nil.
func (s *Sessions) refuse(session *Session, err error) error {
	s.metrics.GetOrCreateCounter(proofsRefused).Inc()
	refused := &ProofError{Err: err}
	if session != nil {
		refused.Session, refused.Person = session.LogID(), session.PersonID()
	}
	return refused
}

// setBoundCookie sets the cookie that proves the key of a session. An earlier one counts until its own
// end, because requests that are under way have it.
func (s *Sessions) setBoundCookie(w http.ResponseWriter, session *Session) {
	s.cookies.set(w, boundCookie, s.keys.boundCookie(session, s.now().Add(proofLifetime)), cookieLifetime, http.SameSiteLaxMode)
}

// boundCookie returns the value of a cookie that proves the key of a session until a time.
func (k *Keys) boundCookie(session *Session, until time.Time) string {
	seconds := binary.BigEndian.AppendUint64(nil, uint64(until.Unix()))
	return base64.RawURLEncoding.EncodeToString(append(seconds, k.deviceMAC(0, cookieMAC, session, seconds)...))
}

// parseBoundCookie returns the parts of what boundCookie has returned.
func parseBoundCookie(value string) (until, mac []byte, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil || len(raw) != 8+sha256.Size {
		return nil, nil, false
	}
	return raw[:8:8], raw[8:], true
}

// provenUntil returns until when the value of a cookie proves the key of a session; zero if it does
// not.
func (k *Keys) provenUntil(session *Session, value string) time.Time {
	until, mac, ok := parseBoundCookie(value)
	if !ok || !k.checkDeviceMAC(mac, cookieMAC, session, until) {
		return time.Time{}
	}
	return time.Unix(int64(binary.BigEndian.Uint64(until)), 0)
}

// deviceSession returns the browser's name of a session.
func deviceSession(session *Session) string {
	id := NewKey("device session", string(session.record.Key[:]))
	return base64.RawURLEncoding.EncodeToString(id[:16])
}

// challengeNonce is the length of a token of openid.RandomToken.
const challengeNonce = 43

// challenge returns a challenge for the next proof of a session's key, or for its registration. It is
// not stored: it contains its own expiry, and its MAC ties it to the session and the key.
func (s *Sessions) challenge(session *Session) DeviceChallenge {
	head := binary.BigEndian.AppendUint64([]byte(openid.RandomToken()), uint64(s.now().Add(challengeLifetime).Unix()))
	mac := s.keys.deviceMAC(0, challengeMAC, session, head, session.deviceKey)
	return DeviceChallenge{deviceSession(session), base64.RawURLEncoding.EncodeToString(append(head, mac...))}
}

// takeChallenge checks the challenge that a verified proof answers, and accepts each challenge once. It
// returns ErrProofNeeded if the challenge has expired, because an idle browser may have kept it.
func (s *Sessions) takeChallenge(ctx context.Context, session *Session, challenge string) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(challenge)
	if err != nil || len(raw) != challengeNonce+8+sha256.Size {
		return s.refuse(session, errors.New("the challenge is malformed"))
	}
	head, mac := raw[:challengeNonce+8:challengeNonce+8], raw[challengeNonce+8:]
	if !s.keys.checkDeviceMAC(mac, challengeMAC, session, head, session.deviceKey) {
		return s.refuse(session, errors.New("the challenge belongs to another session or key"))
	}
	until := time.Unix(int64(binary.BigEndian.Uint64(head[challengeNonce:])), 0).Add(openid.Leeway)
	if s.now().After(until) {
		return fmt.Errorf("%w: the last one has expired", ErrProofNeeded)
	}
	first, err := s.store.Once(ctx, NewKey("device challenge", challenge), until.Add(openid.Leeway))
	if err != nil {
		return unavailable(err)
	}
	if !first {
		return s.refuse(session, errors.New("the challenge was answered before"))
	}
	return nil
}

// What deviceMAC authenticates.
const (
	cookieMAC byte = iota + 1
	challengeMAC
)

// deviceMAC returns a MAC about a session, under the application's secret with an index. It depends on
// the cookie's secret, too, so that it takes both to make one. The parts but the last have a fixed
// length.
func (k *Keys) deviceMAC(secret int, kind byte, session *Session, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, k.binding[secret])
	mac.Write([]byte{kind})
	mac.Write(session.record.Key[:])
	mac.Write(session.secret) // a token of openid.RandomToken; see isToken
	for _, part := range parts {
		mac.Write(part)
	}
	return mac.Sum(nil)
}

// checkDeviceMAC reports whether deviceMAC has returned a MAC, under any secret.
func (k *Keys) checkDeviceMAC(sum []byte, kind byte, session *Session, parts ...[]byte) bool {
	for secret := range k.binding {
		if hmac.Equal(sum, k.deviceMAC(secret, kind, session, parts...)) {
			return true
		}
	}
	return false
}

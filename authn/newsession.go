package authn

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"latchkey/authn/openid"
)

// Start begins a session for a completed sign-in, under a new id, and ends the one that the
// browser had before: an id from before a sign-in is worth nothing after it. If that session
// was the same person's, the new one inherits the application's values. The error, in a
// *SignInError, is an *openid.Error with ReasonSessionEnded if the provider has ended the sign-in
// in the meantime, with ReasonStoreUnavailable, or with ReasonRefused or ReasonHookFailed if the
// sign-in hook has returned an error.
func (s *Sessions) Start(w http.ResponseWriter, r *http.Request, in *SignIn) (*Session, error) {
	session, err := s.start(w, r, in)
	if err != nil {
		countFailedSignIn(s.metrics, cmp.Or(s.providerOf(in.Identity.Issuer), s.providers[0]), err)
		return nil, in.failed(err)
	}
	s.metrics.GetOrCreateCounter(sessionsStarted).Inc()
	return session, nil
}

func (s *Sessions) start(w http.ResponseWriter, r *http.Request, in *SignIn) (*Session, error) {
	added, err := s.arrive(r, in)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), writeTimeout)
	defer cancel()
	id, secret := openid.RandomToken(), openid.RandomToken()
	session := s.newSession(NewKey(sessionPurpose, id), []byte(secret), in)
	session.record.Device = DeviceOf(r.UserAgent()).String()
	previous := s.previous(r, in.previous)
	before, err := s.inherit(ctx, session, previous)
	if err != nil {
		return nil, err
	}
	if err := session.addValues(added); err != nil {
		return nil, &openid.Error{Reason: ReasonHookFailed, Err: err}
	}
	if session.saved, err = s.takeRequests(ctx, before); err != nil {
		return nil, err
	}
	if err := s.create(ctx, session); err != nil {
		s.returnRequests(ctx, before, session.saved)
		return nil, err
	}
	s.endPrevious(ctx, previous)
	s.endSurplus(ctx, session)
	s.cookies.set(w, sessionCookie, id+"."+secret, s.absolute, http.SameSiteLaxMode)
	return session, nil
}

// create stores a new session. The error is an *openid.Error with ReasonSessionEnded, if the sign-in was
// revoked meanwhile, or ReasonStoreUnavailable.
func (s *Sessions) create(ctx context.Context, session *Session) error {
	record, err := s.seal(session)
	if err != nil {
		return err
	}
	if err := s.store.Create(ctx, record); err != nil {
		if errors.Is(err, ErrEnded) {
			return sessionEnded(err)
		}
		return unavailable(err)
	}
	record.Version, record.Sealed = 1, nil
	session.record = record
	return nil
}

func (s *Sessions) newSession(key Key, secret []byte, in *SignIn) *Session {
	now := s.now()
	session := &Session{
		Identity: in.Identity, Started: now, Expires: now.Add(s.absolute), LastSeen: now,
		ProfileAt: now, tokens: in.Tokens, nonce: in.nonce, asked: []time.Time{now}, secret: secret,
		person: s.keys.personID(in.Identity.Issuer, in.Identity.Subject),
		record: Record{Key: key, SignedIn: in.IDToken.IssuedAt},
	}
	session.endBy(in.IDToken.SessionExpiry)
	session.IdleUntil = s.idleUntil(now, session.Expires)
	return session
}

// endSurplus ends the sessions beyond the limit of a person, least recently used first.
func (s *Sessions) endSurplus(ctx context.Context, session *Session) {
	n, err := s.count(ctx, s.keys.owner(session.Identity.Issuer, session.Identity.Subject))
	if err == nil && n <= s.perPerson {
		return
	}
	records, err := s.ownRecords(ctx, session)
	if err == nil && len(records) > s.perPerson {
		records = slices.DeleteFunc(records, func(r Record) bool { return r.Key == session.record.Key })
		slices.SortFunc(records, func(a, b Record) int { return b.LastSeen.Compare(a.LastSeen) })
		_, err = s.endRecords(ctx, records[s.perPerson-1:], CauseTooMany)
	}
	if err != nil {
		s.log.WarnContext(ctx, "sessions beyond the limit were not ended", "session", session.LogID(), "error", err)
	}
}

// previousSession is a session that a sign-in replaces, with the secret that opens it.
type previousSession struct {
	key    Key
	secret []byte
	lives  bool // the secret opened it
	owner  Key  // if it lives
}

// previous lists the sessions that the browser had: that of its cookie, and the one that it had
// when the sign-in began, whose cookie does not come with a form_post.
func (s *Sessions) previous(r *http.Request, begun previousSession) []previousSession {
	var list []previousSession
	if key, secret, ok := s.cookie(r); ok {
		list = append(list, previousSession{key: key, secret: secret})
	}
	known := func(p previousSession) bool { return p.key == begun.key }
	if begun.key != (Key{}) && !slices.ContainsFunc(list, known) {
		list = append(list, begun)
	}
	return list
}

// inherit copies the application's values of the person's first previous session, and returns that
// session, or nil. It takes nothing of another person's.
func (s *Sessions) inherit(ctx context.Context, session *Session, previous []previousSession) (before *Session, err error) {
	for i, p := range previous {
		old, err := s.load(ctx, p.key, p.secret)
		if _, ended := errors.AsType[*EndedError](err); ended {
			continue
		}
		if err != nil {
			return nil, err
		}
		previous[i].lives, previous[i].owner = true, old.record.Owner
		if before == nil && old.Identity.Issuer == session.Identity.Issuer && old.Identity.Subject == session.Identity.Subject {
			session.values, before = old.values, old
		}
	}
	return before, nil
}

// endPrevious ends the replaced sessions. If one cannot be ended, that is no reason to refuse
// the new one, which replaces its cookie. Its refresh token is not revoked: some providers
// would revoke the person's whole grant with it, the new tokens included. For a session that
// the cookie did not open there is nothing to end, and the store must not remember what anyone
// can make up.
func (s *Sessions) endPrevious(ctx context.Context, previous []previousSession) {
	for _, p := range previous {
		if !p.lives {
			continue
		}
		if err := s.end(ctx, p.key, p.owner, CauseReplaced); err != nil {
			s.log.WarnContext(ctx, "the previous session was not ended", "session", logID(p.key), "error", err)
		}
	}
}

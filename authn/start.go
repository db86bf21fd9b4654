package authn

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"
)

// Start begins a session for a completed sign-in, under a new id, and ends the one
// that the browser had before: an id that was there before a sign-in is never worth
// anything after it. Where that was the same person's, what the application kept for
// them goes on in the new one. The *Error is of ReasonSessionEnded where the provider
// has ended that sign-in in the meantime, or of ReasonStoreUnavailable.
func (s *Sessions) Start(w http.ResponseWriter, r *http.Request, in *SignIn) (*Session, error) {
	session, err := s.start(w, r, in)
	if err != nil {
		s.statistics.SignInsFailed.Add(ReasonOf(err))
		return nil, ofSignIn(err, in.logID, in.ReturnTo)
	}
	s.statistics.SessionsStarted.Add(1)
	return session, nil
}

func (s *Sessions) start(w http.ResponseWriter, r *http.Request, in *SignIn) (*Session, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), writeTimeout)
	defer cancel()
	id, secret := randomToken(), randomToken()
	session := s.newSession(NewKey(sessionPurpose, id), []byte(secret), in)
	session.record.Device = Device(r.UserAgent())
	previous := s.previous(r, in.previous)
	if err := s.inherit(ctx, session, previous); err != nil {
		return nil, err
	}
	record, err := s.seal(session)
	if err != nil {
		return nil, err
	}
	if err := s.store.Create(ctx, record); err != nil {
		if errors.Is(err, ErrEnded) {
			return nil, &Error{Reason: ReasonSessionEnded, Err: err}
		}
		return nil, &Error{Reason: ReasonStoreUnavailable, Err: err}
	}
	session.record.Version = 1
	s.endPrevious(ctx, previous)
	s.endSurplus(ctx, session)
	s.cookies.set(w, sessionCookie, id+"."+secret, s.absolute, http.SameSiteLaxMode)
	return session, nil
}

func (s *Sessions) newSession(key Key, secret []byte, in *SignIn) *Session {
	now := s.now()
	session := &Session{
		Identity: in.Identity, Started: now, Expires: now.Add(s.absolute), LastSeen: now,
		ProfileAt: now, tokens: in.Tokens, nonce: in.nonce, asked: []time.Time{now}, secret: secret,
		record: Record{Key: key, Owner: OwnerKey(in.Identity.Issuer, in.Identity.Subject), SignedIn: in.At},
	}
	if in.Identity.SID != "" {
		session.record.ProviderSession = ProviderSessionKey(in.Identity.Issuer, in.Identity.SID)
	}
	session.endBy(in.Expires)
	session.IdleUntil = s.idleUntil(now, session.Expires)
	return session
}

// endSurplus ends the sessions of a person that are more than one may have: those first
// that were not used for longest.
func (s *Sessions) endSurplus(ctx context.Context, session *Session) {
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

// previousSession is a session that a sign-in replaces, and what opens it.
type previousSession struct {
	key    Key
	secret []byte
	lives  bool // it was found in the store
}

// previous lists the sessions that the browser had: the one of its cookie, and the one
// that it had when the sign-in began, whose cookie does not come along with a form_post.
func (s *Sessions) previous(r *http.Request, begun previousSession) []previousSession {
	var list []previousSession
	if value, ok := s.cookies.get(r, sessionCookie); ok {
		if id, secret, ok := splitCookie(value); ok {
			list = append(list, previousSession{key: NewKey(sessionPurpose, id), secret: secret})
		}
	}
	known := func(p previousSession) bool { return p.key == begun.key }
	if begun.key != (Key{}) && !slices.ContainsFunc(list, known) {
		list = append(list, begun)
	}
	return list
}

// inherit takes over what the application kept for the person, and what they were about
// to do, from the first of their previous sessions. Of another person's it takes nothing.
func (s *Sessions) inherit(ctx context.Context, session *Session, previous []previousSession) error {
	inherited := false
	for i, p := range previous {
		before, err := s.load(ctx, p.key, p.secret)
		if err != nil {
			return err
		}
		previous[i].lives = before != nil
		if before != nil && !inherited && before.record.Owner == session.record.Owner {
			session.values, session.held, inherited = before.values, before.held, true
		}
	}
	return nil
}

// endPrevious ends the replaced sessions. That one cannot be ended is no reason to refuse
// the new one, which replaces its cookie. Its refresh token is not revoked: there are
// providers that withdraw with it all that a person granted to a client, the new tokens
// included.
func (s *Sessions) endPrevious(ctx context.Context, previous []previousSession) {
	for _, p := range previous {
		end := s.end
		if !p.lives {
			end = s.store.End // only to make sure: it is not one that was ended
		}
		if err := end(ctx, p.key, CauseReplaced, s.now().Add(s.absolute)); err != nil {
			s.log.WarnContext(ctx, "the previous session was not ended", "session", logID(p.key), "error", err)
		}
	}
}

package devop

import (
	"crypto/rand"
	"slices"
	"time"
)

// session is one sign-in at the provider, stored under the hash of its cookie.
type session struct {
	SID      string
	Subject  string
	AuthTime time.Time
	Clients  []string // the clients that took part; back-channel logout notifies them
	Expires  time.Time
}

// session returns the session that a cookie opens.
func (s *records) session(cookie string) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.Sessions[hash(cookie)]
	if !ok || !s.now().Before(found.Expires) {
		return session{}, false
	}
	copied := *found
	copied.Clients = slices.Clone(found.Clients)
	return copied, true
}

// startSession signs subject in and returns the session and its cookie. It ends the old
// cookie's session. If that was the same person's, the new session keeps its sid.
func (s *records) startSession(old, subject string) (session, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	started := &session{SID: rand.Text(), Subject: subject, AuthTime: now, Expires: now.Add(sessionTTL)}
	if before, ok := s.Sessions[hash(old)]; ok {
		if before.Subject == subject && now.Before(before.Expires) {
			started.SID, started.Clients = before.SID, before.Clients
		}
		delete(s.Sessions, hash(old))
	}
	cookie := rand.Text()
	s.Sessions[hash(cookie)] = started
	s.changed()
	return *started, cookie
}

// endSession ends the session with the given sid and revokes everything that it granted. It
// returns the ended session.
func (s *records) endSession(sid string) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ended session
	found := false
	for key, candidate := range s.Sessions {
		if candidate.SID == sid {
			ended, found = *candidate, true
			delete(s.Sessions, key)
		}
	}
	for key, g := range s.Grants {
		if g.SID == sid {
			delete(s.Grants, key)
		}
	}
	s.changed()
	return ended, found
}

package authn

import (
	"context"
	"encoding/base64"
	"slices"
	"time"
)

// OwnSession is one of a person's sessions, as their other sessions may see it.
type OwnSession struct {
	// ID names the session to its owner. It opens nothing.
	ID string
	// Device is what the browser said about itself.
	Device Device
	// SignedIn is when the provider signed the person in; LastSeen is when they were last
	// active, to the minute.
	SignedIn, LastSeen time.Time
	// Current marks the session that lists them, and Bound one that is bound to a key of its device.
	Current, Bound bool
}

// Own lists the sessions of the session's person: the current one first, then the newest. The order does
// not change while the others are used, so that a row stays where it is on a page that shows the list.
// The *openid.Error has ReasonStoreUnavailable.
func (s *Sessions) Own(ctx context.Context, session *Session) ([]OwnSession, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	records, err := s.ownRecords(ctx, session)
	if err != nil {
		return nil, err
	}
	return ownSessions(records, session.record.Key), nil
}

// ownSessions lists records as Own does, for the session with the key current.
func ownSessions(records []Record, current Key) []OwnSession {
	list := make([]OwnSession, len(records))
	for i, r := range records {
		list[i] = OwnSession{
			ID: ownID(r.Key), Device: parseDevice(r.Device), SignedIn: r.SignedIn, LastSeen: r.LastSeen,
			Current: r.Key == current, Bound: r.Bound,
		}
	}
	slices.SortStableFunc(list, func(a, b OwnSession) int {
		switch {
		case a.Current != b.Current && a.Current:
			return -1
		case a.Current != b.Current:
			return 1
		default:
			return b.SignedIn.Compare(a.SignedIn)
		}
	})
	return list
}

// IsCurrent reports whether an OwnSession's ID names the session itself.
func (s *Sessions) IsCurrent(session *Session, id string) bool {
	return ownID(session.record.Key) == id
}

// EndOwn ends the session of the session's person that an OwnSession's ID names, and returns
// how many it ended: 0 if there is none, or if it is another person's. The tokens of an ended
// session cannot be revoked, since only its own cookie opens them. The *openid.Error has
// ReasonStoreUnavailable.
func (s *Sessions) EndOwn(ctx context.Context, session *Session, id string) (int, error) {
	return s.endOwn(ctx, session, func(r Record) bool { return ownID(r.Key) == id })
}

// EndOthers ends all sessions of the session's person except this one, as EndOwn does.
func (s *Sessions) EndOthers(ctx context.Context, session *Session) (int, error) {
	return s.endOwn(ctx, session, func(r Record) bool { return r.Key != session.record.Key })
}

func (s *Sessions) endOwn(ctx context.Context, session *Session, meant func(Record) bool) (int, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	records, err := s.ownRecords(ctx, session)
	if err != nil {
		return 0, err
	}
	return s.endRecords(ctx, slices.DeleteFunc(records, func(r Record) bool { return !meant(r) }), CauseElsewhere)
}

func (s *Sessions) ownRecords(ctx context.Context, session *Session) ([]Record, error) {
	return s.liveRecords(ctx, s.keys.owner(session.Identity.Issuer, session.Identity.Subject))
}

// liveRecords lists the records of a person that have not expired.
func (s *Sessions) liveRecords(ctx context.Context, owner names) ([]Record, error) {
	records, err := s.list(ctx, owner)
	if err != nil {
		return nil, unavailable(err)
	}
	now := s.now()
	return slices.DeleteFunc(records, func(r Record) bool { return !now.Before(r.Expires) }), nil
}

// endRecords ends sessions one by one. Those that it has ended stay ended if a later one fails.
func (s *Sessions) endRecords(ctx context.Context, records []Record, cause Cause) (int, error) {
	for n, record := range records {
		if err := s.end(ctx, record.Key, record.Owner, cause); err != nil {
			return n, unavailable(err)
		}
	}
	return len(records), nil
}

// ownID names a session in the path of a request, which is logged. The key in the store does not
// follow from it.
func ownID(key Key) string {
	id := NewKey("own session", string(key[:]))
	return base64.RawURLEncoding.EncodeToString(id[:16])
}

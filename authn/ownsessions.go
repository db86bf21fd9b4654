package authn

import (
	"context"
	"encoding/base64"
	"slices"
	"time"
)

// OwnSession is one of a person's sessions as any other of theirs may see it.
type OwnSession struct {
	// ID names it to its owner. It opens nothing.
	ID string
	// Device is a label such as "Firefox on Linux".
	Device string
	// SignedIn is when the provider signed the person in; LastSeen is when they last did
	// something, to the minute.
	SignedIn, LastSeen time.Time
	// Current marks the session that asks.
	Current bool
}

// Own lists the sessions of the session's person, the current one first and then the one
// last seen. The *Error is of ReasonStoreUnavailable.
func (s *Sessions) Own(ctx context.Context, session *Session) ([]OwnSession, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	records, err := s.ownRecords(ctx, session)
	if err != nil {
		return nil, err
	}
	list := make([]OwnSession, len(records))
	for i, r := range records {
		list[i] = OwnSession{
			ID: ownID(r.Key), Device: r.Device, SignedIn: r.SignedIn, LastSeen: r.LastSeen,
			Current: r.Key == session.record.Key,
		}
	}
	slices.SortStableFunc(list, func(a, b OwnSession) int {
		switch {
		case a.Current != b.Current && a.Current:
			return -1
		case a.Current != b.Current:
			return 1
		default:
			return b.LastSeen.Compare(a.LastSeen)
		}
	})
	return list, nil
}

// EndOwn ends the sessions of the session's person that an OwnSession's ID names, and says
// how many there were. One that is not there, or not theirs, is none. The provider's
// tokens of an ended session cannot be withdrawn: only its own cookie opens them. The
// *Error is of ReasonStoreUnavailable.
func (s *Sessions) EndOwn(ctx context.Context, session *Session, id string) (int, error) {
	return s.endOwn(ctx, session, func(r Record) bool { return ownID(r.Key) == id })
}

// EndOthers ends all sessions of the session's person but this one, as EndOwn does.
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
	records, err := s.store.List(ctx, session.record.Owner)
	if err != nil {
		return nil, &Error{Reason: ReasonStoreUnavailable, Err: err}
	}
	now := s.now()
	return slices.DeleteFunc(records, func(r Record) bool { return !now.Before(r.Expires) }), nil
}

// endRecords ends sessions one by one. Ended stays ended, also when a later one fails.
func (s *Sessions) endRecords(ctx context.Context, records []Record, cause Cause) (int, error) {
	for n, record := range records {
		if err := s.end(ctx, record.Key, cause, s.now().Add(s.absolute)); err != nil {
			return n, &Error{Reason: ReasonStoreUnavailable, Err: err}
		}
	}
	return len(records), nil
}

func ownID(key Key) string { return base64.RawURLEncoding.EncodeToString(key[:]) }

package authn

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"time"

	"latchkey/authn/openid"
)

const (
	// The person has one transaction lifetime to sign in again, and another to press the button.
	savedRequestLifetime = 2 * transactionLifetime
	// The session keeps this much; the oldest request is dropped first.
	maxSavedRequests     = 4
	maxSavedRequestBytes = 64 << 10
)

// ErrRequestTooLarge says that a form is too large to be kept during a sign-in.
var ErrRequestTooLarge = errors.New("authn: the form is too large to keep during a sign-in")

// SavedRequest is a request that waits in the session until its sender has signed in again. It
// outlives that sign-in if it is the same person's.
type SavedRequest struct {
	// ID names the request in the address to come back to.
	ID string
	// Method and Path are those of the request. Only GET and POST can be continued: no browser sends
	// another method by itself.
	Method string
	Path   ReturnPath
	// Form is the submitted form, URL-encoded, or "".
	Form string
	// Demand is what the request asks of the sign-in.
	Demand openid.Demand
	// Until is when the request is dropped.
	Until time.Time
}

func (r SavedRequest) size() int { return len(r.Path.path) + len(r.Form) }

func (r SavedRequest) encode(e *encoder) {
	e.string(r.ID)
	e.string(r.Method)
	e.string(r.Path.path)
	e.string(r.Form)
	encodeDemand(e, r.Demand)
	e.time(r.Until)
}

func decodeSavedRequest(d *decoder) SavedRequest {
	return SavedRequest{
		ID: d.string(), Method: d.string(), Path: decodeReturnPath(d), Form: d.string(),
		Demand: decodeDemand(d), Until: d.time(),
	}
}

// SaveRequest keeps a request in the session and returns its ID. It returns
// ErrRequestTooLarge, or an error as Update does.
func (s *Sessions) SaveRequest(ctx context.Context, session *Session, r SavedRequest) (string, error) {
	if r.size() > maxSavedRequestBytes {
		return "", ErrRequestTooLarge
	}
	now := s.now()
	r.ID, r.Until = rand.Text(), now.Add(savedRequestLifetime)
	_, err := s.Update(ctx, session, func(fresh *Session) error {
		fresh.saved = append(slices.DeleteFunc(fresh.saved, func(old SavedRequest) bool { return !now.Before(old.Until) }), r)
		for len(fresh.saved) > maxSavedRequests || savedBytes(fresh.saved) > maxSavedRequestBytes {
			fresh.saved = fresh.saved[1:]
		}
		return nil
	})
	return r.ID, err
}

func savedBytes(list []SavedRequest) (n int) {
	for _, r := range list {
		n += r.size()
	}
	return n
}

// SavedRequest returns the request that SaveRequest keeps under an ID, and whether it is still
// kept and can be continued.
func (s *Sessions) SavedRequest(session *Session, id string) (SavedRequest, bool) {
	n := slices.IndexFunc(session.saved, func(r SavedRequest) bool { return r.ID == id })
	if n < 0 || !s.now().Before(session.saved[n].Until) || !slices.Contains([]string{http.MethodGet, http.MethodPost}, session.saved[n].Method) {
		return SavedRequest{}, false
	}
	return session.saved[n], true
}

// errNotSaved says that a request is no longer kept.
var errNotSaved = errors.New("authn: the request is not kept")

// TakeRequest returns the request that SaveRequest keeps under an ID and removes it from the session.
// Of several callers, on any number of nodes, one gets it: a form must not be sent twice. It returns
// an error as Update does; after one, nobody can say whether the request is still kept.
func (s *Sessions) TakeRequest(ctx context.Context, session *Session, id string) (taken SavedRequest, ok bool, err error) {
	_, err = s.Update(ctx, session, func(fresh *Session) error {
		if taken, ok = s.SavedRequest(fresh, id); !ok {
			return errNotSaved
		}
		fresh.saved = slices.DeleteFunc(fresh.saved, func(r SavedRequest) bool { return r.ID == id })
		return nil
	})
	if errors.Is(err, errNotSaved) {
		return SavedRequest{}, false, nil
	}
	if err != nil {
		return SavedRequest{}, false, err
	}
	return taken, true, nil
}

// takeRequests removes all requests from a session, which may be nil, and returns them, for the session
// that replaces it. A copy would let both continue them.
func (s *Sessions) takeRequests(ctx context.Context, session *Session) (taken []SavedRequest, err error) {
	if session == nil || len(session.saved) == 0 {
		return nil, nil
	}
	_, err = s.Update(ctx, session, func(fresh *Session) error {
		taken, fresh.saved = fresh.saved, nil
		return nil
	})
	if openid.ReasonOf(err) == ReasonSessionEnded {
		return nil, nil
	}
	return taken, err
}

// returnRequests puts requests back that takeRequests took for a session that could not begin.
func (s *Sessions) returnRequests(ctx context.Context, session *Session, taken []SavedRequest) {
	if len(taken) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	_, err := s.Update(ctx, session, func(fresh *Session) error {
		fresh.saved = append(slices.Clone(taken), fresh.saved...)
		return nil
	})
	if err != nil {
		s.log.WarnContext(ctx, "saved requests lost: no session could begin", "session", session.LogID(), "error", err)
	}
}

package authn

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"latchkey/authn/openid"
)

const (
	// A person has as long to sign in again as for any sign-in, and as long again to press the
	// button after it.
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
	// Method and Path are those of the request.
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
// kept.
func (s *Sessions) SavedRequest(session *Session, id string) (SavedRequest, bool) {
	n := slices.IndexFunc(session.saved, func(r SavedRequest) bool { return r.ID == id })
	if n < 0 || !s.now().Before(session.saved[n].Until) {
		return SavedRequest{}, false
	}
	return session.saved[n], true
}

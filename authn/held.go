package authn

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"
)

const (
	// A person has as long for signing in anew as for a sign-in, and as long again to
	// press the button after it.
	heldLifetime = 2 * transactionLifetime
	// The session keeps this much of what waits; the oldest goes first.
	maxHeld      = 4
	maxHeldBytes = 64 << 10
)

// ErrHeldTooLarge says that a form is too large to be kept while its sender signs in anew.
var ErrHeldTooLarge = errors.New("authn: the form is too large to keep during a sign-in")

// Held is a request that waits in the session until its sender has signed in anew. It
// outlives that sign-in if it is the same person's.
type Held struct {
	// ID names it in the address to come back to.
	ID string
	// Method and URL are what was asked for; URL is a path of this application.
	Method, URL string
	// Form is the submitted form, URL-encoded, or "".
	Form   string
	Demand Demand
	// Until is when it is forgotten.
	Until time.Time
}

func (h Held) size() int { return len(h.URL) + len(h.Form) }

func (h Held) encode(e *encoder) {
	e.string(h.ID)
	e.string(h.Method)
	e.string(h.URL)
	e.string(h.Form)
	h.Demand.encode(e)
	e.time(h.Until)
}

func decodeHeld(d *decoder) Held {
	return Held{
		ID: d.string(), Method: d.string(), URL: d.string(), Form: d.string(),
		Demand: decodeDemand(d), Until: d.time(),
	}
}

// Hold keeps a request in the session and returns its ID. It returns ErrHeldTooLarge, or an
// *Error as Update does.
func (s *Sessions) Hold(ctx context.Context, session *Session, h Held) (string, error) {
	if h.size() > maxHeldBytes {
		return "", ErrHeldTooLarge
	}
	now := s.now()
	h.ID, h.Until = rand.Text(), now.Add(heldLifetime)
	_, err := s.Update(ctx, session, func(fresh *Session) error {
		fresh.held = append(slices.DeleteFunc(fresh.held, func(old Held) bool { return !now.Before(old.Until) }), h)
		for len(fresh.held) > maxHeld || heldBytes(fresh.held) > maxHeldBytes {
			fresh.held = fresh.held[1:]
		}
		return nil
	})
	return h.ID, err
}

func heldBytes(list []Held) (n int) {
	for _, h := range list {
		n += h.size()
	}
	return n
}

// Held returns the request that Hold kept under an ID, as long as it is kept.
func (s *Sessions) Held(session *Session, id string) (Held, bool) {
	n := slices.IndexFunc(session.held, func(h Held) bool { return h.ID == id })
	if n < 0 || !s.now().Before(session.held[n].Until) {
		return Held{}, false
	}
	return session.held[n], true
}
